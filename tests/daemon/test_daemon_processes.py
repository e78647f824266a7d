"""Real processes over loopback UDP: registration, rekeys, a crash, reload, and trouble at the start."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from daemon_config import write
from daemon_processes import PATIENCE_SECONDS, Daemon, World, wait_for, world


def test_a_life(tmp_path: Path) -> None:
    """Two members register, keys are replaced by themselves and by hand, the server is killed with -9 and
    comes back, and nobody registers a second time; then everybody ends."""
    with world(tmp_path) as made:
        server, tx, rx = made.server, made.member("tx", "both"), made.member("rx1")
        server.start("--keylog", "keys")
        for member in (tx, rx):
            member.start("--keylog", "keys")
        made.wait_registered(tx, rx)
        assert {row["identity"] for row in server.ask("members", group="news")} == {
            "fqdn:tx.example",
            "fqdn:rx1.example",
        }
        first = server.spis("esp")
        assert len(first) == 1
        # The receiver may have come first: then the sender's SA reaches it by a rekey.
        wait_for("the sender's SA at both", lambda: tx.spis("esp") == rx.spis("esp") == first)
        assert tx.spis("rekey") == rx.spis("rekey") == server.spis("rekey")

        server.ask("rekey", group="news")
        wait_for("the rekey at both", lambda: all(len(d.spis("esp") - first) >= 1 for d in (tx, rx)))

        # A crash; everything that members hold is still what the server works with.
        server.kill()
        server.start()
        server.ready()
        before = server.spis("rekey")
        assert before & rx.spis("rekey")
        # By the lifetimes of another configuration: the rekeys come from the server's own timeline then.
        config = (server.folder / "server.toml").read_text()
        write(server.folder, "server.toml", config.replace("lifetime = 600", "lifetime = 10"))
        server.tell(signal.SIGHUP)
        wait_for("two rollovers after the crash", lambda: len(rx.events("rekey-sa-installed")) >= 3)
        assert wait_for("a new rekey SA at both", lambda: tx.spis("rekey") & rx.spis("rekey") - before)
        for member in (tx, rx):
            assert len(member.events("registered")) == 1
            status = member.ask("status")
            assert status["registered"] == 1
            assert status["kernel"]["dataplane"] == "recording"
        assert server.ask("status")["members"] == 2

        assert rx.end() == 0
        wait_for(
            "rx gone", lambda: [m["identity"] for m in server.ask("members", group="")] == ["fqdn:tx.example"]
        )
        assert tx.end() == 0
        assert server.end() == 0
        for daemon in (server, tx, rx):
            assert not (daemon.folder / f"{daemon.kind}.sock").exists()
            assert daemon.events("stopped")
            assert not daemon.events("internal-fault")
            assert "Traceback" not in daemon.log.read_text()
        check_key_logs(server, rx)
        check_no_secrets(made)


def check_key_logs(server: Daemon, member: Daemon) -> None:
    """The member's keys are those that the server knows, by the same names."""
    keys = {
        daemon.kind: set((daemon.folder / "keys").read_text().splitlines()) for daemon in (server, member)
    }
    esp = {line for line in keys["member"] if line.startswith("esp ")}
    assert len(esp) >= 2
    # The server wrote its log only until it was killed.
    assert len(esp & keys["server"]) >= 2
    assert len({line for line in keys["member"] if line.startswith("ike ")} & keys["server"]) == 1
    assert server.events("key-log")[0]["level"] == "warning"


def check_no_secrets(made: World) -> None:
    """No log line holds eight octets in a row of any key."""
    secrets = {
        word
        for daemon in (made.server, *made.members.values())
        for line in (daemon.folder / "keys").read_text().splitlines()
        for word in line.split()[-1:]
    }
    logs = "".join(d.log.read_text() for d in (made.server, *made.members.values()))
    for secret in (*secrets, *made.secrets.values()):
        for place in range(0, len(secret) - 15, 2):
            assert secret[place : place + 16] not in logs


