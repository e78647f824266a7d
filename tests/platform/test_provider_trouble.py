"""A provider that is down, answers nonsense or repeats itself: the log says so, and the money stays right."""

from __future__ import annotations

from typing import Any

import pytest
from platform_rig import STRANGER, Rig
from provider_words import OTHER, PROVIDERS, SECRET, body

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.payments import MOST_BEGUN
from gkmd.group.platform.providers import TOLERANCE, sign
from gkmd.group.platform.records import Entry, Payment
from gkmd.group.platform.settings import PlatformSettings

DAY = 86_400.0


class Payer:
    def __init__(self) -> None:
        self.rig = Rig(PlatformSettings(providers=PROVIDERS))
        self.caller = self.rig.caller("rx")
        self.begin()

    def begin(self) -> str:
        view = self.rig.do("payment-begin", q.BeginPayment("pay", Amount(1000, "EUR")), self.caller)
        self.id: str = view.id
        return self.id

    @property
    def payment(self) -> Payment:
        (found,) = (one for one in self.rig.facts(Payment) if one.id == self.id)
        assert isinstance(found, Payment)
        return found

    def report(self, found: Any, caller: Caller | None = None) -> None:
        self.rig.do("provider-report", q.ProviderReport(self.id, found), caller or self.caller)

    def started(self) -> None:
        self.rig.do("payment-started", q.PaymentStarted(self.id, f"x-{self.id}"), self.caller)

    def call(self, kind: str, secret: SecretBytes = SECRET, **changed: Any) -> q.ProviderCall:
        octets = body(self.payment, kind, **changed)
        return q.ProviderCall("pay", octets.decode(), sign(octets, secret, self.rig.now))

    def actions(self) -> list[str]:
        about = [one for one in self.rig.audit_lines() if one.action.startswith(("payment", "provider"))]
        return [one.action for one in about]


@pytest.mark.parametrize("found", ["unreachable", "late", "error", "senseless", "astray", "unknown"])
def test_a_payment_that_the_provider_did_not_take_is_given_up(found: str) -> None:
    payer = Payer()
    payer.report(found)
    assert payer.payment.state == "failed"
    assert payer.actions() == ["payment-begin", "provider-failed", "payment-given-up"]
    (line,) = payer.rig.audit_lines("provider-failed")
    assert (line.actor, line.subject) == ("provider:pay", payer.payment.account)
    assert line.detail == {"payment": payer.id, "reason": found}
    assert payer.rig.facts(Entry) == []


def test_a_provider_that_took_it_all_the_same_is_believed_once() -> None:
    """It was too late with its answer, but the payer had its page."""
    payer = Payer()
    payer.report("late")
    for _ in range(3):
        payer.rig.do("provider-call", payer.call("paid"), STRANGER)
    assert payer.payment.state == "paid"
    assert [one.amount for one in payer.rig.do("balance", None, payer.caller).balances] == [1000]
    assert payer.actions()[-3:] == ["payment-paid", "provider-call-repeated", "provider-call-repeated"]
    payer.report("unreachable")  # comes late
    assert payer.payment.state == "paid"
    assert len(payer.rig.facts(Entry)) == 1


def test_who_is_to_have_the_money_is_not_forgotten_meanwhile() -> None:
    payer = Payer()
    payer.report("late")
    assert payer.rig.refused("user-forget", q.ByLogin("rx")).code == "conflict"
    payer.rig.pass_time(DAY)
    payer.rig.do("user-forget", q.ByLogin("rx"))
    payer.rig.pass_time(60 * DAY)


def test_the_same_payment_is_begun_again_and_the_provider_works() -> None:
    payer = Payer()
    payer.report("unreachable")
    payer.started()
    payer.report("works")
    assert payer.payment.state == "begun"
    assert payer.actions()[-2:] == ["payment-started", "provider-works"]
    payer.report("error")  # the provider has it by now: what it says is waited for
    assert payer.payment.state == "begun"


def test_nobody_reports_about_payments_of_others() -> None:
    payer = Payer()
    other = payer.rig.caller("eve")
    report = q.ProviderReport(payer.id, "unreachable")
    assert payer.rig.refused("provider-report", report, other).code == "not-found"
    assert payer.rig.refused("provider-report", report, STRANGER).code == "sign-in-required"
    token = payer.rig.token(payer.caller, "read", "tickets")
    assert payer.rig.refused("provider-report", report, token).code == "forbidden"
    assert payer.payment.state == "begun"


def test_payments_are_not_begun_without_end_while_the_provider_is_down() -> None:
    payer = Payer()
    payer.report("unreachable")
    for _ in range(MOST_BEGUN - 1):
        payer.begin()
        payer.report("unreachable")
    again = q.BeginPayment("pay", Amount(1000, "EUR"))
    assert payer.rig.refused("payment-begin", again, payer.caller).code == "too-many-requests"
    payer.rig.pass_time(DAY)
    payer.caller = payer.rig.sign_in("rx")
    payer.begin()


@pytest.mark.parametrize(("started", "days"), [(False, 1), (True, 30)])
def test_a_payment_of_which_nothing_is_heard_is_given_up(started: bool, days: int) -> None:
    payer = Payer()
    if started:
        payer.started()
    payer.rig.pass_time(days * DAY - 120)
    assert payer.payment.state == "begun"
    payer.rig.pass_time(240)
    assert payer.payment.state == "failed"
    (line,) = payer.rig.audit_lines("payment-given-up")
    assert (line.actor, line.detail["payment"]) == ("gkmd", payer.id)
    # The provider had it: it is paid when it says so, however late, and once.
    for _ in range(2):
        payer.rig.do("provider-call", payer.call("paid"), STRANGER)
    assert payer.payment.state == "paid"
    assert len(payer.rig.facts(Entry)) == 1
    payer.rig.pass_time(60 * DAY)
    assert payer.payment.state == "paid"


def test_calls_that_are_not_believed_say_why() -> None:
    payer = Payer()
    payer.started()
    good = payer.call("paid")
    payer.rig.now += TOLERANCE + 1
    replayed = payer.rig.refused("provider-call", good, STRANGER)
    assert replayed.code == "forbidden"
    for changed in ({"amount": 999}, {"currency": "USD"}, {"payment": "pay-none"}, {"external": "x-2"}):
        call = payer.call("paid", **changed)
        assert payer.rig.refused("provider-call", call, STRANGER).code == "conflict"
    assert payer.rig.refused("provider-call", payer.call("paid", OTHER), STRANGER).code == "forbidden"
    lines = payer.rig.audit_lines("provider-call-refused")
    assert [one.detail["reason"] for one in lines] == ["old", *["not-believed"] * 4, "forged"]
    assert payer.rig.facts(Entry) == []


def test_forged_calls_do_not_hide_what_the_provider_says_itself() -> None:
    payer = Payer()
    for number in range(400):
        forged = Caller(origin=f"198.51.100.{number % 200}")
        payer.rig.refused("provider-call", payer.call("paid", OTHER), forged)
    payer.rig.refused("provider-call", payer.call("paid", amount=1), STRANGER)
    reasons = [one.detail["reason"] for one in payer.rig.audit_lines("provider-call-refused")]
    assert reasons == ["forged"] * 100 + ["not-believed"]
