"""The control socket: requests, refusals, streams, slow readers, stale files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gkmd.core.errors import ConfigError, LocalError
from gkmd.daemon import control_client, control_socket
from gkmd.daemon.control import CONNECTIONS, KEPT, LINE_OCTETS, Command, ControlServer
from gkmd.daemon.control_client import ControlClient
from gkmd.daemon.control_socket import bind_control
from gkmd.daemon.events import FOLLOWER_EVENTS, Events
from gkmd.daemon.logs import Log
from gkmd.daemon.process_config import ControlSettings


def settings(path: Path, group: str = "") -> ControlSettings:
    return ControlSettings(path, 0o660, group)


def quiet_events() -> Events:
    return Events(Log(lambda: 1.0, "error"), lambda: 1.0)


def refuse(group: str) -> object:
    raise LocalError(f"there is no group {group!r}")


@contextlib.asynccontextmanager
async def serving(path: Path, events: Events) -> AsyncIterator[ControlServer]:
    commands = {
        "status": Command(lambda: {"fine": True}),
        "refuse": Command(refuse, ("group",)),
        "change": Command(lambda group: group, ("group",), changes=True),
        "peer": Command(lambda: "secret"),
    }
    server = ControlServer(bind_control(settings(path), None), commands, events, os.getegid())
    await server.start()
    try:
        yield server
    finally:
        await server.close()
    assert not path.exists()


def on_socket(tmp_path: Path, work: Callable[[Path, Events], Any]) -> Any:
    """Run blocking ``work`` in a thread against a server."""
    events = quiet_events()

    async def run() -> Any:
        async with serving(tmp_path / "control.sock", events):
            return await asyncio.to_thread(work, tmp_path / "control.sock", events)

    return asyncio.run(run())


def test_requests_and_refusals(tmp_path: Path) -> None:
    def work(path: Path, events: Events) -> None:
        with ControlClient(path) as client:
            assert client.request("status") == {"fine": True}
            with pytest.raises(LocalError, match="there is no group 'x'"):
                client.request("refuse", group="x")
            with pytest.raises(LocalError, match="unknown command 'nix'; expected one of status, refuse"):
                client.request("nix")
            with pytest.raises(LocalError, match="refuse takes group"):
                client.request("refuse")
            with pytest.raises(LocalError, match="status takes no arguments"):
                client.request("status", group="x")
            assert client.request("change", group="news") == "news"
        assert events.counts["operator-command"] == 1

    on_socket(tmp_path, work)


def raw(path: Path, line: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(60)
        peer.connect(str(path))
        with contextlib.suppress(BrokenPipeError):
            peer.sendall(line)
        reply: dict[str, Any] = json.loads(peer.makefile().readline())
        return reply


def test_the_protocol_is_json_lines(tmp_path: Path) -> None:
    def work(path: Path, events: Events) -> None:
        assert raw(path, b'{"id": "x", "command": "status"}\n') == {
            "id": "x",
            "ok": True,
            "result": {"fine": True},
        }
        for line in (b"status\n", b"[1]\n", b'{"command"\n', b"\xff\n"):
            reply = raw(path, line)
            assert not reply["ok"]
            assert "not a JSON object in one line" in reply["error"]
        assert "unknown command 7" in raw(path, b'{"command": 7}\n')["error"]
        assert "strings" in raw(path, b'{"command": "refuse", "group": 7}\n')["error"]
        assert "at most" in raw(path, b" " * (LINE_OCTETS + 10) + b"\n")["error"]

    on_socket(tmp_path, work)


def test_events_are_streamed_from_their_level_up(tmp_path: Path) -> None:
    events = quiet_events()

    async def run() -> None:
        path = tmp_path / "control.sock"
        async with serving(path, events):
            got: list[dict[str, Any]] = []

            def follow() -> None:
                with ControlClient(path) as client:
                    for event in client.events("warning"):
                        got.append(event)
                        if event["event"] == "end":
                            return

            task = asyncio.create_task(asyncio.to_thread(follow))
            while not events._followers:
                await asyncio.sleep(0.01)
            events.tell("quiet", "info", {"a": 1})
            events.tell("loud", "warning", {"a": Path("/x"), "spi": b"\1\2"})
            events.tell("end", "error", {})
            await asyncio.wait_for(task, 60)
            assert [event["event"] for event in got] == ["loud", "end"]
            assert got[0] == {"time": 1.0, "level": "warning", "event": "loud", "a": "/x", "spi": "0102"}
            while events._followers:  # the client has gone
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_events_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    def work(path: Path, events: Events) -> None:
        assert "one of debug, info" in raw(path, b'{"command": "events", "level": "loud"}\n')["error"]

    on_socket(tmp_path, work)


def test_a_slow_reader_loses_the_oldest_and_is_told() -> None:
    async def run() -> None:
        events = quiet_events()
        follower = events.follow()
        for number in range(FOLLOWER_EVENTS + 7):
            events.tell("news", "info", {"number": number})
        taken = await follower.take()
        assert taken[0] == {"time": 1.0, "level": "warning", "event": "events-lost", "count": 7}
        assert len(taken) == FOLLOWER_EVENTS + 1
        assert taken[1]["number"] == 7
        assert events.counts["news"] == FOLLOWER_EVENTS + 7
        events.unfollow(follower)
        events.unfollow(follower)

    asyncio.run(run())


def test_what_a_reader_does_not_take_stays_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        events = quiet_events()
        path = tmp_path / "control.sock"
        async with serving(path, events):
            _, writer = await asyncio.open_unix_connection(str(path), limit=1024)
            writer.write(b'{"command": "events"}\n')
            while not events._followers:
                await asyncio.sleep(0.01)
            (follower,) = events._followers
            for number in range(30 * FOLLOWER_EVENTS):
                events.tell("news", "info", {"number": number, "padding": "x" * 200})
                if number % 100 == 0:
                    await asyncio.sleep(0)
            assert len(follower._waiting) <= FOLLOWER_EVENTS
            writer.close()

    asyncio.run(run())


def test_too_many_connections_are_refused(tmp_path: Path) -> None:
    def work(path: Path, events: Events) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(ControlClient(path)).request("status")
            with (
                ControlClient(path) as client,
                pytest.raises(LocalError, match="too many control connections"),
            ):
                client.request("status")

    on_socket(tmp_path, work)


def test_the_group_cannot_lock_the_administrator_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = False
    monkeypatch.setattr("gkmd.daemon.control.is_ours", lambda connection: ours)

    def status(path: Path, stack: contextlib.ExitStack) -> object:
        return stack.enter_context(ControlClient(path)).request("status")

    def work(path: Path, events: Events) -> None:
        nonlocal ours
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS - KEPT):
                status(path, stack)
            for _ in range(3):  # nor are the kept places used up by those who are refused
                with pytest.raises(LocalError, match="too many control connections"):
                    status(path, stack)
            ours = True
            for _ in range(KEPT):
                assert status(path, stack) == {"fine": True}
            with pytest.raises(LocalError, match="too many control connections"):
                status(path, stack)

    on_socket(tmp_path, work)


def test_strangers_are_not_welcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gkmd.daemon.control.is_welcome", lambda connection, gid: False)

    def work(path: Path, events: Events) -> None:
        with ControlClient(path) as client, pytest.raises(LocalError, match="permission denied"):
            client.request("status")

    on_socket(tmp_path, work)


def test_who_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert control_socket.peer_of(ours) == (os.getpid(), os.getuid())
        assert control_socket.is_welcome(ours, 12345)  # our own user
        assert control_socket.is_ours(ours)
        monkeypatch.setattr(control_socket.os, "geteuid", lambda: 4242)
        if os.getuid() != 0:
            assert not control_socket.is_welcome(ours, 12345)
            assert not control_socket.is_ours(ours)
        assert control_socket.is_welcome(ours, os.getgid())


def test_the_file_is_for_owner_and_group(tmp_path: Path) -> None:
    listening = bind_control(settings(tmp_path / "run" / "control.sock"), None)
    with listening:
        mode = (tmp_path / "run" / "control.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o755


def test_a_link_in_the_place_of_the_new_socket_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder belongs to the user that a root process becomes next: it may play tricks."""
    victim, path = tmp_path / "shadow", tmp_path / "control.sock"
    victim.touch(0o600)

    class Tricked(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind(address)
            path.unlink()
            path.symlink_to(victim)

    monkeypatch.setattr(socket, "socket", Tricked)
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    bind_control(settings(path), owner).close()
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert victim.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_is_made_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "control.sock"
    bind_control(ControlSettings(path, mode, ""), None).close()
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_live_socket_is_left_and_a_stale_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with bind_control(settings(path), None), pytest.raises(LocalError, match="another gkmd is running"):
        bind_control(settings(path), None)
    assert path.exists()  # as a crash leaves it
    bind_control(settings(path), None).close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(LocalError, match="exists and is no socket"):
        bind_control(settings(path), None)
    assert path.read_text() == "precious"


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="cannot make the folder"):
        bind_control(settings(tmp_path / "file" / "below" / "x.sock"), None)
    with pytest.raises(LocalError, match="configure a shorter path"):
        bind_control(settings(tmp_path / ("x" * 120)), None)
    with pytest.raises(ConfigError, match="there is no group 'nobody-here'"):
        bind_control(settings(tmp_path / "x.sock", "nobody-here"), None)


def test_the_client_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalError, match="is gkmd running, and is this its socket"):
        ControlClient(tmp_path / "none.sock")
    listening = bind_control(settings(tmp_path / "silent.sock"), None)
    with listening:
        monkeypatch.setattr(control_client, "REPLY_SECONDS", 0.05)
        with (
            ControlClient(tmp_path / "silent.sock") as client,
            pytest.raises(LocalError, match="does not answer"),
        ):
            client.request("status")

        def hang_up() -> None:
            listening.setblocking(True)
            for _ in range(2):
                listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        monkeypatch.setattr(control_client, "REPLY_SECONDS", 5.0)
        with ControlClient(tmp_path / "silent.sock") as client, pytest.raises(LocalError, match="gkmd"):
            client.request("status")
        thread.join(60)
    with pytest.raises(LocalError, match="was killed or crashed"):
        ControlClient(tmp_path / "silent.sock")
    with pytest.raises(LocalError, match="cannot use the control socket"):
        ControlClient(tmp_path / ("x" * 120))
