"""The books: an append-only double-entry ledger in integer minor units (docs/ledger.md).

An entry's postings add up to zero in one currency. With each entry the balances of its accounts are kept, in
the same commit, so that the entries themselves need not be in memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.core.money import MOST, Money, places
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.outcome import Read
from gkmd.group.platform.pages import page
from gkmd.group.platform.records import Balance, Entry, Posting, RecentMovement, Reference
from gkmd.group.platform.work import Handlers, Work

CASH: Final = "cash"
_ACCOUNT: Final = re.compile(
    r"cash|(?:balance|invoice|earned|paid|fees|provider|vouchers):[A-Za-z0-9._-]{1,100}", re.ASCII
)
_HOLDERS: Final = ("balance:", "invoice:")  # accounts of the ledger whose movements their holder sees
MOVEMENTS: Final = 50  # that are kept for each holder
_FURTHEST: Final = 2**62  # a balance fits into 64 bits
_PAGE: Final = 500  # entries that are read at once when only those of one account are wanted
_PAGES: Final = 20  # that one answer looks through


def balance_of(account: str) -> str:
    """The ledger's account for what a receiver has paid in: a liability, below zero while there is money."""
    return f"balance:{account}"


def invoice_of(account: str) -> str:
    """What a receiver owes by invoice: a receivable, above zero while something is owed."""
    return f"invoice:{account}"


def earned_by(reservation: str) -> str:
    """The sender's part of what was charged: a liability."""
    return f"earned:{reservation}"


def paid_for(reservation: str) -> str:
    """What the sender was paid of it: above zero."""
    return f"paid:{reservation}"


def fees_of(reservation: str) -> str:
    """The platform's part: revenue, below zero."""
    return f"fees:{reservation}"


def provider_of(name: str) -> str:
    """What a payment provider has taken in and owes us: an asset, above zero."""
    return f"provider:{name}"


def redeemed_of(batch: str) -> str:
    """What was redeemed of a batch of vouchers: an asset, above zero."""
    return f"vouchers:{batch}"


