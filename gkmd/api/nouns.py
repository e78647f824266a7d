"""What requests and results are made of. Instants are Unix seconds, durations seconds, money minor units."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

# The end of a pattern, and no line feed after it: `$` alone lets one pass, where `\Z` is no JSON Schema.
END = r"$(?!\n)"
Line: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
Text: TypeAlias = Annotated[str, Meta(max_length=4000)]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]
Pattern: TypeAlias = Annotated[str, Meta(min_length=1, max_length=2000)]  # a DN in hex is long
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+" + END)]
Login: TypeAlias = Annotated[str, Meta(min_length=2, max_length=64, pattern=r"^[a-z0-9][a-z0-9._@+-]*" + END)]
Password: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Currency: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z]{3}" + END)]
Role: TypeAlias = Literal["receiver", "sender", "operator"]
Scope: TypeAlias = Literal["read", "reserve", "tickets", "billing", "operate"]
Visibility: TypeAlias = Literal["public", "unlisted", "private"]
ProviderFinding: TypeAlias = Literal[
    "works",
    "unreachable",  # no connection, or it ended
    "late",  # no answer in time
    "error",  # it answered that it will not
    "senseless",  # its answer cannot be read
    "astray",  # it sends payers to a page that is not its own
    "other-id",  # it knows the payment by another id than before
    "unknown",  # the portal does not know where it is
]
Limit: TypeAlias = Annotated[int, Meta(ge=1, le=500)]
Search: TypeAlias = Annotated[str, Meta(max_length=100)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]
Instant: TypeAlias = float


class Strict(Struct, forbid_unknown_fields=True):
    """Requests: what is not known is refused, not ignored."""


class Amount(Strict):
    """Minor units of a currency; 250 EUR is 2.50 euro."""

    amount: Annotated[int, Meta(ge=0, le=10**12)]
    currency: Currency


class Rule(Strict, omit_defaults=True):
    """Who is admitted: exactly one of the members is given.

    ``names``: on the reservation's list. ``identities``: patterns such as ``fqdn:*.example``,
    ``email:*@example``, ``dn:*,O=Example``. ``classes``: of pre-approved subscribers. ``vouchers``: of a
    batch of this reservation. ``any`` and ``all`` combine; an ``any`` of ``open`` and other ways is refused.
    """

    open: bool = False
    names: bool = False
    identities: tuple[Pattern, ...] = ()
    classes: tuple[Word, ...] = ()
    price: Amount | None = None
    vouchers: bool = False
    any: tuple[Rule, ...] = ()
    all: tuple[Rule, ...] = ()


class Host(Strict, omit_defaults=True):
    """A sender's host: known by an identity, or given a ticket under its label."""

    label: Id
    identity: str = ""
    source: str = ""


class SecurityPolicy(Strict):
    """Names as in docs/configuration.md. Durations are seconds."""

    mode: Literal["transport", "tunnel"] = "transport"
    cipher: str = "aes-gcm-16-256"
    integrity: str = ""
    rekey_cipher: str = "aes-gcm-16-256"
    rekey_integrity: str = ""
    rekey_auth: Literal["signature", "implicit"] = "signature"
    tek_lifetime: Annotated[int, Meta(ge=10, le=31_536_000)] = 3600
    kek_lifetime: Annotated[int, Meta(ge=10, le=31_536_000)] = 14400
    activation_delay: Annotated[int, Meta(ge=0, le=3600)] = 3
    deactivation_delay: Annotated[int, Meta(ge=0, le=3600)] = 6
    rekey_repeats: Annotated[int, Meta(ge=0, le=20)] = 2
    rekey_interval: Annotated[float, Meta(ge=0.05, le=60)] = 1.0


class SuppliedKeys(Strict):
    """An SA that the sender brings: ``key`` in hex, cipher key with salt, then integrity key."""

    spi: Annotated[int, Meta(ge=256, le=0xFFFFFFFF)]
    key: Annotated[str, Meta(min_length=2, max_length=512)]
    lifetime: Annotated[int, Meta(ge=10, le=31_536_000)]


class Page(Strict):
    """A part of a long list: what comes after ``after``, which is that of the page before."""

    after: str = ""
    limit: Limit = 100
