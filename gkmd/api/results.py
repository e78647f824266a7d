"""What the operations give. No key and no password is ever in them, but those made for the caller, once."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from gkmd.api.nouns import Amount, Host, Instant, Rule, SecurityPolicy


class View(Struct):
    """Results may grow: who reads them ignores what it does not know."""


class Nothing(View):
    """It is done."""


class AccountView(View):
    id: str
    login: str
    name: str
    roles: tuple[str, ...]
    classes: tuple[str, ...]
    confirmed: bool
    disabled: bool
    totp: bool
    passkeys: tuple[PasskeyView, ...]
    credit_limit: Amount | None
    created: Instant


class PasskeyView(View):
    id: str
    name: str
    created: Instant


class SignedIn(View):
    """``token`` is shown once: as a cookie or a bearer token it stands for the account."""

    token: str
    expires: Instant
    account: AccountView


class SessionView(View):
    id: str
    via: str
    created: Instant
    used: Instant
    current: bool


class Sessions(View):
    sessions: tuple[SessionView, ...]


class Options(View):
    """For the browser's ``navigator.credentials``; ``challenge`` comes back with its answer."""

    challenge: str
    options: dict[str, Any]


class TotpSecret(View):
    secret: str
    uri: str


class TokenView(View):
    id: str
    name: str
    scopes: tuple[str, ...]
    created: Instant
    expires: Instant | None


class NewToken(View):
    token: str
    view: TokenView


class Tokens(View):
    tokens: tuple[TokenView, ...]


class Accounts(View):
    """``after`` of the next page, "" at the end."""

    accounts: tuple[AccountView, ...]
    after: str


