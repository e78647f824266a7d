"""``gkmd ctl`` against a control socket: tables for people, JSON for programs, clear failures."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gkmd.cli import ctl
from gkmd.cli.main import main
from gkmd.cli.tables import cell, span, table, until
from gkmd.core.errors import LocalError
from gkmd.daemon.control import Command, ControlServer
from gkmd.daemon.control_socket import bind_control
from gkmd.daemon.events import Events
from gkmd.daemon.logs import Log
from gkmd.daemon.process_config import ControlSettings

NOW = time.time()
FAR = NOW + 30 * 86_400  # ahead for as long as a run of the tests can take
STATUS = {
    "role": "server",
    "version": "0.1.0",
    "pid": 7,
    "identity": "fqdn:gcks.example",
    "user": "gkmd",
    "started": NOW - 3725,
    "now": NOW,
    "listen": ["127.0.0.1:848"],
    "groups": 1,
    "members": 2,
    "journal": {"commits": 5, "error": ""},
    "dropped": {"truncated": 3},
    "events": {"member-joined": 2},
}
GROUPS = [
    {
        "name": "news",
        "id": "keyid:news",
        "address": "239.10.0.1",
        "port": 5004,
        "state": "open",
        "epoch": 2,
        "members": 2,
        "senders": 1,
        "data_sas": 1,
        "next_rekey": FAR,
    }
]
MEMBERS = [
    {
        "group": "news",
        "identity": "fqdn:tx.example",
        "role": "receiver+sender",
        "address": "10.0.0.9",
        "sender_ids": [0, 1],
        "joined": NOW - 120,
        "ike_spi": "00",
    }
]
SAS = [
    {"group": "news", "kind": "rekey", "spi": "ab" * 16, "next_message_id": 3, "expires": FAR},
    {"group": "news", "kind": "esp", "spi": "0x00000100", "source": "10.0.0.9", "expires": FAR},
]


class Daemon:
    """A control server in a thread, which remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, ...]] = []
        self.events = Events(Log(lambda: NOW, "error"), lambda: NOW)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Daemon:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)

    def tell(self, event: str, level: str = "info", **fields: object) -> None:
        self._loop.call_soon_threadsafe(self.events.tell, event, level, fields)

    def _note(self, name: str, result: Any) -> Any:
        def run(**arguments: str) -> Any:
            self.asked.append((name, *arguments.values()))
            if "nix" in arguments.values():
                raise LocalError("there is no group 'nix'")
            return result

        return run

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        group = ("group",)
        commands = {
            "status": Command(self._note("status", STATUS)),
            "groups": Command(self._note("groups", GROUPS)),
            "members": Command(self._note("members", MEMBERS), group),
            "sas": Command(self._note("sas", SAS), group),
            "rekey": Command(self._note("rekey", {}), group),
            "remove": Command(self._note("remove", {}), ("group", "identity")),
            "register": Command(self._note("register", {}), group),
            "leave": Command(self._note("leave", {}), group),
            "recent": Command(self.events.recent),
        }
        listening = bind_control(ControlSettings(self.path, 0o660, ""), None)
        server = ControlServer(listening, commands, self.events, os.getegid())
        await server.start()
        self._ready.set()
        await self._end.wait()
        await server.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "server.sock") as one:
        yield one


def run(daemon: Daemon, *words: str) -> Result:
    return CliRunner().invoke(main, ["ctl", "-s", str(daemon.path), *words], catch_exceptions=False)


def test_status(daemon: Daemon) -> None:
    lines = run(daemon, "status").output.splitlines()
    assert lines[0] == "server fqdn:gcks.example  (gkmd 0.1.0, pid 7)"
    assert lines[1].split() == ["up", "1h02m"]
    assert "  members  2" in lines
    assert lines[-4:] == ["dropped:", "         3  truncated", "events:", "         2  member-joined"]


def test_tables(daemon: Daemon) -> None:
    heading, row = run(daemon, "groups").output.splitlines()
    assert " ".join(heading.split()) == "NAME STATE ADDRESS PORT MEMBERS SENDERS DATA SAS EPOCH NEXT REKEY"
    assert row.split()[:4] == ["news", "open", "239.10.0.1", "5004"]
    assert row.index(" in ") + 1 == heading.index("NEXT REKEY")
    _, row = run(daemon, "members").output.splitlines()
    assert row.split() == [
        "news",
        "fqdn:tx.example",
        "receiver+sender",
        "10.0.0.9",
        "0,1",
        row.split()[5],
        "ago",
    ]
    heading, first, second = run(daemon, "sas", "news").output.splitlines()
    assert "DIRECTION" not in heading
    assert first.split() == ["news", "rekey", "ab" * 16, "-", "3", "in", *first.split()[6:]]
    assert second.split()[:4] == ["news", "esp", "0x00000100", "10.0.0.9"]
    assert daemon.asked == [("groups",), ("members", ""), ("sas", "news")]


