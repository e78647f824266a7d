"""What a key server has granted, read and checked: typed policies with their keys, free of wire formats.

Lifetimes are seconds from the moment of receipt; None means that no multicast rekey is employed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import Cipher, Integrity, KeyWrap, RekeyAuth
from gkmd.core.change import WrapKey
from gkmd.core.esp import Mode
from gkmd.core.secret import SecretBytes

Flow: TypeAlias = tuple[IpAddress, int, int]
"""Destination address, protocol (0 any), destination port (0 any) of data."""


@dataclass(frozen=True, slots=True)
class DataGrant:
    """One Data-Security SA (a TEK). ``shared``: several senders, sequence numbers say nothing (SN 2)."""

    spi: int
    source: IpAddress | None
    destination: IpAddress
    protocol: int
    port: int
    mode: Mode
    cipher: Cipher
    integrity: Integrity | None
    shared: bool
    key: SecretBytes
    lifetime: float | None

    @property
    def flow(self) -> Flow:
        return self.destination, self.protocol, self.port


@dataclass(frozen=True, slots=True)
class RekeyGrant:
    """One Rekey SA (a KEK). ``key`` is GSK_e | GSK_a | GSK_w; ``source`` None is any."""

    spi: bytes
    source: IpAddress | None
    address: IpAddress
    port: int
    cipher: Cipher
    integrity: Integrity | None
    key_wrap: KeyWrap
    key: SecretBytes
    lifetime: float
    first_message_id: int


@dataclass(frozen=True, slots=True)
class RekeyAuthentication:
    """How the key server proves itself in GSA_REKEY: fixed at registration (RFC 9838 4.4.2.1.1).

    Under SIGNATURE ``algorithm`` is a DER AlgorithmIdentifier and ``public_key`` a DER SubjectPublicKeyInfo;
    else b"".
    """

    method: RekeyAuth
    algorithm: bytes = b""
    public_key: bytes = b""


@dataclass(frozen=True, slots=True)
class Delays:
    """GWP_ATD and GWP_DTD, seconds (RFC 9838 4.4.3.1.1)."""

    activation: int = 0
    deactivation: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """A successful registration; it replaces all that the member knew of the group (RFC 9838 2.3.3)."""

    data: tuple[DataGrant, ...]
    rekey: RekeyGrant | None
    authentication: RekeyAuthentication | None
    delays: Delays
    sender_id_bits: int | None
    sender_ids: tuple[int, ...]
    key_path: tuple[WrapKey, ...]


@dataclass(frozen=True, slots=True)
class Deletion:
    """What the Delete payloads of one message end."""

    data_spis: tuple[int, ...] = ()
    all_data: bool = False
    rekey_spis: tuple[bytes, ...] = ()
    excluded: bool = False  # GIKE_UPDATE with a zero SPI: re-register or be gone (RFC 9838 2.4.3)
    closed: bool = False  # protocol 0: the whole Group SA (RFC 9838 4.6)


@dataclass(frozen=True, slots=True)
class Update:
    """An authentic rekey, multicast or inband. ``delays`` None: those known stay in force.

    ``unreachable``: no key path leads to the new Rekey SA's key; the member is excluded (RFC 9838 3.3).
    """

    data: tuple[DataGrant, ...] = ()
    rekey: RekeyGrant | None = None
    unreachable: bool = False
    auth_key: bytes = b""  # a new public key for the rekeys that follow
    delays: Delays | None = None
    deletion: Deletion = Deletion()
    key_path: tuple[WrapKey, ...] = ()  # the working key path from now on
