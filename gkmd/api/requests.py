"""What the operations take: ids in the path of the REST API, the rest in its body or query."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from gkmd.api.nouns import (
    Amount,
    Count,
    Host,
    Id,
    Instant,
    Line,
    Login,
    Page,
    Password,
    ProviderFinding,
    Role,
    Rule,
    Scope,
    Search,
    SecurityPolicy,
    Strict,
    SuppliedKeys,
    Text,
    Visibility,
    Word,
)


class Nothing(Strict):
    """No arguments."""


# --- Signing in -------------------------------------------------------------------------------------


class SignIn(Strict):
    login: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Password
    code: Annotated[str, Meta(max_length=12)] = ""


class PasskeySignInBegin(Strict):
    """``origin`` is the portal's own, such as ``https://portal.example``."""

    origin: Line


class PasskeySignIn(Strict):
    origin: Line
    challenge: Line
    credential: dict[str, Any]


class SignUp(Strict):
    login: Login
    password: Annotated[str, Meta(min_length=10, max_length=256)]
    name: Annotated[str, Meta(max_length=200)] = ""


class ChangePassword(Strict):
    old: Password
    new: Annotated[str, Meta(min_length=10, max_length=256)]


class ConfirmCode(Strict):
    code: Annotated[str, Meta(min_length=6, max_length=8)]


class ConfirmPassword(Strict):
    password: Password


class PasskeyBegin(Strict):
    origin: Line


class PasskeyAdd(Strict):
    origin: Line
    challenge: Line
    credential: dict[str, Any]
    name: Line


class ById(Strict):
    id: Id


class CreateToken(Strict):
    """``expires``: Unix seconds, null for never."""

    name: Line
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    expires: Instant | None = None


# --- Users ------------------------------------------------------------------------------------------


class ListUsers(Page, kw_only=True):
    search: Search = ""


class AddUser(Strict):
    """Without a password the account can only be used with tickets and tokens that an operator makes."""

    login: Login
    password: Annotated[str, Meta(max_length=256)] = ""
    name: Annotated[str, Meta(max_length=200)] = ""
    roles: tuple[Role, ...] = ("receiver",)
    classes: tuple[Word, ...] = ()
    credit_limit: Amount | None = None


class ByLogin(Strict):
    login: Login


class ChangeUser(Strict):
    """What is not given stays. ``reset_factors`` removes one-time codes and passkeys."""

    login: Login
    password: str | UnsetType = UNSET
    name: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    roles: tuple[Role, ...] | UnsetType = UNSET
    classes: tuple[Word, ...] | UnsetType = UNSET
    confirmed: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    credit_limit: Amount | UnsetType | None = UNSET
    reset_factors: bool = False


class CreditUser(Strict):
    """``reference`` makes it once: the same reference again changes nothing."""

    login: Login
    amount: Amount
    reference: Line
    memo: Annotated[str, Meta(max_length=200)] = ""


# --- Reservations -----------------------------------------------------------------------------------


class Reserve(Strict):
    """``start`` is local time in ``time_zone`` (``2026-12-24T18:00``), or has an offset (``+01:00``, ``Z``).

    ``admission``: ``{"open": true}`` takes everybody, for nothing. ``address`` empty: one is taken from the
    pool of that ``family`` and ``source_specific``. ``owner``: for an operator who reserves for somebody
    else. ``once``: a word of the caller's choice; the same request with the same word is carried out once.
    ``twice``: also when the owner has a transmission of this title at an overlapping time already; without
    it that is refused.
    """

    title: Line
    start: Annotated[str, Meta(max_length=40)]
    duration: Annotated[int, Meta(ge=10, le=31_536_000)]
    admission: Rule
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    description: Text = ""
    lead: Annotated[int, Meta(ge=0, le=604_800)] = 60
    address: Annotated[str, Meta(max_length=45)] = ""
    family: Literal[4, 6] = 4
    source_specific: bool = False
    protocol: Literal["udp", "any"] = "udp"
    port: Annotated[int, Meta(ge=0, le=65535)] = 5004
    sources: tuple[str, ...] = ()
    senders: Annotated[tuple[Host, ...], Meta(max_length=100)] = ()
    security: SecurityPolicy = field(default_factory=SecurityPolicy)
    supplied: SuppliedKeys | None = None
    capacity: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    visibility: Visibility = "public"
    owner: Annotated[str, Meta(max_length=64)] = ""
    twice: bool = False
    once: Annotated[str, Meta(max_length=100)] = ""


class ListReservations(Page, kw_only=True):
    """``owner``: for an operator; empty is everybody's. ``search``: in the title."""

    state: Literal["all", "coming", "open", "over", "cancelled"] = "all"
    owner: Annotated[str, Meta(max_length=64)] = ""
    search: Search = ""


class ChangeReservation(Strict):
    """What is not given stays. ``version`` is that of the view that the change was made from; 0 takes any."""

    id: Id
    version: int = 0
    title: Line | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    start: str | UnsetType = UNSET
    duration: Annotated[int, Meta(ge=10, le=31_536_000)] | UnsetType = UNSET
    lead: Annotated[int, Meta(ge=0, le=604_800)] | UnsetType = UNSET
    capacity: Annotated[int, Meta(ge=0, le=10_000_000)] | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET
    senders: tuple[Host, ...] | UnsetType = UNSET
    admission: Rule | UnsetType = UNSET


class CancelReservation(Strict):
    id: Id
    reason: Annotated[str, Meta(max_length=200)] = ""


