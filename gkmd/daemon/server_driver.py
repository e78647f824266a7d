"""The key server's driver: durable before spoken, many registrations in one commit.

Lists of effects are carried out strictly in the order in which the machine returned them. While a commit is
under way everything later waits, so that the next commit takes all that has come since (group commit), and
no list overtakes the write that it rests on. If a commit fails, nothing that follows a Persist in its lists
is done, and what the machine returned before it heard of the failure is treated alike: the peers retransmit.

A disk that hangs for long must not fill the memory: when too many lists wait, datagrams are dropped before
the machine sees them. What it has seen has changed it, and a Persist in a list that is thrown away would be
lost for good; what it has not seen was lost on the way, as far as anybody can tell. Commands and ticks go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gkmd.core.address import Path
from gkmd.core.change import Change
from gkmd.core.effect import Ask, Effect, Persist, Send, Tell
from gkmd.core.errors import StoreError
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.driver import Driver, Machine
from gkmd.daemon.events import Events
from gkmd.daemon.udp import Udp
from gkmd.group.model import Verdict
from gkmd.ike.dropped import dropped

# After a failed commit the disk is left alone for so long; the queue is what came meanwhile.
PAUSE_SECONDS: Final = 0.5
# Lists of effects that may wait; tens of megabytes, and seconds of the busiest server.
MOST_WAITING: Final = 10_000


class Journal(Protocol):
    """What the driver needs of ``gkmd.store.journal.Journal``."""

    def submit(self, changes: tuple[Change, ...], done: Callable[[StoreError | None], None]) -> None: ...


class ServerDriver(Driver):
    """``observe`` sees the changes of every commit before it is submitted (the key log)."""

    def __init__(
        self,
        machine: Machine,
        clock: SteadyClock,
        udp: Udp,
        events: Events,
        journal: Journal,
        decide: Callable[[Ask, float], Verdict],
        observe: Callable[[tuple[Change, ...]], None] | None = None,
    ) -> None:
        super().__init__(machine, clock, udp, events, decide)
        self._journal = journal
        self._observe = observe
        self._queue: list[list[Effect]] = []
        self._writing: list[list[Effect]] | None = None
        self._paused = False
        self._shedding = False
        self.commits = 0
        self.store_error = ""  # of the last commit, empty when it went well

    def receive(self, data: bytes, path: Path) -> None:
        if len(self._queue) < MOST_WAITING:
            super().receive(data, path)
            return
        if not self._shedding:  # told once; each is counted
            self._shedding = True
            self.events.tell("journal-slow", "error", {"waiting": len(self._queue)})
        self._say(dropped("journal-slow", path))

    def _take(self, effects: list[Effect]) -> None:
        if effects:
            self._queue.append(self._answered(effects))

    def _flush(self) -> None:
        # A list that needs no disk may lead to more (done, answer), so go on until nothing waits.
        while self._queue and self._writing is None and not self._paused:
            lists, self._queue = self._queue, []
            self._shedding = False
            changes: list[Change] = []
            durable = False
            for effects in lists:
                for effect in effects:
                    if type(effect) is Persist:
                        durable = True
                        changes += effect.changes
            if durable:
                self._writing = lists
                everything = tuple(changes)
                if self._observe is not None:
                    self._observe(everything)
                self._journal.submit(everything, self._written)
            else:
                self._perform(lists)

    def _written(self, error: StoreError | None) -> None:
        """The journal's answer, in its own thread."""
        self._loop.call_soon_threadsafe(self._committed, error)

    def _committed(self, error: StoreError | None) -> None:
        lists, self._writing = self._writing or [], None
        if error is None:
            self.commits += 1
            if self.store_error:
                self.store_error = ""
                self.events.tell("journal-recovered", "info", {})
            self._perform(lists)
        else:
            waiting, self._queue = self._queue, []
            self._fail([*lists, *waiting], error)
        self._settle()

    def _perform(self, lists: list[list[Effect]]) -> None:
        udp_send = self.udp.send
        for effects in lists:
            for effect in effects:
                kind = type(effect)
                if kind is Send:
                    udp_send(effect.datagram, effect.path)  # type: ignore[union-attr]
                elif kind is Persist:
                    self._take(self.machine.done(effect, None, self.clock.now()))
                else:
                    self._say(effect)

    def _fail(self, lists: list[list[Effect]], error: StoreError) -> None:
        if not self.store_error:
            # Once, not for every datagram; `gkmd ctl status` shows it as long as it lasts.
            self.events.tell("journal-failed", "error", {"error": str(error)})
        self.store_error = str(error)
        self.events.counts["effects-withheld"] += sum(len(effects) for effects in lists)
        again: list[Effect] = []
        for effects in lists:
            for effect in effects:
                if type(effect) is Persist:
                    again += self.machine.done(effect, error, self.clock.now())
            if not any(type(effect) is Persist for effect in effects):
                # Rests on no write of its own; news is harmless, a datagram might rest on an earlier one.
                for effect in effects:
                    if type(effect) is Tell:
                        self._say(effect)
        self._take(again)
        self._paused = True
        self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._paused = False
        self._settle()

    async def idle(self, seconds: float) -> bool:
        """Wait until nothing is queued or being written; False when that took longer than ``seconds``."""
        end = self._loop.time() + seconds
        while self._queue or self._writing is not None:
            if self._loop.time() >= end:
                return False
            await asyncio.sleep(0.005)
        return True
