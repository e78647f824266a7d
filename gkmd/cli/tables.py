"""Tables and times for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gkmd.core import duration
from gkmd.core.errors import LocalError
from gkmd.core.identity import shown

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart; headings in capitals."""
    lines = [[heading.upper() for heading in headings], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def printable(text: str) -> str:
    """Without what a terminal would obey, line feeds excepted: names, reasons and titles come from others."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def counted(number: int, thing: str) -> str:
    """``1 receiver``, ``2 receivers``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def span(seconds: float) -> str:
    """``2h05m``, ``45s``: the two largest units."""
    left = max(0, round(seconds))
    for place, (size, unit) in enumerate(_UNITS):
        if left >= size and place < len(_UNITS) - 1:
            smaller_size, smaller = _UNITS[place + 1]
            return f"{left // size}{unit}{left % size // smaller_size:02d}{smaller}"
    return f"{left}s"


def until(instant: float | None, now: float) -> str:
    """``in 45s`` or ``45s ago``; ``-`` for never, ``now`` for what was due from the beginning."""
    if instant is None:
        return "-"
    if instant <= 0:
        return "now"
    return f"in {span(instant - now)}" if instant >= now else f"{span(now - instant)} ago"


def cell(value: Any) -> str:
    """What stands in a table for a value of JSON. Distinguished names are written out."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(cell(one) for one in value)
    if isinstance(value, dict):
        return " ".join(f"{key}={cell(one)}" for key, one in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return printable(shown(str(value))).replace("\n", "?")


def seconds_of(text: str) -> int:
    """``1h30m``, ``45m``, ``90s``, ``1:30``; LocalError for what is no duration."""
    try:
        return duration.seconds_of(text)
    except ValueError as error:
        raise LocalError(f"duration: {error}") from None
