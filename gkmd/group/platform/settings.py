"""What the operator sets for the platform ([platform] of the configuration). Durations are seconds."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.secret import SecretBytes

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """A payment provider. ``kind`` "webhook" or "stripe"; ``secret`` verifies its calls."""

    name: str
    kind: str
    secret: SecretBytes


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """Every default works. ``pools`` are the networks that addresses are taken from; those of 232.0.0.0/8 and
    ff3x::/32 serve source-specific transmissions.
    """

    pools: tuple[Network, ...] = (
        ipaddress.ip_network("239.192.0.0/14"),
        ipaddress.ip_network("232.192.0.0/14"),
        ipaddress.ip_network("ff15:676b:6d64::/112"),
        ipaddress.ip_network("ff35::8000:0/97"),
    )
    currency: str = "EUR"
    fee_points: int = 0  # basis points of each price
    fee_fixed: int = 0  # minor units of each charge
    sign_up: bool = False
    providers: tuple[ProviderSettings, ...] = ()
    longest_ahead: float = 366 * 86_400.0  # a reservation begins at most so far ahead
    session_idle: float = 12 * 3600.0
    session_longest: float = 7 * 86_400.0
    keep_receivers: float = 90 * 86_400.0  # names of parties without an account, after the end
    keep_reservations: float = 400 * 86_400.0  # lists, tickets and vouchers, after the end
    # For the member configurations that are handed out
    server_identity: str = ""
    server_addresses: tuple[IpAddress, ...] = ()
    server_port: int = 848
    server_ca: str = ""  # PEM of the authority that vouches for the server, "" when it has none
    rekey_source: IpAddress | None = None
    rekey_interface: str = ""
    rekey_ttl: int = 16
