"""Ten thousand receivers admitted by ticket against a list of 100,000 names, each charged once; and a ticket
registration beside a storm of password logins.

The platform's facts are put into the journal before the server starts: accounts with money on their balances,
the list, the tickets. What is measured is the real server process with its journal on disk: IKE, admission by
the rule ``names and 2.50 EUR``, ledger entry, audit line and member in one transaction, then the answer.
Afterwards the ledger must balance and every charge be there once. ``server_ms_scaled`` is what it comes to
on the machine of ``bench.registrations.X25519_MS``, by what an X25519 exchange takes here between the rounds.

The storm: many EAP logins at once, all with wrong passwords for names of the list, while one receiver after
the other registers by ticket; the median of what these take is what counts.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from bench.load import Load, cpu_seconds, start_server, wait_ready, x25519_seconds
from bench.registrations import X25519_MS
from gkmd.core.address import Path
from gkmd.core.change import Change
from gkmd.core.effect import Send
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import hash_password
from gkmd.crypto.seal_at_rest import MasterKey
from gkmd.daemon.control_client import ControlClient
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ledger import CASH, Ledger, balance_of
from gkmd.group.platform.records import ARCHIVED, Account, ListedName, Posting, Reservation, Ticket
from gkmd.ike.credentials import Credentials
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.member_settings import Server
from gkmd.ike.proposal import IkePolicy
from gkmd.store.journal import Journal

RECEIVERS = 10_000
LISTED = 100_000
PRICE = 250
ROUNDS = 5
STORM_SECONDS = 12.0
STORM_LOGINS = 48  # under way at once
SERVER = Identity.parse("fqdn:gcks.example")
TRANSMISSION = "concert-bench0"
GROUP = Identity.parse(f"keyid:{TRANSMISSION}")

CONFIGURATION = """\
[platform]
socket = "platform.sock"
server_addresses = ["127.0.0.1"]
fee = "5"
"""
# All members are at one address here, which is what cookies and init_rate are there to hold back: off.
IKE = """\
[ike]
cookie_threshold = 100000
init_rate = 0
"""


def account(number: int, login: str, roles: tuple[str, ...], now: float, password: bytes = b"") -> Account:
    return Account(
        id=f"a-{number:06d}",
        login=login,
        name="",
        roles=roles,
        classes=(),
        confirmed=True,
        disabled=False,
        password=SecretBytes(password),
        totp=None,
        totp_step=0,
        passkeys=(),
        credit_limit=0,
        credit_currency="EUR",
        created=now,
    )


def ticket_id(number: int) -> str:
    return f"t-{number:020d}"


def ticket_secret(number: int) -> SecretBytes:
    return SecretBytes(number.to_bytes(32, "big"))


def facts(now: float, receivers: int, listed: int) -> tuple[Change, ...]:
    """Everything that the server finds in its journal."""
    found = Facts((), ARCHIVED)
    ledger = Ledger(found, None)
    owner = account(0, "sender", ("sender",), now)
    found.put(owner)
    found.put(
        Reservation(
            id=TRANSMISSION,
            owner=owner.id,
            title="Concert",
            description="",
            starts=now - 60,
            ends=now + 7200,
            time_zone="UTC",
            lead=60.0,
            address=ipaddress.ip_address("239.192.0.1"),
            from_pool=True,
            protocol=17,
            port=5004,
            sources=(),
            senders=(),
            security={},
            supplied_spi=0,
            supplied_key=None,
            supplied_lifetime=0.0,
            capacity=0,
            visibility="public",
            admission={"all": [{"names": True}, {"price": {"amount": PRICE, "currency": "EUR"}}]},
            fee_points=500,
            fee_fixed=0,
            created=now,
            cancelled=None,
            version=1,
        )
    )
    verifier = hash_password(SecretBytes(b"the password of the storm"), system_rng)
    for number in range(listed):
        found.put(ListedName(TRANSMISSION, f"rx{number:06d}", ""))
    for number in range(64):
        found.put(ListedName(TRANSMISSION, f"storm{number:03d}", verifier))
    for number in range(1, receivers + 1):
        one = account(number, f"rx{number - 1:06d}", ("receiver",), now)
        found.put(one)
        ledger.post(
            "deposit",
            f"bench:{number}",
            "EUR",
            (Posting(CASH, PRICE), Posting(balance_of(one.id), -PRICE)),
            now,
        )
        found.put(
            Ticket(
                id=ticket_id(number),
                secret=ticket_secret(number),
                reservation=TRANSMISSION,
                party=one.id,
                label="",
                sends=False,
                listed="",
                voucher="",
                most=PRICE,
                currency="EUR",
                created=now,
                revoked=None,
            )
        )
    return found.commit()


def prepare(folder: FilePath, receivers: int, listed: int) -> None:
    """A server's folder with a journal that holds the platform's facts."""
    words = [sys.executable, "-m", "gkmd.cli.main", "init", "server", str(folder / "server")]
    words += ["--identity", str(SERVER), "--listen", "127.0.0.1:0", "--self-contained"]
    subprocess.run(words, check=True, capture_output=True)
    file = folder / "server" / "server.toml"
    text = file.read_text().replace("[ike]\n", IKE)
    file.write_text(text[: text.index("[[group]]")] + CONFIGURATION)
    state = folder / "server" / "state"
    state.mkdir(mode=0o700)
    key = bytes.fromhex((folder / "server" / "master.key").read_text().strip())
    journal = Journal.open(state / "state.db", MasterKey(SecretBytes(key), system_rng), system_rng)
    try:
        changes = facts(time.time(), receivers, listed)
        failed: list[StoreError | None] = []
        for start in range(0, len(changes), 10_000):
            journal.submit(changes[start : start + 10_000], failed.append)
    finally:
        journal.close()
    if any(failed):
        raise RuntimeError(f"the journal cannot be filled: {failed}")


def members(numbers: range) -> Iterator[tuple[Credentials, GroupJoin]]:
    """Receivers with their tickets."""
    for number in numbers:
        yield (
            Credentials(Identity.parse(f"keyid:{ticket_id(number)}"), {SERVER: ticket_secret(number)}),
            GroupJoin(TRANSMISSION, GROUP, receives=True, sends=False, interface="lo"),
        )


def one_by_one(numbers: range, port: int) -> list[float]:
    """Seconds from the first request of a receiver to its keys, one receiver after the other."""
    found = []
    for wanted in members(numbers):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.connect(("127.0.0.1", port))
            link.settimeout(0.25)
            local = link.getsockname()
            path = Path(local[0], local[1], "127.0.0.1", port)
            machine = MemberEndpoint(wanted[0], IkePolicy(), [Server(SERVER, path)], [wanted[1]], system_rng)
            effects = machine.start(time.time())
            begin = time.perf_counter()
            while not machine.groups[TRANSMISSION].registered:
                for effect in effects:
                    if isinstance(effect, Send):
                        link.send(effect.datagram)
                try:
                    effects = machine.receive(link.recv(65_535), path, time.time())
                except TimeoutError:
                    effects = machine.tick(time.time())
                if time.perf_counter() - begin > 20:
                    raise RuntimeError("a receiver does not get its keys beside the storm")
            found.append(time.perf_counter() - begin)
    return found


class Storm(threading.Thread):
    """Wrong passwords, as many at once as ``STORM_LOGINS``, by a process of its own."""

    def __init__(self, port: int, ca: FilePath) -> None:
        super().__init__()
        self._port = port
        self._ca = ca
        self._ended = threading.Event()
        self.tried = 0

    def run(self) -> None:
        words = [sys.executable, "-m", "bench.storm", str(self._port), str(STORM_LOGINS), str(self._ca)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as child:
            self._ended.wait()
            told, _ = child.communicate("end\n")
        self.tried = int(told)

    def end(self) -> int:
        """How many logins were answered."""
        self._ended.set()
        self.join()
        return self.tried


def call(folder: FilePath, operation: str, **request: Any) -> Any:
    with ControlClient(folder / "server" / "server.sock") as client:
        return client.call(operation, request)


def run(receivers: int = RECEIVERS, listed: int = LISTED, rounds: int = ROUNDS) -> dict[str, float]:
    """Medians over the rounds of the tickets, then the storm. ``server_ms`` is user+sys of the server."""
    before = os.sched_getaffinity(0)
    per_round = receivers // (rounds + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = FilePath(name)
        prepare(folder, receivers + 400, listed)
        begin = time.perf_counter()
        process = start_server(folder / "server", {min(before)})
        try:
            port = wait_ready(folder / "server", process)
            started = time.perf_counter() - begin
            os.sched_setaffinity(0, {max(before)})
            costs, walls, exchanges = [], [], []
            for number in range(rounds + 1):
                first = 1 + number * per_round
                load = Load(members(range(first, first + per_round)), port, SERVER)
                cpu = cpu_seconds(process.pid)
                wall = load.run()
                costs.append((cpu_seconds(process.pid) - cpu) / per_round)
                walls.append(wall / per_round)
                exchanges.append(x25519_seconds())
            admitted = per_round * (rounds + 1)
            statement = call(folder, "statement", id=TRANSMISSION)
            ledger = call(folder, "ledger")
            audited = call(folder, "audit-verify")
            os.sched_setaffinity(0, before)
            os.sched_setaffinity(process.pid, before)
            calm = one_by_one(range(receivers + 1, receivers + 101), port)
            storm = Storm(port, folder / "server" / "ca.crt")
            storm.start()
            time.sleep(2.0)
            begin = time.perf_counter()
            beside: list[float] = []
            while time.perf_counter() - begin < STORM_SECONDS and len(beside) < 300:
                at = receivers + 101 + len(beside)
                beside += one_by_one(range(at, at + 1), port)
            logins = storm.end()
        finally:
            os.sched_setaffinity(0, before)
            process.terminate()
            process.wait(30)
    (total,) = statement["totals"]
    if (statement["receivers"], total["gross"]) != (admitted, admitted * PRICE):
        raise RuntimeError(f"{admitted} receivers were admitted, the statement has {total}")
    if not ledger["balanced"] or audited["broken"] is not None:
        raise RuntimeError("the books are not in order")
    cost, x25519 = statistics.median(costs[1:]) * 1e3, statistics.median(exchanges[1:]) * 1e3
    return {
        "receivers": admitted,
        "names_listed": listed,
        "server_start_s": round(started, 2),
        "server_ms": round(cost, 4),
        "server_ms_best": round(min(costs[1:]) * 1e3, 4),
        "per_second_and_core": round(1e3 / cost),
        "x25519_ms": round(x25519, 4),
        "server_ms_scaled": round(cost * X25519_MS / x25519, 4),
        "per_second": round(1 / statistics.median(walls[1:])),
        "audit_lines": audited["lines"],
        "ticket_calm_ms": round(statistics.median(calm) * 1e3, 2),
        "ticket_in_storm_ms": round(statistics.median(beside) * 1e3, 2),
        "ticket_in_storm_p95_ms": round(statistics.quantiles(beside, n=20)[-1] * 1e3, 2),
        "tickets_in_storm": len(beside),
        "storm_logins_answered": logins,
    }


if __name__ == "__main__":
    for key, value in run().items():
        print(f"{key:26} {value}")
