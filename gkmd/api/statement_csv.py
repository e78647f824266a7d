"""A statement as CSV (RFC 4180), safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from gkmd.api.results import Statement, StatementLine
from gkmd.core.money import Money

HEADING: Final = ("time", "kind", "receiver", "name", "gross", "fee", "net", "currency")
_FORMULA: Final = frozenset("=+-@")
_BLANK: Final = frozenset("\t\r\n")


def statement_csv(statement: Statement) -> str:
    """One record a line of the statement, then one ``total`` for each currency. Times are UTC in ISO 8601,
    amounts decimal numbers with a point and as many places as the currency has; refunds are negative.
    """
    return csv_heading() + csv_lines(statement.lines) + csv_totals(statement)


def csv_heading() -> str:
    return _records([HEADING])


def csv_lines(lines: Iterable[StatementLine]) -> str:
    return _records(
        (
            _instant(line.at),
            line.kind,
            cell(line.party),
            cell(line.name),
            *(decimal(amount, line.currency) for amount in (line.gross, line.fee, line.net)),
            line.currency,
        )
        for line in lines
    )


def csv_totals(statement: Statement) -> str:
    return _records(
        (
            _instant(statement.made),
            "total",
            "",
            "",
            *(decimal(amount, total.currency) for amount in (total.gross, total.fees, total.net)),
            total.currency,
        )
        for total in statement.totals
    )


def _records(rows: Iterable[tuple[str, ...]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: what could be one begins with an apostrophe.

    Spaces before it and the wide forms of the signs are looked through, as some spreadsheets do.
    """
    first = unicodedata.normalize("NFKC", text).lstrip()[:1]
    return f"'{text}" if first in _FORMULA or text[:1] in _BLANK else text


def decimal(amount: int, currency: str) -> str:
    """``-2.50`` for -250 minor units of EUR."""
    return str(Money(currency, amount)).partition(" ")[0]


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
