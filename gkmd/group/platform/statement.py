"""The statement of a reservation: charges and refunds as lines, and totals that the ledger agrees with."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Protocol, TypeAlias

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.records import Charge, Reservation
from gkmd.group.platform.work import Handlers, Who, Work

_KNOWN: Final = 4  # reservations whose moves are kept in order while their pages are read
_Move: TypeAlias = tuple[str, float, Charge, int]  # kind, instant, charge, sign of its amounts


class Owned(Protocol):
    """What is needed of ``Reservations``."""

    def owned(self, id: str, who: Who) -> Reservation: ...


class Statements:
    """``name_of`` gives a receiver's name, "" when it was forgotten."""

    def __init__(
        self, reservations: Owned, billing: Billing, audit: Audit, name_of: Callable[[str], str]
    ) -> None:
        self._reservations: Final = reservations
        self._billing: Final = billing
        self._audit: Final = audit
        self._name_of: Final = name_of
        self._known: Final[dict[str, _Moves]] = {}  # the one that was read last at the end

    def operations(self) -> Handlers:
        return {"statement": self._show}

    def _show(self, request: q.StatementOf, work: Work) -> r.Statement:
        """Problem ``internal``, and an audit line, when the lines do not add up to what the ledger says."""
        reservation = self._reservations.owned(request.id, work.who)
        totals = self._billing.totals(reservation.id)
        moves = self._moves(reservation.id, totals)
        if moves.counted != totals:
            counted = moves.counted

            def note() -> None:
                self._audit.refusal(work.who.actor, "statement-differs", reservation.id, work.now)

            work.even_if_refused(note)
            raise Problem(
                "internal",
                f"the statement of {reservation.id} says {_said(counted)}, the ledger {_said(totals)}: "
                "the operator must compare the charges with the ledger's entries",
            )
        begin = bisect.bisect_right(moves.places, request.after)
        end = begin + request.limit
        return r.Statement(
            reservation.id,
            reservation.title,
            len(self._billing.admissions.find(reservation.id)),
            totals,
            tuple(self._line(one) for one in moves.rows[begin:end]),
            work.now,
            moves.places[end - 1] if end < len(moves.places) else "",
        )

    def _moves(self, reservation: str, totals: tuple[r.CurrencyTotal, ...]) -> _Moves:
        """All of them, in their order: those that the page before was cut from when nothing has been charged
        or given back since. Both change the totals.
        """
        known = self._known.pop(reservation, None)
        if known is None or known.counted != totals:
            known = _Moves.of(self._billing.charges_of(reservation))
        self._known[reservation] = known
        while len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        return known

    def _line(self, move: _Move) -> r.StatementLine:
        kind, at, charge, sign = move
        return r.StatementLine(
            at,
            kind,
            charge.party,
            self._name_of(charge.party),
            sign * charge.amount,
            sign * charge.fee,
            sign * (charge.amount - charge.fee),
            charge.currency,
        )


@dataclass(frozen=True, slots=True)
class _Moves:
    """Charges and refunds of a reservation in the order of their entries, the place of each, and what they
    add up to, without a look at the ledger. Whatever the clock does, the next one comes at the end.
    """

    places: list[str]
    rows: list[_Move]
    counted: tuple[r.CurrencyTotal, ...]

    @classmethod
    def of(cls, charges: Iterable[Charge]) -> _Moves:
        moves: list[tuple[str, _Move]] = []
        for charge in charges:
            moves.append((_place(charge.entry), ("charge", charge.at, charge, 1)))
            if charge.refunded is not None:
                moves.append((_place(charge.refund), ("refund", charge.refunded, charge, -1)))
        moves.sort(key=itemgetter(0))
        rows = [row for _, row in moves]
        return cls([where for where, _ in moves], rows, _added_up(rows))


def _place(entry: int) -> str:
    return f"{entry:016d}"


def _added_up(moves: Iterable[_Move]) -> tuple[r.CurrencyTotal, ...]:
    totals: dict[str, r.CurrencyTotal] = {}
    for kind, _, charge, sign in moves:
        total = totals.setdefault(charge.currency, r.CurrencyTotal(charge.currency, 0, 0, 0, 0, 0))
        if kind == "charge":
            total.charges += 1
        else:
            total.refunds += 1
        total.gross += sign * charge.amount
        total.fees += sign * charge.fee
        total.net += sign * (charge.amount - charge.fee)
    return tuple(totals[currency] for currency in sorted(totals))


def _said(totals: tuple[r.CurrencyTotal, ...]) -> str:
    """Minor units."""
    return ", ".join(f"{one.gross} less {one.fees} {one.currency}" for one in totals) or "nothing"
