"""Random challenges that wait for their answer: each good once, for some minutes, for one purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gkmd.core.rng import Rng

GOOD_FOR: Final = 300.0  # seconds
_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Challenge:
    """``account`` "" when it is not yet known who will answer."""

    octets: bytes
    account: str
    origin: str
    expires: float


class Challenges:
    """In memory only. When there are too many the oldest goes: who asks for so many is slowed down before."""

    __slots__ = ("_rng", "_waiting")

    def __init__(self, rng: Rng) -> None:
        self._rng: Final = rng
        self._waiting: dict[str, Challenge] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    def make(self, account: str, origin: str, now: float) -> Challenge:
        challenge = Challenge(self._rng(32), account, origin, now + GOOD_FOR)
        self._waiting[challenge.octets.hex()] = challenge
        while len(self._waiting) > _MOST or next(iter(self._waiting.values())).expires <= now:
            del self._waiting[next(iter(self._waiting))]
        return challenge

    def take(self, name: str, account: str, origin: str, now: float) -> Challenge | None:
        """The challenge of this name (hex), which is used up; None when there is none for this."""
        challenge = self._waiting.pop(name, None)
        if challenge is None or challenge.expires <= now:
            return None
        return challenge if (challenge.account, challenge.origin) == (account, origin) else None
