"""Signing in and out, and making an account."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from typing import Any, Final

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gkmd.api.problem import Problem
from gkmd.api.results import AccountView, Nothing, Options, SignedIn
from gkmd.web.bodies import TooLarge, read_body
from gkmd.web.problems import problem_response
from gkmd.web.refused import about, operation_of
from gkmd.web.visit import Portal, Visit, check_source, check_word, endpoint, local_path

_PENDING: Final = 1000
_PENDING_EACH: Final = 5  # of one login: who has an account does not push out all others
_PENDING_SECONDS: Final = 300.0


class Pending:
    """Sign-ins whose password was right and whose one-time code is still to come, for five minutes.

    The password stays in this process: it does not travel to the browser and back.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, str, str, str]] = OrderedDict()

    def keep(self, login: str, password: str, browser: str, now: float) -> str:
        key = secrets.token_urlsafe(24)
        mine = [other for other, one in self._known.items() if one[1] == login]
        for oldest in mine[: max(0, len(mine) - _PENDING_EACH + 1)]:
            del self._known[oldest]
        self._known[key] = (now, login, password, browser)
        while len(self._known) > _PENDING:
            self._known.popitem(last=False)
        return key

    def find(self, key: str, browser: str, now: float) -> tuple[str, str] | None:
        """Login and password. None when it is too old, or another browser's."""
        while self._known and next(iter(self._known.values()))[0] + _PENDING_SECONDS < now:
            self._known.popitem(last=False)
        found = self._known.get(key)
        return (found[1], found[2]) if found is not None and found[3] == browser else None

    def drop(self, key: str) -> None:
        self._known.pop(key, None)


class SignInPages:
    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._pending = Pending()

    def routes(self) -> list[Route]:
        def at(path: str, page: Any, method: str = "POST", role: str = "") -> Route:
            return Route(path, endpoint(self._portal, page, role), methods=[method])

        return [
            at("/sign-in", self.show, "GET"),
            at("/sign-in", self.sign_in),
            at("/sign-in/code", self.code),
            at("/sign-out", self.sign_out),
            at("/sign-up", self.show_sign_up, "GET"),
            at("/sign-up", self.sign_up),
            Route("/sign-in/passkey/challenge", script(self._portal, self.passkey_begin), methods=["POST"]),
            Route("/sign-in/passkey", script(self._portal, self.passkey), methods=["POST"]),
        ]

    async def show(self, visit: Visit) -> Response:
        if visit.account is not None:
            return visit.go("/")
        return visit.page("sign_in.html", next=local_path(visit.request.query_params.get("next", "/")))

    @about("sign-in")
    async def sign_in(self, visit: Visit) -> Response:
        form, back = visit.form, local_path(visit.form.value("next", "/"))
        login, password = form.text("login").lower(), form.value("password")
        try:
            found = await visit.ask("sign-in", SignedIn, login=login, password=password)
        except Problem as problem:
            if problem.code == "code-required":
                key = self._pending.keep(login, password, visit.csrf, time.monotonic())
                return visit.page("sign_in_code.html", next=back, key=key)
            return visit.page("sign_in.html", problem.status, next=back, form=form.again(problem))
        return signed_in(visit, found, back)

    @about("sign-in")
    async def code(self, visit: Visit) -> Response:
        form, back = visit.form, local_path(visit.form.value("next", "/"))
        key = form.value("key")
        known = self._pending.find(key, visit.csrf, time.monotonic())
        if known is None:
            problem = Problem("sign-in-failed", "That took too long. Begin again with your password.")
            return visit.page("sign_in.html", 401, next=back, form=form.again(problem))
        code = form.text("code").replace(" ", "")
        try:
            found = await visit.ask("sign-in", SignedIn, login=known[0], password=known[1], code=code)
        except Problem as problem:
            return visit.page(
                "sign_in_code.html", problem.status, next=back, key=key, form=form.again(problem)
            )
        self._pending.drop(key)
        return signed_in(visit, found, back)

    @about("passkey-sign-in-begin")
    async def passkey_begin(self, visit: Visit, data: dict[str, Any]) -> Any:
        return await visit.ask("passkey-sign-in-begin", Options, origin=self._portal.config.origin)

    @about("passkey-sign-in")
    async def passkey(self, visit: Visit, data: dict[str, Any]) -> Any:
        found = await visit.ask(
            "passkey-sign-in",
            SignedIn,
            origin=self._portal.config.origin,
            challenge=data.get("challenge", ""),
            credential=data.get("credential", {}),
        )
        back = data.get("next", "/")
        answer = JSONResponse({"next": local_path(back if isinstance(back, str) else "/")})
        visit.set_cookie(answer, "session", found.token, _seconds_to(visit, found))
        return answer

    @about("sign-out")
    async def sign_out(self, visit: Visit) -> Response:
        if visit.account is not None:
            await visit.ask("sign-out", Nothing)
        response = visit.go("/", "signed-out")
        visit.drop_cookie(response, "session")
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    async def show_sign_up(self, visit: Visit) -> Response:
        return visit.page("sign_up.html")

    @about("sign-up")
    async def sign_up(self, visit: Visit) -> Response:
        form = visit.form

        async def make() -> Response:
            login, password = form.text("login").lower(), form.value("password")
            await visit.ask("sign-up", AccountView, login=login, password=password, name=form.text("name"))
            found = await visit.ask("sign-in", SignedIn, login=login, password=password)
            return signed_in(visit, found, "/")

        try:
            return await visit.once(make)
        except Problem as problem:
            return visit.page("sign_up.html", problem.status, form=form.again(problem))


def signed_in(visit: Visit, found: SignedIn, back: str) -> Response:
    """The session's token goes into its cookie and nowhere else."""
    response = visit.go(back)
    visit.set_cookie(response, "session", found.token, _seconds_to(visit, found))
    visit.drop_cookie(response, "visit")
    return response


def _seconds_to(visit: Visit, found: SignedIn) -> int:
    return max(1, int(found.expires - visit.portal.now()))


def script(portal: Portal, answer: Any, role: str = "") -> Any:
    """An endpoint for the pages' own scripts: JSON both ways, the form's word in a header."""

    async def page(visit: Visit) -> Response:
        try:
            check_source(visit)
            check_word(visit, visit.request.headers.get("x-csrf-token", ""))
            try:
                data = msgspec.json.decode(await read_body(visit.request, 65_536) or b"{}", type=dict)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise Problem("bad-request", "The body is no JSON object.") from None
            found = await answer(visit, data)
        except TooLarge as error:
            visit.refusal = Problem("bad-request", str(error))
            return problem_response(visit.refusal, status=413)
        except Problem as problem:
            visit.refusal = problem
            return problem_response(problem)
        if isinstance(found, Response):
            return found
        return visit.keep(Response(msgspec.json.encode(found), media_type="application/json"))

    return endpoint(portal, about(operation_of(answer))(page), role, body=False)
