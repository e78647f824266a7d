"""Where every Tell goes: counters, the log, and the followers of ``gkmd ctl events``."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from gkmd.daemon.logs import LEVELS, Log, plain_fields

FOLLOWER_EVENTS: Final = 1000  # that a slow reader may be behind before it loses the oldest
RECENT_EVENTS: Final = 200
DROPPED: Final = "datagram-dropped"


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


class Events:
    """Counts, logs and passes on what happens. ``drops`` counts dropped datagrams by reason."""

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._followers: list[Follower] = []
        self._recent: deque[tuple[float, str, str, Mapping[str, object]]] = deque(maxlen=RECENT_EVENTS)
        self.counts: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()

    def tell(self, event: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
        fields = fields or {}
        self.counts[event] += 1
        if event == DROPPED:
            self.drops[str(fields.get("reason", "unknown"))] += 1
        self._log.tell(event, level, fields)
        if level != "debug":
            self._recent.append((self._now(), level, event, fields))
        for follower in self._followers:
            if LEVELS[level] >= follower.level:
                follower.put(_shown(self._now(), level, event, fields))

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
