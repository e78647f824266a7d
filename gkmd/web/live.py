"""Statistics of a reservation as server-sent events. The streams that may be open are counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gkmd.api.problem import Problem
from gkmd.web.client import Caller, Daemon
from gkmd.web.rates import bucket_of

_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 15.0  # a comment after so long, so that what is between does not hang up
_LONGEST_SECONDS: Final = 3600.0  # then the browser comes again, and its session is looked at anew
_OVER: Final = frozenset({"over", "cancelled"})


class Streams:
    """How many streams are open, in all and for each client address."""

    def __init__(self, most: int = 500, most_each: int = 20, seconds: float = _SECONDS) -> None:
        self._most = most
        self._most_each = most_each
        self._open: Counter[str] = Counter()
        self.seconds = seconds

    def open(self, origin: str) -> Callable[[], None]:
        """Take a place; gives what frees it. Problem when there is none."""
        key = bucket_of(origin)
        if self._open.total() >= self._most or self._open[key] >= self._most_each:
            raise Problem("busy", "Too many live pages are open; close one, or come back later.")
        self._open[key] += 1
        freed = False

        def free() -> None:
            nonlocal freed
            if not freed:
                freed = True
                self._open[key] -= 1
                self._open += Counter()  # forgets those at zero

        return free

    def __len__(self) -> int:
        return self._open.total()


class _EventStream(StreamingResponse):
    """Frees its place at the end, also when the client is gone before the first event."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], free: Callable[[], None]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._free = free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._free()


async def stream_response(
    request: Request, daemon: Daemon, streams: Streams, data: dict[str, Any], caller: Caller
) -> StreamingResponse:
    """The stream; Problem when the first statistics are refused already."""
    first = await daemon.call("statistics", data, caller)
    free = streams.open(caller.origin)
    return _EventStream(_events(daemon, data, caller, first, streams.seconds), free)


async def _events(
    daemon: Daemon, data: dict[str, Any], caller: Caller, first: dict[str, Any], seconds: float
) -> AsyncIterator[bytes]:
    told, quiet, age = first, 0.0, 0.0
    yield _event("statistics", first)
    while told["state"] not in _OVER and age < _LONGEST_SECONDS:
        await asyncio.sleep(seconds)
        age += seconds
        try:
            now = await daemon.call("statistics", data, caller)
        except Problem as problem:
            yield _event("problem", problem.as_json())
            return
        quiet += seconds
        if {**now, "at": 0} != {**told, "at": 0}:
            told, quiet = now, 0.0
            yield _event("statistics", now)
        elif quiet >= _QUIET_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"
    if told["state"] in _OVER:
        yield _event("over", {"state": told["state"]})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
