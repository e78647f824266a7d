"""Registrations per second of a real key server process, and what one costs it in user+sys time.

The server runs pinned to the first core with its journal on disk and its log in a file, members load it over
loopback UDP from the second core: PSK, Curve25519, AES-GCM, each registration durably committed before it is
answered. Members' key pairs and first requests are made before the clock starts, and of the last replies only
every fiftieth is opened, so that one core can load another; the server's count of members must be complete.

Beside it: strongSwan's charon spends 0.355 ms user+sys per IKE SA of this kind on the machine of the design
notes, and the cryptography alone is 0.067 ms there, 0.0447 of it one X25519 key pair and agreement. What it
takes here and now, between the rounds, says how busy the machine is: ``server_ms_scaled`` is what the server
would take on a machine as quiet as that of the notes.
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path as FilePath

from gkmd.core.address import Path
from gkmd.core.algorithms import CURVE25519
from gkmd.core.effect import Send
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.exchange import generate
from gkmd.daemon.control_client import ControlClient
from gkmd.ike.credentials import Credentials
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.member_settings import Server
from gkmd.ike.proposal import IkePolicy
from wire.registry import ExchangeType

ROUNDS = 5
REGISTRATIONS = 2000  # in a round
WINDOW = 64  # registrations under way at once
SAMPLE = 50
CHARON_MS = 0.355
CRYPTO_FLOOR_MS = 0.067
X25519_MS = 0.0447
START_SECONDS = 60.0
STALL_SECONDS = 20.0

SERVER = Identity.parse("fqdn:gcks.example")
GROUP = Identity.parse("keyid:news")
SECRET = SecretBytes(b"a secret of the bench, 32 octets")

# All members are at one address here, which is what cookies and init_rate are there to hold back: off.
CONFIGURATION = """\
identity = "fqdn:gcks.example"
listen = ["127.0.0.1:0"]
[state]
path = "state/state.db"
[control]
socket = "server.sock"
[process]
log_format = "json"
[credentials]
psk_files = ["psk.toml"]
[ike]
cookie_threshold = 100000
init_rate = 0
[[group]]
name = "news"
address = "239.10.0.1"
port = 5004
receivers = ["any"]
"""


@dataclass(slots=True)
class Round:
    """One round: wall seconds, the server's processor seconds, and those of an X25519 key exchange then."""

    wall: float
    user_sys: float
    x25519: float


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


def names(number: int, count: int) -> list[Identity]:
    return [Identity.parse(f"fqdn:rx{number}-{one}.example") for one in range(count)]


class Load:
    """Members of one round over one socket, told apart by their SPI."""

    def __init__(self, identities: list[Identity], port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.connect(("127.0.0.1", port))
        local = self._socket.getsockname()
        self._path = Path(local[0], local[1], "127.0.0.1", port)
        self._waiting: list[tuple[MemberEndpoint, bytes]] = []
        for identity in identities:
            machine = MemberEndpoint(
                Credentials(identity, {SERVER: SECRET}),
                IkePolicy(),
                [Server(SERVER, self._path)],
                [GroupJoin("news", GROUP, receives=True, sends=False, interface="lo")],
                system_rng,
            )
            first = next(e.datagram for e in machine.start(time.time()) if isinstance(e, Send))
            self._waiting.append((machine, first))
        self._open: dict[bytes, tuple[MemberEndpoint, float]] = {}
        self._half: dict[bytes, bool] = {}
        self._done = 0
        self._all = len(identities)

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
                    if not machine.groups["news"].registered:
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


def start_server(folder: FilePath, rounds: int, registrations: int) -> subprocess.Popen[bytes]:
    """A real server process on the first core."""
    (folder / "server.toml").write_text(CONFIGURATION)
    secret = SECRET.reveal().decode()
    everybody = [str(one) for number in range(rounds) for one in names(number, registrations)]
    (folder / "psk.toml").write_text("".join(f'"{one}" = "{secret}"\n' for one in everybody))
    (folder / "psk.toml").chmod(0o600)
    (folder / "master.key").write_text(system_rng(32).hex())
    (folder / "master.key").chmod(0o400)
    folder.chmod(0o755)
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "gkmd.cli.main", "server", "-c", str(folder / "server.toml")],
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
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


def run(rounds: int = ROUNDS, registrations: int = REGISTRATIONS) -> dict[str, float]:
    """Medians over the rounds; a first round warms up. Milliseconds are user+sys of the whole server."""
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name:
        folder = FilePath(name)
        process = start_server(folder, rounds + 1, registrations)
        try:
            port = wait_ready(folder, process)
            os.sched_setaffinity(0, {max(before)})
            results = []
            for number in range(rounds + 1):
                load = Load(names(number, registrations), port)
                begin = cpu_seconds(process.pid)
                wall = load.run()
                results.append(Round(wall, cpu_seconds(process.pid) - begin, x25519_seconds()))
            with ControlClient(folder / "server.sock") as client:
                status = client.request("status")
        finally:
            os.sched_setaffinity(0, before)
            process.terminate()
            process.wait(20)
    if status["members"] != (rounds + 1) * registrations:
        raise RuntimeError(
            f"{status['members']} of {(rounds + 1) * registrations} members are in the journal"
        )
    measured = results[1:]
    per_registration = [one.user_sys / registrations * 1e3 for one in measured]
    x25519 = statistics.median(one.x25519 for one in measured) * 1e3
    return {
        "server_ms": round(statistics.median(per_registration), 4),
        "server_ms_best": round(min(per_registration), 4),
        "per_second": round(statistics.median(registrations / one.wall for one in measured)),
        "server_busy": round(statistics.median(one.user_sys / one.wall for one in measured), 2),
        "commits_per_registration": round(status["journal"]["commits"] / status["members"], 3),
        "charon_ms": CHARON_MS,
        "crypto_floor_ms": CRYPTO_FLOOR_MS,
        "x25519_ms": round(x25519, 4),
        "x25519_reference_ms": X25519_MS,
        "server_ms_scaled": round(statistics.median(per_registration) * X25519_MS / x25519, 4),
    }


if __name__ == "__main__":
    for key, value in run().items():
        print(f"{key:26} {value}")
