"""A member's registrations with one group: when they are wanted, and what the key server says to them.

As soon as the group wants one, and never as a storm of retries.
"""

from __future__ import annotations

import enum
import ipaddress
import math
from typing import Final

from gkmd.core.address import IpAddress, Path
from gkmd.core.errors import PeerError
from gkmd.core.rng import Rng
from gkmd.group.model import Refusal
from gkmd.ike.group_member import GroupMember, State
from gkmd.ike.member_settings import MemberSettings
from gkmd.ike.notices import error_of, name_of_notify
from gkmd.ike.read_gikev2 import read_registration
from gkmd.ike.reason import Reason, read_reason
from gkmd.ike.sa import IkeSa
from gkmd.ike.turn import Turn
from wire.message import Payload, first
from wire.registry import NotifyType, PayloadType

# RFC 9838 4.7.3: for reasons that have nothing to do with this member; and RFC 7296 2.25. They pass.
_PASSING: Final = (NotifyType.REGISTRATION_FAILED, NotifyType.TEMPORARY_FAILURE)
_LONGEST_WAIT: Final = 86400.0  # a reservation may be moved, and a clock may be wrong


def jittered(seconds: float, rng: Rng) -> float:
    """``seconds`` times a random factor from 0.5 to 1.5, so that many members do not come at once."""
    return seconds * (0.5 + int.from_bytes(rng(2), "big") / 65536)


def doubled(settings: MemberSettings, failures: int) -> float:
    """The wait after the failure number ``failures`` in a row (the first is 1)."""
    return min(settings.retry_ceiling, settings.retry_first * 2.0 ** min(failures - 1, 30))


def when_to_come_back(reason: Reason | None, settings: MemberSettings, rng: Rng, now: float) -> float | None:
    """The instant that the key server has named, and a little later at random; within a day. None when it has
    named none that is still to come.
    """
    if reason is None or reason.come_back is None or reason.come_back <= now:
        return None
    spread = settings.come_back_spread * int.from_bytes(rng(2), "big") / 65536
    return min(reason.come_back, now + _LONGEST_WAIT) + spread


class Outcome(enum.Enum):
    """What became of a registration."""

    ADMITTED = "admitted"
    REFUSED = "refused"  # by the server
    DECLINED = "declined"  # by us: the server is to be told


class Enrolment:
    """One group of this member, and the schedule of its registrations."""

    __slots__ = (
        "_again_at",
        "_failures",
        "_not_before",
        "_refused_at",
        "_rng",
        "_settings",
        "member",
        "over",
    )

    def __init__(self, member: GroupMember, settings: MemberSettings, rng: Rng) -> None:
        self.member: Final = member
        self.over: bytes | None = None  # SPIs of the IKE SA over which it is registered
        self._settings: Final = settings
        self._rng: Final = rng
        self._failures = 0
        self._not_before = 0.0
        self._refused_at = -math.inf
        self._again_at: float | None = None

    @property
    def due(self) -> float | None:
        """When to register, None: never. A time that has passed means now."""
        if self.member.state is State.LEFT:
            return None  # for good, unless a new membership is asked for
        wanted = self.member.registration_due
        times = [at for at in (wanted, self._again_at) if at is not None]
        return max(min(times), self._not_before) if times else None

    def take(
        self, turn: Turn, sa: IkeSa, payloads: list[Payload], now: float, *, held_back: bool = False
    ) -> Outcome:
        """The server's reply to a registration: the keys, or why not. ``held_back``: it has not seen our
        evidence yet.
        """
        join = self.member.join
        if first(payloads, PayloadType.GSA) is None:
            kind = error_of(payloads) or NotifyType.NO_PROPOSAL_CHOSEN
            if held_back and kind == NotifyType.AUTHORIZATION_FAILED:
                turn.tell("evidence-wanted", "debug", group=join.name)
                self.now()
                return Outcome.REFUSED
            reason = read_reason(payloads)
            self.member.refusal = reason or Reason(name_of_notify(kind))
            again = round(self.refused(kind, now, reason) - now, 1)
            turn.tell(
                "registration-refused",
                "warning",
                group=join.name,
                reason=name_of_notify(kind),
                again_in=again,
                **({"why": reason.code} if reason else {}),
                **({"price": str(reason.price)} if reason and reason.price else {}),
            )
            return Outcome.REFUSED
        try:
            grant = read_registration(payloads, sa.gsk_w, sa.key_wrap, join)
            turn.extend(self.member.admit(grant, now, _local(sa.path)))
        except PeerError as error:
            # RFC 9838 2.3.3: the policy is not acceptable to us.
            again = round(self.refused(error.notify, now) - now, 1)
            turn.tell("policy-refused", "warning", group=join.name, reason=str(error), again_in=again)
            return Outcome.DECLINED
        self._registered(sa.spi_i + sa.spi_r, now)
        turn.tell("registered", group=join.name, server=sa.peer_text)
        return Outcome.ADMITTED

    def _registered(self, over: bytes, now: float) -> None:
        """The key server has taken us, over this IKE SA."""
        self.over = over
        self.member.refusal = None
        self._failures = 0
        self._again_at = None
        self._not_before = now + self._settings.retry_first

    def refused(self, kind: int, now: float, reason: Reason | None = None) -> float:
        """There was no registration. Returns when we come back."""
        self._refused_at = now
        come_back = when_to_come_back(reason, self._settings, self._rng, now)
        if come_back is not None:
            self._failures = 0
            self._not_before = come_back
            return come_back
        if kind in _PASSING and (reason is None or reason.code != Refusal.CANCELLED.value):
            self._failures += 1
            wait = doubled(self._settings, self._failures)
        else:
            # Not us, no such group, cancelled, or not with these algorithms: nothing that we do changes that.
            wait = self._settings.slow_retry
        self._not_before = now + jittered(wait, self._rng)
        return self._not_before

    def again(self, at: float) -> None:
        """What the server knows of us may be gone: register by ``at`` although the keys are good."""
        self._again_at = at if self._again_at is None else min(at, self._again_at)

    def now(self) -> None:
        """An operator's wish goes before any wait."""
        self._not_before = 0.0
        self._failures = 0
        self._again_at = 0.0

    def wished(self, before: Enrolment) -> None:
        """A program wishes it again after ``before``, which was left: what that one was told still holds."""
        self.member.refusal = before.member.refusal
        self._failures, self._refused_at = before._failures, before._refused_at
        self._not_before = min(before._not_before, self._refused_at + self._settings.wish_pause)


def _local(path: Path) -> IpAddress | None:
    """Our own address on a path, None when the shell does not know it."""
    try:
        address = ipaddress.ip_address(path.local.partition("%")[0])
    except ValueError:
        return None
    return None if address.is_unspecified else address
