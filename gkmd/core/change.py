"""The facts that the key server journals, and the changes to them. Times are Unix seconds.

A record is complete: writing it again replaces the row. Secrets are SecretBytes; the store seals them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from gkmd.core.address import IpAddress, Path
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class DataSa:
    """One Data-Security SA (a TEK): its own SPI and key; ``sender`` None when all senders share it."""

    spi: int
    sender: Identity | None
    source: IpAddress | None
    key: SecretBytes  # cipher key with salt, then integrity key
    created: float
    expires: float
    removed_at: float | None = None  # set when its Delete was announced: gone at this instant


@dataclass(frozen=True, slots=True)
class WrapKey:
    """A key encryption key of a key path (RFC 9838 3.2); ids are never used again within a group."""

    key_id: int
    key: SecretBytes


@dataclass(frozen=True, slots=True)
class RekeySa:
    """One Rekey SA (a KEK). ``key`` is GSK_e | GSK_a | GSK_w in this order (RFC 9838 2.4.1.2)."""

    spi: bytes  # 16 octets: SPIi and SPIr of every GSA_REKEY
    key: SecretBytes
    signing_key: SecretBytes | None  # Ed25519 seed, 32 octets; None under implicit authentication
    created: float
    expires: float
    next_message_id: int
    removed_at: float | None = None


@dataclass(frozen=True, slots=True)
class PendingRekey:
    """A rekey that is being repeated, bit for bit."""

    datagram: bytes
    repeats_left: int
    next_at: float
    under: bytes = b""  # SPI of the Rekey SA that protects it
    data_spis: tuple[int, ...] = ()  # what it announced first: rekeys before its last copy repeat it
    deleted_spis: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupRecord:
    name: str
    epoch: int
    data_sas: tuple[DataSa, ...]
    rekey_sas: tuple[RekeySa, ...]  # oldest first; the last is current
    next_sender_id: int
    next_key_id: int
    pending: tuple[PendingRekey, ...]
    closed: bool
    terms: str = ""  # the policy that members are bound to, as text; other terms need other SAs


@dataclass(frozen=True, slots=True)
class MemberRecord:
    group: str
    identity: Identity
    receives: bool
    sends: bool
    address: IpAddress
    sender_ids: tuple[int, ...]
    joined: float
    ike_spi: bytes  # responder SPI of the IKE SA over which it registered
    key_path: tuple[WrapKey, ...] = ()  # leaf first; empty without a key tree


@dataclass(frozen=True, slots=True)
class IkeSaRecord:
    """An established IKE SA of the key server, enough to go on after a crash with the same message ids."""

    spi_i: bytes
    spi_r: bytes
    peer: Identity
    path: Path
    established: float
    cipher: str
    integrity: str  # "" with an AEAD cipher
    prf: str
    key_wrap: str
    keys: SecretBytes  # SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr
    next_request_id: int  # of our next request
    expected_request_id: int  # of the peer's next request
    last_reply: bytes  # sealed reply to the peer's last request, sent again on its retransmission
    pending_request: bytes  # our sealed request that waits for its reply, b"" when none
    grounds: str = ""  # on which the peer was believed; "" when it was not noted


@dataclass(frozen=True, slots=True)
class PutGroup:
    record: GroupRecord


@dataclass(frozen=True, slots=True)
class DropGroup:
    """The group is no longer configured; its members have gone by changes of their own."""

    name: str


@dataclass(frozen=True, slots=True)
class PutMember:
    record: MemberRecord


@dataclass(frozen=True, slots=True)
class DropMember:
    group: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class PutIkeSa:
    record: IkeSaRecord


@dataclass(frozen=True, slots=True)
class DropIkeSa:
    spi_r: bytes


class Fact(Protocol):
    """A record of the platform (``gkmd.group.platform.records``): a frozen dataclass."""

    KIND: ClassVar[str]

    @property
    def key(self) -> str:
        """Unique within its kind; facts of a kind are read in the order of their keys."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write a fact; one with the same kind and key is replaced."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Drop:
    kind: str
    key: str


Change: TypeAlias = PutGroup | DropGroup | PutMember | DropMember | PutIkeSa | DropIkeSa | Put | Drop


@dataclass(frozen=True, slots=True)
class Journalled:
    """Everything that the journal holds, as read at start; of the facts those that are kept in memory."""

    groups: tuple[GroupRecord, ...] = ()
    members: tuple[MemberRecord, ...] = ()
    ike_sas: tuple[IkeSaRecord, ...] = ()
    facts: tuple[Fact, ...] = ()
