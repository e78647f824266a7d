"""When a member registers with a group: as soon as the group wants it, and never as a storm of retries."""

from __future__ import annotations

from typing import Final

from gkmd.core.rng import Rng
from gkmd.ike.group_member import GroupMember
from gkmd.ike.member_settings import MemberSettings
from wire.registry import NotifyType

# RFC 9838 4.7.3: for reasons that have nothing to do with this member; and RFC 7296 2.25. They pass.
_PASSING: Final = (NotifyType.REGISTRATION_FAILED, NotifyType.TEMPORARY_FAILURE)


def jittered(seconds: float, rng: Rng) -> float:
    """``seconds`` times a random factor from 0.5 to 1.5, so that many members do not come at once."""
    return seconds * (0.5 + int.from_bytes(rng(2), "big") / 65536)


def doubled(settings: MemberSettings, failures: int) -> float:
    """The wait after the failure number ``failures`` in a row (the first is 1)."""
    return min(settings.retry_ceiling, settings.retry_first * 2.0 ** min(failures - 1, 30))


class Enrolment:
    """One group of this member, and the schedule of its registrations."""

    __slots__ = ("_again_at", "_failures", "_not_before", "_rng", "_settings", "member", "over")

    def __init__(self, member: GroupMember, settings: MemberSettings, rng: Rng) -> None:
        self.member: Final = member
        self.over: bytes | None = None  # SPIs of the IKE SA over which it is registered
        self._settings: Final = settings
        self._rng: Final = rng
        self._failures = 0
        self._not_before = 0.0
        self._again_at: float | None = None

    @property
    def due(self) -> float | None:
        """When to register, None: never. A time that has passed means now."""
        wanted = self.member.registration_due
        times = [at for at in (wanted, self._again_at) if at is not None]
        return max(min(times), self._not_before) if times else None

    def registered(self, over: bytes, now: float) -> None:
        """The key server has taken us, over this IKE SA."""
        self.over = over
        self._failures = 0
        self._again_at = None
        self._not_before = now + self._settings.retry_first

    def refused(self, kind: int, now: float) -> float:
        """The key server has not taken us. Returns when we come back."""
        if kind in _PASSING:
            self._failures += 1
            wait = doubled(self._settings, self._failures)
        else:
            # Not us, no such group, or not with these algorithms: nothing that we do changes that.
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
