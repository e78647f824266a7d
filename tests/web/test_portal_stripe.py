"""Paying by Stripe: a stand-in of its API on loopback, the real library on both ways, and the books."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
import stripe
from portal_rig import ORIGIN, Browser, Site, portal_config

from gkmd.core.secret import SecretBytes
from gkmd.group.platform.settings import PlatformSettings, ProviderSettings
from gkmd.web.config import ProviderEndpoint

# The library's own way to call httpx.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

KEY = "sk_test_the_key_of_the_api"
SIGNING = "whsec_the_secret_of_the_webhook"


class Api(ThreadingHTTPServer):
    """``POST /v1/checkout/sessions`` as Stripe answers it. ``fault`` makes it behave otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.asked: list[tuple[dict[str, str], dict[str, str]]] = []  # headers, fields
        self.sessions: dict[str, dict[str, Any]] = {}  # by idempotency key
        self.fault = ""
        self.lie: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def session(self, fields: dict[str, str], key: str) -> dict[str, Any]:
        number = len(self.sessions) + 1
        made = {
            "id": f"cs_test_{number}",
            "object": "checkout.session",
            "client_reference_id": fields["client_reference_id"],
            "metadata": {"gkmd_payment": fields["metadata[gkmd_payment]"]},
            "currency": fields["line_items[0][price_data][currency]"],
            "amount_total": int(fields["line_items[0][price_data][unit_amount]"]),
            "payment_status": "unpaid",
            "url": f"{self.url}/c/pay/cs_test_{number}",
        }
        return self.sessions.setdefault(key, made) | self.lie


class _Asked(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = {name: values[0] for name, values in parse_qs(body).items()}
        self.server.asked.append((dict(self.headers), fields))
        status, said = 200, b"no JSON"
        if self.headers["Authorization"] != f"Bearer {KEY}" or self.path != "/v1/checkout/sessions":
            status, said = 401, b'{"error": {"message": "Invalid API Key", "type": "invalid_request_error"}}'
        elif self.server.fault == "declined":
            status, said = 402, b'{"error": {"message": "<b>no</b>", "type": "card_error"}}'
        elif self.server.fault == "elsewhere":
            status, said = 307, b"{}"
        elif self.server.fault == "a list":
            said = b"[]"
        elif self.server.fault != "nonsense":
            said = json.dumps(self.server.session(fields, self.headers["Idempotency-Key"])).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.send_header("Location", "http://127.0.0.1:9/v1/checkout/sessions")
        self.end_headers()
        self.wfile.write(said)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def paying(make_site: Callable[..., Site], api: Api) -> Site:
    settings = PlatformSettings(
        sign_up=True,
        providers=(ProviderSettings("card", "stripe", SecretBytes(SIGNING.encode())),),
        server_identity="fqdn:gcks.example",
        server_addresses=(),
    )
    endpoint = ProviderEndpoint("card", "stripe", api.url, SecretBytes(KEY.encode()))
    return make_site(portal_config(providers=(endpoint,)), settings)


def call(site: Site, kind: str, about: dict[str, Any], at: float | None = None, secret: str = SIGNING) -> int:
    """What Stripe posts to the portal, signed by its own library; the answer's status."""
    body = json.dumps({"id": f"evt_{kind}", "object": "event", "type": kind, "data": {"object": about}})
    signed = stripe.WebhookSignature.generate_signature_header(body, secret, int(at or site.rig.now))
    headers = {"Stripe-Signature": signed, "Content-Type": "application/json"}
    return (
        site.browser("192.0.2.200")
        .post("/api/v1/providers/card", content=body.encode(), headers=headers)
        .status_code
    )


def balance(browser: Browser) -> str:
    page = browser.get("/balance").text
    return page.partition("<dt>On the balance</dt><dd>")[2].partition("</dd>")[0]


def test_from_the_page_to_the_balance(paying: Site, api: Api) -> None:
    alice = paying.user("alice")
    form = alice.form("/balance", "/balance/pay") | {"amount": "12.34", "provider": "card"}
    answer = alice.post("/balance/pay", form)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == f"{api.url}/c/pay/cs_test_1"
    assert alice.post("/balance/pay", form).headers["location"] == answer.headers["location"]
    [(headers, fields)] = api.asked
    payment = fields["client_reference_id"]
    assert headers["Idempotency-Key"] == payment
    assert fields["mode"] == "payment"
    assert fields["line_items[0][price_data][unit_amount]"] == "1234"
    assert fields["line_items[0][price_data][currency]"] == "eur"
    assert fields["success_url"] == fields["cancel_url"] == f"{ORIGIN}/payments/{payment}"
    assert (
        fields["metadata[gkmd_payment]"] == fields["payment_intent_data[metadata][gkmd_payment]"] == payment
    )
    assert "We wait for card" in alice.get(f"/payments/{payment}").text
    assert balance(alice) == "nothing"

    [made] = api.sessions.values()
    completed = made | {"payment_status": "paid"}
    assert call(paying, "checkout.session.completed", made) == 201  # not paid yet: a slow means of payment
    assert balance(alice) == "nothing"
    for _ in range(3):
        assert call(paying, "checkout.session.completed", completed) == 201
    assert call(paying, "checkout.session.expired", completed) == 201
    assert "12.34 EUR" in balance(alice)
    assert "It was paid" in alice.get(f"/payments/{payment}").text
    refund = {"id": "ch_1", "currency": "eur", "amount_refunded": 1234, "refunded": True} | {
        "amount": 1234,
        "metadata": {"gkmd_payment": payment},
    }
    assert call(paying, "charge.refunded", refund) == 201
    assert call(paying, "charge.refunded", refund) == 201
    assert call(paying, "checkout.session.completed", completed) == 201
    assert "12.34" not in balance(alice)
    assert paying.rig.platform.ledger.balanced()


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"amount_total": 1}, 409),
        ({"currency": "usd"}, 409),
        ({"id": "cs_another"}, 409),
        ({"client_reference_id": "pay-another", "metadata": {"gkmd_payment": "pay-another"}}, 409),
        ({"client_reference_id": None, "metadata": {}}, 201),
    ],
)
def test_a_call_that_is_not_what_was_agreed_on(
    paying: Site, api: Api, changed: dict[str, Any], status: int
) -> None:
    alice = paying.user("alice")
    assert alice.submit("/balance", "/balance/pay", amount="12.34", provider="card").status_code == 303
    [made] = api.sessions.values()
    completed = made | {"payment_status": "paid"}
    assert call(paying, "checkout.session.completed", completed | changed) == status
    assert balance(alice) == "nothing"
    assert call(paying, "checkout.session.completed", completed, secret="whsec_of_somebody_else") == 403
    assert call(paying, "checkout.session.completed", completed, at=paying.rig.now - 3600) == 403
    assert balance(alice) == "nothing"
    assert call(paying, "checkout.session.completed", completed) == 201
    assert "12.34 EUR" in balance(alice)


