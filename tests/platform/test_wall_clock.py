"""Local time: gaps and repeated hours of daylight saving, offsets, zones that there are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkmd.group.platform import wall_clock

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("start", "zone", "instant"),
    [
        ("1970-01-01T00:00", "UTC", 0.0),
        ("1970-01-01 00:01", "UTC", 60.0),
        ("1970-01-01T00:00:07", "UTC", 7.0),
        ("2026-12-24T18:00", BERLIN, 1_798_131_600.0),
        ("2026-12-24T18:00+01:00", BERLIN, 1_798_131_600.0),
        ("2026-12-24T17:00Z", BERLIN, 1_798_131_600.0),
        ("2026-12-24T17:00Z", "Asia/Kathmandu", 1_798_131_600.0),
        ("2026-06-24T18:00", BERLIN, 1_782_316_800.0),
        # Said with its offset, each of the two half past two is one instant.
        ("2026-10-25T02:30+02:00", BERLIN, 1_792_888_200.0),
        ("2026-10-25T02:30+01:00", BERLIN, 1_792_891_800.0),
    ],
)
def test_instants(start: str, zone: str, instant: float) -> None:
    assert wall_clock.read(start, zone) == wall_clock.WallClock(instant)


@pytest.mark.parametrize(
    ("start", "zone", "field", "why"),
    [
        ("2026-03-29T02:30", BERLIN, "start", "does not exist in Europe/Berlin.*2026-03-29T03:30"),
        ("2026-10-25T02:30", BERLIN, "start", r"2026-10-25T02:30\+02:00 or 2026-10-25T02:30\+01:00"),
        ("2026-04-05T01:45", "Australia/Lord_Howe", "start", r"\+11:00 or 2026-04-05T01:45\+10:30"),
        ("2026-12-24", BERLIN, "start", "is no time"),
        ("2026-02-30T10:00", BERLIN, "start", "is no time"),
        ("2026-W52-4T10:00", BERLIN, "start", "is no time"),
        ("next friday", BERLIN, "start", "is no time"),
        ("2026-12-24T18:00", "Europe/Atlantis", "time_zone", "Europe/Atlantis"),
        ("2026-12-24T18:00", "Europe", "time_zone", "there is no time zone"),
        ("2026-12-24T18:00", "../../etc/passwd", "time_zone", "there is no time zone"),
        ("2026-12-24T18:00", "/etc/localtime", "time_zone", "there is no time zone"),
        ("2026-12-24T18:00", "", "time_zone", "there is no time zone"),
        ("2026-12-24T18:00", "a" * 64, "time_zone", "there is no time zone"),
    ],
)
def test_what_is_no_instant_says_why(start: str, zone: str, field: str, why: str) -> None:
    clock = wall_clock.read(start, zone)
    assert clock.instant is None
    ((problem),) = clock.problems
    assert problem.field == field
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(problem.text)


def test_both_are_told_at_once() -> None:
    assert [one.field for one in wall_clock.read("soon", "Nowhere").problems] == ["time_zone", "start"]


@given(
    st.integers(0, 4_000_000_000),
    st.sampled_from([BERLIN, "UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_what_is_shown_reads_back(instant: int, zone: str) -> None:
    """Local time with its offset is never in doubt."""
    assert wall_clock.read(wall_clock.show(instant, zone), zone).instant == instant


@given(st.text(max_size=40), st.text(max_size=64))
def test_any_text_is_an_instant_or_a_problem(start: str, zone: str) -> None:
    clock = wall_clock.read(start, zone)
    assert (clock.instant is None) == bool(clock.problems)
