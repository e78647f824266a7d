"""What a sender sees of a transmission while it runs, and its statement."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.api.results import ReservationView, Statement, Statistics
from gkmd.api.statement_csv import csv_heading, csv_lines, csv_totals
from gkmd.web.checked import check
from gkmd.web.live import stream_response
from gkmd.web.problems import problem_response
from gkmd.web.visit import Portal, Visit, endpoint

_LINES: Final = 500  # of a statement that are asked for at once


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
        first = await visit.ask("statement", Statement, id=visit.path("id"), limit=_LINES)
        return _file(_as_json(visit, first), "application/json", f"statement-{first.reservation}.json")

    async def as_csv(self, visit: Visit) -> Response:
        first = await visit.ask("statement", Statement, id=visit.path("id"), limit=_LINES)
        return _file(_as_csv(visit, first), "text/csv", f"statement-{first.reservation}.csv")


async def _pages(visit: Visit, page: Statement) -> AsyncIterator[Statement]:
    """The statement's pages from the first one on. Lines are only added at the end, so the last page's totals
    are those of all lines. A Problem breaks the file off: it has no totals then.
    """
    yield page
    while page.after:
        page = await visit.ask("statement", Statement, id=page.reservation, after=page.after, limit=_LINES)
        yield page


async def _as_csv(visit: Visit, first: Statement) -> AsyncIterator[str]:
    yield csv_heading()
    async for page in _pages(visit, first):
        last = page
        yield csv_lines(page.lines)
    yield csv_totals(last)


async def _as_json(visit: Visit, first: Statement) -> AsyncIterator[bytes]:
    """One object as the API has it, with all lines; its totals come after them."""
    yield b'{"lines":['
    begun = False
    async for page in _pages(visit, first):
        last = page
        if page.lines:
            lines = msgspec.json.encode(page.lines)[1:-1]
            yield b"," + lines if begun else lines
            begun = True
    rest = {name: getattr(last, name) for name in ("reservation", "title", "receivers", "totals", "made")}
    yield b"]," + msgspec.json.encode(rest)[1:]


def _file(parts: AsyncIterator[str] | AsyncIterator[bytes], kind: str, name: str) -> Response:
    """The name is of an id: letters, digits, points and dashes."""
    return StreamingResponse(
        parts, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
