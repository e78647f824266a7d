"""How often each source may make us work: a bucket of tokens for each, in a table that does not grow."""

from __future__ import annotations

from typing import Final

SOURCES_LIMIT: Final = 4096


class Rates:
    """``burst`` at once and ``rate`` a second from then on, for each source by itself. ``rate`` 0: no limit.

    A source that has been silent for long is as good as new, so the one that was heard longest ago is
    forgotten when there is no room. Who has more addresses than that gains by it: half-open SAs and cookies
    are for those.
    """

    __slots__ = ("_buckets", "_burst", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate: Final = rate
        self._burst: Final = burst
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when that was; oldest first

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, source: str, now: float) -> bool:
        """Whether ``source`` may have one more now; if so, it has had it."""
        if not self._rate:
            return True
        buckets = self._buckets
        tokens, then = buckets.pop(source, (self._burst, now))
        # A clock that goes back gives nothing, and takes nothing.
        tokens = min(self._burst, tokens + max(0.0, now - then) * self._rate)
        allowed = tokens >= 1
        buckets[source] = (tokens - 1 if allowed else tokens, now)
        if len(buckets) > SOURCES_LIMIT:
            del buckets[next(iter(buckets))]
        return allowed
