"""The books under any interleaving of business, repetition, lies and crashes (docs/ledger.md, Invariants)."""

from __future__ import annotations

import contextlib

import pytest
from billing_rig import NOW, Books
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from provider_words import SECRET, body

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.api.problem import Problem
from gkmd.core.money import MOST, Money
from gkmd.group.platform.ledger import MOVEMENTS
from gkmd.group.platform.providers import sign
from gkmd.group.platform.records import Admission, Balance, Payment, Posting
from gkmd.group.platform.settings import ProviderSettings

PROVIDERS = (ProviderSettings("pay", "webhook", SECRET),)
PARTIES = st.sampled_from(["a-rx", "a-ry"])
CURRENCIES = st.sampled_from(["EUR", "USD"])
AMOUNTS = st.integers(1, 120)
PLACES = st.integers(0, 30)


class Bookkeeping(RuleBasedStateMachine):
    """Whatever is done in whatever order, with commits lost now and then. ``money`` is a second opinion: what
    the operator and the providers have put in, kept without the ledger.
    """

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(fee_points=333, fee_fixed=7, providers=PROVIDERS)
        self.books.account("a-rx", credit_limit=300)
        self.books.commit()
        self.codes: list[str] = []
        self.calls: list[bytes] = []

    def attempt(self, operation: str, request: object, by: str) -> None:
        with contextlib.suppress(Problem):
            self.books.call(operation, request, by)

    @rule(
        operation=st.sampled_from(["user-credit", "user-pay-back", "user-settle"]),
        party=PARTIES,
        amount=AMOUNTS,
        currency=CURRENCIES,
        reference=st.integers(0, 5),
    )
    def operator(self, operation: str, party: str, amount: int, currency: str, reference: int) -> None:
        request = q.CreditUser(party.removeprefix("a-"), Amount(amount, currency), f"r{reference}")
        self.attempt(operation, request, "unix:0")

    @rule(part=st.integers(1, 3), reference=st.integers(6, 20))
    def settle_some(self, part: int, reference: int) -> None:
        owed = self.books.ledger.balance("invoice:a-rx", "EUR")
        request = q.CreditUser("rx", Amount(owed // part, "EUR"), f"r{reference}")
        self.attempt("user-settle", request, "unix:0")

    @rule(amount=AMOUNTS, currency=CURRENCIES, reference=st.integers(0, 5))
    def pay_out(self, amount: int, currency: str, reference: int) -> None:
        before = self.books.balances.earned(self.books.accounts.named("tx"), currency)
        request = q.CreditUser("tx", Amount(amount, currency), f"r{reference}")
        self.attempt("user-pay-out", request, "unix:0")
        after = self.books.balances.earned(self.books.accounts.named("tx"), currency)
        assert after in (before, before - amount)
        assert after == before or after >= 0

    @rule(party=PARTIES, amount=AMOUNTS, currency=CURRENCIES)
    def admit(self, party: str, amount: int, currency: str) -> None:
        before = self.books.billing.available(party, currency)
        last = self.books.admission(party)
        charged = last is not None and last.refunded is None
        try:
            self.books.admit(party, Money(currency, amount))
        except Problem:
            assert before < amount
            self.books.facts.rollback()
            return
        self.books.commit()
        assert self.books.billing.available(party, currency) == before - (0 if charged else amount)

    @rule(party=PARTIES)
    def refund(self, party: str) -> None:
        admission = self.books.admission(party)
        if admission is not None:
            self.books.billing.refund(self.books.reservation, admission, "evicted", NOW)
            self.books.commit()

    @rule()
    def cancel(self) -> None:
        for admission in tuple(self.books.facts.all(Admission)):
            self.books.billing.refund(self.books.reservation, admission, "cancelled", NOW)
        self.books.commit()
        assert all(total.gross == total.fees == 0 for total in self.books.billing.totals("talk"))

    @rule(party=PARTIES, amount=AMOUNTS)
    def fault_before_the_commit(self, party: str, amount: int) -> None:
        """The server dies with what it had done and not written."""
        if self.books.billing.available(party, "EUR") >= amount:
            admission = self.books.admission(party)
            if admission is None or admission.refunded is not None:
                self.books.admit(party, Money("EUR", amount))
        self.books.crash()

    @rule()
    def crash(self) -> None:
        self.books.crash()

    @rule(amount=AMOUNTS)
    def make_voucher(self, amount: int) -> None:
        made = self.books.call(
            "value-voucher-create", q.CreateValueVouchers(Amount(amount, "EUR"), 1), "unix:0"
        )
        self.codes += made.codes

    @rule(party=PARTIES, place=PLACES)
    def redeem(self, party: str, place: int) -> None:
        if self.codes:
            self.attempt("voucher-redeem", q.RedeemVoucher(self.codes[place % len(self.codes)]), party)

    @rule(party=PARTIES, amount=AMOUNTS, once=st.integers(0, 5))
    def begin(self, party: str, amount: int, once: int) -> None:
        self.attempt("payment-begin", q.BeginPayment("pay", Amount(amount, "EUR"), f"o{once}"), party)

    @rule(
        place=PLACES,
        kind=st.sampled_from(["paid", "failed", "returned"]),
        lie=st.sampled_from([0, 0, 0, 1, -1]),
    )
    def call(self, place: int, kind: str, lie: int) -> None:
        payments = sorted(self.books.facts.all(Payment), key=lambda one: one.id)
        if payments:
            payment = payments[place % len(payments)]
            self.calls.append(body(payment, kind, amount=max(0, payment.amount + lie)))
            self.deliver(self.calls[-1])

    @rule(place=PLACES)
    def call_again(self, place: int) -> None:
        if self.calls:
            self.deliver(self.calls[place % len(self.calls)])

    def deliver(self, octets: bytes) -> None:
        signature = sign(octets, SECRET, NOW)
        self.attempt("provider-call", q.ProviderCall("pay", octets.decode(), signature), "")

    @invariant()
    def books_are_balanced(self) -> None:
        assert self.books.billing.balanced()
        assert all(sum(posting.amount for posting in one.postings) == 0 for one in self.books.entries())

    @invariant()
    def balances_are_the_sum_of_all_entries(self) -> None:
        sums: dict[tuple[str, str], list[int]] = {}
        for entry in self.books.entries():
            for posting in entry.postings:
                row = sums.setdefault((posting.account, entry.currency), [0, 0])
                row[0] += posting.amount
                row[1] += 1
        kept = {
            (one.account, one.currency): [one.amount, one.entries] for one in self.books.ledger.accounts()
        }
        assert kept == sums

    @invariant()
    def nothing_happened_twice_and_nothing_is_missing(self) -> None:
        entries = self.books.entries()
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        assert len({entry.reference for entry in entries}) == len(entries)

    @invariant()
    def nobody_owes_what_may_not_be_owed(self) -> None:
        returned = {one.account for one in self.books.facts.all(Payment) if one.state == "returned"}
        for one in self.books.facts.all(Balance):
            form, _, name = one.account.partition(":")
            if form == "balance" and name not in returned:
                assert one.amount <= 0, "a balance is below zero without a payment that was taken back"
            if form == "invoice":
                assert 0 <= one.amount <= (300 if (name, one.currency) == ("a-rx", "EUR") else 0)
            if form in ("earned", "fees"):
                assert one.amount <= 0
            if form in ("paid", "provider", "vouchers"):
                assert one.amount >= 0

    @invariant()
    def each_balance_is_what_came_in_less_what_was_charged(self) -> None:
        for party in ("a-rx", "a-ry"):
            came = sum(
                one.amount
                for one in self.books.facts.all(Payment)
                if one.account == party and one.state == "paid"
            )
            kinds = {"deposit": 0, "repayment": 0, "voucher": 0, "settlement": 0}
            for entry in self.books.entries():
                if entry.currency == "EUR" and entry.kind in kinds:
                    kinds[entry.kind] -= sum(
                        posting.amount for posting in entry.postings if posting.account.endswith(f":{party}")
                    )
            spent = sum(
                one.amount
                for one in self.books.charges()
                if one.party == party and one.currency == "EUR" and one.refunded is None
            )
            has = self.books.billing.balance(party, "EUR") - self.books.ledger.balance(
                f"invoice:{party}", "EUR"
            )
            assert has == came + sum(kinds.values()) - spent

    @invariant()
    def admissions_are_charged_and_charges_admitted(self) -> None:
        """Never charged without admission, never admitted without charge, never twice."""
        open_charges = [one for one in self.books.charges() if one.refunded is None]
        admitted = [one for one in self.books.facts.all(Admission) if one.refunded is None]
        assert sorted((one.party, one.amount, one.currency) for one in open_charges) == sorted(
            (one.party, one.amount, one.currency) for one in admitted
        )

    @invariant()
    def statement_agrees(self) -> None:
        statement = self.books.call("statement", q.StatementOf(id="talk"), "unix:0")
        assert sum(line.gross for line in statement.lines) == sum(one.gross for one in statement.totals)
        assert all(line.gross == line.fee + line.net for line in statement.lines)


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


PAIR = (Posting("cash", 5), Posting("balance:a-rx", -5))


@pytest.mark.parametrize(
    ("postings", "says"),
    [
        ((Posting("cash", 5), Posting("balance:a-rx", -4)), "add up to 1"),
        ((Posting("cash", 5),), "two are needed"),
        ((Posting("cash", 0), Posting("balance:a-rx", 0)), "two are needed"),
        ((Posting("pocket", 5), Posting("cash", -5)), "no account has the form 'pocket'"),
        ((Posting("balance:", 5), Posting("cash", -5)), "no account has the form"),
        ((Posting("balance:a/b", 5), Posting("cash", -5)), "no account has the form"),
        ((Posting("balance:a\n", 5), Posting("cash", -5)), "no account has the form"),
        ((Posting("cash", 2.5), Posting("balance:a-rx", -2.5)), "no number of minor units"),  # type: ignore[arg-type]
        ((Posting("cash", True), Posting("balance:a-rx", -1)), "no number of minor units"),
        ((Posting("cash", MOST + 1), Posting("balance:a-rx", -MOST - 1)), "is more than"),
        ((Posting("cash", 5), Posting("cash", -5)), "named twice"),
    ],
)
def test_what_is_no_entry_is_refused(postings: tuple[Posting, ...], says: str) -> None:
    books = Books()
    with pytest.raises(ValueError, match=says):
        books.ledger.post("deposit", "r", "EUR", postings, NOW)
    assert not books.commit()


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "€"])
def test_a_currency_has_three_letters(currency: str) -> None:
    with pytest.raises(ValueError, match="three capital letters"):
        Books().ledger.post("deposit", "r", currency, PAIR, NOW)


