"""What a sender is told in numbers: receivers, refusals, joins over time, rekeys, money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.group.directory import Directory
from gkmd.group.platform import schedule
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import Admission, Reservation, Tally
from gkmd.group.platform.work import Handlers, Work

MINUTE: Final = 60
MOST_MINUTES: Final = 7 * 1440  # with a join in them; the oldest go
MOST_REASONS: Final = 40
OTHER: Final = "other"
FLUSH: Final = 1.0  # seconds between two facts about the same


@dataclass(slots=True)
class _Counts:
    peak: int
    total: int
    refused: dict[str, int]
    joins: dict[int, int]
    rekeys: int

    @classmethod
    def of(cls, tally: Tally | None) -> _Counts:
        if tally is None:
            return cls(0, 0, {}, {}, 0)
        return cls(tally.peak, tally.total, dict(tally.refused), dict(tally.joins), tally.rekeys)


class StatisticsBook:
    """Counts in memory; ``flush`` makes facts of them. A crash loses less than two seconds of refusals and
    joins; the number of receivers is that of the admissions.
    """

    __slots__ = ("_billing", "_counts", "_dirty", "_facts", "_flushed", "_groups")

    def __init__(self, facts: Facts, billing: Billing) -> None:
        self._facts: Final = facts
        self._billing: Final = billing
        self._groups: Directory | None = None
        self._counts: dict[str, _Counts] = {
            tally.reservation: _Counts.of(tally) for tally in facts.all(Tally)
        }
        self._dirty: dict[str, None] = {}
        self._flushed = 0.0
        totals: dict[str, int] = {}
        for admission in facts.all(Admission):
            totals[admission.reservation] = totals.get(admission.reservation, 0) + 1
        for reservation, total in totals.items():
            self._of(reservation).total = total

    def use(self, groups: Directory) -> None:
        self._groups = groups

    def operations(self) -> Handlers:
        return {"statistics": self._statistics}

    # What happens

    def admitted(self, reservation: str, new: bool, now: float) -> None:
        """A receiver was taken; ``new`` unless it was admitted before."""
        counts = self._touch(reservation)
        if not new:
            return
        counts.total += 1
        minute = int(now) // MINUTE * MINUTE
        counts.joins[minute] = counts.joins.get(minute, 0) + 1
        if len(counts.joins) > MOST_MINUTES:
            del counts.joins[min(counts.joins)]

    def refused(self, reservation: str, reason: str, now: float) -> None:
        refused = self._touch(reservation).refused
        if reason not in refused and len(refused) >= MOST_REASONS:
            reason = OTHER
        refused[reason] = refused.get(reason, 0) + 1

    def gone(self, reservation: str, now: float) -> None:
        self._touch(reservation)

    def rekeyed(self, reservation: str, now: float) -> None:
        self._touch(reservation).rekeys += 1

    def _of(self, reservation: str) -> _Counts:
        counts = self._counts.get(reservation)
        if counts is None:
            counts = self._counts[reservation] = _Counts.of(None)
        return counts

    def _touch(self, reservation: str) -> _Counts:
        self._dirty[reservation] = None
        return self._of(reservation)

    # Time

    def flush(self, now: float, last: bool = False) -> None:
        """What has changed becomes facts, at most once in a second unless it is the ``last`` time; the caller
        commits them.
        """
        if not self._dirty or (now < self._flushed + FLUSH and not last):
            return
        self._flushed = now
        for id in self._dirty:
            if self._facts.get(Reservation, id) is not None:
                self._facts.put(self._tally(id))
        self._dirty.clear()

    def deadline(self) -> float | None:
        return self._flushed + FLUSH if self._dirty else None

    def _tally(self, id: str) -> Tally:
        counts = self._of(id)
        status = None if self._groups is None else self._groups.status(id)
        if status is not None:
            counts.peak = max(counts.peak, status.peak)
        return Tally(
            id,
            counts.peak,
            counts.total,
            dict(counts.refused),
            tuple(sorted(counts.joins.items())),
            counts.rekeys,
        )

    # Read

    def all(self) -> Iterable[Tally]:
        """The newest numbers of every reservation that has some."""
        return (self._tally(id) for id in tuple(self._counts))

    def of(self, reservation: Reservation, now: float) -> r.Statistics:
        tally = self._tally(reservation.id)
        status = None if self._groups is None else self._groups.status(reservation.id)
        return r.Statistics(
            reservation=reservation.id,
            state=schedule.state(reservation, now),
            now=0 if status is None else status.receivers,
            peak=tally.peak,
            total=tally.total,
            senders=0 if status is None else status.members - status.receivers,
            refused=tally.refused,
            joins=tally.joins,
            rekeys=tally.rekeys,
            next_rekey=None if status is None else status.next_rekey,
            money=self._billing.totals(reservation.id),
            at=now,
        )

    def _statistics(self, request: q.ById, work: Work) -> r.Statistics:
        return self.of(schedule.owned(self._facts, request.id, work.who), work.now)
