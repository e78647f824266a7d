"""The way of the command line to a portal, with nothing in the place of what goes there."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from gkmd.cli.remote import RemoteDesk
from gkmd.core.errors import LocalError

TOKEN = "gkmd_" + "a" * 43


class Me(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/api/v1/me" and self.headers["Authorization"] == f"Bearer {TOKEN}"
        body = b'{"login": "ann"}' if found else b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not into the output of the tests."""


@pytest.fixture
def portal() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Me)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_operation_at_a_portal(portal: str) -> None:
    assert RemoteDesk(portal, TOKEN).call("me", {}) == {"login": "ann"}


def test_a_portal_that_is_not_there(portal: str) -> None:
    port = portal.rpartition(":")[2]
    with pytest.raises(LocalError, match="localhost"):
        RemoteDesk(f"https://localhost:{port}", TOKEN).call("me", {})
