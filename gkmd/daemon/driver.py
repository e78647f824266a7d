"""What every driver does: feed a machine, answer its questions, send, tell, and re-arm one timer.

How the effects of a list wait for the disk (``server_driver``) or for the kernel (``member_driver``) is the
business of the two drivers; here is what they share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from gkmd.core.address import Path
from gkmd.core.effect import Ask, AskPassword, Effect, Send, SendMulticast, Tell
from gkmd.core.errors import LocalError
from gkmd.core.fault import fault
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.events import Events
from gkmd.daemon.udp import Udp
from gkmd.group.model import Verdict

TROUBLE_SECONDS: Final = 1.0  # a timer whose work failed is not tried again before
IDLE_SECONDS: Final = 0.01  # nor one that had nothing to do, whatever the machine says
# asyncio's timers stand still while the host sleeps, our clock does not: look again so often.
LONGEST_SECONDS: Final = 60.0


class Machine(Protocol):
    """The five verbs and the question of a protocol machine (docs/architecture.md)."""

    def start(self, now: float) -> list[Effect]: ...
    def receive(self, data: bytes, path: Path, now: float) -> list[Effect]: ...
    # An Ask gets a Verdict, an AskPassword a PasswordVerdict.
    def answer(self, ask: Any, verdict: Any, now: float) -> list[Effect]: ...
    def command(self, command: Any, now: float) -> list[Effect]: ...
    def done(self, effect: Effect, result: Exception | None, now: float) -> list[Effect]: ...
    def tick(self, now: float) -> list[Effect]: ...
    def deadline(self) -> float | None: ...


class Driver:
    """Feeds ``machine``; a subclass carries out what it returns (``_take`` queues, ``_flush`` works)."""

    def __init__(
        self,
        machine: Machine,
        clock: SteadyClock,
        udp: Udp,
        events: Events,
        decide: Callable[[Ask, float], Verdict] | None = None,
    ) -> None:
        self.machine = machine
        self.clock = clock
        self.udp = udp
        self.events = events
        self._decide = decide
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None
        self._not_before = 0.0
        self._stopped = False

    # -- feeding -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """The machine's first effects; it runs from now on."""
        self._take(self.machine.start(self.clock.now()))
        self._settle()

    def receive(self, data: bytes, path: Path) -> None:
        """One datagram. Its effects are carried out at the latest when the socket is ``drained``."""
        try:
            effects = self.machine.receive(data, path, self.clock.now())
        except Exception as error:
            # A fault of ours: one datagram must not end the service of everybody.
            self.fault("receive", error, str(path))
            return
        if effects:
            self._take(effects)

    def drained(self) -> None:
        """The socket has no more for now: carry out what was collected."""
        self._settle()

    def command(self, command: Any) -> None:
        """An operator's wish. Raises LocalError with the machine's answer when it is impossible."""
        self._take(self.machine.command(command, self.clock.now()))
        self._settle()

    def fault(self, verb: str, error: Exception, source: str) -> None:
        """A fault in our own code: counted and told; the service goes on."""
        for tell in fault(verb, error, source):
            self.events.tell(tell.event, tell.level, tell.fields)

    def _answered(self, effects: list[Effect]) -> list[Effect]:
        """``effects`` with every question replaced by what its answer led to.

        A fault in an answer must not take the other effects with it: there may be a Persist among them.
        """
        for place, effect in enumerate(effects):
            if type(effect) is Ask:
                more = self._answer(effect)
            elif type(effect) is AskPassword:
                more = self._ask_password(effect)
            else:
                continue
            return [*effects[:place], *more, *self._answered(effects[place + 1 :])]
        return effects

    def _answer(self, ask: Ask) -> list[Effect]:
        if self._decide is None:
            raise LocalError("a machine asked for admission where nobody decides")
        now = self.clock.now()
        try:
            return self.machine.answer(ask, self._decide(ask, now), now)
        except Exception as error:
            self.fault("answer", error, str(ask.identity))
            return []

    def _ask_password(self, ask: AskPassword) -> list[Effect]:
        """What the answer led to when it is known at once; else the driver answers later by itself."""
        raise LocalError("a machine asked for a password where nobody knows any")

    # -- carrying out ------------------------------------------------------------------------------------

    def _take(self, effects: list[Effect]) -> None:
        raise NotImplementedError

    def _flush(self) -> None:
        raise NotImplementedError

    def _settle(self) -> None:
        self._flush()
        self._rearm()

    def _say(self, effect: Effect) -> None:
        """Carry out one of the effects that only speak."""
        kind = type(effect)
        if kind is Send:
            assert isinstance(effect, Send)
            self.udp.send(effect.datagram, effect.path)
        elif kind is Tell:
            assert isinstance(effect, Tell)
            self.events.tell(effect.event, effect.level, effect.fields)
        elif isinstance(effect, SendMulticast):
            try:
                self.udp.send_multicast(
                    effect.datagram,
                    effect.address,
                    effect.port,
                    effect.source,
                    effect.interface,
                    effect.ttl,
                )
            except LocalError as error:
                self.events.tell("send-failed", "warning", {"error": str(error)})
        else:
            raise LocalError(f"no driver carries out {kind.__name__} here")

    # -- the timer ---------------------------------------------------------------------------------------

    def _rearm(self) -> None:
        if self._stopped:
            return
        deadline = self.machine.deadline()
        if deadline == self._armed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = deadline
        if deadline is not None:
            now = self._loop.time()
            at = now + min(deadline - self.clock.now(), LONGEST_SECONDS)
            self._timer = self._loop.call_at(max(at, self._not_before), self._tick, deadline)

    def _tick(self, deadline: float) -> None:
        self._timer = None
        self._armed = None
        now = self.clock.now()
        if deadline <= now:
            self._take_tick(now)
        self._settle()

    def _take_tick(self, now: float) -> None:
        pause = IDLE_SECONDS
        effects: list[Effect] = []
        try:
            effects = self.machine.tick(now)
        except Exception as error:
            pause = TROUBLE_SECONDS
            self.fault("tick", error, "timer")
        if effects:
            self._take(effects)
        else:
            self._not_before = self._loop.time() + pause

    def stop_timer(self) -> None:
        """Tick no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
