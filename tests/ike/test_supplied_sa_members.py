"""Members of a group whose sender brought its data SA along, against the key server's own directory."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_fixtures import POLICY, RECEIVER, SENDER, SHARED, T0, TX
from test_group_member_directory import Served

from gkmd.core.algorithms import AES_CBC_256
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keymat import data_octets
from gkmd.group.model import SuppliedSa

SPI, LIFETIME = 0xC0FFEE, 150.0


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_sent_and_opened_with_the_supplied_key_until_it_is_over(kind: str) -> None:
    policy = SHARED if kind == "shared" else POLICY
    assert (policy.cipher is AES_CBC_256) == (kind == "shared")
    key = SecretBytes(bytes(range(data_octets(policy.cipher, policy.integrity))))
    policy = replace(
        policy,
        activation_delay=3,
        deactivation_delay=6,
        tek_lifetime=20.0,
        kek_lifetime=26.0,
        rekey_repeats=2,
        rekey_interval=1.0,
        supplied=SuppliedSa(SPI, key, LIFETIME),
    )
    world = Served(policy, 1)
    receivers = [
        world.add(RECEIVER, ip_address(f"10.0.1.{n + 1}"), f"rx{n}", T0 + 1 + n * 40) for n in range(3)
    ]
    sender = world.add(replace(SENDER, source=TX), TX, "tx0", T0 + 2)
    settled = T0 + 2 + 2 + 2 * 0.3
    over = False

    def judge() -> None:
        ready = [r for r in receivers if r.member.registered]
        if settled < world.now < T0 + LIFETIME - 1:
            world.packet(sender, ready)
        for host in world.hosts:
            # One key all the time, and nothing in its place.
            assert {(sa.spi, sa.key) for sa in host.kernel.sas.values()} <= {(SPI, key)}
            assert not (over and host.kernel.sas)

    world.after_event = judge
    for n in range(int(LIFETIME) * 4 + 200):
        world.at(T0 + n / 4, lambda: None)
    world.run(T0 + LIFETIME - 1)
    assert (world.lost, world.blocked) == (0, 0)
    assert world.sent > 400
    assert world.rekeys >= 6  # the Rekey SA rolls on
    world.run(T0 + LIFETIME + 10)
    over = True
    world.run(T0 + LIFETIME + 40)
    # Fail closed: the policy stays, no SA is left, so nothing leaves in clear.
    assert sender.sends_on(policy.address) is None
    assert all(host.member.registered for host in world.hosts)
