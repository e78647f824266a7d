"""Payments: what a provider signs is believed once, and only when it is what was agreed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from billing_rig import NOW, Books
from provider_words import OTHER, PROVIDERS, SECRET, body

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.api.problem import Problem
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.providers import TOLERANCE, ProviderEvent, of_settings, sign
from gkmd.group.platform.records import Payment
from gkmd.group.platform.settings import ProviderSettings


class Desk:
    """One receiver, one payment of 10.00 EUR begun."""

    def __init__(self) -> None:
        self.books = Books(providers=PROVIDERS)
        self.payment = self.begin()

    def begin(self, once: str = "", amount: int = 1000) -> Payment:
        request = q.BeginPayment("pay", Amount(amount, "EUR"), once)
        shown = self.books.call("payment-begin", request, "a-rx")
        found = self.books.facts.get(Payment, shown.id)
        assert found is not None
        return found

    def call(
        self, octets: bytes, secret: SecretBytes = SECRET, at: float = NOW, provider: str = "pay"
    ) -> None:
        self.books.call("provider-call", q.ProviderCall(provider, octets.decode(), sign(octets, secret, at)))

    def says(self, kind: str, **changed: Any) -> None:
        self.call(body(self.payment, kind, **changed))

    @property
    def state(self) -> str:
        found = self.books.facts.get(Payment, self.payment.id)
        assert found is not None
        return found.state

    @property
    def has(self) -> int:
        return self.books.billing.balance("a-rx", "EUR")

    def refused(self) -> list[Any]:
        return [line for line in self.books.audited() if line.action == "provider-call-refused"]


def test_a_payment_is_on_the_balance_when_the_provider_says_so() -> None:
    desk = Desk()
    assert (desk.state, desk.has) == ("begun", 0)
    desk.says("paid")
    assert (desk.state, desk.has) == ("paid", 1000)
    assert desk.books.ledger.balance("provider:pay", "EUR") == 1000
    shown = desk.books.call("balance", by="a-rx")
    assert [(one.kind, one.amount) for one in shown.movements] == [("payment", 1000)]
    assert [line.action for line in desk.books.audited()] == ["payment-begin", "payment-paid"]


@pytest.mark.parametrize(
    ("calls", "state", "has"),
    [
        (["paid", "paid", "paid"], "paid", 1000),
        (["failed", "paid"], "paid", 1000),
        (["paid", "failed"], "paid", 1000),
        (["failed", "failed"], "failed", 0),
        (["paid", "returned", "paid", "returned", "failed"], "returned", 0),
        (["returned", "paid"], "returned", 0),
        (["failed", "returned", "paid"], "returned", 0),
    ],
)
def test_calls_in_any_order_come_to_one_end(calls: list[str], state: str, has: int) -> None:
    desk = Desk()
    for kind in calls:
        desk.says(kind)
        desk.books.crash()
    assert (desk.state, desk.has) == (state, has)
    assert desk.books.billing.balanced()
    assert not desk.refused()


def test_money_that_was_spent_and_taken_back_is_owed() -> None:
    desk = Desk()
    desk.says("paid")
    desk.books.admit("a-rx", desk.books.money(300))
    desk.says("returned")
    assert desk.has == -300
    assert desk.books.billing.available("a-rx", "EUR") == 0
    shown = desk.books.call("balance", by="a-rx")
    assert [(one.amount, one.currency) for one in shown.owed] == [(300, "EUR")]
    assert [one.amount for one in shown.balances] == [0]


@pytest.mark.parametrize(
    "lie",
    [
        {"amount": 1001},
        {"amount": 0},
        {"currency": "USD"},
        {"payment": "pay-unknown"},
    ],
)
def test_a_lying_provider_is_not_believed_and_noted(lie: dict[str, Any]) -> None:
    desk = Desk()
    with pytest.raises(Problem, match="is not believed") as refused:
        desk.says("paid", **lie)
    assert refused.value.code == "conflict"
    assert (desk.state, desk.has) == ("begun", 0)
    assert len(desk.refused()) == 1
    desk.says("paid")
    assert desk.has == 1000


def test_another_provider_cannot_pay_it() -> None:
    desk = Desk()
    with pytest.raises(Problem, match="never begun with this provider"):
        desk.call(body(desk.payment, "paid"), OTHER, provider="other")
    assert desk.has == 0
    assert desk.refused()[0].actor == "provider:other"


def test_a_payment_has_one_id_at_the_provider() -> None:
    desk = Desk()
    started = q.PaymentStarted(desk.payment.id, "x-1")
    for _ in range(2):
        desk.books.call("payment-started", started, "a-rx")
    with pytest.raises(Problem, match="by another id"):
        desk.books.call("payment-started", q.PaymentStarted(desk.payment.id, "x-2"), "a-rx")
    with pytest.raises(Problem, match="another id at the provider"):
        desk.says("paid", external="x-2")
    desk.says("paid", external="x-1")
    assert desk.has == 1000


def test_the_call_may_come_before_the_portal_has_noted_the_id() -> None:
    desk = Desk()
    desk.says("paid", external="x-1")
    shown = desk.books.call("payment-started", q.PaymentStarted(desk.payment.id, "x-1"), "a-rx")
    assert (shown.state, desk.has) == ("paid", 1000)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "t=1000000",
        "v1=" + "0" * 64,
        "t=1000000,v1=" + "0" * 64,
        "t=1000000,v1=" + "0" * 63 + "é",
        "t=1000000,t=1000000,v1=" + "0" * 64,
        "t=-1,v1=" + "0" * 64,
        "t=1e6,v1=" + "0" * 64,
        "t=١٠٠٠٠٠٠,v1=" + "0" * 64,
        "t=1000000," + ",".join(["v1=" + "0" * 64] * 9),
        ",,,=,=",
    ],
)
@pytest.mark.parametrize("kind", ["webhook", "stripe"])
def test_forged_calls_are_refused(signature: str, kind: str) -> None:
    desk = Desk()
    provider = of_settings([ProviderSettings("pay", kind, SECRET)])["pay"]
    with pytest.raises(Problem) as refused:
        provider.read_call(body(desk.payment, "paid"), signature, NOW)
    assert refused.value.code == "forbidden"


def test_a_forged_call_is_noted() -> None:
    desk = Desk()
    with pytest.raises(Problem, match="signature is not"):
        desk.call(body(desk.payment, "paid"), OTHER)
    assert desk.has == 0
    (line,) = desk.refused()
    assert (line.actor, line.detail["refused"], line.detail["origin"]) == (
        "provider:pay",
        "forbidden",
        "192.0.2.0/24",
    )


def test_a_signature_is_of_its_body_and_time_alone() -> None:
    desk = Desk()
    octets = body(desk.payment, "failed")
    signature = sign(octets, SECRET, NOW)
    for body_, signed in (
        (octets.replace(b"failed", b"paid"), signature),
        (octets, signature.replace("t=1000000", "t=1000001")),
    ):
        with pytest.raises(Problem, match="signature is not"):
            desk.books.call("provider-call", q.ProviderCall("pay", body_.decode(), signed))
    assert desk.state == "begun"


@pytest.mark.parametrize("late", [TOLERANCE + 1, -TOLERANCE - 1])
def test_an_old_call_is_refused(late: float) -> None:
    desk = Desk()
    with pytest.raises(Problem, match="compare the clocks") as refused:
        desk.call(body(desk.payment, "paid"), at=NOW - late)
    assert refused.value.code == "forbidden"
    desk.call(body(desk.payment, "paid"), at=NOW - late / 2)
    assert desk.has == 1000


def test_a_signature_has_one_time() -> None:
    desk = Desk()
    octets = body(desk.payment, "paid")
    signature = sign(octets, SECRET, NOW) + ",t=1"
    with pytest.raises(Problem, match="has no time"):
        desk.books.call("provider-call", q.ProviderCall("pay", octets.decode(), signature))


def test_the_document_is_right_to_the_octet() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "payments.md").read_text()
    assert f"Gkmd-Signature: {sign(b'{}', SECRET, 1790000042)}\n" in document
    (example,) = (line for line in document.splitlines() if line.startswith('{"event"'))
    provider = of_settings(PROVIDERS)["pay"]
    event = provider.read_call(example.encode(), sign(example.encode(), SECRET, NOW), NOW)
    assert event == ProviderEvent("pay-4mzkq2wr7c3vtx5a", "81", "paid", 1000, "EUR", "evt-9")


def test_one_of_several_signatures_will_do() -> None:
    desk = Desk()
    octets = body(desk.payment, "paid")
    signature = sign(octets, OTHER, NOW) + "," + sign(octets, SECRET, NOW).partition(",")[2]
    desk.books.call("provider-call", q.ProviderCall("pay", octets.decode(), signature))
    assert desk.has == 1000


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 60_000,
        b'{"event":"e","payment":"p","external":"x","kind":"paid","amount":2.5,"currency":"EUR"}',
        b'{"event":"e","payment":"p","external":"x","kind":"paid","amount":-1,"currency":"EUR"}',
        b'{"event":"e","payment":"p","external":"x","kind":"paid","amount":1,"currency":"EUR\\n"}',
        b'{"event":"e","payment":"p","external":"x","kind":"paid","amount":99999999999999999999,"currency":"EUR"}',
        b'{"event":"e","payment":"p","external":"x","kind":"stolen","amount":1,"currency":"EUR"}',
    ],
)
def test_a_genuine_call_that_makes_no_sense_is_refused(octets: bytes) -> None:
    desk = Desk()
    with pytest.raises(Problem) as refused:
        desk.call(octets)
    assert refused.value.code == "bad-request"


def test_a_form_that_is_posted_twice_begins_one_payment() -> None:
    desk = Desk()
    first = desk.begin("word")
    assert desk.begin("word") == first
    with pytest.raises(Problem, match="another request"):
        desk.begin("word", amount=1)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (q.BeginPayment("nobody", Amount(1, "EUR")), "provider"),
        (q.BeginPayment("pay", Amount(0, "EUR")), "amount"),
    ],
)
def test_a_payment_that_cannot_be_begun(request_: q.BeginPayment, field: str) -> None:
    with pytest.raises(Problem) as refused:
        Desk().books.call("payment-begin", request_, "a-rx")
    assert [one.field for one in refused.value.fields] == [field]


def test_payments_without_end_are_not_begun() -> None:
    desk = Desk()
    for _ in range(19):
        desk.begin()
    with pytest.raises(Problem) as refused:
        desk.begin()
    assert refused.value.code == "too-many-requests"
    request = q.BeginPayment("pay", Amount(1, "EUR"))
    desk.books.call("payment-begin", request, "a-rx", now=NOW + 86_401)


def test_payments_of_others_are_not_found() -> None:
    desk = Desk()
    for operation, request in (
        ("payment-show", q.ById(desk.payment.id)),
        ("payment-started", q.PaymentStarted(desk.payment.id, "x")),
    ):
        with pytest.raises(Problem) as refused:
            desk.books.call(operation, request, "a-ry")
        assert refused.value.code == "not-found"
    mine, theirs = (desk.books.call("payment-list", by=who) for who in ("a-rx", "a-ry"))
    assert [len(one.payments) for one in (mine, theirs)] == [1, 0]
    assert mine.providers == ("pay", "other")
    assert desk.books.call("payment-show", q.ById(desk.payment.id), "unix:0").state == "begun"


def test_a_provider_that_cannot_be_used_is_said() -> None:
    for settings, says in (
        (ProviderSettings("pay", "webhook", SecretBytes(b"short")), "16 are needed"),
        (ProviderSettings("pay", "cheque", SECRET), "unknown"),
    ):
        with pytest.raises(ValueError, match=says):
            of_settings([settings])


# --- Stripe -----------------------------------------------------------------------------------------


def stripe_event(type_: str, **about: Any) -> bytes:
    return json.dumps({"id": "evt_1", "object": "event", "type": type_, "data": {"object": about}}).encode()


def stripe_says(octets: bytes) -> Any:
    provider = of_settings([ProviderSettings("pay", "stripe", SECRET)])["pay"]
    return provider.read_call(octets, sign(octets, SECRET, NOW), NOW)


SESSION = {
    "id": "cs_1",
    "client_reference_id": "pay-1",
    "amount_total": 1000,
    "currency": "eur",
    "payment_status": "paid",
}


@pytest.mark.parametrize(
    ("type_", "about", "kind", "external"),
    [
        ("checkout.session.completed", SESSION, "paid", "cs_1"),
        ("checkout.session.async_payment_succeeded", SESSION, "paid", "cs_1"),
        ("checkout.session.async_payment_failed", SESSION, "failed", "cs_1"),
        ("checkout.session.expired", SESSION, "failed", "cs_1"),
        (
            "charge.refunded",
            {"id": "ch_1", "amount": 1000, "amount_refunded": 1000, "currency": "eur"}
            | {"metadata": {"gkmd_payment": "pay-1"}},
            "returned",
            "",
        ),
    ],
)
def test_stripe_events_are_read(type_: str, about: dict[str, Any], kind: str, external: str) -> None:
    event = stripe_says(stripe_event(type_, **about))
    assert (event.payment, event.kind, event.external) == ("pay-1", kind, external)
    assert (event.amount, event.currency) == (1000, "EUR")


def test_stripe_events_about_something_else_are_taken_and_mean_nothing() -> None:
    assert stripe_says(stripe_event("customer.created", id="cus_1", metadata=[])) is None
    assert (
        stripe_says(stripe_event("checkout.session.completed", **SESSION | {"payment_status": "unpaid"}))
        is None
    )
    foreign = SESSION | {"client_reference_id": None}
    assert stripe_says(stripe_event("checkout.session.completed", **foreign)) is None


def test_stripe_counts_some_currencies_otherwise() -> None:
    event = stripe_says(stripe_event("checkout.session.completed", **SESSION | {"currency": "isk"}))
    assert (event.amount, event.currency) == (10, "ISK")
    with pytest.raises(Problem, match="no fractions"):
        stripe_says(
            stripe_event("checkout.session.completed", **SESSION | {"currency": "isk", "amount_total": 1001})
        )


def test_a_stripe_event_that_is_old_or_of_another_secret_is_refused() -> None:
    octets = stripe_event("checkout.session.completed", **SESSION)
    provider = of_settings([ProviderSettings("pay", "stripe", SECRET)])["pay"]
    for secret, at in ((OTHER, NOW), (SECRET, NOW - TOLERANCE - 1)):
        with pytest.raises(Problem) as refused:
            provider.read_call(octets, sign(octets, secret, at), NOW)
        assert refused.value.code == "forbidden"


def test_a_part_of_a_payment_that_is_refunded_is_not_booked_by_itself() -> None:
    """A Payment is returned as a whole; the operator hears of anything else from the audit log."""
    books = Books(providers=(ProviderSettings("pay", "stripe", SECRET),))
    shown = books.call("payment-begin", q.BeginPayment("pay", Amount(1000, "EUR")), "a-rx")
    refund = {"id": "ch_1", "amount_refunded": 400, "currency": "eur", "metadata": {"gkmd_payment": shown.id}}
    octets = stripe_event("charge.refunded", **refund)
    with pytest.raises(Problem, match="is not believed"):
        books.call("provider-call", q.ProviderCall("pay", octets.decode(), sign(octets, SECRET, NOW)))
    assert [line.action for line in books.audited()] == ["payment-begin", "provider-call-refused"]
