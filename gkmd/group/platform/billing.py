"""What receivers are charged and given back, and what of it is the sender's and what the platform's.

A receiver pays from the balance first, and what is missing goes on the invoice, up to the account's credit
limit. Every charge is part of the admission that it is for: it happens once, and is given back once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from gkmd.api.problem import Problem
from gkmd.api.results import CurrencyTotal
from gkmd.core.money import Money
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.facts import Facts, Index
from gkmd.group.platform.ledger import Ledger, balance_of, earned_by, fees_of, invoice_of, paid_for
from gkmd.group.platform.records import Account, Admission, Charge, Posting, Reservation
from gkmd.group.platform.settings import PlatformSettings

ACTOR: Final = "gkmd"  # in the audit log, for what follows from something else
_POINTS: Final = 10_000  # basis points in a whole


def fee_of(reservation: Reservation, price: int) -> int:
    """The platform's part of a price: the agreed basis points of it, rounded half up to the minor unit, and
    the fixed fee; never more than the price.
    """
    share = (price * reservation.fee_points + _POINTS // 2) // _POINTS
    return min(price, share + reservation.fee_fixed)


class Billing:
    """``admissions`` is the index of those of a reservation."""

    def __init__(self, facts: Facts, settings: PlatformSettings, ledger: Ledger, audit: Audit) -> None:
        self._facts: Final = facts
        self._settings: Final = settings
        self._ledger: Final = ledger
        self._audit: Final = audit
        self.admissions: Final[Index] = facts.index(Admission, lambda one: one.reservation)
        self._admitted: Final[Index] = facts.index(Admission, lambda one: one.party)
        self._counted: Final = facts.counted(Admission, _moves)

    def available(self, account: str, currency: str) -> int:
        """Minor units that the account can pay: its balance, and what its credit limit leaves. Nothing while
        the balance is below zero, after a payment that was taken back.
        """
        who = self._facts.get(Account, account)
        if who is None:
            return 0
        return self._spendable(who, self.balance(account, currency), currency)

    def _spendable(self, who: Account, balance: int, currency: str) -> int:
        return 0 if balance < 0 else balance + self._credit_left(who, currency)

    def balance(self, account: str, currency: str) -> int:
        """What the account has, as its holder sees it: below zero it owes."""
        return -self._ledger.balance(balance_of(account), currency)

    def _credit_left(self, who: Account, currency: str) -> int:
        if who.credit_currency != currency:
            return 0
        return max(0, who.credit_limit - self._ledger.balance(invoice_of(who.id), currency))

    def admit(
        self, reservation: Reservation, party: str, by: str, price: Money | None, now: float
    ) -> Admission:
        """The party is admitted, and charged if that costs something. Again without a refund in between it
        changes nothing. The caller has seen that enough is ``available``; Problem ``payment-required`` when
        it is not.
        """
        before = self._facts.get(Admission, Admission.key_of(reservation.id, party))
        if before is not None and before.refunded is None:
            return before
        charges = () if before is None else before.charges
        amount, currency = (0, "") if price is None else (price.amount, price.currency)
        if price is not None and amount:
            charges = (*charges, self._charge(reservation, party, len(charges) + 1, price, now))
        admission = Admission(reservation.id, party, now, by, amount, currency, None, None, charges)
        self._facts.put(admission)
        return admission

    def _charge(self, reservation: Reservation, party: str, number: int, price: Money, now: float) -> Charge:
        if price.amount < 0:
            raise ValueError(f"a price of {price}")
        who, has = self._facts.get(Account, party), self.balance(party, price.currency)
        if who is None or (has < price.amount and self._spendable(who, has, price.currency) < price.amount):
            raise Problem(
                "payment-required",
                f"{price} is to be paid and not enough is there: pay something in first",
                reason="payment-required",
            )
        balance, fee = min(price.amount, has), fee_of(reservation, price.amount)
        invoice = price.amount - balance
        entry = self._post(
            "charge",
            Charge.key_of(reservation.id, party, number),
            price.currency,
            (
                Posting(balance_of(party), balance),
                Posting(invoice_of(party), invoice),
                Posting(earned_by(reservation.id), fee - price.amount),
                Posting(fees_of(reservation.id), -fee),
            ),
            now,
            reservation,
        )
        return Charge(reservation.id, party, number, now, price.currency, balance, invoice, fee, entry)

    def _post(
        self,
        kind: str,
        charge: str,
        currency: str,
        postings: tuple[Posting, ...],
        now: float,
        reservation: Reservation,
        memo: str = "",
    ) -> int:
        """The number of the entry. The admission has the charge: it comes once, and is shown from there."""
        entry = self._ledger.post(
            kind,
            f"{kind}:{charge}",
            currency,
            postings,
            now,
            reservation=reservation.id,
            memo=memo,
            remember=False,
            show=False,
        )
        assert entry is not None
        return entry.number

    def refund(self, reservation: Reservation, admission: Admission, reason: str, now: float) -> None:
        """Give back all that the admission cost, the fee included, to where it came from; once.

        What went on an invoice that was settled since goes to the balance: it has been paid.
        """
        admission = self._facts.get(Admission, admission.key) or admission
        charge = _open(admission)
        if charge is None:
            return
        owed = max(0, self._ledger.balance(invoice_of(charge.party), charge.currency))
        invoice = min(charge.invoice, owed)
        entry = self._post(
            "refund",
            charge.key,
            charge.currency,
            (
                Posting(earned_by(reservation.id), charge.amount - charge.fee),
                Posting(fees_of(reservation.id), charge.fee),
                Posting(balance_of(charge.party), invoice - charge.amount),
                Posting(invoice_of(charge.party), -invoice),
            ),
            now,
            reservation,
            reason,
        )
        back = replace(charge, refunded=now, refund=entry, reason=reason)
        self._facts.put(replace(admission, refunded=now, charges=(*admission.charges[:-1], back)))
        self._audit.note(
            ACTOR,
            "refund",
            reservation.id,
            now,
            party=charge.party,
            amount=charge.amount,
            currency=charge.currency,
            reason=reason,
        )

    def unpaid(self, reservation: str, currency: str) -> int:
        """What the sender has earned by it and was not paid out. Below zero when it was paid out before
        receivers were given their money back.
        """
        earned = -self._ledger.balance(earned_by(reservation), currency)
        return earned - self._ledger.balance(paid_for(reservation), currency)

    def check_covered(self, reservation: Reservation, admissions: Iterable[Admission]) -> None:
        """Problem ``conflict`` when the sender was paid out what these would be given back: it would be the
        platform's money, and sender and receiver may be one. That is for an operator to decide.
        """
        net: dict[str, int] = {}
        for admission in admissions:
            charge = _open(admission)
            if charge is not None:
                net[charge.currency] = net.get(charge.currency, 0) + charge.amount - charge.fee
        for currency, amount in net.items():
            left = self.unpaid(reservation.id, currency)
            if amount > left:
                back, has = Money(currency, amount), Money(currency, max(0, left))
                raise Problem(
                    "conflict",
                    f"{back} of your earnings would go back to receivers, and {has} were not paid out to you"
                    " yet: ask the operator",
                )

    def charges_of(self, reservation: str) -> Iterator[Charge]:
        for admission in self.admissions.find(reservation).values():
            yield from admission.charges

    def charged_to(self, account: str) -> Iterator[Charge]:
        for admission in self._admitted.find(account).values():
            yield from admission.charges

    def totals(self, reservation: str) -> tuple[CurrencyTotal, ...]:
        """By the ledger, in the order of the currencies; in a time that does not depend on how many paid."""
        currencies = self._ledger.currencies(earned_by(reservation), fees_of(reservation))
        return tuple(self._total(reservation, currency) for currency in currencies)

    def _total(self, reservation: str, currency: str) -> CurrencyTotal:
        fees = -self._ledger.balance(fees_of(reservation), currency)
        net = -self._ledger.balance(earned_by(reservation), currency)
        return CurrencyTotal(
            currency,
            self._counted.of((reservation, currency, "charge")),
            self._counted.of((reservation, currency, "refund")),
            fees + net,
            fees,
            net,
        )

    def balanced(self) -> bool:
        return self._ledger.balanced()


def _open(admission: Admission) -> Charge | None:
    """The charge that was not given back, None when there is none."""
    last = admission.charges[-1] if admission.charges else None
    return None if last is None or last.refunded is not None else last


def _moves(admission: Admission) -> Iterator[tuple[str, str, str]]:
    """What was charged and given back: reservation, currency, kind."""
    for charge in admission.charges:
        yield charge.reservation, charge.currency, "charge"
        if charge.refunded is not None:
            yield charge.reservation, charge.currency, "refund"
