"""What the platform journals. Each record is complete; writing it again replaces it. Times are Unix seconds.

Records name people by ids that say nothing (``a-...`` an account, ``p-...`` a party without one): who forgets
the account or the party has forgotten the person, and ledger and audit stay whole. Secrets are SecretBytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gkmd.core.address import IpAddress
from gkmd.core.secret import SecretBytes

SEPARATOR = "/"  # between the parts of a key; no id and no name holds it


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential: its id and public key (COSE) as they came, and the last counter seen."""

    id: bytes
    public_key: bytes
    counter: int
    name: str
    created: float


@dataclass(frozen=True, slots=True)
class Account:
    """A sender, receiver or operator who signs in. ``password`` is an argon2id string, empty: none."""

    KIND: ClassVar[str] = "account"

    id: str
    login: str
    name: str
    roles: tuple[str, ...]  # of "receiver", "sender", "operator"
    classes: tuple[str, ...]  # of transmission, pre-approved
    confirmed: bool  # an operator vouches for the login; False for who signed up without one
    disabled: bool
    password: SecretBytes
    totp: SecretBytes | None
    totp_step: int  # last time step used: a code is good once
    passkeys: tuple[Passkey, ...]
    credit_limit: int  # minor units that may be owed by invoice, in ``credit_currency``
    credit_currency: str
    created: float

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser; ``digest`` of its random token, in hex."""

    KIND: ClassVar[str] = "session"

    digest: str
    account: str
    via: str  # "password", "password+totp", "passkey"
    created: float
    used: float
    expires: float

    @property
    def key(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class ApiToken:
    KIND: ClassVar[str] = "token"

    id: str
    digest: str
    account: str
    name: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class OnceWord:
    """A word by which a caller makes sure that a request is carried out once: what came of it."""

    KIND: ClassVar[str] = "once"

    key: str  # hex: digest of who asked, operation and word
    actor: str
    request: str  # hex: digest of the request
    subject: str  # id of what was made
    at: float


@dataclass(frozen=True, slots=True)
class SenderHost:
    """A host that may send: its identity (``core.identity`` text) or, when empty, a ticket of this label."""

    label: str
    identity: str = ""
    source: IpAddress | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A secure transmission that a sender has booked. ``id`` is also the name of its group, and its group id
    is ``keyid:<id>``. ``admission`` is a rule as ``gkmd.group.platform.rules`` reads it.
    """

    KIND: ClassVar[str] = "reservation"

    id: str
    owner: str  # account
    title: str
    description: str
    starts: float
    ends: float
    time_zone: str
    lead: float  # seconds before the start at which the group opens
    address: IpAddress
    from_pool: bool
    protocol: int
    port: int
    sources: tuple[IpAddress, ...]  # source-specific when not empty
    senders: tuple[SenderHost, ...]
    security: dict[str, Any]  # names of algorithms, lifetimes, mode: gkmd.api SecurityPolicy as plain data
    supplied_spi: int  # 0: gkmd makes the SAs
    supplied_key: SecretBytes | None
    supplied_lifetime: float
    capacity: int  # 0 unlimited
    visibility: str  # "public", "unlisted", "private"
    admission: dict[str, Any]
    fee_points: int  # basis points of the price that the platform keeps, as agreed on when booked
    fee_fixed: int  # minor units
    created: float
    cancelled: float | None
    version: int  # of each change; a form that was filled in on an older one is refused

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class ListedName:
    """One name on a reservation's list. ``verifier`` is an argon2id string, "" without password. ``held``:
    the party whose the name is, for no other account gets a ticket by the password; "" for nobody yet.
    """

    KIND: ClassVar[str] = "listed"

    reservation: str
    name: str  # folded: gkmd.group.platform.names
    verifier: str
    held: str = ""

    @property
    def key(self) -> str:
        return self.reservation + SEPARATOR + self.name


