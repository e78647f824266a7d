"""Lock-out: waits grow, end, and are nobody's weapon; memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.group.platform import allowance, lock_out
from gkmd.group.platform.allowance import Allowance
from gkmd.group.platform.lock_out import FORGIVEN, FREE_BY_NAME, LONGEST_WAIT, LockOut, network

NAMES = st.sampled_from(["eve", "bob"])
ORIGINS = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", ""])
STEPS = st.lists(
    st.tuples(st.sampled_from(["failed", "succeeded", "forgiven"]), NAMES, ORIGINS, st.floats(0, 400)),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_no_wait_is_longer_than_the_longest_and_each_ends(steps: list[tuple[str, str, str, float]]) -> None:
    guard, now = LockOut(), 1000.0
    for what, name, origin, passed in steps:
        now += passed
        if what == "failed":
            guard.failed(name, origin, now)
        else:
            getattr(guard, what)(name, origin)
        come_back = guard.refusal(name, origin, now)
        if come_back is not None:
            assert now < come_back <= now + LONGEST_WAIT
            assert guard.refusal(name, origin, come_back) is None


@settings(deadline=None)
@given(st.integers(0, 30))
def test_each_failure_doubles_the_wait(failures: int) -> None:
    guard = LockOut()
    for _ in range(failures):
        guard.failed("eve", "", 0.0)
    come_back = guard.refusal("eve", "", 0.0)
    if failures < FREE_BY_NAME:
        assert come_back is None
    else:
        assert come_back == min(LONGEST_WAIT, 2.0 ** (failures - FREE_BY_NAME))


def test_what_was_counted_before_it_was_right_is_taken_back() -> None:
    guard = LockOut()
    for _ in range(1000):
        guard.failed("eve", "192.0.2.1", 0.0)
        guard.forgiven("eve", "192.0.2.1")
    assert len(guard) == 0
    for _ in range(1000):
        guard.failed("eve", "192.0.2.1", 0.0)
        guard.succeeded("eve", "192.0.2.1")
    assert len(guard) == 0
    assert guard.refusal("eve", "192.0.2.1", 0.0) is None


def test_failures_are_forgiven_after_a_while() -> None:
    guard = LockOut()
    for _ in range(20):
        guard.failed("eve", "192.0.2.1", 0.0)
    guard.failed("eve", "192.0.2.1", FORGIVEN)
    assert guard.refusal("eve", "192.0.2.1", FORGIVEN) is None


def test_a_clock_that_goes_back_locks_nobody_out_for_long() -> None:
    guard = LockOut()
    for _ in range(20):
        guard.failed("eve", "192.0.2.1", 1e6)
    come_back = guard.refusal("eve", "192.0.2.1", 1000.0)
    assert come_back is not None
    assert come_back <= 1000.0 + LONGEST_WAIT
    assert guard.refusal("eve", "192.0.2.1", come_back) is None


def test_a_known_place_is_no_longer_known_when_the_name_is_another_s() -> None:
    guard = LockOut()
    guard.succeeded("eve", "192.0.2.1")
    for _ in range(10):
        guard.failed("eve", "198.51.100.1", 0.0)
    assert guard.refusal("eve", "192.0.2.1", 0.0) is None
    guard.forget("eve")
    assert guard.refusal("eve", "192.0.2.1", 0.0) is not None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_out, "_REMEMBERED", 50)
    guard = LockOut()
    for number in range(500):
        guard.failed(f"name {number}", f"198.51.{number % 256}.{number // 256}", float(number))
        guard.succeeded(f"name {number}", f"198.51.{number % 256}.1")
        assert len(guard) <= 50
    assert len(guard._known) <= 50


def test_who_signs_in_from_everywhere_does_not_make_it_forget_where_others_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A customer's /48 has 65,536 networks: with them anybody with an account had all others locked out."""
    monkeypatch.setattr(lock_out, "_REMEMBERED", 50)
    guard = LockOut()
    guard.succeeded("alice", "192.0.2.1")
    for number in range(500):
        guard.succeeded("mallory", f"2001:db8:0:{number:x}::1")
    for _ in range(10):
        guard.failed("alice", "198.51.100.1", 0.0)
        guard.failed("mallory", "198.51.100.1", 0.0)
    assert guard.refusal("alice", "192.0.2.1", 0.0) is None
    assert guard.refusal("mallory", "2001:db8:0:1f3::1", 0.0) is None
    assert guard.refusal("mallory", "2001:db8::1", 0.0) is not None
    assert sum(len(places) for places in guard._known.values()) <= 20


@pytest.mark.parametrize(
    ("origin", "one"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8:0:0:ffff::9", "2001:db8::/64"),
     ("::ffff:192.0.2.1", "192.0.2.1"), ("", ""), ("x" * 100, "x" * 64)],
)  # fmt: skip
def test_what_counts_as_one_address(origin: str, one: str) -> None:
    assert network(origin) == one


@settings(deadline=None)
@given(st.lists(st.floats(0, 3), max_size=80))
def test_an_allowance_is_never_exceeded(gaps: list[float]) -> None:
    bucket, now, taken = Allowance(1.0, 5.0), 100.0, []
    for gap in gaps:
        now += gap
        come_back = bucket.take("a", now)
        if come_back is None:
            taken.append(now)
        else:
            assert come_back > now
    for start in taken:
        within = [at for at in taken if start <= at <= start + 10]
        assert len(within) <= 5 + 10 + 1


def test_allowances_are_each_one_s_own_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "_REMEMBERED", 10)
    bucket = Allowance(1.0, 1.0)
    assert [bucket.take(str(number % 3), 1.0) is None for number in range(6)] == [True] * 3 + [False] * 3
    for number in range(100):
        bucket.take(f"n{number}", 2.0)
    assert len(bucket._tokens) <= 10
    # A clock that goes back gives nothing.
    assert bucket.take("n99", -1e9) is not None
