"""Charges and refunds: once each, the fee exactly, balance before invoice, back to where it came from."""

from __future__ import annotations

import pytest
from billing_rig import Books
from hypothesis import given
from hypothesis import strategies as st

from gkmd.api.problem import Problem
from gkmd.core.change import Put
from gkmd.core.money import Money
from gkmd.group.platform.billing import fee_of

NOW = 1_000_000.0
PRICE = Money("EUR", 250)


def test_a_charge_is_shared_between_sender_and_platform() -> None:
    books = Books(fee_points=500, fee_fixed=10)
    books.credit("a-rx", 1000)
    books.admit("a-rx", PRICE)
    # 5 % of 2.50 is 12.5 cents, 13 rounded half up, and 10 fixed.
    assert books.ledger.balance("balance:a-rx", "EUR") == -750
    assert books.ledger.balance("fees:talk", "EUR") == -23
    assert books.ledger.balance("earned:talk", "EUR") == -227
    assert books.billing.available("a-rx", "EUR") == 750
    assert books.billing.balanced()


def test_the_same_receiver_is_charged_once() -> None:
    books = Books()
    books.credit("a-rx", 1000)
    for _ in range(3):
        books.admit("a-rx", PRICE)
    assert books.billing.available("a-rx", "EUR") == 750
    assert len(books.charges()) == 1


def test_an_admission_with_its_charge_is_few_facts() -> None:
    """The journal writes each of them with every admission: one more is felt by the busiest server."""
    books = Books(fee_points=500)
    books.credit("a-rx", 1000)
    books.commit()
    books.admit("a-rx", PRICE)
    kinds = [change.fact.KIND for change in books.commit() if isinstance(change, Put)]
    assert sorted(kinds) == ["admission", "balance", "balance", "balance", "entry"]


def test_charges_know_the_entries_of_the_ledger() -> None:
    books = Books()
    books.credit("a-rx", 1000)
    for _ in range(2):
        books.billing.refund(books.reservation, books.admit("a-rx", PRICE), "a fault", NOW)
    entries = {entry.number: entry for entry in books.entries()}
    assert [charge.number for charge in books.charges()] == [1, 2]
    for charge in books.charges():
        assert entries[charge.entry].reference == f"charge:{charge.key}"
        assert entries[charge.refund].reference == f"refund:{charge.key}"
        assert entries[charge.refund].memo == charge.reason == "a fault"


def test_the_balance_pays_first_and_the_invoice_the_rest() -> None:
    books = Books()
    books.account("a-rx", credit_limit=200)
    books.credit("a-rx", 100)
    assert books.billing.available("a-rx", "EUR") == 300
    books.admit("a-rx", PRICE)
    assert books.ledger.balance("balance:a-rx", "EUR") == 0
    assert books.ledger.balance("invoice:a-rx", "EUR") == 150
    assert books.billing.available("a-rx", "EUR") == 50


@pytest.mark.parametrize(("party", "currency"), [("a-rx", "EUR"), ("a-rx", "USD"), ("p-nobody", "EUR")])
def test_nothing_to_pay_from_is_refused_and_changes_nothing(party: str, currency: str) -> None:
    books = Books()
    books.credit("a-rx", 249)
    books.commit()
    with pytest.raises(Problem, match="is to be paid") as refused:
        books.admit(party, Money(currency, 250))
    assert refused.value.code == "payment-required"
    assert not books.commit()


def test_credit_in_another_currency_pays_nothing() -> None:
    books = Books()
    books.account("a-rx", credit_limit=10_000, credit_currency="USD")
    assert books.billing.available("a-rx", "EUR") == 0
    assert books.billing.available("a-rx", "USD") == 10_000


def test_a_balance_below_zero_pays_nothing_and_has_no_credit() -> None:
    books = Books()
    books.account("a-rx", credit_limit=500)
    books.credit("a-rx", -1)
    assert books.billing.available("a-rx", "EUR") == 0


def test_what_costs_nothing_is_no_charge() -> None:
    books = Books()
    books.billing.admit(books.reservation, "p-nobody", "open", None, NOW)
    books.admit("a-rx", Money("EUR", 0))
    assert books.charges() == books.entries() == []
    assert books.billing.totals("talk") == ()


def test_a_refund_gives_back_what_was_charged_where_it_came_from_once() -> None:
    books = Books(fee_points=1000)
    books.account("a-rx", credit_limit=200)
    books.credit("a-rx", 100)
    admission = books.admit("a-rx", PRICE)
    for _ in range(3):
        books.billing.refund(books.reservation, admission, "cancelled", NOW + 1)
    assert {one.account: one.amount for one in books.ledger.accounts() if one.amount} == {
        "balance:a-rx": -100,
        "cash": 100,
    }
    (total,) = books.billing.totals("talk")
    assert (total.charges, total.refunds, total.gross, total.fees, total.net) == (1, 1, 0, 0, 0)
    kept = books.admission("a-rx")
    assert kept is not None
    assert kept.refunded == NOW + 1
    assert [line.action for line in books.audited()] == ["refund"]


def test_what_was_settled_comes_back_to_the_balance() -> None:
    books = Books()
    books.account("a-rx", credit_limit=250)
    admission = books.admit("a-rx", PRICE)
    books.settle("a-rx", 200)
    books.billing.refund(books.reservation, admission, "evicted", NOW)
    assert books.ledger.balance("invoice:a-rx", "EUR") == 0
    assert books.billing.balance("a-rx", "EUR") == 200


def test_an_admission_after_a_refund_is_charged_again() -> None:
    books = Books()
    books.credit("a-rx", 1000)
    for round_ in (1, 2):
        admission = books.admit("a-rx", PRICE)
        assert books.billing.available("a-rx", "EUR") == 750
        books.billing.refund(books.reservation, admission, "a fault", NOW)
        assert books.billing.totals("talk")[0].refunds == round_
    assert books.billing.available("a-rx", "EUR") == 1000


def test_currencies_are_kept_apart() -> None:
    books = Books(fee_points=1000)
    books.credit("a-rx", 1000)
    books.credit("a-ry", 1000, "JPY")
    books.admit("a-rx", PRICE)
    books.admit("a-ry", Money("JPY", 300))
    totals = books.billing.totals("talk")
    assert [(one.currency, one.gross, one.fees) for one in totals] == [("EUR", 250, 25), ("JPY", 300, 30)]
    assert books.billing.balanced()


def test_a_refused_operation_leaves_no_gap_in_the_numbers() -> None:
    books = Books()
    books.credit("a-rx", 1000)
    books.commit()
    books.admit("a-rx", PRICE)
    books.facts.rollback()
    books.admit("a-rx", PRICE)
    assert [entry.number for entry in books.entries()] == [1, 2]


@given(price=st.integers(0, 10**12), points=st.integers(0, 10_000), fixed=st.integers(0, 10_000))
def test_a_fee_is_rounded_half_up_and_never_above_the_price(price: int, points: int, fixed: int) -> None:
    fee = fee_of(Books(fee_points=points, fee_fixed=fixed).reservation, price)
    assert 0 <= fee <= price
    if fee < price:
        missing = price * points - (fee - fixed) * 10_000  # ten-thousandths of a minor unit
        assert -5_000 <= missing < 5_000


@pytest.mark.parametrize(
    ("price", "points", "fee"), [(50, 100, 1), (49, 100, 0), (150, 100, 2), (149, 100, 1), (1, 10_000, 1)]
)
def test_half_a_minor_unit_is_rounded_up(price: int, points: int, fee: int) -> None:
    assert fee_of(Books(fee_points=points).reservation, price) == fee