class Forgotten(View):
    """What was removed, and what stays without a name and why."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


class Refused(View):
    field: str
    text: str


class ReservationView(View):
    """``state``: coming, open (registrations are taken), on (it has started), over, cancelled."""

    id: str
    group_id: str
    owner: str  # login, "" when forgotten
    title: str
    description: str
    starts: Instant
    ends: Instant
    opens: Instant
    time_zone: str
    start_local: str
    duration: int
    lead: int
    address: str
    port: int
    protocol: str
    sources: tuple[str, ...]
    senders: tuple[Host, ...]
    security: SecurityPolicy
    supplied: bool
    capacity: int
    visibility: str
    admission: Rule
    names: int  # on the list
    fee_points: int
    fee_fixed: int
    created: Instant
    cancelled: Instant | None
    state: str
    version: int


class Checked(View):
    """What ``reserve`` would say: no problems, or all of them."""

    problems: tuple[Refused, ...]
    address: str
    starts: Instant | None
    ends: Instant | None


class Reservations(View):
    reservations: tuple[ReservationView, ...]
    after: str


class Import(View):
    import_id: str
    count: int


class Name(View):
    name: str
    password: bool


class Names(View):
    names: tuple[Name, ...]
    count: int
    after: str


class NewVouchers(View):
    """The codes are shown once."""

    batch: str
    codes: tuple[str, ...]


class BatchView(View):
    batch: str
    reservation: str
    value: Amount | None
    count: int
    held: int
    used: int
    created: Instant
    revoked: Instant | None


class Batches(View):
    batches: tuple[BatchView, ...]
    after: str = ""


class ReceiverView(View):
    """``name`` "" when it was forgotten. ``member``: it holds the keys now."""

    party: str
    name: str
    at: Instant
    by: str
    charged: Amount | None
    refunded: bool
    evicted: bool
    member: bool


class Receivers(View):
    receivers: tuple[ReceiverView, ...]
    after: str


class StatementLine(View):
    """Minor units; those of a refund are negative, so that the lines add up to the totals."""

    at: Instant
    kind: str  # "charge", "refund"
    party: str
    name: str
    gross: int
    fee: int
    net: int
    currency: str


class CurrencyTotal(View):
    currency: str
    charges: int
    refunds: int
    gross: int
    fees: int
    net: int


class Statement(View):
    """Minor units. ``gross`` is what receivers were charged less refunds; ``net`` is the sender's.

    ``lines`` are a page of them, in the order in which they happened; everything else is of the whole.
    """

    reservation: str
    title: str
    receivers: int
    totals: tuple[CurrencyTotal, ...]
    lines: tuple[StatementLine, ...]
    made: Instant
    after: str = ""


class Statistics(View):
    """``joins``: (minute, number). ``money`` as in the statement."""

    reservation: str
    state: str
    now: int
    peak: int
    total: int
    senders: int
    refused: dict[str, int]
    joins: tuple[tuple[int, int], ...]
    rekeys: int
    next_rekey: Instant | None
    money: tuple[CurrencyTotal, ...]
    at: Instant


class Transmission(View):
    """What a receiver may know of a reservation. ``price`` is the cheapest way in by paying."""

    id: str
    title: str
    description: str
    by: str
    starts: Instant
    ends: Instant
    opens: Instant
    time_zone: str
    state: str
    address: str
    port: int
    price: Amount | None
    ways: tuple[str, ...]  # of "open", "names", "identities", "classes", "price", "vouchers"
    ticket: str  # the caller's own live ticket, ""


class Transmissions(View):
    transmissions: tuple[Transmission, ...]
    after: str


class TicketView(View):
    """``secret`` and ``configuration`` (a member's TOML) only for whom the ticket is."""

    id: str
    transmission: Transmission
    sends: bool
    label: str
    secret: str
    configuration: str
    created: Instant
    revoked: Instant | None
    admitted: Instant | None


class Tickets(View):
    tickets: tuple[TicketView, ...]
    after: str = ""


class Movement(View):
    at: Instant
    kind: str
    amount: int
    currency: str
    memo: str


class BalanceView(View):
    """``available`` can be paid now and counts credit by invoice, too; ``owed`` is what is open on the
    invoice, and what a payment that was taken back has left below zero. ``earned``: by the account's
    transmissions, and not paid out yet. ``movements``: the last ones, newest first.
    """

    balances: tuple[Amount, ...]
    owed: tuple[Amount, ...]
    movements: tuple[Movement, ...]
    available: tuple[Amount, ...] = ()
    earned: tuple[Amount, ...] = ()


class PaymentView(View):
    """``url``: the provider's page on which it is paid; only where it was begun by a portal."""

    id: str
    provider: str
    amount: Amount
    state: str
    created: Instant
    changed: Instant
    url: str = ""


class Payments(View):
    payments: tuple[PaymentView, ...]
    providers: tuple[str, ...]
    after: str = ""


class LedgerAccount(View):
    account: str
    currency: str
    balance: int
    entries: int


class Ledger(View):
    """``balanced``: all balances of each currency add up to zero, those on other pages included."""

    accounts: tuple[LedgerAccount, ...]
    balanced: bool
    after: str = ""


class EntryView(View):
    number: int
    at: Instant
    kind: str
    reference: str
    reservation: str
    currency: str
    postings: tuple[tuple[str, int], ...]
    memo: str


class Entries(View):
    entries: tuple[EntryView, ...]
    after: str


class AuditView(View):
    number: int
    at: Instant
    actor: str
    actor_name: str
    action: str
    subject: str
    subject_name: str
    detail: dict[str, Any]
    previous: str
    digest: str


class Audit(View):
    lines: tuple[AuditView, ...]
    after: str


class AuditVerified(View):
    """``broken``: number of the first line that does not fit, null when all do."""

    lines: int
    head: str
    broken: int | None
    why: str


class MemberView(View):
    """``identity`` as people read it: a distinguished name as in RFC 4514."""

    group: str
    identity: str
    name: str
    role: str
    address: str
    joined: Instant


class Members(View):
    """``count``: of all members, on this page or not, found or not."""

    members: tuple[MemberView, ...]
    count: int
    after: str = ""


class Health(View):
    version: str
    uptime: float
    identity: str
    groups: int
    members: int
    ike_sas: int
    half_open: int
    passwords_waiting: int
    journal_error: str
    ledger_balanced: bool
    audit_lines: int
    reservations: int
    sign_up: bool
    currency: str


class Metrics(View):
    """Prometheus' text format."""

    text: str
