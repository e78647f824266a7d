"""A flow that a member closes by itself: before it registers, while it has no SA, after it has left."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from group_driving import do, host, kinds, receive
from group_fixtures import BOTH, GROUP_ADDRESS, POLICY, RECEIVER, SENDER, T0, TUNNEL, TX, Server
from group_world import Host

from gkmd.core.esp import Direction, EspPolicy, Mode
from gkmd.group.model import GroupPolicy
from gkmd.ike.closing import CLOSED_REQID, closing_policies
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.rekey_message import seal_rekey

FLOW = (GROUP_ADDRESS, 17, 5000)
IN = EspPolicy("news", None, *FLOW, Mode.TRANSPORT, Direction.IN, 0)
OUT = EspPolicy("news", None, *FLOW, Mode.TRANSPORT, Direction.OUT, CLOSED_REQID)


def closed(join: GroupJoin) -> Host:
    """As the shell does it: the policies first, then the machine."""
    on = host(replace(join, flow=FLOW))
    for policy in closing_policies(on.join):
        asyncio.run(on.plane.install_policy(policy))
    return on


def registered(join: GroupJoin, policy: GroupPolicy = POLICY) -> tuple[Server, Host, list[str]]:
    server, on = Server(policy), closed(join)
    server.new_tek(T0, TX)
    return server, on, kinds(do(on, on.member.admit(server.grant(on.join, T0), T0, TX)))


def test_each_role_closes_its_directions() -> None:
    assert closing_policies(RECEIVER) == ()
    assert closing_policies(replace(RECEIVER, flow=FLOW)) == (IN,)
    assert closing_policies(replace(SENDER, flow=FLOW)) == (OUT,)
    assert closing_policies(replace(BOTH, flow=FLOW)) == (IN, OUT)


def test_before_it_registers_nothing_can_be_sent() -> None:
    on = closed(BOTH)
    assert on.sends_on(GROUP_ADDRESS) is None
    assert on.member.tick(T0) == []


@pytest.mark.parametrize(
    ("join", "wanted"),
    [
        (RECEIVER, ["InstallSa", "JoinMulticast", "JoinMulticast"]),
        (SENDER, ["SwitchOutput", "InstallSa", "JoinMulticast"]),
    ],
)
def test_the_first_sa_opens_it(join: GroupJoin, wanted: list[str]) -> None:
    _, on, effects = registered(join)
    assert effects == wanted
    if join.sends:
        assert on.sends_on(GROUP_ADDRESS) is not None


def test_a_leave_closes_it_again_and_a_registration_opens_it_again() -> None:
    server, on, _ = registered(BOTH)
    left = kinds(do(on, on.member.leave(T0 + 1)))
    assert "RemovePolicy" not in left
    assert on.sends_on(GROUP_ADDRESS) is None
    assert not on.kernel.sas
    assert {p.direction for p in on.kernel.policies.values()} == {Direction.IN, Direction.OUT}
    again = kinds(do(on, on.member.admit(server.grant(on.join, T0 + 2), T0 + 2, TX)))
    assert again == []  # one that has left takes no grant
    fresh = closed(BOTH)
    do(fresh, fresh.member.admit(server.grant(fresh.join, T0 + 2), T0 + 2, TX))
    assert fresh.sends_on(GROUP_ADDRESS) is not None


def test_rollovers_and_a_new_registration_go_on_as_ever() -> None:
    server, on, _ = registered(BOTH)
    old = on.sends_on(GROUP_ADDRESS)
    receive(on, server.rekey(T0 + 100, sources=(TX,)), T0 + 100)
    do(on, on.member.tick(T0 + 100 + POLICY.activation_delay))
    new = on.sends_on(GROUP_ADDRESS)
    assert old is not None
    assert new is not None
    assert new.spi != old.spi
    effects = kinds(do(on, on.member.admit(server.grant(on.join, T0 + 110), T0 + 110, TX)))
    assert "InstallPolicy" not in effects
    assert "RemovePolicy" not in effects


def test_a_group_of_another_flow_is_protected_beside_it() -> None:
    server, on = Server(), host(replace(RECEIVER, flow=(GROUP_ADDRESS, 17, 6000)))
    for policy in closing_policies(on.join):
        asyncio.run(on.plane.install_policy(policy))
    server.new_tek(T0, TX)
    assert kinds(do(on, on.member.admit(server.grant(on.join, T0), T0)))[0] == "InstallPolicy"
    assert {p.port for p in on.kernel.policies.values()} == {5000, 6000}


def test_a_group_in_tunnel_mode_takes_its_own_policies() -> None:
    _, on, effects = registered(BOTH, TUNNEL)
    assert effects.index("RemovePolicy") < effects.index("InstallPolicy")
    assert {p.mode for p in on.kernel.policies.values()} == {Mode.TUNNEL}
    sending = on.sends_on(GROUP_ADDRESS)
    assert sending is not None


def test_a_mode_that_no_key_server_has_said_is_none() -> None:
    """A group in tunnel mode without a sender: its first SA comes by a rekey, which must not be refused."""
    server, on = Server(TUNNEL), closed(RECEIVER)
    do(on, on.member.admit(server.grant(on.join, T0), T0))
    order = server.order(T0 + 5, data_sas=(server.new_tek(T0 + 5, TX),))
    receive(on, seal_rekey(order, server.rng), T0 + 5)
    assert len(on.kernel.sas) == 1
    assert {p.mode for p in on.kernel.policies.values()} == {Mode.TUNNEL}
