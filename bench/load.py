"""Many members that register with a real key server process over loopback, and what it costs the server."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path as FilePath

from gkmd.core.address import Path
from gkmd.core.algorithms import CURVE25519
from gkmd.core.effect import Send
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.crypto.exchange import generate
from gkmd.daemon.control_client import ControlClient
from gkmd.ike.credentials import Credentials
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.member_settings import Server
from gkmd.ike.proposal import IkePolicy
from wire.registry import ExchangeType

WINDOW = 64  # registrations under way at once
SAMPLE = 50
START_SECONDS = 60.0
STALL_SECONDS = 20.0


def cpu_seconds(process: int) -> float:
    """User and system time of all threads: from the scheduler in nanoseconds, else from the clock ticks."""
    try:
        tasks = list(FilePath(f"/proc/{process}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, ValueError, IndexError):
        fields = FilePath(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def x25519_seconds(times: int = 400) -> float:
    """What one key pair and one agreement take at the moment, in processor time."""
    peer = generate(CURVE25519, system_rng).public
    begin = time.process_time()
    for _ in range(times):
        generate(CURVE25519, system_rng).agree(peer)
    return (time.process_time() - begin) / times


class Load:
    """Members of one round over one socket, told apart by their SPI.

    Their key pairs and first requests are made here, before the clock starts; of the last replies only every
    fiftieth is opened, so that one core can load another.
    """

    def __init__(self, wanted: Iterable[tuple[Credentials, GroupJoin]], port: int, server: Identity) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.connect(("127.0.0.1", port))
        local = self._socket.getsockname()
        self._path = Path(local[0], local[1], "127.0.0.1", port)
        self._waiting: list[tuple[MemberEndpoint, bytes]] = []
        for credentials, join in wanted:
            machine = MemberEndpoint(
                credentials, IkePolicy(), [Server(server, self._path)], [join], system_rng
            )
            first = next(e.datagram for e in machine.start(time.time()) if isinstance(e, Send))
            self._waiting.append((machine, first))
        self._open: dict[bytes, tuple[MemberEndpoint, float]] = {}
        self._half: dict[bytes, bool] = {}
        self._done = 0
        self._all = len(self._waiting)

    def run(self) -> float:
        """Register everybody; wall seconds. RuntimeError when the server stops answering."""
        begin = heard = time.perf_counter()
        while self._done < self._all:
            while self._waiting and len(self._open) < WINDOW:
                machine, first = self._waiting.pop()
                self._open[first[:8]] = (machine, time.time())
                self._socket.send(first)
            readable, _, _ = select.select([self._socket], [], [], 0.5)
            if readable:
                heard = time.perf_counter()
                self._drain()
            elif time.perf_counter() - heard > STALL_SECONDS:
                raise RuntimeError(f"the server answers no more: {self._done} of {self._all} registered")
            else:
                self._retransmit()
        wall = time.perf_counter() - begin
        self._socket.close()
        return wall

    def _drain(self) -> None:
        for _ in range(WINDOW):
            try:
                data = self._socket.recv(16_384)
            except BlockingIOError:
                return
            spi = data[:8]
            found = self._open.get(spi)
            if found is None:
                continue
            machine, since = found
            if self._half.get(spi):
                if data[18] == ExchangeType.IKE_SA_INIT:
                    continue  # the answer to a copy of the first request
                del self._open[spi], self._half[spi]
                self._done += 1
                if self._done % SAMPLE == 0:
                    machine.receive(data, self._path, since)
                    if not all(group.registered for group in machine.groups.values()):
                        raise RuntimeError("a member was answered but is not registered")
            else:
                for effect in machine.receive(data, self._path, since):
                    if isinstance(effect, Send):
                        self._half[spi] = True
                        self._socket.send(effect.datagram)

    def _retransmit(self) -> None:
        now = time.time()
        for machine, _ in list(self._open.values()):
            for effect in machine.tick(now):
                if isinstance(effect, Send):
                    self._socket.send(effect.datagram)


def start_server(folder: FilePath, cores: set[int]) -> subprocess.Popen[bytes]:
    """A real server process on these cores, by the ``server.toml`` in ``folder``."""
    key = folder / "master.key"
    if not key.exists():
        key.write_text(system_rng(32).hex())
        key.chmod(0o400)
    folder.chmod(0o755)
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "gkmd.cli.main", "server", "-c", str(folder / "server.toml")],
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )


def wait_ready(folder: FilePath, process: subprocess.Popen[bytes]) -> int:
    """The port that the server serves."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if (folder / "server.sock").exists():
            try:
                with ControlClient(folder / "server.sock") as client:
                    return int(client.request("status")["listen"][0].rpartition(":")[2])
            except Exception:
                pass
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()[-2000:]}")
