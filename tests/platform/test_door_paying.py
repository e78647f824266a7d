"""What the door charges: the price, once, and with consent."""

from __future__ import annotations

import pytest
from door_rig import (
    NOW,
    PRICE,
    VOUCHERS,
    DoorRig,
    agreed,
    policy_named,
    ticket,
)

from gkmd.api.nouns import Amount
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.money import Money
from gkmd.group.model import Refusal, Refused


@pytest.fixture
def rig() -> DoorRig:
    rig = DoorRig()
    rig.user("tx", roles=("sender",))
    return rig


def test_a_price_is_charged_once_however_often_one_registers(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    ask = rig.by_ticket(ticket(rig, "rx", most=Amount(250, "EUR")))
    assert rig.register(ask).price == Money("EUR", 250)
    before = len(rig.journal)
    for _ in range(3):
        assert rig.register(ask).price is None
    rig.restart()
    assert rig.register(ask).refusal is None
    assert len(rig.journal) == before
    assert rig.balance("rx") == 750
    assert len(rig.entries("charge")) == len(rig.admissions()) == len(rig.audited("admit")) == 1


def test_consent_below_the_price_is_told_the_price(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    verdict = rig.register(rig.by_password("rx", evidence=agreed(249)))
    assert (verdict.refusal, verdict.price) == (Refusal.PRICE_TOO_HIGH, Money("EUR", 250))
    assert rig.balance("rx") == 1000


def test_without_consent_or_money_payment_is_required(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    rig.user("ry", 249)
    asks = [
        rig.by_password("rx"),
        rig.by_password("ry", evidence=agreed(250)),
        rig.ask(Identity.parse("fqdn:rx.example"), evidence=agreed(250)),  # nobody to charge
    ]
    for ask in asks:
        verdict = rig.register(ask)
        assert (verdict.refusal, verdict.price) == (Refusal.PAYMENT_REQUIRED, Money("EUR", 250))


def test_the_larger_of_two_consents_counts(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    id = ticket(rig, "rx", most=Amount(250, "EUR"))
    assert rig.decide(rig.by_ticket(id, evidence=agreed(1))).refusal is None
    rig.change(admission={"price": {"amount": 300, "currency": "EUR"}})
    assert rig.decide(rig.by_ticket(id)).refusal is Refusal.PRICE_TOO_HIGH
    assert rig.decide(rig.by_ticket(id, evidence=agreed(300))).price == Money("EUR", 300)


def test_who_was_refunded_pays_again(rig: DoorRig) -> None:
    reservation = rig.reserve(PRICE)
    rig.user("rx", 1000)
    ask = rig.by_ticket(ticket(rig, "rx", most=Amount(250, "EUR")))
    rig.register(ask)
    rig.billing.refund(reservation, rig.admissions()[0], "sorry", NOW)
    rig.put()
    assert rig.balance("rx") == 1000
    assert rig.register(ask).price == Money("EUR", 250)
    assert rig.balance("rx") == 750
    assert rig.book.calls == [("admitted", "talk", True), ("admitted", "talk", False)]


def test_two_by_one_balance_at_once(rig: DoorRig) -> None:
    """Both are decided before either is taken."""
    rig.reserve(PRICE)
    rig.reserve(PRICE, "other")
    rig.user("rx", 250)
    asks = [
        rig.by_ticket(ticket(rig, "rx", where, most=Amount(250, "EUR")), where) for where in ("talk", "other")
    ]
    verdicts = [rig.decide(ask) for ask in asks]
    rig.write(rig.door.admitted(asks[0], verdicts[0], policy_named(asks[0]), NOW))
    with pytest.raises(Refused) as refused:
        rig.door.admitted(asks[1], verdicts[1], policy_named(asks[1]), NOW)
    assert refused.value.refusal is Refusal.PAYMENT_REQUIRED
    assert rig.facts.commit() == ()
    assert rig.balance("rx") == 0


def test_two_by_one_voucher_at_once(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    code = rig.code()
    for login in ("rx", "ry"):
        rig.user(login)
    asks = [rig.by_password(login, evidence=Evidence(code)) for login in ("rx", "ry")]
    verdicts = [rig.decide(ask) for ask in asks]
    assert [verdict.refusal for verdict in verdicts] == [None, None]
    rig.write(rig.door.admitted(asks[0], verdicts[0], policy_named(asks[0]), NOW))
    with pytest.raises(Refused) as refused:
        rig.door.admitted(asks[1], verdicts[1], policy_named(asks[1]), NOW)
    assert refused.value.refusal is Refusal.VOUCHER_INVALID
    assert rig.facts.commit() == ()
    assert [one.party for one in rig.admissions()] == ["a-rx"]
