"""Arguments that cannot be read: they go to the daemon as they were typed, which refuses them and writes the
line of its audit log; people are told what is wrong with them by the command itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gkmd.cli import tables
from gkmd.core.errors import LocalError
from gkmd.core.money import Money

_MOST_TYPED: Final = 200


@dataclass(frozen=True, slots=True)
class Unread:
    """``typed`` is text where the request needs something else: no daemon takes it. ``why`` is for people."""

    typed: str
    why: str


def amount(text: str | None) -> Any:
    """``2.50 EUR`` as the API has it; Unread when it is no amount, such as one with a fraction too many."""
    if text is None:
        return None
    try:
        money = Money.parse(text)
    except ValueError as error:
        return Unread(text, str(error))
    return {"amount": money.amount, "currency": money.currency}


def seconds(text: str | None) -> Any:
    """Of a duration such as ``1h30m``; Unread when it is none."""
    if text is None:
        return None
    try:
        return tables.seconds_of(text)
    except LocalError as error:
        return Unread(text, str(error))


def unread_in(request: Any) -> Iterator[Unread]:
    """All that could not be read, wherever it is in a request."""
    if isinstance(request, Unread):
        yield request
    elif isinstance(request, dict | list):
        for one in request.values() if isinstance(request, dict) else request:
            yield from unread_in(one)


def as_typed(request: Any) -> Any:
    """The request with the text in place of what could not be read."""
    if isinstance(request, Unread):
        return request.typed[:_MOST_TYPED]
    if isinstance(request, dict):
        return {name: as_typed(one) for name, one in request.items()}
    return [as_typed(one) for one in request] if isinstance(request, list) else request