@pytest.mark.parametrize("fault", ["nonsense", "declined", "elsewhere", "a list", "key", "away"])
def test_an_api_that_does_not_do_its_work(
    make_site: Callable[..., Site], paying: Site, api: Api, fault: str
) -> None:
    api.fault = fault
    if fault in ("key", "away"):
        url = "http://127.0.0.1:9" if fault == "away" else api.url
        paying.config = portal_config(
            providers=(ProviderEndpoint("card", "stripe", url, SecretBytes(b"sk_wrong")),)
        )
        paying.forget()
    alice = paying.user("alice")
    answer = alice.submit("/balance", "/balance/pay", amount="1", provider="card")
    assert answer.status_code == 502, answer.text
    assert "cannot be used now" in answer.text
    assert "<b>no" not in answer.text
    assert KEY not in answer.text
    assert balance(alice) == "nothing"


@pytest.mark.parametrize(
    "lie",
    [
        {"url": "https://evil.example/pay"},
        {"url": "https://checkout.stripe.com.evil.example/pay"},
        {"url": "https://checkout.stripe.com@evil.example/pay"},
        {"url": "http://checkout.stripe.com/pay"},
        {"url": "https://[evil"},
        {"url": "https://checkout.stripe.com/\r\nSet-Cookie: a=b"},
        {"url": None},
        {"url": ["https://checkout.stripe.com"]},
        {"id": None},
        {"id": "x" * 300},
    ],
)
def test_an_api_that_lies(paying: Site, api: Api, lie: dict[str, Any]) -> None:
    api.lie = lie
    answer = paying.user("alice").submit("/balance", "/balance/pay", amount="1", provider="card")
    assert answer.status_code == 502, answer.text
    assert "location" not in answer.headers


@pytest.mark.parametrize("missing", ["url", "id"])
def test_an_answer_with_too_little_in_it(paying: Site, api: Api, missing: str) -> None:
    whole = Api.session

    def part(self: Api, fields: dict[str, str], key: str) -> dict[str, Any]:
        return {name: one for name, one in whole(self, fields, key).items() if name != missing}

    api.session = part.__get__(api)  # type: ignore[method-assign]
    answer = paying.user("alice").submit("/balance", "/balance/pay", amount="1", provider="card")
    assert answer.status_code == 502, answer.text
