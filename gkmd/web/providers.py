"""Where a payment begins: the payer is sent to the provider's page. That it was paid the provider tells the
daemon by a signed call (docs/payments.md); nothing that the payer's browser brings back counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec

from gkmd.api.nouns import Amount, ProviderFinding
from gkmd.api.problem import Problem
from gkmd.api.stripe_amounts import to_stripe
from gkmd.core.errors import ConfigError
from gkmd.web.config import ProviderEndpoint

SECONDS: Final = 10.0
_REPLY_OCTETS: Final = 65_536
_SIGNATURE: Final = "Gkmd-Signature"
METADATA: Final = "gkmd_payment"


@dataclass(frozen=True, slots=True)
class Begun:
    """``url``: where the payer goes on. ``external``: the provider's own id of the payment."""

    url: str
    external: str


@dataclass(frozen=True, slots=True)
class Order:
    """``back``: where the provider sends the payer afterwards. ``calls``: where it posts its signed calls."""

    payment: str
    amount: Amount
    back: str
    calls: str
    title: str


class PaymentProvider(Protocol):
    async def begin(self, order: Order, now: float) -> Begun:
        """Problem("provider-failed") when the provider does not answer, or not as it should."""


class _Reply(msgspec.Struct):
    url: str
    external: str


class WebhookProvider:
    """POSTs the order, signed in the way of the provider's calls, with another secret: docs/payments.md."""

    def __init__(self, endpoint: ProviderEndpoint, client: Callable[[], httpx.AsyncClient]) -> None:
        self._endpoint = endpoint
        self._client = client

    async def begin(self, order: Order, now: float) -> Begun:
        body = msgspec.json.encode(
            {
                "payment": order.payment,
                "amount": order.amount.amount,
                "currency": order.amount.currency,
                "description": order.title,
                "return_url": order.back,
                "callback_url": order.calls,
            }
        )
        headers = {
            "Content-Type": "application/json",
            _SIGNATURE: signature(body, self._endpoint.secret.reveal(), now),
            "Idempotency-Key": order.payment,
        }
        octets = await _post(self._client(), self._endpoint, body, headers)
        try:
            reply = msgspec.json.decode(octets, type=_Reply)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            raise _failed(self._endpoint.name, "its answer makes no sense", "senseless") from None
        return Begun(checked_url(self._endpoint, reply.url), _external(self._endpoint.name, reply.external))


class StripeProvider:
    """A Checkout Session: card numbers go to Stripe's page and never come here."""

    def __init__(self, endpoint: ProviderEndpoint) -> None:
        """ConfigError when the library is missing."""
        try:
            import stripe
        except ImportError:
            raise ConfigError(
                f"provider {endpoint.name}: the library stripe is missing: pip install 'gkmd[stripe]'"
            ) from None
        self._endpoint = endpoint
        self._failure = stripe.StripeError
        self._unreachable = stripe.APIConnectionError
        self._client = stripe.StripeClient(
            endpoint.secret.reveal().decode(),
            base_addresses={"api": endpoint.url.rstrip("/")},
            http_client=stripe.HTTPXClient(timeout=SECONDS, allow_sync_methods=True),
            max_network_retries=1,
        )

    async def begin(self, order: Order, now: float) -> Begun:
        product: Any = {
            "currency": order.amount.currency.lower(),
            "unit_amount": to_stripe(order.amount.amount, order.amount.currency),
            "product_data": {"name": order.title},
        }
        params: Any = {
            "mode": "payment",
            "client_reference_id": order.payment,
            "line_items": [{"quantity": 1, "price_data": product}],
            "success_url": order.back,
            "cancel_url": order.back,
            "payment_intent_data": {"metadata": {METADATA: order.payment}},
            "metadata": {METADATA: order.payment},
        }
        try:
            session = await self._client.v1.checkout.sessions.create_async(
                params, {"idempotency_key": order.payment}
            )
        except self._failure as error:
            found: ProviderFinding = "unreachable" if isinstance(error, self._unreachable) else "error"
            raise _failed(self._endpoint.name, type(error).__name__, found) from None
        url, external = getattr(session, "url", None), getattr(session, "id", None)
        if not isinstance(url, str) or not isinstance(external, str):
            raise _failed(self._endpoint.name, "its answer makes no sense", "senseless")
        return Begun(checked_url(self._endpoint, url), _external(self._endpoint.name, external))


