"""Settings and commands of a member's endpoint. Durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from gkmd.core.address import Path
from gkmd.core.identity import Identity
from gkmd.ike.window import Backoff


@dataclass(frozen=True, slots=True)
class Server:
    """A key server to try, and the one identity that it has to prove."""

    identity: Identity
    path: Path


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """Every default works. Waits before a retry are multiplied by a random factor from 0.5 to 1.5."""

    connect_backoff: Backoff = field(
        default_factory=lambda: Backoff(0.5, 1.8, 8.0, 6)
    )  # of the first two exchanges
    backoff: Backoff = field(default_factory=Backoff)  # of all others
    liveness_idle: float = 60.0  # silence after which the server is asked whether it lives; 0: never
    retry_first: float = 1.0  # after every server has failed, or a group said "not now"; doubles each time
    retry_ceiling: float = 60.0
    slow_retry: float = 300.0  # after "not you" or "no such group": only an operator's change can help
    come_back_spread: float = 3.0  # members that were told when to come back come within this after it
    stop_within: float = 5.0  # to say good-bye
    wish_pause: float = 30.0  # after a refusal or a failure, before a program's wish brings another try


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave every group, delete the IKE SA, and be done within ``stop_within``."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave one group; the others stay."""

    group: str


@dataclass(frozen=True, slots=True)
class Register:
    """Register with a group now: one that was left, one that refused, or one that is to be registered
    anew.

    An operator's word goes before any wait. ``patient`` is the wish of a program on this host: any user's
    program may wish as often as it likes, so a wait becomes shorter by it (``wish_pause``), but a wrong
    password is not shown sooner.
    """

    group: str
    patient: bool = False


Command: TypeAlias = Stop | Leave | Register
