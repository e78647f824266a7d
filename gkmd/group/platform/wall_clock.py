"""Local time in an IANA time zone as an instant, and back. The zones are a table, as Unicode is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gkmd.api.problem import FieldProblem

_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){0,2}")
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(Z|[+-][0-9]{2}:[0-9]{2})?"
)


@dataclass(frozen=True, slots=True)
class WallClock:
    """``instant`` in Unix seconds, None with ``problems`` (of ``start`` and ``time_zone``)."""

    instant: float | None
    problems: tuple[FieldProblem, ...] = ()


def zone(name: str) -> ZoneInfo | None:
    """The time zone of this name, None when there is none."""
    if _ZONE.fullmatch(name) is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; a folder of zones, such as "Europe"
        return None


def read(start: str, time_zone: str) -> WallClock:
    """``2026-12-24T18:00``, with seconds or an offset (``+01:00``, ``Z``) if you like.

    A time that the clocks skip does not exist, one that they show twice needs its offset.
    """
    where = zone(time_zone)
    wrong = []
    if where is None:
        wrong.append(
            FieldProblem("time_zone", f"there is no time zone {time_zone!r}; one is called Europe/Berlin")
        )
    found = _TIME.fullmatch(start.strip())
    try:
        moment = None if found is None else datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or ''}")
    except ValueError:
        moment = None
    if moment is None:
        wrong.append(FieldProblem("start", f"{start[:40]!r} is no time; 2026-12-24T18:00 is one"))
    if wrong or moment is None or where is None:
        return WallClock(None, tuple(wrong))
    try:
        if moment.tzinfo is None:
            return _local(moment, where)
        return WallClock(moment.timestamp())
    except (OverflowError, ValueError):
        return WallClock(None, (FieldProblem("start", f"{start[:40]!r} is too far away"),))


def _local(moment: datetime, where: ZoneInfo) -> WallClock:
    first, second = moment.replace(tzinfo=where), moment.replace(tzinfo=where, fold=1)
    if first.utcoffset() == second.utcoffset():
        return WallClock(first.timestamp())
    text = moment.isoformat(timespec="minutes")
    if first.astimezone(UTC).astimezone(where).replace(tzinfo=None) != moment:
        # In a gap the offset before it, as fold 0 has it, leads to the time that the clocks show instead.
        later = first.astimezone(UTC).astimezone(where).replace(tzinfo=None).isoformat(timespec="minutes")
        reason = f"{text} does not exist in {where.key}: the clocks go forward to {later}"
    else:
        one, other = (f"{text}{_offset(clock)}" for clock in (first, second))
        reason = f"{text} comes twice in {where.key}, when the clocks are put back: say {one} or {other}"
    return WallClock(None, (FieldProblem("start", reason),))


def _offset(moment: datetime) -> str:
    minutes = round((moment.utcoffset() or timedelta()).total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def show(instant: float, time_zone: str, *, seconds: bool = False) -> str:
    """Local time with its offset: ``2026-12-24T18:00+01:00``, with ``seconds`` also when there are none."""
    where = zone(time_zone)
    moment = datetime.fromtimestamp(int(instant), UTC)
    local = moment if where is None else moment.astimezone(where)
    exact = "seconds" if seconds or local.second else "minutes"
    return local.replace(tzinfo=None).isoformat(timespec=exact) + _offset(local)
