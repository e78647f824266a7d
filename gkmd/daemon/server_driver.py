"""The key server's driver: durable before spoken, many registrations in one commit.

Lists of effects are carried out strictly in the order in which the machine returned them. While a commit is
under way everything later waits, so that the next commit takes all that has come since (group commit), and
no list overtakes the write that it rests on. If a commit fails, nothing that follows a Persist in its lists
is done, and what the machine returned before it heard of the failure is treated alike: the peers retransmit.

A disk that hangs for long must not fill the memory: when too many lists wait, datagrams are dropped before
the machine sees them. What it has seen has changed it, and a Persist in a list that is thrown away would be
lost for good; what it has not seen was lost on the way, as far as anybody can tell. Commands and ticks go on.

Passwords are compared elsewhere (``password_pool``): the answer to an AskPassword comes later, as a list of
its own. Whoever has to know that a command is on the disk waits for ``command_durably``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from gkmd.api.problem import Problem
from gkmd.core.address import Path
from gkmd.core.change import Change
from gkmd.core.effect import Ask, AskPassword, Effect, Persist, Send, Tell
from gkmd.core.errors import StoreError
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.driver import Driver, Machine
from gkmd.daemon.events import Events
from gkmd.daemon.password_pool import Asker, PasswordPool, PoolFull
from gkmd.daemon.udp import Udp
from gkmd.group.doorkeeper import PasswordCheck, PasswordVerdict
from gkmd.group.model import Refusal, Verdict
from gkmd.ike.dropped import dropped

# After a failed commit the disk is left alone for so long; the queue is what came meanwhile.
PAUSE_SECONDS: Final = 0.5
# Lists of effects that may wait; tens of megabytes, and seconds of the busiest server.
MOST_WAITING: Final = 10_000
BUSY_SECONDS: Final = 3.0  # after which a password may be tried again when too many wait


class Journal(Protocol):
    """What the driver needs of ``gkmd.store.journal.Journal``."""

    def submit(self, changes: tuple[Change, ...], done: Callable[[StoreError | None], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Passwords:
    """Who knows verifiers (a doorkeeper's ``password_of``), and where they are compared."""

    of: Callable[[AskPassword, float], PasswordCheck]
    pool: PasswordPool


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """At the end of a list: everything before it is on the disk and carried out, or has failed."""

    known: asyncio.Future[None]

    def durable(self) -> None:
        if not self.known.done():
            self.known.set_result(None)

    def failed(self, error: StoreError) -> None:
        if not self.known.done():
            self.known.set_exception(Problem("journal-failed", f"It could not be written: {error}"))


_Step: TypeAlias = Effect | _Waiter


class ServerDriver(Driver):
    """``observe`` sees the changes of every commit before it is submitted (the key log). ``passwords`` None:
    none is asked for.
    """

    def __init__(
        self,
        machine: Machine,
        clock: SteadyClock,
        udp: Udp,
        events: Events,
        journal: Journal,
        decide: Callable[[Ask, float], Verdict],
        observe: Callable[[tuple[Change, ...]], None] | None = None,
        passwords: Passwords | None = None,
    ) -> None:
        super().__init__(machine, clock, udp, events, decide)
        self._journal = journal
        self._observe = observe
        self._passwords = passwords
        self._queue: list[list[_Step]] = []
        self._writing: list[list[_Step]] | None = None
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

    def command_durably(self, command: Any) -> asyncio.Future[None]:
        """As ``command``, and a future that is done once everything that it has changed is on the disk and
        carried out. It raises ``Problem("journal-failed")`` when that fails; what was changed is written with
        the next that succeeds.
        """
        waiter = _Waiter(self._loop.create_future())
        effects = self._answered(self.machine.command(command, self.clock.now()))
        self._queue.append([*effects, waiter])
        self._settle()
        return waiter.known

    def settled(self) -> asyncio.Future[None]:
        """Done once all that was asked for before is on the disk and carried out, or has failed likewise."""
        waiter = _Waiter(self._loop.create_future())
        self._queue.append([waiter])
        self._settle()
        return waiter.known

    # -- passwords ---------------------------------------------------------------------------------------

    def _ask_password(self, ask: AskPassword) -> list[Effect]:
        if self._passwords is None:
            return super()._ask_password(ask)
        now = self.clock.now()
        try:
            check = self._passwords.of(ask, now)
            if check.refusal is not None:
                return self.machine.answer(ask, PasswordVerdict(check.refusal, check.come_back), now)
            try:
                found = self._passwords.pool.verify(check.verifier, ask.password, Asker.REGISTRATION)
            except PoolFull:
                return self.machine.answer(ask, PasswordVerdict(Refusal.BUSY, now + BUSY_SECONDS), now)
        except Exception as error:
            self.fault("answer", error, str(ask.identity))
            return []
        found.add_done_callback(lambda found: self._password_compared(ask, check, found))
        return []

    def _password_compared(self, ask: AskPassword, check: PasswordCheck, found: asyncio.Future[bool]) -> None:
        if found.cancelled() or self._stopped:
            return
        try:
            right = check.known and found.result()
            verdict = (
                PasswordVerdict(None, grounds=check.grounds, identity=check.identity)
                if right
                else PasswordVerdict(Refusal.WRONG_PASSWORD)
            )
            effects = self.machine.answer(ask, verdict, self.clock.now())
        except Exception as error:
            self.fault("answer", error, str(ask.identity))
            return
        self._take(effects)
        self._settle()

    # -- carrying out ------------------------------------------------------------------------------------

    def _take(self, effects: list[Effect]) -> None:
        if effects:
            self._queue.append([*self._answered(effects)])

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

    def _perform(self, lists: list[list[_Step]]) -> None:
        udp_send = self.udp.send
        for effects in lists:
            for effect in effects:
                kind = type(effect)
                if kind is Send:
                    udp_send(effect.datagram, effect.path)  # type: ignore[union-attr]
                elif isinstance(effect, _Waiter):
                    effect.durable()
                elif kind is Persist:
                    self._take(self.machine.done(effect, None, self.clock.now()))
                else:
                    self._say(effect)

    def _fail(self, lists: list[list[_Step]], error: StoreError) -> None:
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
                elif isinstance(effect, _Waiter):
                    effect.failed(error)
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
