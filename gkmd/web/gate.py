"""What stands before every page and every call of the API: address, rate, headers. Plain ASGI, so that
streams stay streams.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gkmd.api.problem import Problem
from gkmd.web.config import PortalConfig
from gkmd.web.problems import problem_response
from gkmd.web.rates import Rates, address_of

POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'{elsewhere}; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)


class Gate:
    """ASGI middleware. Sets ``scope["state"]["origin"]`` to the client's address."""

    def __init__(
        self, app: ASGIApp, config: PortalConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._proxies = config.trusted_proxies
        self._rates = Rates(config.rate, config.burst)
        self._clock = clock
        self._headers = {
            "Content-Security-Policy": POLICY.format(elsewhere=_form_targets(config)),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        }
        if config.secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = self._address(scope)
        scope.setdefault("state", {})["origin"] = address

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        wait = 0.0 if scope["path"].startswith("/static/") else self._rates.wait(address, self._clock())
        if wait:
            seconds = max(1, math.ceil(wait))
            problem = Problem("too-many-requests", f"Too many requests; come back in {seconds} s.")
            response = problem_response(problem, seconds)
            await response(scope, receive, with_headers)
            return
        # Who has gone gets no answer; that is nobody's fault, and no line of the log.
        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, receive, with_headers)

    def _address(self, scope: Scope) -> str:
        """The peer, or, when that is a trusted proxy, the last address that no trusted proxy has."""
        client = scope.get("client")
        peer = client[0] if client else ""
        if not self._trusted(peer):
            return peer
        chain = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
        for one in reversed(chain):
            address = one.strip()
            if address_of(address) is None:
                break
            if not self._trusted(address):
                return address
        return peer

    def _trusted(self, address: str) -> bool:
        found = address_of(address) if self._proxies else None
        return found is not None and any(found in network for network in self._proxies)


def _form_targets(config: PortalConfig) -> str:
    """Browsers apply form-action to where an answer redirects to, so payment pages are named."""
    hosts: list[str] = []
    for one in config.providers:
        scheme, _, rest = one.url.partition("://")
        hosts += [f"{scheme}://{rest.partition('/')[0]}", *(f"https://{host}" for host in one.redirect_hosts)]
        if one.kind == "stripe":
            hosts.append("https://*.stripe.com")
    return "".join(f" {host}" for host in dict.fromkeys(hosts))
