"""What a receiver saw of a numbered stream: received, duplicated, out of order, missing. Pure.

A test packet starts with ``HEADER``: the marker by which it is recognised anywhere in clear, the number of
its stream, its sequence number from 0, and the sender's monotonic clock in nanoseconds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MARKER = b"gkmd-lab-payload"
HEADER = struct.Struct(">16sIQQ")


@dataclass(slots=True)
class Account:
    """The account of one stream. Times are nanoseconds of one monotonic clock."""

    received: int = 0  # different sequence numbers
    duplicated: int = 0  # copies beyond the first
    out_of_order: int = 0  # first copies that came after a later number
    first: int = -1
    last: int = -1  # the highest number so far
    longest_gap: int = 0  # between two arrivals
    worst_delay: int = 0
    _previous: int = 0
    _seen: bytearray = field(default_factory=bytearray)

    def add(self, sequence: int, sent: int, now: int) -> None:
        """Enter one arrival."""
        if sequence >= len(self._seen):
            self._seen.extend(bytes(sequence + 1024 - len(self._seen)))
        if self._seen[sequence]:
            self.duplicated += 1
            return
        self._seen[sequence] = 1
        self.received += 1
        if sequence < self.last:
            self.out_of_order += 1
        self.first = sequence if self.first < 0 else min(self.first, sequence)
        self.last = max(self.last, sequence)
        if self._previous:
            self.longest_gap = max(self.longest_gap, now - self._previous)
        self._previous = now
        self.worst_delay = max(self.worst_delay, now - sent)

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges, both ends included, that did not come of the numbers ``first`` to ``last``."""
        ranges: list[tuple[int, int]] = []
        for sequence in range(first, last + 1):
            if sequence < len(self._seen) and self._seen[sequence]:
                continue
            if ranges and ranges[-1][1] == sequence - 1:
                ranges[-1] = (ranges[-1][0], sequence)
            else:
                ranges.append((sequence, sequence))
        return ranges

    def report(self) -> dict[str, object]:
        """For JSON. ``missing`` counts between the first and the last that came, at most 20 ranges of it."""
        return {
            "received": self.received,
            "duplicated": self.duplicated,
            "out_of_order": self.out_of_order,
            "first": self.first,
            "last": self.last,
            "missing": self.missing(self.first, self.last)[:20] if self.received else [],
            "longest_gap_ms": round(self.longest_gap / 1e6, 1),
            "worst_delay_ms": round(self.worst_delay / 1e6, 1),
        }
