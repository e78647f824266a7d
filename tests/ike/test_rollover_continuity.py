"""Rollovers over a bad network: not one packet is lost, and nothing lives longer than it may."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_fixtures import POLICY, RECEIVER, SENDER, SHARED, T0, TUNNEL, TX, TX2, Server
from group_world import Host, World
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.address import IpAddress
from gkmd.group.model import GroupPolicy

LATENESS = 0.05
WAY = 0.3  # of data, at most


class Rollovers(World):
    """A key server that replaces everything again and again, and hosts that send all the time."""

    def __init__(self, policy: GroupPolicy, seed: int, senders: int, receivers: int, both: bool) -> None:
        super().__init__(Server(policy), seed, LATENESS)
        self.policy = policy
        sources: list[IpAddress | None] = [TX, TX2][:senders]
        for source in [None] if policy.shared_sa else sources:
            self.server.new_tek(T0, source)
        self.senders = [
            self.host(replace(SENDER, source=s, receives=both), s) for s in sources if s is not None
        ]
        self.receivers = [self.host(RECEIVER, ip_address(f"10.0.1.{n + 1}")) for n in range(receivers)]
        if both:
            self.receivers += self.senders
        self.after_event = self.judge
        for host in self.hosts:
            self.register(host)

    def judge(self) -> None:
        """Between two events nothing changes, so this is every instant."""
        ready = [r for r in self.receivers if r.member.registered]
        for sender in self.senders:
            if sender.member.registered:
                self.packet(sender, ready)
                self.packet(sender, ready, self.random.uniform(0.01, WAY))
        for host in self.hosts:
            for sa in host.kernel.sas.values():
                # GSA_KEY_LIFETIME counts from the receipt of the rekey; then the SA MUST be gone.
                end = self.server.teks[sa.spi].expires + self.policy.activation_delay + LATENESS
                assert self.now <= end, f"SA {sa.spi:#x} outlives its lifetime"
            per_flow: dict[object, int] = {}
            for sa in host.kernel.sas.values():
                per_flow[sa.source] = per_flow.get(sa.source, 0) + 1
            assert max(per_flow.values(), default=0) <= 2

    def deliver(self, datagram: bytes) -> None:
        """Copies at the policy's interval. Of each host's copies all but the last may be lost, and each may
        take any time that brings it there within the activation delay."""
        p = self.policy
        span = p.rekey_repeats * p.rekey_interval

        def arrivals(host: Host) -> list[float]:
            delays = []
            for copy in range(p.rekey_repeats + 1):
                sent = copy * p.rekey_interval
                if copy == p.rekey_repeats or self.random.random() > 0.5:
                    delays.append(sent + self.random.uniform(0, p.activation_delay - span))
            return delays

        self.multicast(datagram, arrivals)

    def roll(self, times: int) -> None:
        p = self.policy
        lead = p.rekey_repeats * p.rekey_interval + p.deactivation_delay + 1
        period = p.tek_lifetime - lead
        for n in range(1, times + 1):
            kek = self.random.random() < 0.6
            self.at(T0 + n * period, lambda k=kek: self.deliver(self.server.rekey(self.now, kek=k)))  # type: ignore[misc]
        self.end = T0 + times * period + p.deactivation_delay + 2
        step = period / 40
        for n in range(int((self.end - T0) / step)):
            self.at(T0 + n * step + self.random.uniform(0, step), lambda: None)


POLICIES = {
    "per-sender": POLICY,
    "shared": SHARED,
    "tunnel": TUNNEL,
    "shared-tunnel": replace(SHARED, mode=TUNNEL.mode),
}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(sorted(POLICIES)),
    senders=st.integers(1, 2),
    both=st.booleans(),
    repeats=st.integers(0, 3),
    spare=st.integers(1, 3),
)
def test_no_packet_is_lost_in_any_rollover(
    seed: int, kind: str, senders: int, both: bool, repeats: int, spare: int
) -> None:
    """Rekeys come late by up to the activation delay and all copies but the last may be lost.

    The deactivation delay has to cover what lies between the first receiver's copy and the last packet of a
    sender that got the last one: its delay, the activation delay, and the way of the data (RFC 5374 4.2.1).
    """
    activation = repeats + spare
    policy = replace(
        POLICIES[kind],
        rekey_repeats=repeats,
        rekey_interval=1.0,
        activation_delay=activation,
        deactivation_delay=2 * activation + 1,
        tek_lifetime=60.0,
    )
    world = Rollovers(policy, seed, senders, receivers=3, both=both)
    world.roll(6)
    world.run(world.end)
    assert (world.lost, world.blocked) == (0, 0)
    assert world.sent > 500
    for host in world.hosts:
        assert host.member.registration_due is not None
        assert host.member.registration_due > world.now, "nobody had to register again"
        assert len([t for t in host.told if t.event == "group-state"]) == 1
        host.carry_out(host.member.leave(world.now))
        assert host.empty
        assert host.member.deadline() is None


@pytest.mark.parametrize("kind", ["per-sender", "shared"])
@pytest.mark.parametrize("seed", range(6))
def test_late_joiners_and_registrations_in_between(kind: str, seed: int) -> None:
    """Receivers come at any time, and members register anew at any time: no gap for anybody who is in."""
    policy = replace(
        POLICIES[kind],
        rekey_repeats=1,
        activation_delay=3,
        deactivation_delay=8,
        tek_lifetime=60.0,
    )
    world = Rollovers(policy, seed, senders=1, receivers=2, both=False)
    world.roll(6)
    for n in range(4):
        late = world.host(RECEIVER, ip_address(f"10.0.2.{n + 1}"))
        world.at(T0 + world.random.uniform(1, 250), lambda h=late: world.register(h))  # type: ignore[misc]
        world.receivers.append(late)
    for _ in range(40):
        host = world.random.choice(world.receivers[:2] + world.senders)
        when, way = T0 + world.random.uniform(1, 280), world.random.choice([0.0, 0.2, 1.5])
        world.at(when, lambda h=host, w=way: world.register(h, w))  # type: ignore[misc]
    world.run(world.end)
    assert (world.lost, world.blocked) == (0, 0)
    assert world.sent > 500


def test_a_member_that_missed_a_rekey_altogether_comes_back() -> None:
    """All copies lost: it asks again before its SA ends, at the latest then, and hears the sender again."""
    policy = replace(POLICY, rekey_repeats=0, activation_delay=3, deactivation_delay=8, tek_lifetime=60.0)
    world = Rollovers(policy, 1, senders=1, receivers=1, both=False)
    world.run(T0 + 1)
    (sender,), (receiver,) = world.senders, world.receivers
    world.now = T0 + 50
    datagram = world.server.rekey(T0 + 50, kek=True)
    world.multicast(datagram, lambda host: [0.1] if host is sender else [])
    world.run(T0 + 51)
    due = receiver.member.registration_due
    assert due is not None
    assert T0 + 52 <= due <= T0 + 56  # within the first half of the deactivation delay before the end
    world.run(due)
    world.register(receiver)
    world.run(due + 0.01)
    world.lost = 0
    world.packet(sender, [receiver])
    assert world.lost == 0
    assert receiver.member.rekey_spis == (world.server.kek.spi,)
