"""Amounts as people write them, and what is wrong with those that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkmd.core.money import MOST, Money


@given(st.integers(-MOST, MOST), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_what_is_shown_is_read_back(amount: int, currency: str) -> None:
    money = Money(currency, amount)
    if amount < 0:
        with pytest.raises(ValueError, match="digits are needed"):
            Money.parse(str(money))
    elif amount < 10**12:
        assert Money.parse(str(money)) == money
        assert Money.parse(str(money).split()[0], currency) == money


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2.505", 'the currency is missing; write it behind: "2.50 EUR"'),
        ("", "the currency is missing"),
        ("2.505 EUR", "EUR has 2 decimal places"),
        ("2.5 JPY", "JPY has no decimal places"),
        ("2,50 EUR", "a point before the smaller unit"),
        ("1 000 EUR", "three capital letters"),
        ("2.50 eur", "three capital letters"),
        ("-1 EUR", "digits are needed"),
        ("² EUR", "digits are needed"),
    ],
)
def test_what_is_no_amount(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Money.parse(text)
