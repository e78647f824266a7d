"""The member's driver: kernel effects are awaited one by one, in the order that the machine gave them.

Policy before SA and SA before answer hold because nothing overtakes. The result of every kernel effect goes
back to the machine by ``done``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gkmd.core.effect import (
    Effect,
    InstallPolicy,
    InstallSa,
    JoinMulticast,
    LeaveMulticast,
    RemovePolicy,
    RemoveSa,
    SwitchOutput,
)
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import EspSa
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.driver import Driver, Machine
from gkmd.daemon.events import Events
from gkmd.daemon.udp import Udp
from gkmd.kernel.dataplane import Dataplane


class Memberships(Protocol):
    """Multicast memberships of this host (``gkmd.daemon.listening``)."""

    def join(self, effect: JoinMulticast) -> None: ...
    def leave(self, effect: LeaveMulticast) -> None: ...
    def close(self) -> None: ...


class MemberDriver(Driver):
    """``observe`` sees every SA before it is installed (the key log)."""

    def __init__(
        self,
        machine: Machine,
        clock: SteadyClock,
        udp: Udp,
        events: Events,
        dataplane: Dataplane,
        memberships: Memberships,
        observe: Callable[[EspSa], None] | None = None,
    ) -> None:
        super().__init__(machine, clock, udp, events)
        self._dataplane = dataplane
        self._memberships = memberships
        self._observe = observe
        self._queue: deque[Effect] = deque()
        self._worker: asyncio.Task[None] | None = None

    def _take(self, effects: list[Effect]) -> None:
        self._queue.extend(effects)

    def _flush(self) -> None:
        if self._queue and (self._worker is None or self._worker.done()):
            self._worker = self._loop.create_task(self._work())

    async def _work(self) -> None:
        while self._queue:
            effect = self._queue.popleft()
            try:
                await self._carry_out(effect)
            except Exception as error:
                self.fault(type(effect).__name__, error, "driver")
        self._rearm()

    async def _carry_out(self, effect: Effect) -> None:
        if not isinstance(
            effect,
            InstallPolicy
            | RemovePolicy
            | InstallSa
            | RemoveSa
            | SwitchOutput
            | JoinMulticast
            | LeaveMulticast,
        ):
            self._say(effect)
            return
        failure: DataplaneError | None = None
        try:
            await self._kernel(effect)
        except DataplaneError as error:
            failure = error
            self.events.tell(
                "kernel-refused",
                "warning",
                {"effect": type(effect).__name__, "error": str(error), "errno": error.errno},
            )
        self._queue.extend(self.machine.done(effect, failure, self.clock.now()))

    async def _kernel(self, effect: Effect) -> None:
        match effect:
            case InstallPolicy(policy):
                await self._dataplane.install_policy(policy)
            case RemovePolicy(policy):
                await self._dataplane.remove_policy(policy)
            case InstallSa(sa):
                if self._observe is not None:
                    self._observe(sa)
                await self._dataplane.install_sa(sa)
            case RemoveSa(sa):
                await self._dataplane.remove_sa(sa)
            case SwitchOutput(policy):
                await self._dataplane.switch_output(policy)
            case JoinMulticast():
                self._memberships.join(effect)
            case LeaveMulticast():
                self._memberships.leave(effect)

    async def idle(self, seconds: float) -> bool:
        """Wait until every effect is carried out; False when that took longer than ``seconds``."""
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker], timeout=seconds)
        return not self._queue
