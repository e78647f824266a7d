"""Money: integer minor units of a currency (ISO 4217). There are no fractions of a minor unit anywhere."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

# Decimal places of a currency where they are not two (ISO 4217).
_PLACES: Final = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
MOST: Final = 10**12  # minor units in one amount: far above any price, far below 64 bits
_AMOUNT: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


@functools.lru_cache(maxsize=1024)
def places(currency: str) -> int:
    """Decimal places of a currency. ValueError when it is no three capital letters."""
    if _CURRENCY.fullmatch(currency) is None:
        raise ValueError(f"currency {currency!r}: three capital letters are needed, such as EUR")
    return _PLACES.get(currency, 2)


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """``amount`` minor units of ``currency``."""

    currency: str
    amount: int

    def __post_init__(self) -> None:
        places(self.currency)
        if not -MOST <= self.amount <= MOST:
            raise ValueError(f"an amount of {self.amount} minor units; at most {MOST} are possible")

    @classmethod
    def parse(cls, text: str, currency: str = "") -> Money:
        """``2.50 EUR``, or ``2.50`` with the currency apart. ValueError for signs, thousands' separators and
        more places than the currency has.
        """
        number, _, named = text.strip().partition(" ")
        currency = named.strip() or currency
        if not currency:
            raise ValueError(f'amount {text!r}: the currency is missing; write it behind: "2.50 EUR"')
        exact = places(currency)
        found = _AMOUNT.fullmatch(number)
        if found is None:
            raise ValueError(f"amount {text!r}: digits are needed, and a point before the smaller unit")
        whole, fraction = found[1], found[2] or ""
        if len(fraction) > exact:
            raise ValueError(f"amount {text!r}: {currency} has {exact or 'no'} decimal places")
        return cls(currency, int(whole + fraction.ljust(exact, "0")))

    def __str__(self) -> str:
        exact = places(self.currency)
        sign, digits = "-" if self.amount < 0 else "", str(abs(self.amount)).rjust(exact + 1, "0")
        number = f"{digits[:-exact]}.{digits[-exact:]}" if exact else digits
        return f"{sign}{number} {self.currency}"

    def __neg__(self) -> Money:
        return Money(self.currency, -self.amount)

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"{self} and {other} cannot be added")
        return Money(self.currency, self.amount + other.amount)
