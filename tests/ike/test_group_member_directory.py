"""Members against the key server's own directory: its timeline, its orders, twenty rollovers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_fixtures import GSK_W, POLICY, RECEIVER, SENDER, SHARED, T0, TX, TX2, Server, through_wire
from group_world import Host, World

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import KW_5649_256
from gkmd.core.effect import Ask
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, RekeyOrder
from gkmd.group.timeline import smallest_lifetime
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.read_gikev2 import read_registration
from gkmd.ike.rekey_message import seal_rekey
from gkmd.ike.render_gikev2 import render_registration

TEK, KEK = 20.0, 26.0
DELAY = 0.3  # of a datagram, at most


class Served(World):
    """A directory that ticks by its own deadlines; of three copies of a rekey each host gets one at least."""

    def __init__(self, policy: GroupPolicy, seed: int) -> None:
        super().__init__(Server(policy), seed)
        self.policy = policy
        self.rng = SeededRng(seed)
        self.directory = Directory([policy], self.rng, T0)
        self.directory.start_changes()
        self.heard: dict[tuple[int, bytes], int] = {}
        self.rekeys = 0
        self.since: list[tuple[Host, float]] = []
        self.arm_directory()

    def arm_directory(self) -> None:
        deadline = self.directory.deadline()
        if deadline is not None:
            self.at(max(deadline, self.now), self.tick_directory)

    def tick_directory(self) -> None:
        deadline = self.directory.deadline()
        if deadline is None or deadline > self.now:
            return
        for duty in self.directory.tick(self.now):
            if isinstance(duty, RekeyOrder):
                self.order(duty)
            else:
                self.copy(duty.datagram)
        self.arm_directory()

    def order(self, order: RekeyOrder) -> None:
        datagram = seal_rekey(order, self.rng)
        self.directory.sealed(order, datagram, self.now)
        self.rekeys += 1
        self.copy(datagram)

    def copy(self, datagram: bytes) -> None:
        def arrivals(host: Host) -> list[float]:
            key = id(host), datagram
            copies = self.heard.get(key, 0)
            self.heard[key] = copies + 1
            if copies == 0 and self.random.random() < 0.6:
                return []
            if copies == 1 and self.random.random() < 0.6:
                return []
            return [self.random.uniform(0, DELAY)]

        self.multicast(datagram, arrivals)

    def join(self, host: Host, name: str) -> None:
        ask = Ask(1, Identity.parse(f"fqdn:{name}"), self.policy.group_id, host.address, host.join.sends, 1)
        verdict = self.directory.decide(ask, self.now)
        joined = self.directory.join(ask, verdict, b"spi of " + name.encode(), self.now)
        for order in joined.orders:
            self.order(order)
        payloads = through_wire(render_registration(joined.view, GSK_W))

        def arrive() -> None:
            grant = read_registration(payloads, GSK_W, KW_5649_256, host.join)
            self.act(host, host.member.admit(grant, self.now, host.address))

        self.at(self.now + self.random.uniform(0.001, DELAY), arrive)
        self.arm_directory()

    def add(self, join: GroupJoin, address: IpAddress, name: str, when: float) -> Host:
        host = self.host(join, address)
        self.at(when, lambda: self.join(host, name))
        return host


@pytest.mark.parametrize("kind", ["per-sender", "shared"])
@pytest.mark.parametrize("seed", range(3))
def test_twenty_rollovers(kind: str, seed: int) -> None:
    policy = replace(
        SHARED if kind == "shared" else POLICY,
        activation_delay=3,
        deactivation_delay=6,
        rekey_repeats=2,
        rekey_interval=1.0,
        tek_lifetime=TEK,
        kek_lifetime=KEK,
    )
    assert smallest_lifetime(policy) <= TEK
    world = Served(policy, seed)
    receivers = [
        world.add(RECEIVER, ip_address(f"10.0.1.{n + 1}"), f"rx{n}", T0 + 0.1 + n * 31.7) for n in range(3)
    ]
    senders = [
        world.add(replace(SENDER, source=source), source, f"tx{n}", T0 + 1 + n * 47.3)
        for n, source in enumerate((TX, TX2))
    ]
    settled = {id(s): T0 + 1 + n * 47.3 + 2 + 2 * DELAY for n, s in enumerate(senders)}

    def judge() -> None:
        ready = [r for r in receivers if r.member.registered]
        for sender in senders:
            # A new sender's SA goes to the receivers by a rekey: until its last copy some may not have it.
            if sender.member.registered and world.now > settled[id(sender)]:
                world.packet(sender, ready)
                world.packet(sender, ready, world.random.uniform(0.01, 0.2))
        for host in world.hosts:
            assert len(host.kernel.sas) <= 6

    world.after_event = judge
    period = TEK - 6 - 2 - 2
    end = T0 + 20 * period + 60
    for n in range(int(end - T0) * 4):
        world.at(T0 + n / 4, lambda: None)
    world.run(end)
    assert (world.lost, world.blocked) == (0, 0)
    assert world.sent > 2000
    assert world.rekeys >= 20
    for host in world.hosts:
        told = [t.event for t in host.told]
        assert told.count("group-state") == 1
        assert "rekey-refused" not in told
        assert "sa-ended-unreplaced" not in told
        host.carry_out(host.member.leave(world.now))
        assert host.empty
