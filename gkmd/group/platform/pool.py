"""Group addresses: which may be reserved, which are taken when, and one that is free."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable
from typing import Final

from gkmd.core.address import IpAddress
from gkmd.core.rng import Rng
from gkmd.group.platform import schedule
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import Reservation
from gkmd.group.platform.settings import Network

GUARD: Final = 60.0  # seconds after an end in which members may still hold its SAs
_TRIES: Final = 64  # at random, before every address is looked at
_LOCAL_CONTROL: Final = ipaddress.ip_network("224.0.0.0/24")  # RFC 5771: never forwarded
_SSM_4: Final = ipaddress.ip_network("232.0.0.0/8")  # RFC 4607
_LOCAL_SCOPES: Final = (0, 1, 2)  # RFC 4291 2.7: reserved, interface-local, link-local
_GLOBAL_SCOPE: Final = 0xE


def is_source_specific(address: IpAddress) -> bool:
    """232.0.0.0/8 and ff3x::/32 (RFC 4607)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address in _SSM_4
    octets = address.packed
    return octets[0] == 0xFF and octets[1] >> 4 == 3 and octets[2:4] == b"\0\0"


def wrong_with(address: IpAddress) -> str:
    """Why no transmission can have this address; "" when it can."""
    if not address.is_multicast:
        return f"{address} is no multicast address"
    if isinstance(address, ipaddress.IPv4Address):
        if address in _LOCAL_CONTROL:
            return f"{address} is of 224.0.0.0/24, which routers do not forward"
    elif not _LOCAL_SCOPES[-1] < address.packed[1] & 0xF <= _GLOBAL_SCOPE:
        return f"{address} is of a scope that does not leave the link, or of a reserved one"
    return ""


class Pool:
    """Addresses by network and time. ``configured`` gives the addresses of groups of the configuration."""

    __slots__ = ("_configured", "_facts", "_networks", "_rng", "_taken")

    def __init__(
        self,
        facts: Facts,
        networks: Iterable[Network],
        configured: Callable[[], Collection[IpAddress]],
        rng: Rng,
    ) -> None:
        self._facts: Final = facts
        self._networks = tuple(networks)
        self._configured: Final = configured
        self._rng: Final = rng
        self._taken: Final = facts.index(Reservation, _address_of)

    def adopt(self, networks: Iterable[Network]) -> None:
        """Addresses are taken from these from now on; what is taken stays."""
        self._networks = tuple(networks)

    def conflict(
        self,
        address: IpAddress,
        sources: Collection[IpAddress],
        opens: float,
        ends: float,
        but: str = "",
        from_pool: bool = False,
    ) -> str:
        """What else has this address in this time, for the sender to read; "" when nothing has.

        Two source-specific transmissions share an address if no source sends both and neither has it
        ``from_pool``. ``but`` is the id of the reservation that asks. Whose the other one is, is not said.
        """
        if address in self._configured():
            return f"{address} belongs to a group of the operator"
        for key, other in self._taken.find(address).items():
            if key == but or not _overlap(other, opens, ends):
                continue
            shared = sources and other.sources and not from_pool and not other.from_pool
            if not shared or not set(sources).isdisjoint(other.sources):
                return f"{address} is taken in this time by another transmission"
        return ""

    def take(self, version: int, source_specific: bool, opens: float, ends: float) -> IpAddress | None:
        """A free address that nobody else has in this time, whatever its sources; None when there is none.

        Addresses are taken from all over the pool, so that one is seldom used again soon.
        """
        networks = [
            network
            for network in self._networks
            if network.version == version and is_source_specific(network.network_address) == source_specific
        ]
        size = sum(network.num_addresses for network in networks)
        if not size:
            return None
        for _ in range(_TRIES):
            start = int.from_bytes(self._rng(16), "big") % size
            address = _at(networks, start)
            if self._is_free(address, opens, ends):
                return address
        # Among more addresses than are taken or cannot be used at all there is a free one.
        busy = self._facts.count(Reservation) + len(self._configured()) + _LOCAL_CONTROL.num_addresses
        for step in range(min(size, busy + 1)):
            address = _at(networks, (start + step) % size)
            if self._is_free(address, opens, ends):
                return address
        return None

    def _is_free(self, address: IpAddress, opens: float, ends: float) -> bool:
        return not wrong_with(address) and not self.conflict(address, (), opens, ends)


def _address_of(reservation: Reservation) -> IpAddress | None:
    """None for one that was cancelled before it opened: it never had its address."""
    return reservation.address if schedule.ends(reservation) > schedule.opens(reservation) else None


def _overlap(other: Reservation, opens: float, ends: float) -> bool:
    its_opening, its_end = schedule.opens(other), schedule.ends(other)
    return opens < its_end + GUARD and its_opening < ends + GUARD


def _at(networks: Iterable[Network], place: int) -> IpAddress:
    for network in networks:
        if place < network.num_addresses:
            return network[place]
        place -= network.num_addresses
    raise IndexError(place)