class Providers:
    """By name. One HTTP client for all, made when it is needed first: certificates are verified by what the
    system trusts, redirects are not followed.
    """

    def __init__(self, endpoints: Iterable[ProviderEndpoint]) -> None:
        self._http: httpx.AsyncClient | None = None
        self._known: dict[str, PaymentProvider] = {}
        for one in endpoints:
            self._known[one.name] = (
                StripeProvider(one) if one.kind == "stripe" else WebhookProvider(one, self._client)
            )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._known)

    def find(self, name: str) -> PaymentProvider:
        found = self._known.get(name)
        if found is None:
            raise _failed(name, "the portal does not know where it is; the operator must add it", "unknown")
        return found

    async def begin(self, name: str, order: Order, now: float) -> Begun:
        """Problem("provider-failed"), with what was found as its reason."""
        provider = self.find(name)
        try:
            async with asyncio.timeout(SECONDS + 2):  # a provider may also send one octet a second
                return await provider.begin(order, now)
        except TimeoutError:
            raise _failed(name, "it does not answer in time", "late") from None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            trusted = ssl.create_default_context()
            self._http = httpx.AsyncClient(
                timeout=SECONDS, follow_redirects=False, trust_env=False, verify=trusted
            )
        return self._http


def signature(body: bytes, secret: bytes, now: float) -> str:
    """``t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">``."""
    at = str(int(now))
    return f"t={at},v1={hmac.new(secret, at.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def checked_url(endpoint: ProviderEndpoint, url: str) -> str:
    """``url`` when a payer may be sent there: to the provider's own or a configured host, by https (or as the
    provider's endpoint itself). Problem for anything else: a provider that lies sends nobody astray.
    """
    try:
        ours, found = urlsplit(endpoint.url), urlsplit(url)
    except ValueError:
        raise _failed(endpoint.name, "the address of its page makes no sense", "senseless") from None
    host = found.hostname or ""
    allowed = {ours.hostname, *endpoint.redirect_hosts}
    known = host in allowed or (
        endpoint.kind == "stripe" and not endpoint.redirect_hosts and host.endswith(".stripe.com")
    )
    scheme = found.scheme == "https" or (found.scheme == ours.scheme and found.netloc == ours.netloc)
    clean = len(url) <= 2000 and not any(ord(one) <= 32 or ord(one) >= 127 or one in '\\"' for one in url)
    if not (known and scheme and clean) or "@" in found.netloc:
        raise _failed(endpoint.name, "it wants to send you to a page that is not its own", "astray")
    return url


def _external(name: str, external: str) -> str:
    if not 1 <= len(external) <= 200 or not external.isprintable():
        raise _failed(name, "its number of the payment makes no sense", "senseless")
    return external


async def _post(
    client: httpx.AsyncClient, endpoint: ProviderEndpoint, body: bytes, headers: dict[str, str]
) -> bytes:
    try:
        async with client.stream("POST", endpoint.url, content=body, headers=headers) as answer:
            if answer.status_code not in (200, 201):
                raise _failed(endpoint.name, f"it answered {answer.status_code}", "error")
            octets = b""
            async for part in answer.aiter_bytes():
                octets += part
                if len(octets) > _REPLY_OCTETS:
                    raise _failed(endpoint.name, "its answer is far too long", "senseless")
            return octets
    except httpx.TimeoutException:
        raise _failed(endpoint.name, "it does not answer in time", "late") from None
    except httpx.HTTPError:
        raise _failed(endpoint.name, "it cannot be reached", "unreachable") from None


def _failed(name: str, why: str, found: ProviderFinding) -> Problem:
    text = f"The payment provider {name} cannot be used now: {why}. Nothing was paid; try again later."
    return Problem("provider-failed", text, reason=found)
