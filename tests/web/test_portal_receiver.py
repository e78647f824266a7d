"""A receiver's pages: catalogue, tickets, balance, payments; the provider is a real one on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest
from portal_rig import NOW, ORDER_SECRET, ORIGIN, SECRET, SETTINGS, Browser, Site, portal_config

from gkmd.api import requests as q
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.records import Entry, Payment, Ticket
from gkmd.web.config import ProviderEndpoint

Answer = Callable[[bytes], Awaitable[bytes]]


class Provider:
    """An HTTP server that answers as ``answer`` says; ``orders`` are the requests that came."""

    def __init__(self, site: Site) -> None:
        self.orders: list[tuple[dict[str, str], bytes]] = []
        self.reply: object = None  # the JSON that it gives; None: where to pay, as it should
        self.status = "200 OK"
        self.slow = False
        self._site = site
        self._server = site.runner.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.orders.append((headers, body))
        if self.slow:
            writer.close()
            return
        reply = self.reply
        if reply is None:
            reply = {"url": f"{self.url}/pay/1", "external": "x-1"}
        octets = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: {len(octets)}\r\n".encode())
        writer.write(b"Connection: close\r\nLocation: http://127.0.0.1:1/\r\n\r\n" + octets)
        await writer.drain()
        writer.close()

    def close(self) -> None:
        self._server.close()
        self._site.runner.run(self._server.wait_closed())


@pytest.fixture
def provider(site: Site) -> Iterator[Provider]:
    made = Provider(site)
    endpoint = ProviderEndpoint("pay", "webhook", f"{made.url}/begin", SecretBytes(ORDER_SECRET))
    site.config = portal_config(providers=(endpoint,))
    site.forget()
    yield made
    made.close()


def give(site: Site, login: str, amount: int, reference: str = "cash") -> None:
    money = {"amount": amount, "currency": "EUR"}
    site.rig.do("user-credit", q.CreditUser(login, q.Amount(**money), reference))


def test_from_the_catalogue_to_a_ticket(site: Site) -> None:
    one = site.reserve(title="Free concert", start="2026-09-21T16:00")
    stranger = site.browser()
    for page in ("/", "/transmissions?search=free", "/transmissions?state=coming"):
        assert f"/transmissions/{one.id}" in stranger.get(page).text, page
    assert "Nothing was found" in stranger.get("/transmissions?search=opera").text
    path = f"/transmissions/{one.id}"
    assert f'href="/sign-in?next={path}"' in stranger.get(path).text
    alice = site.user("alice")
    got = alice.submit(path, f"{path}/ticket")
    ticket = got.headers["location"].partition("?")[0]
    page = alice.follow(got)
    assert "Here is your ticket." in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "Free concert" in alice.get("/tickets").text
    assert f'href="{ticket}"' in alice.get(path).text
    assert site.user("mallory").get(ticket).status_code == 404
    assert site.user("mall2").get(f"{ticket}/file").status_code == 404
    alice.submit(f"{ticket}/revoke")
    assert "revoked" in alice.get("/tickets").text


def test_a_ticket_has_a_file_and_a_qr_code(make_site: Callable[..., Site]) -> None:
    site = make_site(settings=replace(SETTINGS, server_addresses=(ipaddress.ip_address("192.0.2.1"),)))
    one = site.reserve()
    alice = site.user("alice")
    got = alice.submit(f"/transmissions/{one.id}", f"/transmissions/{one.id}/ticket")
    ticket = got.headers["location"].partition("?")[0]
    page = alice.get(ticket).text
    assert "<svg" in page
    file = alice.get(f"{ticket}/file")
    assert file.headers["content-disposition"] == f'attachment; filename="{ticket.rpartition("/")[2]}.toml"'
    assert file.headers["cache-control"] == "no-store"
    assert 'title = "Concert"' in file.text


def test_consent_is_to_the_price_that_was_shown(site: Site) -> None:
    one = site.reserve(admission=q.Rule(price=q.Amount(250, "EUR")))
    alice = site.user("alice")
    give(site, "alice", 1000)
    path = f"/transmissions/{one.id}"
    assert "I agree to pay 2.50 EUR" in alice.get(path).text
    refused = alice.submit(path, f"{path}/ticket")
    assert refused.status_code == 422
    assert 'id="e-pay"' in refused.text
    form = alice.form(path, f"{path}/ticket") | {"pay": "on"}
    for amount in ("-5", "1e3", "", "9" * 40):
        assert alice.post(f"{path}/ticket", form | {"price_amount": amount}).status_code == 400
    assert alice.post(f"{path}/ticket", form | {"price_currency": "euro"}).status_code == 422
    assert "ticket-issue" not in [name for name, _, _ in site.daemon.calls]
    assert alice.post(f"{path}/ticket", form).status_code == 303
    (asked,) = [r for name, r, _ in site.daemon.calls if name == "ticket-issue"]
    assert asked["most"] == {"amount": 250, "currency": "EUR"}


def test_consent_and_voucher_of_a_ticket_can_be_changed(site: Site) -> None:
    price = {"price": {"amount": 250, "currency": "EUR"}}
    one = site.reserve(admission={"any": [{"vouchers": True}, price]})
    codes = site.rig.do("voucher-create", q.CreateVouchers(one.id, 2)).codes
    alice, path = site.user("alice"), f"/transmissions/{one.id}"
    got = alice.submit(path, f"{path}/ticket", voucher=codes[0])
    ticket = got.headers["location"].partition("?")[0]
    page = alice.get(path).text
    assert "Change consent or voucher" in page
    assert "Get a ticket" not in page
    wrong = alice.submit(path, f"{path}/ticket", voucher="0000-0000-0000-0000")
    assert wrong.status_code in (403, 422)
    assert "Your ticket stays as it was" in wrong.text
    changed = alice.submit(path, f"{path}/ticket", pay="on")
    assert changed.headers["location"].partition("?")[0] == ticket
    assert "Your ticket was changed." in alice.follow(changed).text
    (kept,) = site.rig.facts(Ticket)
    assert (kept.most, kept.currency) == (250, "EUR")
    free = f"/transmissions/{site.reserve(start='2026-09-22T16:00').id}"
    alice.submit(free, f"{free}/ticket")
    assert "<form" not in alice.get(free).text.partition("<main")[2].partition("</main")[0]


def test_a_voucher_of_the_transmission(site: Site) -> None:
    one = site.reserve(admission=q.Rule(vouchers=True))
    codes = site.rig.do("voucher-create", q.CreateVouchers(one.id, 1)).codes
    alice, path = site.user("alice"), f"/transmissions/{one.id}"
    wrong = alice.submit(path, f"{path}/ticket", voucher="AAAA-AAAA-AAAA-AAAA")
    assert 400 <= wrong.status_code < 500
    assert "AAAA-AAAA-AAAA-AAAA" in wrong.text
    assert alice.submit(path, f"{path}/ticket", voucher=codes[0]).status_code == 303


def test_balance_and_vouchers_that_are_worth_money(site: Site) -> None:
    made = site.rig.do("value-voucher-create", q.CreateValueVouchers(q.Amount(500, "EUR"), 1))
    alice = site.user("alice")
    assert "nothing" in alice.get("/balance").text
    assert alice.submit("/balance", "/balance/redeem", code="nonsense").status_code >= 400
    done = alice.follow(alice.submit("/balance", "/balance/redeem", code=made.codes[0]))
    assert "5.00 EUR" in done.text
    again = alice.submit("/balance", "/balance/redeem", code=made.codes[0])
    assert again.status_code >= 400 or "5.00 EUR" in alice.get("/balance").text
    assert "10.00 EUR" not in alice.get("/balance").text


def test_paying_goes_to_the_provider_and_counts_when_it_says_so(site: Site, provider: Provider) -> None:
    alice = site.user("alice")
    form = alice.form("/balance", "/balance/pay") | {"amount": "12.34", "provider": "pay"}
    answers = [alice.post("/balance/pay", form) for _ in range(2)]
    assert {one.headers["location"] for one in answers} == {f"{provider.url}/pay/1"}
    assert len(provider.orders) == 1
    headers, body = provider.orders[0]
    order = json.loads(body)
    assert (order["amount"], order["currency"]) == (1234, "EUR")
    assert order["callback_url"] == f"{ORIGIN}/api/v1/providers/pay"
    at = str(int(NOW))
    digest = hmac.new(ORDER_SECRET, at.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["gkmd-signature"] == f"t={at},v1={digest}"
    page = order["return_url"].removeprefix(ORIGIN)
    assert "We wait for pay" in alice.get(page).text
    assert "nothing" in alice.get("/balance").text

    event = {"event": "e1", "payment": order["payment"], "external": "x-1", "kind": "paid"}
    call = json.dumps({**event, "amount": 1234, "currency": "EUR"}).encode()
    stranger = site.browser()

    def deliver(signature: str) -> int:
        headers = {"Gkmd-Signature": signature, "Content-Type": "application/json"}
        return stranger.post("/api/v1/providers/pay", content=call, headers=headers).status_code

    good = f"t={at},v1={hmac.new(SECRET, at.encode() + b'.' + call, hashlib.sha256).hexdigest()}"
    assert deliver(f"t={at},v1={'0' * 64}") == 403
    assert deliver("") == 403
    for one in site.config.providers:  # who has broken into the portal has these: they forge nothing
        forged = hmac.new(one.secret.reveal(), at.encode() + b"." + call, hashlib.sha256).hexdigest()
        assert deliver(f"t={at},v1={forged}") == 403
    assert "12.34 EUR" not in alice.get("/balance").text.split("Pay in")[0]
    assert deliver(good) == 201
    assert deliver(good) == 201
    assert "It was paid" in alice.get(page).text
    assert "12.34 EUR" in alice.get("/balance").text.split("Redeem")[0]


@pytest.mark.parametrize(
    "reply",
    [
        b"no json",
        b"[]",
        b"\xff\xfe",
        {"url": "https://evil.example/pay", "external": "x"},
        {"url": "javascript:alert(1)", "external": "x"},
        {"url": "//127.0.0.1/pay", "external": "x"},
        {"url": "http://127.0.0.1@evil.example/", "external": "x"},
        {"url": "http://127.0.0.1:1/pay", "external": "x"},
        {"url": "https://[127.0.0.1/pay", "external": "x"},
        {"url": 5, "external": "x"},
        {"external": "x"},
        b'{"url": "' + b"a" * 100_000 + b'"}',
    ],
)
def test_a_provider_that_lies_sends_nobody_astray(site: Site, provider: Provider, reply: object) -> None:
    provider.reply = reply
    alice = site.user("alice")
    answer = alice.submit("/balance", "/balance/pay", amount="1", provider="pay")
    assert answer.status_code == 502
    assert "Nothing was paid" in answer.text
    assert "failed" in alice.get("/balance").text
    (line,) = site.rig.audit_lines("provider-failed")
    assert line.actor == "provider:pay"
    assert line.detail["reason"] in ("senseless", "astray")


@pytest.mark.parametrize("trouble", ["500 Oops", "302 Found", "closed", "down", "unknown"])
def test_a_provider_that_is_down(site: Site, provider: Provider, trouble: str) -> None:
    alice = site.user("alice")
    form = alice.form("/balance", "/balance/pay") | {"amount": "1", "provider": "pay"}
    if trouble == "closed":
        provider.slow = True
    elif trouble == "down":
        provider.close()
    elif trouble == "unknown":
        form["provider"] = "other"
    else:
        provider.status = trouble
    answer = alice.post("/balance/pay", form)
    assert answer.status_code == (502 if trouble != "unknown" else answer.status_code)
    assert 400 <= answer.status_code < 600
    assert 'role="alert"' in answer.text
    found = {"500 Oops": "error", "302 Found": "error", "closed": "unreachable", "down": "unreachable"}
    lines = site.rig.audit_lines("provider-failed")
    assert [one.detail["reason"] for one in lines] == ([found[trouble]] if trouble in found else [])
    assert site.rig.facts(Entry) == []


def test_a_provider_that_works_again(site: Site, provider: Provider) -> None:
    """The form is sent again as it was: it is the same payment, and the provider is told so."""
    alice = site.user("alice")
    form = alice.form("/balance", "/balance/pay") | {"amount": "1", "provider": "pay"}
    provider.status = "503 Busy"
    for _ in range(2):
        assert alice.post("/balance/pay", form).status_code == 502
    provider.status = "200 OK"
    assert alice.post("/balance/pay", form).status_code == 303
    assert alice.submit("/balance", "/balance/pay", amount="2", provider="pay").status_code in (303, 409)
    first, *more = site.rig.facts(Payment)
    keys = [headers["idempotency-key"] for headers, _ in provider.orders]
    begun = next(one for one in (first, *more) if one.id == keys[0])
    assert keys[:3] == [begun.id] * 3
    assert begun.state == "begun"
    actions = [one.action for one in site.rig.audit_lines() if one.subject == begun.account]
    assert actions.count("provider-works") == 1
    assert actions.count("provider-failed") == 2
    assert actions.count("payment-given-up") == 1


def test_paying_by_the_api(site: Site, provider: Provider) -> None:
    """A token that may pay is told where, as the page's browser is sent there."""
    header = {"Authorization": f"Bearer {site.token('alice', 'billing')}"}
    order = {"provider": "pay", "amount": {"amount": 150, "currency": "EUR"}, "once": "o-1"}
    browser = site.browser()
    answer = browser.post("/api/v1/me/payments", json=order, headers=header)
    assert answer.status_code == 201
    assert answer.json()["url"] == f"{provider.url}/pay/1"
    assert browser.post("/api/v1/me/payments", json=order, headers=header).json() == answer.json()
    (payment,) = site.rig.facts(Payment)
    assert (payment.state, payment.external) == ("begun", "x-1")

    provider.status = "503 Busy"
    refused = browser.post("/api/v1/me/payments", json=order | {"once": "o-2"}, headers=header)
    assert refused.status_code == 502
    assert refused.json()["code"] == "provider-failed"
    assert "failed" in {one.state for one in site.rig.facts(Payment)}
    (line,) = site.rig.audit_lines("provider-failed")
    assert line.detail["reason"] == "error"


