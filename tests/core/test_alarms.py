"""Alarms against a plain dictionary, and what they take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gkmd.core.alarms import Alarms

KEYS = st.sampled_from("abc")
TIMES = st.integers(0, 5).map(float)


@given(st.lists(st.tuples(st.sampled_from(["set", "drop", "due"]), KEYS, TIMES), max_size=40))
def test_they_are_what_a_dictionary_says(steps: list[tuple[str, str, float]]) -> None:
    alarms: Alarms[str] = Alarms()
    plain: dict[str, float] = {}
    for what, key, time in steps:
        if what == "set":
            alarms.set(key, time)
            plain[key] = time
        elif what == "drop":
            alarms.drop(key)
            plain.pop(key, None)
        else:
            expected = min(((at, one) for one, at in plain.items() if at <= time), default=None)
            found = alarms.due(time)
            assert found == (None if expected is None else expected[1])
            plain.pop(found or "", None)
        assert alarms.first() == min(plain.values(), default=None)
        assert alarms.at(key) == plain.get(key)


def test_an_alarm_that_moves_for_ever_leaves_little_behind() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("last", 1e9)
    for number in range(10_000):
        alarms.set("first", 1e6 - number)
        assert len(alarms._heap) < 100
    assert (alarms.due(1e9), alarms.due(1e9), alarms.due(1e9)) == ("first", "last", None)
