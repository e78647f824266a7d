"""Real processes: a member with tickets that registers when a program wants to hear, and leaves after it."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_config import write
from daemon_processes import PATIENCE_SECONDS, SERVER, Daemon, World, wait_for
from free_ports import free_port
from ticket_texts import SECRET, ticket_id, ticket_text

NEVER = 4_000_000_000
MEMBER = """\
local = ["127.0.0.1:0"]
dataplane = "recording"
linger = {linger}
[process]
log_format = "json"
[control]
socket = "member.sock"
[tickets]
folder = "tickets"
interface = "lo"
"""
GROUP = """\
[[group]]
name = "concert-{number}"
address = "239.192.0.{number}"
port = 5004
receivers = ["any"]
senders = ["any"]
rekey_address = "239.193.0.{number}"
rekey_port = {rekey_port}
rekey_interface = "lo"
"""


class Hall(World):
    """A key server with three concerts, and a member that has a folder for tickets."""

    def __init__(self, folder: Path, linger: float) -> None:
        super().__init__(folder)
        groups = "".join(GROUP.format(number=n, rekey_port=free_port()) for n in (1, 2, 3))
        write(self.server.folder, "server.toml", SERVER.format(port=self.port) + groups)
        lines = [f'"keyid:{ticket_id(n)}" = "0x{SECRET}"\n' for n in (1, 2, 3)]
        write(self.server.folder, "psk.toml", "".join(lines))
        self.one = self.members["m"] = Daemon("member", folder / "m")
        (self.one.folder / "tickets").mkdir(parents=True)
        write(self.one.folder, "member.toml", MEMBER.format(linger=linger))

    def ticket(self, number: int, folder: str = "tickets", **how: str) -> Path:
        text = ticket_text(number, ends=NEVER, server_port=self.port, **how)  # type: ignore[arg-type]
        return write(self.one.folder / folder, f"{number}.toml", text)

    def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in self.one.ask("groups")}

    def wait_for_states(self, **wanted: str) -> None:
        expected = {name.replace("_", "-"): state for name, state in wanted.items()}
        wait_for(f"the states {expected}", lambda: self.states() == expected)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path, linger=0.5)
    try:
        yield made
    finally:
        for daemon in (made.one, made.server):
            daemon.kill()


def members(hall: Hall) -> set[str]:
    """The groups that have members."""
    return {row["group"] for row in hall.server.ask("members", group="")}


@contextlib.contextmanager
def program(group: str) -> Iterator[None]:
    """Some program of this host that is in the group."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        request = struct.pack("4s4sI", socket.inet_aton(group), bytes(4), socket.if_nametoindex("lo"))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        yield


def test_a_ticket_is_used_when_a_program_joins(hall: Hall) -> None:
    hall.server.start()
    hall.server.ready()
    hall.ticket(1)
    hall.one.start()
    hall.one.ready()
    hall.wait_for_states(concert_1="waiting")
    late = hall.ticket(2)
    hall.wait_for_states(concert_1="waiting", concert_2="waiting")
    assert hall.server.ask("status")["members"] == 0

    with program("239.192.0.1"):
        hall.wait_for_states(concert_1="member", concert_2="waiting")
        (row,) = [row for row in hall.one.ask("groups") if row["name"] == "concert-1"]
        assert (row["ticket"], row["wanted"], row["programs"]) == (ticket_id(1), "programs", 1)
        with program("239.192.0.2"), program("239.192.0.2"):
            hall.wait_for_states(concert_1="member", concert_2="member")
            identities = {row["identity"] for row in hall.server.ask("members", group="")}
            assert identities == {f"keyid:{ticket_id(n)}" for n in (1, 2)}
        hall.wait_for_states(concert_1="member", concert_2="waiting")
        wait_for("one member", lambda: members(hall) == {"concert-1"})
        status = hall.one.ask("status")
        assert (status["tickets"], status["registered"], status["groups"]) == (2, 1, 2)
    hall.wait_for_states(concert_1="waiting", concert_2="waiting")
    wait_for("nobody there", lambda: hall.server.ask("status")["members"] == 0)

    # The operator's word, and a file that goes.
    hall.one.tell(signal.SIGHUP)
    wait_for("a reload", lambda: hall.one.events("reloaded"))
    assert not hall.one.events("restart-needed")
    hall.one.ask("register", group="concert-2")
    hall.wait_for_states(concert_1="waiting", concert_2="member")
    late.unlink()
    hall.wait_for_states(concert_1="waiting")
    wait_for("nobody there", lambda: hall.server.ask("status")["members"] == 0)
    assert hall.one.end(signal.SIGTERM) == 0
    assert not hall.one.events("internal-fault")
    assert SECRET not in hall.one.log.read_text()


def test_tickets_of_the_command_line(hall: Hall) -> None:
    hall.server.start()
    hall.server.ready()
    (hall.one.folder / "here").mkdir()
    first, second = hall.ticket(1, "here"), hall.ticket(2, "here", role="sender")
    hall.one.start("--ticket", str(first), "--ticket", str(second), "--now")
    hall.one.ready()
    hall.wait_for_states(concert_1="member", concert_2="member")
    assert {row["direction"] for row in hall.one.ask("sas", group="concert-2") if row["kind"] == "esp"} == {
        "out"
    }
    assert hall.one.end(signal.SIGTERM) == 0
    # Without a configuration, and with a file that is no ticket.
    hall.one.start("--ticket", "member.toml")
    assert hall.one.process is not None
    assert hall.one.process.wait(PATIENCE_SECONDS) == 2
    assert "member.toml:1: ticket: missing; this key is required" in hall.one.log.read_text()


def test_a_refusal_is_shown(hall: Hall) -> None:
    hall.server.start()
    hall.server.ready()
    hall.ticket(1, transmission="concert-9")
    hall.one.start()
    hall.one.ready()
    hall.wait_for_states(concert_9="waiting")
    hall.one.ask("register", group="concert-9")
    row = wait_for("a refusal", lambda: [r for r in hall.one.ask("groups") if r["refused"]])[0]
    assert row["come_back"] is None
    assert row["registration_due"] > 0
    assert hall.one.end(signal.SIGTERM) == 0
