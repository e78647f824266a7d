"""A sender who was paid out gives nothing back from the platform's pocket: it may be the receiver, too."""

from __future__ import annotations

import pytest
from platform_rig import OPERATOR, Rig
from test_door_groups import PRICE, by_ticket, register, reserve

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.group.platform.outcome import Caller


def paid_out(amount: int) -> tuple[Rig, Caller, Caller, str]:
    """One receiver paid 2.50 EUR, and the sender has ``amount`` of it."""
    rig = Rig()
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    rig.do("user-credit", q.CreditUser("rx", Amount(250, "EUR"), "cash"))
    id = reserve(rig, sender, admission=PRICE)
    rig.pass_time(600)
    assert register(rig, by_ticket(rig, id, receiver, most=Amount(250, "EUR"))) is None
    if amount:
        rig.do("user-pay-out", q.CreditUser("tx", Amount(amount, "EUR"), "transfer"))
    return rig, sender, receiver, id


@pytest.mark.parametrize("amount", [1, 250])
def test_what_was_paid_out_goes_back_by_an_operator_alone(amount: int) -> None:
    rig, sender, receiver, id = paid_out(amount)
    evict = q.Evict(id, rig.platform.accounts.named("rx").id, refund=True)
    assert rig.refused("receiver-evict", evict, sender).code == "conflict"
    assert rig.refused("reservation-cancel", q.CancelReservation(id), sender).code == "conflict"
    assert rig.do("balance", None, receiver).available == (Amount(0, "EUR"),)
    assert rig.do("reservation-show", q.ById(id), sender).cancelled is None
    rig.do("reservation-cancel", q.CancelReservation(id), OPERATOR)
    assert rig.do("balance", None, receiver).available == (Amount(250, "EUR"),)
    assert rig.do("ledger").balanced


def test_what_was_not_paid_out_the_sender_gives_back() -> None:
    rig, sender, receiver, id = paid_out(0)
    rig.do("receiver-evict", q.Evict(id, rig.platform.accounts.named("rx").id, refund=True), sender)
    assert rig.do("balance", None, receiver).available == (Amount(250, "EUR"),)
    rig.do("reservation-cancel", q.CancelReservation(id), sender)
    assert rig.do("ledger").balanced


def test_who_was_paid_out_may_still_evict_and_end() -> None:
    rig, sender, _, id = paid_out(250)
    rig.do("receiver-evict", q.Evict(id, rig.platform.accounts.named("rx").id), sender)
    rig.do("reservation-change", q.ChangeReservation(id, duration=10), sender)
