"""When a reservation opens, begins and ends, and whose it is. Instants are Unix seconds."""

from __future__ import annotations

from gkmd.api.problem import Problem
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import Reservation
from gkmd.group.platform.work import Who

COMING = "coming"
OPEN = "open"  # registrations are taken
ON = "on"  # it has started
OVER = "over"
CANCELLED = "cancelled"


def opens(reservation: Reservation) -> float:
    """From when on members are taken."""
    return reservation.starts - reservation.lead


def ends(reservation: Reservation) -> float:
    """When its group ends: a cancelled one ends when it is cancelled."""
    if reservation.cancelled is None:
        return reservation.ends
    return min(reservation.ends, reservation.cancelled)


def state(reservation: Reservation, now: float) -> str:
    if reservation.cancelled is not None:
        return CANCELLED
    if now >= reservation.ends:
        return OVER
    if now >= reservation.starts:
        return ON
    return OPEN if now >= opens(reservation) else COMING


def is_live(reservation: Reservation, now: float) -> bool:
    """It is coming, open or on."""
    return reservation.cancelled is None and now < reservation.ends


def owned(facts: Facts, id: str, who: Who) -> Reservation:
    """The reservation if it is the caller's own, or the caller is an operator. Problem ``not-found`` for any
    other: who does not own it does not learn whether it exists.
    """
    reservation = facts.get(Reservation, id)
    mine = who.account is not None and reservation is not None and who.account.id == reservation.owner
    if reservation is None or not (mine or who.operates):
        raise Problem("not-found", f"you have no reservation {id!r}")
    return reservation


def place(reservation: Reservation) -> str:
    """By which lists of reservations are in order: the start, then the id."""
    return f"{reservation.starts:015.3f}:{reservation.id}"
