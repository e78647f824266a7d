"""The portal as a member's machine sees it: sign in, my tickets, the catalogue (gkmd.api, by HTTPS).

Everything here blocks and belongs into a thread. What comes from the other side is bounded in size and time;
redirections are refused, because a password must not follow them; TLS is verified.
"""

from __future__ import annotations

import http.client
import json
import math
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

import gkmd
from gkmd.api import results
from gkmd.core.errors import LocalError
from gkmd.core.secret import SecretBytes
from gkmd.daemon.portal_link import Line, opener

T = TypeVar("T")

LARGEST_OCTETS: Final = 4 << 20
SOCKET_SECONDS: Final = 10.0  # for one step: connect, handshake, the next octets
WHOLE_SECONDS: Final = 30.0  # for one answer
MOST_PAGES: Final = 20
_PAGE: Final = 100  # entries: with the longest descriptions they stay below LARGEST_OCTETS
_WRONG_PASSWORD_SECONDS: Final = 600.0  # doubled each time; longer than the portal locks anybody out
_LONGEST_SECONDS: Final = 6 * 3600.0
_NOT_TAKEN: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
_CHUNK: Final = 65_536
_SHOWN: Final = 200  # characters of an error text of the portal's


class PortalError(LocalError):
    """The portal cannot be asked, or does not do what was asked. ``status`` is 0 without an HTTP answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class PortalLogin:
    """A token of scope ``tickets``, or a login with its password."""

    url: str
    token: SecretBytes | None = None
    login: str = ""
    password: SecretBytes | None = None
    ca: Path | None = None


class PortalClient:
    """One login at one portal. Not for several threads at once."""

    def __init__(self, login: PortalLogin, context: ssl.SSLContext) -> None:
        self._login = login
        self._session: SecretBytes | None = None
        self._line = Line()
        self._opener = opener(context, self._line)
        self._sign_in_at = -math.inf
        self._wrong_passwords = 0
        self._end = math.inf

    def begin(self, seconds: float) -> None:
        """What is asked from now on is to be done within so many seconds."""
        self._end = time.monotonic() + seconds

    def tickets(self, *, live: bool = True) -> tuple[results.TicketView, ...]:
        """The tickets of this login, or the live ones, newest first, without their files. PortalError says
        what to do.
        """
        found: list[results.TicketView] = []
        after = ""
        for _ in range(MOST_PAGES):
            path = f"/tickets?live={'true' if live else 'false'}&limit={_PAGE}"
            path += f"&after={_quoted(after)}" if after else ""
            page = self._ask("GET", path, None, results.Tickets)
            found += page.tickets
            after = page.after
            if not after:
                break
        return tuple(found)

    def ticket(self, name: str) -> results.TicketView:
        """A ticket with its file."""
        return self._ask("GET", f"/tickets/{_quoted(name)}", None, results.TicketView)

    def transmissions(self) -> Iterator[results.Transmission]:
        """What is on or coming, by its start, asked for page by page."""
        after = ""
        for _ in range(MOST_PAGES):
            path = f"/transmissions?state=both&limit={_PAGE}" + (f"&after={_quoted(after)}" if after else "")
            page = self._ask("GET", path, None, results.Transmissions)
            yield from page.transmissions
            after = page.after
            if not after:
                return

    def get_ticket(self, transmission: str) -> results.TicketView:
        """A ticket that costs nothing; PortalError when there is none for this login."""
        path = f"/transmissions/{_quoted(transmission)}/tickets"
        return self._ask("POST", path, {}, results.TicketView)

    # --- the inside -------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: object, kind: type[T]) -> T:
        """With a token; with a password a session is begun, and begun anew once when it has ended."""
        if self._login.token is not None:
            return self._request(method, path, body, kind, self._login.token)
        if self._session is not None:
            try:
                return self._request(method, path, body, kind, self._session)
            except PortalError as error:
                if error.status != HTTPStatus.UNAUTHORIZED:
                    raise
        self._session = self._sign_in()
        return self._request(method, path, body, kind, self._session)

    def _sign_in(self) -> SecretBytes:
        password = self._login.password
        if password is None:
            raise PortalError("nothing to sign in with")
        wait = self._sign_in_at - time.monotonic()
        if wait > 0:
            raise PortalError(
                f"the portal did not take the password, which it is not shown again for {wait:.0f} s; "
                "put it right and start the member again"
            )
        body = {"login": self._login.login, "password": password.reveal().decode("utf-8", "replace")}
        try:
            signed_in = self._request("POST", "/sessions", body, results.SignedIn, None)
        except PortalError as error:
            if error.status in _NOT_TAKEN:
                # Every wrong one brings the account's lock-out nearer, or keeps it up.
                wait = min(_WRONG_PASSWORD_SECONDS * 2.0 ** min(self._wrong_passwords, 16), _LONGEST_SECONDS)
                self._wrong_passwords += 1
                self._sign_in_at = time.monotonic() + wait
            raise
        self._wrong_passwords = 0
        return SecretBytes(signed_in.token.encode())

    def _request(self, method: str, path: str, body: object, kind: type[T], token: SecretBytes | None) -> T:
        url = f"{self._login.url}/api/v1{path}"
        request = urllib.request.Request(url, method=method)  # noqa: S310  # checked_url
        request.add_header("Accept", "application/json")
        request.add_header("User-Agent", f"gkmd-member/{gkmd.__version__}")
        if token is not None:
            request.add_header("Authorization", f"Bearer {_header_text(token)}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        what = f"{method} {self._login.url}/api/v1{path.partition('?')[0]}"
        seconds = min(WHOLE_SECONDS, self._end - time.monotonic())
        if seconds <= 0:
            raise PortalError(f"{what}: no time is left for it")
        self._line.begin()
        # A step that is bounded is not enough: there may be steps without an end, such as 100 Continue.
        timer = threading.Timer(seconds, self._line.hang_up)
        timer.daemon = True
        timer.start()
        late = f"{what}: the answer takes more than {seconds:.0f} s"
        try:
            with self._opener.open(request, timeout=SOCKET_SECONDS) as answer:
                octets = _bounded(answer, what)
        except urllib.error.HTTPError as error:
            with error:
                raise PortalError(_refusal(what, error), error.code) from None
        except (OSError, http.client.HTTPException) as error:
            if self._line.cut:
                raise PortalError(late) from None
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise PortalError(f"{what}: {_reason(reason)}") from None
        finally:
            timer.cancel()
        if self._line.cut:
            raise PortalError(late)
        try:
            return msgspec.json.decode(octets, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise PortalError(f"{what}: not an answer of gkmd's portal: {str(error)[:_SHOWN]}") from None


def _header_text(token: SecretBytes) -> str:
    text = token.reveal().decode("ascii", "replace").strip()
    if not text or not text.isprintable() or not text.isascii():
        raise PortalError("the token is not one line of ASCII")
    return text


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _bounded(answer: Any, what: str) -> bytes:
    """The body, unless it is too long."""
    octets = bytearray()
    while chunk := answer.read1(_CHUNK):
        octets += chunk
        if len(octets) > LARGEST_OCTETS:
            raise PortalError(f"{what}: the answer has more than {LARGEST_OCTETS} octets")
    return bytes(octets)


def _refusal(what: str, error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        return (
            f"{what}: the portal wants to send us elsewhere, which is not followed; is `url` the right one?"
        )
    detail = ""
    try:
        document = json.loads(error.read(_CHUNK))
        detail = str(document.get("detail", "")) if isinstance(document, dict) else ""
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        pass
    return f"{what}: {error.code} {printable(detail) or printable(str(error.reason))}"


def printable(text: str) -> str:
    """A foreign text for a log line: bounded, and without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])


def _reason(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the portal's certificate is not accepted: {reason.verify_message}; see portal.ca"
    if isinstance(reason, TimeoutError):
        return f"no answer within {SOCKET_SECONDS:.0f} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return printable(str(reason)) or type(reason).__name__
