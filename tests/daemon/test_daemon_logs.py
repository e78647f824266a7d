"""Log lines, events and key logs: what they say, and what they must not."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gkmd.core.address import Path as UdpPath
from gkmd.core.algorithms import AES_CBC_256, AES_GCM_16_256, HMAC_SHA2_256_128
from gkmd.core.errors import LocalError
from gkmd.core.esp import Direction, EspSa, Mode
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.events import Events
from gkmd.daemon.keylog import KeyLog
from gkmd.daemon.logs import FLUSH_SECONDS, FromLibraries, Log, render_json, render_text

FIELDS: dict[str, object] = {
    "identity": Identity.parse("fqdn:rx1.example"),
    "address": ipaddress.ip_address("10.0.0.1"),
    "path": UdpPath("a", 1, "10.0.0.1", 848),
    "spi": bytes(range(8)),
    "key": SecretBytes(b"0123456789abcdef"),
    "long": b"0123456789abcdefg",
    "count": 3,
    "share": 0.5,
    "groups": ["a", "b"],
    "empty": "",
    "text": "with space",
}


def test_json_lines() -> None:
    line = json.loads(render_json(12.3456789, "info", "member-joined", FIELDS))
    assert line == {
        "time": 12.345679,
        "level": "info",
        "event": "member-joined",
        "identity": "fqdn:rx1.example",
        "address": "10.0.0.1",
        "path": "10.0.0.1#848",
        "spi": "0001020304050607",
        "key": "<secret: 16 octets>",
        "long": "17 octets",
        "count": 3,
        "share": 0.5,
        "groups": ["a", "b"],
        "empty": "",
        "text": "with space",
    }


def test_text_lines() -> None:
    line = render_text(12.5, "info", "member-joined", FIELDS).decode()
    assert line.endswith(
        ".500 info    member-joined identity=fqdn:rx1.example address=10.0.0.1 path=10.0.0.1#848"
        " spi=0001020304050607 key='<secret: 16 octets>' long='17 octets' count=3 share=0.500 groups=a,b"
        " empty='' text='with space'\n"
    )


@pytest.mark.parametrize("render", [render_json, render_text])
def test_a_peers_name_cannot_forge_a_line(render: Callable[..., bytes]) -> None:
    nasty = "x\n{}\x1b[31m"
    line = render(1.0, "info", "joined", {"identity": nasty})
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line


def pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    return reading, writing


def test_lines_are_batched_and_warnings_are_not() -> None:
    reading, writing = pipe()
    log = Log(lambda: 1.0, "info", "json", writing)
    waiting: list[Callable[[], None]] = []

    def later(delay: float, flush: Callable[[], None]) -> None:
        assert delay == FLUSH_SECONDS
        waiting.append(flush)

    log.tell("before", "info", {})
    assert b"before" in os.read(reading, 1000)
    log.batch(later)
    log.tell("one", "info", {})
    log.tell("two", "info", {})
    log.tell("hidden", "debug", {})
    assert len(waiting) == 1
    with pytest.raises(BlockingIOError):
        os.read(reading, 1000)
    waiting.pop()()
    assert [json.loads(line)["event"] for line in os.read(reading, 1000).splitlines()] == ["one", "two"]
    log.tell("three", "info", {})
    log.tell("loud", "warning", {})
    assert len(os.read(reading, 1000).splitlines()) == 2
    for _ in range(300):
        log.tell("many", "info", {})
    assert len(os.read(reading, 60_000).splitlines()) == 256
    log.batch(None)
    assert len(os.read(reading, 60_000).splitlines()) == 44
    os.close(reading)
    log.tell("nobody", "warning", {})  # a closed pipe stops nothing
    os.close(writing)


def test_what_libraries_log_ends_in_the_same_stream() -> None:
    reading, writing = pipe()
    log = Log(lambda: 2.0, "info", "json", writing)
    logger = logging.getLogger("test.kernel")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(FromLibraries(log))
    logger.warning("no %s", "ESP")
    logger.debug("hidden")
    logger.info("a foreign library's info is a detail, so hidden, too")
    assert json.loads(os.read(reading, 1000)) == {
        "time": 2.0,
        "level": "warning",
        "event": "library",
        "logger": "test.kernel",
        "message": "no ESP",
    }
    log.configure("debug", "text")
    logger.debug("shown")
    logger.critical("loud")
    lines = os.read(reading, 1000).decode()
    assert "debug   library logger=test.kernel message=shown" in lines
    assert "error   library logger=test.kernel message=loud" in lines
    log.configure("info", "text")
    FromLibraries(log).emit(logging.makeLogRecord({"name": "gkmd.kernel", "levelno": 20, "msg": "ours"}))
    assert "info    library logger=gkmd.kernel message=ours" in os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)


def test_drops_are_counted_by_reason_even_when_nobody_logs_them() -> None:
    events = Events(Log(lambda: 1.0, "error"), lambda: 1.0)
    for reason in ("truncated", "truncated", "length"):
        events.tell("datagram-dropped", "debug", {"reason": reason})
    events.tell("datagram-dropped", "debug", {})
    assert events.drops == {"truncated": 2, "length": 1, "unknown": 1}
    assert events.recent() == []
    events.tell("started", "info", {"a": 1})
    assert events.recent() == [{"time": 1.0, "level": "info", "event": "started", "a": 1}]


class Told:
    """Events over a clock of the test's own, with what was logged."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reading, writing = pipe()
        self.events = Events(Log(lambda: self.now, "info", "json", writing), lambda: self.now)
        self.alarms: list[Callable[[], None]] = []

    def lines(self) -> list[tuple[object, ...]]:
        try:
            read = os.read(self.reading, 1 << 16)
        except BlockingIOError:
            return []
        shown = [json.loads(line) for line in read.splitlines()]
        return [(line["event"], line.get("of"), line.get("number")) for line in shown]

    def later(self, delay: float, call: Callable[[], None]) -> None:
        if delay == 1.0:
            self.alarms.append(call)


