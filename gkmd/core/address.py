"""Addresses, and the path that a datagram took."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Path:
    """The two ends of a unicast datagram, ours first, as the socket layer knows them.

    ``marker`` says that four zero octets stand before the IKE header (RFC 3948 2.2); they are removed
    before a machine sees the datagram and put back on the way out.
    """

    local: str
    local_port: int
    remote: str
    remote_port: int
    marker: bool = False

    def __str__(self) -> str:
        return f"{self.remote}#{self.remote_port}"
