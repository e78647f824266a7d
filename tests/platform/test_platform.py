"""The platform as a whole: every operation has somebody who carries it out, and a restart forgets nothing."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import pytest
from platform_rig import NOW, OPERATOR, PASSWORD, STRANGER, Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Amount, Rule
from gkmd.api.operations import PORTALS
from gkmd.api.problem import Problem
from gkmd.core.effect import Ask, Proof
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.once import MOST_OF_ONE, Once
from gkmd.group.platform.outcome import Call, Caller, Verify
from gkmd.group.platform.platform import Platform
from gkmd.group.platform.records import Admission, OnceWord
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.work import Work

HOST = ipaddress.ip_address("192.0.2.7")
SETTINGS = PlatformSettings(
    server_identity="fqdn:gcks.example", server_addresses=(ipaddress.ip_address("192.0.2.1"),)
)


def local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def paid_transmission(rig: Rig, money: int = 1000) -> tuple[str, Caller, Caller, str]:
    """A reservation with a price of 250, its sender, a receiver with money, and the receiver's ticket."""
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    rig.do("user-credit", q.CreditUser("rx", Amount(money, "EUR"), "cash 1"))
    view = rig.do(
        "reserve",
        q.Reserve("A talk", local(rig.now + 600), 3600, admission=Rule(price=Amount(250, "EUR"))),
        sender,
    )
    ticket = rig.do("ticket-issue", q.IssueTicket(view.id, most=Amount(300, "EUR")), receiver)
    return view.id, sender, receiver, ticket.id


def join(rig: Rig, reservation: str, ticket: str, spi: bytes = b"\x01" * 8) -> None:
    ask = Ask(
        1,
        Identity.parse(f"keyid:{ticket}"),
        Identity.parse(f"keyid:{reservation}"),
        HOST,
        False,
        0,
        Proof.TICKET,
    )
    joined = rig.directory.join(ask, rig.directory.decide(ask, rig.now), spi, rig.now)
    rig.write(joined.changes)


def test_every_operation_is_carried_out_by_somebody() -> None:
    platform = Rig().platform
    daemons_own = {"health", "metrics"}
    for name in PORTALS.keys() - daemons_own:
        outcome = platform.execute(Call(name, None, OPERATOR), NOW)
        assert outcome.problem.code == "bad-request", name  # type: ignore[union-attr]
    assert set(platform._execution._handlers) == PORTALS.keys() - daemons_own


def test_operations_of_the_daemon_are_carried_out_like_the_others() -> None:
    rig = Rig()

    def health(request: q.Nothing, work: Work) -> str:
        return work.who.actor

    rig.platform = Platform(SETTINGS, (), (), rig.rng, rig.now, {"health": health})
    assert rig.do("health") == "unix:0"
    assert rig.refused("health", caller=STRANGER).code == "sign-in-required"


def test_a_receiver_is_admitted_charged_and_shown() -> None:
    rig = Rig(SETTINGS)
    id, sender, receiver, ticket = paid_transmission(rig)
    rig.pass_time(700)
    join(rig, id, ticket)
    join(rig, id, ticket, b"\x02" * 8)
    (one,) = rig.do("receiver-list", q.ReceiversOf(id=id), sender).receivers
    assert (one.name, one.charged, one.member) == ("rx", Amount(250, "EUR"), True)
    (member,) = rig.do("members", q.MembersOf()).members
    assert (member.group, member.name, member.role) == (id, "rx", "receiver")
    assert rig.do("members", q.MembersOf(group=id, limit=1)).count == 1
    assert rig.refused("members", q.MembersOf(group="none")).code == "not-found"
    assert rig.do("balance", caller=receiver).balances == (Amount(750, "EUR"),)
    assert rig.do("ledger").balanced
    assert rig.do("audit-verify").broken is None
    assert rig.refused("user-forget", q.ByLogin("rx")).code == "conflict"