def test_strangers_do_not_fill_the_log_but_are_all_counted() -> None:
    told = Told()
    follower = told.events.follow()
    for number in range(1000):
        told.events.tell("authentication-failed", "warning", {"reason": "wrong"})
        told.events.tell("ike-sa-failed", "debug", {})
        if number % 100 == 0:
            told.events.tell("member-joined", "info", {})
    lines = told.lines()
    assert lines.count(("authentication-failed", None, None)) == 20
    assert lines.count(("member-joined", None, None)) == 10
    assert len(lines) == 30
    assert told.events.counts["authentication-failed"] == told.events.counts["ike-sa-failed"] == 1000
    # Neither do they push out of sight what else happened.
    assert [event["event"] for event in told.events.recent()].count("authentication-failed") == 20
    assert len(follower._waiting) == 30
    # The next event, whatever it is, has the number in front of it; it is told once.
    told.now += 1.0
    told.events.tell("member-left", "info", {})
    told.events.tell("authentication-failed", "warning", {"reason": "wrong"})
    assert told.lines() == [
        ("lines-suppressed", "authentication-failed", 980),
        ("member-left", None, None),
        ("authentication-failed", None, None),
    ]
    told.now += 5.0
    told.events.tell("member-left", "info", {})
    assert told.lines() == [("member-left", None, None)]


def test_each_event_has_a_budget_of_its_own_and_admitted_members_none() -> None:
    told = Told()
    for _ in range(50):
        told.events.tell("registration-refused", "warning", {})
        told.events.tell("request-rejected", "warning", {})
        told.events.tell("member-joined", "info", {})
    told.now += 2.0
    told.events.tell("stopping", "info", {})
    lines = told.lines()
    assert lines.count(("member-joined", None, None)) == 50
    assert lines.count(("registration-refused", None, None)) == 20
    assert lines[-3:] == [
        ("lines-suppressed", "registration-refused", 30),
        ("lines-suppressed", "request-rejected", 30),
        ("stopping", None, None),
    ]


