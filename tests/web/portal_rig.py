"""A portal before a real platform, in one process: pages are asked for by httpx, without a browser."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
from platform_rig import NOW, OPERATOR, PASSWORD, Rig

from gkmd.api import requests as q
from gkmd.api.operations import PORTALS
from gkmd.api.problem import Problem
from gkmd.core.secret import SecretBytes
from gkmd.daemon.platform_service import decoded
from gkmd.group.platform.outcome import Caller as PlatformCaller
from gkmd.group.platform.settings import PlatformSettings, ProviderSettings
from gkmd.web.app import application
from gkmd.web.client import Caller
from gkmd.web.config import PortalConfig, ProviderEndpoint
from gkmd.web.live import Streams
from gkmd.web.visit import Portal

ORIGIN = "https://portal.example"
SECRET = b"a secret of the payment provider"  # which signs its calls; the portal does not have it
ORDER_SECRET = b"what the portal signs orders with"
SETTINGS = PlatformSettings(
    sign_up=True,
    fee_points=1000,
    providers=(ProviderSettings("pay", "webhook", SecretBytes(SECRET)),),
    server_identity="fqdn:gcks.example",
    server_addresses=(),
)
START = "2026-10-01T18:00"  # ten days after NOW


class RigDaemon:
    """The daemon's end of the socket, without the socket. ``calls`` are what the portal has asked for.

    ``gone`` refuses everything as a daemon that is away.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.calls: list[tuple[str, dict[str, Any], Caller]] = []
        self.gone = False
        self.on_call: Callable[[str], None] = lambda operation: None

    async def call(self, operation: str, request: dict[str, Any], caller: Caller) -> Any:
        self.calls.append((operation, request, caller))
        self.on_call(operation)
        if self.gone:
            raise Problem("unavailable", "The key server is not reachable.")
        over_the_wire = msgspec.json.decode(msgspec.json.encode(request))
        try:
            typed = decoded(PORTALS[operation], over_the_wire)
        except Problem as problem:
            who = PlatformCaller(caller.token, None, caller.origin)
            self.rig.end(self.rig.platform.malformed(PORTALS[operation], who, problem, self.rig.now))
            raise
        result = self.rig.do(operation, typed, PlatformCaller(caller.token, None, caller.origin))
        return msgspec.json.decode(msgspec.json.encode(result))


class Site:
    """The portal of ``rig``. Requests run one after the other; what goes on beside them goes on meanwhile."""

    def __init__(self, config: PortalConfig | None = None, settings: PlatformSettings = SETTINGS) -> None:
        self.rig = Rig(settings)
        self.daemon = RigDaemon(self.rig)
        self.config = config or portal_config()
        self.runner = asyncio.Runner()
        self.forget()

    def forget(self) -> None:
        """The portal's process is another one; the platform and the browsers stay."""
        self.app = application(self.config, self.daemon, Streams(seconds=0.0), lambda: self.rig.now)

    def close(self) -> None:
        self.runner.close()

    def browser(self, address: str = "192.0.2.7") -> Browser:
        return Browser(self, address)

    def user(self, login: str, *roles: str, **more: Any) -> Browser:
        """A new user's browser that is signed in."""
        self.rig.user(login, *roles, **more)
        browser = self.browser()
        answer = browser.submit("/sign-in", login=login, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        return browser

    def token(self, login: str, *scopes: str, roles: tuple[str, ...] = ()) -> str:
        """An API token of a new user."""
        return self.rig.token(self.rig.caller(login, *roles), *scopes).token

    def reserve(self, owner: str = "house", **more: Any) -> Any:
        """A reservation, made beside the portal."""
        if owner == "house" and self.rig.platform.accounts.by_login(owner) is None:
            self.rig.user(owner, "sender")
        values: dict[str, Any] = {"title": "Concert", "start": START, "duration": 3600, "owner": owner}
        values |= {"admission": {"open": True}, "twice": True}
        return self.rig.do("reserve", msgspec.convert({**values, **more}, q.Reserve), OPERATOR)


class Browser:
    """Keeps cookies, fills in the forms of pages, follows nothing by itself."""

    def __init__(self, site: Site, address: str) -> None:
        self.site = site

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await site.app(scope, receive, send)

        transport = httpx.ASGITransport(app=app, client=(address, 40000), raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url=ORIGIN, verify=False)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.site.runner.run(self.http.request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.send("GET", path, **more)

    def post(self, path: str, data: Any = None, **more: Any) -> httpx.Response:
        return self.send("POST", path, data=data, **more)

    def follow(self, answer: httpx.Response) -> httpx.Response:
        assert answer.status_code == 303, answer.text
        return self.get(answer.headers["location"])

    def form(self, page: str, action: str = "") -> dict[str, Any]:
        """The values of the form of ``page`` that goes to ``action``, as a browser would send them."""
        text = self.get(page).text
        return fields_of(form_of(text, action or page.partition("?")[0]))

    def submit(self, page: str, action: str = "", **values: Any) -> httpx.Response:
        """Open ``page``, fill in the form that goes to ``action``, and send it."""
        data = self.form(page, action) | values
        return self.post(action or page.partition("?")[0], {k: v for k, v in data.items() if v is not None})


def portal_config(**more: Any) -> PortalConfig:
    values: dict[str, Any] = {
        "listen": ("127.0.0.1", 0),
        "origin": ORIGIN,
        "socket": Path("/nowhere"),
        "rate": 10_000,
        "burst": 100_000,
        "sign_up": True,
        "providers": (
            ProviderEndpoint("pay", "webhook", "http://127.0.0.1:9/begin", SecretBytes(ORDER_SECRET)),
        ),
    }
    return PortalConfig(**{**values, **more})


def form_of(page: str, action: str) -> str:
    """The HTML of the form that goes to ``action``; fails with the page when there is none."""
    for found in re.finditer(r"<form\b.*?</form>", page, re.DOTALL):
        if f'method="post" action="{html.escape(action)}"' in found[0]:
            return found[0]
    raise AssertionError(f"no form goes to {action}:\n{page}")


def fields_of(form: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for found in re.finditer(r"<input\b([^>]*)>", form):
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', found[1]))
        name = given.get("name")
        if name is None or given.get("type") == "file":
            continue
        if given.get("type") in ("checkbox", "radio"):
            if " checked" in found[1]:
                values.setdefault(name, []).append(html.unescape(given["value"]))
        else:
            values[name] = html.unescape(given.get("value", ""))
    for found in re.finditer(r'<textarea\b[^>]*name="(\w+)"[^>]*>\n?(.*?)</textarea>', form, re.DOTALL):
        values[found[1]] = html.unescape(found[2])
    for found in re.finditer(r'<select\b[^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        options = re.findall(r"<option([^>]*)>([^<]*)", found[2])
        chosen = [one for one in options if "selected" in one[0]] or options[:1]
        for attributes, text in chosen:
            value = re.search(r'value="([^"]*)"', attributes)
            values[found[1]] = html.unescape(value[1]) if value else text
    return values


__all__ = ["NOW", "ORIGIN", "PASSWORD", "Browser", "Portal", "Site", "fields_of", "portal_config"]
