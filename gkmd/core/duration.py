"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Final

_BARE: Final = re.compile("[0-9]{1,9}")
_UNITS: Final = re.compile("(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
_CLOCK: Final = re.compile("([0-9]{1,4}):([0-5][0-9])(?::([0-5][0-9]))?")


def seconds_of(text: str, bare: int) -> int | None:
    """Seconds of ``1h30m``, ``45m``, ``90s``, ``1:30`` (hours and minutes); None for what is no duration. A
    number without a unit counts ``bare`` seconds each.
    """
    text = "".join(text.lower().split())
    if _BARE.fullmatch(text):
        return int(text) * bare
    clock = _CLOCK.fullmatch(text)
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0)
    found = _UNITS.fullmatch(text)
    if found is None or not text:
        return None
    days, hours, minutes, seconds = (int(one or 0) for one in found.groups())
    return days * 86_400 + hours * 3600 + minutes * 60 + seconds
