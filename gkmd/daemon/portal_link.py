"""The way to a portal: where passwords and tokens may be sent, TLS that is verified, and no redirections."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from gkmd.core.errors import ConfigError


def checked_url(text: str) -> str:
    """The base of the portal. ValueError unless it is https, or http to this very host."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("https://HOST, with :PORT and a path if need be")
    if parts.username is not None or any(ord(c) <= 32 or ord(c) >= 127 for c in text):
        raise ValueError("no name, no password and no blanks in it")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("https, because passwords and tickets go over it")
    _ = parts.port  # ValueError when it is none
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Verifies against ``ca``, or what the host trusts. ConfigError when the file is no certificate."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use the CA certificate {ca}: {error.strerror or error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Passwords and tokens are not carried to another place; the answer is an HTTPError of 300 to 399."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Line:
    """The connection that is asked on, so that another thread can end it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.cut = False  # by us, since ``begin``

    def begin(self) -> None:
        self._socket, self.cut = None, False

    def taken(self, opened: socket.socket) -> None:
        self._socket = opened

    def hang_up(self) -> None:
        """Whoever reads or writes there fails at once."""
        self.cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not that of SSLSocket, which would take TLS away from under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        line = self._line

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                line.taken(self.sock)

        return self.do_open(Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, line: Line, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._line, self._verifying = line, context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        line = self._line

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                line.taken(self.sock)

        return self.do_open(Connection, req, context=self._verifying)


def opener(context: ssl.SSLContext, line: Line) -> urllib.request.OpenerDirector:
    """Asks the portal itself: no proxy of the environment, no redirection. By ``line`` it can be ended."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), _Http(line), _Https(line, context), _NoRedirection()
    )
