"""A sender's reservations: list, reserve, change, extend, cancel, and who was admitted."""

from __future__ import annotations

import zoneinfo
from typing import Any, Final

from starlette.responses import Response
from starlette.routing import Route

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import FieldProblem, Problem
from gkmd.api.results import (
    Checked,
    Nothing,
    Receivers,
    Reservations,
    ReservationView,
    Statistics,
    TicketView,
)
from gkmd.web.checked import check
from gkmd.web.forms import Faults, Form
from gkmd.web.refused import about
from gkmd.web.reserve_form import (
    CIPHERS,
    INTEGRITIES,
    PLACES,
    VISIBILITIES,
    blank,
    change_of,
    filled,
    request_of,
)
from gkmd.web.visit import Portal, Visit, endpoint

ZONES: Final = tuple(sorted(zoneinfo.available_timezones()))
_STATES: Final = ("all", "coming", "open", "over", "cancelled")
_CHOICES: Final[dict[str, Any]] = {
    "zones": ZONES,
    "ciphers": CIPHERS,
    "integrities": INTEGRITIES,
    "visibilities": VISIBILITIES,
}


class SenderPages:
    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def routes(self) -> list[Route]:
        def at(path: str, page: Any, method: str = "POST") -> Route:
            return Route(path, endpoint(self._portal, page, "sender"), methods=[method])

        return [
            at("/reservations", self.list, "GET"),
            at("/reservations", self.reserve),
            at("/reservations/new", self.new, "GET"),
            at("/reservations/check", self.check),
            at("/reservations/{id}", self.show, "GET"),
            at("/reservations/{id}/change", self.show_change, "GET"),
            at("/reservations/{id}/change", self.change),
            at("/reservations/{id}/extend", self.extend),
            at("/reservations/{id}/cancel", self.show_cancel, "GET"),
            at("/reservations/{id}/cancel", self.cancel),
            at("/reservations/{id}/sender-ticket", self.sender_ticket),
            at("/reservations/{id}/receivers", self.receivers, "GET"),
            at("/reservations/{id}/receivers/{party}/evict", self.evict),
        ]

    async def list(self, visit: Visit) -> Response:
        query = visit.request.query_params
        state = query.get("state", "all")
        state = state if state in _STATES else "all"
        search = query.get("search", "")[:100]
        wanted = {"state": state, "search": search, "after": query.get("after", ""), "limit": 50}
        if "operator" in visit.roles:
            wanted["owner"] = query.get("owner", "")
        found = await visit.ask("reservation-list", Reservations, **wanted)
        return visit.page(
            "reservations.html", found=found, state=state, states=_STATES, query=query, search=search
        )

    async def new(self, visit: Visit) -> Response:
        zone = visit.request.query_params.get("zone", "")
        zone = zone if zone in ZONES else "UTC"
        form = blank(zone, visit.portal.now(), self._portal.config.currency)
        return visit.page("reserve.html", form=form, **_CHOICES)

    async def check(self, visit: Visit) -> Response:
        """The part of the page below the form, for htmx: what would be wrong, or that nothing is."""
        problem, found, form = None, None, visit.form
        undecided = not form.all("ways") and not form.text("rule")
        if undecided:  # that stays to be said; what else is wrong is told by now
            form = Form({**form.values, "ways": ["open"]})
        try:
            found = await visit.ask("reservation-check", Checked, **request_of(form))
            if found.problems:
                fields = tuple(FieldProblem(one.field, one.text) for one in found.problems)
                problem = Problem("invalid", "This cannot be reserved yet.", fields)
        except Problem as refused:
            problem = refused
        form = visit.form if problem is None else visit.form.again(problem, PLACES)
        zone = visit.form.text("time_zone")
        return visit.page(
            "reserve_check.html", form=form, found=found, zone=zone, problem=problem, undecided=undecided
        )

    @about("reserve")
    async def reserve(self, visit: Visit) -> Response:
        async def make() -> Response:
            found = await visit.ask("reserve", ReservationView, **request_of(visit.form))
            return visit.go(f"/reservations/{found.id}", "reserved")

        try:
            return await visit.once(make)
        except Problem as problem:
            form = visit.form.again(await self._all_of(visit, problem), PLACES)
            return visit.page("reserve.html", problem.status, form=form, **_CHOICES)

    async def _all_of(self, visit: Visit, problem: Problem) -> Problem:
        """A refusal with all reasons, when the platform has more than one."""
        if problem.code not in ("conflict", "invalid"):
            return problem
        try:
            found = await visit.ask("reservation-check", Checked, **request_of(visit.form))
        except Problem:
            return problem
        if not found.problems:
            return problem
        fields = tuple(FieldProblem(one.field, one.text) for one in found.problems)
        return Problem(problem.code, problem.detail, fields)

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit)

    async def _show(self, visit: Visit, problem: Problem | None = None, places: Any = None) -> Response:
        identifier = visit.path("id")
        found = await visit.ask("reservation-show", ReservationView, id=identifier)
        statistics = await visit.ask("statistics", Statistics, id=identifier)
        form = visit.form if problem is None else visit.form.again(problem, places)
        status = 200 if problem is None else problem.status
        return visit.page("reservation.html", status, one=found, statistics=statistics, form=form)

    async def show_change(self, visit: Visit) -> Response:
        found = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        form = filled(found, self._portal.config.currency)
        return visit.page("change.html", one=found, form=form, **_CHOICES)

    @about("reservation-change")
    async def change(self, visit: Visit) -> Response:
        found = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        try:
            request = change_of(visit.form, found)
            if len(request) > 2:
                await visit.ask("reservation-change", ReservationView, **request)
        except Problem as problem:
            form = visit.form.again(problem, PLACES)
            return visit.page("change.html", problem.status, one=found, form=form, **_CHOICES)
        return visit.go(f"/reservations/{found.id}", "changed")

    @about("reservation-change")
    async def extend(self, visit: Visit) -> Response:
        """To another duration: longer or shorter, also while it runs."""
        form, identifier = visit.form, visit.path("id")
        try:
            faults = Faults()
            seconds = faults.duration("duration", form.text("duration"))
            version = faults.whole("version", form.text("version"), 0)
            faults.end()
            await visit.ask(
                "reservation-change", ReservationView, id=identifier, version=version, duration=seconds
            )
        except Problem as problem:
            return await self._show(visit, problem, {"version": "duration", "start": "duration"})
        return visit.go(f"/reservations/{identifier}", "extended")

    async def show_cancel(self, visit: Visit) -> Response:
        found = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        statistics = await visit.ask("statistics", Statistics, id=found.id)
        return visit.page("cancel.html", one=found, statistics=statistics)

    @about("reservation-cancel")
    async def cancel(self, visit: Visit) -> Response:
        identifier = visit.path("id")
        reason = visit.form.text("reason")
        try:
            await visit.ask("reservation-cancel", ReservationView, id=identifier, reason=reason)
        except Problem as problem:
            found = await visit.ask("reservation-show", ReservationView, id=identifier)
            statistics = await visit.ask("statistics", Statistics, id=found.id)
            form = visit.form.again(problem)
            return visit.page("cancel.html", problem.status, one=found, statistics=statistics, form=form)
        return visit.go(f"/reservations/{identifier}", "cancelled")

    @about("sender-ticket")
    async def sender_ticket(self, visit: Visit) -> Response:
        async def make() -> Response:
            found = await visit.ask(
                "sender-ticket", TicketView, id=visit.path("id"), label=visit.form.text("label")
            )
            return visit.page("sender_ticket.html", ticket=found, reservation=visit.path("id"))

        try:
            return await visit.once(make)
        except Problem as problem:
            return await self._show(visit, problem)

    async def receivers(self, visit: Visit) -> Response:
        return await self._receivers(visit)

    async def _receivers(self, visit: Visit, problem: Problem | None = None) -> Response:
        query = visit.request.query_params
        wanted = {"search": query.get("search", "")[:100], "after": query.get("after", ""), "limit": 100}
        found = await visit.ask("receiver-list", Receivers, id=visit.path("id"), **wanted)
        one = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        form = Form() if problem is None else visit.form.again(problem)
        status = 200 if problem is None else problem.status
        return visit.page("receivers.html", status, one=one, found=found, form=form, search=wanted["search"])

    @about("receiver-evict")
    async def evict(self, visit: Visit) -> Response:
        refund = visit.form.ticked("refund")
        try:
            await visit.ask(
                "receiver-evict", Nothing, id=visit.path("id"), party=visit.path("party"), refund=refund
            )
        except Problem as problem:
            return await self._receivers(visit, problem)
        return visit.go(f"/reservations/{visit.path('id')}/receivers", "evicted")


def checked_id(visit: Visit) -> str:
    """The reservation's id of the path. Problem when it is none."""
    data = check(OPERATIONS["reservation-show"], {"id": visit.path("id")})
    found = data["id"]
    assert isinstance(found, str)
    return found
