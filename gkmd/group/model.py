"""The neutral nouns of a group: its policy, the view that a member is given, the orders to rekey.

Nothing here knows a wire format. Lifetimes, delays and intervals are seconds, instants Unix seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import AES_GCM_16_256, KW_5649_256, Cipher, Integrity, KeyWrap, RekeyAuth
from gkmd.core.change import Change, DataSa, RekeySa
from gkmd.core.esp import Mode
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.money import Money
from gkmd.core.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class SenderRule:
    """Who may send; ``source`` fixes the address that it sends from, None takes that of its registration."""

    who: IdentityPattern
    source: IpAddress | None = None


@dataclass(frozen=True, slots=True)
class SuppliedSa:
    """A data SA that the sender brings along: gkmd delivers it and does not replace it.

    ``key`` is the cipher key with its salt, then the integrity key. It serves ``lifetime`` seconds from the
    opening of the group, and the group's end deletes it; after its lifetime nothing passes. With a counter
    mode cipher one sender alone may use it (RFC 6054).
    """

    spi: int
    key: SecretBytes
    lifetime: float


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """What the operator or a reservation decides about a group; it does not change by itself.

    The defaults are those of the configuration.
    """

    name: str
    group_id: Identity
    address: IpAddress  # destination of the data
    rekey_address: IpAddress
    protocol: int = 17  # 17 UDP, 0 any
    port: int = 0  # destination port of the data, 0 any
    rekey_port: int = 848
    rekey_source: IpAddress | None = None  # the server's address on rekeys; None: any source is announced
    rekey_interface: str = ""  # interface that rekeys leave by; "" leaves it to the host's routes
    rekey_ttl: int = 16
    senders: tuple[SenderRule, ...] = ()
    receivers: tuple[IdentityPattern, ...] = ()
    mode: Mode = Mode.TRANSPORT
    cipher: Cipher = AES_GCM_16_256
    integrity: Integrity | None = None
    rekey_cipher: Cipher = AES_GCM_16_256
    rekey_integrity: Integrity | None = None
    key_wrap: KeyWrap = KW_5649_256
    rekey_auth: RekeyAuth = RekeyAuth.SIGNATURE
    tek_lifetime: float = 3600.0
    kek_lifetime: float = 14400.0
    activation_delay: int = 3  # ATD
    deactivation_delay: int = 6  # DTD
    rekey_repeats: int = 2  # copies after the first
    rekey_interval: float = 1.0  # between copies
    sender_id_bits: int = 16  # GWP_SENDER_ID_BITS for counter mode ciphers
    capacity: int = 0  # most members at once, 0 unlimited
    starts: float | None = None
    ends: float | None = None
    most_sender_ids: int = 8  # Sender-IDs that one registration gets at most (RFC 9838 2.5.1)
    supplied: SuppliedSa | None = None

    @property
    def shared_sa(self) -> bool:
        """All senders share one SA; never with a counter mode cipher, whose IVs would meet (RFC 6054)."""
        return not self.cipher.aead


class Refusal(enum.Enum):
    """Why a group does not take a member; the wire decides which notify says it."""

    UNKNOWN_GROUP = "unknown-group"
    NOT_AUTHORIZED = "not-authorized"
    NOT_YET_OPEN = "not-yet-open"
    CLOSED = "closed"
    FULL = "full"
    SENDER_IDS_EXHAUSTED = "sender-ids-exhausted"
    TOO_OFTEN = "too-often"  # a sender that registers again and again: each time costs all members a rekey
    ADDRESS_TAKEN = "address-taken"  # another sender sends from it: its SA is told by its address alone
    # Of reserved transmissions
    NOT_ON_LIST = "not-on-list"
    PAYMENT_REQUIRED = "payment-required"  # nothing to pay from, or less than the price
    PRICE_TOO_HIGH = "price-too-high"  # above what the receiver agreed to pay
    VOUCHER_INVALID = "voucher-invalid"
    WRONG_PASSWORD = "wrong-password"
    LOCKED_OUT = "locked-out"  # too many wrong passwords
    BUSY = "busy"  # as many passwords are being checked as may be
    REVOKED = "revoked"
    CANCELLED = "cancelled"


class Refused(Exception):
    """A join is refused; nothing has changed."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value}{': ' + detail if detail else ''}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to an Ask. With ``refusal`` None the member is admitted with these roles."""

    refusal: Refusal | None
    receives: bool = False
    sends: bool = False
    detail: str = ""
    come_back: float | None = None  # with a refusal: the instant from which on it may be different
    price: Money | None = None  # with a refusal: what it would cost; else what is charged by ``admitted``
    entitlement: object = None  # the doorkeeper's own note to its ``admitted``
    hidden: bool = False  # with a refusal: who asks should not even learn that there is such a group


def gone_at(sa: DataSa | RekeySa) -> float:
    """The instant at which an SA is no longer valid: its expiry, or the end of its deactivation delay if
    earlier.
    """
    return sa.expires if sa.removed_at is None else min(sa.expires, sa.removed_at)


@dataclass(frozen=True, slots=True)
class GroupView:
    """All that one member is told at registration, as of ``now``."""

    policy: GroupPolicy
    now: float
    data_sas: tuple[DataSa, ...]  # every live one; for a sender its own (newest last) among them; see gone_at
    rekey_sa: RekeySa
    sender_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RekeyOrder:
    """One new GSA_REKEY (or GROUPKEY-PUSH) to be made, protected by ``under`` with ``message_id``."""

    policy: GroupPolicy
    now: float
    reason: str
    under: RekeySa
    message_id: int
    new_rekey_sa: RekeySa | None
    data_sas: tuple[DataSa, ...]  # new, or announced so shortly before that a member may have missed it
    deleted_spis: tuple[int, ...]  # Data-Security SAs that go after the deactivation delay; likewise
    close: bool = False  # the whole group ends: every SA goes at once
    exclude: bool = False  # with ``close``: but members may register again at once (RFC 9838 2.4.3)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A stored rekey datagram goes out once more, bit for bit."""

    policy: GroupPolicy
    datagram: bytes
    changes: tuple[Change, ...] = ()  # journalled before it goes out: an earlier write may have failed


Duty: TypeAlias = RekeyOrder | Repeat


@dataclass(frozen=True, slots=True)
class Joined:
    view: GroupView
    changes: tuple[Change, ...]
    orders: tuple[RekeyOrder, ...]  # sent before the reply, so that receivers know a new sender's SA first


@dataclass(frozen=True, slots=True)
class Left:
    changes: tuple[Change, ...]
    orders: tuple[RekeyOrder, ...]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """One line about a group for the control socket."""

    policy: GroupPolicy
    epoch: int
    opened: bool
    closed: bool
    members: int
    senders: int
    data_sas: int
    next_rekey: float | None
    receivers: int = 0
    peak: int = 0  # most receivers at once since the server started


@dataclass(frozen=True, slots=True)
class SasOfGroup:
    """The live SAs of a group for the control socket."""

    data_sas: tuple[DataSa, ...]
    rekey_sas: tuple[RekeySa, ...]
