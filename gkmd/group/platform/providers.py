"""Payment providers: what they call to say, made certain by their signature (docs/payments.md)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Meta

from gkmd.api.problem import Problem
from gkmd.core.money import MOST
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.settings import ProviderSettings

TOLERANCE: Final = 300.0  # seconds between a call's signature and its arrival, either way
SHORTEST_SECRET: Final = 16  # octets
FORGED: Final = "forged"  # reasons of calls that are not believed: no signature, or another secret's
OLD: Final = "old"  # signed too long ago, as one that is replayed, or in the future
UNREADABLE: Final = "unreadable"
_MOST_SIGNATURES: Final = 8  # of one call, while a provider changes its secret
_TIME: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

Kind: TypeAlias = Literal["paid", "failed", "returned"]


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """``external`` is the provider's id of the payment; "" when the call does not name it. ``amount`` is in
    minor units; None where nothing was paid.
    """

    payment: str
    external: str
    kind: Kind
    amount: int | None
    currency: str
    event: str


class Provider(Protocol):
    def read_call(self, body: bytes, signature: str, now: float) -> ProviderEvent | None:
        """What a call says; None when it is genuine and about something else. Problem ``forbidden`` for one
        that is forged or old, ``bad-request`` for one that is genuine and cannot be understood.
        """


class _Body(msgspec.Struct):
    """Further members are ignored: providers may add some."""

    event: Annotated[str, Meta(min_length=1, max_length=200)]
    payment: Annotated[str, Meta(min_length=1, max_length=100)]
    external: Annotated[str, Meta(min_length=1, max_length=200)]
    kind: Kind
    amount: Annotated[int, Meta(ge=0, le=MOST)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]


class WebhookProvider:
    """``signature``: ``t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">``; any of several v1 will do."""

    def __init__(self, secret: SecretBytes) -> None:
        self._secret: Final = secret

    def read_call(self, body: bytes, signature: str, now: float) -> ProviderEvent:
        signed_at, digests = signature_parts(signature)
        expected = _digest(self._secret, signed_at, body)
        # All are compared, so that the time says nothing about which one came near.
        if sum([hmac.compare_digest(expected, digest) for digest in digests]) == 0:
            raise Problem(
                "forbidden", "the call's signature is not that of this body and our secret", reason=FORGED
            )
        check_age(signed_at, now)
        try:
            said = msgspec.json.decode(body, type=_Body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            text = f"the call's body is not as docs/payments.md says: {error}"
            raise Problem("bad-request", text, reason=UNREADABLE) from None
        return ProviderEvent(said.payment, said.external, said.kind, said.amount, said.currency, said.event)


def sign(body: bytes, secret: SecretBytes, now: float) -> str:
    """The header of a call with this body, as a provider makes it."""
    signed_at = str(int(now))
    return f"t={signed_at},v1={_digest(secret, signed_at, body)}"


def _digest(secret: SecretBytes, signed_at: str, body: bytes) -> str:
    return hmac.new(secret.reveal(), signed_at.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()


def signature_parts(signature: str) -> tuple[str, tuple[str, ...]]:
    """The time as it was written, and the digests. Problem ``forbidden`` when it has no such form; parts of
    other names are left for later versions.
    """
    parts = [part.strip().partition("=") for part in signature.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    digests = tuple(value for name, _, value in parts if name == "v1")
    if len(times) != 1 or _TIME.fullmatch(times[0]) is None:
        text = "the call's signature has no time, or several: t=<Unix seconds>,v1=<hex> is needed"
        raise Problem("forbidden", text, reason=FORGED)
    if not 1 <= len(digests) <= _MOST_SIGNATURES or not all(_DIGEST.fullmatch(one) for one in digests):
        text = "the call is not signed: t=<Unix seconds>,v1=<64 hex digits> is needed"
        raise Problem("forbidden", text, reason=FORGED)
    return times[0], digests


def check_age(signed_at: str, now: float) -> None:
    """Problem ``forbidden`` for a call that was signed too long ago, or in the future."""
    if abs(now - int(signed_at)) > TOLERANCE:
        raise Problem(
            "forbidden",
            f"the call was signed {now - int(signed_at):.0f} s ago; at most {TOLERANCE:.0f} s either way are "
            "taken: compare the clocks",
            reason=OLD,
        )


def of_settings(settings: Iterable[ProviderSettings]) -> Mapping[str, Provider]:
    """By name. ValueError for an unknown kind, or a secret that is too short to keep anybody out."""
    providers: dict[str, Provider] = {}
    for one in settings:
        if len(one.secret) < SHORTEST_SECRET:
            raise ValueError(
                f"provider {one.name}: the secret has {len(one.secret)} octets; {SHORTEST_SECRET} are needed"
            )
        if one.kind == "webhook":
            providers[one.name] = WebhookProvider(one.secret)
        elif one.kind == "stripe":
            # Only here, so that what needs the optional library is not loaded by who does not use it.
            from gkmd.group.platform.stripe_calls import StripeProvider

            providers[one.name] = StripeProvider(one.secret)
        else:
            raise ValueError(f"provider {one.name}: the kind {one.kind!r} is unknown; use webhook or stripe")
    return providers
