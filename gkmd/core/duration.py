"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Final

_BARE: Final = re.compile("[0-9]{1,9}")
_UNITS: Final = re.compile("(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
_CLOCK: Final = re.compile("([0-9]{1,4}):([0-5][0-9])(?::([0-5][0-9]))?")


def seconds_of(written: str) -> int:
    """Seconds of ``1h30m``, ``45m``, ``90s``, ``1:30`` (hours and minutes).

    Raises ValueError for anything else. A number without a unit is refused: some would mean minutes by it,
    and others seconds. 0 is 0 of each.
    """
    text = "".join(written.lower().split())
    if _BARE.fullmatch(text):
        if int(text) == 0:
            return 0
        raise ValueError(f"{text} of what? write {text}m for minutes, {text}s for seconds, {text}h for hours")
    clock = _CLOCK.fullmatch(text)
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0)
    found = _UNITS.fullmatch(text)
    if found is None or not text:
        raise ValueError(
            f"{written[:40]!r} is no duration; write 90m, 1h30m, 45s or 1:30 (hours and minutes)"
        )
    days, hours, minutes, seconds = (int(one or 0) for one in found.groups())
    return days * 86_400 + hours * 3600 + minutes * 60 + seconds
