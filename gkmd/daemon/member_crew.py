"""A member's endpoints as one machine: each identity has an IKE SA of its own, and all share one driver.

A ticket is an identity, so a member with tickets has several endpoints. A datagram goes to the one whose SPI
it carries and to nobody else. Endpoints come (``Hire``) and go (``Dismiss``, or by themselves when their time
is over) while the crew runs. Group names are unique over all; two endpoints never have the same flow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from gkmd.core.address import Path
from gkmd.core.effect import (
    Ask,
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
from gkmd.core.errors import LocalError
from gkmd.core.fault import fault
from gkmd.group.model import Refusal, Verdict
from gkmd.ike.dropped import dropped
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.group_member import GroupMember, State
from gkmd.ike.member_settings import Command, Leave, Register, Stop
from gkmd.ike.sa import IkeSa
from wire.errors import WireError
from wire.header import peek_untrusted
from wire.registry import ExchangeType

MOST_ENDPOINTS: Final = 256  # ours: each has an IKE SA, timers, and policies in the kernel
_REKEY_SPI_OCTETS: Final = 16
_FAULT_SECONDS: Final = 1.0  # an endpoint whose tick failed is left alone for so long
_OVER_SECONDS: Final = 5.0  # between looks whether an endpoint whose time is over still holds keys

_EXTENDED_SECONDS: Final = 86_400.0  # without keys: for so long who held them once is taken to come back
_ENDS: Final = frozenset(
    one.value for one in (Refusal.CLOSED, Refusal.CANCELLED, Refusal.UNKNOWN_GROUP, Refusal.REVOKED)
)

CONFIGURED: Final = ""  # the name of the endpoint of the configuration's own groups


class Endpoint(Protocol):
    """What the crew asks of ``gkmd.ike.gikev2_member.MemberEndpoint``."""

    @property
    def stopped(self) -> bool: ...
    @property
    def sa(self) -> IkeSa | None: ...
    @property
    def spis(self) -> tuple[bytes, ...]: ...
    @property
    def groups(self) -> dict[str, GroupMember]: ...
    def due(self, group: str) -> float | None: ...
    def start(self, now: float) -> list[Effect]: ...
    def receive(self, data: bytes, path: Path, now: float) -> list[Effect]: ...
    def done(self, effect: Effect, result: Exception | None, now: float) -> list[Effect]: ...
    def command(self, command: Command, now: float) -> list[Effect]: ...
    def tick(self, now: float) -> list[Effect]: ...
    def deadline(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Hire:
    """Take up an endpoint. ``waiting`` are groups that are not registered before a Register names them.

    ``until``: when its time is over; it stays as long as it holds keys, because a transmission may have been
    extended. What keeps its groups closed (``gkmd.ike.closing``) is installed before.
    """

    name: str
    endpoint: Endpoint
    waiting: frozenset[str] = frozenset()
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Let an endpoint leave its groups and say good-bye; it is forgotten when it has stopped."""

    name: str


CrewCommand: TypeAlias = Command | Hire | Dismiss


@dataclass(slots=True)
class Post:
    """An endpoint at work."""

    name: str
    endpoint: Endpoint
    until: float
    spis: frozenset[bytes] = frozenset()
    not_before: float = 0.0
    leaving: bool = False
    joins: dict[str, GroupJoin] = field(default_factory=dict)
    extended_by: float = math.inf  # it held keys when its time had come, and is forgotten then at the latest

    def over(self, now: float) -> bool:
        """Nothing keeps it when its time has come: it holds no keys.

        Who held some then knows of an extension: a program that pauses does not end it, the server does.
        """
        groups = self.endpoint.groups.values()
        if any(group.registered for group in groups):
            if math.isinf(self.extended_by):
                self.extended_by = now + _EXTENDED_SECONDS
            return False
        return math.isinf(self.extended_by) or self.extended_by <= now or all(map(_ended, groups))


