"""How many requests each client address may make: token buckets in a table of bounded size."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

_ADDRESSES: Final = 20_000


class Rates:
    """``rate`` requests a second and a ``burst`` for each address; an IPv6 client is its /64."""

    def __init__(self, rate: float, burst: float, addresses: int = _ADDRESSES) -> None:
        self._rate = rate
        self._burst = burst
        self._most = addresses
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, at

    def wait(self, address: str, now: float) -> float:
        """0.0 when the request may go on, else the seconds until the next one may. ``now`` never falls."""
        key = bucket_of(address)
        left, at = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        allowed = left >= 1.0
        self._buckets[key] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._rate

    def __len__(self) -> int:
        return len(self._buckets)


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A client's address; that of an IPv4 client of an IPv6 socket is the IPv4 one. None for what is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return found if mapped is None else mapped


def bucket_of(address: str) -> str:
    """What is counted as one client."""
    found = address_of(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address if found is None else str(found)
