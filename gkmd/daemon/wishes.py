"""When a group is wanted: a program has joined its address, a sender's traffic met its policy, or the
operator says so. Pure: what was seen goes in, commands for the crew come out.

    waiting --program joins--> programs --last one has left, linger--> waiting
       |  ^                                                              |
       |  +------------------- leave by the operator -------------------+
       +--traffic meets the policy--> traffic
       +--register by the operator--> operator

What the operator left stays left until the programs that were there have gone. What traffic or the operator
asked for stays until the operator leaves it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from gkmd.core.address import IpAddress
from gkmd.ike.grant import Flow
from gkmd.ike.group_join import GroupJoin, source_specific
from gkmd.ike.member_settings import Leave, Register
from gkmd.kernel.acquire import Acquire
from gkmd.kernel.multicast_users import Joined

LINGER: Final = 5.0  # seconds without a program before a group is left


class Wish(enum.Enum):
    """Why a group is registered, or that it is not."""

    ALWAYS = "always"
    WAITING = "waiting"
    PROGRAMS = "programs"
    TRAFFIC = "traffic"
    OPERATOR = "operator"
    DECLINED = "declined"  # by the operator, while programs are there


@dataclass(slots=True)
class Wanted:
    """One group that waits to be wanted."""

    group: str
    receives: bool
    sends: bool
    flow: Flow
    sources: tuple[IpAddress, ...]
    wish: Wish = Wish.WAITING
    programs: int = 0
    empty_since: float | None = None


class Wishes:
    """All groups that wait. Others are no business of this class."""

    def __init__(self, linger: float = LINGER) -> None:
        self._linger = linger
        self._wanted: dict[str, Wanted] = {}

    @property
    def receivers(self) -> bool:
        """Whether it matters who joins what."""
        return any(one.receives for one in self._wanted.values())

    @property
    def senders(self) -> bool:
        """Whether it matters what traffic meets which policy."""
        return any(one.sends for one in self._wanted.values())

    @property
    def addresses(self) -> frozenset[IpAddress]:
        """What it matters that programs join."""
        return frozenset(one.flow[0] for one in self._wanted.values() if one.receives)

    def add(self, join: GroupJoin) -> None:
        """``join`` waits from now on; it has to have a flow."""
        assert join.flow is not None
        hosts = [net.network_address for net in join.data_sources if net.num_addresses == 1]
        sources = tuple(hosts) if source_specific(join.flow[0]) else ()
        self._wanted[join.name] = Wanted(join.name, join.receives, join.sends, join.flow, sources)

    def remove(self, group: str) -> None:
        self._wanted.pop(group, None)

    def wish(self, group: str) -> Wish:
        """Why it is registered, or that it waits."""
        wanted = self._wanted.get(group)
        return Wish.ALWAYS if wanted is None else wanted.wish

    def programs(self, group: str) -> int:
        """How many sockets of this host's programs are in the group."""
        wanted = self._wanted.get(group)
        return 0 if wanted is None else wanted.programs

    def observe(self, joined: Joined, own: Joined, now: float) -> list[Register | Leave]:
        """The kernel's memberships, and those of them that are this member's."""
        commands: list[Register | Leave] = []
        for one in self._wanted.values():
            if not one.receives:
                continue
            programs = joined.others(one.flow[0], one.sources, own)
            if not programs and not joined.whole:
                continue  # not seen is not gone
            one.programs = programs
            if one.programs:
                one.empty_since = None
                if one.wish is Wish.WAITING:
                    one.wish = Wish.PROGRAMS
                    commands.append(Register(one.group, patient=True))
            elif one.wish is Wish.DECLINED:
                one.wish = Wish.WAITING
            elif one.wish is Wish.PROGRAMS:
                if one.empty_since is None:
                    one.empty_since = now
                if now - one.empty_since >= self._linger:
                    one.wish, one.empty_since = Wish.WAITING, None
                    commands.append(Leave(one.group))
        return commands

    def met(self, acquire: Acquire) -> list[Register]:
        """Traffic met a policy for which there is no SA. What is registered is asked for no second time."""
        flow = acquire.destination, acquire.protocol, acquire.port
        commands = []
        for one in self._wanted.values():
            if one.sends and one.flow == flow and one.wish in (Wish.WAITING, Wish.PROGRAMS):
                if one.wish is Wish.WAITING:
                    commands.append(Register(one.group, patient=True))
                one.wish = Wish.TRAFFIC
        return commands

    def asked(self, group: str) -> None:
        """The operator has registered it."""
        wanted = self._wanted.get(group)
        if wanted is not None:
            wanted.wish = Wish.OPERATOR

    def declined(self, group: str) -> None:
        """The operator has left it."""
        wanted = self._wanted.get(group)
        if wanted is not None:
            wanted.wish = Wish.DECLINED if wanted.programs else Wish.WAITING
            wanted.empty_since = None
