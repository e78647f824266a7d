"""Connections that are slow on purpose: uvicorn's own limits end at the first octet of a request."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """``head``: seconds for the head of a request. ``body``: seconds for its body, and one more for each
    ``body_rate`` octets of it. ``taking``: after so many seconds it is looked whether the client has taken
    ``taking_rate`` octets a second. ``each``: connections of one client address; ``most``: in all.
    """

    head: float = 15.0
    body: float = 30.0
    body_rate: int = 10_000
    taking: float = 60.0
    taking_rate: int = 1000
    each: int = 100
    most: int = 2000


class Connection(H11Protocol):
    """uvicorn's connection, with an end to each wait for the client."""

    def __init__(self, limits: Limits, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._limits = limits
        self._phase = (
            ""  # what is read: head, body, rest (of a body whose answer is given already), or nothing
        )
        self._deadline = 0.0
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._read_on("head")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.IDLE:
            self._read_on("head")
        elif state is not h11.SEND_BODY:
            self._read_on("")
        elif self._phase == "body":
            self._deadline += len(data) / self._limits.body_rate
        elif self._phase != "rest":
            self._read_on("body")
        if self.transport.is_closing():
            self._watch_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._read_on("rest")
        elif self.conn.trailing_data[0]:  # of the next request
            self._read_on("head")
        if self.transport.is_closing():
            self._watch_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def _unsupported_upgrade_warning(self) -> None:
        """Whoever asks for one would have a line of the log written by each request."""

    # -- waiting for what comes --------------------------------------------------------------------------

    def _read_on(self, phase: str) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if phase:
            seconds = self._limits.body if phase == "body" else self._limits.head
            self._deadline = self.loop.time() + seconds
            self._reading = self.loop.call_at(self._deadline, self._late)

    def _late(self) -> None:
        if self.loop.time() < self._deadline:
            self._reading = self.loop.call_at(self._deadline, self._late)
        else:
            self.transport.abort()

    # -- waiting for what was sent to be taken -----------------------------------------------------------

    def _watch_writing(self) -> None:
        if self._writing is None:
            self._unsent = self.transport.get_write_buffer_size()
            self._writing = self.loop.call_later(self._limits.taking, self._look_at_writing)

    def _look_at_writing(self) -> None:
        self._writing = None
        limits, left = self._limits, self.transport.get_write_buffer_size()
        if not left and not self.transport.is_closing():
            return
        if left > self._unsent - limits.taking * limits.taking_rate:
            self.transport.abort()
        else:
            self._watch_writing()


def protocol(limits: Limits) -> Any:
    """What uvicorn takes as ``http``."""
    return functools.partial(Connection, limits)
