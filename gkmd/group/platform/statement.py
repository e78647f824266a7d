"""The statement of a reservation: charges and refunds as lines, and totals that the ledger agrees with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.records import Charge, Reservation
from gkmd.group.platform.work import Handlers, Who, Work


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

    def operations(self) -> Handlers:
        return {"statement": self._show}

    def _show(self, request: q.ById, work: Work) -> r.Statement:
        """Problem ``internal``, and an audit line, when the lines do not add up to what the ledger says."""
        reservation = self._reservations.owned(request.id, work.who)
        totals = self._billing.totals(reservation.id)
        lines = self.lines(reservation)
        counted = added_up(lines)
        if counted != totals:

            def note() -> None:
                self._audit.refusal(work.who.actor, "statement-differs", reservation.id, work.now)

            work.even_if_refused(note)
            raise Problem(
                "internal",
                f"the statement of {reservation.id} says {_said(counted)}, the ledger {_said(totals)}: "
                "the operator must compare the charges with the ledger's entries",
            )
        return r.Statement(
            reservation.id,
            reservation.title,
            len(self._billing.admissions.find(reservation.id)),
            totals,
            lines,
            work.now,
        )

    def lines(self, reservation: Reservation) -> tuple[r.StatementLine, ...]:
        """In the order in which they happened."""
        lines: list[r.StatementLine] = []
        for charge in self._billing.charges_of(reservation.id):
            name = self._name_of(charge.party)
            lines.append(_line("charge", charge.at, charge, name, 1))
            if charge.refunded is not None:
                lines.append(_line("refund", charge.refunded, charge, name, -1))
        lines.sort(key=lambda line: line.at)
        return tuple(lines)


def _line(kind: str, at: float, charge: Charge, name: str, sign: int) -> r.StatementLine:
    net = charge.amount - charge.fee
    return r.StatementLine(
        at,
        kind,
        charge.party,
        name,
        sign * charge.amount,
        sign * charge.fee,
        sign * net,
        charge.currency,
    )


def added_up(lines: tuple[r.StatementLine, ...]) -> tuple[r.CurrencyTotal, ...]:
    """The totals of the lines, without a look at the ledger."""
    totals: dict[str, r.CurrencyTotal] = {}
    for line in lines:
        total = totals.setdefault(line.currency, r.CurrencyTotal(line.currency, 0, 0, 0, 0, 0))
        if line.kind == "charge":
            total.charges += 1
        else:
            total.refunds += 1
        total.gross += line.gross
        total.fees += line.fee
        total.net += line.net
    return tuple(totals[currency] for currency in sorted(totals))


def _said(totals: tuple[r.CurrencyTotal, ...]) -> str:
    """Minor units."""
    return ", ".join(f"{one.gross} less {one.fees} {one.currency}" for one in totals) or "nothing"
