"""My account: password, one-time codes, passkeys, tokens of the API, sessions."""

from __future__ import annotations

import datetime
from typing import Any, get_args

import segno
from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import Route

from gkmd.api.nouns import Scope
from gkmd.api.problem import Problem
from gkmd.api.results import (
    AccountView,
    NewToken,
    Nothing,
    Options,
    PasskeyView,
    Sessions,
    Tokens,
    TotpSecret,
)
from gkmd.web.forms import Faults, Form
from gkmd.web.pages_sign_in import script
from gkmd.web.refused import about
from gkmd.web.visit import Portal, Visit, endpoint

SCOPES = get_args(Scope)


def qr_code(text: str, title: str) -> Markup:
    """A QR code as inline SVG. ValueError when the text does not fit into one."""
    try:
        code = segno.make(text, error="l" if len(text) > 300 else "m", micro=False)
    except segno.DataOverflowError:
        raise ValueError("too long for a QR code") from None
    # Colours are attributes, not styles: the policy of the pages allows none of those inline.
    svg = code.svg_inline(scale=4, border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None)
    # Made by segno of black and white squares; the text itself is not in it.
    return Markup('<div role="img" aria-label="{}">{}</div>').format(title, Markup(svg))


class AccountPages:
    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def routes(self) -> list[Route]:
        def at(path: str, page: Any, method: str = "POST") -> Route:
            return Route(path, endpoint(self._portal, page, "any"), methods=[method])

        return [
            at("/account", self.show, "GET"),
            at("/account/password", self.password),
            at("/account/totp", self.totp_begin),
            at("/account/totp/confirm", self.totp_confirm),
            at("/account/totp/remove", self.totp_remove),
            Route(
                "/account/passkeys/challenge",
                script(self._portal, self.passkey_begin, "any"),
                methods=["POST"],
            ),
            Route("/account/passkeys", script(self._portal, self.passkey_add, "any"), methods=["POST"]),
            at("/account/passkeys/{id}/remove", self.passkey_remove),
            at("/account/tokens", self.token_create),
            at("/account/tokens/{id}/revoke", self.token_revoke),
            at("/account/sessions/end", self.sessions_end),
        ]

    async def show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _page(self, visit: Visit, problem: Problem | None = None, places: Any = None) -> Response:
        visit.account = await visit.ask("me", AccountView)
        sessions = await visit.ask("session-list", Sessions)
        tokens = await visit.ask("token-list", Tokens)
        form = visit.form if problem is None else visit.form.again(problem, places)
        return visit.page(
            "account.html",
            200 if problem is None else problem.status,
            form=form,
            sessions=sessions.sessions,
            tokens=tokens.tokens,
            scopes=SCOPES,
        )

    @about("password-change")
    async def password(self, visit: Visit) -> Response:
        form = visit.form
        try:
            if form.value("new") != form.value("again"):
                faults = Faults()
                faults.add("again", "is not the same as the new password")
                faults.end()
            await visit.ask("password-change", Nothing, old=form.value("old"), new=form.value("new"))
        except Problem as problem:
            return await self._page(visit, problem)
        return visit.go("/account", "password")

    @about("totp-begin")
    async def totp_begin(self, visit: Visit) -> Response:
        found = await visit.ask("totp-begin", TotpSecret)
        return self._totp_page(visit, found.secret, found.uri)

    def _totp_page(self, visit: Visit, secret: str, uri: str, form: Form | None = None) -> Response:
        status = 200 if form is None or form.problem is None else form.problem.status
        qr = qr_code(uri, "QR code of the secret, for an authenticator app") if uri else ""
        return visit.page("totp.html", status, secret=secret, uri=uri, qr=qr, form=form or visit.form)

    @about("totp-confirm")
    async def totp_confirm(self, visit: Visit) -> Response:
        form = visit.form
        try:
            await visit.ask("totp-confirm", Nothing, code=form.text("code").replace(" ", ""))
        except Problem as problem:
            # The secret comes back from the page itself: it is shown again, so that nobody begins anew.
            uri = form.value("uri")
            uri = uri if uri.startswith("otpauth://") and len(uri) <= 500 else ""
            return self._totp_page(visit, form.value("secret")[:100], uri, form.again(problem))
        return visit.go("/account", "totp")

    @about("totp-remove")
    async def totp_remove(self, visit: Visit) -> Response:
        try:
            await visit.ask("totp-remove", Nothing, password=visit.form.value("totp_password"))
        except Problem as problem:
            return await self._page(visit, problem, {"password": "totp_password"})
        return visit.go("/account", "totp-removed")

    @about("passkey-begin")
    async def passkey_begin(self, visit: Visit, data: dict[str, Any]) -> Any:
        return await visit.ask("passkey-begin", Options, origin=self._portal.config.origin)

    @about("passkey-add")
    async def passkey_add(self, visit: Visit, data: dict[str, Any]) -> Any:
        return await visit.ask(
            "passkey-add",
            PasskeyView,
            origin=self._portal.config.origin,
            challenge=data.get("challenge", ""),
            credential=data.get("credential", {}),
            name=data.get("name", ""),
        )

    @about("passkey-remove")
    async def passkey_remove(self, visit: Visit) -> Response:
        await visit.ask("passkey-remove", Nothing, id=visit.path("id"))
        return visit.go("/account", "passkey-removed")

    @about("token-create")
    async def token_create(self, visit: Visit) -> Response:
        form = visit.form

        async def make() -> Response:
            faults = Faults()
            expires = None
            if form.text("days"):
                days = faults.whole("days", form.text("days"))
                if days is not None and not 1 <= days <= 3650:
                    faults.add("days", "1 to 3650 days are possible")
                elif days is not None:
                    now = datetime.datetime.fromtimestamp(visit.portal.now(), datetime.UTC)
                    expires = (now + datetime.timedelta(days=days)).timestamp()
            if not form.all("scopes"):
                faults.add("scopes", "choose at least one")
            faults.end()
            found = await visit.ask(
                "token-create", NewToken, name=form.text("name"), scopes=form.all("scopes"), expires=expires
            )
            return visit.page("token.html", made=found)

        try:
            return await visit.once(make)
        except Problem as problem:
            return await self._page(visit, problem)

    @about("token-revoke")
    async def token_revoke(self, visit: Visit) -> Response:
        await visit.ask("token-revoke", Nothing, id=visit.path("id"))
        return visit.go("/account", "token-revoked")

    @about("sessions-end")
    async def sessions_end(self, visit: Visit) -> Response:
        await visit.ask("sessions-end", Nothing)
        return visit.go("/account", "sessions")
