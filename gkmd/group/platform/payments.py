"""Money on its way from a payment provider to a balance.

A payment goes from ``begun`` to ``paid`` or ``failed``, from ``failed`` still to ``paid``, and from any of
them to ``returned``, where it stays. What a provider calls twice, or late, changes nothing more. The portal
speaks to the provider; here is only what was agreed, and what the provider has signed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.money import Money
from gkmd.core.rng import Rng
from gkmd.group.platform import providers
from gkmd.group.platform.access import account_of
from gkmd.group.platform.audit import Audit, place_of
from gkmd.group.platform.balances import Balances
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.ledger import Ledger, balance_of, provider_of
from gkmd.group.platform.once import Once
from gkmd.group.platform.pages import page, place
from gkmd.group.platform.providers import ProviderEvent
from gkmd.group.platform.records import Payment, Posting
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.work import Handlers, Work

_A_DAY: Final = 86_400.0
_STARTED: Final = _A_DAY  # after which a payment that came to no provider is given up,
_ANSWERED: Final = 30 * _A_DAY  # and one of which the provider says nothing
MOST_BEGUN: Final = 20  # payments that an account begins in a day and does not finish


class Payments:
    """ValueError for settings of a provider that cannot be used."""

    def __init__(
        self,
        facts: Facts,
        settings: PlatformSettings,
        ledger: Ledger,
        balances: Balances,
        audit: Audit,
        once: Once,
        rng: Rng,
    ) -> None:
        self._facts: Final = facts
        self._ledger: Final = ledger
        self._balances: Final = balances
        self._audit: Final = audit
        self._once: Final = once
        self._rng: Final = rng
        self._providers = providers.of_settings(settings.providers)
        self._of_account: Final = facts.index(Payment, lambda payment: payment.account)
        self._begun: Final = facts.index(Payment, lambda payment: payment.state == "begun" or None)

    def adopt(self, settings: PlatformSettings) -> None:
        """The operator has changed the settings."""
        self._providers = providers.of_settings(settings.providers)

    def operations(self) -> Handlers:
        return {
            "payment-begin": self._begin,
            "payment-started": self._started,
            "provider-report": self._reported,
            "payment-show": self._show,
            "payment-list": self._list,
            "provider-call": self._call,
        }

    def _begin(self, request: q.BeginPayment, work: Work) -> r.PaymentView:
        account = account_of(work.who)
        before = self._once.found(work.who.actor, "payment-begin", request.once, request)
        if before is not None:
            return view(self._mine(before, work))
        if request.provider not in self._providers:
            _refuse("provider", f"there is no provider {request.provider!r}: payment-list names them")
        if request.amount.amount == 0:
            _refuse("amount", "0 is no amount of money: more than that is needed")
        amount = Money(request.amount.currency, request.amount.amount)
        self._balances.room(account, amount)
        mine = self._of_account.find(account.id).values()
        begun = sum(unfinished(one) and one.created + _A_DAY > work.now for one in mine)
        if begun >= MOST_BEGUN:
            text = f"{begun} payments were begun today and not finished: finish one, or come back tomorrow"
            raise Problem("too-many-requests", text)
        payment = Payment(
            new_id("pay-", self._rng),
            account.id,
            request.provider,
            amount.amount,
            amount.currency,
            "begun",
            "",
            work.now,
            work.now,
        )
        self._facts.put(payment)
        self._once.keep(work.who.actor, "payment-begin", request.once, request, payment.id, work.now)
        self._note(work, "payment-begin", payment)
        return view(payment)

    def _started(self, request: q.PaymentStarted, work: Work) -> r.PaymentView:
        """A payment has one id at the provider, for good: with another one it could be paid twice."""
        payment = self._mine(request.id, work)
        if payment.external and payment.external != request.external:
            raise Problem(
                "conflict",
                "the provider knows this payment by another id: use the payment's own id as idempotency key",
            )
        if not payment.external:
            # It may have been given up when the provider did not answer before.
            state = "begun" if payment.state == "failed" else payment.state
            payment = replace(payment, external=request.external, state=state, changed=work.now)
            self._facts.put(payment)
            self._note(work, "payment-started", payment)
        return view(payment)

    def _reported(self, request: q.ProviderReport, work: Work) -> r.Nothing:
        """The portal has asked the provider. A payment that it could not take is given up at once: whoever
        is to pay cannot, and should the provider know it all the same, its signed call still counts.
        """
        payment = self._mine(request.id, work)
        actor = f"provider:{payment.provider}"
        if request.found == "works":
            self._audit.refusal(actor, "provider-works", payment.account, work.now, payment=payment.id)
            return r.Nothing()
        detail = {"payment": payment.id, "reason": request.found}
        self._audit.refusal(actor, "provider-failed", payment.account, work.now, **detail)
        if payment.state == "begun" and not payment.external:
            self._give_up(payment, work.now)
        return r.Nothing()

    def sweep(self, now: float) -> None:
        """Payments of which nothing was heard for so long that nothing will be are given up."""
        for payment in tuple(self._begun.find(True).values()):
            if now >= payment.changed + (_ANSWERED if payment.external else _STARTED):
                self._give_up(payment, now)

    def _give_up(self, payment: Payment, now: float) -> None:
        """To ``failed``, from where it is still paid when the provider says so."""
        after = replace(payment, state="failed", changed=now)
        self._facts.put(after)
        self._line("gkmd", "payment-given-up", after, now)

    def _show(self, request: q.ById, work: Work) -> r.PaymentView:
        return view(self._mine(request.id, work))

    def _list(self, request: q.ListPayments, work: Work) -> r.Payments:
        """Newest first."""
        mine = self._of_account.find(account_of(work.who).id).values()
        rows = ((place(one.created, one.id), one) for one in mine)
        shown, after = page(rows, request.after, request.limit, newest=True)
        return r.Payments(tuple(view(one) for one in shown), tuple(self._providers), after)

    def _mine(self, id: str, work: Work) -> Payment:
        payment = self._facts.get(Payment, id)
        if payment is None or (payment.account != work.who.actor and not work.who.operates):
            raise Problem("not-found", f"you have no payment {id!r}")
        return payment

    def _call(self, request: q.ProviderCall, work: Work) -> r.Nothing:
        """Genuine calls that change nothing any more are answered like those that do, or they come again."""
        provider = self._providers.get(request.provider)
        if provider is None:
            raise Problem("not-found", f"there is no provider {request.provider!r}")
        try:
            event = provider.read_call(request.body.encode("utf-8"), request.signature, work.now)
        except UnicodeEncodeError:
            raise Problem("bad-request", "the call's body is no UTF-8") from None
        except Problem as problem:
            self._remember(work, request.provider, "", problem.code, problem.reason)
            raise
        if event is not None:
            payment = self._meant(request.provider, event, work)
            self._follow(payment, event, work)
        return r.Nothing()

    def _meant(self, provider: str, event: ProviderEvent, work: Work) -> Payment:
        """The payment of an event. Problem ``conflict`` when it is none of this provider's or the amount is
        another: then nothing is believed.
        """
        payment = self._facts.get(Payment, event.payment)
        wrong = ""
        if payment is None or payment.provider != provider:
            payment, wrong = None, "it was never begun with this provider"
        elif payment.external and event.external and payment.external != event.external:
            wrong = "it has another id at the provider"
        elif event.kind != "failed" and (event.amount, event.currency) != (payment.amount, payment.currency):
            agreed = Money(payment.currency, payment.amount)
            wrong = f"{event.amount} minor units of {event.currency} are not the {agreed} that were agreed on"
        if payment is None or wrong:
            self._remember(work, provider, "" if payment is None else payment.id, wrong, "not-believed")
            raise Problem("conflict", f"the call about payment {event.payment!r} is not believed: {wrong}")
        return payment

    def _remember(self, work: Work, provider: str, payment: str, why: str, reason: str) -> None:
        def note() -> None:
            self._audit.refusal(
                f"provider:{provider}",
                "provider-call-refused",
                payment,
                work.now,
                # What strangers send in its name hides nothing that it says itself.
                share=reason if reason == providers.FORGED else "",
                refused=why,
                reason=reason,
                origin=place_of(work.who.origin),
            )

        work.even_if_refused(note)

    def _follow(self, payment: Payment, event: ProviderEvent, work: Work) -> None:
        before = payment.state
        if event.kind == "paid" and before in ("begun", "failed"):
            self._post("payment", payment, payment.amount, work.now)
        elif event.kind == "returned" and before == "paid":
            self._post("return", payment, -payment.amount, work.now)
        elif not (event.kind == "failed" and before == "begun") and not (
            # It was overtaken by its own return: the money does not come any more.
            event.kind == "returned" and before in ("begun", "failed")
        ):
            # Repeated, replayed or overtaken: the money is where it belongs.
            actor, said = f"provider:{payment.provider}", {"payment": payment.id, "kind": event.kind}
            self._audit.refusal(actor, "provider-call-repeated", payment.account, work.now, **said)
            return
        external = payment.external or event.external
        after = replace(payment, state=event.kind, external=external, changed=work.now)
        self._facts.put(after)
        self._note(work, f"payment-{after.state}", after, actor=f"provider:{after.provider}")

    def _post(self, kind: str, payment: Payment, amount: int, now: float) -> None:
        """The payment's state sees to it that it happens once."""
        self._ledger.post(
            kind,
            f"{kind}:{payment.id}",
            payment.currency,
            (Posting(provider_of(payment.provider), amount), Posting(balance_of(payment.account), -amount)),
            now,
            remember=False,
        )

    def _note(self, work: Work, action: str, payment: Payment, actor: str = "") -> None:
        self._line(actor or work.who.actor, action, payment, work.now)

    def _line(self, actor: str, action: str, payment: Payment, now: float) -> None:
        self._audit.note(
            actor,
            action,
            payment.account,
            now,
            payment=payment.id,
            provider=payment.provider,
            amount=payment.amount,
            currency=payment.currency,
        )


def view(payment: Payment) -> r.PaymentView:
    return r.PaymentView(
        payment.id,
        payment.provider,
        Amount(amount=payment.amount, currency=payment.currency),
        payment.state,
        payment.created,
        payment.changed,
    )


def unfinished(payment: Payment) -> bool:
    """Its money may come yet. One that was given up counts, too: a provider that was too late may have it."""
    return payment.state == "begun" or (payment.state == "failed" and not payment.external)


def _refuse(field: str, text: str) -> None:
    raise Problem("invalid", f"{field}: {text}", (FieldProblem(field, text),))
