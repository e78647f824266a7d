"""How often one may do what a stranger may do: some at once, then a few a second."""

from __future__ import annotations

from typing import Final

_REMEMBERED: Final = 4096


class Allowance:
    """``burst`` at once and ``rate`` a second from then on, for each name by itself. In memory only.

    Who was silent for long is as good as new: when there is no room the one that was seen longest ago is
    forgotten.
    """

    __slots__ = ("_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate: Final = rate
        self._burst: Final = burst
        self._tokens: dict[str, tuple[float, float]] = {}  # tokens left, and when that was; oldest first

    def take(self, name: str, now: float) -> float | None:
        """None: it may, and that counted. Else the instant from which on it may."""
        tokens, then = self._tokens.pop(name, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - then) * self._rate)
        allowed = tokens >= 1
        self._tokens[name] = (tokens - 1 if allowed else tokens, now)
        if len(self._tokens) > _REMEMBERED:
            del self._tokens[next(iter(self._tokens))]
        return None if allowed else now + (1 - tokens) / self._rate
