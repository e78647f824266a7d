"""Clients of a real server that hold on to what they have: heads and bodies that never end, answers that are
not taken, connections without number.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from portal_rig import Site, portal_config

from gkmd.web import crowd as crowd_module
from gkmd.web.connections import Limits
from gkmd.web.crowd import Crowd, Entrance
from gkmd.web.process import bind, is_ours, server_config

SHORT = Limits(head=0.15, body=0.15, body_rate=10_000, taking=0.15, taking_rate=1000)
PATIENCE = 60.0


class Served:
    """The portal of ``site`` by uvicorn, in a thread."""

    def __init__(self, app: Any, limits: Limits, **more: Any) -> None:
        self.crowd = Crowd(limits)
        self.listening = Entrance(bind(("127.0.0.1", 0)), self.crowd)
        self.server = uvicorn.Server(server_config(portal_config(**more), app, limits))
        self.thread = threading.Thread(target=self.server.run, args=([self.listening],))
        self.thread.start()

    def connect(self, sent: bytes = b"") -> socket.socket:
        made = socket.create_connection(self.listening.getsockname(), PATIENCE)
        made.sendall(sent)
        return made

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.listening.close()


@pytest.fixture
def serve(site: Site) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:

        def make(app: Any = site.app, limits: Limits = SHORT, **more: Any) -> Served:
            made = Served(app, limits, **{"origin": "http://127.0.0.1", **more})
            stack.callback(made.close)
            return made

        yield make


def read(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up; TimeoutError when it does not."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            found += part
    return found


def drip(connection: socket.socket, octets: bytes) -> None:
    """Send them over and over, little by little, until the other side has had enough."""
    for _ in range(3000):
        ready, _, _ = select.select([connection], [], [], 0.02)
        if ready:
            return
        try:
            connection.sendall(octets)
        except (ConnectionResetError, BrokenPipeError):
            return
    raise AssertionError("the server waits for ever")


HEAD = b"GET /alive HTTP/1.1\r\nHost: a\r\n"
FORM = b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET",
        HEAD,
        HEAD + b"\r\n" + HEAD,
        FORM + b"Content-Length: 1000\r\n\r\na=",
        FORM + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
    ],
)
def test_a_request_that_stops_half_way_is_given_up(serve: Callable[..., Served], begun: bytes) -> None:
    with serve().connect(begun) as connection:
        assert read(connection).count(b"HTTP/1.1") == begun.count(b"\r\n\r\nGET")


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (HEAD, b"X-A: b\r\n"),
        (HEAD + b"\r\n" + HEAD, b"X-A: b\r\n"),
        (FORM + b"Content-Length: 100000\r\n\r\n", b"a"),
        (FORM + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    ],
)
def test_a_request_octet_by_octet_is_given_up(
    serve: Callable[..., Served], begun: bytes, more: bytes
) -> None:
    with serve().connect(begun) as connection:
        if begun.count(b"\r\n\r\n") and begun.startswith(b"GET"):
            assert connection.recv(65_536).startswith(b"HTTP/1.1 204")
        drip(connection, more)


def test_a_body_goes_on_no_longer_than_a_moment_after_its_answer(serve: Callable[..., Served]) -> None:
    limits = Limits(head=1.0)
    with serve(limits=limits).connect(FORM + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        connection.sendall(b"40000\r\n" + b"a" * 0x40000 + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                connection.sendall(b"1000\r\n" + b"a" * 0x1000 + b"\r\n")
            except (ConnectionResetError, BrokenPipeError):
                return
        raise AssertionError("the server takes it for ever")


def test_a_body_that_keeps_coming_has_its_time(serve: Callable[..., Served], site: Site) -> None:
    """Longer than ``body``, but at more than ``body_rate``."""
    length = 60 * 3000
    head = b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"
    limits = Limits(body=1.0, body_rate=1000)
    with serve(limits=limits).connect(head + b"Content-Length: %d\r\n\r\n" % length) as connection:
        for _ in range(60):
            select.select([connection], [], [], 0.02)
            connection.sendall(b"a" * 3000)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 415")


@pytest.mark.parametrize("end", [b"", b"Connection: close\r\n"])
def test_an_answer_that_nobody_takes_is_given_up(serve: Callable[..., Served], end: bytes) -> None:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                await send({"type": f"{(await receive())['type']}.complete"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * 20_000_000})

    served = serve(large)
    with served.connect(b"GET / HTTP/1.1\r\nHost: a\r\n" + end + b"\r\n") as connection:
        for _ in range(3000):
            if served.server.server_state.total_requests and not served.server.server_state.connections:
                break
            select.select([], [], [], 0.02)
        else:
            raise AssertionError("the server waits for ever")
        assert len(read(connection)) < 20_000_000


def test_a_stream_outlasts_all_of_it(serve: Callable[..., Served]) -> None:
    """What the server takes its time for is not the client's fault."""
    go = threading.Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                await send({"type": f"{(await receive())['type']}.complete"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.to_thread(go.wait, PATIENCE)
        await send({"type": "http.response.body", "body": b"last"})

    with serve(late).connect(b"GET / HTTP/1.0\r\n\r\n") as connection:
        found = b""
        while b"first" not in found:
            found += connection.recv(65_536)
        assert not select.select([connection], [], [], 3 * SHORT.head)[0]
        go.set()
        assert b"last" in read(connection)


def test_connections_beyond_the_most_are_closed_at_once(serve: Callable[..., Served]) -> None:
    served = serve(limits=Limits(most=5))
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(served.connect()) for _ in range(5)]
        over = stack.enter_context(served.connect())
        assert read(over) == b""
        kept[0].sendall(HEAD + b"\r\n")
        assert kept[0].recv(1000).startswith(b"HTTP/1.1 204")


def test_an_address_has_so_many_connections() -> None:
    crowd = Crowd(Limits(each=3), (ip_network("192.0.2.0/24"),))
    leave = [crowd.enter("203.0.113.1") for _ in range(4)]
    assert [one is not None for one in leave] == [True, True, True, False]
    assert crowd.enter("203.0.113.2") is not None
    assert [crowd.enter(f"2001:db8::{n}") is not None for n in range(4)] == [True, True, True, False]
    free = ("127.0.0.1", "192.0.2.7", "::1", "::ffff:192.0.2.7", "::ffff:127.0.0.1")
    gone = [crowd.enter(one) for one in free for _ in range(10)]
    assert len(crowd) == 7 + len(gone)
    for leave_again in gone:
        assert leave_again is not None
        leave_again()
    assert leave[0] is not None
    leave[0]()
    assert crowd.enter("203.0.113.1") is not None
    assert crowd.enter("::ffff:203.0.113.1") is None
    assert len(crowd) == 7


def test_answers_do_not_wait_for_more_to_send(serve: Callable[..., Served]) -> None:
    served = serve(limits=Limits())
    with served.connect(HEAD + b"\r\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 204")
        (one,) = served.server.server_state.connections
        ours = one.transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_crowd_has_an_end() -> None:
    crowd = Crowd(Limits(each=3, most=4))
    leave = [crowd.enter(one) for one in ("127.0.0.1", "192.0.2.7", "192.0.2.8", "127.0.0.1")]
    assert crowd.enter("192.0.2.9") is None
    assert crowd.enter("127.0.0.1") is None
    assert leave[1] is not None
    leave[1]()
    assert crowd.enter("192.0.2.9") is not None
    assert len(crowd) == 4


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    """Settings of a portal with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portal.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate, file = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return {"certificate": certificate, "key": file, "origin": "https://portal.example"}


def hello(served: Served) -> bytes:
    """What a client with TLS is answered."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with served.connect() as plain, context.wrap_socket(plain) as connection:
        connection.sendall(HEAD + b"\r\n")
        return connection.recv(1000)


def test_who_never_begins_the_handshake_holds_a_place_like_all_others(
    serve: Callable[..., Served], tls: dict[str, Any]
) -> None:
    """They were not counted: with 2300 of them the portal had no file left to accept anybody."""
    served = serve(limits=Limits(most=5), **tls)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(served.connect())
        for _ in range(300):  # more than are turned away in one go
            assert read(stack.enter_context(served.connect())) == b""
    assert wait_for(lambda: len(served.crowd) == 0)
    assert hello(served).startswith(b"HTTP/1.1 204")
    assert wait_for(lambda: len(served.crowd) == 0)


def test_a_handshake_has_its_time(
    serve: Callable[..., Served], tls: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio gives it a minute."""
    monkeypatch.setattr(crowd_module, "_HANDSHAKE", 0.2)
    served = serve(limits=Limits(), **tls)
    for begun in (b"", b"\x16\x03\x01\x02"):
        with served.connect(begun) as connection:
            assert read(connection) == b""
    assert wait_for(lambda: len(served.crowd) == 0)


def wait_for(true: Callable[[], bool]) -> bool:
    for _ in range(6000):
        if true():
            return True
        select.select([], [], [], 0.01)
    return False


def test_who_hangs_up_half_way_writes_no_log(
    serve: Callable[..., Served], caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    ours = logging.Filter()
    ours.filter = is_ours  # type: ignore[method-assign]  # as the process does at the logger
    with caplog.at_level(logging.WARNING), caplog.filtering(ours):
        with served.connect(b"nonsense\r\n\r\n") as connection:
            assert b" 400 " in read(connection)
        for begun in (FORM + b"Content-Length: 10\r\n\r\na", b"GET / HTTP/1.1\r\nHost: a\r\n"):
            served.connect(begun).close()
        upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        with served.connect(HEAD + upgrade) as connection:
            read(connection)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it was not closed
def test_whom_a_fault_drops_leaves_the_place_free() -> None:
    """asyncio does not close a connection for which there is no protocol."""

    def faulty() -> asyncio.Protocol:
        raise RuntimeError("nobody serves it")

    async def come(crowd: Crowd) -> None:
        listening = Entrance(bind(("127.0.0.1", 0)), crowd)
        listening.setblocking(False)
        server = await asyncio.get_running_loop().create_server(faulty, sock=listening)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        reading = asyncio.ensure_future(reader.read())
        while not reading.done():
            gc.collect()  # the fault knows what it has dropped
            await asyncio.sleep(0)
        assert reading.result() == b""
        writer.close()
        server.close()

    crowd = Crowd(Limits())
    asyncio.run(asyncio.wait_for(come(crowd), 10))
    assert len(crowd) == 0
