"""Forgetting a user: who it was is removed, what was earned, paid and admitted stays under an id."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.core.money import Money
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ledger import Ledger, balance_of, earned_by, invoice_of, paid_for
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.once import Once
from gkmd.group.platform.payments import unfinished
from gkmd.group.platform.records import (
    Account,
    Admission,
    Balance,
    Payment,
    Reservation,
)
from gkmd.group.platform.schedule import is_live
from gkmd.group.platform.sessions import Sessions
from gkmd.group.platform.tickets import Tickets
from gkmd.group.platform.tokens import Tokens
from gkmd.group.platform.work import Handlers, Work

_UNDER_WAY: Final = 86_400.0  # seconds that a payment which was begun may still arrive


class Forget:
    __slots__ = (
        "_accounts",
        "_audit",
        "_facts",
        "_ledger",
        "_lock_out",
        "_once",
        "_sessions",
        "_tickets",
        "_tokens",
    )

    def __init__(
        self,
        facts: Facts,
        audit: Audit,
        accounts: Accounts,
        sessions: Sessions,
        tokens: Tokens,
        tickets: Tickets,
        ledger: Ledger,
        once: Once,
        lock_out: LockOut,
    ) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._sessions: Final = sessions
        self._tokens: Final = tokens
        self._once: Final = once
        self._lock_out: Final = lock_out
        self._tickets: Final = tickets
        self._ledger: Final = ledger

    def operations(self) -> Handlers:
        return {"user-forget": self._forget}

    def _forget(self, request: q.ByLogin, work: Work) -> r.Forgotten:
        account = self._accounts.named(request.login)
        if "operator" in account.roles:
            self._accounts.keeps_an_operator(without=account)
        self._check_settled(account, work.now)
        tickets = self._tickets.forget(account, work)
        sessions, tokens = self._sessions.end(account.id), self._tokens.revoke_all(account.id)
        movements = self._ledger.movements(account.id)
        for movement in movements:
            self._facts.drop(movement)
        self._once.forget(account.id)
        self._lock_out.forget(account.login)
        self._facts.drop(account)
        self._audit.note(work.who.actor, "user-forget", account.id, work.now)
        removed = (
            "login, name, roles, classes and credit limit",
            "password, one-time codes and passkeys",
            f"{sessions} sessions and {tokens} API tokens",
            f"{tickets} tickets with their secrets",
            f"{len(movements)} movements of the balance, as they were shown",
        )
        return r.Forgotten(removed, self._kept(account.id))

    def _check_settled(self, account: Account, now: float) -> None:
        """Problem ``conflict`` as long as somebody owes somebody something, or expects something."""
        unsettled = [
            f"{what} {Money(currency, abs(amount))}"
            for (what, currency), amount in sorted(self._sums(account.id).items())
            if amount
        ]
        if unsettled:
            raise Problem("conflict", f"{account.login} cannot be forgotten yet: {'; '.join(unsettled)}")
        for reservation in self._owned(account.id):
            if reservation.cancelled is None and reservation.ends > now:
                raise Problem(
                    "conflict",
                    f"{account.login} cannot be forgotten yet: the reservation {reservation.id} is not over;"
                    " cancel it first",
                )
        for admission in self._facts.all(Admission):
            if admission.party != account.id or not admission.amount or admission.refunded is not None:
                continue
            paid = self._facts.get(Reservation, admission.reservation)
            if paid is not None and is_live(paid, now):
                raise Problem(
                    "conflict",
                    f"{account.login} cannot be forgotten yet: it has paid for {paid.id}, which is not"
                    " over; when that is cancelled the money goes back",
                )
        for payment in self._facts.all(Payment):
            begun = payment.account == account.id and unfinished(payment)
            if begun and payment.created + _UNDER_WAY > now:
                raise Problem(
                    "conflict",
                    f"{account.login} cannot be forgotten yet: the payment {payment.id} is under way;"
                    " it is over a day after it was begun",
                )

    def _sums(self, account: str) -> dict[tuple[str, str], int]:
        what = {balance_of(account): "there is a balance of", invoice_of(account): "there is an invoice of"}
        for reservation in self._owned(account):
            what[earned_by(reservation.id)] = what[paid_for(reservation.id)] = "earnings to be paid out:"
        sums: dict[tuple[str, str], int] = defaultdict(int)
        for balance in self._facts.all(Balance):
            if balance.account in what:
                sums[what[balance.account], balance.currency] += balance.amount
        return sums

    def _owned(self, account: str) -> list[Reservation]:
        return [one for one in self._facts.all(Reservation) if one.owner == account]

    def _kept(self, account: str) -> tuple[str, ...]:
        admissions = sum(one.party == account for one in self._facts.all(Admission))
        payments = sum(one.account == account for one in self._facts.all(Payment))
        owned = len(self._owned(account))
        kept = [
            f"ledger and audit log, which know {account} only: what was done and paid stays traceable",
            "names on the lists of senders, which are theirs to keep or to remove",
        ]
        if admissions:
            kept.append(f"{admissions} admissions under {account}: they are part of senders' statements")
        if payments:
            kept.append(
                f"{payments} payments under {account} with the provider's own numbers: books need them"
            )
        if owned:
            kept.append(f"{owned} reservations under {account} with their titles and statements")
        return tuple(kept)