def test_reload_and_refusals(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        server = made.server
        made.know("tx")
        stranger = made.member("late", secret="not yet known to the server")
        server.start()
        stranger.start()
        wait_for("the refusal", lambda: server.events("authentication-failed"))
        assert server.ask("status")["members"] == 0

        write(server.folder, "psk.toml", 'this is "no" TOML')
        server.tell(signal.SIGHUP)
        (failed,) = wait_for("the failed reload", lambda: server.events("reload-failed"))
        assert "psk.toml:1: not TOML" in failed["error"]

        write(server.folder, "psk.toml", '"fqdn:late.example" = "not yet known to the server"\n')
        with (server.folder / "server.toml").open("a") as file:
            file.write('[[group]]\nname = "more"\naddress = "239.10.0.9"\nreceivers = ["any"]\n')
        text = (server.folder / "server.toml").read_text()
        write(server.folder, "server.toml", text.replace('"server.sock"', '"other.sock"'))
        server.tell(signal.SIGHUP)
        wait_for("the reload", lambda: server.events("reloaded"))
        made.wait_registered(stranger)
        assert [group["name"] for group in server.ask("groups")] == ["news", "more"]
        assert server.events("restart-needed")[0]["changed"] == ["control"]

        server.ask("remove", group="news", identity="fqdn:late.example")
        assert server.ask("members", group="news") == [] or server.events("member-removed")
        (asked,) = wait_for("the operator's line", lambda: server.events("operator-command"))
        assert asked["uid"] == os.getuid()

        # Its secret is taken out again, and its IKE SA goes with it.
        write(server.folder, "psk.toml", '"fqdn:other.example" = "the secret of somebody else"\n')
        server.tell(signal.SIGHUP)
        (told,) = wait_for("the withdrawal", lambda: server.events("credential-withdrawn"))
        assert (told["peer"], "pre-shared key" in told["reason"]) == ("fqdn:late.example", True)
        wait_for("the end of its IKE SA", lambda: server.ask("status")["ike_sas"] == 0)

        for daemon in (stranger, server):
            assert daemon.end() == 0


def test_a_full_disk(tmp_path: Path) -> None:
    """What cannot be written is not said: the member is not admitted, the server lives and tells why."""
    with world(tmp_path) as made:
        server, rx = made.server, made.member("rx1")
        made.know("tx")
        server.start()
        server.ready()
        assert server.end() == 0
        used = max(path.stat().st_size for path in (server.folder / "state").iterdir())

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (used, used))

        # The log file is under the limit, too, so this server's log goes nowhere.
        server.log = Path("/dev/null")
        server.start(before=limit)
        server.ready()

        def told() -> str:
            server.ask("rekey", group="news")
            return str(server.ask("status")["journal"]["error"])

        error = wait_for("a full disk", told)
        assert "journal" in error
        assert "state.db" in error
        rx.start()
        wait_for("an attempt", lambda: server.ask("status")["received"] >= 2)
        time.sleep(0.5)
        assert rx.ask("status")["registered"] == 0
        status = server.ask("status")
        # Told once for each time that it began; a write that is small enough may have got through.
        assert status["events"]["journal-failed"] == 1 + status["events"].get("journal-recovered", 0)
        assert status["events"].get("internal-fault", 0) == 0
        assert server.end() == 0


HEADER = struct.Struct(">8s8sBBBBII")


def ike(
    version: int = 0x20, exchange: int = 34, flags: int = 8, length: int = 28, body: bytes = b""
) -> bytes:
    """An IKE header without much behind it."""
    return HEADER.pack(b"initiato", bytes(8), 0, version, exchange, flags, 0, length) + body


JUNK = {
    b"": "truncated",
    b"x" * 27: "truncated",
    ike(length=29): "truncated",
    ike(length=20): "length",
    ike(body=b"trailing"): "trailing",
    ike(version=0x10): "isakmp-1",
    ike(version=0x30): "version",
    ike(exchange=39): "unknown-spi",
    ike(exchange=39, flags=0): "flags",
    ike(length=16_385, body=bytes(16_357)): "too-long",
    bytes(4) + ike(version=0x10): "isakmp-1",
    b"\xff": "nat-keepalive",
}


