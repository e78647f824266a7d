"""Vouchers that admit: codes that a sender makes for a reservation, each good for one receiver."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.rng import Rng
from gkmd.group.platform import schedule, voucher_batches
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.once import Once
from gkmd.group.platform.pages import page, place
from gkmd.group.platform.records import Voucher, VoucherBatch
from gkmd.group.platform.work import Handlers, Work

MOST_CODES: Final = 200_000  # of one reservation


class Vouchers:
    """A code is kept as its digest, ``held`` by the party whose ticket it is in, ``used`` from the admission
    on. ``batches`` are those of a reservation, ``codes`` those of a batch.
    """

    __slots__ = ("_audit", "_facts", "_once", "_rng", "batches", "codes")

    def __init__(self, facts: Facts, audit: Audit, once: Once, rng: Rng) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self._once: Final = once
        self._rng: Final = rng
        self.batches: Final = facts.index(VoucherBatch, lambda batch: batch.reservation or None)
        self.codes: Final = facts.index(Voucher, lambda voucher: voucher.batch)

    def operations(self) -> Handlers:
        return {
            "voucher-create": self._create,
            "voucher-list": self._list,
            "voucher-revoke": self._revoke,
        }

    def hold(self, digest: str, party: str) -> None:
        """The party's from now on; one that is used or somebody else's stays as it is."""
        voucher = self._facts.get(Voucher, digest)
        if voucher is not None and voucher.used is None and voucher.held == "":
            self._facts.put(replace(voucher, held=party))

    def release(self, digest: str, party: str) -> None:
        """Anybody's again who has the code, unless it is used."""
        voucher = self._facts.get(Voucher, digest) if digest else None
        if voucher is not None and voucher.used is None and voucher.held == party:
            self._facts.put(replace(voucher, held=""))

    def _create(self, request: q.CreateVouchers, work: Work) -> r.NewVouchers:
        reservation = schedule.owned(self._facts, request.id, work.who)
        before = self._once.found(work.who.actor, "voucher-create", request.once, request)
        if before is not None:
            return r.NewVouchers(before, ())  # the codes were shown, and are not kept
        if not schedule.is_live(reservation, work.now):
            raise Problem("conflict", "the reservation is over: vouchers for it admit to nothing")
        made = sum(batch.count for batch in self.batches.find(reservation.id).values())
        if made + request.count > MOST_CODES:
            text = f"{request.count} more after {made}: at most {MOST_CODES} for one reservation"
            raise Problem("conflict", f"count: {text}", (FieldProblem("count", text),))
        batch = VoucherBatch(
            new_id("b-", self._rng), reservation.owner, reservation.id, 0, "", request.count, work.now, None
        )
        codes = voucher_batches.make(self._facts, self._rng, batch)
        self._once.keep(work.who.actor, "voucher-create", request.once, request, batch.id, work.now)
        self._audit.note(
            work.who.actor, "voucher-create", reservation.id, work.now, batch=batch.id, count=request.count
        )
        return r.NewVouchers(batch.id, codes)

    def _list(self, request: q.BatchesOf, work: Work) -> r.Batches:
        """Newest first."""
        reservation = schedule.owned(self._facts, request.id, work.who)
        rows = ((place(one.created, one.id), one) for one in self.batches.find(reservation.id).values())
        shown, after = page(rows, request.after, request.limit, newest=True)
        return r.Batches(tuple(self._view(batch) for batch in shown), after)

    def _view(self, batch: VoucherBatch) -> r.BatchView:
        codes = self.codes.find(batch.id).values()
        used = sum(code.used is not None for code in codes)
        held = sum(code.used is None and code.held != "" for code in codes)
        return r.BatchView(
            batch.id, batch.reservation, None, batch.count, held, used, batch.created, batch.revoked
        )

    def _revoke(self, request: q.RevokeBatch, work: Work) -> r.Nothing:
        reservation = schedule.owned(self._facts, request.id, work.who)
        batch = self._facts.get(VoucherBatch, request.batch)
        if batch is None or batch.reservation != reservation.id:
            raise Problem("not-found", f"this reservation has no batch {request.batch!r}")
        if voucher_batches.revoke(self._facts, batch, work.now):
            self._audit.note(work.who.actor, "voucher-revoke", reservation.id, work.now, batch=batch.id)
        return r.Nothing()
