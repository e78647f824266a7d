"""The platform's REST API as the command line uses it: the same operations, over HTTPS with an API token."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.core.errors import LocalError
from gkmd.daemon.portal_link import Line, checked_url, opener, tls_context

_SECONDS: Final = 60.0
_MOST_OCTETS: Final = 16 * 1024 * 1024


class RemoteDesk:
    """``url`` of the portal; ``ca`` a PEM file of its authority, None for those that the system trusts."""

    def __init__(self, url: str, token: str, ca: Path | None = None) -> None:
        try:
            self._url = checked_url(url) + "/api/v1"
        except ValueError as error:
            raise LocalError(f"--portal {url!r}: {error}") from None
        self._token = token
        self._opener = opener(tls_context(ca), Line())

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
