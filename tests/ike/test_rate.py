"""Buckets of tokens by source."""

from __future__ import annotations

import pytest

from gkmd.ike.rate import SOURCES_LIMIT, Rates


def test_a_burst_and_then_the_rate() -> None:
    rates = Rates(10, 3)
    assert [rates.take("a", 100.0) for _ in range(5)] == [True, True, True, False, False]
    assert rates.take("b", 100.0)
    assert not rates.take("a", 100.05)
    assert rates.take("a", 100.11)
    assert not rates.take("a", 100.12)
    # However long it was silent, it has no more than a burst.
    assert [rates.take("a", 500.0) for _ in range(5)] == [True, True, True, False, False]


def test_asking_in_vain_costs_nothing() -> None:
    rates = Rates(10, 1)
    taken = sum(rates.take("a", 100 + number / 1000) for number in range(1001))
    assert taken == pytest.approx(11, abs=1)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    rates = Rates(10, 1)
    assert rates.take("a", 100.0)
    assert not rates.take("a", 50.0)
    assert not rates.take("a", 50.0)
    assert rates.take("a", 50.2)


def test_the_table_does_not_grow_and_keeps_who_is_heard() -> None:
    rates = Rates(1, 1)
    assert rates.take("loud", 0.0)
    for number in range(3 * SOURCES_LIMIT):
        assert rates.take(str(number), 0.0)
        assert not rates.take("loud", 0.0)
    assert len(rates) == SOURCES_LIMIT
    assert rates.take("0", 0.0)  # forgotten long ago
    assert not rates.take(str(3 * SOURCES_LIMIT - 1), 0.0)


def test_without_a_rate_nothing_is_kept() -> None:
    rates = Rates(0, 1)
    assert all(rates.take("a", 0.0) for _ in range(100))
    assert len(rates) == 0
