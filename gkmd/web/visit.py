"""One request for a page: who is there, its form, and the answer. What all pages share is in Portal."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.api.results import AccountView
from gkmd.web.bodies import TooLarge, read_body
from gkmd.web.checked import check
from gkmd.web.client import Caller, Daemon, NotSent, ask
from gkmd.web.config import PortalConfig
from gkmd.web.forms import Form
from gkmd.web.live import Streams
from gkmd.web.refused import POSTED_TWICE, operation_of, report
from gkmd.web.repeats import Repeats
from gkmd.web.shown import environment

T = TypeVar("T")
_STRANGER_SECONDS: Final = 12 * 3600
_URLENCODED: Final = "application/x-www-form-urlencoded"
_LONGEST_TOKEN: Final = 200


@dataclass(slots=True)
class Portal:
    """What lives as long as the process. It holds no state of the platform."""

    config: PortalConfig
    daemon: Daemon
    streams: Streams
    templates: Environment
    repeats: Repeats
    now: Callable[[], float]

    @classmethod
    def make(cls, config: PortalConfig, daemon: Daemon, streams: Streams, now: Callable[[], float]) -> Portal:
        templates = environment(config.title, config.contact)
        return cls(config, daemon, streams, templates, Repeats(time.monotonic), now)

    def cookie(self, name: str) -> str:
        """With TLS the prefix keeps other hosts and plain HTTP from setting it."""
        return f"__Host-gkmd-{name}" if self.config.secure else f"gkmd-{name}"


@dataclass(slots=True)
class Visit:
    """``account`` is who is signed in. ``stranger`` is the word that stands for who is not, for CSRF only.

    ``refusal`` is what the page says was wrong; ``told`` is set when the daemon has refused it, and knows.
    """

    portal: Portal
    request: Request
    token: str = field(default="", repr=False)
    account: AccountView | None = None
    stranger: str = field(default="", repr=False)
    new_stranger: bool = False
    form: Form = field(default_factory=Form)
    refusal: Problem | None = None
    told: bool = False

    @property
    def caller(self) -> Caller:
        return Caller(self.token, self.request.state.origin)

    @property
    def roles(self) -> tuple[str, ...]:
        return () if self.account is None else self.account.roles

    @property
    def me(self) -> AccountView:
        """Who is signed in. Problem when nobody is."""
        if self.account is None:
            raise Problem("sign-in-required", "Sign in first.")
        return self.account

    def path(self, name: str) -> str:
        found = self.request.path_params[name]
        assert isinstance(found, str)
        return found

    @property
    def csrf(self) -> str:
        """A word that only pages of this session know. The session's own token cannot be told from it."""
        secret = self.token or self.stranger
        return hmac.new(secret.encode(), b"gkmd form", hashlib.sha256).hexdigest()

    async def ask(self, operation: str, kind: type[T], **request: Any) -> T:
        """The result of an operation, checked first here so that all wrong fields are told."""
        known = OPERATIONS[operation]
        data = check(known, request)
        try:
            return await ask(self.portal.daemon, operation, data, self.caller, kind)
        except NotSent:
            raise
        except Problem as problem:
            self.told = self.told or known.changes or problem.code == "forbidden"
            raise

    async def once(self, make: Callable[[], Awaitable[Response]]) -> Response:
        """``make``, but for a form that is posted twice only once."""
        who, word = f"{self.csrf} {self.request.url.path}", self.form.value("once")[:100]
        if self.portal.repeats.knows(who, word):
            self.refusal = Problem("conflict", "It was posted before.", reason=POSTED_TWICE)
        return await self.portal.repeats.run(who, word, make)

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """A page; ``form`` is that of the request when none is given."""
        context.setdefault("form", self.form)
        self.refusal = self.refusal or context.get("problem") or context["form"].problem
        text = self.portal.templates.get_template(template).render(
            visit=self,
            account=self.account,
            roles=self.roles,
            csrf=self.csrf,
            once=secrets.token_urlsafe(12),
            here=self.request.url.path,
            done=self.request.query_params.get("done", ""),
            now=self.portal.now(),
            begun=bool(self.request.query_params.get("after")),
            config=self.portal.config,
            **context,
        )
        return self.keep(HTMLResponse(text, status))

    def keep(self, response: Response) -> Response:
        """Set the stranger's cookie when it is new: forms before the sign-in are protected, too."""
        if self.new_stranger:
            self.set_cookie(response, "visit", self.stranger, _STRANGER_SECONDS)
        return response

    def set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self.portal.cookie(name),
            value,
            max_age=seconds,
            path="/",
            secure=self.portal.config.secure,
            httponly=True,
            samesite="lax",
        )

    def drop_cookie(self, response: Response, name: str) -> None:
        self.set_cookie(response, name, "", 0)

    def go(self, path: str, done: str = "") -> Response:
        """See other. ``done`` is a key of the notices in the template."""
        return self.keep(RedirectResponse(f"{path}?done={done}" if done else path, 303))


