"""Stripe's webhooks. Needs the library ``stripe`` (``pip install gkmd[stripe]``), which verifies them.

The portal gives the payment's id to Stripe as ``client_reference_id`` of the Checkout Session and as metadata
``gkmd_payment`` of its PaymentIntent, which refunds carry on.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gkmd.api.problem import Problem
from gkmd.api.stripe_amounts import of_stripe
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.providers import FORGED, UNREADABLE, Kind, ProviderEvent, check_age, signature_parts

METADATA: Final = "gkmd_payment"
_SESSIONS: Final[dict[str, Kind]] = {
    "checkout.session.completed": "paid",
    "checkout.session.async_payment_succeeded": "paid",
    "checkout.session.async_payment_failed": "failed",
    "checkout.session.expired": "failed",
}
_REFUND: Final = "charge.refunded"


class _Object(msgspec.Struct):
    id: str
    currency: str | None = None
    amount_total: int | None = None
    amount_refunded: int | None = None
    payment_status: str = ""
    client_reference_id: str | None = None
    metadata: dict[str, str] | None = None


class _Data(msgspec.Struct):
    object: Any


class _Event(msgspec.Struct):
    id: str
    type: str
    data: _Data


class StripeProvider:
    def __init__(self, secret: SecretBytes) -> None:
        """ValueError when the library is missing."""
        try:
            import stripe
        except ImportError:
            raise ValueError("the library stripe is missing: pip install 'gkmd[stripe]'") from None
        self._verify: Final = stripe.WebhookSignature.verify_header
        self._refused: Final = stripe.SignatureVerificationError
        self._secret: Final = secret

    def read_call(self, body: bytes, signature: str, now: float) -> ProviderEvent | None:
        signed_at, _ = signature_parts(signature)
        try:
            # Without its tolerance, which would ask the host's clock.
            self._verify(body.decode("utf-8"), signature, self._secret.reveal().decode("utf-8"), None)
        except (self._refused, UnicodeDecodeError):
            raise Problem(
                "forbidden", "the call's signature is not that of this body and our secret", reason=FORGED
            ) from None
        check_age(signed_at, now)
        try:
            event = msgspec.json.decode(body, type=_Event)
            if event.type not in _SESSIONS and event.type != _REFUND:
                return None
            return _read(event, msgspec.convert(event.data.object, _Object))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            text = f"Stripe's event cannot be read: {error}"
            raise Problem("bad-request", text, reason=UNREADABLE) from None


def _read(event: _Event, about: _Object) -> ProviderEvent | None:
    """None for what was not started by us, or does not say yet that money came."""
    named = (about.metadata or {}).get(METADATA, "")
    currency = (about.currency or "").upper()
    if event.type == _REFUND:
        return _event(event, named, "", "returned", about.amount_refunded, currency)
    kind = _SESSIONS[event.type]
    if event.type == "checkout.session.completed" and about.payment_status != "paid":
        return None  # a slow means of payment: async_payment_succeeded or _failed follows
    return _event(event, about.client_reference_id or named, about.id, kind, about.amount_total, currency)


def _event(
    event: _Event, payment: str, external: str, kind: Kind, amount: int | None, currency: str
) -> ProviderEvent | None:
    if not payment:
        return None
    ours = None if amount is None else of_stripe(amount, currency)
    return ProviderEvent(payment, external, kind, ours, currency, event.id)