def test_what_is_paid_is_not_begun_again(site: Site, provider: Provider) -> None:
    header = {"Authorization": f"Bearer {site.token('alice', 'billing')}"}
    order = {"provider": "pay", "amount": {"amount": 150, "currency": "EUR"}, "once": "o-1"}
    browser = site.browser()
    begun = browser.post("/api/v1/me/payments", json=order, headers=header).json()
    event = {"event": "e1", "payment": begun["id"], "external": "x-1", "kind": "paid"}
    call = json.dumps({**event, "amount": 150, "currency": "EUR"}).encode()
    digest = hmac.new(SECRET, str(int(NOW)).encode() + b"." + call, hashlib.sha256).hexdigest()
    signed = {"Gkmd-Signature": f"t={int(NOW)},v1={digest}", "Content-Type": "application/json"}
    assert browser.post("/api/v1/providers/pay", content=call, headers=signed).status_code == 201
    again = browser.post("/api/v1/me/payments", json=order, headers=header).json()
    assert (again["state"], again["url"]) == ("paid", "")
    assert len(provider.orders) == 1


def test_a_provider_that_takes_another_id_for_the_same_payment(site: Site, provider: Provider) -> None:
    """It might be paid twice: the payer is not sent there."""
    alice = site.user("alice")
    form = alice.form("/balance", "/balance/pay") | {"amount": "1", "provider": "pay"}
    assert alice.post("/balance/pay", form).status_code == 303
    site.forget()
    provider.reply = {"url": f"{provider.url}/pay/2", "external": "x-2"}
    assert alice.post("/balance/pay", form).status_code == 409
    (line,) = site.rig.audit_lines("provider-failed")
    assert line.detail["reason"] == "other-id"
    (payment,) = site.rig.facts(Payment)
    assert (payment.state, payment.external) == ("begun", "x-1")


@pytest.mark.parametrize("amount", ["", "-1", "1.234", "1,000.00", "0", "abc", "1" * 30])
def test_amounts_that_are_none(site: Site, provider: Provider, amount: str) -> None:
    answer = site.user("alice").submit("/balance", "/balance/pay", amount=amount, provider="pay")
    assert answer.status_code == 422
    assert not provider.orders


def test_what_is_open_to_all_shows_no_private_transmission(site: Site) -> None:
    one = site.reserve(title="Hidden", visibility="private")
    unlisted = site.reserve(title="By link", visibility="unlisted", address="239.192.9.9")
    browser: Browser = site.user("alice")
    assert "Hidden" not in browser.get("/transmissions").text
    assert "By link" not in browser.get("/transmissions").text
    assert browser.get(f"/transmissions/{one.id}").status_code == 404
    assert browser.get(f"/transmissions/{unlisted.id}").status_code == 200
