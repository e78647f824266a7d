"""The statement adds up to what the ledger says, to the minor unit, and is safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from billing_rig import NOW, Books
from hypothesis import given
from hypothesis import strategies as st

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.api.problem import Problem
from gkmd.api.results import CurrencyTotal, Statement, StatementLine
from gkmd.api.statement_csv import HEADING, cell, statement_csv
from gkmd.group.platform.records import Admission


def test_each_charge_and_refund_is_a_line() -> None:
    books = Books(fee_points=500)
    for name in ("a-rx", "a-ry"):
        books.credit(name, 1000)
    admission = books.admit("a-rx", books.money(250))
    books.admit("a-ry", books.money(300))
    books.billing.refund(books.reservation, admission, "evicted", NOW + 5)
    shown = books.call("statement", q.StatementOf(id="talk"), "a-tx", now=NOW + 9)
    assert [(one.kind, one.name, one.gross, one.fee, one.net) for one in shown.lines] == [
        ("charge", "rx", 250, 13, 237),
        ("charge", "ry", 300, 15, 285),
        ("refund", "rx", -250, -13, -237),
    ]
    assert shown.totals == (CurrencyTotal("EUR", 2, 1, 300, 15, 285),)
    assert (shown.receivers, shown.title, shown.made) == (2, "Talk", NOW + 9)


def test_who_was_admitted_again_after_a_refund_has_all_lines() -> None:
    books = Books()
    books.credit("a-rx", 1000)
    for at in (1, 2):
        admission = books.admit("a-rx", books.money(100))
        books.billing.refund(books.reservation, admission, "a fault", NOW + at)
    assert len(books.call("statement", q.StatementOf(id="talk"), "a-tx").lines) == 4


def test_a_payout_does_not_change_the_statement() -> None:
    books = Books(fee_points=1000)
    books.credit("a-rx", 1000)
    books.admit("a-rx", books.money(500))
    before = books.call("statement", q.StatementOf(id="talk"), "a-tx")
    books.call("user-pay-out", q.CreditUser("tx", Amount(450, "EUR"), "r"), "unix:0")
    assert books.call("statement", q.StatementOf(id="talk"), "a-tx") == before


def test_nothing_charged_is_an_empty_statement() -> None:
    shown = Books().call("statement", q.StatementOf(id="talk"), "a-tx")
    assert (shown.receivers, shown.totals, shown.lines) == (0, (), ())


def test_a_statement_that_differs_from_the_ledger_is_not_given() -> None:
    books = Books()
    books.credit("a-rx", 1000)
    books.admit("a-rx", books.money(500))
    (admission,) = books.facts.all(Admission)
    (charge,) = admission.charges
    books.facts.put(replace(admission, charges=(replace(charge, balance=400),)))
    books.commit()
    with pytest.raises(Problem, match="says 400 less 0 EUR, the ledger 500 less 0 EUR") as refused:
        books.call("statement", q.StatementOf(id="talk"), "a-tx")
    assert refused.value.code == "internal"
    assert [line.action for line in books.audited()] == ["statement-differs"]


def statement(*names: str, currency: str = "EUR") -> Statement:
    lines = tuple(StatementLine(0.0, "refund", "a-1", name, -250, -13, -237, currency) for name in names)
    total = CurrencyTotal(currency, 0, len(lines), -250 * len(lines), -13 * len(lines), -237 * len(lines))
    return Statement("talk", "Talk", len(lines), (total,), lines, 86_400.0)


def test_the_csv_has_a_line_for_each_and_one_for_each_total() -> None:
    assert statement_csv(statement("rx", 'one "two", three')) == (
        "time,kind,receiver,name,gross,fee,net,currency\r\n"
        "1970-01-01T00:00:00Z,refund,a-1,rx,-2.50,-0.13,-2.37,EUR\r\n"
        '1970-01-01T00:00:00Z,refund,a-1,"one ""two"", three",-2.50,-0.13,-2.37,EUR\r\n'
        "1970-01-02T00:00:00Z,total,,,-5.00,-0.26,-4.74,EUR\r\n"
    )


@pytest.mark.parametrize(("currency", "gross"), [("JPY", "-250"), ("KWD", "-0.250")])
def test_amounts_have_the_places_of_their_currency(currency: str, gross: str) -> None:
    (_, line, _) = csv.reader(io.StringIO(statement_csv(statement("rx", currency=currency))))
    assert line[4] == gross


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", "  =1", "＝1+1", "＋1", "\u00a0=1"]
)
def test_a_name_is_no_formula(name: str) -> None:
    rows = list(csv.reader(io.StringIO(statement_csv(statement(name)), newline="")))
    assert rows[1][3] == "'" + name


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=5))
def test_any_names_are_read_as_they_were_written(names: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(statement_csv(statement(*names)), newline="")))
    assert rows[0] == list(HEADING)
    assert [row[3] for row in rows[1:-1]] == [cell(name) for name in names]
    assert all(len(row) == len(HEADING) for row in rows)
    assert not any(row[3][:1] in ("=", "+", "-", "@", "\t", "\r") and row[3] for row in rows[1:])
