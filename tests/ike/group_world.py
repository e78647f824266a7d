"""Hosts of a group over the recording data plane, and a network that delays and loses rekeys."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from group_fixtures import GSK_W, SETTINGS, T0, Server, member

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import KW_5649_256
from gkmd.core.effect import (
    Effect,
    InstallPolicy,
    InstallSa,
    JoinMulticast,
    LeaveMulticast,
    RemovePolicy,
    RemoveSa,
    SwitchOutput,
    Tell,
)
from gkmd.core.esp import EspSa
from gkmd.ike.group_join import GroupJoin, GroupSettings
from gkmd.ike.group_member import GroupMember
from gkmd.ike.read_gikev2 import read_registration
from gkmd.kernel.recording import RecordedKernel, RecordingDataplane


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Nothing in the recording data plane waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the recording data plane waits")


@dataclass
class Host:
    """One member with its kernel. A refusal by the data plane fails the test: wrong order, double install."""

    join: GroupJoin
    address: IpAddress
    member: GroupMember
    kernel: RecordedKernel = field(default_factory=RecordedKernel)
    listening: set[tuple[IpAddress, int, IpAddress | None]] = field(default_factory=set)
    told: list[Tell] = field(default_factory=list)
    installed_until: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plane = RecordingDataplane(self.kernel)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        telling = False
        for effect in effects:
            assert not telling or isinstance(effect, Tell), "the kernel comes before what is told"
            match effect:
                case InstallPolicy(policy):
                    run(self.plane.install_policy(policy))
                case RemovePolicy(policy):
                    run(self.plane.remove_policy(policy))
                case InstallSa(sa):
                    run(self.plane.install_sa(sa))
                case RemoveSa(sa):
                    assert (sa.destination, sa.spi) in self.kernel.sas
                    run(self.plane.remove_sa(sa))
                case SwitchOutput(policy):
                    run(self.plane.switch_output(policy))
                case JoinMulticast(_, address, port, _, source):
                    assert (address, port, source) not in self.listening
                    self.listening.add((address, port, source))
                case LeaveMulticast(_, address, port, _, source):
                    self.listening.remove((address, port, source))
                case Tell():
                    telling = True
                    self.told.append(effect)
                case _:
                    raise AssertionError(f"a member does not {effect}")

    def sends_on(self, destination: IpAddress) -> EspSa | None:
        """The SA that a packet to the group would leave by; AssertionError if it would leave in clear."""
        out = [p for p in self.kernel.policies.values() if p.direction.value == "out"]
        assert out, "nothing keeps this host from sending in clear"
        return self.kernel.output_sa(self.address, destination)

    def opens(self, packet: EspSa) -> bool:
        """Whether a packet that was sealed with this SA is received."""
        held = self.kernel.sas.get((packet.destination, packet.spi))
        listens = any(a == packet.destination and port == 0 for a, port, _ in self.listening)
        return listens and held is not None and held.key == packet.key

    @property
    def empty(self) -> bool:
        return not (self.kernel.sas or self.kernel.policies or self.listening)


class World:
    """Events in order of time. Members tick when they ask for it, at most ``lateness`` late."""

    def __init__(self, server: Server, seed: int, lateness: float = 0.05) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.lateness = lateness
        self.now = T0
        self.hosts: list[Host] = []
        self.lost = 0
        self.sent = 0
        self.blocked = 0
        self._events: list[tuple[float, int, Callable[[], None], bool]] = []
        self._order = itertools.count()
        self.after_event: Callable[[], None] = lambda: None

    def at(self, when: float, what: Callable[[], None], *, quiet: bool = False) -> None:
        """``quiet``: nothing changes by it, so that nothing has to be judged after it."""
        heapq.heappush(self._events, (when, next(self._order), what, quiet))

    def host(self, join: GroupJoin, address: IpAddress, settings: GroupSettings = SETTINGS) -> Host:
        host = Host(join, address, member(join, f"host-{len(self.hosts)}", settings))
        self.hosts.append(host)
        return host

    def register(self, host: Host, way: float = 0.0) -> None:
        """The key server answers now; the answer arrives after ``way`` seconds."""
        payloads = self.server.registration(host.join, self.now)

        def arrive() -> None:
            grant = read_registration(payloads, GSK_W, KW_5649_256, host.join)
            self.act(host, host.member.admit(grant, self.now, host.address))

        self.at(self.now + way, arrive)

    def multicast(self, datagram: bytes, arrivals: Callable[[Host], list[float]]) -> None:
        """Each host hears the datagram after each of these delays, if it listens to its Rekey SA then."""
        for host in self.hosts:
            for delay in arrivals(host):
                self.at(self.now + delay, lambda h=host: self._hear(h, datagram))  # type: ignore[misc]

    def _hear(self, host: Host, datagram: bytes) -> None:
        if any(port for _, port, _ in host.listening):
            self.act(host, host.member.receive_rekey_untrusted(datagram, self.now))

    def act(self, host: Host, effects: Iterable[Effect]) -> None:
        host.carry_out(effects)
        self._arm(host)

    def _arm(self, host: Host) -> None:
        deadline = host.member.deadline()
        if deadline is not None:
            late = self.random.uniform(0, self.lateness)
            self.at(max(deadline, self.now) + late, lambda: self._tick(host))

    def _tick(self, host: Host) -> None:
        deadline = host.member.deadline()
        if deadline is not None and deadline <= self.now:
            host.carry_out(host.member.tick(self.now))
            after = host.member.deadline()
            assert after is None or after > self.now, "a tick has to do what it was asked for"
            self._arm(host)

    def packet(self, sender: Host, receivers: Iterable[Host], way: float = 0.0) -> None:
        """One packet from sender to receivers, judged when it arrives."""
        sa = sender.sends_on(self.server.policy.address)
        if sa is None:
            self.blocked += 1
            return
        self.sent += 1

        def arrive() -> None:
            self.lost += sum(not receiver.opens(sa) for receiver in receivers)

        if way:
            self.at(self.now + way, arrive, quiet=True)
        else:
            arrive()

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now = self._events[0][0]
            loud = False
            while self._events and self._events[0][0] <= self.now:
                _, _, what, quiet = heapq.heappop(self._events)
                what()
                loud = loud or not quiet
            if loud:
                self.after_event()
        self.now = until