@dataclass(frozen=True, slots=True)
class Party:
    """A receiver without an account: a name on a list, or an identity of the configuration."""

    KIND: ClassVar[str] = "party"

    id: str
    reservation: str  # "" for an identity of the configuration
    name: str  # "" when forgotten
    created: float

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Ticket:
    """``id`` is the KEY_ID, ``secret`` the pre-shared key. Its evidence is that of its holder's consent."""

    KIND: ClassVar[str] = "ticket"

    id: str
    secret: SecretBytes
    reservation: str
    party: str  # account or party
    label: str  # of a sender's host; "" for a receiver
    sends: bool
    listed: str  # the list's name whose password was shown when it was issued; "" when none
    voucher: str  # digest of the code that it holds; "" for none
    most: int  # minor units that the holder agreed to pay, in ``currency``
    currency: str
    created: float
    revoked: float | None

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class VoucherBatch:
    """``reservation`` "" and a value: money for a balance. A reservation and no value: admission to it."""

    KIND: ClassVar[str] = "batch"

    id: str
    owner: str
    reservation: str
    amount: int
    currency: str
    count: int
    created: float
    revoked: float | None

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Voucher:
    """One code, by its digest. ``held`` by a party from the ticket on, ``used`` from the admission on."""

    KIND: ClassVar[str] = "voucher"

    digest: str
    batch: str
    held: str
    used: float | None

    @property
    def key(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class Charge:
    """What an admission cost, and where it was taken from: a refund gives back exactly this.

    ``number`` counts the charges of the admission from 1. ``entry`` and ``refund`` are numbers of entries of
    the ledger, ``refund`` 0 without one.
    """

    reservation: str
    party: str  # account
    number: int
    at: float
    currency: str
    balance: int  # minor units that were taken from the balance,
    invoice: int  # and that were put on the invoice
    fee: int  # part of both that is the platform's
    entry: int
    refunded: float | None = None
    refund: int = 0
    reason: str = ""  # of the refund

    @property
    def key(self) -> str:
        return self.key_of(self.reservation, self.party, self.number)

    @staticmethod
    def key_of(reservation: str, party: str, number: int) -> str:
        """Unique among all charges."""
        return f"{reservation}{SEPARATOR}{party}{SEPARATOR}{number:04d}"

    @property
    def amount(self) -> int:
        return self.balance + self.invoice


@dataclass(frozen=True, slots=True)
class Admission:
    """A party was admitted to a transmission, once; ``amount`` was charged for it.

    ``charges``, oldest first, are one when it cost something; another one follows only when the last was
    refunded.
    """

    KIND: ClassVar[str] = "admission"

    reservation: str
    party: str
    at: float
    by: str  # the rule that let it in: "open", "names", "identities", "classes", "voucher", "price", ...
    amount: int
    currency: str
    refunded: float | None
    evicted: float | None
    charges: tuple[Charge, ...] = ()

    @property
    def key(self) -> str:
        return self.key_of(self.reservation, self.party)

    @staticmethod
    def key_of(reservation: str, party: str) -> str:
        return reservation + SEPARATOR + party


@dataclass(frozen=True, slots=True)
class Posting:
    """``account`` of the ledger, ``amount`` minor units: positive debits, negative credits it."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger: postings that add up to zero in one currency. Never changed, never removed."""

    KIND: ClassVar[str] = "entry"

    number: int
    at: float
    kind: str  # "charge", "refund", "deposit", "payment", and so on: docs/ledger.md
    reference: str  # unique: the same business twice is one entry
    reservation: str
    currency: str
    postings: tuple[Posting, ...]
    memo: str

    @property
    def key(self) -> str:
        return f"{self.number:016d}"


@dataclass(frozen=True, slots=True)
class Balance:
    """The sum of all postings to an account in a currency, kept with every entry."""

    KIND: ClassVar[str] = "balance"

    account: str
    currency: str
    amount: int
    entries: int  # how many made it

    @property
    def key(self) -> str:
        return self.account + SEPARATOR + self.currency

    @staticmethod
    def key_of(account: str, currency: str) -> str:
        return account + SEPARATOR + currency


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry that somebody outside may ask for again: what it said, so that the repetition is known."""

    KIND: ClassVar[str] = "reference"

    reference: str  # of the entry
    entry: int
    currency: str
    amount: int  # sum of its debits

    @property
    def key(self) -> str:
        return self.reference


@dataclass(frozen=True, slots=True)
class RecentMovement:
    """One of the last movements of an account's money, for its holder to see; an older one's ``slot`` is
    used again. What was charged and given back is shown from the charges.
    """

    KIND: ClassVar[str] = "movement"

    account: str
    slot: int
    entry: int
    at: float
    kind: str  # of the entry
    currency: str
    amount: int  # positive: the account has more, or owes less
    reservation: str  # "" when it is about none
    memo: str

    @property
    def key(self) -> str:
        return f"{self.account}{SEPARATOR}{self.slot:03d}"


@dataclass(frozen=True, slots=True)
class Payment:
    """Money on its way from a provider to an account's balance."""

    KIND: ClassVar[str] = "payment"

    id: str
    account: str
    provider: str
    amount: int
    currency: str
    state: str  # "begun", "paid", "failed", "returned"
    external: str  # the provider's own id
    created: float
    changed: float

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class AuditLine:
    """``digest`` covers all other fields and with ``previous`` all lines before; hex of SHA-256."""

    KIND: ClassVar[str] = "audit"

    number: int
    at: float
    actor: str  # an account's id, "unix:<uid>", "gkmd", or "stranger"
    action: str
    subject: str
    detail: dict[str, Any]
    previous: str
    digest: str

    @property
    def key(self) -> str:
        return f"{self.number:016d}"


@dataclass(frozen=True, slots=True)
class Tally:
    """The statistics of a reservation. ``joins``: [minute as Unix seconds, number] in order."""

    KIND: ClassVar[str] = "tally"

    reservation: str
    peak: int
    total: int
    refused: dict[str, int]
    joins: tuple[tuple[int, int], ...]
    rekeys: int

    @property
    def key(self) -> str:
        return self.reservation


# Kept in memory, and read at start.
LOADED = (
    Account,
    Session,
    ApiToken,
    OnceWord,
    Reservation,
    ListedName,
    Party,
    Ticket,
    VoucherBatch,
    Voucher,
    Admission,
    Balance,
    Reference,
    RecentMovement,
    Payment,
    Tally,
)
# Read on demand, in the order of their keys; of each the last is loaded at start.
ARCHIVED = (Entry, AuditLine)