class MemberCrew:
    """The five verbs over all endpoints. ``gone`` are the names of those that have ended, to be taken up."""

    def __init__(self) -> None:
        self._posts: dict[str, Post] = {}
        self._by_group: dict[str, Post] = {}
        self._by_spi: dict[bytes, Post] = {}
        self._stopping = False
        self.gone: list[tuple[str, tuple[str, ...]]] = []  # name, and its groups

    # --- questions --------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """After Stop: every endpoint has said good-bye, or given up on it."""
        return self._stopping and not self._posts

    @property
    def posts(self) -> tuple[Post, ...]:
        return tuple(self._posts.values())

    def post(self, name: str) -> Post | None:
        return self._posts.get(name)

    @property
    def groups(self) -> dict[str, GroupMember]:
        """The groups of all endpoints by name."""
        return {name: one for post in self.posts for name, one in post.endpoint.groups.items()}

    def holder(self, group: str) -> Post | None:
        """Whose group that is."""
        return self._by_group.get(group)

    def deadline(self) -> float | None:
        times = []
        for post in self._posts.values():
            at = post.endpoint.deadline()
            if at is not None:
                times.append(max(at, post.not_before))
            if not post.leaving and post.until < math.inf:
                times.append(post.until)
        return min(times, default=None)

    # --- verbs ------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Endpoints begin when they are hired."""
        return []

    def receive(self, data: bytes, path: Path, now: float) -> list[Effect]:
        """One datagram, to the endpoint that knows its SPI."""
        try:
            header = peek_untrusted(data)
        except WireError as error:
            return [dropped(error.reason, path, str(error))]
        spi = data[:_REKEY_SPI_OCTETS] if header.exchange == ExchangeType.GSA_REKEY else header.spi_i
        post = self._by_spi.get(spi)
        if post is None:
            return [dropped("unknown-spi", path, "no endpoint has it")]
        return self._after(post, post.endpoint.receive(data, path, now))

    def answer(self, ask: Ask, verdict: Verdict, now: float) -> list[Effect]:
        """A member asks nothing."""
        return []

    def done(self, effect: Effect, result: Exception | None, now: float) -> list[Effect]:
        """The kernel's word goes to the endpoint of the effect's group."""
        post = self._by_group.get(_group_of(effect))
        return [] if post is None else self._after(post, post.endpoint.done(effect, result, now))

    def command(self, command: CrewCommand, now: float) -> list[Effect]:
        """Carry out a wish. LocalError says what is wrong with it; then nothing has changed."""
        match command:
            case Hire():
                return self._hire(command, now)
            case Dismiss(name):
                return self._dismiss(self._named(name), now)
            case Stop():
                self._stopping = True
                return [effect for post in self.posts for effect in self._dismiss(post, now)]
            case Register(group=group) | Leave(group):
                post = self._by_group.get(group)
                if post is None:
                    raise LocalError(f"there is no group {group!r}")
                return self._after(post, post.endpoint.command(command, now))

    def tick(self, now: float) -> list[Effect]:
        """All that is due, endpoint by endpoint: what fails in one is not felt by the others."""
        effects: list[Effect] = []
        for post in self.posts:
            at = post.endpoint.deadline()
            if at is not None and max(at, post.not_before) <= now:
                try:
                    effects += self._after(post, post.endpoint.tick(now))
                except Exception as error:
                    post.not_before = now + _FAULT_SECONDS
                    effects += fault("tick", error, post.name or "configuration")
            if not post.leaving and post.until <= now:
                if post.over(now):
                    effects.append(Tell("transmission-over", "info", {"ticket": post.name}))
                    effects += self._dismiss(post, now)
                else:
                    post.until = now + _OVER_SECONDS
        return effects

    # --- the inside -------------------------------------------------------------------------------

    def _hire(self, command: Hire, now: float) -> list[Effect]:
        endpoint = command.endpoint
        joins = {name: group.join for name, group in endpoint.groups.items()}
        if self._stopping:
            raise LocalError("the member stops")
        if command.name in self._posts:
            raise LocalError(f"{command.name!r} is there already")
        if len(self._posts) >= MOST_ENDPOINTS:
            raise LocalError(f"there are {MOST_ENDPOINTS} tickets already, the most that a member has")
        self.check(joins.values())
        post = Post(command.name, endpoint, command.until, joins=joins)
        self._posts[post.name] = post
        self._by_group |= dict.fromkeys(joins, post)
        effects: list[Effect] = []
        for name in sorted(command.waiting):
            # A group that is left is not registered until it is asked for. That it was left is no news.
            effects += [e for e in endpoint.command(Leave(name), now) if not isinstance(e, Tell)]
        return effects + self._after(post, endpoint.start(now))

    def check(self, joins: Iterable[GroupJoin]) -> None:
        """LocalError unless these groups can be taken up beside those that are there."""
        for join in joins:
            if join.name in self._by_group:
                whose = self._by_group[join.name].name
                raise LocalError(
                    f"the transmission {join.name!r} is taken already, by "
                    + (f"the ticket {whose}" if whose else "a [[group]] of the configuration")
                )
            for post in self._posts.values():
                for other in post.joins.values():
                    check_apart(join, other)

    def _dismiss(self, post: Post, now: float) -> list[Effect]:
        post.leaving = True
        return self._after(post, post.endpoint.command(Stop(), now))

    def _named(self, name: str) -> Post:
        post = self._posts.get(name)
        if post is None:
            raise LocalError(f"there is no ticket {name!r}")
        return post

    def _after(self, post: Post, effects: list[Effect]) -> list[Effect]:
        """After every verb of an endpoint: what it is known by, and whether it is still there."""
        ended = post.leaving and post.endpoint.stopped
        spis = frozenset() if ended else frozenset(post.endpoint.spis)
        for spi in post.spis - spis:
            if self._by_spi.get(spi) is post:
                del self._by_spi[spi]
        for spi in spis:
            # The first keeps it: a key server must not take rekeys away from another one's groups.
            self._by_spi.setdefault(spi, post)
        post.spis = spis
        if ended and self._posts.pop(post.name, None) is not None:
            for name in post.joins:
                del self._by_group[name]
            self.gone.append((post.name, tuple(post.joins)))
        return effects


def _ended(group: GroupMember) -> bool:
    """The server has said so."""
    return group.state is State.CLOSED or (group.refusal is not None and group.refusal.code in _ENDS)


def check_apart(one: GroupJoin, other: GroupJoin) -> None:
    """Two groups cannot have one policy in the kernel, nor one identifier in commands and logs."""
    if one.flow is None or other.flow is None or one.flow != other.flow:
        return
    if (one.receives and other.receives) or (one.sends and other.sends):
        address, protocol, port = one.flow
        raise LocalError(
            f"{one.name!r} and {other.name!r} are both for {address} protocol {protocol} port {port}: "
            "the kernel has one policy for this traffic; give up one of the two"
        )


def _group_of(effect: Effect) -> str:
    match effect:
        case InstallSa(sa) | RemoveSa(sa):
            return sa.group
        case InstallPolicy(policy) | RemovePolicy(policy) | SwitchOutput(policy):
            return policy.group
        case JoinMulticast(group=group) | LeaveMulticast(group=group):
            return group
    return ""
