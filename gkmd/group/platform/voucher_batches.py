"""Batches of vouchers, whatever they are good for: made with their codes, and revoked."""

from __future__ import annotations

from dataclasses import replace

from gkmd.core.rng import Rng
from gkmd.group.platform import voucher_codes
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import Voucher, VoucherBatch


def make(facts: Facts, rng: Rng, batch: VoucherBatch) -> tuple[str, ...]:
    """The batch's new codes, as they are shown now and never again: their digests alone are kept."""
    codes = voucher_codes.make(rng, batch.count)
    facts.put(batch)
    for code in codes:
        facts.put(Voucher(voucher_codes.digest(voucher_codes.fold(code)), batch.id, "", None))
    return codes


def revoke(facts: Facts, batch: VoucherBatch, now: float) -> bool:
    """False when it was revoked before."""
    if batch.revoked is not None:
        return False
    facts.put(replace(batch, revoked=now))
    return True
