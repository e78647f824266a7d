"""A member at a portal over real HTTP and TLS: what it takes and refuses, and what a bad portal can do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from daemon_config import write
from ticket_texts import ENDS, STARTS, ticket_id, ticket_text

from gkmd.core.errors import ConfigError, LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.issuing import Issued, make_authority, make_certificate
from gkmd.daemon import portal_client, portal_tickets
from gkmd.daemon.portal_client import PortalClient, PortalError, PortalLogin
from gkmd.daemon.portal_link import checked_url, tls_context
from gkmd.daemon.portal_tickets import PortalSettings, PortalTickets, in_thread
from gkmd.daemon.ticket_file import LocalChoices

NOW = float(STARTS)
PLAIN = tls_context(None)  # for http; making one takes a while
Answer = tuple[int, dict[str, str], bytes]


def transmission(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"concert-{number}",
        "title": f"Concert {number}",
        "description": "",
        "by": "somebody",
        "starts": STARTS,
        "ends": ENDS,
        "opens": STARTS - 60,
        "time_zone": "UTC",
        "state": "open",
        "address": f"239.192.0.{number}",
        "port": 5004,
        "price": None,
        "ways": ["open"],
        "ticket": "",
        "and": "what a later portal says",
    } | changes


def view(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": ticket_id(number),
        "transmission": transmission(number),
        "sends": False,
        "label": "",
        "secret": "",
        "configuration": ticket_text(number),
        "created": STARTS - 1000,
        "revoked": None,
        "admitted": None,
    } | changes


class FakePortal:
    """What it was asked, and what it says. ``tickets`` and ``catalogue`` are lists of the API."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []  # method, path, authorization
        self.bodies: list[Any] = []
        self.tickets: list[dict[str, Any]] = []
        self.catalogue: list[dict[str, Any]] = []
        self.sessions = 0
        self.valid = {"Bearer token"}
        self.instead: Callable[[str], Answer | None] = lambda path: None
        self.url = ""
        self.most = 500  # entries of a page

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        self.asked.append((method, path, authorization))
        self.bodies.append(json.loads(body) if body else None)
        instead = self.instead(path)
        if instead is not None:
            return instead
        if path == "/api/v1/sessions":
            if self.bodies[-1]["password"] != "correct horse":
                return problem(401, "wrong login or password\x1b[2J")
            self.sessions += 1
            self.valid = {f"Bearer session{self.sessions}"}
            account = {
                "id": "a-1",
                "login": "ann",
                "name": "",
                "created": 0,
                "credit_limit": None,
                "roles": [],
                "classes": [],
                "passkeys": [],
                "confirmed": True,
                "disabled": False,
                "totp": False,
            }
            return plain({"token": f"session{self.sessions}", "expires": ENDS, "account": account}, 201)
        if authorization not in self.valid:
            return problem(401, "sign in first")
        path, _, query = path.partition("?")
        if path == "/api/v1/tickets":
            mine = [one for one in self.tickets if "live=true" not in query or one["revoked"] is None]
            shown, after = self.page(mine, query)
            return plain({"tickets": [one | {"secret": ""} for one in shown], "after": after})
        if path.startswith("/api/v1/tickets/"):
            (found,) = [one for one in self.tickets if path.endswith(one["id"])]
            return plain(found | {"configuration": found.get("whole", found["configuration"])})
        if path == "/api/v1/transmissions":
            shown, after = self.page(self.catalogue, query)
            return plain({"transmissions": shown, "after": after})
        number = int(path.split("/")[4].partition("-")[2])
        (found,) = [one for one in self.catalogue if one["id"] == f"concert-{number}"]
        if "vouchers" in found["ways"]:
            return problem(403, "a voucher is needed")
        found["ticket"] = ticket_id(number)
        self.tickets.append(view(number))
        return plain(view(number), 201)

    def page(self, entries: list[dict[str, Any]], query: str) -> tuple[list[dict[str, Any]], str]:
        """Some of them, and where the next page begins."""
        asked = dict(urllib.parse.parse_qsl(query))
        begin = int(asked.get("after", "0"))
        end = begin + min(int(asked["limit"]), self.most)
        return entries[begin:end], str(end) if end < len(entries) else ""


