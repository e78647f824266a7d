"""No data is lost: whatever copies of the rekeys arrive, as long as each member gets one of each.

The server and all members run over simulated time; at many instants every sender's traffic must open at every
receiver. Joins and leaves of senders and receivers come at random, ticks come late.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from group_members import Member
from group_server import NEWS, SHARED, T0, Server, fqdn

from gkmd.group.model import GroupPolicy
from gkmd.group.terms import check
from gkmd.group.timeline import advice, smallest_lifetime


class World:
    """One group, its server and its members; copies are lost by a seeded die, but never all of one rekey."""

    def __init__(self, policy: GroupPolicy, dice: random.Random) -> None:
        self.policy, self.dice = policy, dice
        self.server = Server([policy])
        self.members: dict[str, Member] = {}
        self.lucky: dict[tuple[bytes, str], int] = {}
        self.late = 0.0
        self.told = 0
        self.checked = 0

    def deliver(self) -> None:
        for sent in self.server.sent[self.told :]:
            for name, member in self.members.items():
                if sent.order.under.spi not in member.rekey_sas:
                    continue  # it cannot open this copy
                luck, copies = (sent.datagram, name), self.policy.rekey_repeats + 1
                left = self.lucky.setdefault(luck, self.dice.randrange(copies))
                self.lucky[luck] = left - 1
                if left == 0 or self.dice.random() < 0.3:
                    member.hear(sent.order, sent.time)
        self.told = len(self.server.sent)

    def join(self, name: str, now: float) -> None:
        self.members.pop(name, None)
        view = self.server.join(name, now, sends=name.endswith(".tx"), policy=self.policy)
        self.deliver()
        self.members[name] = Member(fqdn(name), view, name.endswith(".tx"))

    def leave(self, name: str, now: float) -> None:
        if self.members.pop(name, None) is not None:
            self.server.leave(name, now)
            self.deliver()

    def check(self, now: float) -> None:
        for sender in self.members.values():
            spi = sender.sends_on(now)
            if spi is None:
                continue
            for name, receiver in self.members.items():
                assert receiver.opens(spi, now), f"{name} loses {spi:#x} of {sender.identity} at {now - T0}"
                self.checked += 1

    def run(self, seconds: float, names: list[str]) -> None:
        now, end = T0, T0 + seconds
        while now < end:
            tick_at = max(now, (self.server.directory.deadline() or end) + self.dice.random() * 0.3)
            act_at = now + self.dice.expovariate(0.15)
            last, now = now, min(tick_at, act_at, end)
            # Nothing changes between two events but by a member's own timers: look just before this one.
            self.check(max(last, now - 1e-3))
            if now == tick_at:
                self.server.tick(now)
                self.deliver()
            elif now == act_at:
                act = self.join if self.dice.random() < 0.7 else self.leave
                act(self.dice.choice(names), now)
            self.check(now)


@pytest.mark.parametrize("seed", range(24))
def test_no_traffic_is_lost(seed: int) -> None:
    dice = random.Random(seed)
    repeats = dice.randrange(4)
    span = repeats * 1.0
    activation = math.ceil(span) + 1 + dice.randrange(2)  # late ticks take up to 0.3 s of it
    base = SHARED if seed % 3 == 0 else NEWS
    policy = replace(
        base,
        rekey_repeats=repeats,
        activation_delay=activation,
        deactivation_delay=activation + math.ceil(span) + 1 + dice.randrange(2),
    )
    smallest = smallest_lifetime(policy)
    policy = replace(
        policy,
        tek_lifetime=smallest + dice.randrange(60),
        kek_lifetime=smallest + dice.randrange(120),
    )
    check(policy)
    assert advice(policy) == ()
    world = World(policy, dice)
    world.run(600.0, ["r1", "r2", "r3", "r4", "a.tx", "b.tx"])
    assert world.checked > 200
    assert not any(member.excluded for member in world.members.values())


def test_a_rekey_repeats_what_a_member_may_have_missed() -> None:
    """rx hears only the second rekey; the copies of the first are too old for it then."""
    server = Server()
    rx = Member(fqdn("rx"), server.join("rx", T0))
    server.join("a.tx", T0 + 1, sends=True)
    server.join("b.tx", T0 + 1.5, sends=True)
    first, second = server.sent
    rx.hear(second.order, second.time)
    rx.hear(first.order, first.time + 1)
    assert {held.sa.sender for held in rx.held.values()} == {fqdn("a.tx"), fqdn("b.tx")}
    server.run(T0 + 4)
    server.join("c.tx", T0 + 4, sends=True)
    assert [sa.sender for sa in server.sent[-1].order.data_sas] == [fqdn("c.tx")]
