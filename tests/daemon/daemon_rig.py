"""A machine, a journal and a UDP layer that do what a test says and note the order of everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from gkmd.core.address import Path
from gkmd.core.change import Change, DropIkeSa
from gkmd.core.effect import Ask, Effect, Persist, Send, Tell
from gkmd.core.errors import StoreError
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.events import Events
from gkmd.daemon.logs import Log
from gkmd.daemon.udp import Udp
from gkmd.group.model import Verdict

PATH = Path("127.0.0.1", 848, "127.0.0.1", 1848)


def change(number: int) -> Change:
    return DropIkeSa(number.to_bytes(8, "big"))


def persist(*numbers: int) -> Persist:
    return Persist(tuple(change(number) for number in numbers))


def send(text: str) -> Send:
    return Send(text.encode(), PATH)


class ScriptedMachine:
    """``script`` maps a datagram to the effects that it leads to; ``notes`` is the common diary."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.script: dict[bytes, list[Effect]] = {}
        self.answers: list[Effect] = []
        self.ticks: list[list[Effect]] = []
        self.due: float | None = None
        self.on_done: Callable[[Effect, Exception | None], list[Effect]] = lambda effect, error: []

    def start(self, now: float) -> list[Effect]:
        return self.script.get(b"start", [])

    def receive(self, data: bytes, path: Path, now: float) -> list[Effect]:
        effects = self.script[data]
        if isinstance(effects, Exception):
            raise effects
        return effects

    def answer(self, ask: Ask, verdict: Verdict, now: float) -> list[Effect]:
        self.notes.append(f"answer {ask.number} {verdict.detail}")
        return self.answers

    def command(self, command: Any, now: float) -> list[Effect]:
        if isinstance(command, Exception):
            raise command
        return self.script[command]

    def done(self, effect: Effect, result: Exception | None, now: float) -> list[Effect]:
        self.notes.append(f"done {type(effect).__name__} {'failed' if result else 'ok'}")
        return self.on_done(effect, result)

    def tick(self, now: float) -> list[Effect]:
        self.notes.append("tick")
        self.due = None
        return self.ticks.pop(0) if self.ticks else []

    def deadline(self) -> float | None:
        return self.due


class ScriptedJournal:
    """Commits when told to; ``error`` makes the commits fail."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.error: StoreError | None = None
        self.held: list[Callable[[StoreError | None], None]] = []
        self.hold = False

    def submit(self, changes: tuple[Change, ...], done: Callable[[StoreError | None], None]) -> None:
        numbers = [int.from_bytes(one.spi_r, "big") for one in changes if isinstance(one, DropIkeSa)]
        self.notes.append(f"submit {numbers}")
        if self.hold:
            self.held.append(done)
        else:
            done(self.error)

    def release(self) -> None:
        held, self.held = self.held, []
        for done in held:
            self.notes.append("failed" if self.error else "committed")
            done(self.error)


class NotingUdp:
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def send(self, datagram: bytes, path: Path) -> None:
        self.notes.append(f"send {datagram.decode()}")

    def send_multicast(self, datagram: bytes, *rest: object) -> None:
        self.notes.append(f"multicast {datagram.decode()}")

    def as_udp(self) -> Udp:
        return cast(Udp, self)


class NotingEvents(Events):
    def __init__(self, notes: list[str], clock: SteadyClock) -> None:
        super().__init__(Log(clock.now, "error"), clock.now)
        self.notes = notes

    def tell(self, event: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
        super().tell(event, "debug" if level == "error" else level, fields)
        self.notes.append(f"tell {event}")


def tell(event: str) -> Tell:
    return Tell(event)


async def until(fact: Callable[[], object], seconds: float = 60.0) -> None:
    """Let the loop go on until the fact is true."""
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.001)


async def settle(turns: int = 5) -> None:
    """Let the loop do what is ready."""
    for _ in range(turns):
        await asyncio.sleep(0)
