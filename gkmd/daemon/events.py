"""Where every Tell goes: counters, the log, and the followers of ``gkmd ctl events``."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from gkmd.daemon.budget import BUDGETED, Budget
from gkmd.daemon.logs import LEVELS, Later, Log, plain_fields
from gkmd.group.model import Refusal

FOLLOWER_EVENTS: Final = 1000  # that a slow reader may be behind before it loses the oldest
RECENT_EVENTS: Final = 200
DROPPED: Final = "datagram-dropped"
REFUSED: Final = "registration-refused"
NOT_BELIEVED: Final = "authentication-failed"
SUPPRESSED: Final = "lines-suppressed"
_SUM_UP_SECONDS: Final = 1.0
_REASONS: Final = frozenset(refusal.value for refusal in Refusal)


class Follower:
    """One reader of the event stream; a slow one loses the oldest events and is told how many."""

    def __init__(self, level: int) -> None:
        self.level = level
        self._waiting: deque[dict[str, object]] = deque()
        self._lost = 0
        self._ready = asyncio.Event()

    def put(self, event: dict[str, object]) -> None:
        if len(self._waiting) >= FOLLOWER_EVENTS:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(event)
        self._ready.set()

    async def take(self) -> list[dict[str, object]]:
        """Wait for events and take all, oldest first; after a loss the first says how many are missing."""
        await self._ready.wait()
        self._ready.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        if self._lost:
            taken.insert(
                0, {"time": taken[0]["time"], "level": "warning", "event": "events-lost", "count": self._lost}
            )
            self._lost = 0
        return taken


def _shown(now: float, level: str, event: str, fields: Mapping[str, object]) -> dict[str, object]:
    return {"time": round(now, 6), "level": level, "event": event, **plain_fields(fields)}


def _reason(fields: Mapping[str, object]) -> str:
    return str(fields.get("reason", "")).partition(":")[0]


class Events:
    """Counts, logs and passes on what happens. ``drops`` counts dropped datagrams by reason, ``refusals``
    refused registrations.

    Events that others cause at will are counted all, and logged and passed on within a ``Budget``: neither
    the disk nor the operator's view of the last events is theirs to fill.
    """

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._followers: list[Follower] = []
        self._recent: deque[tuple[float, str, str, Mapping[str, object]]] = deque(maxlen=RECENT_EVENTS)
        self._budget = Budget()
        self._later: Later | None = None
        self._waiting = False
        self.counts: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()

    def tell(self, event: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
        fields = fields or {}
        self.counts[event] += 1
        if event == DROPPED:
            self.drops[str(fields.get("reason", "unknown"))] += 1
        elif event == REFUSED:
            # Of the reason only what is one of ours: a peer must not make up names to count by.
            reason = _reason(fields)
            self.refusals[reason if reason in _REASONS else "protocol"] += 1
        elif event == NOT_BELIEVED and (reason := _reason(fields)) in _REASONS:
            self.refusals[reason] += 1  # a login that was refused: wrong-password, locked-out, busy
        if level != "debug":
            now = self._now()
            if self._budget.suppressing:
                self._sum_up(now)
            if event in BUDGETED and not self._budget.allows(event, level, now):
                self._sum_up_later()
                return
        self._pass_on(event, level, fields)

    def _pass_on(self, event: str, level: str, fields: Mapping[str, object]) -> None:
        self._log.tell(event, level, fields)
        if level != "debug":
            self._recent.append((self._now(), level, event, fields))
        for follower in self._followers:
            if LEVELS[level] >= follower.level:
                follower.put(_shown(self._now(), level, event, fields))

    def _sum_up(self, now: float) -> None:
        for event, level, number in self._budget.ended(now):
            self.counts[SUPPRESSED] += 1
            self._pass_on(SUPPRESSED, level, {"of": event, "number": number})

    def _sum_up_later(self) -> None:
        if self._later is not None and not self._waiting:
            self._waiting = True
            self._later(_SUM_UP_SECONDS, self._second_is_over)

    def _second_is_over(self) -> None:
        self._waiting = False
        self._sum_up(self._now())
        if self._budget.suppressing:
            self._sum_up_later()

    def batch(self, later: Later | None) -> None:
        """``later`` is the loop's ``call_later`` while it runs, for the log's batches and our sums."""
        self._later = later
        if later is None:
            self._sum_up(float("inf"))
        self._log.batch(later)

    def recent(self) -> list[dict[str, object]]:
        """The last events, oldest first, without those of level debug."""
        return [_shown(*one) for one in self._recent]

    def follow(self, level: str = "info") -> Follower:
        """A new reader, from now on; ``unfollow`` it at the end."""
        follower = Follower(LEVELS[level])
        self._followers.append(follower)
        return follower

    def unfollow(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)
