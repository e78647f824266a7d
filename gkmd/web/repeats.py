"""Forms that are posted twice: the second one is given the answer of the first."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")
_KEPT_SECONDS: Final = 120.0
_MOST: Final = 2000
_MOST_OCTETS: Final = 16 << 20  # a page of 10,000 codes has some hundred thousand


class Repeats:
    """Answers by who posted and the form's own word, kept for two minutes, the oldest forgotten first.

    What makes something for good carries the word on to the daemon, which keeps it longer.
    """

    def __init__(self, clock: Callable[[], float], most_octets: int = _MOST_OCTETS) -> None:
        self._clock = clock
        self._most_octets = most_octets
        self._known: OrderedDict[bytes, tuple[float, asyncio.Future[object]]] = OrderedDict()
        self._sizes: dict[bytes, int] = {}

    def knows(self, who: str, word: str) -> bool:
        """Whether ``run`` would give the answer of a form that was posted before."""
        self._forget()
        return bool(word) and _key(who, word) in self._known

    async def run(self, who: str, word: str, make: Callable[[], Awaitable[T]]) -> T:
        """``make()``, or what it gave for the same word before. An error is not kept."""
        if not word:
            return await make()
        self._forget()
        key = _key(who, word)
        known = self._known.get(key)
        if known is not None:
            return await asyncio.shield(known[1])  # type: ignore[arg-type]
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._known[key] = (self._clock(), future)
        try:
            made = await make()
        except BaseException as error:
            self._known.pop(key, None)
            if not future.done():
                future.set_exception(
                    error if isinstance(error, Exception) else RuntimeError("it was broken off")
                )
                future.exception()  # seen: nobody may be waiting
            raise
        future.set_result(made)
        if key in self._known:
            self._sizes[key] = len(getattr(made, "body", b""))
        return made

    def _forget(self) -> None:
        limit, octets = self._clock() - _KEPT_SECONDS, sum(self._sizes.values())
        while self._known:
            key, (at, _) = next(iter(self._known.items()))
            if at >= limit and len(self._known) < _MOST and octets <= self._most_octets:
                return
            del self._known[key]
            octets -= self._sizes.pop(key, 0)

    def __len__(self) -> int:
        return len(self._known)


def _key(who: str, word: str) -> bytes:
    return hashlib.sha256(f"{who}\0{word}".encode()).digest()
