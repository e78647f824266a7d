"""Money that goes back goes back to somebody: who was forgotten has no balance that anybody could pay out."""

from __future__ import annotations

import pytest
from platform_rig import Rig
from test_door_groups import PRICE, by_ticket, register, reserve

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.group.platform.outcome import Caller

COST = Amount(250, "EUR")


def paid() -> tuple[Rig, Caller, str]:
    """``rx`` has paid with all that it had."""
    rig = Rig()
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    rig.do("user-credit", q.CreditUser("rx", COST, "cash"))
    id = reserve(rig, sender, admission=PRICE)
    ask = by_ticket(rig, id, receiver, most=COST)
    rig.pass_time(600)
    assert register(rig, ask) is None
    return rig, sender, id


def orphans(rig: Rig) -> list[str]:
    """Balances of accounts that are no more."""
    known = {f"balance:{account.id}" for account in rig.platform.accounts.all()}
    return [
        one.account
        for one in rig.platform.ledger.accounts()
        if one.account.startswith("balance:") and one.amount and one.account not in known
    ]


@pytest.mark.parametrize("how", ["cancel", "evict"])
def test_who_may_yet_get_money_back_is_not_forgotten(how: str) -> None:
    rig, sender, id = paid()
    problem = rig.refused("user-forget", q.ByLogin("rx"))
    assert problem.code == "conflict"
    assert id in problem.detail
    if how == "cancel":
        rig.do("reservation-cancel", q.CancelReservation(id), sender)
    else:
        rig.do("receiver-evict", q.Evict(id, rig.platform.accounts.named("rx").id, refund=True), sender)
    assert "balance of 2.50 EUR" in rig.refused("user-forget", q.ByLogin("rx")).detail
    rig.do("user-pay-back", q.CreditUser("rx", COST, "cash back"))
    rig.do("user-forget", q.ByLogin("rx"))
    assert orphans(rig) == []


def test_who_was_forgotten_is_given_nothing_back() -> None:
    rig, sender, id = paid()
    party = rig.platform.accounts.named("rx").id
    rig.pass_time(7200)
    rig.do("user-forget", q.ByLogin("rx"))
    for caller in (sender, None):
        more = () if caller is None else (caller,)
        assert rig.refused("receiver-evict", q.Evict(id, party, refund=True), *more).code == "conflict"
    assert orphans(rig) == []
    assert rig.do("statement", q.StatementOf(id=id), sender).totals[0].gross == 250
    rig.do("receiver-evict", q.Evict(id, party), sender)
