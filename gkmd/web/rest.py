"""The REST API: every operation of the table under /api/v1. Who asks is in ``Authorization: Bearer``."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gkmd.api.operations import OPERATIONS, Operation
from gkmd.api.problem import FieldProblem, Problem
from gkmd.api.results import PaymentView, Statement
from gkmd.web.bodies import TooLarge, read_body
from gkmd.web.checked import check
from gkmd.web.checkout import BEGUN, FAILED, Checkout
from gkmd.web.client import Caller, Daemon, NotSent, ask
from gkmd.web.live import Streams, stream_response
from gkmd.web.openapi import PREFIX, document
from gkmd.web.problems import problem_response
from gkmd.web.refused import report
from gkmd.web.statement_file import LINES, statement_file

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
PROVIDER_OCTETS: Final = 32_768  # docs/payments.md; escaped as JSON it fits a line of the socket
_BRACES: Final = re.compile(r"\{(\w+)\}")
_SIGNATURES: Final = ("gkmd-signature", "stripe-signature")


class RestApi:
    """The endpoints. ``routes`` are for the application."""

    def __init__(self, daemon: Daemon, streams: Streams, origin: str, checkout: Checkout) -> None:
        """``origin`` is the portal's own."""
        self._daemon = daemon
        self._checkout = checkout
        self._origin = origin
        self._streams = streams
        self._document = _document()

    def routes(self) -> list[Route]:
        found: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS.values():
            found.setdefault(operation.path, {})[operation.method] = operation
        routes = [
            Route(f"{PREFIX}/openapi.json", self._openapi, methods=["GET"]),
            Route(f"{PREFIX}/reservations/{{id}}/statistics/stream", self._stream, methods=["GET"]),
            Route(f"{PREFIX}/reservations/{{id}}/statement.csv", self._statement, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]
        # Fixed paths first: /reservations/check is no reservation of the name "check".
        for path in sorted(found, key=lambda one: [part.startswith("{") for part in one.split("/")]):
            routes.append(Route(PREFIX + path, self._endpoint(found[path]), methods=list(found[path])))
        return routes

    def _endpoint(self, methods: dict[str, Operation]) -> Endpoint:
        async def serve(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(request, methods[method])

        return serve

    async def _answer(self, request: Request, operation: Operation) -> Response:
        caller, status = Caller("", request.state.origin), None
        try:
            caller = caller_of(request)
            if operation.name == "provider-call":
                data = await _provider_call(request)
            else:
                data = await _arguments(request, operation)
                self._check_origin(data)
            return await self._carry_out(request, operation, data, caller)
        except TooLarge as error:
            refusal = Problem("bad-request", f"The body is too large: at most {error.most} octets.")
            status = 413
        except _MediaType as error:
            refusal, status = Problem("bad-request", str(error)), 415
        except Problem as problem:
            refusal = problem
        if operation.changes:
            await report(self._daemon, operation.name, request.path_params.get("id", ""), refusal, caller)
        return problem_response(refusal, status=status)

    async def _carry_out(
        self, request: Request, operation: Operation, data: dict[str, Any], caller: Caller
    ) -> Response:
        """Problem only when the key server was not asked: it knows of what it has refused."""
        try:
            result = await self._daemon.call(operation.name, data, caller)
            if operation.name == "payment-begin":
                result = await self._where_to_pay(result, caller)
        except NotSent:
            raise
        except Problem as problem:
            return problem_response(problem)
        headers = _next_page(request, result) if operation.method == "GET" else {}
        octets = msgspec.json.encode(result)
        return Response(octets, operation.status, headers, media_type="application/json")

    async def _where_to_pay(self, result: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """With the page of the provider, as long as there is something to pay."""
        payment = msgspec.convert(result, PaymentView)
        if payment.state not in (BEGUN, FAILED):
            return result
        return {**result, "url": await self._checkout.begin(payment, caller)}

    def _check_origin(self, data: dict[str, Any]) -> None:
        """Browsers give passkeys of this host to pages at its other ports, too: those sign nobody in here."""
        if data.get("origin", self._origin) != self._origin:
            text = f"this portal is {self._origin}"
            raise Problem("invalid", f"origin: {text}", (FieldProblem("origin", text),))

    async def _openapi(self, request: Request) -> Response:
        return Response(self._document, media_type="application/json")

    async def _stream(self, request: Request) -> Response:
        """Server-sent events: the statistics of a reservation, whenever they change."""
        try:
            data = check(OPERATIONS["statistics"], request.path_params)
            return await stream_response(request, self._daemon, self._streams, data, caller_of(request))
        except Problem as problem:
            return problem_response(problem)

    async def _statement(self, request: Request) -> Response:
        """The statement of a reservation as CSV, whole."""

        async def page(after: str) -> Statement:
            wanted = check(OPERATIONS["statement"], {**request.path_params, "after": after, "limit": LINES})
            return await ask(self._daemon, "statement", wanted, caller, Statement)

        try:
            caller = caller_of(request)
            return await statement_file("csv", page)
        except Problem as problem:
            return problem_response(problem)

    async def _metrics(self, request: Request) -> Response:
        try:
            found = await self._daemon.call("metrics", {}, caller_of(request))
        except Problem as problem:
            return problem_response(problem)
        return PlainTextResponse(found["text"], media_type="text/plain; version=0.0.4")


@functools.cache
def _document() -> bytes:
    return json.dumps(document(), indent=1, ensure_ascii=False).encode()


def _next_page(request: Request, result: Any) -> dict[str, str]:
    """``Link`` to the page after this one (RFC 8288), with what else was asked for."""
    after = result.get("after") if isinstance(result, dict) else None
    if not after:
        return {}
    query = [pair for pair in request.query_params.multi_items() if pair[0] != "after"]
    where = f"{quote(request.url.path)}?{urlencode([*query, ('after', after)])}"
    return {"Link": f'<{where}>; rel="next"'}


class _MediaType(Exception):
    """The body is of another type than JSON."""


def caller_of(request: Request) -> Caller:
    """The bearer of the token in the header, or nobody. Problem when the header is something else."""
    origin = request.state.origin
    header = request.headers.get("authorization", "")
    if not header:
        return Caller("", origin)
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > 200 or not token.isascii():
        raise Problem("sign-in-required", "Authorization must be: Bearer and a token.")
    return Caller(token, origin)


async def _provider_call(request: Request) -> dict[str, Any]:
    body = await read_body(request, PROVIDER_OCTETS)
    signature = next((request.headers[one] for one in _SIGNATURES if one in request.headers), "")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("bad-request", "The body is not UTF-8 text.") from None
    data = {"provider": request.path_params["provider"], "body": text, "signature": signature}
    return check(OPERATIONS["provider-call"], data)


async def _arguments(request: Request, operation: Operation) -> dict[str, Any]:
    """The request as plain data, from path, query and body. Problem, TooLarge, _MediaType."""
    data: dict[str, Any] = {}
    query = list(request.query_params.multi_items())
    strict = True
    if operation.method in ("GET", "DELETE"):
        strict = False
        data.update(query)
        if len(data) != len(query):
            raise Problem("bad-request", "A parameter of the query is given twice.")
    elif query:
        raise Problem("bad-request", "This operation takes its arguments in the body, not in the query.")
    body = await read_body(request)
    if body:
        if operation.method in ("GET", "DELETE"):
            raise Problem("bad-request", f"{operation.method} takes no body here.")
        data = _json(request, body)
    in_path = _BRACES.findall(operation.path)
    twice = [name for name in in_path if name in data]
    if twice:
        raise Problem("bad-request", f"{', '.join(twice)} is in the path already.")
    data.update({name: request.path_params[name] for name in in_path})
    return check(operation, data, strict)


def _json(request: Request, body: bytes) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _MediaType(f"The body must be application/json, not {kind[:100] or 'of no type'}.")
    try:
        data = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("bad-request", f"The body is no JSON: {error}.") from None
    if not isinstance(data, dict):
        raise Problem("bad-request", "The body must be a JSON object.")
    return data
