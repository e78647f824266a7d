"""What an operator does: users, members, the audit log, the ledger, vouchers that are worth money, health."""

from __future__ import annotations

import secrets
from typing import Any, Final, get_args

from starlette.responses import Response
from starlette.routing import Route

from gkmd.api.nouns import Role
from gkmd.api.problem import Problem
from gkmd.api.results import (
    Accounts,
    AccountView,
    Audit,
    AuditVerified,
    BalanceView,
    Batches,
    Entries,
    Forgotten,
    Health,
    Ledger,
    Members,
    NewVouchers,
    Nothing,
)
from gkmd.core.money import Money
from gkmd.web.forms import Faults, Form, words
from gkmd.web.pages_list import codes_file
from gkmd.web.refused import about
from gkmd.web.visit import Portal, Visit, endpoint

ROLES: Final = get_args(Role)
_BOOKINGS: Final = {
    "credit": "user-credit",
    "settle": "user-settle",
    "pay-out": "user-pay-out",
    "pay-back": "user-pay-back",
}


class OperatorPages:
    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def routes(self) -> list[Route]:
        def at(path: str, page: Any, method: str = "GET") -> Route:
            return Route(f"/operator{path}", endpoint(self._portal, page, "operator"), methods=[method])

        return [
            at("/users", self.users),
            at("/users", self.add, "POST"),
            at("/users/new", self.show_add),
            at("/users/{login}", self.user),
            at("/users/{login}", self.change, "POST"),
            at("/users/{login}/booking", self.book, "POST"),
            at("/users/{login}/forget", self.show_forget),
            at("/users/{login}/forget", self.forget, "POST"),
            at("/members", self.members),
            at("/audit", self.audit),
            at("/audit/verify", self.verify, "POST"),
            at("/ledger", self.ledger),
            at("/ledger/entries", self.entries),
            at("/vouchers", self.vouchers),
            at("/vouchers", self.create_vouchers, "POST"),
            at("/vouchers/file", self.file, "POST"),
            at("/vouchers/{batch}/revoke", self.revoke_vouchers, "POST"),
            at("/health", self.health),
        ]

    @property
    def _currency(self) -> str:
        return self._portal.config.currency

    async def users(self, visit: Visit) -> Response:
        query = visit.request.query_params
        search = query.get("search", "")[:100]
        found = await visit.ask("user-list", Accounts, search=search, after=query.get("after", ""), limit=100)
        return visit.page("users.html", found=found, search=search)

    async def show_add(self, visit: Visit) -> Response:
        form = Form.of(roles=["receiver"], currency=self._currency)
        return visit.page("user_new.html", form=form, all_roles=ROLES)

    @about("user-add")
    async def add(self, visit: Visit) -> Response:
        form = visit.form

        async def make() -> Response:
            faults = Faults()
            request: dict[str, Any] = {
                "login": form.text("login").lower(),
                "password": form.value("password"),
                "name": form.text("name"),
                "roles": form.all("roles"),
                "classes": words(form.value("classes")),
            }
            if form.text("credit_limit"):
                request["credit_limit"] = faults.money(
                    "credit_limit", form.text("credit_limit"), self._currency
                )
            faults.end()
            found = await visit.ask("user-add", AccountView, **request)
            return visit.go(f"/operator/users/{found.login}", "user-added")

        try:
            return await visit.once(make)
        except Problem as problem:
            return visit.page("user_new.html", problem.status, form=form.again(problem), all_roles=ROLES)

    async def user(self, visit: Visit) -> Response:
        return await self._user(visit)

    async def _user(self, visit: Visit, problem: Problem | None = None) -> Response:
        one = await visit.ask("user-show", AccountView, login=visit.path("login"))
        balance = await visit.ask("user-balance", BalanceView, login=one.login)
        form = _form_of(one, self._currency) if problem is None else visit.form.again(problem)
        if problem is not None and not visit.form.has("login_shown"):
            # The other form of the page keeps showing what is.
            kept = _form_of(one, self._currency)
            form = Form({**kept.values, **visit.form.values}, problem)
        status = 200 if problem is None else problem.status
        reference = secrets.token_hex(8)
        return visit.page(
            "user.html",
            status,
            one=one,
            balance=balance,
            form=form,
            all_roles=ROLES,
            bookings=_BOOKINGS,
            reference=reference,
        )

    @about("user-change")
    async def change(self, visit: Visit) -> Response:
        form, login = visit.form, visit.path("login")
        try:
            faults = Faults()
            request: dict[str, Any] = {
                "login": login,
                "name": form.text("name"),
                "roles": form.all("roles"),
                "classes": words(form.value("classes")),
                "confirmed": form.ticked("confirmed"),
                "disabled": form.ticked("disabled"),
                "reset_factors": form.ticked("reset_factors"),
                "credit_limit": None,
            }
            if form.text("credit_limit"):
                request["credit_limit"] = faults.money(
                    "credit_limit", form.text("credit_limit"), self._currency
                )
            if form.value("password"):
                request["password"] = form.value("password")
            faults.end()
            await visit.ask("user-change", AccountView, **request)
        except Problem as problem:
            return await self._user(visit, problem)
        return visit.go(f"/operator/users/{login}", "user-changed")

    @about("user-credit")
    async def book(self, visit: Visit) -> Response:
        """Money that came or went outside: the reference makes that it counts once."""
        form, login = visit.form, visit.path("login")
        operation = _BOOKINGS.get(form.value("booking"))
        try:
            faults = Faults()
            if operation is None:
                faults.add("booking", "choose what it is")
            amount = faults.money("amount", form.text("amount"), form.text("currency").upper())
            faults.end()
            assert operation is not None
            await visit.ask(
                operation,
                BalanceView,
                login=login,
                amount=amount,
                reference=form.text("reference"),
                memo=form.text("memo"),
            )
        except Problem as problem:
            return await self._user(visit, problem)
        return visit.go(f"/operator/users/{login}", "booked")

    async def show_forget(self, visit: Visit) -> Response:
        one = await visit.ask("user-show", AccountView, login=visit.path("login"))
        return visit.page("forget.html", one=one)

    @about("user-forget")
    async def forget(self, visit: Visit) -> Response:
        login = visit.path("login")
        try:
            if visit.form.text("again") != login:
                faults = Faults()
                faults.add("again", "is not this login")
                faults.end()
            found = await visit.ask("user-forget", Forgotten, login=login)
        except Problem as problem:
            one = await visit.ask("user-show", AccountView, login=login)
            return visit.page("forget.html", problem.status, one=one, form=visit.form.again(problem))
        return visit.page("forgotten.html", found=found, login=login)

    async def members(self, visit: Visit) -> Response:
        query = visit.request.query_params
        wanted: dict[str, Any] = {name: query.get(name, "")[:100] for name in ("group", "search")}
        found = await visit.ask("members", Members, **wanted, after=query.get("after", ""), limit=100)
        return visit.page("members.html", found=found, **wanted)

    async def audit(self, visit: Visit) -> Response:
        return await self._audit(visit)

    async def _audit(self, visit: Visit, verified: AuditVerified | None = None) -> Response:
        query = visit.request.query_params
        wanted: dict[str, Any] = {name: query.get(name, "")[:100] for name in ("subject", "actor", "after")}
        wanted["newest"] = query.get("order") != "oldest"
        found = await visit.ask("audit", Audit, limit=100, **wanted)
        return visit.page("audit.html", found=found, wanted=wanted, verified=verified)

    @about("audit-verify")
    async def verify(self, visit: Visit) -> Response:
        return await self._audit(visit, await visit.ask("audit-verify", AuditVerified))

    async def ledger(self, visit: Visit) -> Response:
        query = visit.request.query_params
        search = query.get("search", "")[:100]
        found = await visit.ask("ledger", Ledger, search=search, after=query.get("after", ""), limit=100)
        return visit.page("ledger.html", found=found, search=search)

    async def entries(self, visit: Visit) -> Response:
        query = visit.request.query_params
        account, newest = query.get("account", "").strip()[:200], query.get("order") != "oldest"
        wanted = {"account": account, "newest": newest, "after": query.get("after", ""), "limit": 100}
        found = await visit.ask("ledger-entries", Entries, **wanted)
        return visit.page("entries.html", found=found, account_shown=account, newest=newest)

    async def vouchers(self, visit: Visit) -> Response:
        return await self._vouchers(visit, Form.of(currency=self._currency))

    async def _vouchers(self, visit: Visit, form: Form) -> Response:
        after = visit.request.query_params.get("after", "")
        found = await visit.ask("value-voucher-list", Batches, after=after, limit=100)
        status = 200 if form.problem is None else form.problem.status
        return visit.page("value_vouchers.html", status, found=found, form=form)

    @about("value-voucher-revoke")
    async def revoke_vouchers(self, visit: Visit) -> Response:
        await visit.ask("value-voucher-revoke", Nothing, id=visit.path("batch"))
        return visit.go("/operator/vouchers", "vouchers-revoked")

    @about("value-voucher-create")
    async def create_vouchers(self, visit: Visit) -> Response:
        form = visit.form

        async def make() -> Response:
            faults = Faults()
            amount = faults.money("amount", form.text("amount"), form.text("currency").upper())
            count = faults.whole("count", form.text("count"))
            faults.end()
            once = form.value("once")[:100]
            found = await visit.ask(
                "value-voucher-create", NewVouchers, amount=amount, count=count, once=once
            )
            return visit.page("codes.html", made=found, back="/operator/vouchers")

        try:
            return await visit.once(make)
        except Problem as problem:
            return await self._vouchers(visit, form.again(problem))

    @about("value-voucher-create")
    async def file(self, visit: Visit) -> Response:
        return codes_file(visit)

    async def health(self, visit: Visit) -> Response:
        return visit.page("health.html", health=await visit.ask("health", Health))


def _form_of(one: AccountView, currency: str) -> Form:
    limit = one.credit_limit
    return Form.of(
        name=one.name,
        roles=list(one.roles),
        classes=", ".join(one.classes),
        confirmed=["on"] if one.confirmed else [],
        disabled=["on"] if one.disabled else [],
        credit_limit=str(Money(limit.currency, limit.amount)) if limit is not None else "",
        currency=currency,
    )