def test_junk_is_dropped_counted_and_never_answered(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        server, rx = made.server, made.member("rx1")
        made.know("tx")
        server.start()
        server.ready()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            for junk in JUNK:
                stranger.sendto(junk, ("127.0.0.1", made.port))
            wanted = dict(Counter(JUNK.values()))
            wait_for("all of it", lambda: sum(server.ask("status")["dropped"].values()) == len(JUNK))
            assert server.ask("status")["dropped"] == wanted
            stranger.setblocking(False)
            with pytest.raises(BlockingIOError):
                stranger.recv(1)
        rx.start()
        made.wait_registered(rx)
        assert not server.events("internal-fault")
        assert "Traceback" not in server.log.read_text()


def failed_start(daemon: Daemon, status: int, *words: str, before: Any = None) -> str:
    """The daemon ends with this status and one line that holds the words."""
    daemon.start(before=before)
    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE_SECONDS) == status, daemon.log.read_text()
    lines = [line for line in daemon.log.read_text().splitlines() if line.startswith("gkmd: ")]
    assert len(lines) == 1, daemon.log.read_text()
    assert "Traceback" not in daemon.log.read_text()
    for word in words:
        assert word in lines[0]
    daemon.log.unlink()
    return lines[0]


def test_trouble_at_the_start(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        server, member = made.server, made.member("rx1")
        config = server.folder / "server.toml"
        good = config.read_text()

        write(server.folder, "server.toml", good.replace("tek_lifetime", "tek_livetime"))
        failed_start(
            server, 2, "server.toml:20: group.tek_livetime: unknown key; did you mean 'tek_lifetime'?"
        )

        write(server.folder, "server.toml", good)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", made.port))
            failed_start(server, 1, f"port {made.port}: already in use")
        # Nothing is half-made: no socket, no state.
        assert {path.name for path in server.folder.iterdir()} == {"server.toml", "master.key", "psk.toml"}

        server.start()
        server.ready()
        twin = Daemon("server", tmp_path / "twin")
        twin.folder.mkdir()
        for name in ("server.toml", "master.key", "psk.toml"):
            text = (server.folder / name).read_text()
            write(twin.folder, name, text.replace(f":{made.port}", ":0"))
        # The same control socket,
        text = (twin.folder / "server.toml").read_text()
        write(twin.folder, "server.toml", text.replace('"server.sock"', f'"{server.folder}/server.sock"'))
        failed_start(twin, 1, "another gkmd is running")
        # the same state,
        write(
            twin.folder, "server.toml", text.replace('"state/state.db"', f'"{server.folder}/state/state.db"')
        )
        assert server.process is not None
        failed_start(twin, 1, "state.db is in use by process", str(server.process.pid))
        server.end()
        # and the same state with another master key.
        write(twin.folder, "master.key", "00" * 32, 0o400)
        failed_start(twin, 1, "sealed with another master key")

        text = (member.folder / "member.toml").read_text()
        write(member.folder, "member.toml", text.replace('"news"', '"news"\nreplay = 1'))
        failed_start(member, 2, "member.toml:19: group.replay: unknown key")


def test_a_member_waits_for_its_server(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        rx = made.member("rx1")
        rx.start()
        wait_for("the first attempts", lambda: rx.ask("status")["sent"] >= 2)
        assert rx.ask("groups")[0]["state"] != "member"
        made.server.start()
        made.wait_registered(rx)
        rx.ask("leave", group="news")
        wait_for("the member gone", lambda: made.server.ask("members", group="") == [])
        rx.ask("register", group="news")
        wait_for("the member back", lambda: made.server.ask("members", group=""))


@pytest.mark.parametrize("kind", ["server", "member"])
def test_sd_notify(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path) as made, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        member = made.member("rx1")
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(PATIENCE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        daemon = made.server if kind == "server" else member
        daemon.start()
        assert supervisor.recv(100) == b"READY=1"
        daemon.tell(signal.SIGTERM)
        assert supervisor.recv(100) == b"STOPPING=1"
        assert daemon.process is not None
        assert daemon.process.wait(PATIENCE_SECONDS) == 0
