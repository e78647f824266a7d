"""The service of operations between control sockets and a platform that does what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gkmd.api import results as r
from gkmd.api.operations import Operation
from gkmd.api.problem import Problem
from gkmd.core.change import Change, DropGroup
from gkmd.core.errors import CryptoError
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.daemon.control import Command, ControlServer
from gkmd.daemon.control_client import ControlClient
from gkmd.daemon.control_socket import bind_control
from gkmd.daemon.events import Events
from gkmd.daemon.logs import Log
from gkmd.daemon.password_pool import PasswordPool
from gkmd.daemon.platform_service import LINE_OCTETS, PlatformService
from gkmd.daemon.process_config import ControlSettings
from gkmd.group.model import Left
from gkmd.group.platform.outcome import Call, Caller, Done, Failed, Outcome

CHANGED = Left((DropGroup("opera"),), ())
TICKET = Identity.parse("keyid:t-2345")


@dataclass
class Stage:
    """A platform, a driver and an archive that do what a test says, and the service between them."""

    events: Events = field(default_factory=lambda: Events(Log(lambda: 1.0, "error"), lambda: 1.0))
    calls: list[Call] = field(default_factory=list)
    applied: list[tuple[tuple[Change, ...], tuple[Identity, ...]]] = field(default_factory=list)
    reads: list[tuple[object, ...]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    outcome: Callable[[Call], Outcome] = lambda call: Done(r.Nothing())
    error: Exception | None = None
    go: threading.Event = field(default_factory=threading.Event)
    faults: list[str] = field(default_factory=list)

    def execute(self, call: Call, now: float) -> Outcome:
        self.calls.append(call)
        return self.outcome(call)

    def malformed(
        self, operation: Operation, caller: Caller, problem: Problem, now: float, id: str = ""
    ) -> Failed:
        self.unread.append((operation.name, id))
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
            assert self.go.wait(60)
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
        peer.settimeout(60)
        peer.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(line)
        reply: dict[str, Any] = json.loads(peer.makefile().readline())
        return reply
