"""Parsers of configuration values. Each takes what TOML gave and raises Unexpected with what it expected."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from gkmd.core.address import IpAddress
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.daemon.section import Unexpected

T = TypeVar("T")

PROTOCOLS: Final = {"udp": 17, "any": 0}

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unexpected("a string")
    return value


def name(value: Any) -> str:
    """A name that people type in commands."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise Unexpected("a name of 1 to 63 letters, digits, '.', '_' and '-'")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unexpected("true or false")
    return value


def integer(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Unexpected(f"a whole number from {low} to {high}")
        return value

    return parse


port = integer(1, 65_535)
port_or_any = integer(0, 65_535)


def duration(low: float, high: float) -> Callable[[Any], float]:
    """Seconds: a number, or a string such as "90s", "15m", "1h30m", "7d"."""

    def parse(value: Any) -> float:
        seconds = _seconds(value)
        if seconds is None or not low <= seconds <= high:
            limits = f"from {_spoken(low)} to {_spoken(high)}"
            raise Unexpected(f'a duration {limits}: seconds, or a string such as "90s", "15m", "1h30m"')
        return seconds

    return parse


def whole_seconds(low: int, high: int) -> Callable[[Any], int]:
    """As ``duration``, for what the wire carries in whole seconds."""
    parse_duration = duration(low, high)

    def parse(value: Any) -> int:
        seconds = parse_duration(value)
        if seconds != int(seconds):
            raise Unexpected("a whole number of seconds")
        return int(seconds)

    return parse


def _seconds(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or not re.fullmatch(r"(?:\d+(?:\.\d+)?[smhd])+", value):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))


def _spoken(seconds: float) -> str:
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def identity(value: Any) -> Identity:
    if not isinstance(value, str):
        raise Unexpected('an identity such as "fqdn:rx1.example"')
    try:
        return Identity.parse(value)
    except ValueError as error:
        raise Unexpected(f'an identity such as "fqdn:rx1.example" ({error})') from None


def pattern(value: Any) -> IdentityPattern:
    if not isinstance(value, str):
        raise Unexpected('an identity, "fqdn:*.example", "email:*@example" or "any"')
    try:
        return IdentityPattern.parse(value)
    except ValueError as error:
        raise Unexpected(f'an identity, "fqdn:*.example", "email:*@example" or "any" ({error})') from None


def address(value: Any) -> IpAddress:
    """``fe80::1%eth0``, too."""
    try:
        found = ipaddress.ip_address(text(value))
    except ValueError:
        raise Unexpected("an IPv4 or IPv6 address") from None
    scope = scope_of(found)
    if scope and not re.fullmatch(r"[A-Za-z0-9._-]{1,15}", scope):
        raise Unexpected("an IPv4 or IPv6 address, after its % the name of an interface")
    return found


def scope_of(address: IpAddress) -> str:
    """The interface of an IPv6 address, "" without one."""
    return getattr(address, "scope_id", None) or ""


def optional_address(value: Any) -> IpAddress | None:
    """An empty string leaves the choice open."""
    return None if value == "" else address(value)


def multicast(value: Any) -> IpAddress:
    try:
        found = address(value)
    except Unexpected:
        found = ipaddress.IPv4Address(0)
    if not found.is_multicast or scope_of(found):
        # The kernel's policies know no scope: with one, the same address would count as another.
        raise Unexpected("a multicast address (224.0.0.0/4 or ff00::/8)")
    return found


def optional_multicast(value: Any) -> IpAddress | None:
    """An empty string names none."""
    return None if value == "" else multicast(value)


def network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text(value))
    except ValueError:
        raise Unexpected('a network such as "239.1.0.0/16", or an address') from None


def endpoint(value: Any) -> tuple[str, int]:
    """``ADDRESS:PORT`` with ``[...]`` around IPv6; port 0 lets the system choose."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([0-9.]+)):(\d{1,5})", value) if value else None
    try:
        if found is None or int(found[3]) > 65_535:
            raise ValueError
        host = found[1] or found[2]
        ipaddress.ip_address(host.partition("%")[0])
        return host, int(found[3])
    except ValueError:
        raise Unexpected('ADDRESS:PORT, such as "192.0.2.1:848" or "[2001:db8::1]:848"') from None


def choice(options: Mapping[str, T]) -> Callable[[Any], T]:
    def parse(value: Any) -> T:
        if not isinstance(value, str) or value not in options:
            raise Unexpected(f"one of {', '.join(options)}")
        return options[value]

    return parse


def optional_choice(options: Mapping[str, T]) -> Callable[[Any], T | None]:
    """An empty string is none of them."""
    parse_choice = choice(options)
    return lambda value: None if value == "" else parse_choice(value)


def list_of(parse_one: Callable[[Any], T], least: int = 0) -> Callable[[Any], tuple[T, ...]]:
    def parse(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Unexpected("a list [...]")
        if len(value) < least:
            raise Unexpected(f"a list of at least {least}")
        found = []
        for number, one in enumerate(value, 1):
            try:
                found.append(parse_one(one))
            except Unexpected as error:
                raise Unexpected(f"entry {number} to be {error}") from None
        return tuple(found)

    return parse


def instant(value: Any) -> float | None:
    """A TOML date-time with its offset, as Unix seconds; an empty string is no instant."""
    if value == "":
        return None
    if not isinstance(value, datetime.datetime) or value.tzinfo is None:
        raise Unexpected("a date and time with offset, such as 2026-12-24T18:00:00Z")
    return value.timestamp()


def file_mode(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0[0-7]{3}", value):
        raise Unexpected('an octal file mode such as "0660"')
    mode = int(value, 8)
    if mode & 0o007:
        raise Unexpected('a file mode without access for others, such as "0660"')
    return mode
