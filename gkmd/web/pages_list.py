"""A reservation's list of names, and its vouchers."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any, BinaryIO, Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gkmd.api.problem import FieldProblem, Problem
from gkmd.api.results import Batches, Names, NewVouchers, Nothing, ReservationView
from gkmd.web.bodies import TooLarge
from gkmd.web.forms import Faults, Form
from gkmd.web.imports import Imports
from gkmd.web.pages_sender import checked_id
from gkmd.web.refused import about
from gkmd.web.visit import Portal, Visit, check_word, endpoint

_IN_MEMORY: Final = 1 << 20
_UPLOADS: Final = 8  # files that are being received, each up to ``list_octets`` of temporary disk
_UPLOADS_EACH: Final = 2


class ListPages:
    def __init__(self, portal: Portal, imports: Imports) -> None:
        self._portal = portal
        self._imports = imports
        self._uploads: Counter[str] = Counter()  # by account

    def routes(self) -> list[Route]:
        def at(path: str, page: Any, method: str = "POST", body: bool = True) -> Route:
            return Route(path, endpoint(self._portal, page, "sender", body), methods=[method])

        return [
            at("/reservations/{id}/names", self.names, "GET"),
            at("/reservations/{id}/names", self.upload, body=False),
            at("/reservations/{id}/names/remove", self.remove),
            at("/reservations/{id}/imports/{job}", self.progress, "GET"),
            at("/reservations/{id}/imports/{job}/stop", self.stop),
            at("/reservations/{id}/vouchers", self.vouchers, "GET"),
            at("/reservations/{id}/vouchers", self.create),
            at("/reservations/{id}/vouchers/file", self.file),
            at("/reservations/{id}/vouchers/{batch}/revoke", self.revoke),
        ]

    async def names(self, visit: Visit) -> Response:
        return await self._names(visit)

    async def _names(self, visit: Visit, problem: Problem | None = None, places: Any = None) -> Response:
        one = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        query = visit.request.query_params
        search, after = query.get("search", "")[:100], query.get("after", "")
        found = await visit.ask("names-list", Names, id=one.id, search=search, after=after, limit=100)
        form = visit.form if problem is None else visit.form.again(problem, places)
        status = 200 if problem is None else problem.status
        return visit.page("names.html", status, one=one, found=found, form=form, search=search)

    @about("names-begin")
    async def upload(self, visit: Visit) -> Response:
        """A CSV file, or lines that were typed; the list is read and hashed beside the request."""
        identifier, account = checked_id(visit), visit.me.id
        if self._uploads[account] >= _UPLOADS_EACH or self._uploads.total() >= _UPLOADS:
            raise Problem("busy", "Other lists are being sent; try again in a moment.")
        self._uploads[account] += 1
        try:
            form, file = await _uploaded(visit.request, self._portal.config.list_octets)
        except MultiPartException as error:
            raise Problem("bad-request", f"What was sent is no form: {error.message}.") from None
        finally:
            self._uploads[account] -= 1
            self._uploads += Counter()  # forgets those at zero
        visit.form = form
        try:
            check_word(visit, form.value("csrf"))
            # Whose reservation it is shows at once, not after all was hashed.
            await visit.ask("reservation-show", ReservationView, id=identifier)

            async def make() -> Response:
                mode = "append" if form.value("mode") == "append" else "replace"
                job = self._imports.begin(identifier, mode, file, visit.caller, visit.me.id)
                return visit.go(f"/reservations/{identifier}/imports/{job.id}")

            return await visit.once(make)
        except Problem as problem:
            file.close()
            return await self._names(visit, problem, {"file": "file"})

    async def progress(self, visit: Visit) -> Response:
        job = self._imports.find(visit.path("job"), checked_id(visit), visit.me.id)
        part = "HX-Request" in visit.request.headers
        template = "import_progress.html" if part else "import.html"
        return visit.page(template, job=job, reservation=job.reservation)

    @about("names-abort")
    async def stop(self, visit: Visit) -> Response:
        job = self._imports.find(visit.path("job"), checked_id(visit), visit.me.id)
        self._imports.stop(job)
        return visit.go(f"/reservations/{job.reservation}/names", "import-stopped")

    @about("name-remove")
    async def remove(self, visit: Visit) -> Response:
        await visit.ask("name-remove", Nothing, id=visit.path("id"), name=visit.form.value("name"))
        return visit.go(f"/reservations/{visit.path('id')}/names", "name-removed")

    async def vouchers(self, visit: Visit) -> Response:
        return await self._vouchers(visit)

    async def _vouchers(self, visit: Visit, problem: Problem | None = None) -> Response:
        one = await visit.ask("reservation-show", ReservationView, id=visit.path("id"))
        after = visit.request.query_params.get("after", "")
        found = await visit.ask("voucher-list", Batches, id=one.id, after=after, limit=100)
        form = visit.form if problem is None else visit.form.again(problem)
        status = 200 if problem is None else problem.status
        return visit.page("vouchers.html", status, one=one, found=found, form=form)

    @about("voucher-create")
    async def create(self, visit: Visit) -> Response:
        async def make() -> Response:
            faults = Faults()
            count = faults.whole("count", visit.form.text("count"))
            faults.end()
            once = visit.form.value("once")[:100]
            found = await visit.ask(
                "voucher-create", NewVouchers, id=visit.path("id"), count=count, once=once
            )
            back = f"/reservations/{visit.path('id')}/vouchers"
            return visit.page("codes.html", made=found, back=back)

        try:
            return await visit.once(make)
        except Problem as problem:
            return await self._vouchers(visit, problem)

    @about("voucher-create")
    async def file(self, visit: Visit) -> Response:
        return codes_file(visit)

    @about("voucher-revoke")
    async def revoke(self, visit: Visit) -> Response:
        await visit.ask("voucher-revoke", Nothing, id=visit.path("id"), batch=visit.path("batch"))
        return visit.go(f"/reservations/{visit.path('id')}/vouchers", "vouchers-revoked")


def codes_file(visit: Visit) -> Response:
    """The codes that the page holds, back as a file: nobody else has them any more."""
    codes = [one for one in visit.form.value("codes").split() if one.replace("-", "").isalnum()]
    return PlainTextResponse(
        "\n".join(codes) + "\n", headers={"Content-Disposition": 'attachment; filename="vouchers.txt"'}
    )


async def _uploaded(request: Request, most: int) -> tuple[Form, BinaryIO]:
    """The form and its file, which is the caller's to close. TooLarge, MultiPartException, Problem."""
    kind, _, options = request.headers.get("content-type", "").lower().partition(";")
    # Browsers name no charset, and Python knows some that give what is no text.
    if kind.strip() != "multipart/form-data" or "charset=" in options:
        raise Problem("bad-request", "What was sent is no form with a file.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise TooLarge(most)

    async def bounded() -> Any:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise TooLarge(most)
            yield part

    parser = MultiPartParser(request.headers, bounded(), max_files=1, max_fields=20, max_part_size=_IN_MEMORY)
    data = await parser.parse()
    values: dict[str, list[str]] = {}
    file: UploadFile | None = None
    for name, value in data.multi_items():
        if isinstance(value, UploadFile):
            file = value
        else:
            values.setdefault(name, []).append(value)
    form = Form(values)
    if file is not None and file.size:
        return form, file.file
    if file is not None:
        await file.close()
    typed = form.value("lines").strip()
    if not typed:
        wrong = (FieldProblem("file", "choose a file, or type the names"),)
        raise Problem("invalid", "There are no names to import.", wrong)
    return form, io.BytesIO(typed.encode())
