"""The portal's way to the daemon: operations over its platform socket, a line each way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from gkmd.api.operations import PORTALS
from gkmd.api.problem import Problem

CONNECTIONS: Final = 16
_SLOW: Final = frozenset({"audit", "audit-verify", "ledger-entries"})  # they read archives
_PASSWORDS: Final = frozenset({"password", "old"})  # fields that make the daemon compute argon2
REPLY_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 5.0
_REPLY_OCTETS: Final = 64 << 20
_REQUEST_OCTETS: Final = 262_144  # of a line, as the daemon takes it
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a session's or API's token ("" nobody), and the address that limits are counted by."""

    token: str = field(default="", repr=False)
    origin: str = ""


class NotSent(Problem):
    """The daemon has not even been asked."""


class Daemon(Protocol):
    """Carries operations out. ``call`` gives the result as plain data; it raises Problem."""

    async def call(self, operation: str, request: dict[str, Any], caller: Caller) -> Any: ...


async def ask(daemon: Daemon, operation: str, request: dict[str, Any], caller: Caller, kind: type[T]) -> T:
    """The result of ``operation`` as ``kind``. Problem when it is refused, or makes no sense."""
    found = await daemon.call(operation, request, caller)
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise Problem("internal", f"gkmd's answer to {operation} is of another version: {error}") from None


class DaemonClient:
    """A few connections, each with one request under way. Who finds none free waits, but not for ever.

    What takes the daemon long has half of them: a flood of sign-ins leaves the pages as they were.
    """

    def __init__(self, path: Path, connections: int = CONNECTIONS, seconds: float = REPLY_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._free = asyncio.Semaphore(connections)
        self._slow = asyncio.Semaphore(max(1, connections // 2))
        self._idle: list[_Connection] = []
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    async def call(self, operation: str, request: dict[str, Any], caller: Caller) -> Any:
        line = self._encode(
            {
                "id": 1,
                "command": "platform",
                "operation": operation,
                "request": request,
                "token": caller.token,
                "origin": caller.origin,
            }
        )
        if len(line) >= _REQUEST_OCTETS:  # a number may be longer here than it came
            raise NotSent("bad-request", "This is more than the key server takes at once.")
        try:
            async with asyncio.timeout(self._seconds):
                slow = operation in _SLOW or not _PASSWORDS.isdisjoint(request)
                async with self._slow if slow else contextlib.nullcontext(), self._free:
                    reply = self._decode(await self._exchange(line + b"\n", operation))
        except TimeoutError:
            raise Problem("unavailable", "The key server does not answer in time; try again.") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Problem("unavailable", "The key server's answer is no JSON.") from None
        if reply.get("ok") is True:
            return reply.get("result")
        problem = reply.get("problem")
        if isinstance(problem, dict):
            raise Problem.of_json(problem)
        raise Problem("unavailable", str(reply.get("error", "The key server gave no reason.")))

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, line: bytes, operation: str) -> bytes:
        fresh = False
        while True:
            connection = self._take()
            if connection is None:
                connection, fresh = await self._connect(), True
            try:
                reply = await connection.exchange(line)
            except (OSError, EOFError, ValueError) as error:
                connection.close()
                # Only what was read can be asked again: a change may have been carried out before the end.
                if not fresh and not PORTALS[operation].changes:
                    continue
                raise Problem("unavailable", _GONE) from error
            except BaseException:
                connection.close()  # a reply may still come on it
                raise
            self._idle.append(connection)
            return reply

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                pair = await asyncio.open_unix_connection(str(self._path), limit=_REPLY_OCTETS)
        except (OSError, TimeoutError) as error:
            raise Problem("unavailable", _GONE) from error
        return _Connection(*pair)


_GONE: Final = "The key server is not reachable. Nothing is lost; try again in a moment."


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def alive(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()

    async def exchange(self, line: bytes) -> bytes:
        """EOFError when the daemon hung up, ValueError when its line is too long."""
        self.writer.write(line)
        await self.writer.drain()
        reply = await self.reader.readline()
        if not reply.endswith(b"\n"):
            raise EOFError("the key server hung up")
        return reply

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.writer.close()
