"""Money through the platform as a whole: who may, what is noted of a refusal, what a restart knows."""

from __future__ import annotations

import pytest
from platform_rig import OPERATOR, STRANGER, Rig
from test_payments import PROVIDERS, SECRET, body

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.group.platform.providers import sign
from gkmd.group.platform.records import Entry, Payment
from gkmd.group.platform.settings import PlatformSettings


@pytest.fixture
def rig() -> Rig:
    return Rig(PlatformSettings(providers=PROVIDERS))


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
    assert len(rig.audit_lines("voucher-refused")) == 1


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
        ("ledger", None),
        ("ledger-entries", q.ListEntries()),
    ):
        problem = rig.refused(operation, request or q.Nothing(), caller)
        assert problem.code == "forbidden", operation
    rig.do("user-credit", credit, OPERATOR)
    assert [one.amount for one in rig.do("balance", None, caller).balances] == [500]
