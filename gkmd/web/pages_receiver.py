"""What a receiver does: what is on, getting a ticket, my tickets."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from gkmd.api.problem import Problem
from gkmd.api.results import BalanceView, Nothing, Tickets, TicketView, Transmission, Transmissions
from gkmd.web.forms import Faults, Form
from gkmd.web.pages_account import qr_code
from gkmd.web.refused import about
from gkmd.web.visit import Portal, Visit, endpoint

_STATES = ("both", "now", "coming")


class ReceiverPages:
    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def routes(self) -> list[Route]:
        def at(path: str, page: Any, method: str = "GET", role: str = "any") -> Route:
            return Route(path, endpoint(self._portal, page, role), methods=[method])

        return [
            at("/", self.now, role=""),
            at("/transmissions", self.catalogue, role=""),
            at("/transmissions/{id}", self.transmission, role=""),
            at("/transmissions/{id}/ticket", self.get_ticket, "POST"),
            at("/tickets", self.tickets),
            at("/tickets/{id}", self.ticket),
            at("/tickets/{id}/file", self.file),
            at("/tickets/{id}/revoke", self.show_revoke),
            at("/tickets/{id}/revoke", self.revoke, "POST"),
        ]

    async def now(self, visit: Visit) -> Response:
        on = await visit.ask("catalogue", Transmissions, state="now", limit=50)
        coming = await visit.ask("catalogue", Transmissions, state="coming", limit=10)
        return visit.page("now.html", on=on.transmissions, coming=coming.transmissions)

    async def catalogue(self, visit: Visit) -> Response:
        query = visit.request.query_params
        state = query.get("state", "both")
        state = state if state in _STATES else "both"
        search, after = query.get("search", "")[:100], query.get("after", "")
        found = await visit.ask("catalogue", Transmissions, state=state, search=search, after=after, limit=50)
        return visit.page("catalogue.html", found=found, state=state, search=search)

    async def transmission(self, visit: Visit) -> Response:
        return await self._transmission(visit)

    async def _transmission(self, visit: Visit, problem: Problem | None = None) -> Response:
        one = await visit.ask("transmission", Transmission, id=visit.path("id"))
        balance = await visit.ask("balance", BalanceView) if visit.account is not None else None
        form = visit.form if problem is None else visit.form.again(problem, {"most": "pay"})
        status = 200 if problem is None else problem.status
        return visit.page("transmission.html", status, one=one, balance=balance, form=form)

    @about("ticket-issue")
    async def get_ticket(self, visit: Visit) -> Response:
        """Consent is to the price that the page showed: when it has risen since, nothing is charged."""
        form = visit.form

        async def make() -> Response:
            request: dict[str, Any] = {"id": visit.path("id")}
            if form.ticked("pay"):
                request["most"] = _seen_price(form)
            elif form.ticked("needs", "price"):
                faults = Faults()
                faults.add("pay", "must be ticked: there is no other way in")
                faults.end()
            for name in ("voucher", "listed"):
                if form.text(name):
                    request[name] = form.text(name)
            if form.value("password"):
                request["password"] = form.value("password")
            found = await visit.ask("ticket-issue", TicketView, **request)
            return visit.go(f"/tickets/{found.id}", "ticket-changed" if form.ticked("held") else "ticket")

        try:
            return await visit.once(make)
        except Problem as problem:
            return await self._transmission(visit, problem)

    async def tickets(self, visit: Visit) -> Response:
        after = visit.request.query_params.get("after", "")
        found = await visit.ask("ticket-list", Tickets, after=after, limit=50)
        return visit.page("tickets.html", found=found)

    async def ticket(self, visit: Visit) -> Response:
        found = await visit.ask("ticket-show", TicketView, id=visit.path("id"))
        qr: Any = ""
        if found.configuration and found.revoked is None:
            try:
                qr = qr_code(found.configuration, "QR code of the ticket's file")
            except ValueError:
                qr = ""
        return visit.page("ticket.html", one=found, qr=qr)

    async def file(self, visit: Visit) -> Response:
        found = await visit.ask("ticket-show", TicketView, id=visit.path("id"))
        if not found.configuration:
            raise Problem("not-found", "There is no file of this ticket.")
        headers = {"Content-Disposition": f'attachment; filename="{found.id}.toml"'}
        return Response(found.configuration, media_type="application/toml", headers=headers)

    async def show_revoke(self, visit: Visit) -> Response:
        found = await visit.ask("ticket-show", TicketView, id=visit.path("id"))
        return visit.page("ticket_revoke.html", one=found)

    @about("ticket-revoke")
    async def revoke(self, visit: Visit) -> Response:
        await visit.ask("ticket-revoke", Nothing, id=visit.path("id"))
        return visit.go("/tickets", "ticket-revoked")


def _seen_price(form: Form) -> dict[str, Any]:
    """The price that was shown; Problem when the form holds none."""
    amount, currency = form.value("price_amount"), form.value("price_currency")
    if not (amount.isascii() and amount.isdigit() and len(amount) <= 13):
        raise Problem("bad-request", "The form does not say the price that you have seen.")
    return {"amount": int(amount), "currency": currency}
