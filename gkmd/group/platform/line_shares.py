"""How many lines about refusals each caller may have written; the rest is counted, and summed up in one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from gkmd.group.platform.allowance import Allowance

AT_ONCE: Final = 100.0  # lines of one name,
EVERY: Final = 30.0  # and from then on one in so many seconds
SUMMED: Final = 300.0  # seconds after the first that was left out
_FLOODS: Final = 1000  # names whose lines are counted, each by itself
_SUBJECTS: Final = 20  # that one sum names
OTHERS: Final = ""  # the name of all others


@dataclass(slots=True)
class Omitted:
    """Lines of ``name`` that were left out since an instant, by their action and, some of them, by what they
    were about: which account's password was tried, say.
    """

    name: str
    since: float
    counts: Counter[str] = field(default_factory=Counter)
    subjects: Counter[str] = field(default_factory=Counter)


class LineShares:
    """Each name has a share of its own, so that nobody hides what another does. In memory only."""

    __slots__ = ("_allowance", "_floods")

    def __init__(self) -> None:
        self._allowance: Final = Allowance(1 / EVERY, AT_ONCE)
        self._floods: dict[str, Omitted] = {}

    def take(self, name: str, action: str, now: float, subject: str = "", share: str = "") -> bool:
        """Whether the line may be written. ``share``: of several that a name has."""
        if self._allowance.take(f"{name} {share}", now) is None:
            return True
        name = name if name in self._floods or len(self._floods) < _FLOODS else OTHERS
        flood = self._floods.setdefault(name, Omitted(name, now))
        flood.counts[action] += 1
        if subject and (subject in flood.subjects or len(flood.subjects) < _SUBJECTS):
            flood.subjects[subject] += 1
        return False

    def due(self, now: float, last: bool = False) -> list[Omitted]:
        """What is to be summed up by now; of ``last`` everything."""
        found = [one for one in self._floods.values() if last or not one.since <= now < one.since + SUMMED]
        for one in found:
            del self._floods[one.name]
        return found

    def deadline(self) -> float | None:
        """When ``due`` has something to give; None for never. The oldest is the first."""
        return next((one.since + SUMMED for one in self._floods.values()), None)
