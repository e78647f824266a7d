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
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath

from bench.load import Load, cpu_seconds, start_server, wait_ready, x25519_seconds
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.daemon.control_client import ControlClient
from gkmd.ike.credentials import Credentials
from gkmd.ike.group_join import GroupJoin

ROUNDS = 5
REGISTRATIONS = 2000  # in a round
CHARON_MS = 0.355
CRYPTO_FLOOR_MS = 0.067
X25519_MS = 0.0447

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


def names(number: int, count: int) -> list[Identity]:
    return [Identity.parse(f"fqdn:rx{number}-{one}.example") for one in range(count)]


def configure(folder: FilePath, rounds: int, registrations: int) -> None:
    """The server's configuration, with a secret for everybody of every round."""
    (folder / "server.toml").write_text(CONFIGURATION)
    secret = SECRET.reveal().decode()
    everybody = [str(one) for number in range(rounds) for one in names(number, registrations)]
    (folder / "psk.toml").write_text("".join(f'"{one}" = "{secret}"\n' for one in everybody))
    (folder / "psk.toml").chmod(0o600)


def members(identities: list[Identity]) -> Iterator[tuple[Credentials, GroupJoin]]:
    for identity in identities:
        yield (
            Credentials(identity, {SERVER: SECRET}),
            GroupJoin("news", GROUP, receives=True, sends=False, interface="lo"),
        )


def run(rounds: int = ROUNDS, registrations: int = REGISTRATIONS) -> dict[str, float]:
    """Medians over the rounds; a first round warms up. Milliseconds are user+sys of the whole server."""
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name:
        folder = FilePath(name)
        configure(folder, rounds + 1, registrations)
        process = start_server(folder, {min(before)})
        try:
            port = wait_ready(folder, process)
            os.sched_setaffinity(0, {max(before)})
            results = []
            for number in range(rounds + 1):
                load = Load(members(names(number, registrations)), port, SERVER)
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
