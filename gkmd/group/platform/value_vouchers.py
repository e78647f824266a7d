"""Vouchers that are worth money: made by an operator, redeemed once for somebody's balance."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.money import Money
from gkmd.core.rng import Rng
from gkmd.group.platform import voucher_batches, voucher_codes
from gkmd.group.platform.access import account_of
from gkmd.group.platform.audit import Audit, place_of
from gkmd.group.platform.balances import Balances
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.ledger import Ledger, balance_of, redeemed_of
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.once import Once
from gkmd.group.platform.pages import page, place
from gkmd.group.platform.records import Posting, Voucher, VoucherBatch
from gkmd.group.platform.work import Handlers, Work


class ValueVouchers:
    """Wrong codes are counted in a lock-out of their own, by account and by address."""

    def __init__(
        self, facts: Facts, ledger: Ledger, balances: Balances, audit: Audit, once: Once, rng: Rng
    ) -> None:
        self._facts: Final = facts
        self._ledger: Final = ledger
        self._balances: Final = balances
        self._audit: Final = audit
        self._once: Final = once
        self._rng: Final = rng
        self._lock_out: Final = LockOut()

    def operations(self) -> Handlers:
        return {
            "value-voucher-create": self._create,
            "value-voucher-list": self._list,
            "value-voucher-revoke": self._revoke,
            "voucher-redeem": self._redeem,
        }

    def _create(self, request: q.CreateValueVouchers, work: Work) -> r.NewVouchers:
        worth = request.amount
        if worth.amount == 0:
            text = "a voucher must be worth something"
            raise Problem("invalid", f"amount: {text}", (FieldProblem("amount", text),))
        before = self._once.found(work.who.actor, "value-voucher-create", request.once, request)
        if before is not None:
            return r.NewVouchers(before, ())  # the codes were shown, and are not kept
        batch = VoucherBatch(
            new_id("b-", self._rng),
            work.who.actor,
            "",
            worth.amount,
            worth.currency,
            request.count,
            work.now,
            None,
        )
        codes = voucher_batches.make(self._facts, self._rng, batch)
        self._once.keep(work.who.actor, "value-voucher-create", request.once, request, batch.id, work.now)
        self._audit.note(
            work.who.actor,
            "value-voucher-create",
            batch.id,
            work.now,
            amount=worth.amount,
            currency=worth.currency,
            count=request.count,
        )
        return r.NewVouchers(batch.id, codes)

    def _list(self, request: q.ListBatches, work: Work) -> r.Batches:
        """Newest first. Looks at every voucher there is: only an operator asks."""
        used: Counter[str] = Counter()
        for voucher in self._facts.all(Voucher):
            used[voucher.batch] += voucher.used is not None
        rows = (
            (place(batch.created, batch.id), batch)
            for batch in self._facts.all(VoucherBatch)
            if not batch.reservation
        )
        batches, after = page(rows, request.after, request.limit, newest=True)
        return r.Batches(
            tuple(
                r.BatchView(
                    batch.id,
                    "",
                    Amount(amount=batch.amount, currency=batch.currency),
                    batch.count,
                    0,
                    used[batch.id],
                    batch.created,
                    batch.revoked,
                )
                for batch in batches
            ),
            after,
        )

    def _revoke(self, request: q.ById, work: Work) -> r.Nothing:
        """What was redeemed stays on the balances."""
        batch = self._facts.get(VoucherBatch, request.id)
        if batch is None or batch.reservation:
            raise Problem("not-found", f"there is no batch {request.id!r} of vouchers that are worth money")
        if voucher_batches.revoke(self._facts, batch, work.now):
            self._audit.note(work.who.actor, "value-voucher-revoke", batch.id, work.now)
        return r.Nothing()

    def _redeem(self, request: q.RedeemVoucher, work: Work) -> r.BalanceView:
        """Unknown, used and revoked codes are refused alike: only who has redeemed a code is told so."""
        account, origin = account_of(work.who), work.who.origin
        come_back = self._lock_out.refusal(account.id, origin, work.now)
        if come_back is not None:
            raise Problem(
                "locked-out", "too many wrong codes: wait before you try another", come_back=come_back
            )
        code = voucher_codes.fold(request.code)
        voucher = self._facts.get(Voucher, voucher_codes.digest(code)) if code else None
        batch = None if voucher is None else self._facts.get(VoucherBatch, voucher.batch)
        if voucher is not None and voucher.used is not None and voucher.held == account.id:
            raise Problem("conflict", "you have redeemed this code before: it is on your balance already")
        if (
            voucher is None
            or batch is None
            or batch.reservation
            or batch.revoked is not None
            or voucher.used is not None
        ):
            self._lock_out.failed(account.id, origin, work.now)

            def note() -> None:
                place = place_of(origin)
                self._audit.refusal(account.id, "voucher-refused", account.id, work.now, origin=place)

            work.even_if_refused(note)
            text = "this is no code that can be redeemed, or it was used; compare it with the voucher"
            raise Problem("not-found", text, (FieldProblem("code", text),))
        self._balances.room(account, Money(batch.currency, batch.amount))
        self._facts.put(replace(voucher, held=account.id, used=work.now))
        self._ledger.post(
            "voucher",
            f"voucher:{voucher.digest}",
            batch.currency,
            (Posting(redeemed_of(batch.id), batch.amount), Posting(balance_of(account.id), -batch.amount)),
            work.now,
            remember=False,
        )
        self._lock_out.succeeded(account.id, origin)
        self._audit.note(
            account.id,
            "voucher-redeem",
            account.id,
            work.now,
            batch=batch.id,
            amount=batch.amount,
            currency=batch.currency,
        )
        return self._balances.view(account)
