"""What an account has, owes and has earned; and what the operator books when money moves outside of gkmd."""

from __future__ import annotations

from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.money import MOST, Money
from gkmd.group.platform.access import account_of
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ledger import (
    CASH,
    MOVEMENTS,
    Ledger,
    balance_of,
    earned_by,
    invoice_of,
    paid_for,
)
from gkmd.group.platform.records import Account, Posting, Reservation
from gkmd.group.platform.work import Handlers, Work


class Balances:
    def __init__(
        self, facts: Facts, accounts: Accounts, ledger: Ledger, billing: Billing, audit: Audit
    ) -> None:
        self._facts: Final = facts
        self._accounts: Final = accounts
        self._ledger: Final = ledger
        self._billing: Final = billing
        self._audit: Final = audit
        self._owned: Final = facts.index(Reservation, lambda one: one.owner)

    def operations(self) -> Handlers:
        return {
            "balance": self._show,
            "user-balance": self._of_user,
            "user-credit": self._credit,
            "user-pay-back": self._pay_back,
            "user-settle": self._settle,
            "user-pay-out": self._pay_out,
        }

    def view(self, account: Account) -> r.BalanceView:
        balances, owed, available = [], [], []
        currencies = set(self._ledger.currencies(balance_of(account.id), invoice_of(account.id)))
        if account.credit_limit:
            currencies.add(account.credit_currency)
        for currency in sorted(currencies):
            balance = self._billing.balance(account.id, currency)
            debt = max(0, self._ledger.balance(invoice_of(account.id), currency)) - min(0, balance)
            balances.append(_amount(max(0, balance), currency))
            available.append(_amount(self._billing.available(account.id, currency), currency))
            if debt:
                owed.append(_amount(debt, currency))
        earned = [(self.earned(account, currency), currency) for currency in self._earnings(account)]
        return r.BalanceView(
            tuple(balances),
            tuple(owed),
            tuple(self._movements(account)),
            tuple(available),
            tuple(_amount(amount, currency) for amount, currency in earned if amount > 0),
        )

    def _movements(self, account: Account) -> list[r.Movement]:
        """The last ones, newest first: those that the ledger has noted, charges and refunds."""
        found = [
            (one.entry, one.at, one.kind, one.amount, one.currency, one.reservation, one.memo)
            for one in self._ledger.movements(account.id)
        ]
        for one in self._billing.charged_to(account.id):
            amount, currency, reservation = one.amount, one.currency, one.reservation
            found.append((one.entry, one.at, "charge", -amount, currency, reservation, ""))
            if one.refunded is not None:
                found.append((one.refund, one.refunded, "refund", amount, currency, reservation, one.reason))
        found.sort(reverse=True)  # by the numbers of their entries
        return [
            r.Movement(at, kind, amount, currency, self._memo(reservation, memo))
            for _, at, kind, amount, currency, reservation, memo in found[:MOVEMENTS]
        ]

    def _memo(self, reservation: str, memo: str) -> str:
        about = self._facts.get(Reservation, reservation)
        return ": ".join(part for part in ("" if about is None else about.title, memo) if part)

    def _earnings(self, account: Account) -> list[str]:
        """The currencies in which something was earned."""
        return sorted(
            {
                currency
                for reservation in self._owned.find(account.id)
                for currency in self._ledger.currencies(earned_by(reservation))
            }
        )

    def earned(self, account: Account, currency: str) -> int:
        """What all transmissions of this sender have earned, less what was paid out."""
        return sum(
            self._billing.unpaid(reservation, currency) for reservation in self._owned.find(account.id)
        )

    def room(self, account: Account, amount: Money) -> None:
        """Problem ``invalid`` when a balance would become larger than amounts can be."""
        if self._billing.balance(account.id, amount.currency) + amount.amount > MOST:
            _refuse(f"the balance would be more than {Money(amount.currency, MOST)}")

    def _show(self, request: q.Nothing, work: Work) -> r.BalanceView:
        return self.view(account_of(work.who))

    def _of_user(self, request: q.ByLogin, work: Work) -> r.BalanceView:
        return self.view(self._accounts.named(request.login))

    def _credit(self, request: q.CreditUser, work: Work) -> r.BalanceView:
        account, amount, reference = self._named(request, "deposit")
        if not self._ledger.known(reference, amount):
            self.room(account, amount)
            postings = (Posting(CASH, amount.amount), Posting(balance_of(account.id), -amount.amount))
            self._book("deposit", reference, amount, postings, request, account, work)
        return self.view(account)

    def _pay_back(self, request: q.CreditUser, work: Work) -> r.BalanceView:
        account, amount, reference = self._named(request, "repayment")
        if not self._ledger.known(reference, amount):
            has = max(0, self._billing.balance(account.id, amount.currency))
            if amount.amount > has:
                most = Money(amount.currency, has)
                _refuse(f"{amount} is more than the {most} on the balance of {account.login}")
            postings = (Posting(CASH, -amount.amount), Posting(balance_of(account.id), amount.amount))
            self._book("repayment", reference, amount, postings, request, account, work)
        return self.view(account)

    def _settle(self, request: q.CreditUser, work: Work) -> r.BalanceView:
        account, amount, reference = self._named(request, "settlement")
        if not self._ledger.known(reference, amount):
            owed = max(0, self._ledger.balance(invoice_of(account.id), amount.currency))
            if amount.amount > owed:
                was = Money(amount.currency, owed)
                _refuse(f"{amount} is more than the {was} that {account.login} owes: credit the rest")
            postings = (Posting(CASH, amount.amount), Posting(invoice_of(account.id), -amount.amount))
            self._book("settlement", reference, amount, postings, request, account, work)
        return self.view(account)

    def _pay_out(self, request: q.CreditUser, work: Work) -> r.BalanceView:
        """From the sender's transmissions in the order in which they began, oldest first."""
        account, amount, reference = self._named(request, "payout")
        if not self._ledger.known(reference, amount):
            earned = self.earned(account, amount.currency)
            if amount.amount > earned:
                most = Money(amount.currency, max(0, earned))
                _refuse(f"{amount} is more than the {most} that {account.login} has earned and not been paid")
            left = amount.amount
            postings = [Posting(CASH, -left)]
            owned: list[Reservation] = sorted(
                self._owned.find(account.id).values(), key=lambda one: (one.starts, one.id)
            )
            for reservation in owned:
                part = min(left, max(0, self._billing.unpaid(reservation.id, amount.currency)))
                if part:
                    postings.append(Posting(paid_for(reservation.id), part))
                    left -= part
            self._book("payout", reference, amount, tuple(postings), request, account, work)
        return self.view(account)

    def _named(self, request: q.CreditUser, kind: str) -> tuple[Account, Money, str]:
        """The account, the amount and the reference of the entry: each account has references of its own."""
        account = self._accounts.named(request.login)
        if request.amount.amount == 0:
            _refuse("0 is no amount of money: more than that is needed")
        amount = Money(request.amount.currency, request.amount.amount)
        return account, amount, f"{kind}:{account.id}:{request.reference}"

    def _book(
        self,
        kind: str,
        reference: str,
        amount: Money,
        postings: tuple[Posting, ...],
        request: q.CreditUser,
        account: Account,
        work: Work,
    ) -> None:
        entry = self._ledger.post(kind, reference, amount.currency, postings, work.now, memo=request.memo)
        self._audit.note(
            work.who.actor,
            kind,
            account.id,
            work.now,
            amount=amount.amount,
            currency=amount.currency,
            entry=None if entry is None else entry.number,
        )


def _amount(amount: int, currency: str) -> Amount:
    return Amount(amount=amount, currency=currency)


def _refuse(text: str) -> None:
    raise Problem("invalid", f"amount: {text}", (FieldProblem("amount", text),))
