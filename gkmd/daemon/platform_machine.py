"""The key server's machine with the platform beside it: one timer, one start, one way into the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from gkmd.core.effect import Effect
from gkmd.core.fault import fault
from gkmd.daemon.driver import TROUBLE_SECONDS, Machine
from gkmd.group.model import Left
from gkmd.ike.gcks_settings import Apply, Shutdown


class Ticking(Protocol):
    """What this needs of ``gkmd.group.platform.platform.Platform``."""

    def start(self, now: float) -> Left: ...
    def tick(self, now: float) -> Left: ...
    def stop(self, now: float) -> Left: ...
    def deadline(self) -> float | None: ...


class PlatformMachine:
    """``gcks`` as it is; what the platform does by itself reaches it as a command (``Apply``)."""

    def __init__(self, gcks: Machine, platform: Ticking) -> None:
        self._gcks: Final = gcks
        self._platform: Final = platform
        self._not_before = 0.0
        self.receive = gcks.receive  # the busiest verb, without a detour
        self.answer = gcks.answer
        self.done = gcks.done

    def start(self, now: float) -> list[Effect]:
        effects = self._gcks.start(now)
        return effects + self._apply(self._platform.start(now), now)

    def command(self, command: Any, now: float) -> list[Effect]:
        before = self._carry_out(self._platform.stop, now) if isinstance(command, Shutdown) else []
        return before + self._gcks.command(command, now)

    def tick(self, now: float) -> list[Effect]:
        effects = self._gcks.tick(now)
        due = self._deadline_of_platform()
        return effects if due is None or due > now else effects + self._carry_out(self._platform.tick, now)

    def deadline(self) -> float | None:
        times = (self._gcks.deadline(), self._deadline_of_platform())
        return min((at for at in times if at is not None), default=None)

    def _deadline_of_platform(self) -> float | None:
        due = self._platform.deadline()
        return None if due is None else max(due, self._not_before)

    def _carry_out(self, due: Callable[[float], Left], now: float) -> list[Effect]:
        try:
            left = due(now)
        except Exception as error:
            # What the key server itself has to do goes on, and is not taken along.
            self._not_before = now + TROUBLE_SECONDS
            return [*fault("platform tick", error, "timer")]
        return self._apply(left, now)

    def _apply(self, left: Left, now: float) -> list[Effect]:
        if not left.changes and not left.orders:
            return []
        try:
            return self._gcks.command(Apply(left), now)
        except Exception as error:
            # The facts have changed, and are written whatever became of the groups.
            return [
                *fault("platform tick", error, "timer"),
                *self._gcks.command(Apply(Left(left.changes, ())), now),
            ]
