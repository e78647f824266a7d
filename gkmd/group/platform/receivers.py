"""Who was admitted to a reservation, and putting somebody out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount
from gkmd.api.problem import Problem
from gkmd.core.identity import Identity
from gkmd.group.directory import Directory
from gkmd.group.platform import schedule
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.pages import page
from gkmd.group.platform.parties import Parties, ticket_in
from gkmd.group.platform.records import Account, Admission, Reservation
from gkmd.group.platform.tickets import Tickets
from gkmd.group.platform.work import Handlers, Work


class Receivers:
    __slots__ = ("_audit", "_billing", "_facts", "_groups", "_parties", "_tickets")

    def __init__(
        self,
        facts: Facts,
        audit: Audit,
        billing: Billing,
        parties: Parties,
        tickets: Tickets,
    ) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self._billing: Final = billing
        self._parties: Final = parties
        self._tickets: Final = tickets
        self._groups: Directory | None = None

    def use(self, groups: Directory) -> None:
        self._groups = groups

    def operations(self) -> Handlers:
        return {"receiver-list": self._list, "receiver-evict": self._evict}

    def _list(self, request: q.ReceiversOf, work: Work) -> r.Receivers:
        """In the order of the parties' ids."""
        reservation = schedule.owned(self._facts, request.id, work.who)
        word = request.search.strip().casefold()
        found: Iterable[Admission] = self._billing.admissions.find(reservation.id).values()
        if word:
            found = (one for one in found if word in self._parties.name_of(one.party).casefold())
        shown, after = page(((one.party, one) for one in found), request.after, request.limit)
        here = self._here(reservation, frozenset(one.party for one in shown))
        return r.Receivers(tuple(self._view(one, here) for one in shown), after)

    def _view(self, admission: Admission, here: dict[str, list[Identity]]) -> r.ReceiverView:
        return r.ReceiverView(
            admission.party,
            self._parties.name_of(admission.party),
            admission.at,
            admission.by,
            Amount(admission.amount, admission.currency) if admission.amount else None,
            admission.refunded is not None,
            admission.evicted is not None,
            admission.party in here,
        )

    def _here(self, reservation: Reservation, parties: frozenset[str]) -> dict[str, list[Identity]]:
        """Which of these hold the keys, and as which members."""
        found: dict[str, list[Identity]] = {}
        if self._groups is None or not parties or not self._groups.holds(reservation.id):
            return found
        for member in self._groups.members(reservation.id):
            if member.receives:
                for party in self._parties.may_be(reservation.id, member.identity) & parties:
                    found.setdefault(party, []).append(member.identity)
        return found

    def _evict(self, request: q.Evict, work: Work) -> r.Nothing:
        """All keys change, and everybody else registers again at once: a receiver knows the Rekey SA and
        would follow it to any new key, also when it has left meanwhile. Of its IKE SAs only those of its
        ticket end: one by a name may carry groups of others, or be that of somebody else of this name.
        """
        reservation = schedule.owned(self._facts, request.id, work.who)
        admission = self._facts.get(Admission, Admission.key_of(reservation.id, request.party))
        if admission is None:
            raise Problem("not-found", f"no receiver {request.party!r} was admitted to this transmission")
        again = admission.evicted is not None
        if again and (admission.refunded is not None or not request.refund):
            return r.Nothing()
        if request.refund and admission.refunded is None:
            if admission.amount and self._facts.get(Account, admission.party) is None:
                text = "this receiver was forgotten, and its money would be nobody's: evict it without refund"
                raise Problem("conflict", text)
            if not work.who.operates:
                self._billing.check_covered(reservation, (admission,))
            self._billing.refund(reservation, admission, "evicted", work.now)
        admission = self._facts.get(Admission, admission.key) or admission
        if again:
            return r.Nothing()
        self._facts.put(replace(admission, evicted=work.now))
        ticket = self._tickets.live(reservation.id, request.party)
        if ticket is not None:
            self._tickets.revoke(ticket, work)
        self._tickets.keep_out(reservation.id, request.party)
        self._audit.note(
            work.who.actor, "evict", reservation.id, work.now, party=request.party, refund=request.refund
        )
        if self._groups is None:
            return r.Nothing()
        for identity in self._here(reservation, frozenset((request.party,))).get(request.party, []):
            if ticket_in(identity):
                work.disown(identity)
            work.left(self._groups.drop_member(reservation.id, identity, work.now))
        work.left(self._groups.exclude(reservation.id, work.now))
        return r.Nothing()
