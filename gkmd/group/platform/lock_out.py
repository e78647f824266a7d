"""Wrong passwords, by name and by address: who fails often waits, longer each time, never for ever.

Names that do not exist are treated like those that do. In memory only: a restart forgives.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

FREE_BY_NAME: Final = 5  # failures before the first wait
FREE_BY_ORIGIN: Final = 20  # several people may share an address
LONGEST_WAIT: Final = 300.0  # seconds
FORGIVEN: Final = 3600.0  # seconds without a failure after which all are forgotten
_REMEMBERED: Final = 20_000
_PLACES: Final = 16  # of one name: who has a network of addresses takes no room from others


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0


class LockOut:
    """Ask ``refusal`` first, note ``failed`` before the password is compared, so that many attempts at once
    are counted, too, and ``succeeded`` when it was right, which takes that back.

    Where somebody has signed in from before, only failures from there count: others who try the same name
    from elsewhere cannot keep its owner out.
    """

    __slots__ = ("_failures", "_known")

    def __init__(self) -> None:
        self._failures: dict[Hashable, _Failures] = {}  # oldest first
        self._known: dict[str, dict[str, None]] = {}  # origins by name, oldest first

    def __len__(self) -> int:
        return len(self._failures)

    def refusal(self, name: str, origin: str, now: float) -> float | None:
        """When this name may be tried again from this address; None: now."""
        origin = network(origin)
        waits = [self._until(key, free, now) for key, free in self._keys(name, origin)]
        until = max(waits)
        return until if until > now else None

    def failed(self, name: str, origin: str, now: float) -> None:
        for key, _ in self._keys(name, network(origin)):
            failures = self._failures.pop(key, None) or _Failures()
            if failures.last + FORGIVEN <= now:
                failures.count = 0
            failures.count += 1
            failures.last = now
            self._failures[key] = failures
            if len(self._failures) > _REMEMBERED:
                del self._failures[next(iter(self._failures))]

    def forgiven(self, name: str, origin: str) -> None:
        """One failure was none: the password was right, but something else is asked for yet."""
        for key, _ in self._keys(name, network(origin)):
            self._take_back(key)

    def succeeded(self, name: str, origin: str) -> None:
        """The name's failures are forgotten. Of the address only one is: who has an account of his own could
        otherwise go on for ever with those of others.
        """
        origin = network(origin)
        (mine, _), *shared = self._keys(name, origin)
        self._failures.pop(mine, None)
        self._failures.pop(("name", name), None)
        for key, _ in shared:
            self._take_back(key)
        if origin:
            places = self._known.pop(name, {})
            places.pop(origin, None)
            self._known[name] = {**places, origin: None}
            if len(places) >= _PLACES:
                del self._known[name][next(iter(places))]
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]

    def forget(self, name: str) -> None:
        """The name has another password, or is no more: nobody has signed in with it from anywhere."""
        self._known.pop(name, None)

    def _keys(self, name: str, origin: str) -> tuple[tuple[Hashable, int], ...]:
        mine: Hashable = ("pair", name, origin) if origin in self._known.get(name, ()) else ("name", name)
        keys: tuple[tuple[Hashable, int], ...] = ((mine, FREE_BY_NAME),)
        if origin:
            keys += ((("origin", origin), FREE_BY_ORIGIN),)
        return keys

    def _until(self, key: Hashable, free: int, now: float) -> float:
        failures = self._failures.get(key)
        if failures is None or failures.count < free or failures.last + FORGIVEN <= now:
            return now
        failures.last = min(failures.last, now)  # a clock that went back must not lock out until it is back
        # The exponent is bounded: a count may be large, a wait is not.
        return failures.last + min(LONGEST_WAIT, 2.0 ** min(failures.count - free, 16))

    def _take_back(self, key: Hashable) -> None:
        failures = self._failures.get(key)
        if failures is not None:
            failures.count -= 1
            if failures.count <= 0:
                del self._failures[key]


def network(origin: str) -> str:
    """What counts as one address: a /64 of IPv6, which one subscriber has the whole of."""
    try:
        address = ipaddress.ip_address(origin)
    except ValueError:
        return origin[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
