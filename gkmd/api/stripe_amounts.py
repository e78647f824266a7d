"""Amounts as Stripe counts them: minor units, as here, but for currencies whose places it keeps otherwise."""

from __future__ import annotations

from typing import Final

# ISO 4217 has no places for these; Stripe counts them as if there were two.
_HUNDREDFOLD: Final = frozenset(("ISK", "UGX"))


def to_stripe(amount: int, currency: str) -> int:
    return amount * 100 if currency in _HUNDREDFOLD else amount


def of_stripe(amount: int, currency: str) -> int:
    """ValueError for a fraction of what we count in."""
    if currency not in _HUNDREDFOLD:
        return amount
    whole, rest = divmod(amount, 100)
    if rest:
        raise ValueError(f"{amount} hundredths of {currency}: there are no fractions")
    return whole
