"""What a receiver shows beside its identity, inside its own IKE SA."""

from __future__ import annotations

from dataclasses import dataclass

from gkmd.core.money import Money


@dataclass(frozen=True, slots=True)
class Evidence:
    """``voucher``: a code, "" for none. ``most``: the most that the receiver will pay, None: nothing."""

    voucher: str = ""
    most: Money | None = None

    def __repr__(self) -> str:
        return f"Evidence(voucher={'given' if self.voucher else 'none'}, most={self.most})"