def test_a_restart_forgets_nothing() -> None:
    rig = Rig(SETTINGS)
    id, sender, receiver, ticket = paid_transmission(rig)
    rig.pass_time(700)
    join(rig, id, ticket)
    rig.pass_time(5)
    looks = [
        ("reservation-show", q.ById(id), sender),
        ("receiver-list", q.ReceiversOf(id=id), sender),
        ("statistics", q.ById(id), sender),
        ("ticket-list", q.ListTickets(), receiver),
        ("balance", q.Nothing(), receiver),
        ("catalogue", q.Catalogue(), STRANGER),
        ("user-list", q.ListUsers(), OPERATOR),
        ("ledger", q.ListAccounts(), OPERATOR),
        ("members", q.MembersOf(), OPERATOR),
        ("audit", q.ListAudit(), OPERATOR),
        ("session-list", q.Nothing(), receiver),
    ]
    before = [rig.do(*look) for look in looks]
    rig.restart()
    assert [rig.do(*look) for look in looks] == before
    join(rig, id, ticket, b"\x02" * 8)  # it was admitted before
    (admission,) = rig.facts(Admission)
    assert admission.amount == 250
    rig.pass_time(4000)
    assert rig.do("reservation-show", q.ById(id), sender).state == "over"
    assert rig.do("members", q.MembersOf()).count == 0


def test_who_is_forgotten_leaves_the_books_whole() -> None:
    rig = Rig(SETTINGS)
    id, sender, receiver, ticket = paid_transmission(rig, money=250)
    rig.pass_time(700)
    join(rig, id, ticket)
    statement = rig.do("statement", q.StatementOf(id=id), sender)
    # A sender whose transmission is not over stays, and who may yet get its money back.
    assert rig.refused("user-forget", q.ByLogin("tx")).code == "conflict"
    assert rig.refused("user-forget", q.ByLogin("rx")).code == "conflict"
    rig.pass_time(5000)
    receiver = rig.sign_in("rx")
    outcome = rig.outcome_of("user-forget", q.ByLogin("rx"))
    assert Identity.parse(f"keyid:{ticket}") in outcome.disowned
    assert any("1 admissions" in text for text in outcome.result.kept)  # type: ignore[union-attr]
    after = rig.do("statement", q.StatementOf(id=id), sender)
    assert (after.totals, after.receivers) == (statement.totals, 1)
    assert [(line.name, line.gross) for line in after.lines] == [("", 250)]
    assert rig.platform.secret_of(Identity.parse(f"keyid:{ticket}")) is None
    assert rig.refused("ticket-list", caller=receiver).code == "sign-in-required"
    assert '"rx"' not in repr(rig.journal).replace("'", '"')
    assert rig.do("ledger").balanced
    assert rig.do("audit-verify").broken is None
    # A sender who is owed its earnings stays.
    assert "250" in rig.refused("user-forget", q.ByLogin("tx")).detail.replace(".", "")
    rig.do("user-pay-out", q.CreditUser("tx", Amount(250, "EUR"), "transfer 1"))
    kept = rig.do("user-forget", q.ByLogin("tx")).kept
    assert any("1 reservations" in text for text in kept)
    assert rig.do("reservation-show", q.ById(id)).owner == ""


def test_who_is_disabled_loses_what_the_ticket_has_opened() -> None:
    rig = Rig(SETTINGS)
    _, _, _, ticket = paid_transmission(rig)
    outcome = rig.outcome_of("user-change", q.ChangeUser("rx", disabled=True))
    assert Identity.parse(f"keyid:{ticket}") in outcome.disowned
    assert Identity.parse("keyid:rx") in outcome.disowned
    assert rig.platform.withdrawn(Identity.parse(f"keyid:{ticket}"), "")
    rig.do("user-credit", q.CreditUser("rx", Amount(1, "EUR"), "cash 2"))
    assert rig.refused("user-forget", q.ByLogin("rx")).code == "conflict"


def test_a_fault_of_ours_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()

    def faulty(request: q.Nothing, work: Work) -> None:
        rig.platform.audit.note("a", "b", "c", work.now)
        raise ZeroDivisionError

    rig.platform = Platform(SETTINGS, (), (), rig.rng, rig.now, {"health": faulty})
    with pytest.raises(ZeroDivisionError):
        rig.do("health")
    assert not rig.platform.facts.changed
    assert rig.platform.audit.lines == 0