def test_the_same_reference_is_the_same_business_after_a_restart_too() -> None:
    books = Books()
    assert books.ledger.post("deposit", "r", "EUR", PAIR, NOW) is not None
    books.commit()
    books.crash()
    assert books.ledger.post("deposit", "r", "EUR", PAIR, NOW) is None
    assert len(books.entries()) == 1


@pytest.mark.parametrize(("currency", "amount"), [("EUR", 6), ("USD", 5)])
def test_a_reference_is_not_used_for_another_amount(currency: str, amount: int) -> None:
    books = Books()
    books.ledger.post("deposit", "r", "EUR", PAIR, NOW)
    with pytest.raises(Problem, match=r"used for 0\.05 EUR \(entry 1\)"):
        books.ledger.post(
            "deposit", "r", currency, (Posting("cash", amount), Posting("earned:t", -amount)), NOW
        )


def test_entries_of_one_account_are_found_among_many() -> None:
    books = Books()
    for number in range(1201):
        books.credit("a-ry" if number % 400 else "a-rx", 1, reference=f"r{number}")
    books.commit()
    found = books.call("ledger-entries", q.ListEntries(account="balance:a-rx"), "unix:0")
    assert [entry.number for entry in found.entries] == [1, 401, 801, 1201]
    assert found.after == ""


