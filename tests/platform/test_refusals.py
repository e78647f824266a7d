"""What is refused leaves its line, whoever refuses it; and nobody fills the log with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from platform_rig import NOW, OPERATOR, STRANGER, Rig
from reservation_requests import request, reserve

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import FieldProblem, Problem
from gkmd.group.platform.line_shares import AT_ONCE, EVERY, OTHERS, SUMMED, LineShares
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.records import Entry, Reservation
from gkmd.group.platform.refusal_log import RefusalLog
from gkmd.group.platform.refusals import REPORT


def malformed(rig: Rig, caller: Any, id: str = "") -> None:
    problem = Problem("invalid", "a fraction", (FieldProblem("admission.price.amount", "a fraction"),))
    rig.end(rig.platform.malformed(OPERATIONS["reserve"], caller, problem, rig.now, id))


# What the daemon refuses itself


@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"address": "233.252.0.7"}, "invalid", "address"),  # overlaps the one that is there
        ({"start": "2020-01-01T12:00"}, "invalid", "start"),
        ({"time_zone": "Mars/Olympus", "start": "2027-01-01T12:00"}, "invalid", "time_zone"),
        ({"time_zone": "Europe/Berlin", "start": "2027-03-28T02:30"}, "invalid", "start"),
        ({"once": "w"}, "conflict", "once"),  # of another request
    ],
)
def test_a_reservation_that_cannot_be(more: dict[str, Any], code: str, field: str) -> None:
    rig = Rig()
    sender = rig.caller("tx", "sender")
    reserve(rig, sender, address="233.252.0.7", once="w")
    problem = rig.refused("reserve", request(**{"title": "Another", **more}), sender)
    assert problem.code == code
    (line,) = (one for one in rig.audit_lines("reserve") if "refused" in one.detail)
    assert (line.actor, line.detail["refused"], line.detail["fields"]) == (
        rig.do("me", caller=sender).id,
        code,
        [field],
    )
    assert len(rig.facts(Reservation)) == 1


def test_what_was_done_once_and_comes_again_leaves_a_line() -> None:
    rig = Rig()
    sender = rig.caller("tx", "sender")
    made = reserve(rig, sender, once="w")
    assert reserve(rig, sender, once="w").id == made.id
    assert [one.detail.get("refused") for one in rig.audit_lines("reserve")] == [None, "repeated"]
    assert rig.audit_lines("reserve")[-1].subject == made.id
    for _ in range(2):
        rig.do("user-credit", q.CreditUser("tx", Amount(500, "EUR"), "bank 1"))
    assert [one.detail["refused"] for one in rig.audit_lines("user-credit")] == ["repeated"]
    assert len(rig.facts(Entry)) == 1
    # Looking again and again is no repetition.
    rig.do("reservation-check", request(once="x"), sender)
    assert rig.audit_lines("reservation-check") == []


# What the portal reports


def test_what_the_portal_refuses_leaves_the_line_of_who_asked() -> None:
    rig = Rig()
    sender = rig.caller("tx", "sender")
    made = reserve(rig, sender)
    report = q.RefusalReport("reservation-change", "invalid", made.id, "", ("duration", "Hunter2!", "lead"))
    rig.do(REPORT, report, sender)
    (line,) = rig.audit_lines("reservation-change")
    assert (line.actor, line.subject) == (rig.do("me", caller=sender).id, made.id)
    assert line.detail == {"refused": "invalid", "origin": "192.0.2.0/24", "fields": ["duration", "lead"]}
    token = rig.token(sender, "read")
    rig.do(REPORT, q.RefusalReport("reserve", "conflict", "made-up", "posted-twice"), token)
    line = rig.audit_lines("reserve")[-1]
    assert (line.subject, line.detail["reason"]) == ("", "posted-twice")


def test_strangers_are_counted_and_write_nothing() -> None:
    rig = Rig()
    before = len(rig.journal)
    for code in ("invalid", "forbidden", "bad-request"):
        rig.do(REPORT, q.RefusalReport("reserve", code), STRANGER)
    malformed(rig, STRANGER)
    assert len(rig.journal) == before
    assert rig.platform.refusals.counts == {"invalid": 2, "forbidden": 1, "bad-request": 1}


@pytest.mark.parametrize(
    "report",
    [
        q.RefusalReport("no-such", "invalid"),
        q.RefusalReport("", "invalid"),
        q.RefusalReport("page", "forbidden"),
        q.RefusalReport(REPORT, "invalid"),
        q.RefusalReport("reserve", "made-up"),
    ],
)
def test_a_report_that_makes_no_sense_is_none(report: q.RefusalReport) -> None:
    rig = Rig()
    sender = rig.caller("tx", "sender")
    before = len(rig.journal)
    assert rig.refused(REPORT, report, sender).code == "bad-request"
    assert len(rig.journal) == before


def test_what_says_nothing_about_the_caller_is_no_line() -> None:
    rig = Rig()
    sender = rig.caller("tx", "sender")
    for report in (
        q.RefusalReport("reserve", "busy"),
        q.RefusalReport("reserve", "too-many-requests"),
        q.RefusalReport("reservation-check", "invalid"),
        q.RefusalReport("me", "invalid"),
    ):
        before = len(rig.journal)
        rig.do(REPORT, report, sender)
        assert len(rig.journal) == before


# Bounds


def test_ten_thousand_bad_requests_are_a_hundred_lines_and_a_sum() -> None:
    rig = Rig()
    eve, anna = rig.caller("eve", "sender"), rig.caller("anna", "sender")
    for _ in range(10_000):
        malformed(rig, eve)
    malformed(rig, anna)
    me = {name: rig.do("me", caller=caller).id for name, caller in (("eve", eve), ("anna", anna))}
    lines = rig.audit_lines("reserve")
    assert [one.actor for one in lines].count(me["eve"]) == AT_ONCE
    assert [one.actor for one in lines].count(me["anna"]) == 1  # nobody hides what another does
    assert rig.audit_lines("refused-more") == []
    rig.pass_time(SUMMED + 1)
    (more,) = rig.audit_lines("refused-more")
    assert (more.actor, more.detail["omitted"]) == (me["eve"], {"reserve": 10_000 - AT_ONCE})
    assert more.detail["since"] == NOW
    assert rig.do("audit-verify", caller=OPERATOR).broken is None


def test_what_was_left_out_is_summed_up_before_the_server_stops() -> None:
    rig = Rig()
    eve = rig.caller("eve", "sender")
    for _ in range(150):
        malformed(rig, eve)
    rig.carry_out(rig.platform.stop(rig.now))
    assert [one.detail["omitted"] for one in rig.audit_lines("refused-more")] == [{"reserve": 50}]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["reserve", "sign-in"]), st.floats(0, 400)),
        max_size=600,
    )
)
def test_every_refusal_is_a_line_or_in_a_sum(steps: list[tuple[str, str, float]]) -> None:
    shares, now, start = LineShares(), NOW, NOW
    asked: dict[str, int] = {}
    written: dict[str, int] = {}
    summed: dict[str, int] = {}
    for name, action, pause in steps:
        now += pause / 100
        asked[name] = asked.get(name, 0) + 1
        if shares.take(name, action, now):
            written[name] = written.get(name, 0) + 1
        due = shares.deadline()
        assert due is None or due > now - SUMMED
        for one in shares.due(now):
            summed[one.name] = summed.get(one.name, 0) + one.counts.total()
    for one in shares.due(now, last=True):
        summed[one.name] = summed.get(one.name, 0) + one.counts.total()
    assert shares.deadline() is None
    for name, count in asked.items():
        assert written.get(name, 0) + summed.get(name, 0) == count
        assert written.get(name, 0) <= AT_ONCE + (now - start) / EVERY + 1


def test_a_thousand_passwords_are_a_hundred_lines_and_a_sum_that_names_the_account() -> None:
    rig = Rig()
    rig.user("bert")
    rig.user("carla")
    tried = {"bert": 200, "carla": 800}
    for login, times in tried.items():
        for number in range(times):
            caller = Caller(origin=f"2001:db8:0:{number:x}::1")
            code = rig.refused("sign-in", q.SignIn(login, "wrong"), caller).code
            assert code in ("sign-in-failed", "locked-out")
    assert len(rig.audit_lines("sign-in")) == AT_ONCE
    rig.pass_time(SUMMED + 1)
    (more,) = rig.audit_lines("refused-more")
    assert (more.actor, more.detail["omitted"]) == ("stranger", {"sign-in": 1000 - AT_ONCE})
    ids = {login: rig.platform.accounts.by_login(login) for login in tried}
    assert more.detail["subjects"] == {
        ids["bert"].id: 200 - AT_ONCE,  # type: ignore[union-attr]
        ids["carla"].id: 800,  # type: ignore[union-attr]
    }
    assert rig.platform.refusals.counts.total() == 1000


def test_what_is_tried_at_one_transmission_hides_nothing_of_others() -> None:
    rig = Rig()
    log = RefusalLog(rig.platform.audit)
    for minute in range(30):
        for _ in range(50):
            log.note("stranger", "opera", "wrong-password", rig.now + 60 * minute)
    log.note("stranger", "news", "wrong-password", rig.now + 1800)
    rig.write(rig.platform.facts.commit())
    about = [one.subject for one in rig.audit_lines("refuse")]
    assert about.count("news") == 1
    assert about.count("opera") <= AT_ONCE + 1800 / EVERY + 1
    assert rig.refused("sign-in", q.SignIn("bert", "wrong"), STRANGER).code == "sign-in-failed"
    assert len(rig.audit_lines("sign-in")) == 1


def test_many_names_are_summed_up_as_one() -> None:
    shares = LineShares()
    for number in range(1100):
        for _ in range(int(AT_ONCE) + 1):
            shares.take(str(number), "reserve", NOW)
    found = shares.due(NOW + SUMMED)
    assert len(found) == 1001
    assert {one.name: one.counts["reserve"] for one in found}[OTHERS] == 100
