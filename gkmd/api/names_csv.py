"""A list of names as CSV (RFC 4180): ``name`` or ``name,password`` a line, with or without a heading.

A list with one broken line is refused as a whole, each broken line by its number. A password may be an
argon2id string already (``$argon2id$...``); a name without one is admitted by whoever proves to be it.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

MOST_NAMES: Final = 200_000
MOST_PROBLEMS: Final = 100  # told; the others are counted
_LONGEST_NAME: Final = 200
_LONGEST_PASSWORD: Final = 256
_HEADING: Final = ("name", "password")
_LONGEST_LINE: Final = 2000


@dataclass(slots=True)
class ParsedNames:
    """``names``: (name, password or ""). With any ``problems`` (line, text) nothing is to be imported."""

    names: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    more_problems: int = 0

    def problem(self, line: int, text: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append((line, text))
        else:
            self.more_problems += 1


def fold(name: str) -> str:
    """The form in which names compare: NFKC, without case, without spaces around."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def parse_names(lines: Iterable[str]) -> ParsedNames:
    """Read a list; ``lines`` as from an open file (``newline=""``). Problems are collected, not raised."""
    parsed = ParsedNames()
    seen: dict[str, int] = {}
    rows = csv.reader(_bounded(lines, parsed), strict=True)
    heading = True
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            parsed.problem(rows.line_num, f"this is no CSV: {error}")
            continue
        cells = [cell.strip() if place == 0 else cell for place, cell in enumerate(row)]
        if not any(cells):
            continue
        if heading and cells[0].casefold() in ("name", "login", "user") and len(cells) <= len(_HEADING):
            heading = False
            continue
        heading = False
        if len(parsed.names) >= MOST_NAMES:
            parsed.problem(rows.line_num, f"a list has at most {MOST_NAMES} names")
            break
        fault = _fault(cells, seen)
        if fault:
            parsed.problem(rows.line_num, fault)
            continue
        seen[fold(cells[0])] = rows.line_num
        parsed.names.append((cells[0], cells[1] if len(cells) > 1 else ""))
    if not parsed.names and not parsed.problems:
        parsed.problem(1, "the list is empty")
    return parsed


def _bounded(lines: Iterable[str], parsed: ParsedNames) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix("\ufeff")  # as spreadsheets write it
        if len(line) > _LONGEST_LINE:
            parsed.problem(number, f"{len(line)} characters; a line has at most {_LONGEST_LINE}")
            line = "\n"  # the numbers of the lines after it stay right
        yield line.replace("\0", "\ufffd")


def _fault(cells: list[str], seen: dict[str, int]) -> str:
    name = cells[0]
    if len(cells) > len(_HEADING):
        hint = ""
        if any(cell.startswith("$argon2") for cell in cells):
            hint = ': a password with commas, as argon2id strings have, needs quotes: name,"$argon2id$..."'
        return f"{len(cells)} columns; name and password are expected{hint}"
    if not name:
        return "the name is missing"
    if len(name) > _LONGEST_NAME:
        return f"a name of {len(name)} characters; at most {_LONGEST_NAME}"
    if not name.isprintable() or "/" in name or "\ufffd" in name:
        return "the name has a slash or a character that cannot be printed"
    if name.casefold().startswith("t-"):
        return f"{name!r} begins like the number of a ticket (t-)"
    if len(cells) > 1 and len(cells[1]) > _LONGEST_PASSWORD:
        return f"a password of {len(cells[1])} characters; at most {_LONGEST_PASSWORD}"
    earlier = seen.get(fold(name))
    if earlier is not None:
        return f"{name!r} is on line {earlier}, too"
    return ""