@pytest.mark.parametrize("account", ["", "cash"])
def test_pages_of_entries_hold_each_once(account: str) -> None:
    books = Books()
    for number in range(7):
        books.credit("a-rx", 1, reference=f"r{number}")
    books.commit()
    seen: list[int] = []
    after = ""
    for _ in range(4):
        page = books.call("ledger-entries", q.ListEntries(after=after, limit=3, account=account), "unix:0")
        seen += [entry.number for entry in page.entries]
        after = page.after
        if not after:
            break
    assert seen == list(range(1, 8))
    assert after == ""


def test_only_the_last_movements_are_kept() -> None:
    books = Books()
    for number in range(60):
        books.credit("a-rx", number + 1, reference=f"r{number}")
    books.commit()
    books.crash()
    shown = books.call("balance", by="a-rx")
    assert [movement.amount for movement in shown.movements] == list(range(60, 10, -1))


def test_charges_and_refunds_are_movements_among_the_others() -> None:
    books = Books()
    books.account("a-rx", credit_limit=300)
    books.credit("a-rx", 100, reference="first")
    admission = books.admit("a-rx", Money("EUR", 250))
    books.credit("a-rx", 7, reference="second")
    books.billing.refund(books.reservation, admission, "a fault", NOW)
    books.admit("a-rx", Money("EUR", 30))
    books.commit()
    books.crash()
    shown = books.call("balance", by="a-rx")
    assert [(one.kind, one.amount, one.memo) for one in shown.movements] == [
        ("charge", -30, "Talk"),
        ("refund", 250, "Talk: a fault"),
        ("deposit", 7, ""),
        ("charge", -250, "Talk"),
        ("deposit", 100, ""),
    ]
    assert books.call("balance", by="a-ry").movements == ()


def test_charges_count_among_the_last_movements() -> None:
    books = Books()
    for number in range(MOVEMENTS):
        books.credit("a-rx", 1000 + number, reference=f"r{number}")
    for _ in range(2):
        books.billing.refund(books.reservation, books.admit("a-rx", Money("EUR", 250)), "a fault", NOW)
    shown = books.call("balance", by="a-rx")
    assert len(shown.movements) == MOVEMENTS
    assert [one.amount for one in shown.movements[:5]] == [250, -250, 250, -250, 1000 + MOVEMENTS - 1]
