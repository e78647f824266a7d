"""Statements as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from gkmd.cli.books import _statement
from gkmd.cli.tables import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 charges"), (1, "1 charge"), (2, "2 charges")])
def test_one_is_one(number: int, text: str) -> None:
    assert counted(number, "charge") == text


def test_a_statement_of_one_receiver() -> None:
    total = {"currency": "EUR", "charges": 1, "refunds": 0, "gross": 250, "fees": 10, "net": 240}
    view: dict[str, Any] = {
        "title": "Opera",
        "reservation": "o",
        "receivers": 1,
        "totals": [total],
        "lines": [],
    }
    assert _statement(view).splitlines() == [
        "Opera (o): 1 receiver",
        "EUR: gross 2.50 EUR, fees 0.10 EUR, net 2.40 EUR (1 charge, 0 refunds)",
    ]
