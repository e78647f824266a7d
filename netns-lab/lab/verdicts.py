"""Verdicts: named checks with what was wanted and what was found. Tables for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    wanted: str
    found: str
    ok: bool

    def __str__(self) -> str:
        if self.ok:
            return f"ok    {self.name}: {self.found}"
        return f"FAIL  {self.name}: wanted {self.wanted}, found {self.found}"


class Verdicts:
    """The verdicts of one scenario, in order; each is told to ``say`` as it falls."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.all: list[Verdict] = []
        self._say = say

    @property
    def ok(self) -> bool:
        """All verdicts are good, and there is at least one: a scenario that checks nothing has not passed."""
        return bool(self.all) and all(verdict.ok for verdict in self.all)

    def record(self, name: str, wanted: object, found: object, ok: bool) -> bool:
        verdict = Verdict(name, words(wanted), words(found), ok)
        self.all.append(verdict)
        self._say(f"  {verdict}")
        return ok

    def check(self, name: str, wanted: object, found: object) -> bool:
        """``found`` must equal ``wanted``."""
        return self.record(name, wanted, found, found == wanted)

    def at_least(self, name: str, wanted: float, found: float) -> bool:
        return self.record(name, f"at least {wanted}", found, found >= wanted)

    def at_most(self, name: str, wanted: float, found: float) -> bool:
        return self.record(name, f"at most {wanted}", found, found <= wanted)


def words(value: object) -> str:
    """For people: nothing is "none", a collection is its members."""
    if isinstance(value, dict):
        return words([f"{key}: {count}" for key, count in value.items()])
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(member) for member in value) or "none"
    return str(value)


def table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Columns as wide as needed; numbers to the right, words to the left."""
    cells = [[str(cell) for cell in row] for row in ([head, *rows] if head else rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    numeric = [all(isinstance(row[column], int | float) for row in rows) for column in range(len(widths))]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    if head:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
