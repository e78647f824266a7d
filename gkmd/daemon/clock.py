"""Unix seconds that do not jump while the process lives (docs/adr/0009-steady-clock.md)."""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """The wall clock at construction, then the monotonic clock: a stepped wall clock expires no key.

    ``wall`` and ``monotonic`` are for tests.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """Unix seconds."""
        return self._monotonic() + self._offset

    def monotonic_at(self, instant: float) -> float:
        """The monotonic (asyncio loop) time at which ``now()`` will be ``instant``."""
        return instant - self._offset
