"""Alarms: one instant for each key, and the keys whose instant has come."""

from __future__ import annotations

import heapq
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)  # ordered, for two of one instant

_SLACK = 64  # entries that stand for nothing any more, before all are sorted anew


class Alarms(Generic[K]):
    """Setting an alarm moves it. What it takes is bounded by the number of keys, however often they move."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, K]] = []  # an entry counts if ``_at`` still says so

    def at(self, key: K) -> float | None:
        return self._at.get(key)

    def set(self, key: K, at: float) -> None:
        if self._at.get(key) == at:
            return
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(instant, armed) for armed, instant in self._at.items()]
            heapq.heapify(self._heap)

    def drop(self, key: K) -> None:
        self._at.pop(key, None)

    def first(self) -> float | None:
        """The earliest instant; it may have passed."""
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> K | None:
        """One key whose instant has come, the earliest first, and without an alarm from now on."""
        first = self.first()
        if first is None or first > now:
            return None
        key = heapq.heappop(self._heap)[1]
        del self._at[key]
        return key
