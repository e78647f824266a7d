"""What has been asked to be written and is not yet known to be: the machine's side of "write before you
speak".

The machine's memory runs ahead of the journal by what is in flight. A write that fails is not lost: its
changes go out again in front of the next ones, as the newest record of each row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from gkmd.core.change import Change, Drop, DropGroup, DropMember, Put, PutGroup, PutIkeSa, PutMember
from gkmd.core.effect import Persist

Row: TypeAlias = tuple[object, ...]


def row_of(change: Change) -> Row:
    """Which row of the journal a change replaces or drops."""
    if isinstance(change, Put):  # most are
        return (change.fact.KIND, change.fact.key)
    if isinstance(change, PutIkeSa):
        return ("ike-sa", change.record.spi_r)
    if isinstance(change, PutMember):
        return ("member", change.record.group, change.record.identity)
    if isinstance(change, PutGroup):
        return ("group", change.record.name)
    if isinstance(change, DropMember):
        return ("member", change.group, change.identity)
    if isinstance(change, DropGroup):
        return ("group", change.name)
    if isinstance(change, Drop):
        return (change.kind, change.key)
    return ("ike-sa", change.spi_r)


class Ledger:
    """Persists in flight, oldest first, and the rows that a failed one left behind."""

    __slots__ = ("_in_flight", "_lost")

    def __init__(self) -> None:
        self._in_flight: deque[tuple[Persist, Mapping[Row, Change]]] = deque()
        self._lost: dict[Row, Change] = {}

    @property
    def behind(self) -> bool:
        """The journal lacks changes that nobody is writing now."""
        return bool(self._lost)

    def persist(self, changes: Iterable[Change]) -> Persist | None:
        """The Persist for these changes, with what was lost before; None when there is nothing to write.

        Of several records of one row in a turn the last is enough.
        """
        rows = self._lost
        self._lost = {}
        for change in changes:
            row = row_of(change)
            if row in rows:
                del rows[row]
            rows[row] = change
        if not rows:
            return None
        effect = Persist(tuple(rows.values()))
        self._in_flight.append((effect, rows))
        return effect

    def done(self, effect: Persist, failed: bool) -> None:
        """The driver's word on a Persist. They come in the order in which they were returned."""
        in_flight = self._in_flight
        if not any(each is effect for each, _ in in_flight):
            return
        while in_flight.popleft()[0] is not effect:
            continue
        if failed:
            newer = frozenset[Row]().union(*(rows for _, rows in self._in_flight))
            self._lost.update(
                {row: change for change in effect.changes if (row := row_of(change)) not in newer}
            )

    def in_flight(self, spi_r: bytes) -> bool:
        """Whether a record of this IKE SA is on its way."""
        row = ("ike-sa", spi_r)
        return any(row in rows for _, rows in self._in_flight)
