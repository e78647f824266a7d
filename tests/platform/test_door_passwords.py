"""Passwords at the door: where they count, and who is locked out."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from door_rig import (
    HOST,
    NAMES,
    NOW,
    OPEN,
    PASSWORD,
    PRICE,
    VERIFIER,
    DoorRig,
    agreed,
    group_id,
)

from gkmd.core.effect import AskPassword
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import NOBODY
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import Refusal
from gkmd.group.platform.parties import identity_of
from gkmd.group.platform.records import ListedName
from gkmd.group.platform.refusal_log import PER_MINUTE


@pytest.fixture
def rig() -> DoorRig:
    rig = DoorRig()
    rig.user("tx", roles=("sender",))
    return rig


def test_a_password_counts_where_it_was_given(rig: DoorRig) -> None:
    """A sender lists somebody else's login with a password of his own."""
    rig.reserve({"any": [NAMES, PRICE]})
    rig.reserve({"any": [NAMES, PRICE]}, "victim")
    rig.listed("rx", where="talk")
    rig.listed("rx", "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", where="victim")
    rig.user("rx", 1000)
    ask = rig.by_password("rx")
    assert ask.grounds == "names:talk"
    assert rig.decide(ask).refusal is None
    # Over the same IKE SA: another transmission, where the name has another password; the account's money.
    other = replace(ask, group_id=group_id("victim"), evidence=agreed(1000))
    assert rig.register(other).refusal is Refusal.NOT_AUTHORIZED
    # The list lets go of the name: the account is still not who has shown a password.
    rig.facts.drop(ListedName("talk", "rx", VERIFIER))
    rig.put()
    assert rig.register(replace(ask, evidence=agreed(1000))).refusal is Refusal.PAYMENT_REQUIRED
    assert rig.register(replace(ask, grounds="")).refusal is Refusal.NOT_AUTHORIZED
    assert rig.balance("rx") == 1000


@pytest.mark.parametrize("group", ["news", "", "talk\x00", "\xff"])
def test_no_password_opens_a_group_without_reservation(rig: DoorRig, group: str) -> None:
    rig.user("rx")
    ask = AskPassword(1, identity_of("rx"), Identity(11, group.encode("latin-1")), HOST, PASSWORD)
    check = rig.door.password_of(ask, NOW)
    assert (check.verifier, check.known, check.grounds) == (NOBODY, False, "")


@pytest.mark.parametrize("identity", ["keyid:nobody", "keyid:t-aaaa", "fqdn:rx.example", "keyid:0xff00"])
def test_who_does_not_exist_costs_as_much(rig: DoorRig, identity: str) -> None:
    rig.reserve(NAMES)
    ask = AskPassword(1, Identity.parse(identity), group_id("talk"), HOST, PASSWORD)
    check = rig.door.password_of(ask, NOW)
    assert (check.verifier, check.known, check.refusal) == (NOBODY, False, None)


def test_an_account_that_asks_for_codes_is_not_opened_by_its_password_alone(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    rig.user("rx", totp=SecretBytes(b"0" * 20))
    assert rig.register(rig.by_password("rx")).refusal is Refusal.NOT_AUTHORIZED


@pytest.mark.parametrize("name", ["anna", "rx", "nobody"])
def test_a_thousand_wrong_passwords_cost_only_counters(rig: DoorRig, name: str) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    rig.user("rx")
    facts = len(rig.journal)
    compared = 0
    for _ in range(1000):
        _, verdict = rig.tried(name, SecretBytes(b"wrong"))
        compared += verdict.refusal is Refusal.WRONG_PASSWORD
        assert verdict.refusal in (Refusal.WRONG_PASSWORD, Refusal.LOCKED_OUT)
    assert compared < 10
    assert verdict.come_back is not None
    assert verdict.come_back > NOW
    assert len(rig.journal) <= facts + PER_MINUTE
    assert len(rig.book.calls) == 1000
    # The right one has to wait, too, and then is right.
    assert rig.tried(name)[1].refusal is Refusal.LOCKED_OUT
    rig.now = verdict.come_back + 1
    assert (rig.tried(name)[1].refusal is None) == (name != "nobody")


def test_a_busy_server_locks_nobody_out(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    ask = AskPassword(1, identity_of("anna"), group_id("talk"), HOST, PASSWORD)
    for _ in range(100):
        assert rig.door.password_of(ask, NOW).refusal is None
        rig.door.password_tried(ask, PasswordVerdict(Refusal.BUSY), NOW)


def test_many_behind_one_address_at_once_do_not_lock_each_other_out(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    names = [f"rx{number}" for number in range(200)]
    for name in names:
        rig.listed(name)
    asks = [AskPassword(1, identity_of(name), group_id("talk"), HOST, PASSWORD) for name in names]
    checks = [rig.door.password_of(ask, NOW) for ask in asks]
    assert all(check.refusal is None for check in checks)
    for ask, check in zip(asks, checks, strict=True):
        rig.door.password_tried(ask, PasswordVerdict(None, grounds=check.grounds), NOW)
    assert rig.door.password_of(asks[0], NOW).refusal is None


def test_one_name_is_not_tried_by_many_at_once(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    hosts = [ipaddress.ip_address(f"192.0.2.{number}") for number in range(1, 200)]
    asks = [AskPassword(1, identity_of("anna"), group_id("talk"), host, PASSWORD) for host in hosts]
    assert sum(rig.door.password_of(ask, NOW).refusal is None for ask in asks) < 10


def test_one_address_does_not_try_one_name_after_the_other(rig: DoorRig) -> None:
    """Not even when it is right about one of its own in between."""
    rig.reserve(NAMES)
    rig.listed("mine")
    compared = 0
    for number in range(200):
        compared += rig.tried(f"anna{number}", SecretBytes(b"wrong"))[1].refusal is Refusal.WRONG_PASSWORD
        rig.tried("mine")
    assert compared < 30
