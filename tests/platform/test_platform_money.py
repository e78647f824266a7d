"""Money through the platform as a whole: who may, what is noted of a refusal, what a restart knows."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from platform_rig import OPERATOR, STRANGER, Rig
from provider_words import PROVIDERS, SECRET, body

from gkmd.api import requests as q
from gkmd.api.nouns import Amount, Rule
from gkmd.core.effect import Ask, Proof
from gkmd.core.identity import Identity, IdentityKind
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.providers import sign
from gkmd.group.platform.records import Entry, Payment
from gkmd.group.platform.settings import PlatformSettings


@pytest.fixture
def rig() -> Rig:
    return Rig(PlatformSettings(providers=PROVIDERS, fee_points=500, fee_fixed=10))


def paid(rig: Rig, amount: int | None = None) -> q.ProviderCall:
    (payment,) = rig.facts(Payment)
    octets = body(payment, "paid", amount=payment.amount if amount is None else amount)
    return q.ProviderCall("pay", octets.decode(), sign(octets, SECRET, rig.now))


def test_a_payment_arrives_once_and_is_there_after_a_restart(rig: Rig) -> None:
    caller = rig.caller("rx")
    rig.do("payment-begin", q.BeginPayment("pay", Amount(1000, "EUR")), caller)
    for _ in range(2):
        rig.do("provider-call", paid(rig), STRANGER)
        rig.restart()
    assert [one.amount for one in rig.do("balance", None, caller).balances] == [1000]
    assert len(rig.facts(Entry)) == 1
    assert rig.do("ledger").balanced
    assert [one.kind for one in rig.do("ledger-entries", q.ListEntries(account="provider:pay")).entries] == [
        "payment"
    ]


def test_forged_and_lying_calls_leave_a_line_and_nothing_else(rig: Rig) -> None:
    rig.do("payment-begin", q.BeginPayment("pay", Amount(1000, "EUR")), rig.caller("rx"))
    forged = q.ProviderCall("pay", paid(rig).body, f"t={int(rig.now)},v1={'0' * 64}")
    assert rig.refused("provider-call", forged, STRANGER).code == "forbidden"
    assert rig.refused("provider-call", paid(rig, 999), STRANGER).code == "conflict"
    lines = rig.audit_lines("provider-call-refused")
    assert [line.actor for line in lines] == ["provider:pay"] * 2
    assert rig.facts(Entry) == []


def test_a_flood_of_forged_calls_does_not_fill_the_journal(rig: Rig) -> None:
    forged = q.ProviderCall("pay", "{}", f"t={int(rig.now)},v1={'0' * 64}")
    for _ in range(300):
        rig.refused("provider-call", forged, STRANGER)
    assert len(rig.audit_lines("provider-call-refused")) <= 100


def test_a_wrong_voucher_leaves_a_line(rig: Rig) -> None:
    caller = rig.caller("rx")
    assert rig.refused("voucher-redeem", q.RedeemVoucher("0000"), caller).code == "not-found"
    (line,) = rig.audit_lines("voucher-refused")
    assert line.detail["origin"] == "192.0.2.0/24"


def test_the_operators_business_is_the_operators(rig: Rig) -> None:
    caller = rig.caller("rx", "receiver", "sender")
    credit = q.CreditUser("rx", Amount(500, "EUR"), "bank 1")
    for operation, request in (
        ("user-credit", credit),
        ("user-pay-back", credit),
        ("user-settle", credit),
        ("user-pay-out", credit),
        ("value-voucher-create", q.CreateValueVouchers(Amount(1, "EUR"), 1)),
        ("value-voucher-list", None),
        ("value-voucher-revoke", q.ById("b-1")),
        ("user-balance", q.ByLogin("rx")),
        ("ledger", None),
        ("ledger-entries", q.ListEntries()),
    ):
        problem = rig.refused(operation, request, caller)
        assert problem.code == "forbidden", operation
    rig.do("user-credit", credit, OPERATOR)
    assert [one.amount for one in rig.do("balance", None, caller).balances] == [500]
    assert rig.do("user-balance", q.ByLogin("rx")) == rig.do("balance", None, caller)
    assert rig.refused("user-balance", q.ByLogin("nobody")).code == "not-found"


def admit(rig: Rig, login: str, reservation: str, caller: Caller) -> None:
    """The receiver gets a ticket and registers with it."""
    price = Amount(250, "EUR")
    ticket = rig.do("ticket-issue", q.IssueTicket(reservation, most=price), caller).id
    ask = Ask(
        1,
        Identity(IdentityKind.KEY_ID, ticket.encode()),
        Identity(IdentityKind.KEY_ID, reservation.encode()),
        ip_address("192.0.2.7"),
        False,
        0,
        Proof.TICKET,
    )
    policy = rig.platform.policy_of(ask.group_id)
    assert policy is not None
    verdict = rig.platform.decide(ask, policy, rig.now)
    assert verdict.refusal is None, verdict
    rig.write(rig.platform.admitted(ask, verdict, policy, rig.now))


def test_from_the_price_to_the_statement_and_back(rig: Rig) -> None:
    sender = rig.caller("tx", "sender")
    start = datetime.fromtimestamp(rig.now + 30, UTC).isoformat(timespec="seconds")
    request = q.Reserve("Match", start, 3600, admission=Rule(price=Amount(250, "EUR")))
    reservation = rig.do("reserve", request, sender).id
    receivers = {login: rig.caller(login) for login in ("ada", "bob")}
    rig.do("user-credit", q.CreditUser("ada", Amount(1000, "EUR"), "bank 1"))
    rig.do("user-change", q.ChangeUser("bob", credit_limit=Amount(300, "EUR")))
    for login, caller in receivers.items():
        admit(rig, login, reservation, caller)
        admit(rig, login, reservation, caller)
    rig.restart()
    statement = rig.do("statement", q.StatementOf(id=reservation), sender)
    assert [(line.name, line.gross, line.fee, line.net) for line in statement.lines] == [
        ("ada", 250, 23, 227),
        ("bob", 250, 23, 227),
    ]
    assert statement.receivers == 2
    assert rig.do("statistics", q.ById(reservation), sender).money == statement.totals
    (bob,) = rig.do("balance", None, receivers["bob"]).owed
    assert bob.amount == 250
    assert rig.refused("statement", q.StatementOf(id=reservation), receivers["bob"]).code in (
        "forbidden",
        "not-found",
    )
    rig.do("reservation-cancel", q.CancelReservation(reservation), sender)
    (total,) = rig.do("statement", q.StatementOf(id=reservation), sender).totals
    assert (total.charges, total.refunds, total.gross, total.fees, total.net) == (2, 2, 0, 0, 0)
    assert [one.amount for one in rig.do("balance", None, receivers["ada"]).balances] == [1000]
    assert rig.do("balance", None, receivers["bob"]).owed == ()
    assert {one.account: one.balance for one in rig.do("ledger").accounts if one.balance} == {
        "cash": 1000,
        f"balance:{rig.do('me', None, receivers['ada']).id}": -1000,
    }
