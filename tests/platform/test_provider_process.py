"""A real provider over HTTP: its calls reach the books once, whatever is wrong with it (docs/payments.md)."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from billing_rig import NOW, Books
from provider_process import ProviderProcess
from provider_words import PROVIDERS, SECRET

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.api.problem import Problem
from gkmd.group.platform.providers import sign
from gkmd.group.platform.records import Payment

_SEEDS = itertools.count()  # the provider sees all tests: their payments must have ids of their own


class Receiving(HTTPServer):
    """What stands for portal and daemon: the provider's calls go into the books."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Calls)
        self.books = Books(seed=next(_SEEDS), providers=PROVIDERS)
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/v1/providers/pay"


class _Calls(BaseHTTPRequestHandler):
    server: Receiving

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        request = q.ProviderCall("pay", body, self.headers["Gkmd-Signature"])
        status = 201
        with self.server.lock:
            try:
                self.server.books.call("provider-call", request, now=time.time())
            except Problem as problem:
                status = problem.status
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderProcess]:
    with ProviderProcess(SECRET.reveal()) as running:
        yield running


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    with Receiving() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def order(
    provider: ProviderProcess, receiving: Receiving, payment: Payment, fault: str = ""
) -> tuple[int, dict[str, str]]:
    """What the portal does. The answer's status and content."""
    said = {
        "payment": payment.id,
        "amount": payment.amount,
        "currency": payment.currency,
        "description": "balance of <rx>",
        "return_url": "http://127.0.0.1/payments",
        "callback_url": receiving.url,
    }
    body = json.dumps(said).encode()
    headers = {"Gkmd-Signature": sign(body, SECRET, time.time())}
    request = urllib.request.Request(f"{provider.url}/payments?fault={fault}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, {}


def begin(receiving: Receiving) -> Payment:
    shown = receiving.books.call("payment-begin", q.BeginPayment("pay", Amount(1000, "EUR")), "a-rx", NOW)
    payment = receiving.books.facts.get(Payment, shown.id)
    assert payment is not None
    return payment


# What the payer does, and the payment's state, the balance and the answers to the calls after it.
COURSES = [
    ("", ["pay"], "paid", 1000, [201]),
    ("", ["fail"], "failed", 0, [201]),
    ("", ["fail", "pay"], "paid", 1000, [201, 201]),
    ("", ["pay", "return"], "returned", 0, [201, 201]),
    ("twice", ["pay"], "paid", 1000, [201] * 3),
    ("twice", ["pay", "return", "pay"], "returned", 0, [201] * 9),
    ("stale", ["pay"], "paid", 1000, [201, 201]),
    ("held", ["pay", "return"], "returned", 0, [201, 201]),
    ("amount", ["pay"], "begun", 0, [409]),
    ("currency", ["pay"], "begun", 0, [409]),
    ("payment", ["pay"], "begun", 0, [409]),
    ("forged", ["pay"], "begun", 0, [403]),
    ("old", ["pay"], "begun", 0, [403]),
]


@pytest.mark.parametrize(("fault", "actions", "state", "has", "answers"), COURSES)
def test_the_books_after_what_the_payer_and_the_provider_do(
    provider: ProviderProcess,
    receiving: Receiving,
    fault: str,
    actions: list[str],
    state: str,
    has: int,
    answers: list[int],
) -> None:
    payment = begin(receiving)
    before = len(provider.calls())
    status, begun = order(provider, receiving, payment, fault)
    assert status == 200
    receiving.books.call("payment-started", q.PaymentStarted(payment.id, begun["external"]), "a-rx")
    for action in actions:
        provider.act(begun["url"], action)
    assert [call["status"] for call in provider.calls()[before:]] == answers
    after = receiving.books.facts.get(Payment, payment.id)
    assert after is not None
    assert (after.state, receiving.books.billing.balance("a-rx", "EUR")) == (state, has)
    assert receiving.books.billing.balanced()
    refused = [line for line in receiving.books.audited() if line.action == "provider-call-refused"]
    assert len(refused) == sum(answer >= 400 for answer in answers)


def test_an_order_that_is_sent_again_is_the_same_payment(
    provider: ProviderProcess, receiving: Receiving
) -> None:
    payment = begin(receiving)
    assert order(provider, receiving, payment, "down")[0] == 503
    first = order(provider, receiving, payment)
    assert order(provider, receiving, payment) == first


def test_the_page_shows_the_order_as_text(provider: ProviderProcess, receiving: Receiving) -> None:
    _, begun = order(provider, receiving, begin(receiving))
    with urllib.request.urlopen(begun["url"], timeout=60) as answer:
        assert "balance of &lt;rx&gt;" in answer.read().decode()
