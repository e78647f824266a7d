"""The audit log: a line for what was done, and no line altered, removed, moved or put between unnoticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platform_rig import NOW, PASSWORD, STRANGER, Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Rule
from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import FieldProblem, Problem
from gkmd.group.platform import audit as audit_module
from gkmd.group.platform.audit import BEGINNING, Audit, Chain, sealed
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import ARCHIVED, AuditLine

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
DETAIL = st.dictionaries(st.sampled_from(["a", "b", "ü"]), JSON, max_size=2)


def lines_of(details: list[dict[str, Any]]) -> list[AuditLine]:
    facts = Facts((), ARCHIVED)
    audit = Audit(facts, None)
    lines = []
    for number, detail in enumerate(details):
        audit.note(f"a-{number % 2}", "act", f"s-{number % 3}", NOW + number, **detail)
        line = facts.newest(AuditLine)
        assert line is not None
        lines.append(line)
    return lines


def chain_of(lines: list[AuditLine], last: AuditLine | None = None) -> Chain:
    chain = Chain(last)
    chain.follow(lines)
    chain.finish()
    return chain


@settings(deadline=None)
@given(st.lists(DETAIL, max_size=8))
def test_what_was_written_verifies(details: list[dict[str, Any]]) -> None:
    lines = lines_of(details)
    chain = chain_of(lines, lines[-1] if lines else None)
    assert chain.broken is None
    assert chain.lines == len(lines)
    assert chain.head == (lines[-1].digest if lines else BEGINNING)


ALTERATIONS = {
    "at": lambda line: replace(line, at=line.at + 0.001),
    "actor": lambda line: replace(line, actor=line.actor + "x"),
    "action": lambda line: replace(line, action="other"),
    "subject": lambda line: replace(line, subject=""),
    "detail": lambda line: replace(line, detail={**line.detail, "more": 1}),
    "previous": lambda line: replace(line, previous="f" * 64),
    "digest": lambda line: replace(line, digest="0" * 64),
    "number": lambda line: replace(line, number=line.number + 1),
    "resealed": lambda line: sealed(replace(line, actor="nobody")),
    "previous resealed": lambda line: sealed(replace(line, previous="f" * 64)),
}


@settings(deadline=None)
@given(
    st.lists(DETAIL, min_size=1, max_size=6),
    st.data(),
    st.sampled_from(["alter", "remove", "swap", "insert", "repeat", "cut"]),
)
def test_any_change_is_found_at_its_first_line(
    details: list[dict[str, Any]], data: st.DataObject, how: str
) -> None:
    lines = lines_of(details)
    last = lines[-1]
    place = data.draw(st.integers(0, len(lines) - 1))
    changed = list(lines)
    if how == "alter":
        name = data.draw(st.sampled_from(sorted(ALTERATIONS)))
        changed[place] = ALTERATIONS[name](lines[place])
    elif how == "remove":
        del changed[place]
    elif how == "swap":
        other = data.draw(st.integers(0, len(lines) - 1))
        changed[place], changed[other] = changed[other], changed[place]
        place = min(place, other)
    elif how == "insert":
        made_up = AuditLine(place + 1, NOW, "x", "y", "z", {}, lines[place].previous, "")
        changed.insert(place, sealed(made_up))
    elif how == "repeat":
        changed.insert(place, lines[place])
        place += 1
    else:
        del changed[place:]
    if changed == lines:
        return
    chain = chain_of(changed, last)
    assert chain.why
    assert chain.broken is not None
    if how == "alter":
        # A line that was sealed again shows at the next one, which follows another.
        assert place + 1 <= chain.broken <= place + 2
    elif how == "insert":
        assert chain.broken in (place + 1, place + 2)
    else:
        assert chain.broken == place + 1


def test_the_operation_reads_all_pages_and_names_the_broken_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_PAGE", 3)
    rig = Rig()
    for number in range(10):
        rig.user(f"user{number}")
    verified = rig.do("audit-verify")
    assert (verified.lines, verified.broken, verified.why) == (10, None, "")
    assert verified.head == rig.audit_lines()[9].digest
    line = rig.audit_lines()[6]
    rig.journal["audit", line.key] = replace(line, actor="a-somebody-else")
    verified = rig.do("audit-verify")
    assert verified.broken == 7
    assert "line 7" in verified.why
    del rig.journal["audit", line.key]
    assert rig.do("audit-verify").broken == 7
    # That it was broken is in the log itself.
    assert rig.audit_lines("audit-verify")[-1].detail["broken"] == 7


def test_a_log_that_was_cut_while_the_daemon_runs_is_found() -> None:
    rig = Rig()
    for number in range(3):
        rig.user(f"user{number}")
    del rig.journal["audit", rig.audit_lines()[-1].key]
    assert rig.do("audit-verify").broken is None  # it may be on its way to the disk
    del rig.journal["audit", rig.audit_lines()[-1].key]
    rig.now += 60
    rig.user("later")
    del rig.journal["audit", rig.audit_lines()[-1].key]
    verified = rig.do("audit-verify")
    assert verified.broken == 3
    assert "ends with line 2" in verified.why


def test_a_log_that_was_written_anew_as_a_whole_is_found() -> None:
    rig = Rig()
    for number in range(3):
        rig.user(f"user{number}")
        rig.now += 60
    head = BEGINNING
    for line in rig.audit_lines():
        line = sealed(replace(line, actor="a-somebody-else", previous=head))
        head = line.digest
        rig.journal["audit", line.key] = line
    verified = rig.do("audit-verify")
    assert verified.broken in (2, 3)
    assert "another one" in verified.why


def test_a_whole_log_verifies_at_any_time() -> None:
    rig = Rig()
    for number in range(40):
        rig.now += 7 * (number % 9)
        rig.user(f"user{number}")
        if number % 5 == 0:
            rig.restart()
        rig.refused("user-add", q.AddUser(f"user{number}"))
        assert rig.do("audit-verify").broken is None


def test_lines_that_are_written_while_it_verifies_do_no_harm() -> None:
    rig = Rig()
    rig.user("eve")
    outcome = rig.begin("audit-verify", q.Nothing())
    rig.user("mallory")
    result = rig.end(rig.step(outcome))  # type: ignore[arg-type]
    assert result.result.broken is None  # type: ignore[union-attr]


def test_numbers_go_on_after_a_restart_and_after_a_refusal() -> None:
    rig = Rig()
    rig.user("eve")
    rig.restart()
    rig.refused("user-add", q.AddUser("eve"))
    rig.user("mallory")
    assert [(line.number, line.detail.get("refused")) for line in rig.audit_lines()] == [
        (1, None),
        (2, "conflict"),
        (3, None),
    ]
    assert rig.do("audit-verify").broken is None


def test_the_log_is_found_by_subject_and_actor_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_PAGE", 4)
    rig = Rig()
    people = [rig.user(f"user{number}") for number in range(5)]
    for number in range(5):
        rig.sign_in(f"user{number}")
    newest = rig.do("audit", q.ListAudit(limit=3))
    assert [line.number for line in newest.lines] == [10, 9, 8]
    rest = rig.do("audit", q.ListAudit(limit=500, after=newest.after))
    assert [line.number for line in rest.lines] == [7, 6, 5, 4, 3, 2, 1]
    assert rest.after == ""
    oldest = rig.do("audit", q.ListAudit(newest=False, subject=people[2].id))
    assert [line.action for line in oldest.lines] == ["user-add", "sign-in"]
    assert {line.subject_name for line in oldest.lines} == {"user2"}
    mine = rig.do("audit", q.ListAudit(actor=people[2].id))
    assert [(line.action, line.actor_name) for line in mine.lines] == [("sign-in", "user2")]
    assert rig.do("audit", q.ListAudit(subject="nobody")).lines == ()


def test_a_search_that_finds_little_ends_and_can_be_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_PAGE", 4)
    monkeypatch.setattr(audit_module, "_MOST_READ", 8)
    rig = Rig()
    first = rig.user("first")
    for number in range(20):
        rig.user(f"user{number}")
    found, after, pages = [], "", 0
    while True:
        page = rig.do("audit", q.ListAudit(subject=first.id, after=after))
        found += page.lines
        after, pages = page.after, pages + 1
        if not after:
            break
    assert len(found) == 1
    assert pages == 3


def test_what_changes_leaves_a_line_without_names_and_secrets() -> None:
    rig = Rig()
    caller = rig.caller("eve-the-login", "operator", "sender")
    token = rig.token(caller, "read", "operate")
    rig.user("mallory-the-login", "receiver", name="Mallory The Name")
    rig.do(
        "user-change", q.ChangeUser("mallory-the-login", password="a new long password", classes=("news",))
    )
    rig.do("password-change", q.ChangePassword(PASSWORD, "yet another password"), caller)
    rig.do("user-forget", q.ByLogin("mallory-the-login"))
    rig.refused("sign-in", q.SignIn("mallory-the-login", "guess-of-stranger"), STRANGER)
    text = repr(rig.audit_lines())
    for word in ("the-login", "The Name", 'password"', PASSWORD, "guess", caller.token, token.token):
        assert word not in text
    actions = [line.action for line in rig.audit_lines()]
    for action in ("user-add", "sign-in", "token-create", "user-change", "password-change", "user-forget"):
        assert action in actions


def test_a_change_that_was_refused_leaves_a_line_that_names_fields_and_nothing_else() -> None:
    rig = Rig()
    eve = rig.caller("eve", "sender")
    good: dict[str, Any] = {"title": "Opera", "duration": 3600, "admission": Rule(open=True)}
    wrong = q.Reserve(start="2020-01-01T00:00", time_zone="Europe/Atlantis", address="10.0.0.1", **good)
    assert rig.refused("reserve", wrong, eve).code == "invalid"
    (line,) = rig.audit_lines("reserve")
    assert line.actor.startswith("a-")
    assert line.detail["refused"] == "invalid"
    assert {"time_zone", "address"} <= set(line.detail["fields"])
    for text in ("2020", "Atlantis", "10.0.0.1"):
        assert text not in repr(line)
    # What is asked only, and what a stranger asks, is not written down.
    rig.do("reservation-check", wrong, eve)
    assert rig.refused("reserve", wrong, STRANGER).code == "sign-in-required"
    assert len(rig.audit_lines()) == len(rig.audit_lines("user-add")) + len(rig.audit_lines("sign-in")) + 1


def test_a_request_that_cannot_be_read_leaves_a_line_of_who_is_known() -> None:
    rig = Rig()
    eve = rig.caller("eve", "sender")
    operation = OPERATIONS["reserve"]
    fields = (FieldProblem("admission.price.amount", "a float"), FieldProblem("hunter2 is a secret", "x"))
    problem = Problem("invalid", "it cannot be read", fields)
    rig.end(rig.platform.malformed(operation, eve, problem, rig.now))
    (line,) = rig.audit_lines("reserve")
    assert line.detail["fields"] == ["admission.price.amount"]
    rig.end(rig.platform.malformed(operation, STRANGER, problem, rig.now))
    assert len(rig.audit_lines("reserve")) == 1


def test_a_token_that_is_none_any_more_leaves_a_line() -> None:
    """Somebody may have stolen it."""
    rig = Rig()
    eve = rig.caller("eve", "sender")
    rig.do("sign-out", caller=eve)
    assert rig.refused("reservation-list", q.ListReservations(), eve).code == "sign-in-required"
    (line,) = rig.audit_lines("reservation-list")
    assert (line.actor, line.detail["refused"]) == ("stranger", "sign-in-required")
    assert eve.token not in repr(line)


def test_a_session_that_goes_on_elsewhere_leaves_a_line() -> None:
    rig = Rig()
    eve = rig.caller("eve", "sender")
    owner = replace(eve, origin="192.0.2.1")
    for caller in (owner, replace(eve, origin="192.0.2.99"), owner):
        rig.do("reservation-list", q.ListReservations(), caller)
    assert rig.audit_lines("session-moved") == []
    rig.do("reservation-list", q.ListReservations(), replace(eve, origin="2001:db8::1"))
    rig.do("me", caller=replace(eve, origin="2001:db8::2"))
    (line,) = rig.audit_lines("session-moved")
    assert line.actor == line.subject == rig.do("me", caller=owner).id
    assert line.detail == {"origin": "2001:db8::/48", "before": "192.0.2.0/24"}
    # Where an API token is used from says nothing.
    token = rig.token(owner, "read")
    for origin in ("192.0.2.1", "198.51.100.1"):
        rig.do("me", caller=replace(token, origin=origin))
    assert len(rig.audit_lines("session-moved")) == 2


def test_strangers_cannot_hide_what_others_do() -> None:
    rig = Rig()
    eve = rig.caller("eve", "receiver")
    for number in range(1000):
        origin = f"2001:db8:{number:x}::1"
        rig.refused("sign-in", q.SignIn(f"user{number}", "x"), type(STRANGER)(origin=origin))
    assert rig.refused("ledger", caller=eve).code == "forbidden"
    assert len(rig.audit_lines("ledger")) == 1


def test_strangers_cannot_fill_the_journal() -> None:
    rig = Rig()
    before = len(rig.journal)
    for number in range(1000):
        origin = f"2001:db8:{number:x}::1"
        rig.refused("sign-in", q.SignIn(f"user{number}", "x"), type(STRANGER)(origin=origin))
    assert len(rig.journal) - before <= 110
