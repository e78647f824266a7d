"""A receiver that has left has kept the keys: who evicts it changes them all the same."""

from __future__ import annotations

import pytest
from platform_rig import Rig
from test_door_groups import by_ticket, identities, register, reserve

from gkmd.api import requests as q
from gkmd.core.effect import Ask
from gkmd.group.model import Refusal
from gkmd.group.platform.outcome import Caller, Done

SPI = 5


def keys(rig: Rig, id: str) -> set[object]:
    """What somebody who registers now would get."""
    sas = rig.directory.sas(id)
    return {sa.spi for sa in (*sas.data_sas, *sas.rekey_sas) if sa.removed_at is None}


def gone(rig: Rig, ask: Ask, way: str) -> None:
    if way == "left":
        left = rig.directory.leave(ask.group_id, ask.identity, rig.now)
    elif way == "ike-sa":
        left = rig.directory.ike_sa_gone(SPI.to_bytes(8, "big"), rig.now)
    else:
        left = rig.directory.drop_member(ask.group_id.data.decode(), ask.identity, rig.now)
    rig.carry_out(left)


def stage() -> tuple[Rig, Caller, str, list[Ask]]:
    rig = Rig()
    sender = rig.caller("tx", "sender")
    id = reserve(rig, sender)
    asks = [by_ticket(rig, id, rig.caller(login)) for login in ("rx", "ry")]
    rig.pass_time(600)
    for spi, ask in enumerate(asks, SPI):
        assert register(rig, ask, spi) is None
    return rig, sender, id, asks


@pytest.mark.parametrize("way", ["left", "ike-sa", "removed"])
@pytest.mark.parametrize("restarted", [False, True])
def test_the_keys_that_it_has_are_of_no_use_any_more(way: str, restarted: bool) -> None:
    rig, sender, id, asks = stage()
    known = keys(rig, id)
    gone(rig, asks[0], way)
    assert identities(rig, id) == {asks[1].identity}
    assert keys(rig, id) == known
    if restarted:
        rig.restart()
    party = rig.platform.accounts.named("rx").id
    rig.do("receiver-evict", q.Evict(id, party), sender)
    assert not keys(rig, id) & known
    assert isinstance(rig.outcome, Done)
    # The others are called back, and find their places.
    (order,) = rig.outcome.left.orders
    assert order.exclude
    assert [register(rig, ask) for ask in asks] == [Refusal.REVOKED, None]


def test_evicting_twice_changes_the_keys_once() -> None:
    rig, sender, id, asks = stage()
    gone(rig, asks[0], "left")
    request = q.Evict(id, rig.platform.accounts.named("rx").id)
    rig.do("receiver-evict", request, sender)
    register(rig, asks[1])
    after = keys(rig, id)
    rig.do("receiver-evict", request, sender)
    assert keys(rig, id) == after


def test_before_and_after_the_transmission_there_are_no_keys_to_change() -> None:
    rig, sender, id, _ = stage()
    rig.pass_time(7200)
    rig.do("receiver-evict", q.Evict(id, rig.platform.accounts.named("rx").id), sender)
    assert isinstance(rig.outcome, Done)
    assert rig.outcome.left.orders == ()
