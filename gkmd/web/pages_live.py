"""What a sender sees of a transmission while it runs, and its statement."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.api.results import ReservationView, Statement, Statistics
from gkmd.web.checked import check
from gkmd.web.live import stream_response
from gkmd.web.problems import problem_response
from gkmd.web.statement_file import LINES, statement_file
from gkmd.web.visit import Portal, Visit, endpoint


class LivePages:
    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def routes(self) -> list[Route]:
        def at(path: str, page: Any) -> Route:
            return Route(path, endpoint(self._portal, page, "sender"), methods=["GET"])

        return [
            at("/reservations/{id}/live", self.live),
            at("/reservations/{id}/live/stream", self.stream),
            at("/reservations/{id}/statement", self.statement),
            at("/reservations/{id}/statement.json", self.as_json),
            at("/reservations/{id}/statement.csv", self.as_csv),
        ]

    async def live(self, visit: Visit) -> Response:
        one = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        found = await visit.ask("statistics", Statistics, id=one.id)
        return visit.page("live.html", one=one, statistics=found)

    async def stream(self, visit: Visit) -> Response:
        try:
            data = check(OPERATIONS["statistics"], {"id": visit.path("id")})
            return await stream_response(
                visit.request, self._portal.daemon, self._portal.streams, data, visit.caller
            )
        except Problem as problem:
            return problem_response(problem)

    async def statement(self, visit: Visit) -> Response:
        one = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        after = visit.request.query_params.get("after", "")
        found = await visit.ask("statement", Statement, id=one.id, after=after, limit=100)
        return visit.page("statement.html", one=one, statement=found)

    async def as_json(self, visit: Visit) -> Response:
        return await statement_file("json", lambda after: self._asked(visit, after))

    async def as_csv(self, visit: Visit) -> Response:
        return await statement_file("csv", lambda after: self._asked(visit, after))

    async def _asked(self, visit: Visit, after: str) -> Statement:
        return await visit.ask("statement", Statement, id=visit.path("id"), after=after, limit=LINES)
