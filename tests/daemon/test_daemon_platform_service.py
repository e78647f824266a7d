"""Operations over the control sockets: who the caller is, what is refused, durable before told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.api import results as r
from gkmd.api.operations import OPERATIONS, Operation
from gkmd.api.problem import Problem
from gkmd.core.change import Change, DropGroup
from gkmd.core.errors import CryptoError, LocalError, StoreError
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.daemon.control import CONNECTIONS, Command, ControlServer
from gkmd.daemon.control_client import ControlClient
from gkmd.daemon.control_socket import bind_control
from gkmd.daemon.events import Events
from gkmd.daemon.logs import Log
from gkmd.daemon.password_pool import PasswordPool
from gkmd.daemon.platform_service import LINE_OCTETS, MOST_READ, PlatformService, decoded
from gkmd.daemon.process_config import ControlSettings
from gkmd.group.model import Left
from gkmd.group.platform.outcome import Call, Caller, Done, Failed, Hash, Outcome, Read, Verify
from gkmd.group.platform.records import Entry

CHANGED = Left((DropGroup("opera"),), ())
TICKET = Identity.parse("keyid:t-2345")


@dataclass
class Stage:
    """A platform, a driver and an archive that do what a test says, and the service between them."""

    events: Events = field(default_factory=lambda: Events(Log(lambda: 1.0, "error"), lambda: 1.0))
    calls: list[Call] = field(default_factory=list)
    applied: list[tuple[tuple[Change, ...], tuple[Identity, ...]]] = field(default_factory=list)
    reads: list[tuple[object, ...]] = field(default_factory=list)
    outcome: Callable[[Call], Outcome] = lambda call: Done(r.Nothing())
    error: Exception | None = None
    go: threading.Event = field(default_factory=threading.Event)
    faults: list[str] = field(default_factory=list)

    def execute(self, call: Call, now: float) -> Outcome:
        self.calls.append(call)
        return self.outcome(call)

    def malformed(self, operation: Operation, caller: Caller, problem: Problem, now: float) -> Failed:
        return Failed(problem, CHANGED)

    async def command_durably(self, command: Any) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            error, self.error = self.error, None if isinstance(self.error, ZeroDivisionError) else self.error
            raise error
        self.applied.append(command)

    async def settled(self) -> None:
        self.reads.append("settled")

    def fault(self, verb: str, error: Exception, source: str) -> None:
        self.faults.append(f"{verb} {source} {type(error).__name__}")

    def read(self, kind: str, after: str, limit: int, descending: bool = False) -> tuple[Any, ...]:
        self.reads.append((kind, after, limit, descending, threading.current_thread().name))
        return ("fact",)

    def verify(self, verifier: str, password: SecretBytes) -> None:
        if verifier == "slow":
            assert self.go.wait(10)
        if password.reveal() != b"right":
            raise CryptoError("another")


@contextlib.asynccontextmanager
async def open_stage(stage: Stage, folder: Path) -> AsyncIterator[None]:
    pool = PasswordPool(1, 2, stage.verify, lambda password: "$hash")
    service = PlatformService(
        stage, stage, stage, pool, stage.events, lambda: 1.0, lambda left, gone: (left.changes, gone)
    )
    status = {"status": Command(lambda: {"fine": True})}
    servers = [
        ControlServer(
            bind_control(ControlSettings(folder / f"{name}.sock", 0o660, ""), None),
            commands,
            stage.events,
            os.getegid(),
            LINE_OCTETS,
            streams,
        )
        for name, commands, streams in (
            ("operator", {**status, "platform": service.operators_command()}, True),
            ("portal", {"platform": service.portals_command()}, False),
        )
    ]
    for server in servers:
        await server.start()
    try:
        yield
    finally:
        stage.go.set()
        for server in servers:
            await server.close()
        pool.close()
        service.close()


def play(tmp_path: Path, stage: Stage, work: Callable[[Path], object]) -> None:
    """Blocking ``work`` in a thread of its own, against the sockets in the folder."""

    async def run() -> None:
        async with open_stage(stage, tmp_path):
            await asyncio.to_thread(work, tmp_path)

    asyncio.run(run())


def client(folder: Path, name: str = "operator") -> ControlClient:
    return ControlClient(folder / f"{name}.sock")


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Problem) as refused:
        call()
    return refused.value.code


def raw(path: Path, line: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(5)
        peer.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(line)
        reply: dict[str, Any] = json.loads(peer.makefile().readline())
        return reply


# Callers


def test_who_the_caller_is(tmp_path: Path) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        with client(folder) as operator, client(folder, "portal") as portal:
            for one in (operator, portal):
                assert one.call("me", {}) == {}
                one.call("me", {}, token="t", origin="192.0.2.1")

    play(tmp_path, stage, work)
    callers = [(call.caller.unix_user, call.caller.token, call.caller.origin) for call in stage.calls]
    assert callers == [
        (os.getuid(), "", ""),
        (None, "t", "192.0.2.1"),
        (None, "", ""),
        (None, "t", "192.0.2.1"),
    ]


def test_the_portal_has_one_command_only(tmp_path: Path) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        for name in ("status", "events", "metrics", "rekey", "recent"):
            with client(folder, "portal") as portal, pytest.raises(LocalError, match=r"one of platform$"):
                portal.request(name)
        with client(folder) as operator:
            assert operator.request("status") == {"fine": True}

    play(tmp_path, stage, work)
    assert stage.calls == []


def test_operators_changes_are_logged_without_their_contents(tmp_path: Path) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        with client(folder) as operator:
            operator.call("me", {})
            operator.call("user-add", {"login": "rx", "password": "very secret"})

    play(tmp_path, stage, work)
    (line,) = stage.events.recent()
    assert (line["event"], line["command"], line["uid"]) == (
        "operator-command",
        "platform user-add",
        os.getuid(),
    )
    assert "secret" not in str(line)


# Requests


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "no-such"},
        {"operation": 7},
        {"operation": ["me"]},
        {"request": {}},
        {"operation": "me", "request": []},
        {"operation": "me", "request": None},
        {"operation": "me", "token": 7},
        {"operation": "me", "token": "x" * 201},
        {"operation": "me", "origin": "x" * 65},
        {"operation": "me", "origin": None},
        {"operation": "me", "more": 1},
    ],
)
def test_what_is_no_call(tmp_path: Path, wrong: dict[str, Any]) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        for name in ("operator", "portal"):
            reply = raw(
                folder / f"{name}.sock", json.dumps({"command": "platform", **wrong}).encode() + b"\n"
            )
            assert reply["ok"] is False
            assert reply["problem"]["code"] == "bad-request"

    play(tmp_path, stage, work)
    assert stage.calls == []


def test_requests_are_of_their_types_or_refused_by_field(tmp_path: Path) -> None:
    reserve = {"title": "Opera", "start": "2026-12-24T18:00", "duration": 3600}
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("reserve", {**reserve, "duration": "long"}, "duration"),
        ("reserve", {**reserve, "duration": True}, "duration"),
        ("reserve", {**reserve, "duration": 1e300}, "duration"),
        ("reserve", {**reserve, "senders": [{"label": "a"}, {"label": "not an id"}]}, "senders.1.label"),
        ("reserve", {**reserve, "admission": {"any": [{"opne": True}]}}, "admission.any.0.opne"),
        ("reserve", {"title": "Opera", "start": "2026-12-24T18:00"}, "duration"),
        ("reserve", {**reserve, "owners": ""}, "owners"),
        ("me", {"id": "x"}, "id"),
        ("user-show", {"login": "not a login"}, "login"),
    ]
    for operation, request, name in wrong:
        with pytest.raises(Problem) as refused:
            decoded(OPERATIONS[operation], request)
        problem = refused.value
        assert (problem.code, [one.field for one in problem.fields]) == ("invalid", [name])
    with pytest.raises(Problem) as refused:
        decoded(OPERATIONS["password-change"], {"old": "hunter2", "new": "2short"})
    assert "2short" not in str(refused.value.as_json())
    assert "hunter2" not in str(refused.value.as_json())

    stage = Stage()

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("reserve", {**reserve, "port": -1})) == "invalid"
            operator.call("reserve", reserve)

    play(tmp_path, stage, work)
    (call,) = stage.calls
    assert (call.request.title, call.request.port) == ("Opera", 5004)
    # What the platform has to say about a request that could not be read is written as well.
    assert len(stage.applied) == 2


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(OPERATIONS)), st.data())
def test_whatever_comes_is_decoded_or_refused_by_field(name: str, data: st.DataObject) -> None:
    operation = OPERATIONS[name]
    fields = [one.encode_name for one in msgspec.structs.fields(operation.request)]
    known = st.dictionaries(st.sampled_from(fields or ["x"]), VALUES, max_size=8)
    request = data.draw(known | st.dictionaries(st.text(max_size=8), VALUES, max_size=3))
    problem: Problem | None = None
    found: Any = None
    try:
        found = decoded(operation, request)
    except Problem as refused:
        problem = refused
    if problem is None:
        assert isinstance(found, operation.request)
        return
    assert problem.code == "invalid"
    (one,) = problem.fields
    assert one.text
    assert {one.field.partition(".")[0]} <= {"", *fields, *request} or "." in "".join(request)


def test_half_a_surrogate_does_not_come_in(tmp_path: Path) -> None:
    """It could not be written as UTF-8, and would fail the transaction of everybody."""
    stage = Stage()

    def work(folder: Path) -> None:
        for text in (r"\ud800", r"\ud800 and more text", r"\udc00\ud800xxxxxxxx"):
            line = f'{{"command": "platform", "operation": "user-add", "request": {{"name": "{text}"}}}}\n'
            assert not raw(folder / "portal.sock", line.encode())["ok"]

    play(tmp_path, stage, work)
    assert stage.calls == []


def test_an_import_has_room_and_more_has_not(tmp_path: Path) -> None:
    stage = Stage(outcome=lambda call: Done(r.Import("i", len(call.request.entries))))
    entries = [{"name": "ä" * 100, "verifier": "v" * 200} for _ in range(200)]

    def work(folder: Path) -> None:
        with client(folder, "portal") as portal:
            request = {"id": "opera", "import_id": "i", "entries": entries}
            assert portal.call("names-add", request) == {"import_id": "i", "count": 200}
            with pytest.raises(LocalError, match="at most 262144 octets"):
                portal.call("names-add", {**request, "id": "x" * LINE_OCTETS})

    play(tmp_path, stage, work)


def test_too_many_connections(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(client(folder, "portal")).call("me", {})
            with (
                client(folder, "portal") as more,
                pytest.raises(LocalError, match="too many control connections"),
            ):
                more.call("me", {})
            # The operator's socket has places of its own.
            with client(folder) as operator:
                assert operator.request("status")

    play(tmp_path, Stage(), work)


# Outcomes


def test_results_are_told_when_they_are_durable(tmp_path: Path) -> None:
    told = ("reservation-made", {"reservation": "opera"})
    stage = Stage(outcome=lambda call: Done(r.Import("i", 3), CHANGED, (TICKET,), (told,)))

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert operator.call("names-begin", {"id": "opera"}) == {"import_id": "i", "count": 3}

    play(tmp_path, stage, work)
    assert stage.applied == [(CHANGED.changes, (TICKET,))]
    assert stage.events.counts["reservation-made"] == 1


@pytest.mark.parametrize("refused", [False, True])
def test_a_journal_that_fails_lets_nothing_be_told(tmp_path: Path, refused: bool) -> None:
    def outcome(call: Call) -> Outcome:
        if refused:
            return Failed(Problem("conflict", "there is one"), CHANGED, tells=(("told", {}),))
        return Done(r.Import("i", 3), CHANGED, tells=(("told", {}),))

    stage = Stage(outcome=outcome, error=Problem("journal-failed", "the disk is full"))

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("names-begin", {"id": "opera"})) == "journal-failed"

    play(tmp_path, stage, work)
    assert stage.events.counts["told"] == 0


def test_what_only_looks_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    stage = Stage(error=Problem("journal-failed", "the disk is full"))

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert operator.call("me", {}) == {}
            # A change that was made already: it may not be on the disk.
            assert code_of(lambda: operator.call("sign-out", {})) == "journal-failed"

    play(tmp_path, stage, work)


def test_refusals_are_problems_and_what_remains_of_them_is_journalled(tmp_path: Path) -> None:
    def outcome(call: Call) -> Outcome:
        if call.operation == "me":
            return Failed(Problem("sign-in-required", "nobody"))
        return Failed(Problem("sign-in-failed", "no", come_back=7.5), CHANGED)

    stage = Stage(outcome=outcome)

    def work(folder: Path) -> None:
        with client(folder, "portal") as portal:
            assert code_of(lambda: portal.call("me", {})) == "sign-in-required"
            with pytest.raises(Problem) as refused:
                portal.call("sign-in", {"login": "rx", "password": "x"})
            assert (refused.value.code, refused.value.come_back) == ("sign-in-failed", 7.5)

    play(tmp_path, stage, work)
    assert stage.applied == [(CHANGED.changes, ())]


def password_outcome(call: Call) -> Outcome:
    def hashed(text: str, now: float) -> Outcome:
        return Done(r.AuditVerified(1, text, None, ""))

    def compared(right: bool, now: float) -> Outcome:
        return Hash(SecretBytes(b"new"), hashed) if right else Failed(Problem("sign-in-failed", "no"))

    password = SecretBytes(call.request.password.encode())
    return Verify("slow" if call.request.login == "slow" else "quick", password, compared)


def test_passwords_are_compared_and_hashed_on_the_way(tmp_path: Path) -> None:
    stage = Stage(outcome=password_outcome)

    def work(folder: Path) -> None:
        with client(folder, "portal") as portal:
            assert portal.call("sign-in", {"login": "rx", "password": "right"})["head"] == "$hash"
            wrong = {"login": "rx", "password": "wrong"}
            assert code_of(lambda: portal.call("sign-in", wrong)) == "sign-in-failed"

    play(tmp_path, stage, work)


def test_a_slow_password_holds_nobody_up_and_too_many_are_told(tmp_path: Path) -> None:
    def outcome(call: Call) -> Outcome:
        return password_outcome(call) if call.operation == "sign-in" else Done(r.Nothing())

    stage = Stage(outcome=outcome)
    results: list[object] = []

    def sign_in(folder: Path) -> None:
        with client(folder, "portal") as portal:
            results.append(portal.call("sign-in", {"login": "slow", "password": "right"}))

    def work(folder: Path) -> None:
        slow = [threading.Thread(target=sign_in, args=(folder,)) for _ in range(3)]
        for thread in slow:
            thread.start()
        with client(folder, "portal") as portal:
            while len(stage.calls) < 3:
                portal.call("me", {})
                stage.calls[:] = [call for call in stage.calls if call.operation == "sign-in"]
            with pytest.raises(Problem) as busy:
                portal.call("sign-in", {"login": "quick", "password": "right"})
            assert busy.value.code == "busy"
            assert busy.value.come_back == 4.0
        assert results == []
        stage.go.set()
        for thread in slow:
            thread.join(10)
        assert len(results) == 3

    play(tmp_path, stage, work)


def test_archives_are_read_off_the_loop_and_in_bounds(tmp_path: Path) -> None:
    def outcome(call: Call) -> Outcome:
        return Read(Entry.KIND, "5", 10**9, lambda found, now: Done(r.Metrics(found[0])), descending=True)

    stage = Stage(outcome=outcome)

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert operator.call("ledger-entries", {}) == {"text": "fact"}

    play(tmp_path, stage, work)
    before, (*asked, thread) = stage.reads
    assert before == "settled"  # what was told is on the disk first
    assert asked == ["entry", "5", MOST_READ, True]
    assert str(thread).startswith("archive")


@pytest.mark.parametrize("where", ["execute", "resume", "read", "apply"])
def test_faults_are_told_as_such_and_the_service_goes_on(tmp_path: Path, where: str) -> None:
    def broken(*_: object) -> Any:
        raise ZeroDivisionError

    def outcome(call: Call) -> Outcome:
        if where == "execute":
            return broken()  # type: ignore[no-any-return]
        if where == "apply":
            return Done(r.Nothing(), CHANGED)
        return Read("entry", "", 1, broken)

    stage = Stage(outcome=outcome)
    stage.error = ZeroDivisionError() if where == "apply" else None
    if where == "read":
        stage.read = broken  # type: ignore[method-assign]

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("sign-out", {})) == "internal"
            assert operator.request("status") == {"fine": True}

    play(tmp_path, stage, work)
    assert stage.faults == ["platform sign-out ZeroDivisionError"]
    # What the facts have changed by is written all the same.
    assert stage.applied == ([(CHANGED.changes, ())] if where == "apply" else [])


def test_an_archive_that_cannot_be_read(tmp_path: Path) -> None:
    stage = Stage(outcome=lambda call: Read("entry", "", 1, lambda found, now: Done(r.Nothing())))

    def unreadable(*_: object) -> Any:
        raise StoreError("journal: a row of facts was damaged")

    stage.read = unreadable  # type: ignore[method-assign]

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("ledger-entries", {})) == "journal-failed"

    play(tmp_path, stage, work)


def test_the_end_is_told() -> None:
    async def run() -> None:
        stage = Stage(outcome=lambda call: Read("entry", "", 1, lambda found, now: Done(r.Nothing())))
        pool = PasswordPool(1, 2)
        service = PlatformService(
            stage, stage, stage, pool, stage.events, lambda: 1.0, lambda left, gone: (left.changes, gone)
        )
        await service.call(OPERATIONS["audit"], {}, Caller())
        service.close()
        pool.close()
        with pytest.raises(Problem, match="stopping") as refused:
            await service.call(OPERATIONS["audit"], {}, Caller())
        assert refused.value.code == "unavailable"
        assert stage.faults == []

    asyncio.run(run())


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    left = [thread for thread in threading.enumerate() if thread.name.startswith("archive")]
    assert left == []
