"""What is reserved already is asked about, and a series is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from platform_rig import NOW, OPERATOR, Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Rule
from gkmd.api.problem import Problem
from gkmd.group.platform.outcome import Caller

HOUR = 3600


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def sender(rig: Rig) -> Caller:
    return rig.caller("tx", "sender")


def request(hours: float = 1, duration: int = HOUR, title: str = "Evening concert", **more: Any) -> q.Reserve:
    start = datetime.fromtimestamp(NOW + hours * HOUR, UTC).isoformat(timespec="seconds")
    return q.Reserve(title=title, start=start, duration=duration, admission=Rule(open=True), **more)


@pytest.mark.parametrize(
    "again",
    [
        request(),
        request(title="  EVENING  concert "),
        request(title="Ｅvening concert"),
        request(hours=1.5),
        request(hours=0.5),
        request(hours=0.5, duration=3 * HOUR),
        request(hours=1.2, duration=60, visibility="private", address="239.192.7.7"),
    ],
)
def test_the_same_at_the_same_time_is_asked_about(rig: Rig, sender: Caller, again: q.Reserve) -> None:
    first = rig.do("reserve", request(), sender)
    problem = rig.refused("reserve", again, sender)
    (field,) = problem.fields
    assert (problem.code, field.field) == ("conflict", "twice")
    assert first.id in field.text
    checked = rig.do("reservation-check", again, sender)
    assert [(one.field, one.text) for one in checked.problems] == [("twice", field.text)]
    assert len(rig.do("reservation-list", q.ListReservations(), sender).reservations) == 1
    sure = q.Reserve(**{name: getattr(again, name) for name in again.__struct_fields__} | {"twice": True})
    assert rig.do("reservation-check", sure, sender).problems == ()
    assert rig.do("reserve", sure, sender).id != first.id


@pytest.mark.parametrize(
    "another",
    [
        request(hours=2),  # it begins as the first one ends
        request(hours=0.5, duration=HOUR // 2),
        request(hours=25),
        request(hours=7 * 24 + 1),
        request(title="Evening concert, part 2"),
    ],
)
def test_a_series_is_not_asked_about(rig: Rig, sender: Caller, another: q.Reserve) -> None:
    rig.do("reserve", request(), sender)
    assert rig.do("reservation-check", another, sender).problems == ()
    rig.do("reserve", another, sender)


def test_it_is_about_what_is_ones_own_and_not_over(rig: Rig, sender: Caller) -> None:
    other = rig.caller("ty", "sender")
    first = rig.do("reserve", request(), sender)
    rig.do("reserve", request(), other)
    assert rig.refused("reserve", request(owner="tx"), OPERATOR).fields[0].field == "twice"
    rig.do("reservation-cancel", q.CancelReservation(first.id), sender)
    second = rig.do("reserve", request(), sender)
    # By another: it does not learn what others have reserved.
    assert second.id not in str(rig.refused("reserve", request(), other))


def test_the_same_word_is_the_same_request_and_no_second_one(rig: Rig, sender: Caller) -> None:
    first = rig.do("reserve", request(once="a"), sender)
    assert rig.do("reserve", request(once="a"), sender).id == first.id
    with pytest.raises(Problem, match="is reserved already"):
        rig.do("reserve", request(once="b"), sender)
    sure = rig.do("reserve", request(once="b", twice=True), sender)
    assert rig.do("reserve", request(once="b", twice=True), sender).id == sure.id
    assert len(rig.do("reservation-list", q.ListReservations(), sender).reservations) == 2