def plain(document: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


def problem(status: int, detail: str) -> Answer:
    return status, {"Content-Type": "application/problem+json"}, json.dumps({"detail": detail}).encode()


@contextlib.contextmanager
def serving(portal: FakePortal, context: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            authorization = self.headers.get("Authorization", "")
            status, headers, octets = portal.answer(self.command, self.path, authorization, body)
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

        do_GET = do_POST = respond

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        scheme = "http" if context is None else "https"
        portal.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        yield portal.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal()
    with serving(made):
        yield made


def client(portal: FakePortal, password: str = "") -> PortalClient:
    if password:
        login = PortalLogin(portal.url, login="ann", password=SecretBytes(password.encode()))
    else:
        login = PortalLogin(portal.url, SecretBytes(b"token"))
    return PortalClient(login, PLAIN)


def tickets(portal: FakePortal, *, free: bool = False) -> PortalTickets:
    settings = PortalSettings(PortalLogin(portal.url), get_free=free)
    return PortalTickets(client(portal), settings, LocalChoices("lo"))


def test_the_tickets_of_a_login(portal: FakePortal) -> None:
    portal.tickets = [view(1), view(2, configuration="", whole=ticket_text(2)), view(3, revoked=STARTS)]
    found = tickets(portal).look(NOW)
    assert set(found.tickets) == {ticket_id(1), ticket_id(2)}
    assert found.complaints == {}
    assert found.tickets[ticket_id(1)].join.interface == "lo"
    assert [path for _, path, _ in portal.asked] == [
        "/api/v1/tickets?live=true&limit=100",
        f"/api/v1/tickets/{ticket_id(2)}",
    ]
    assert tickets(portal).look(ENDS).tickets == {}


def test_tickets_that_are_none_are_told_and_the_others_used(portal: FakePortal) -> None:
    portal.tickets = [view(1, configuration="secret = 'x'"), view(2, configuration="", whole=""), view(4)]
    found = tickets(portal).look(NOW)
    assert set(found.tickets) == {ticket_id(4)}
    assert "missing" in found.complaints[ticket_id(1)]
    assert "gives no file" in found.complaints[ticket_id(2)]


def test_a_password_signs_in_once_and_again_when_the_session_has_ended(portal: FakePortal) -> None:
    portal.valid = set()
    one = client(portal, "correct horse")
    assert one.tickets() == one.tickets() == ()
    assert portal.sessions == 1
    portal.valid = set()
    assert one.tickets() == ()
    assert portal.sessions == 2
    portal.instead = lambda path: None if path.endswith("sessions") else problem(401, "no")
    with pytest.raises(PortalError, match="401 no"):
        one.tickets()
    assert portal.sessions == 3  # not for ever


def test_a_wrong_password_and_a_wrong_token(portal: FakePortal) -> None:
    with pytest.raises(PortalError, match=r"POST .*/sessions: 401 wrong login or password\?\[2J") as caught:
        client(portal, "incorrect horse").tickets()
    assert "incorrect" not in str(caught.value)
    portal.valid = set()
    with pytest.raises(PortalError, match="sign in first"):
        client(portal).tickets()


def test_free_tickets_are_got_when_that_is_wished(portal: FakePortal) -> None:
    euro = {"amount": 250, "currency": "EUR"}
    portal.catalogue = [
        transmission(1),
        transmission(2, price=euro),
        transmission(3, ways=["vouchers"]),
        transmission(4, ticket=ticket_id(4)),
        transmission(5, ends=STARTS - 1),
    ]
    assert tickets(portal).look(NOW).tickets == {}
    willing = tickets(portal, free=True)
    found = willing.look(NOW)
    assert set(found.tickets) == {ticket_id(1)}
    assert "a voucher is needed" in found.complaints["concert-3"]
    posted = [path for method, path, _ in portal.asked if method == "POST"]
    assert posted == ["/api/v1/transmissions/concert-1/tickets", "/api/v1/transmissions/concert-3/tickets"]
    assert {} in portal.bodies  # nothing may be charged
    willing.look(NOW)
    assert len([one for one in portal.asked if one[0] == "POST"]) == 2  # what was refused is not asked soon


def test_a_redirection_is_not_followed(portal: FakePortal) -> None:
    other = FakePortal()
    with serving(other) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            portal.instead = lambda path, s=status: (s, {"Location": f"{elsewhere}/api/v1/tickets"}, b"")  # type: ignore[misc]
            with pytest.raises(PortalError, match="not followed"):
                client(portal).tickets()
            with pytest.raises(PortalError, match="not followed"):
                client(portal, "correct horse").tickets()
    assert other.asked == []


@pytest.mark.parametrize(
    "octets",
    [b"", b"<html>", b"[]", b'{"tickets": 1}', b'{"tickets": [{}]}', b"\xff\xfe", b"[" * 200_000],
    ids=["nothing", "a page", "a list", "a number", "an empty one", "octets", "nested"],
)
def test_garbage_is_told(portal: FakePortal, octets: bytes) -> None:
    portal.instead = lambda path: (200, {}, octets)
    with pytest.raises(PortalError, match="not an answer of gkmd's portal"):
        client(portal).tickets()


def test_garbage_of_an_error_is_told(portal: FakePortal) -> None:
    for octets in (b"", b"[" * 60_000, b"[1]", b"\xff", b'{"detail": {"x": 1}}'):
        portal.instead = lambda path, o=octets: (500, {}, o)  # type: ignore[misc]
        with pytest.raises(PortalError, match="500"):
            client(portal).tickets()


def test_an_answer_without_an_end_is_cut(portal: FakePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_client, "LARGEST_OCTETS", 100_000)
    portal.instead = lambda path: (200, {}, b" " * 100_001)
    with pytest.raises(PortalError, match="more than 100000 octets"):
        client(portal).tickets()


def test_a_short_answer_and_a_silent_portal(portal: FakePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_client, "SOCKET_SECONDS", 0.1)
    portal.instead = lambda path: (200, {"Content-Length": "100"}, b"{")
    with pytest.raises(PortalError, match=r"no answer within|not an answer|IncompleteRead"):
        client(portal).tickets()
    held = threading.Event()
    portal.instead = lambda path: (held.wait(60), (200, {}, b""))[1]
    with pytest.raises(PortalError, match="no answer within"):
        client(portal).tickets()
    held.set()


def test_nobody_there(portal: FakePortal) -> None:
    portal.url = "http://127.0.0.1:1"
    with pytest.raises(PortalError, match="Connection refused") as caught:
        client(portal).tickets()
    assert caught.value.status == 0


def tls(folder: Path, authority: Issued, name: str) -> ssl.SSLContext:
    own = make_certificate(authority, "portal", [Identity.parse(name)], time.time(), 10, SeededRng(name))
    key = write(folder, "portal.key", own.key_pem.reveal().decode())
    certificate = write(folder, "portal.crt", own.certificate_pem.decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_tls_is_verified(tmp_path: Path) -> None:
    made = FakePortal()
    authority = make_authority("ca", time.time(), 10, SeededRng("portal"))
    stranger = make_authority("stranger", time.time(), 10, SeededRng("stranger"))
    ca = write(tmp_path, "ca.crt", authority.certificate_pem.decode())
    other = write(tmp_path, "other.crt", stranger.certificate_pem.decode())

    def ask(anchor: Path | None) -> tuple[object, ...]:
        return PortalClient(PortalLogin(made.url, SecretBytes(b"token")), tls_context(anchor)).tickets()

    with serving(made, tls(tmp_path, authority, "ipv4:127.0.0.1")):
        assert ask(ca) == ()
        for anchor in (other, None):
            with pytest.raises(PortalError, match="certificate is not accepted"):
                ask(anchor)
    with (
        serving(made, tls(tmp_path, authority, "fqdn:elsewhere.example")),
        pytest.raises(PortalError, match="certificate is not accepted"),
    ):
        ask(ca)
    with pytest.raises(ConfigError, match="cannot use the CA certificate"):
        tls_context(write(tmp_path, "no.crt", "no certificate"))
    assert len(made.asked) == 1


@pytest.mark.parametrize(
    "text",
    [
        "ftp://portal.example",
        "file:///etc/passwd",
        "portal.example",
        "http://portal.example",
        "http://127.0.0.1.example",
        "https://",
        "https://ann:secret@portal.example",
        "https://portal.example/?a=b",
        "https://portal.example:99999",
        "https://portal.example/a b",
        "https://portal.example\r\nX: y",
    ],
)
def test_what_is_no_portal(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked_url(text)


def test_what_is_a_portal() -> None:
    assert checked_url("https://portal.example:8443/tv/") == "https://portal.example:8443/tv"
    assert checked_url("http://[::1]:8080") == "http://[::1]:8080"


def test_the_loop_does_not_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    async def run() -> None:
        assert await in_thread(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)
        monkeypatch.setattr(portal_tickets, "THREAD_SECONDS", 0.05)
        with pytest.raises(LocalError, match="has not answered"):
            await in_thread(lambda: held.wait(60))

    asyncio.run(run())  # returns although the thread has not
    held.set()


def test_more_tickets_than_a_page_has(portal: FakePortal) -> None:
    portal.most = 2
    portal.tickets = [view(n) for n in range(10, 15)] + [view(1), view(2)]
    for one in portal.tickets[:5]:
        one["transmission"]["ends"] = STARTS - 1
    assert set(tickets(portal).look(NOW).tickets) == {ticket_id(1), ticket_id(2)}
    # Pages without an end are not followed without an end.
    portal.asked.clear()
    portal.instead = lambda path: plain({"tickets": [], "after": "1"})
    assert client(portal).tickets() == ()
    assert len(portal.asked) == portal_client.MOST_PAGES


def test_a_file_is_asked_for_when_there_is_something_new(portal: FakePortal) -> None:
    portal.tickets = [view(1, configuration="", whole=ticket_text(1)), view(2, configuration="")]
    portal.tickets[1]["transmission"]["ends"] = STARTS - 1  # over: its file is of no interest
    mine = tickets(portal)
    for _ in range(5):
        assert set(mine.look(NOW).tickets) == {ticket_id(1)}
    wholes = [path for _, path, _ in portal.asked if ticket_id(1) in path or ticket_id(2) in path]
    assert wholes == [f"/api/v1/tickets/{ticket_id(1)}"]
    later = ticket_text(1, ends=ENDS + 60)
    portal.tickets[0] |= {"transmission": transmission(1, ends=ENDS + 60), "whole": later}
    assert mine.look(NOW).tickets[ticket_id(1)].ends == ENDS + 60


def test_a_catalogue_that_cannot_be_read_takes_no_ticket_away(portal: FakePortal) -> None:
    portal.tickets = [view(1)]
    for answer in (
        problem(403, "the token has no scope read"),
        (200, {}, b" " * (portal_client.LARGEST_OCTETS + 1)),
    ):
        portal.instead = lambda path, a=answer: a if "transmissions" in path else None  # type: ignore[misc]
        found = tickets(portal, free=True).look(NOW)
        assert set(found.tickets) == {ticket_id(1)}
        assert "transmissions" in found.complaints["catalogue"]


def test_what_anybody_offers_is_in_nobodys_way(portal: FakePortal) -> None:
    """A sender makes transmissions without end that cost nothing and begin before all others."""
    paid = transmission(200, price={"amount": 250, "currency": "EUR"}, starts=STARTS + 9000, ends=ENDS + 9000)
    portal.tickets = [view(200, transmission=paid, configuration=ticket_text(200, ends=ENDS + 9000))]
    portal.catalogue = [transmission(n) for n in range(1, 200)]
    mine = tickets(portal, free=True)
    for _ in range(30):
        found = mine.look(NOW)
        assert ticket_id(200) in found.tickets
    assert len(found.tickets) <= 64
    # Nor in that of what was got before, by whatever means.
    portal.tickets += [view(n) for n in range(100, 199)] + [view(n) for n in range(201, 240)]
    assert ticket_id(200) in mine.look(NOW).tickets


def test_what_was_revoked_is_not_got_again(portal: FakePortal) -> None:
    portal.catalogue = [transmission(1)]
    mine = tickets(portal, free=True)
    assert set(mine.look(NOW).tickets) == {ticket_id(1)}
    portal.tickets[0]["revoked"] = STARTS
    portal.catalogue[0]["ticket"] = ""
    assert mine.look(NOW).tickets == {}
    assert len([one for one in portal.asked if one[0] == "POST"]) == 1


def test_a_wrong_password_is_not_shown_again_and_again(
    portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account would be locked out as long as the member runs."""
    portal.valid = set()
    one = client(portal, "incorrect horse")
    for _ in range(10):
        with pytest.raises(PortalError, match=r"wrong login or password|not shown again for \d+ s"):
            one.tickets()
    assert len(portal.asked) == 1
    # A portal that fails otherwise is asked as before.
    other = client(portal, "correct horse")
    portal.instead = lambda path: problem(503, "not now")
    for _ in range(3):
        with pytest.raises(PortalError, match="503 not now"):
            other.tickets()
    portal.instead = lambda path: None
    assert other.tickets() == ()


def endless(octets: bytes, wrap: ssl.SSLContext | None) -> tuple[socket.socket, threading.Thread]:
    """A portal that goes on saying this, in TLS or not."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection if wrap is None else wrap.wrap_socket(connection, server_side=True) as open_one:
                while True:
                    open_one.sendall(octets)
                    time.sleep(0.001)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


@pytest.mark.parametrize("encrypted", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "octets",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b", b"x"],
    ids=["100 without end", "headers without end", "a line without end"],
)
def test_a_portal_that_never_comes_to_the_point(
    octets: bytes, encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_client, "WHOLE_SECONDS", 0.2)
    authority = make_authority("ca", time.time(), 10, SeededRng("portal"))
    ca = write(tmp_path, "ca.crt", authority.certificate_pem.decode())
    listener, thread = endless(octets, tls(tmp_path, authority, "ipv4:127.0.0.1") if encrypted else None)
    scheme = "https" if encrypted else "http"
    login = PortalLogin(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", SecretBytes(b"token"))
    begun = time.monotonic()
    with pytest.raises(PortalError, match=r"^GET http"):
        PortalClient(login, tls_context(ca) if encrypted else PLAIN).tickets()
    assert time.monotonic() - begun < 60
    thread.join(60)
    assert not thread.is_alive()
    listener.close()


def test_one_look_at_a_time(portal: FakePortal) -> None:
    """Who gives up waiting for a look does not begin another one beside it."""
    held, inside = threading.Event(), threading.Event()

    def slow(path: str) -> Answer | None:
        inside.set()
        held.wait(60)
        return None

    portal.instead = slow
    mine = tickets(portal)
    thread = threading.Thread(target=mine.look, args=(NOW,))
    thread.start()
    assert inside.wait(60)
    with pytest.raises(PortalError, match="has not answered the last look"):
        mine.look(NOW)
    held.set()
    thread.join(60)
    assert mine.look(NOW).tickets == {}
