"""Pages of long lists: each row has a place in the list's order, and a page says at which place it ends."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")


def page(
    rows: Iterable[tuple[str, T]], after: str, limit: int, *, newest: bool = False
) -> tuple[list[T], str]:
    """``rows``: each with its place, in any order. The first ``limit`` of those that come after the place
    ``after`` ("": from the beginning), and the place of the last of them; "" when no more follow.

    ``newest`` turns the order round.
    """
    # One more than is wanted: it says that there is another page.
    if newest:
        left = (row for row in rows if not after or row[0] < after)
        found = heapq.nlargest(limit + 1, left, key=itemgetter(0))
    else:
        left = (row for row in rows if row[0] > after)
        found = heapq.nsmallest(limit + 1, left, key=itemgetter(0))
    more = len(found) > limit
    return [row for _, row in found[:limit]], found[limit - 1][0] if more else ""


def place(instant: float, id: str) -> str:
    """By time, and among those of one instant by id."""
    return f"{instant:017.6f}:{id}"
