"""The way to a portal: where passwords and tokens may be sent, TLS that is verified, and no redirections."""

from __future__ import annotations

import ipaddress
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


def opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Asks the portal itself: no proxy of the environment, no redirection."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirection()
    )