def test_the_number_comes_also_when_nothing_else_happens() -> None:
    told = Told()
    told.events.batch(told.later)
    for _ in range(50):
        told.events.tell("registration-refused", "warning", {})
    assert len(told.alarms) == 1
    assert len(told.lines()) == 20
    told.now += 0.9  # a timer that is a little early
    told.alarms.pop()()
    assert told.lines() == []
    told.now += 0.2
    told.alarms.pop()()
    assert told.lines() == [("lines-suppressed", "registration-refused", 30)]
    assert not told.alarms
    # And at the end, whenever that is.
    for _ in range(25):
        told.events.tell("registration-refused", "warning", {})
    told.events.batch(None)
    assert told.lines()[20:] == [("lines-suppressed", "registration-refused", 5)]


def sa(source: str | None, cbc: bool = False) -> EspSa:
    cipher, integrity = (AES_CBC_256, HMAC_SHA2_256_128) if cbc else (AES_GCM_16_256, None)
    octets = cipher.key_octets + (integrity.key_octets if integrity else 0)
    return EspSa(
        group="news",
        spi=0xABC if cbc else 0x100,
        source=ipaddress.ip_address(source) if source else None,
        destination=ipaddress.ip_address("239.10.0.1"),
        mode=Mode.TRANSPORT,
        direction=Direction.IN,
        cipher=cipher,
        integrity=integrity,
        key=SecretBytes(bytes(range(octets))),
        reqid=1,
        replay_window=64,
        lifetime=60,
    )


def test_the_key_log_has_a_line_for_every_sa(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keys = KeyLog(path)
    keys.esp(sa("10.0.0.1"))
    keys.esp(sa("10.0.0.1"))
    keys.esp(sa(None, cbc=True))
    keys.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().splitlines() == [
        f"esp 00000100 10.0.0.1 239.10.0.1 aes-gcm-16-256 - {bytes(range(36)).hex()}",
        f"esp 00000abc any 239.10.0.1 aes-cbc-256 hmac-sha2-256-128 {bytes(range(64)).hex()}",
    ]
    with pytest.raises(LocalError, match="cannot open the key log"):
        KeyLog(tmp_path / "none" / "keys")


def test_the_clock_does_not_jump() -> None:
    times = {"wall": 1000.0, "steady": 50.0}
    clock = SteadyClock(lambda: times["wall"], lambda: times["steady"])
    assert clock.now() == 1000.0
    times["wall"] = 5.0  # somebody sets the wall clock
    times["steady"] = 51.5
    assert clock.now() == 1001.5
    real = SteadyClock()
    assert abs(real.now() - time.time()) < 5


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo"])
def test_a_key_log_is_a_file_of_our_own(tmp_path: Path, kind: str) -> None:
    """In a folder that others write to, somebody may have put something in its place."""
    path, theirs = tmp_path / "keys", tmp_path / "theirs"
    theirs.touch(0o644)
    if kind == "symlink":
        path.symlink_to(theirs)
    elif kind == "hard link":
        path.hardlink_to(theirs)
    else:
        os.mkfifo(path)
    with pytest.raises(LocalError, match="key log"):
        KeyLog(path)
    assert theirs.stat().st_mode & 0o777 == 0o644
    assert theirs.read_bytes() == b""


def test_a_library_s_fault_says_where_and_not_what() -> None:
    read, write = os.pipe()
    log = Log(lambda: 0.0, form="json", fd=write)
    try:
        raise ValueError("the password is secret")
    except ValueError:
        record = logging.getLogger("uvicorn.error").makeRecord(
            "uvicorn.error", logging.ERROR, "x.py", 1, "Exception in ASGI application\n", (), sys.exc_info()
        )
    FromLibraries(log).emit(record)
    os.close(write)
    with os.fdopen(read) as lines:
        (line,) = lines.read().splitlines()
    found = json.loads(line)
    assert found["message"] == "Exception in ASGI application"
    assert found["error"].startswith("ValueError test_daemon_logs.py:")
    assert "secret" not in line
