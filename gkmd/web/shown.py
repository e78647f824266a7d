"""How values are shown on pages: instants in the transmission's own time zone, money, durations."""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from collections.abc import Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from gkmd.api.rule_words import rule_words
from gkmd.core.money import Money

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """UTC for a name that means nothing here."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return zoneinfo.ZoneInfo("UTC")


def when(instant: float | None, zone: str = "UTC") -> Markup:
    """A ``time`` element: local to ``zone``, with UTC in its title."""
    if instant is None:
        return Markup('<span class="none">never</span>')
    try:
        utc = datetime.datetime.fromtimestamp(instant, datetime.UTC)
        local = utc.astimezone(zone_of(zone))
    except (OverflowError, ValueError, OSError):
        return Markup("far away")
    # A line may break between date and time, and nowhere else.
    return Markup('<time datetime="{}" title="{} UTC"><span>{}</span> <span>{}</span></time>').format(
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        local.strftime("%Y-%m-%d"),
        local.strftime("%H:%M %Z"),
    )


def period(starts: float, ends: float, zone: str) -> Markup:
    """From when to when, with the days of the week; the end's day only when it is another."""
    try:
        first, last = (datetime.datetime.fromtimestamp(one, zone_of(zone)) for one in (starts, ends))
    except (OverflowError, ValueError, OSError):
        return Markup("far away")
    end = last.strftime("%H:%M %Z" if last.date() == first.date() else "%a %Y-%m-%d %H:%M %Z")
    same = first.utcoffset() == last.utcoffset()
    begin = first.strftime("%a %Y-%m-%d %H:%M" if same else "%a %Y-%m-%d %H:%M %Z")
    return Markup('<time datetime="{}">{}</time> to <time datetime="{}">{}</time>').format(
        first.isoformat(), begin, last.isoformat(), end
    )


_KINDS: Final = {
    "open": "everybody",
    "names": "the sender's list",
    "identities": "a known identity",
    "classes": "subscription",
    "price": "payment",
    "vouchers": "voucher",
}


def ways(kinds: Sequence[str]) -> str:
    """What admission asks for, as far as receivers may know it."""
    return ", ".join(_KINDS.get(one, one) for one in kinds) or "ask the sender"


def money(amount: Any, currency: str = "") -> str:
    """Of an Amount, or of minor units and a currency; "" for None."""
    if amount is None:
        return ""
    if currency:
        return str(Money(currency, int(amount)))
    return str(Money(amount.currency, amount.amount))


def duration(seconds: float) -> str:
    """``1h30m``: what the forms read back."""
    left = int(seconds)
    parts = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def sentence(text: str) -> str:
    """With a capital letter: problems are written to stand behind a field's name as well."""
    return text[:1].upper() + text[1:]


@functools.cache
def environment(title: str, contact: str) -> Environment:
    """Templates escape everything; a name that is not there is an error, not an empty text."""
    made = Environment(
        loader=PackageLoader("gkmd.web"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        when=when, money=money, duration=duration, period=period, ways=ways, sentence=sentence
    )
    made.globals.update(title=title, contact=contact, rule=rule_words)
    return made
