"""One receiver by one password is one member, however its name is written; and it is found again by it."""

from __future__ import annotations

import pytest
from platform_rig import PASSWORD, Rig, right
from test_door_groups import HOST, identities, question, register, reserve

from gkmd.api import requests as q
from gkmd.api.nouns import Rule
from gkmd.core.effect import Ask, AskPassword, Proof
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import Refusal
from gkmd.group.platform.parties import identity_of

WRITTEN = ("keyid:rx", "keyid:RX", "keyid:Rx", "keyid:ｒｘ", "email:rx", "email:RX", "keyid: rx ")


def logged_in(rig: Rig, text: str, group: str) -> Ask:
    """What the IKE SA asks for when the password was right."""
    kind, _, name = text.partition(":")
    typed = Identity({"keyid": 11, "email": 3}[kind], name.encode())
    ask = AskPassword(1, typed, Identity.parse(f"keyid:{group}"), HOST, SecretBytes(PASSWORD.encode()))
    check = rig.platform.password_of(ask, rig.now)
    assert check.refusal is None
    assert check.known
    assert right(check.verifier, ask.password)
    verdict = PasswordVerdict(None, grounds=check.grounds, identity=check.identity)
    rig.write(rig.platform.password_tried(ask, verdict, rig.now))
    return question(verdict.identity or typed, group, proof=Proof.PASSWORD, grounds=check.grounds)


@pytest.mark.parametrize("listed", [False, True])
def test_an_account_takes_one_place_however_its_name_is_written(listed: bool) -> None:
    rig = Rig()
    sender = rig.caller("tx", "sender")
    id = reserve(rig, sender, capacity=2)
    if listed:
        rig.user("other")
        verifier = rig.platform.accounts.named("other").password.reveal().decode()
        begun = rig.do("names-begin", q.ById(id), sender)
        rig.do("names-add", q.NamesAdd(id, begun.import_id, (q.NameEntry("Rx", verifier),)), sender)
        rig.do("names-commit", q.NamesCommit(id, begun.import_id, 1, "replace"), sender)
    else:
        rig.user("rx")
    rig.pass_time(600)
    for number, text in enumerate(WRITTEN, 1):
        assert register(rig, logged_in(rig, text, id), number) is None
    assert identities(rig, id) == {identity_of("rx")}
    assert rig.do("statistics", q.ById(id), sender).now == 1


def test_a_disabled_account_is_disowned_however_it_has_written_its_name() -> None:
    rig = Rig()
    id = reserve(rig, rig.caller("tx", "sender"))
    rig.user("rx")
    rig.pass_time(600)
    ask = logged_in(rig, "keyid:RX", id)
    assert register(rig, ask) is None
    outcome = rig.outcome_of("user-change", q.ChangeUser("rx", disabled=True))
    assert ask.identity in outcome.disowned


def test_who_evicts_a_name_of_the_list_ends_nothing_of_an_account_of_this_name() -> None:
    """Any sender may list any name with a password that it knows, log in by it, and evict it."""
    rig = Rig()
    sender = rig.caller("tx", "sender")
    rig.user("rx")
    id = reserve(rig, sender, admission=Rule(names=True))
    verifier = rig.platform.accounts.named("tx").password.reveal().decode()
    begun = rig.do("names-begin", q.ById(id), sender)
    rig.do("names-add", q.NamesAdd(id, begun.import_id, (q.NameEntry("rx", verifier),)), sender)
    rig.do("names-commit", q.NamesCommit(id, begun.import_id, 1), sender)
    rig.pass_time(600)
    ask = logged_in(rig, "keyid:rx", id)
    assert register(rig, ask) is None
    (receiver,) = rig.do("receiver-list", q.ReceiversOf(id=id), sender).receivers
    outcome = rig.outcome_of("receiver-evict", q.Evict(id, receiver.party), sender)
    assert outcome.disowned == ()
    assert identities(rig, id) == set()
    assert register(rig, ask) is Refusal.REVOKED
