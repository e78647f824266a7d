"""My balance: what is on it, vouchers that are worth money, and paying by a provider."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gkmd.api.problem import Problem
from gkmd.api.results import BalanceView, Payments, PaymentView
from gkmd.web.checkout import Checkout
from gkmd.web.forms import Faults, Form
from gkmd.web.refused import about
from gkmd.web.visit import Portal, Visit, endpoint


class MoneyPages:
    def __init__(self, portal: Portal, checkout: Checkout) -> None:
        self._portal = portal
        self._checkout = checkout

    def routes(self) -> list[Route]:
        def at(path: str, page: Any, method: str = "GET") -> Route:
            return Route(path, endpoint(self._portal, page, "any"), methods=[method])

        return [
            at("/balance", self.show),
            at("/balance/redeem", self.redeem, "POST"),
            at("/balance/pay", self.pay, "POST"),
            at("/payments/{id}", self.payment),
        ]

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, Form.of(currency=self._portal.config.currency))

    async def _show(self, visit: Visit, form: Form) -> Response:
        balance = await visit.ask("balance", BalanceView)
        after = visit.request.query_params.get("after", "")
        payments = await visit.ask("payment-list", Payments, after=after, limit=50)
        status = 200 if form.problem is None else form.problem.status
        usable = [one for one in payments.providers if one in self._checkout.names]
        return visit.page(
            "balance.html", status, balance=balance, payments=payments, providers=usable, form=form
        )

    @about("voucher-redeem")
    async def redeem(self, visit: Visit) -> Response:
        try:
            await visit.ask("voucher-redeem", BalanceView, code=visit.form.text("code"))
        except Problem as problem:
            return await self._show(visit, visit.form.again(problem))
        return visit.go("/balance", "redeemed")

    @about("payment-begin")
    async def pay(self, visit: Visit) -> Response:
        """The payment is noted first, then begun at the provider: when that fails, it is given up."""
        form = visit.form

        async def make() -> Response:
            faults = Faults()
            amount = faults.money("amount", form.text("amount"), self._portal.config.currency)
            faults.end()
            begun = await visit.ask(
                "payment-begin",
                PaymentView,
                provider=form.text("provider"),
                amount=amount,
                once=form.value("once")[:100],
            )
            return await self._begin(visit, begun)

        try:
            return await visit.once(make)
        except Problem as problem:
            return await self._show(visit, form.again(problem))

    async def _begin(self, visit: Visit, payment: PaymentView) -> Response:
        try:
            url = await self._checkout.begin(payment, visit.caller)
        except Problem:
            visit.told = True
            raise
        return visit.keep(RedirectResponse(url, 303))

    async def payment(self, visit: Visit) -> Response:
        found = await visit.ask("payment-show", PaymentView, id=visit.path("id"))
        return visit.page("payment.html", one=found)
