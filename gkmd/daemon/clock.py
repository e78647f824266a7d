"""Unix seconds that do not jump while the process lives (docs/adr/0009-steady-clock.md)."""

from __future__ import annotations

import time
from collections.abc import Callable


def since_boot() -> float:
    """Seconds that never go back and go on while the host sleeps: keys age in a closed laptop, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """The wall clock at construction, then the time since boot: a stepped wall clock expires no key.

    ``wall`` and ``steady`` are for tests.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = since_boot
    ) -> None:
        self._steady = steady
        self._offset = wall() - steady()

    def now(self) -> float:
        """Unix seconds."""
        return self._steady() + self._offset