class SenderTicket(Strict):
    """A ticket for the sender's host of this label."""

    id: Id
    label: Id


class NamesOf(Page, kw_only=True):
    """``search``: in the name."""

    id: Id
    search: Search = ""


class NamesImport(Strict):
    """``broken``: lines of the file that were wrong, for the audit log; 0 when that was not the reason."""

    id: Id
    import_id: Id
    broken: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class NameEntry(Strict):
    """``verifier``: an argon2id string (``$argon2id$...``), or empty for a name without a password."""

    name: Line
    verifier: Annotated[str, Meta(max_length=200)] = ""


class NamesAdd(Strict):
    id: Id
    import_id: Id
    entries: Annotated[tuple[NameEntry, ...], Meta(min_length=1, max_length=200)]


class NamesCommit(Strict):
    """``replace``: the list is what was imported; ``append``: it is added, and passwords replaced."""

    id: Id
    import_id: Id
    expected: Annotated[int, Meta(ge=0)]
    mode: Literal["replace", "append"] = "replace"


class NameRemove(Strict):
    id: Id
    name: Line


class CreateVouchers(Strict):
    """Codes that admit to a reservation, once each. ``once`` as in Reserve."""

    id: Id
    count: Count
    once: Annotated[str, Meta(max_length=100)] = ""


class CreateValueVouchers(Strict):
    """Codes that are worth ``amount`` on the balance of who redeems them. ``once`` as in Reserve."""

    amount: Amount
    count: Count
    once: Annotated[str, Meta(max_length=100)] = ""


class BatchesOf(Page, kw_only=True):
    id: Id


class RevokeBatch(Strict):
    id: Id
    batch: Id


class ReceiversOf(Page, kw_only=True):
    """``search``: in the name."""

    id: Id
    search: Search = ""


class StatementOf(Page, kw_only=True):
    """A page of its lines; totals and receivers are those of the whole."""

    id: Id


class Evict(Strict):
    id: Id
    party: Id
    refund: bool = False


# --- Receivers --------------------------------------------------------------------------------------


class Catalogue(Page, kw_only=True):
    """``state``: what is on now, what comes, or both."""

    state: Literal["now", "coming", "both"] = "both"
    search: Search = ""


class IssueTicket(Strict):
    """``id`` of the transmission. ``most``: the most that may be charged on admission; null: nothing.

    ``listed`` and ``password``: a name on the sender's list and its password, where the rule wants one.
    ``login``: for an operator or the reservation's sender, who gives somebody a ticket.
    """

    id: Id
    voucher: Annotated[str, Meta(max_length=64)] = ""
    most: Amount | None = None
    listed: Annotated[str, Meta(max_length=200)] = ""
    password: Annotated[str, Meta(max_length=256)] = ""
    login: Annotated[str, Meta(max_length=64)] = ""


class ListTickets(Page, kw_only=True):
    """Newest first. ``live``: without those that are revoked or whose transmission is over."""

    live: bool = False


class ListPayments(Page):
    """Newest first."""


class RedeemVoucher(Strict):
    code: Annotated[str, Meta(min_length=4, max_length=64)]


class BeginPayment(Strict):
    """``once`` as in Reserve."""

    provider: Id
    amount: Amount
    once: Annotated[str, Meta(max_length=100)] = ""


class PaymentStarted(Strict):
    """The portal's note of the provider's own id."""

    id: Id
    external: Line


class ProviderCall(Strict):
    """What a payment provider has posted: ``body`` as it came, ``signature`` of its header."""

    provider: Id
    body: Annotated[str, Meta(max_length=65_536)]
    signature: Annotated[str, Meta(max_length=1000)] = ""


# --- What the portal reports ------------------------------------------------------------------------


class RefusalReport(Strict):
    """``operation`` was refused with ``code`` before the daemon heard of it; ``id`` as in its request.
    ``operation`` empty: a page that is not for everybody.

    ``fields`` are names, never what was in them.
    """

    operation: Annotated[str, Meta(max_length=40)]
    code: Annotated[str, Meta(max_length=40)]
    id: Annotated[str, Meta(max_length=100)] = ""
    reason: Annotated[str, Meta(pattern=r"^[a-z-]{0,40}\Z")] = ""
    fields: Annotated[tuple[Annotated[str, Meta(max_length=600)], ...], Meta(max_length=50)] = ()


class ProviderReport(Strict):
    """What became of the payment ``id`` at its provider. ``works`` after it did not: the trouble is over."""

    id: Id
    found: ProviderFinding


# --- Operators --------------------------------------------------------------------------------------


class ListAudit(Page, kw_only=True):
    """Newest first with ``newest``; ``subject`` and ``actor`` narrow it."""

    subject: Annotated[str, Meta(max_length=100)] = ""
    actor: Annotated[str, Meta(max_length=100)] = ""
    newest: bool = True


class ListAccounts(Page, kw_only=True):
    """``search``: in the ledger account's name."""

    search: Search = ""


class ListEntries(Page, kw_only=True):
    """Newest first with ``newest``; ``account`` narrows it."""

    account: Annotated[str, Meta(max_length=200)] = ""
    newest: bool = False


class ListBatches(Page):
    """Newest first."""


class MembersOf(Page, kw_only=True):
    """``group`` empty: of all groups, those of the configuration included. ``search``: in identity and
    name.
    """

    group: Annotated[str, Meta(max_length=100)] = ""
    search: Search = ""
