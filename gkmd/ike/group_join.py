"""What a member brings to a group: its wish to join, what it accepts, and how patient it is.

A GroupJoin is also the member's entry of the Group Peer Authorization Database for this group
(RFC 5374 4.1.3.4): data flows outside of it are refused whatever the key server says.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import (
    CIPHERS,
    INTEGRITIES,
    KEY_WRAPS,
    Cipher,
    Integrity,
    KeyWrap,
    RekeyAuth,
)
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.ike.grant import Flow

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_CONTROL: Final = ipaddress.IPv4Network("224.0.0.0/24")
_LINK_LOCAL_SCOPE: Final = 2
_SSM: Final = ipaddress.IPv4Network("232.0.0.0/8")


@dataclass(frozen=True, slots=True)
class GroupOffer:
    """The algorithms that a member accepts from a key server; policy is given, not negotiated (RFC 9838
    2.3.3).

    Implicit authentication of rekeys lets every member of the group pose as the key server
    (RFC 9838 8.2.1: not recommended), so it has to be asked for.
    """

    ciphers: tuple[Cipher, ...] = CIPHERS
    integrities: tuple[Integrity, ...] = INTEGRITIES
    rekey_ciphers: tuple[Cipher, ...] = CIPHERS
    rekey_integrities: tuple[Integrity, ...] = INTEGRITIES
    key_wraps: tuple[KeyWrap, ...] = KEY_WRAPS
    rekey_auths: tuple[RekeyAuth, ...] = (RekeyAuth.SIGNATURE,)


@dataclass(frozen=True, slots=True)
class GroupJoin:
    """One group that this member wants.

    ``source`` is the address that it sends data from; None takes the local address of the IKE SA.
    ``sender_ids`` is how many Sender-IDs it asks for (RFC 9838 2.5.1; 0 and 1 both bring one).
    ``replay_window`` (packets) goes to SAs with one sender; SAs that senders share have none.
    The three allow-lists are the GPAD's: an empty one allows any source, or any multicast destination except,
    for data, those that a link's own protocols use. ``flow`` is traffic that is closed before a registration,
    too (``closing.py``); what a key server grants need not be the same. ``evidence``: a voucher, a price that
    the receiver agrees to; a key server gets it when it has proved itself.
    """

    name: str
    group_id: Identity
    receives: bool
    sends: bool
    interface: str
    source: IpAddress | None = None
    sender_ids: int = 1
    replay_window: int = 64
    offer: GroupOffer = GroupOffer()
    data_addresses: tuple[IpNetwork, ...] = ()
    data_sources: tuple[IpNetwork, ...] = ()
    rekey_addresses: tuple[IpNetwork, ...] = ()
    flow: Flow | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Our own times (seconds), none of them from a standard.

    ``exclusion_spread``: a member that was excluded comes back after a random time below this (RFC 9838 2.4.3
    recommends "the order of seconds"). ``closed_retry``: after the end of a group it asks again this late,
    and up to twice this late; None: never. ``soft_margin``: an SA that is unreplaced this long before its
    end, or within the deactivation delay of it if that is longer, calls for a registration, at a random
    instant of the first half of that time. ``registration_pause``: no such call sooner than this after a
    registration. ``kernel_margin``: the kernel removes an SA by itself this long after we should have.
    """

    exclusion_spread: float = 5.0
    closed_retry: float | None = 300.0
    soft_margin: float = 2.0
    registration_pause: float = 10.0
    kernel_margin: float = 10.0
    unlimited_lifetime: float = 30 * 86400.0  # an SA without a lifetime of its own (inband rekeys)


def allowed(address: IpAddress, networks: tuple[IpNetwork, ...]) -> bool:
    """Whether an address lies in one of the networks, or there are none."""
    return not networks or any(
        address in network for network in networks if network.version == address.version
    )


def link_control(address: IpAddress) -> bool:
    """Whether a link's own protocols speak to this multicast address (RFC 5771 4, RFC 4291 2.7).

    Routing and neighbour discovery stop when such traffic has to be ESP.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address in _CONTROL
    return address.packed[1] & 0x0F <= _LINK_LOCAL_SCOPE


def source_specific(address: IpAddress) -> bool:
    """Whether only an (S,G) join makes sense for this destination (RFC 4607 1: 232/8 and ff3x::/32)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address in _SSM
    first, second, *plen = address.packed[:4]
    return first == 0xFF and second >> 4 == 3 and not any(plen)
