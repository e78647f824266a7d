"""One verb's worth of effects, given out by the order law: write, then the kernel, then speak, then tell."""

from __future__ import annotations

from collections.abc import Iterable

from gkmd.core.change import Change
from gkmd.core.effect import Ask, Effect, Persist, Send, SendMulticast, Tell


class Turn:
    """Collects effects in any order; within a rank they keep the order in which they came."""

    __slots__ = ("asks", "changes", "kernel", "sends", "tells")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.kernel: list[Effect] = []
        self.sends: list[Effect] = []
        self.asks: list[Effect] = []
        self.tells: list[Effect] = []

    def extend(self, effects: Iterable[Effect]) -> None:
        """Sort in what another machine returned."""
        for effect in effects:
            if isinstance(effect, Persist):
                self.changes += effect.changes
            elif isinstance(effect, Send | SendMulticast):
                self.sends.append(effect)
            elif isinstance(effect, Tell):
                self.tells.append(effect)
            elif isinstance(effect, Ask):
                self.asks.append(effect)
            else:
                self.kernel.append(effect)

    def tell(self, event: str, level: str = "info", **fields: object) -> None:
        self.tells.append(Tell(event, level, fields))

    def effects(self) -> list[Effect]:
        """Persist < kernel < Send < Tell < Ask, with one Persist at most."""
        changes: list[Effect] = [Persist(tuple(self.changes))] if self.changes else []
        return changes + self.kernel + self.sends + self.tells + self.asks
