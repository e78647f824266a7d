"""The control protocol: a Unix socket, one JSON object a line, a reply for each request.

    -> {"id": 1, "command": "members", "group": "news"}
    <- {"id": 1, "ok": true, "result": [...]}
    <- {"id": 2, "ok": false, "error": "there is no group named 'nws'"}

A command may be refused with a ``problem`` beside the ``error`` (RFC 9457), and may take time; a connection
has one request under way. After ``{"command": "events"}`` the connection goes on with ``{"event": {...}}``
lines. Everything that a peer can make us hold is bounded: connections, line length, events that a slow reader
is behind. The last places are kept for root and our own user: whoever is in the control group cannot lock the
administrator out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gkmd.api.problem import Problem
from gkmd.core.errors import LocalError
from gkmd.daemon.control_socket import is_ours, is_welcome, peer_of
from gkmd.daemon.events import Events
from gkmd.daemon.logs import LEVELS, plain

LINE_OCTETS: Final = 65_536
CONNECTIONS: Final = 64
KEPT: Final = 8  # of them, for root and our own user
_encode: Final = msgspec.json.Encoder(enc_hook=plain).encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Command:
    """``run`` gets the arguments by name; ``arguments`` are all required strings. It may raise LocalError,
    and may return an awaitable of its result.

    What ``changes`` something is logged with the user who asked for it; once it was carried out ``note`` is
    told the user id and the arguments.
    """

    run: Callable[..., object]
    arguments: tuple[str, ...] = ()
    changes: bool = False
    note: Callable[[int, Mapping[str, str]], object] | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection."""

    process: int
    user: int


@dataclass(frozen=True, slots=True)
class StructuredCommand:
    """``run`` gets the arguments as they came, any JSON, and checks them itself; it may raise LocalError."""

    run: Callable[[dict[str, Any], Peer], Awaitable[object]]


@dataclass(slots=True)
class ControlServer:
    """Serves ``commands`` on a listening socket; ``events`` is built in unless ``streams`` is false. A
    request has at most ``line_octets``.
    """

    listening: socket.socket
    commands: Mapping[str, Command | StructuredCommand]
    events: Events
    gid: int
    line_octets: int = LINE_OCTETS
    streams: bool = True
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(
            self._accept, sock=self.listening, limit=self.line_octets
        )

    async def close(self) -> None:
        """Close every connection and remove the socket's file."""
        path = self.listening.getsockname()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError):
            os.unlink(path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            connection = writer.get_extra_info("socket")
            if not is_welcome(connection, self.gid):
                await self._say(writer, {"ok": False, "error": "permission denied"})
            elif len(self._open) > CONNECTIONS - (0 if is_ours(connection) else KEPT):
                await self._say(writer, {"ok": False, "error": "too many control connections"})
            else:
                await self._converse(reader, writer, connection)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: socket.socket
    ) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                text = f"a request has at most {self.line_octets} octets"
                await self._say(writer, {"ok": False, "error": text})
                return
            try:
                request = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                await self._say(writer, {"ok": False, "error": f"not a JSON object in one line: {error}"})
                return
            number = request.pop("id", None)
            reply: dict[str, object] = {"id": number if isinstance(number, int | str) else None}
            name = request.pop("command", None)
            if name == "events" and self.streams:
                await self._stream(reader, writer, reply, request)
                return
            try:
                reply |= {"ok": True, "result": await self._run(name, request, connection)}
            except Problem as problem:
                reply |= {"ok": False, "error": str(problem), "problem": problem.as_json()}
            except LocalError as error:
                reply |= {"ok": False, "error": str(error)}
            await self._say(writer, reply)

    async def _run(self, name: object, arguments: dict[str, Any], connection: socket.socket) -> object:
        command = self.commands.get(name) if isinstance(name, str) else None
        if command is None:
            known = [*self.commands, *(["events"] if self.streams else [])]
            raise LocalError(f"unknown command {repr(name)[:60]}; expected one of {', '.join(known)}")
        if isinstance(command, StructuredCommand):
            return await command.run(arguments, Peer(*peer_of(connection)))
        if set(arguments) != set(command.arguments) or not all(
            isinstance(v, str) for v in arguments.values()
        ):
            expected = ", ".join(command.arguments) or "no arguments"
            raise LocalError(f"{name} takes {expected} (strings); found {', '.join(arguments) or 'none'}")
        process, user = peer_of(connection)
        if command.changes:
            self.events.tell(
                "operator-command", "info", {"command": name, **arguments, "uid": user, "pid": process}
            )
        result = command.run(**arguments)
        if isinstance(result, Awaitable):
            result = await result
        if command.note is not None:
            command.note(user, arguments)
        return result

    async def _stream(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        reply: dict[str, object],
        arguments: dict[str, Any],
    ) -> None:
        level = arguments.get("level", "info")
        if level not in LEVELS or set(arguments) - {"level"}:
            await self._say(
                writer, reply | {"ok": False, "error": f"events takes level: one of {', '.join(LEVELS)}"}
            )
            return
        follower = self.events.follow(level)
        gone = asyncio.create_task(reader.read(1))  # whatever comes, or the end, ends the stream
        try:
            await self._say(writer, reply | {"ok": True, "result": None})
            while not gone.done():
                taking = asyncio.create_task(follower.take())
                await asyncio.wait((taking, gone), return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    break
                writer.write(b"".join(_encode({"event": event}) + b"\n" for event in taking.result()))
                await writer.drain()  # a slow reader waits here, and its events wait in the follower
        finally:
            gone.cancel()
            self.events.unfollow(follower)

    async def _say(self, writer: asyncio.StreamWriter, reply: dict[str, object]) -> None:
        writer.write(_encode(reply) + b"\n")
        await writer.drain()
