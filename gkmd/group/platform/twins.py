"""Whether a transmission is reserved already: a form that was sent anew is asked about, not carried out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from gkmd.api.problem import FieldProblem
from gkmd.group.platform import schedule, wall_clock
from gkmd.group.platform.records import Reservation


def twin_of(reservation: Reservation, others: Iterable[Reservation], now: float) -> Reservation | None:
    """The first of ``others``, which are of the same owner, that is not over, has the same title and is on at
    the same time. One after the other is a series, and no twin.
    """
    title = _folded(reservation.title)
    found = (
        one
        for one in others
        if one.id != reservation.id
        and schedule.is_live(one, now)
        and one.starts < reservation.ends
        and reservation.starts < one.ends
        and _folded(one.title) == title
    )
    return min(found, key=schedule.place, default=None)


def doubt(twin: Reservation) -> FieldProblem:
    when = wall_clock.show(twin.starts, twin.time_zone)
    text = f"one of this title at {when} ({twin.time_zone}) is reserved already, as {twin.id}"
    return FieldProblem("twice", f"{text}; confirm if it is to be there twice")


def _folded(title: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())