def test_a_refusal_after_a_change_takes_the_change_back() -> None:
    rig = Rig()

    def late(request: q.Nothing, work: Work) -> None:
        rig.platform.once.keep("x", "y", "z", request, "subject", work.now)
        work.even_if_refused(lambda: rig.platform.audit.note("a", "refused", "c", work.now))
        raise Problem("conflict", "too late")

    rig.platform = Platform(SETTINGS, (), (), rig.rng, rig.now, {"health": late})
    assert rig.refused("health").code == "conflict"
    assert not rig.facts(OnceWord)
    assert not list(rig.platform.facts.all(OnceWord))
    assert [line.action for line in rig.audit_lines()] == ["refused"]


def test_a_handler_that_changes_facts_before_a_password_is_looked_at_is_a_fault() -> None:
    rig = Rig()

    def hasty(request: q.Nothing, work: Work) -> Verify:
        rig.platform.audit.note("a", "b", "c", work.now)
        return Verify("", SecretBytes(b""), lambda right, now: None)

    rig.platform = Platform(SETTINGS, (), (), rig.rng, rig.now, {"health": hasty})
    with pytest.raises(RuntimeError):
        rig.do("health")
    assert not rig.platform.facts.changed


def test_a_change_that_nobody_noted_leaves_a_line_all_the_same() -> None:
    rig = Rig()

    def quiet(request: q.SignUp, work: Work) -> None:
        rig.platform.once.keep("x", "y", "z", request, "subject", work.now)

    rig.platform = Platform(SETTINGS, (), (), rig.rng, rig.now, {"sign-up": quiet})
    rig.do("sign-up", q.SignUp("eve", PASSWORD))
    (line,) = rig.audit_lines()
    assert (line.actor, line.action) == ("unix:0", "sign-up")


# Words that make a request once


def test_a_word_makes_a_request_once() -> None:
    facts = Facts()
    once = Once(facts)
    request = q.BeginPayment("bank", Amount(1, "EUR"), "word")
    assert once.found("a-1", "pay", "word", request) is None
    once.keep("a-1", "pay", "word", request, "y-1", NOW)
    assert once.found("a-1", "pay", "word", request) == "y-1"
    assert once.found("a-2", "pay", "word", request) is None
    assert once.found("a-1", "reserve", "word", request) is None
    assert once.found("a-1", "pay", "", request) is None
    with pytest.raises(Problem, match="another request"):
        once.found("a-1", "pay", "word", q.BeginPayment("bank", Amount(2, "EUR"), "word"))
    facts.rollback()
    assert once.found("a-1", "pay", "word", request) is None


def test_words_are_bounded_and_go_with_time_and_their_account() -> None:
    facts = Facts()
    once = Once(facts)
    for number in range(MOST_OF_ONE + 5):
        once.keep("a-1", "pay", f"word {number}", number, f"y-{number}", NOW + number)
    assert facts.count(OnceWord) == MOST_OF_ONE
    assert once.found("a-1", "pay", "word 4", 4) is None
    assert once.found("a-1", "pay", "word 5", 5) == "y-5"
    once.keep("a-2", "pay", "word", 1, "y", NOW)
    once.forget("a-1")
    assert facts.count(OnceWord) == 1
    once.sweep(NOW + 6 * 86_400)
    assert facts.count(OnceWord) == 1
    once.sweep(NOW + 7 * 86_400)
    assert facts.count(OnceWord) == 0


def test_a_form_that_is_posted_twice_reserves_once_even_after_a_restart() -> None:
    rig = Rig(SETTINGS)
    sender = rig.caller("tx", "sender")
    request = q.Reserve("A talk", local(rig.now + 600), 3600, Rule(open=True), once="form 1")
    first = rig.do("reserve", request, sender)
    assert rig.do("reserve", request, sender).id == first.id
    rig.restart()
    assert rig.do("reserve", request, sender).id == first.id
    rig.do("reservation-cancel", q.CancelReservation(first.id), sender)
    assert len(rig.facts(OnceWord)) == 1
    other = q.Reserve("Another talk", local(rig.now + 600), 3600, Rule(open=True), once="form 1")
    assert rig.refused("reserve", other, sender).code == "conflict"
    assert len(rig.do("reservation-list", q.ListReservations(), sender).reservations) == 1
    rig.do("user-forget", q.ByLogin("tx"))
    assert not rig.facts(OnceWord)
