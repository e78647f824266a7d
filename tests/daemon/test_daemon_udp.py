"""UDP sockets: drained in turns, capped, with marker and local address."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from free_ports import free_port

from gkmd.core.address import Path
from gkmd.core.errors import LocalError
from gkmd.daemon.udp import DATAGRAM_OCTETS, DRAIN, NON_ESP_MARKER, Udp
from gkmd.kernel.membership import Memberships

IP_RECVTTL = 12  # linux/in.h
GROUP = ipaddress.ip_address("239.10.99.1")


@dataclass
class Heard:
    datagrams: list[tuple[bytes, Path]] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)

    def receive(self, data: bytes, path: Path) -> None:
        self.datagrams.append((data, path))

    def drained(self) -> None:
        self.turns.append(len(self.datagrams))

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.datagrams) < count:
                await asyncio.sleep(0.005)


@contextlib.contextmanager
def opened(*addresses: tuple[str, int]) -> Iterator[tuple[Udp, Heard]]:
    udp, heard = Udp(), Heard()
    udp.open(addresses)
    try:
        yield udp, heard
    finally:
        udp.close()


def client(host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.settimeout(60)
    return made


def test_a_turn_takes_64_datagrams_at_most() -> None:
    async def run() -> None:
        with opened(("127.0.0.1", 0)) as (udp, heard), client() as peer:
            (local,) = udp.local
            for number in range(DRAIN * 2 + 5):
                peer.sendto(struct.pack(">I", number + 1 << 8), local)
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            await heard.wait(DRAIN * 2 + 5)
            assert [data for data, _ in heard.datagrams] == [
                struct.pack(">I", number + 1 << 8) for number in range(DRAIN * 2 + 5)
            ]
            turns = [0, *heard.turns]
            assert all(after - before <= DRAIN for before, after in itertools.pairwise(turns))
            assert len(heard.turns) >= 3
            assert heard.datagrams[0][1] == Path(*local, *peer.getsockname())
            assert udp.received == DRAIN * 2 + 5

    asyncio.run(run())


def test_what_is_too_long_is_dropped_and_counted() -> None:
    async def run() -> None:
        with opened(("127.0.0.1", 0)) as (udp, heard), client() as peer:
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            for octets in (DATAGRAM_OCTETS + 1, 65_000, DATAGRAM_OCTETS):
                peer.sendto(b"x" * octets, udp.local[0])
            peer.sendto(b"\xff", udp.local[0])
            peer.sendto(b"end", udp.local[0])
            await heard.wait(2)
            assert [len(data) for data, _ in heard.datagrams] == [DATAGRAM_OCTETS, 3]
            assert udp.drops == {"too-long": 2, "nat-keepalive": 1}

    asyncio.run(run())


def test_the_marker_is_taken_off_and_put_back() -> None:
    async def run() -> None:
        with opened(("127.0.0.1", 0)) as (udp, heard), client() as peer:
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            peer.sendto(b"\0\0\0\0ike", udp.local[0])
            peer.sendto(b"ike", udp.local[0])
            await heard.wait(2)
            assert [(data, path.marker) for data, path in heard.datagrams] == [
                (b"ike", True),
                (b"ike", False),
            ]
            for _, path in heard.datagrams:
                udp.send(b"reply", path)
            assert [peer.recv(100), peer.recv(100)] == [b"\0\0\0\0reply", b"reply"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("wildcard", "asked"), [("0.0.0.0", "127.0.0.77"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")]
)
def test_a_wildcard_socket_answers_from_the_address_that_was_asked(wildcard: str, asked: str) -> None:
    async def run() -> None:
        with opened((wildcard, 0)) as (udp, heard), client("::1" if ":" in asked else "127.0.0.1") as peer:
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            peer.connect((asked, udp.local[0][1]))  # takes replies from there only
            peer.send(b"question")
            await heard.wait(1)
            _, path = heard.datagrams[0]
            assert path.local == asked
            udp.send(b"answer", path)
            assert peer.recv(100) == b"answer"

    asyncio.run(run())


def test_several_addresses_and_families() -> None:
    async def run() -> None:
        with opened(("127.0.0.1", 0), ("::1", 0)) as (udp, heard):
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            for host, port in udp.local:
                with client(host) as peer:
                    peer.sendto(b"hello", (host, port))
                    await heard.wait(1)
                    udp.send(b"you", heard.datagrams.pop()[1])
                    assert peer.recv(10) == b"you"

    asyncio.run(run())


def test_nothing_is_heard_after_stop_and_what_cannot_be_sent_is_counted() -> None:
    async def run() -> None:
        with opened(("127.0.0.1", 0)) as (udp, heard), client() as peer:
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            udp.stop()
            peer.sendto(b"late", udp.local[0])
            await asyncio.sleep(0.02)
            assert heard.datagrams == []
            host, port = udp.local[0]
            udp.send(b"x" * 70_000, Path(host, port, *peer.getsockname()))
            udp.send(b"x", Path("127.0.0.2", 1, "::1", 1))
            assert udp.drops == {"send-message-too-long": 1, "no-socket": 1}
            assert udp.sent == 0

    asyncio.run(run())


def test_multicast_goes_out_by_interface_with_ttl_from_our_port() -> None:
    async def run() -> None:
        memberships = Memberships()
        with opened(("127.0.0.1", 0)) as (udp, heard), client() as probe:
            port = probe.getsockname()[1]
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            listening = memberships.join(GROUP, port, "lo")
            assert listening is not None
            try:
                listening.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
                udp.send_multicast(b"rekey", GROUP, port, None, "lo", 7)
                listening.settimeout(60)
                data, ancillary, _, source = listening.recvmsg(100, 64)
                assert (data, source) == (b"rekey", udp.local[0])
                assert struct.unpack("=i", ancillary[0][2]) == (7,)
                listening.setblocking(False)
                udp.watch(listening, udp.drain_multicast, listening, str(GROUP), port)
                udp.send_multicast(b"again", GROUP, port, ipaddress.ip_address("127.0.0.1"), "lo", 1)
                await heard.wait(1)
                assert heard.datagrams == [(b"again", Path(str(GROUP), port, *udp.local[0]))]
                udp.unwatch(listening)
            finally:
                memberships.close()
            with pytest.raises(LocalError, match="no interface 'nowhere0'"):
                udp.send_multicast(b"x", GROUP, port, None, "nowhere0", 1)
            with pytest.raises(LocalError, match=r"from 192\.0\.2\.1: add 192\.0\.2\.1 to `listen`"):
                udp.send_multicast(b"x", GROUP, port, ipaddress.ip_address("192.0.2.1"), "lo", 1)
            with pytest.raises(LocalError, match="no listening socket can send to ff15::1"):
                udp.send_multicast(b"x", ipaddress.ip_address("ff15::1"), port, None, "lo", 1)

    asyncio.run(run())


def test_rekeys_have_the_marker_on_port_4500_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        memberships = Memberships()
        with opened(("127.0.0.1", 0)) as (udp, heard), client() as probe:
            port = probe.getsockname()[1]
            udp.start(asyncio.get_running_loop(), heard.receive, heard.drained)
            listening = memberships.join(GROUP, port, "lo")
            assert listening is not None
            try:
                udp.watch(listening, udp.drain_multicast, listening, str(GROUP), port)
                for floated, sent in ((False, b"\0\0\0\0spi"), (True, b"rekey"), (True, b"\0\0\0\0spi")):
                    monkeypatch.setattr("gkmd.daemon.udp.NAT_PORT", port if floated else 4500)
                    udp.send_multicast(sent, GROUP, port, None, "lo", 1)
                    await heard.wait(1)
                    path = Path(str(GROUP), port, *udp.local[0], floated)
                    assert heard.datagrams.pop() == (sent, path)
                udp.unwatch(listening)
                udp.send_multicast(b"rekey", GROUP, port, None, "lo", 1)
                listening.setblocking(True)
                assert listening.recv(100) == NON_ESP_MARKER + b"rekey"
            finally:
                memberships.close()

    asyncio.run(run())


def test_a_port_in_use_is_told_and_nothing_stays_bound() -> None:
    with client() as taken:
        spare = free_port()
        udp = Udp()
        with pytest.raises(LocalError, match="already in use; another key daemon runs here"):
            udp.open([("127.0.0.1", spare), taken.getsockname()])
        assert udp.local == []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", spare))


def test_a_wildcard_port_is_found_in_use_by_a_second_daemon() -> None:
    with opened(("0.0.0.0", 0)) as (udp, _), pytest.raises(LocalError, match="already in use"):
        Udp().open([("0.0.0.0", udp.local[0][1])])


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(LocalError, match="no interface has this address"):
        Udp().open([("192.0.2.77", 0)])
