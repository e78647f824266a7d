"""What a receiver counts, on streams with every kind of trouble, beside a plain recount."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lab.accounts import HEADER, MARKER, Account


def account(*sequences: int) -> Account:
    made = Account()
    for position, sequence in enumerate(sequences):
        made.add(sequence, position * 1000, position * 1000 + 5)
    return made


def test_a_good_stream() -> None:
    made = account(0, 1, 2, 3)
    assert (made.received, made.duplicated, made.out_of_order, made.first, made.last) == (4, 0, 0, 0, 3)
    assert made.missing(0, 3) == []
    assert (made.longest_gap, made.worst_delay) == (1000, 5)


def test_lost_doubled_and_late() -> None:
    made = account(0, 3, 3, 1, 9000)
    assert (made.received, made.duplicated, made.out_of_order, made.first, made.last) == (4, 1, 1, 0, 9000)
    assert made.missing(0, 9000) == [(2, 2), (4, 8999)]
    assert made.missing(0, 9002)[-1] == (9001, 9002)


def test_nothing_came() -> None:
    report = Account().report()
    assert (report["received"], report["first"], report["missing"]) == (0, -1, [])


@given(st.lists(st.integers(0, 3000), max_size=200))
def test_against_a_plain_recount(sequences: list[int]) -> None:
    made = account(*sequences)
    assert made.received == len(set(sequences))
    assert made.duplicated == len(sequences) - len(set(sequences))
    gone = [n for first, last in made.missing(0, 3000) for n in range(first, last + 1)]
    assert gone == sorted(set(range(3001)) - set(sequences))


def test_the_header_starts_with_the_marker() -> None:
    assert HEADER.pack(MARKER, 1, 2, 3).startswith(MARKER)
    assert len(MARKER) == 16
