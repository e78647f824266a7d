"""The portal as an ASGI application."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from gkmd.api.problem import Problem
from gkmd.web.checkout import Checkout
from gkmd.web.client import Daemon, DaemonClient
from gkmd.web.config import PortalConfig
from gkmd.web.gate import Gate
from gkmd.web.imports import Imports
from gkmd.web.live import Streams
from gkmd.web.openapi import PREFIX
from gkmd.web.pages_account import AccountPages
from gkmd.web.pages_list import ListPages
from gkmd.web.pages_live import LivePages
from gkmd.web.pages_money import MoneyPages
from gkmd.web.pages_operator import OperatorPages
from gkmd.web.pages_receiver import ReceiverPages
from gkmd.web.pages_sender import SenderPages
from gkmd.web.pages_sign_in import SignInPages
from gkmd.web.problems import problem_response
from gkmd.web.providers import Providers
from gkmd.web.rest import RestApi
from gkmd.web.visit import Portal, Visit, endpoint

_STATIC: Final = Path(__file__).parent / "static"


class _Static(StaticFiles):
    """Files of a version of gkmd: they may be kept for an hour."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


def application(
    config: PortalConfig,
    daemon: Daemon,
    streams: Streams | None = None,
    now: Callable[[], float] = time.time,
) -> Starlette:
    """``now`` gives Unix seconds. ConfigError when a payment provider needs what is not installed."""
    streams = Streams() if streams is None else streams  # without a stream it is empty, and false
    portal = Portal.make(config, daemon, streams, now)
    imports, providers = Imports(daemon), Providers(config.providers)
    checkout = Checkout(config, daemon, providers, now)
    routes: list[BaseRoute] = [
        Mount("/static", _Static(directory=_STATIC), name="static"),
        Route("/alive", _alive, methods=["GET"]),
        *RestApi(daemon, streams, config.origin, checkout).routes(),
    ]
    for pages in (
        SignInPages(portal),
        AccountPages(portal),
        ReceiverPages(portal),
        MoneyPages(portal, checkout),
        SenderPages(portal),
        ListPages(portal, imports),
        LivePages(portal),
        OperatorPages(portal),
    ):
        routes += pages.routes()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await imports.close()
        await providers.close()
        if isinstance(daemon, DaemonClient):
            await daemon.close()

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        problem = {
            404: Problem("not-found", "There is nothing at this path."),
            405: Problem("bad-request", f"{request.method} is not possible here."),
        }.get(status, Problem("bad-request", "The request cannot be understood."))
        if status >= 500:
            problem = Problem("internal", "Something went wrong here; it was written to the log.")
        allow = getattr(error, "headers", None) or {}
        if request.url.path.startswith("/static/"):  # not counted by the gate: nothing is asked for them
            return PlainTextResponse(problem.detail, status, allow)
        if request.url.path.startswith((f"{PREFIX}/", "/metrics")):
            response: Response = problem_response(problem, status=status)
        else:

            async def page(visit: Visit) -> Response:
                return visit.page("problem.html", status, problem=problem)

            # As a GET: no form is looked at any more.
            scope = {**request.scope, "method": "GET"}
            response = await endpoint(portal, page)(Request(scope, request.receive))
        response.headers.update(allow)
        return response

    made = Starlette(
        routes=routes,
        middleware=[Middleware(Gate, config=config)],
        exception_handlers={HTTPException: refused, 500: refused},
        lifespan=lifespan,
    )
    made.router.redirect_slashes = False  # its redirections go to whatever the request calls its host
    return made


async def _alive(request: Request) -> Response:
    """For what watches the process: it answers. Says nothing about the key server."""
    return Response(status_code=204)