class Ledger:
    """``last_entry`` is the newest of the journal: numbers go on from there without a gap."""

    def __init__(self, facts: Facts, last_entry: Entry | None) -> None:
        self._facts: Final = facts
        if last_entry is not None:
            facts.resume(last_entry)
        self._movements: Final = facts.index(RecentMovement, lambda movement: movement.account)
        self._balances: Final = facts.index(Balance, lambda balance: balance.account)

    def post(
        self,
        kind: str,
        reference: str,
        currency: str,
        postings: Sequence[Posting],
        now: float,
        *,
        reservation: str = "",
        memo: str = "",
        remember: bool = True,
        show: bool = True,
    ) -> Entry | None:
        """Append an entry; None when one with this reference is there already.

        ``remember`` False: another fact of the caller's sees to it that the reference does not come twice;
        ``show`` False: and from it the holder of the account is shown what was moved.
        Postings of nothing are left out. ValueError for what is no entry; Problem ``conflict`` when the one
        that is there is about another amount.
        """
        kept = tuple(posting for posting in postings if posting.amount != 0)
        before = self._check(reference, currency, kept)
        amount = 0
        if remember:
            amount = sum(posting.amount for posting in kept if posting.amount > 0)
            if self.known(reference, Money(currency, amount)):
                return None
        newest = self._facts.newest(Entry)
        number = 1 if newest is None else newest.number + 1
        entry = Entry(number, now, kind, reference, reservation, currency, kept, memo)
        self._facts.put(entry)
        for posting, found in zip(kept, before, strict=True):
            had, entries = (0, 0) if found is None else (found.amount, found.entries)
            self._facts.put(Balance(posting.account, currency, had + posting.amount, entries + 1))
        if remember:
            self._facts.put(Reference(reference, number, currency, amount))
        if show:
            self._move(entry)
        return entry

    def _check(
        self, reference: str, currency: str, postings: Sequence[Posting]
    ) -> tuple[Balance | None, ...]:
        """The balances of the postings' accounts, as they are before."""
        places(currency)
        if not reference:
            raise ValueError("an entry without a reference")
        if len(postings) < 2:
            raise ValueError(f"entry {reference}: {len(postings)} postings that are not zero; two are needed")
        rest = 0
        balances = tuple(
            self._facts.get(Balance, Balance.key_of(posting.account, currency)) for posting in postings
        )
        for posting, before in zip(postings, balances, strict=True):
            if type(posting.amount) is not int:
                raise ValueError(f"entry {reference}: {posting.amount!r} is no number of minor units")
            if abs(posting.amount) > MOST:
                raise ValueError(f"entry {reference}: {posting.amount} is more than {MOST}")
            # An account that has a balance was looked at when it was made.
            if before is None and _ACCOUNT.fullmatch(posting.account) is None:
                raise ValueError(f"entry {reference}: no account has the form {posting.account!r}")
            if before is not None and abs(before.amount + posting.amount) > _FURTHEST:
                raise ValueError(f"entry {reference}: the balance of {posting.account} would not fit")
            rest += posting.amount
        if len({posting.account for posting in postings}) != len(postings):
            raise ValueError(f"entry {reference}: an account is named twice")
        if rest != 0:
            raise ValueError(f"entry {reference}: the postings add up to {rest} and not to zero")
        return balances

    def _move(self, entry: Entry) -> None:
        """Note the movement for its holder, in the place of the oldest when there are enough."""
        moved: dict[str, int] = {}
        for posting in entry.postings:
            if posting.account.startswith(_HOLDERS):
                holder = posting.account.partition(":")[2]
                moved[holder] = moved.get(holder, 0) - posting.amount
        for holder, amount in moved.items():
            rows = self._movements.find(holder)
            slot = len(rows)
            if slot >= MOVEMENTS:
                slot = min(rows.values(), key=lambda row: row.entry).slot
            self._facts.put(
                RecentMovement(
                    holder,
                    slot,
                    entry.number,
                    entry.at,
                    entry.kind,
                    entry.currency,
                    amount,
                    entry.reservation,
                    entry.memo,
                )
            )

    def known(self, reference: str, amount: Money) -> bool:
        """Whether there is a remembered entry with this reference. Problem ``conflict`` when its debits are
        not ``amount``.
        """
        before = self._facts.get(Reference, reference)
        if before is None:
            return False
        if (before.currency, before.amount) != (amount.currency, amount.amount):
            was = Money(before.currency, before.amount)
            raise Problem(
                "conflict",
                f"this reference was used for {was} (entry {before.entry}), now it is for {amount}: "
                "use another reference for another business",
            )
        return True

    def balance(self, account: str, currency: str) -> int:
        """The sum of all postings: positive is a debit balance, negative a credit balance."""
        found = self._facts.get(Balance, Balance.key_of(account, currency))
        return 0 if found is None else found.amount

    def currencies(self, *accounts: str) -> list[str]:
        """Those in which something was posted to any of these accounts, in order."""
        return sorted({one.currency for account in accounts for one in self._balances.find(account).values()})

    def accounts(self) -> tuple[Balance, ...]:
        return tuple(sorted(self._facts.all(Balance), key=lambda balance: balance.key))

    def balanced(self) -> bool:
        """All balances of each currency add up to zero."""
        sums: dict[str, int] = {}
        for balance in self._facts.all(Balance):
            sums[balance.currency] = sums.get(balance.currency, 0) + balance.amount
        return not any(sums.values())

    def movements(self, holder: str) -> tuple[RecentMovement, ...]:
        """The last ones of an account's money that were to be shown, newest first."""
        return tuple(sorted(self._movements.find(holder).values(), key=lambda row: row.entry, reverse=True))

    def operations(self) -> Handlers:
        return {"ledger": self._show, "ledger-entries": self._entries}

    def _show(self, request: q.ListAccounts, work: Work) -> r.Ledger:
        word = request.search.strip()
        rows = ((one.key, one) for one in self._facts.all(Balance) if word in one.account)
        shown, after = page(rows, request.after, request.limit)
        return r.Ledger(
            tuple(r.LedgerAccount(one.account, one.currency, one.amount, one.entries) for one in shown),
            self.balanced(),
            after,
        )

    def _entries(self, request: q.ListEntries, work: Work) -> Read:
        """Those of one account are picked out of all: a page may be short and still not be the last."""
        size = _PAGE if request.account else request.limit
        chosen: list[Entry] = []
        pages = 0

        def found_page(found: tuple[Any, ...], now: float) -> Any:
            nonlocal pages
            pages += 1
            last = ""
            for entry in found:
                if not request.account or any(p.account == request.account for p in entry.postings):
                    chosen.append(entry)
                last = entry.key
                if len(chosen) == request.limit:
                    break
            if len(found) < size and (not found or last == found[-1].key):
                last = ""
            elif len(chosen) < request.limit and pages < _PAGES:
                return read(last)
            return r.Entries(tuple(_view(entry) for entry in chosen), last)

        def read(after: str) -> Read:
            return Read(Entry.KIND, after, size, found_page, descending=request.newest)

        return read(request.after)


def _view(entry: Entry) -> r.EntryView:
    return r.EntryView(
        entry.number,
        entry.at,
        entry.kind,
        entry.reference,
        entry.reservation,
        entry.currency,
        tuple((posting.account, posting.amount) for posting in entry.postings),
        entry.memo,
    )
