"""What the operator books: credits, settlements, payouts; and value vouchers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from billing_rig import NOW, Books
from reservation_record import reservation

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.api.problem import Problem
from gkmd.core.money import MOST
from gkmd.core.rng import SeededRng
from gkmd.group.platform import voucher_codes
from gkmd.group.platform.records import Voucher, VoucherBatch

OPERATOR = "unix:0"


def credit(login: str, amount: int, reference: str = "r", currency: str = "EUR") -> q.CreditUser:
    return q.CreditUser(login, Amount(amount, currency), reference, "as agreed")


def amounts(found: Any) -> list[tuple[int, str]]:
    return [(one.amount, one.currency) for one in found]


def test_a_credit_is_booked_once_for_each_reference_and_user() -> None:
    books = Books()
    for _ in range(3):
        shown = books.call("user-credit", credit("rx", 500), OPERATOR)
        books.crash()
    assert amounts(shown.balances) == [(500, "EUR")]
    assert amounts(shown.available) == [(500, "EUR")]
    assert [(one.kind, one.amount, one.memo) for one in shown.movements] == [("deposit", 500, "as agreed")]
    assert [line.action for line in books.audited()] == ["deposit"]
    books.call("user-credit", credit("ry", 500), OPERATOR)
    assert books.ledger.balance("cash", "EUR") == 1000
    with pytest.raises(Problem, match="use another reference"):
        books.call("user-credit", credit("rx", 501), OPERATOR)


def test_names_of_people_and_references_are_not_in_the_audit_log() -> None:
    books = Books()
    books.call("user-credit", credit("rx", 500, "Erika Mustermann, March"), OPERATOR)
    assert "Mustermann" not in repr(books.audited())


@pytest.mark.parametrize("operation", ["user-credit", "user-pay-back", "user-settle", "user-pay-out"])
@pytest.mark.parametrize(("login", "amount", "code"), [("rx", 0, "invalid"), ("nobody", 5, "not-found")])
def test_what_cannot_be_booked(operation: str, login: str, amount: int, code: str) -> None:
    books = Books()
    with pytest.raises(Problem) as refused:
        books.call(operation, credit(login, amount), OPERATOR)
    assert refused.value.code == code
    assert not books.entries()


def test_a_balance_has_an_end() -> None:
    books = Books()
    books.call("user-credit", credit("rx", MOST), OPERATOR)
    with pytest.raises(Problem, match="would be more than"):
        books.call("user-credit", credit("rx", 1, "s"), OPERATOR)


def test_a_balance_is_paid_back_and_no_more_than_it() -> None:
    books = Books()
    books.call("user-credit", credit("rx", 500), OPERATOR)
    for _ in range(2):
        shown = books.call("user-pay-back", credit("rx", 500), OPERATOR)
    assert amounts(shown.balances) == [(0, "EUR")]
    assert books.ledger.balance("cash", "EUR") == 0
    with pytest.raises(Problem, match=r"more than the 0\.00 EUR"):
        books.call("user-pay-back", credit("rx", 1, "s"), OPERATOR)


def test_an_invoice_is_settled_and_no_more_than_is_owed() -> None:
    books = Books()
    books.account("a-rx", credit_limit=1000)
    books.admit("a-rx", books.money(600))
    shown = books.call("user-settle", credit("rx", 400), OPERATOR)
    assert amounts(shown.owed) == [(200, "EUR")]
    assert amounts(shown.available) == [(800, "EUR")]
    assert [(one.kind, one.amount, one.memo) for one in shown.movements] == [
        ("settlement", 400, "as agreed"),
        ("charge", -600, "Talk"),
    ]
    with pytest.raises(Problem, match=r"more than the 2\.00 EUR that rx owes"):
        books.call("user-settle", credit("rx", 201, "s"), OPERATOR)
    books.call("user-settle", credit("rx", 400), OPERATOR)
    assert books.ledger.balance("invoice:a-rx", "EUR") == 200


def earn(books: Books, name: str, party: str, amount: int, starts: float) -> None:
    books.reservation = reservation(starts, id=name, title=name.title(), fee_points=1000)
    books.facts.put(books.reservation)
    books.admit(party, books.money(amount))


def test_earnings_are_paid_out_oldest_first_and_never_more() -> None:
    books = Books()
    books.credit("a-rx", 10_000)
    earn(books, "second", "a-rx", 1000, NOW + 9)
    earn(books, "first", "a-rx", 500, NOW + 5)
    shown = books.call("user-pay-out", credit("tx", 700), OPERATOR)
    assert amounts(shown.earned) == [(650, "EUR")]
    assert books.ledger.balance("paid:first", "EUR") == 450
    assert books.ledger.balance("paid:second", "EUR") == 250
    with pytest.raises(Problem, match=r"more than the 6\.50 EUR"):
        books.call("user-pay-out", credit("tx", 651, "s"), OPERATOR)
    assert amounts(books.call("user-pay-out", credit("tx", 700), OPERATOR).earned) == [(650, "EUR")]
    books.call("user-pay-out", credit("tx", 650, "s"), OPERATOR)
    assert books.call("balance", by="a-tx").earned == ()
    assert books.billing.totals("first")[0].net == 450
    assert books.billing.balanced()


def test_what_was_paid_out_and_refunded_is_kept_back_from_the_next_payout() -> None:
    books = Books()
    books.credit("a-rx", 10_000)
    earn(books, "first", "a-rx", 1000, NOW)
    books.call("user-pay-out", credit("tx", 900), OPERATOR)
    admission = books.admission("a-rx")
    assert admission is not None
    books.billing.refund(books.reservation, admission, "cancelled", NOW)
    earn(books, "second", "a-rx", 2000, NOW + 1)
    assert amounts(books.call("balance", by="a-tx").earned) == [(900, "EUR")]
    with pytest.raises(Problem, match=r"more than the 9\.00 EUR"):
        books.call("user-pay-out", credit("tx", 901, "s"), OPERATOR)


def test_who_has_no_account_has_no_balance() -> None:
    with pytest.raises(Problem) as refused:
        Books().call("balance", by=OPERATOR)
    assert refused.value.code == "forbidden"


# --- Vouchers ---------------------------------------------------------------------------------------


def make(books: Books, amount: int = 300, count: int = 1) -> tuple[str, ...]:
    made = books.call("value-voucher-create", q.CreateValueVouchers(Amount(amount, "EUR"), count), OPERATOR)
    codes: tuple[str, ...] = made.codes
    return codes


def redeem(books: Books, code: str, by: str = "a-rx", now: float = NOW) -> Any:
    return books.call("voucher-redeem", q.RedeemVoucher(code), by, now)


@pytest.mark.parametrize(
    "typed", [str, str.lower, lambda code: code.replace("-", ""), lambda code: f" {code.replace('-', ' ')} "]
)
def test_a_voucher_is_redeemed_once_however_it_is_typed(typed: Any) -> None:
    books = Books()
    (code,) = make(books)
    assert amounts(redeem(books, typed(code)).balances) == [(300, "EUR")]
    books.crash()
    with pytest.raises(Problem, match="on your balance already"):
        redeem(books, code)
    with pytest.raises(Problem, match="no code that can be redeemed"):
        redeem(books, code, "a-ry")
    assert books.billing.balance("a-rx", "EUR") == 300


def test_codes_that_are_not_good_are_refused_alike() -> None:
    books = Books()
    (used,), (revoked,), (foreign,) = make(books), make(books), make(books)
    redeem(books, used, "a-ry")
    books.call("value-voucher-revoke", q.ById(batch_of(books, revoked).id), OPERATOR)
    books.facts.put(replace(batch_of(books, foreign), reservation="talk", amount=0))
    books.commit()
    said = set()
    for code in (used, revoked, foreign, "0000-0000-0000-0000", "no code"):
        with pytest.raises(Problem) as refused:
            redeem(books, code)
        said.add((refused.value.code, refused.value.detail, refused.value.fields))
    assert len(said) == 1
    assert len([line for line in books.audited() if line.action == "voucher-refused"]) == 5


def batch_of(books: Books, code: str) -> VoucherBatch:
    voucher = books.facts.get(Voucher, voucher_codes.digest(voucher_codes.fold(code)))
    assert voucher is not None
    batch = books.facts.get(VoucherBatch, voucher.batch)
    assert batch is not None
    return batch


def test_batches_are_listed_with_what_was_redeemed_and_revoked_once() -> None:
    books = Books()
    code, _ = make(books, count=2)
    redeem(books, code)
    batch = batch_of(books, code).id
    for _ in range(2):
        books.call("value-voucher-revoke", q.ById(batch), OPERATOR)
    (shown,) = books.call("value-voucher-list", by=OPERATOR).batches
    assert (shown.batch, shown.count, shown.used, shown.revoked) == (batch, 2, 1, NOW)
    assert books.billing.balance("a-rx", "EUR") == 300
    assert [line.action for line in books.audited()].count("value-voucher-revoke") == 1


def test_vouchers_of_a_reservation_are_not_the_operators_to_revoke_here() -> None:
    books = Books()
    (code,) = make(books)
    books.facts.put(replace(batch_of(books, code), reservation="talk", amount=0))
    books.commit()
    assert books.call("value-voucher-list", by=OPERATOR).batches == ()
    with pytest.raises(Problem) as refused:
        books.call("value-voucher-revoke", q.ById(batch_of(books, code).id), OPERATOR)
    assert refused.value.code == "not-found"


def test_a_form_that_is_posted_twice_makes_one_batch() -> None:
    books = Books()
    request = q.CreateValueVouchers(Amount(300, "EUR"), 2, "word")
    first, second = (books.call("value-voucher-create", request, OPERATOR) for _ in range(2))
    assert first.batch == second.batch
    assert second.codes == ()
    assert books.facts.count(Voucher) == 2


def test_guessing_is_slowed_down() -> None:
    books = Books()
    (code,) = make(books)
    said = []
    for number in range(30):
        with pytest.raises(Problem) as refused:
            redeem(books, f"0000-0000-0000-{number:04d}")
        said.append(refused.value.code)
    assert said.count("not-found") == 5
    assert set(said[5:]) == {"locked-out"}
    with pytest.raises(Problem, match="wait") as refused:
        redeem(books, code)
    assert refused.value.come_back is not None
    assert amounts(redeem(books, code, now=refused.value.come_back).balances) == [(300, "EUR")]


def test_a_voucher_of_nothing_is_not_made() -> None:
    with pytest.raises(Problem, match="worth something"):
        make(Books(), 0)


def test_codes_are_of_80_bits_and_kept_as_digests() -> None:
    books = Books()
    codes = make(books, count=200)
    assert len(set(codes)) == 200
    assert books.facts.count(Voucher) == 200
    for code in codes:
        assert len(voucher_codes.fold(code)) == 16
        assert voucher_codes.fold(code.replace("0", "o").replace("1", "L")) == voucher_codes.fold(code)
        assert voucher_codes.fold(code) not in repr(books.journal)


@pytest.mark.parametrize(
    "text", ["", "-" * 64, "0" * 15, "0" * 17, "U" * 16, "0" * 15 + "é", "0" * 15 + "\n", "0" * 65, "０" * 16]
)
def test_what_is_no_code(text: str) -> None:
    assert voucher_codes.fold(text) == ""


def test_the_octets_of_the_generator_make_the_code() -> None:
    octets = SeededRng(7)(10)
    (code,) = voucher_codes.make(SeededRng(7), 1)
    number = 0
    for character in voucher_codes.fold(code):
        number = number * 32 + voucher_codes.ALPHABET.index(character)
    assert number.to_bytes(10, "big") == octets
