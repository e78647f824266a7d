"""Traffic selectors of group SA policies (RFC 9838 4.4.2, RFC 7296 3.13.1): two bare substructures, no TS
payload.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from gkmd.core.address import IpAddress
from wire.ikev2 import TrafficSelector
from wire.registry import TsType

UDP: Final = 17
_LAST_PORT: Final = 65535
_OCTETS: Final = {TsType.IPV4_ADDR_RANGE: 4, TsType.IPV6_ADDR_RANGE: 16}


@dataclass(frozen=True, slots=True)
class Selection:
    """One end of a flow: an address (None: any), a protocol (0: any), a port (0: any)."""

    version: int
    address: IpAddress | None
    protocol: int
    port: int


def build_selector(version: int, address: IpAddress | None, protocol: int, port: int) -> TrafficSelector:
    """A selector for one address or for all of an IP version, one port or all."""
    octets = 4 if version == 4 else 16
    first, last = (address.packed, address.packed) if address else (bytes(octets), b"\xff" * octets)
    kind = TsType.IPV4_ADDR_RANGE if version == 4 else TsType.IPV6_ADDR_RANGE
    return TrafficSelector(kind, protocol, port, port or _LAST_PORT, first, last)


def read_selector(selector: TrafficSelector) -> Selection:
    """What the selector says; ValueError when it is a range that an ESP policy of ours cannot express."""
    octets = _OCTETS.get(TsType(selector.type)) if selector.type in _OCTETS else None
    if octets is None or len(selector.start) != octets or len(selector.end) != octets:
        raise ValueError(f"traffic selector type {selector.type} is not an address range")
    address: IpAddress | None
    if selector.start == selector.end:
        address = ipaddress.ip_address(selector.start)
    elif not any(selector.start) and selector.end == b"\xff" * octets:
        address = None
    else:
        raise ValueError("a traffic selector covers neither one address nor all")
    if (selector.start_port, selector.end_port) == (0, _LAST_PORT):
        port = 0
    elif selector.start_port == selector.end_port and selector.protocol:
        # Port 0 alone, or OPAQUE (65535 to 0), is no port that a policy could name.
        port = selector.start_port
        if port == 0:
            raise ValueError("a traffic selector names port 0")
    else:
        raise ValueError("a traffic selector covers neither one port nor all")
    return Selection(4 if octets == 4 else 6, address, selector.protocol, port)
