"""What the portal refuses by itself is in the audit log, by forms and by REST, without what was typed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from portal_rig import START, Site

from gkmd.api.problem import Problem
from gkmd.group.platform.records import AuditLine, Payment, Reservation, VoucherBatch
from gkmd.web.client import Caller
from gkmd.web.refused import report

FORM = {"title": "Opera", "start": START, "duration": "1h", "ways": ["open"]}
REQUEST = {"title": "Opera", "start": START, "duration": 3600, "admission": {"open": True}}


def refusals(site: Site) -> list[AuditLine]:
    return [one for one in site.rig.audit_lines() if "refused" in one.detail]


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"ways": ["price"], "price": "2.505"}, ["price"]),
        ({"ways": ["price"], "price": "hunter2"}, ["price"]),
        ({"duration": "1.5"}, ["duration"]),
        ({"capacity": "1.5"}, ["capacity"]),
        ({"port": "70000"}, ["port"]),
        ({"time_zone": "Mars/Olympus"}, ["time_zone"]),
        ({"time_zone": "Europe/Berlin", "start": "2027-03-28T02:30"}, ["start"]),
        ({"start": "2020-01-01T12:00"}, ["start"]),
        ({"title": ""}, ["title"]),
        ({"ways": []}, ["ways"]),
    ],
)
def test_a_form_that_cannot_be_read(site: Site, wrong: dict[str, Any], fields: list[str]) -> None:
    sender = site.user("studio", "sender")
    answer = sender.submit("/reservations/new", "/reservations", **(FORM | wrong))
    assert answer.status_code == 422
    assert 'class="error"' in answer.text or 'role="alert"' in answer.text
    (line,) = refusals(site)
    assert (line.action, line.detail["refused"], line.detail["fields"]) == ("reserve", "invalid", fields)
    assert line.actor == site.rig.platform.accounts.by_login("studio").id  # type: ignore[union-attr]
    assert "hunter2" not in repr(line)
    assert site.rig.facts(Reservation) == []


@pytest.mark.parametrize(
    ("content", "status", "refused"),
    [
        ({**REQUEST, "duration": "long"}, 422, {"refused": "invalid", "fields": ["duration"]}),
        (
            {**REQUEST, "duration": 1.5, "lead": 0.5},
            422,
            {"refused": "invalid", "fields": ["duration", "lead"]},
        ),
        (
            {**REQUEST, "admission": {"price": {"amount": 2.5, "currency": "EUR"}}},
            422,
            {"refused": "invalid", "fields": ["admission.price.amount"]},
        ),
        ({**REQUEST, "Hunter 2": 1}, 422, {"refused": "invalid"}),
        (b"no json", 400, {"refused": "bad-request"}),
        (b"[]", 400, {"refused": "bad-request"}),
        (b'"' + b"x" * 300_000 + b'"', 413, {"refused": "bad-request"}),
    ],
)
def test_a_call_that_cannot_be_read(
    site: Site, content: object, status: int, refused: dict[str, Any]
) -> None:
    token = site.token("studio", "reserve", roles=("sender",))
    octets = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = site.browser().send("POST", "/api/v1/reservations", content=octets, headers=headers)
    assert answer.status_code == status
    (line,) = refusals(site)
    assert line.action == "reserve"
    assert line.detail == {**refused, "origin": "192.0.2.0/24"}


def test_a_call_of_another_type_and_a_change_of_what_is_there(site: Site) -> None:
    one = site.reserve()
    token = site.token("studio", "reserve", roles=("sender",))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
    path = f"/api/v1/reservations/{one.id}"
    assert site.browser().send("PATCH", path, content=b"{}", headers=headers).status_code == 415
    (line,) = refusals(site)
    assert (line.action, line.subject) == ("reservation-change", one.id)


def test_strangers_are_counted_and_write_no_line(site: Site) -> None:
    stranger, before = site.browser(), len(site.rig.audit_lines())
    for _ in range(3):
        assert stranger.send("POST", "/api/v1/reservations", json={"title": 1}).status_code == 422
    assert stranger.post("/sign-up", {"csrf": "x"}).status_code == 403
    assert len(site.rig.audit_lines()) == before
    assert site.rig.platform.refusals.counts == {"invalid": 3, "forbidden": 1}


def test_a_provider_s_call_that_is_none_leaves_a_line(site: Site) -> None:
    stranger = site.browser()
    for octets, status in ((b"x" * 40_000, 413), (b"\xff", 400)):
        assert stranger.post("/api/v1/providers/pay", content=octets).status_code == status
        line = refusals(site)[-1]
        assert (line.actor, line.action, line.detail["refused"]) == (
            "stranger",
            "provider-call",
            "bad-request",
        )
    for _ in range(300):
        stranger.post("/api/v1/providers/pay", content=b"\xff")
    assert len(refusals(site)) == 100


def test_a_form_that_another_site_sent(site: Site) -> None:
    """Somebody uses the session of somebody else: that its owner was there is in the log."""
    sender = site.user("studio", "sender")
    form = sender.form("/reservations/new", "/reservations") | FORM
    answer = sender.post("/reservations", form, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    (line,) = refusals(site)
    assert (line.action, line.detail["refused"]) == ("reserve", "forbidden")


def test_who_looks_where_he_may_not_leaves_a_line(site: Site) -> None:
    alice, stranger = site.user("alice"), site.browser()
    for path, reason in (("/operator/audit", "for-operators"), ("/reservations/new", "for-senders")):
        assert alice.get(path).status_code == 403
        assert stranger.get(path).status_code == 303
        line = refusals(site)[-1]
        assert (line.action, line.detail["refused"], line.detail["reason"]) == ("page", "forbidden", reason)
    assert len(refusals(site)) == 2
    # What is only not there is nobody's business.
    assert alice.get("/tickets/none").status_code == 404
    assert len(refusals(site)) == 2


def test_a_form_that_is_posted_twice(site: Site) -> None:
    """One reservation, and a line that says that it came again: from the portal, and after it was restarted
    from the daemon.
    """
    sender = site.user("studio", "sender")
    form = sender.form("/reservations/new", "/reservations") | FORM
    answers = [sender.post("/reservations", form)]
    answers.append(sender.post("/reservations", form))
    site.forget()
    answers.append(sender.post("/reservations", form))
    assert len({one.headers["location"] for one in answers}) == 1
    first, second = refusals(site)
    assert (first.action, first.detail["reason"]) == ("reserve", "posted-twice")
    assert (second.action, second.detail["refused"]) == ("reserve", "repeated")
    (made,) = site.rig.facts(Reservation)
    assert second.subject == made.id


def test_both_of_a_double_click(site: Site) -> None:
    sender = site.user("studio", "sender")
    one = site.reserve(owner="studio", admission={"vouchers": True})
    path = f"/reservations/{one.id}/vouchers"
    form = sender.form(path) | {"count": "3"}

    async def both() -> list[int]:
        sent = (sender.http.request("POST", path, data=form) for _ in range(2))
        return [answer.status_code for answer in await asyncio.gather(*sent)]

    assert site.runner.run(both()) == [200, 200]
    assert len(site.rig.facts(VoucherBatch)) == 1
    assert [one.detail["reason"] for one in refusals(site)] == ["posted-twice"]


def test_what_the_daemon_refused_has_one_line(site: Site) -> None:
    sender = site.user("studio", "sender")
    wrong = {**FORM, "address": "192.0.2.1"}
    assert sender.submit("/reservations/new", "/reservations", **wrong).status_code == 422
    assert [one.action for one in refusals(site)] == ["reserve"]


def test_looking_at_a_form_leaves_nothing(site: Site) -> None:
    sender = site.user("studio", "sender")
    form = sender.form("/reservations/new", "/reservations") | {**FORM, "duration": "x"}
    before = len(site.rig.audit_lines())
    assert sender.post("/reservations/check", form).status_code == 200
    assert len(site.rig.audit_lines()) == before


def test_a_flood_of_bad_forms_is_a_hundred_lines_and_a_sum(site: Site) -> None:
    sender = site.user("studio", "sender")
    form = sender.form("/reservations/new", "/reservations") | {**FORM, "duration": "x"}
    for _ in range(130):
        assert sender.post("/reservations", form).status_code == 422
    assert len(refusals(site)) == 100
    site.rig.pass_time(400)
    (more,) = site.rig.audit_lines("refused-more")
    assert more.detail["omitted"] == {"reserve": 30}


def test_without_a_daemon_the_refusal_is_told_all_the_same(site: Site) -> None:
    token = site.token("studio", "reserve", roles=("sender",))
    site.daemon.gone = True
    headers = {"Authorization": f"Bearer {token}"}
    answer = site.browser().send("POST", "/api/v1/reservations", json={"title": 1}, headers=headers)
    assert answer.status_code == 422


def test_nobody_but_the_portal_reports(site: Site) -> None:
    token = site.token("studio", "reserve", "read", roles=("sender",))
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("", "/", "/refusal-report", "/provider-report"):
        answer = site.browser().send("POST", f"/api/v1{path}", json={"operation": "reserve"}, headers=headers)
        assert answer.status_code in (404, 405)
    assert refusals(site) == []


def test_a_report_is_of_names_and_never_of_what_is_no_text(site: Site) -> None:
    caller = Caller(site.token("studio", "reserve", roles=("sender",)), "192.0.2.7")
    problem = Problem("invalid", "", reason="a secret of 1234 words")
    site.runner.run(report(site.daemon, "reserve", "\ud800 \n", problem, caller))
    (line,) = refusals(site)
    assert (line.subject, line.detail) == ("", {"refused": "invalid", "origin": "192.0.2.0/24"})


def test_a_fraction_of_money_begins_no_payment(site: Site) -> None:
    alice = site.user("alice")
    for amount in ("1.001", "0", "-1", "abc"):
        answer = alice.submit("/balance", "/balance/pay", amount=amount, provider="pay")
        assert answer.status_code == 422
    assert [one.action for one in refusals(site)] == ["payment-begin"] * 4
    assert [one.detail["fields"] for one in refusals(site)] == [["amount"]] * 4
    assert site.rig.facts(Payment) == []
