"""A key server that proves who it is and means harm: what it can make a member's kernel do is bounded."""

from __future__ import annotations

import ipaddress

import pytest
from endpoint_rig import Host, World, join, policy

from gkmd.core.address import IpAddress
from gkmd.core.effect import InstallPolicy, InstallSa
from gkmd.core.identity import Identity
from gkmd.group.model import GroupPolicy
from gkmd.ike import group_member
from gkmd.ike.group_join import GroupJoin, link_control
from gkmd.ike.rekey_message import seal_rekey


def world_of(group: GroupPolicy, receiver: GroupJoin) -> tuple[World, Host]:
    world = World((group,))
    host = world.add(1, [receiver])
    world.add(2, [join(sends=True)])
    world.run(10)
    return world, host


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("224.0.0.1", True),
        ("224.0.0.5", True),
        ("224.0.0.251", True),
        ("224.0.1.1", False),
        ("239.1.1.1", False),
        ("ff02::1", True),
        ("ff02::1:ff00:1", True),
        ("ff32::8000:1", True),
        ("ff01::1", True),
        ("ff05::1:3", False),
        ("ff3e::8000:1", False),
    ],
)
def test_addresses_of_a_links_own_protocols(text: str, link: bool) -> None:
    assert link_control(ipaddress.ip_address(text)) is link


@pytest.mark.parametrize("named", [False, True])
def test_the_protocols_of_the_link_are_not_closed(named: bool) -> None:
    address: IpAddress = ipaddress.ip_address("224.0.0.5")
    allowed = (ipaddress.IPv4Network("224.0.0.5"),) if named else ()
    _, host = world_of(policy(address=address), join(data_addresses=allowed))
    policies = [effect.policy for effect in host.kernel if isinstance(effect, InstallPolicy)]
    # Who wants it says so.
    assert {each.destination for each in policies} == ({address} if named else set())
    refusals = [t for t in host.tells if t.event in ("policy-refused", "rekey-refused")]
    assert bool(refusals) is not named
    assert all("for the protocols of the link" in str(tell.fields["reason"]) for tell in refusals)


def test_rekeys_do_not_fill_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_member, "_MOST_DATA_SAS", 400)
    world, host = world_of(policy(tek_lifetime=3e9, kek_lifetime=3e9), join())
    member = host.endpoint.groups["news"]
    keys = world.directory._groups["news"].keys
    for batch in range(6):
        world.now += 0.01
        added = tuple(
            keys._material.data_sa(
                keys.policy,
                Identity.parse(f"fqdn:x{number}.example"),
                ipaddress.ip_address(f"10.3.{batch}.{number}"),
                world.now,
            )
            for number in range(1, 91)
        )
        order = keys._order(world.now, "evil", added, ())
        world.to_member(host, seal_rekey(order, world.rng), host.path)
    assert 300 < len(member._data.held) <= 400
    assert sum(isinstance(effect, InstallSa) for effect in host.kernel) <= 400
    refused = [tell for tell in host.tells if tell.event == "rekey-refused"]
    assert {tell.fields["reason"] for tell in refused} == {"more than 400 data SAs"}
