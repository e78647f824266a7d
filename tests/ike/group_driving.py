"""Driving one member over a recording kernel, and asking what came of it."""

from __future__ import annotations

from collections.abc import Iterable

from group_fixtures import (
    POLICY,
    T0,
    TX,
    Server,
    member,
)
from group_world import Host

from gkmd.core.effect import (
    Effect,
    Tell,
)
from gkmd.group.model import GroupPolicy
from gkmd.ike.group_join import GroupJoin, GroupSettings


def kinds(effects: Iterable[Effect]) -> list[str]:
    return [type(e).__name__ for e in effects if not isinstance(e, Tell)]


def events(effects: Iterable[Effect]) -> list[str]:
    return [e.event for e in effects if isinstance(e, Tell)]


def reasons(effects: Iterable[Effect], event: str) -> list[object]:
    return [e.fields["reason"] for e in effects if isinstance(e, Tell) and e.event == event]


def host(join: GroupJoin, settings: GroupSettings | None = None) -> Host:
    return Host(join, TX, member(join) if settings is None else member(join, settings=settings))


def do(on: Host, effects: list[Effect]) -> list[Effect]:
    """Carried out by a kernel that refuses what is out of order, and given back."""
    on.carry_out(effects)
    return effects


def admitted(
    join: GroupJoin, policy: GroupPolicy = POLICY, settings: GroupSettings | None = None
) -> tuple[Server, Host]:
    server = Server(policy)
    server.new_tek(T0, None if policy.shared_sa else TX)
    on = host(join, settings)
    do(on, on.member.admit(server.grant(join, T0), T0, TX))
    return server, on


def receive(on: Host, datagram: bytes, now: float) -> list[Effect]:
    return do(on, on.member.receive_rekey_untrusted(datagram, now))


def spis(on: Host) -> set[int]:
    return {sa.spi for sa in on.kernel.sas.values()}
