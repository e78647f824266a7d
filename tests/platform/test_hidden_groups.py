"""With ``hide_groups`` nobody learns from a refusal that a private transmission exists."""

from __future__ import annotations

import pytest
from platform_rig import Rig
from test_door_groups import by_ticket, question, reserve

from gkmd.api import requests as q
from gkmd.api.nouns import Amount, Rule
from gkmd.core.change import Journalled
from gkmd.core.effect import Ask, Proof
from gkmd.core.identity import Identity
from gkmd.group.directory import Directory
from gkmd.group.model import Refusal, Verdict
from gkmd.group.platform.parties import identity_of

RULES = [
    Rule(names=True),
    Rule(vouchers=True),
    Rule(price=Amount(250, "EUR")),
    Rule(classes=("gold",)),
    Rule(all=(Rule(names=True), Rule(price=Amount(250, "EUR")))),
]


class Hiding(Rig):
    def make_directory(self) -> Directory:
        journalled = Journalled(tuple(self.groups.values()), tuple(self.members.values()))
        policies = self.platform.reservations.policies(self.now)
        return Directory(policies, self.rng, self.now, journalled, conceal=True, doorkeeper=self.platform)


def strangers(rig: Rig, group: str) -> list[Ask]:
    account = f"account:{rig.platform.accounts.named('rx').id}"
    return [
        question(Identity.parse("fqdn:rx.example"), group),
        question(Identity.parse("fqdn:rx.example"), group, wants_to_send=True),
        question(identity_of("rx"), group, proof=Proof.PASSWORD, grounds=account),
        question(identity_of("rx"), group, proof=Proof.PASSWORD, grounds="names:another"),
    ]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("state", ["on", "cancelled", "over"])
def test_a_private_transmission_is_refused_like_one_that_does_not_exist(rule: Rule, state: str) -> None:
    rig = Hiding()
    sender = rig.caller("tx", "sender")
    rig.user("rx")
    id = reserve(rig, sender, admission=rule, visibility="private")
    rig.pass_time(600)
    if state == "cancelled":
        rig.do("reservation-cancel", q.CancelReservation(id), sender)
        rig.pass_time(60)
    elif state == "over":
        rig.pass_time(4000)
    for ask, of_none in zip(strangers(rig, id), strangers(rig, "nothing"), strict=True):
        verdict = rig.directory.decide(ask, rig.now)
        assert verdict == rig.directory.decide(of_none, rig.now) == Verdict(Refusal.NOT_AUTHORIZED)


def test_who_knows_it_is_told_why() -> None:
    rig = Hiding()
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    id = reserve(rig, sender, visibility="private")
    ask = by_ticket(rig, id, receiver)
    rig.pass_time(600)
    rig.do("reservation-cancel", q.CancelReservation(id), sender)
    assert rig.directory.decide(ask, rig.now).refusal is Refusal.CANCELLED
    shown = reserve(rig, sender, admission=Rule(price=Amount(250, "EUR")))
    assert rig.directory.decide(strangers(rig, shown)[0], rig.now).refusal is Refusal.PAYMENT_REQUIRED