@pytest.mark.parametrize(
    ("word", "result"), [("status", STATUS), ("groups", GROUPS), ("members", MEMBERS), ("sas", SAS)]
)
def test_json_is_what_the_daemon_said(daemon: Daemon, word: str, result: object) -> None:
    assert json.loads(run(daemon, "--json", word).output) == result
    after = CliRunner().invoke(main, ["ctl", word, "--json", "--socket", str(daemon.path)])
    assert json.loads(after.output) == result


def test_commands(daemon: Daemon) -> None:
    assert run(daemon, "rekey", "news").output == "news: every key is being replaced\n"
    assert run(daemon, "remove", "news", "fqdn:a").output == "news: fqdn:a was removed\n"
    assert run(daemon, "register", "news").output == "news: registering\n"
    assert run(daemon, "leave", "news").output == "news: leaving\n"
    assert daemon.asked == [
        ("rekey", "news"),
        ("remove", "news", "fqdn:a"),
        ("register", "news"),
        ("leave", "news"),
    ]


def test_a_refusal_is_one_line_and_status_1(daemon: Daemon) -> None:
    done = run(daemon, "rekey", "nix")
    assert done.exit_code == 1
    assert done.stderr == "gkmd: there is no group 'nix'\n"
    assert done.stdout == ""


def test_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(main, ["ctl", "-s", str(tmp_path / "none.sock"), "status"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"gkmd: no control socket {tmp_path}/none.sock")
    monkeypatch.setattr(ctl, "DEFAULT_SOCKETS", (str(tmp_path / "a.sock"), str(tmp_path / "b.sock")))
    done = CliRunner().invoke(main, ["ctl", "status"])
    assert done.exit_code == 1
    assert "no daemon found" in done.stderr


def test_the_default_socket_is_the_one_that_exists(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctl, "DEFAULT_SOCKETS", ("/nonexistent/server.sock", str(daemon.path)))
    assert CliRunner().invoke(main, ["ctl", "rekey", "news"]).exit_code == 0


def test_events(daemon: Daemon) -> None:
    daemon.tell("member-joined", peer="fqdn:rx1.example", receives=True)
    daemon.tell("hidden", "debug")
    (line,) = run(daemon, "events").output.splitlines()
    assert line[9:] == "info    member-joined peer=fqdn:rx1.example receives=yes"


def test_events_that_follow(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.tell("before")
    results: list[Result] = []

    def follow() -> None:
        results.append(run(daemon, "--json", "events", "--follow"))

    shown = threading.Event()
    print_event = ctl._print_event

    def note(target: ctl.Target, event: dict[str, Any]) -> None:
        print_event(target, event)
        if event["event"] == "after":
            shown.set()

    monkeypatch.setattr(ctl, "_print_event", note)
    thread = threading.Thread(target=follow)
    thread.start()
    end = time.monotonic() + 60
    while not daemon.events._followers and time.monotonic() < end:
        time.sleep(0.01)
    daemon.tell("after", number=1)
    assert shown.wait(60)
    daemon.__exit__()
    thread.join(60)
    (done,) = results
    assert done.exit_code == 0
    assert [json.loads(line)["event"] for line in done.output.splitlines()] == ["before", "after"]


def test_times_and_cells() -> None:
    assert [span(s) for s in (0, 59.4, 61, 3725, 90_000)] == ["0s", "59s", "1m01s", "1h02m", "1d01h"]
    assert until(None, 5) == "-"
    assert until(0.0, 1.8e9) == "now"
    assert until(10, 5) == "in 5s"
    assert until(5, 10) == "5s ago"
    assert [cell(v) for v in (None, "", [], True, 0, 1.5, [1, "a"], {"a": 1})] == [
        "-",
        "-",
        "-",
        "yes",
        "0",
        "1.5",
        "1,a",
        "a=1",
    ]
    assert table(["a", "long"], [["wide cell", "x"]]) == "A          LONG\nwide cell  x"
