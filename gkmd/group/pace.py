"""How often one may do what costs everybody: a few times at once, then once in a while."""

from __future__ import annotations

from typing import Final

from gkmd.core.identity import Identity

_MOST_REMEMBERED: Final = 4096


class Pace:
    """``burst`` times at once, then once in some seconds; in memory only, a restart forgives."""

    __slots__ = ("_burst", "_debts")

    def __init__(self, burst: int) -> None:
        self._burst: Final = burst
        self._debts: dict[Identity, float] = {}  # when each may take its whole burst again

    def take(self, identity: Identity, seconds: float, now: float) -> bool:
        """Whether it may do it once more, now; if so that counts, and is forgotten after ``seconds``."""
        paid = max(now, self._debts.get(identity, now))
        if paid - now > (self._burst - 1) * seconds:
            return False
        if len(self._debts) >= _MOST_REMEMBERED:
            self._debts = {one: at for one, at in self._debts.items() if at > now}
        self._debts[identity] = paid + seconds
        return True