Page: TypeAlias = Callable[[Visit], Awaitable[Response]]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def endpoint(portal: Portal, page: Page, role: str = "", body: bool = True) -> Endpoint:
    """``role``: "" anyone, "any" who is signed in, else who has it (operators may do what senders may).

    With ``body`` False the page reads the body itself, and looks at the form's word itself. What is posted
    and refused here the daemon is told: ``gkmd.web.refused.about`` says which operation it would have been.
    """

    operation = operation_of(page)

    async def serve(request: Request) -> Response:
        visit = Visit(portal, request)
        response = await answer(visit)
        refusal = visit.refusal
        if refusal is None or visit.told:
            return response
        # Who looks where he may not leaves a line, too.
        if operation or refusal.code == "forbidden":
            id = request.path_params.get("id", "")
            await report(portal.daemon, operation, id, refusal, visit.caller)
        return response

    async def answer(visit: Visit) -> Response:
        request = visit.request
        try:
            await _recognize(visit)
            _admit(visit, role)
            if request.method == "POST":
                check_source(visit)
                if body:
                    visit.form = await _form(request)
                    check_word(visit, visit.form.value("csrf"))
            return await page(visit)
        except TooLarge as error:
            problem = Problem("bad-request", f"Too much was sent: at most {error.most} octets.")
            return visit.page("problem.html", 413, problem=problem)
        except Problem as problem:
            return _refused(visit, problem)

    return serve


async def _recognize(visit: Visit) -> None:
    cookies = visit.request.cookies
    token = cookies.get(visit.portal.cookie("session"), "")
    if token and len(token) <= _LONGEST_TOKEN and token.isascii():
        visit.token = token
        try:
            visit.account = await visit.ask("me", AccountView)
        except Problem as problem:
            if problem.status != 401:
                raise
            visit.token = ""
    if not visit.token:
        known = cookies.get(visit.portal.cookie("visit"), "")
        visit.stranger = known if 20 <= len(known) <= 64 and known.isascii() else secrets.token_urlsafe(24)
        visit.new_stranger = visit.stranger != known


def _admit(visit: Visit, role: str) -> None:
    if not role:
        return
    if visit.account is None:
        raise Problem("sign-in-required", "Sign in first.")
    if role != "any" and role not in visit.roles and not (role == "sender" and "operator" in visit.roles):
        raise Problem("forbidden", f"This page is for {role}s.", reason=f"for-{role}s")


def check_source(visit: Visit) -> None:
    """A form of ours comes from a page of ours. Browsers say so; Problem when they say something else."""
    headers = visit.request.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        good = site in ("same-origin", "none")
    else:
        origin = headers.get("origin")
        good = origin is None or origin.lower() == visit.portal.config.origin
    if not good:
        raise Problem("forbidden", "This form was sent by another site.")


def check_word(visit: Visit, word: str) -> None:
    """Problem when the form's word is not that of this session."""
    if not hmac.compare_digest(word.encode(), visit.csrf.encode()):
        raise Problem(
            "forbidden", "This form is not of your session, or it is older than it. Open its page again."
        )


async def _form(request: Request) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _URLENCODED:
        raise Problem("bad-request", "What was sent is no form.")
    return Form.parse(await read_body(request))


def _refused(visit: Visit, problem: Problem) -> Response:
    if problem.code == "sign-in-required" and visit.request.method == "GET":
        where = visit.request.url.path
        if visit.request.url.query:
            where += f"?{visit.request.url.query}"
        response = visit.go(f"/sign-in?next={quote(where, safe='')}")
    else:
        response = visit.page("problem.html", problem.status, problem=problem)
    if not visit.token and visit.portal.cookie("session") in visit.request.cookies:
        visit.drop_cookie(response, "session")
    return response


def local_path(text: str) -> str:
    """``text`` when it is a path of ours, else ``/``: nobody is sent elsewhere by a link to us."""
    if not text.startswith("/") or text.startswith("//") or "\\" in text or len(text) > 500:
        return "/"
    if any(ord(one) <= 32 or ord(one) == 127 for one in text):
        return "/"
    parts = urlsplit(text)
    return text if not parts.scheme and not parts.netloc else "/"
