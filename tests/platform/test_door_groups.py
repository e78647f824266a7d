"""The door with the real platform and its groups: eviction, our own faults, groups of the configuration."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from platform_rig import PASSWORD, Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Amount, Host, Rule
from gkmd.core.effect import Ask, AskPassword, Proof
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.money import Money
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.group.directory import Directory
from gkmd.group.group import Group
from gkmd.group.model import GroupPolicy, Refusal
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.parties import identity_of
from gkmd.group.platform.records import Admission

HOST = ipaddress.ip_address("192.0.2.7")
PRICE = Rule(price=Amount(250, "EUR"))
CONSENT = Evidence(most=Money("EUR", 250))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def reserve(rig: Rig, sender: Caller, title: str = "A talk", **more: Any) -> str:
    start = datetime.fromtimestamp(rig.now + 600, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    request = q.Reserve(title, start, 3600, **({"admission": Rule(open=True)} | more))
    id = str(rig.do("reserve", request, sender).id)
    return id


def question(identity: Identity, group: str, **more: Any) -> Ask:
    fields: dict[str, Any] = {"wants_to_send": False, "sender_ids": 1, **more}
    return Ask(1, identity, Identity.parse(f"keyid:{group}"), HOST, **fields)


def by_ticket(rig: Rig, group: str, caller: Caller, **more: Any) -> Ask:
    ticket = rig.do("ticket-issue", q.IssueTicket(group, **more), caller)
    return question(Identity.parse(f"keyid:{ticket.id}"), group, proof=Proof.TICKET)


def register(rig: Rig, ask: Ask, spi: int = 1) -> Refusal | None:
    verdict = rig.directory.decide(ask, rig.now)
    if verdict.refusal is None:
        joined = rig.directory.join(ask, verdict, spi.to_bytes(8, "big"), rig.now)
        rig.write(joined.changes)
        for order in joined.orders:
            rig.write(rig.directory.sealed(order, b"a rekey", rig.now))
    else:
        rig.write(rig.directory.refused(ask, verdict, rig.now))
    return verdict.refusal


def identities(rig: Rig, group: str) -> set[Identity]:
    return {member.identity for member in rig.directory.members(group)}


def test_before_it_opens_a_receiver_is_told_when_and_not_charged(rig: Rig) -> None:
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    rig.do("user-credit", q.CreditUser("rx", Amount(250, "EUR"), "cash"))
    id = reserve(rig, sender, admission=PRICE)
    ask = by_ticket(rig, id, receiver, most=Amount(250, "EUR"))
    verdict = rig.directory.decide(ask, rig.now)
    assert (verdict.refusal, verdict.come_back) == (Refusal.NOT_YET_OPEN, rig.now + 540)
    register(rig, ask)
    assert rig.facts(Admission) == []
    rig.pass_time(600)
    assert register(rig, ask) is None
    assert [len(one.charges) for one in rig.facts(Admission)] == [1]
    rig.pass_time(3700)
    assert register(rig, ask) is Refusal.CLOSED


def test_who_is_evicted_loses_the_keys_and_all_others_register_anew(rig: Rig) -> None:
    sender = rig.caller("tx", "sender")
    id = reserve(rig, sender)
    asks = [by_ticket(rig, id, rig.caller(login)) for login in ("rx", "ry")]
    rig.pass_time(600)
    for spi, ask in enumerate(asks):
        assert register(rig, ask, spi) is None
    keys = {sa.spi for sa in rig.directory.sas(id).rekey_sas if sa.removed_at is None}
    party = rig.platform.accounts.named("rx").id
    rig.do("receiver-evict", q.Evict(id, party), sender)
    assert asks[0].identity in rig.outcome.disowned  # type: ignore[union-attr]
    assert identities(rig, id) == set()
    assert keys.isdisjoint(sa.spi for sa in rig.directory.sas(id).rekey_sas if sa.removed_at is None)
    assert [register(rig, ask) for ask in asks] == [Refusal.REVOKED, None]
    before = dict(rig.journal)
    rig.restart()
    assert rig.journal.keys() >= before.keys()
    assert [register(rig, ask) for ask in asks] == [Refusal.REVOKED, None]
    assert len(rig.facts(Admission)) == 2


def test_a_group_that_fails_after_the_charge_gives_it_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    rig.do("user-credit", q.CreditUser("rx", Amount(250, "EUR"), "cash"))
    id = reserve(rig, sender, admission=PRICE)
    ask = by_ticket(rig, id, receiver, most=Amount(250, "EUR"))
    rig.pass_time(600)

    def broken(*args: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Group, "take", broken)
        with pytest.raises(RuntimeError):
            register(rig, ask)
    assert rig.do("balance", caller=receiver).balances == (Amount(250, "EUR"),)
    assert register(rig, ask) is None
    (balance,) = rig.do("balance", caller=receiver).balances or (Amount(0, "EUR"),)
    assert balance.amount == 0
    rig.restart()
    assert register(rig, ask) is None
    (admission,) = rig.facts(Admission)
    assert [charge.refunded is None for charge in admission.charges] == [False, True]
    assert rig.do("statement", q.StatementOf(id=id), sender).receivers == 1
    assert rig.do("audit-verify").broken is None


def test_a_password_by_eap_and_the_same_connection_for_another_group(rig: Rig) -> None:
    """As the key server asks: first about the password, then about the group."""
    sender, _ = rig.caller("tx", "sender"), rig.caller("rx")
    rig.do("user-credit", q.CreditUser("rx", Amount(500, "EUR"), "cash"))
    id, other = reserve(rig, sender, admission=PRICE), reserve(rig, sender, "Another", admission=PRICE)
    rig.pass_time(600)
    name, group = identity_of("rx"), Identity.parse(f"keyid:{id}")
    check = rig.platform.password_of(
        AskPassword(1, name, group, HOST, SecretBytes(PASSWORD.encode())), rig.now
    )
    assert check.grounds == f"account:{rig.platform.accounts.named('rx').id}"
    ask = question(name, id, proof=Proof.PASSWORD, grounds=check.grounds, evidence=CONSENT)
    assert register(rig, ask) is None
    # An account's password is good for all that the account may.
    assert register(rig, replace(ask, group_id=Identity.parse(f"keyid:{other}"))) is None
    assert register(rig, replace(ask, grounds="")) is Refusal.NOT_AUTHORIZED
    assert rig.do("ledger").balanced


def test_a_host_sends_by_its_ticket_until_it_is_taken_off(rig: Rig) -> None:
    sender = rig.caller("tx", "sender")
    id = reserve(rig, sender, senders=(Host("cam"),))
    ticket = rig.do("sender-ticket", q.SenderTicket(id, "cam"), sender)
    ask = question(Identity.parse(f"keyid:{ticket.id}"), id, wants_to_send=True, proof=Proof.TICKET)
    rig.pass_time(600)
    assert register(rig, ask) is None
    (member,) = rig.directory.members(id)
    assert (member.sends, member.receives) == (True, False)
    rig.restart()
    assert identities(rig, id) == {ask.identity}
    assert rig.do("statistics", q.ById(id), sender).total == 0
    rig.do("reservation-change", q.ChangeReservation(id, senders=()), sender)
    assert identities(rig, id) == set()
    assert register(rig, ask) is not None


def test_neither_tickets_nor_passwords_open_a_group_of_the_configuration() -> None:
    address = ipaddress.ip_address("239.1.1.1")
    policy = GroupPolicy(
        "news",
        Identity.parse("keyid:news"),
        address,
        address,
        receivers=(IdentityPattern.parse("any"), IdentityPattern.parse("email:*@corp.example")),
    )
    directory = Directory((policy,), SeededRng(1), 0.0)
    name = Identity.parse("email:anna@corp.example")
    for proof in (Proof.TICKET, Proof.PASSWORD):
        refused = directory.decide(question(name, "news", proof=proof), 0.0)
        assert refused.refusal is Refusal.NOT_AUTHORIZED
    assert directory.decide(question(name, "news"), 0.0).refusal is None
