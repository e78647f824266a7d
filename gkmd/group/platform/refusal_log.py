"""Audit lines about refused registrations: each reservation has some a minute, the rest is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gkmd.group.platform.audit import Audit

PER_MINUTE: Final = 20
_MINUTE: Final = 60.0


@dataclass(slots=True)
class _Minute:
    since: float
    lines: int = 0
    omitted: dict[str, int] = field(default_factory=dict)  # by reason


class RefusalLog:
    __slots__ = ("_audit", "_minutes", "_next")

    def __init__(self, audit: Audit) -> None:
        self._audit: Final = audit
        self._minutes: dict[str, _Minute] = {}  # by reservation
        self._next = float("inf")

    def note(self, actor: str, reservation: str, reason: str, now: float) -> None:
        """``reservation`` exists: what strangers make up is not kept here."""
        minute = self._minutes.get(reservation)
        if minute is not None and minute.since + _MINUTE <= now:
            self._close(reservation, now)
            minute = None
        if minute is None:
            minute = self._minutes[reservation] = _Minute(now)
            self._next = min(self._next, now + _MINUTE)
        if minute.lines >= PER_MINUTE:
            minute.omitted[reason] = minute.omitted.get(reason, 0) + 1
            return
        minute.lines += 1
        # What is tried at one transmission hides nothing of another, and nothing of the portal.
        self._audit.refusal(actor, "refuse", reservation, now, share=reservation, reason=reason)

    def tick(self, now: float) -> None:
        """Sum up the minutes that are over."""
        if now < self._next:
            return
        for reservation in [name for name, one in self._minutes.items() if one.since + _MINUTE <= now]:
            self._close(reservation, now)
        self._next = min((one.since + _MINUTE for one in self._minutes.values()), default=float("inf"))

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None for nothing."""
        return self._next if self._minutes else None

    def _close(self, reservation: str, now: float) -> None:
        minute = self._minutes.pop(reservation)
        if minute.omitted:
            self._audit.note(
                "gkmd", "refuse-more", reservation, now, omitted=minute.omitted, since=minute.since
            )
