"""The platform's REST API as the command line uses it: the same operations, over HTTPS with an API token."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.core.errors import LocalError

_SECONDS: Final = 60.0
_MOST_OCTETS: Final = 16 * 1024 * 1024
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token is not to be carried to another place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class RemoteDesk:
    """``url`` of the portal; ``ca`` a PEM file of its authority, None for those that the system trusts."""

    def __init__(self, url: str, token: str, ca: Path | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise LocalError(f"portal {url!r}: https:// is needed, for the token stands for the account")
        self._url = url.rstrip("/") + "/api/v1"
        self._token = token
        try:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (OSError, ssl.SSLError) as error:
            raise LocalError(f"cannot use {ca} as certificates of authorities: {error}") from None
        self._opener = urllib.request.build_opener(
            _NoRedirect(), urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
        )

    def call(self, operation: str, request: dict[str, Any]) -> Any:
        """The result of an operation. Problem with the portal's words, LocalError when it does not answer."""
        known = OPERATIONS[operation]
        path, rest = known.path, dict(request)
        for name in list(rest):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", urllib.parse.quote(str(rest.pop(name)), safe=""))
        url, body = self._url + path, None
        if known.method in ("GET", "DELETE"):
            query = {name: value for name, value in rest.items() if value not in ("", None)}
            url += "?" + urllib.parse.urlencode(query) if query else ""
        else:
            body = json.dumps(rest).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        asked = urllib.request.Request(url, body, headers, method=known.method)  # noqa: S310  checked above
        try:
            with self._opener.open(asked, timeout=_SECONDS) as reply:
                return json.loads(reply.read(_MOST_OCTETS) or b"{}")
        except urllib.error.HTTPError as error:
            raise _problem(error) from None
        except (OSError, ValueError) as error:
            raise LocalError(f"the portal {self._url} does not answer: {error}") from None


def _problem(error: urllib.error.HTTPError) -> LocalError:
    try:
        document = json.loads(error.read(_MOST_OCTETS))
        return Problem.of_json(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return LocalError(f"the portal answered {error.code} {error.reason}")
