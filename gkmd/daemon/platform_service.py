"""The command ``platform`` of the control sockets: an operation of the API, from JSON to JSON.

    -> {"id": 1, "command": "platform", "operation": "me", "request": {}, "token": "...", "origin": "..."}
    <- {"id": 1, "ok": true, "result": {...}}
    <- {"id": 1, "ok": false, "error": "text", "problem": {RFC 9457}}

What an operation changes is on the disk before its result, or its refusal, is told. Passwords and archives
are looked at beside the event loop. A connection has one request under way, so connections bound the
requests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NoReturn, Protocol, cast

import msgspec

from gkmd.api.operations import OPERATIONS, PORTALS, Operation
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.change import Fact
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity
from gkmd.daemon.control import Peer, StructuredCommand
from gkmd.daemon.events import Events
from gkmd.daemon.password_pool import Asker, PasswordPool, PoolFull
from gkmd.daemon.server_driver import BUSY_SECONDS
from gkmd.group.model import Left
from gkmd.group.platform.outcome import Call, Caller, Done, Failed, Hash, Outcome, Read, Verify

LINE_OCTETS: Final = 262_144  # of a request: an import has 200 names with verifiers in one
MOST_READ: Final = 1000  # archived facts at once
_TOKEN_CHARACTERS: Final = 200
_ORIGIN_CHARACTERS: Final = 64
_READERS: Final = 2  # threads


class Executor(Protocol):
    """What this needs of ``gkmd.group.platform.platform.Platform``."""

    def execute(self, call: Call, now: float) -> Outcome: ...
    def malformed(
        self, operation: Operation, caller: Caller, problem: Problem, now: float, id: str = ""
    ) -> Failed: ...


class Driver(Protocol):
    """What this needs of ``gkmd.daemon.server_driver.ServerDriver``."""

    def command_durably(self, command: Any) -> Awaitable[None]: ...
    def settled(self) -> Awaitable[None]: ...
    def fault(self, verb: str, error: Exception, source: str) -> None: ...


class Archive(Protocol):
    """What this needs of ``gkmd.store.journal.Journal``."""

    def read(self, kind: str, after: str, limit: int, descending: bool = False) -> tuple[Fact, ...]: ...


class PlatformService:
    """``apply`` makes the driver's command of what an operation leaves to be done about the groups."""

    def __init__(
        self,
        platform: Executor,
        driver: Driver,
        archive: Archive,
        pool: PasswordPool,
        events: Events,
        now: Callable[[], float],
        apply: Callable[[Left, tuple[Identity, ...]], object],
    ) -> None:
        self._platform: Final = platform
        self._driver: Final = driver
        self._archive: Final = archive
        self._pool: Final = pool
        self._events: Final = events
        self._now: Final = now
        self._apply: Final = apply
        self._readers: Final = ThreadPoolExecutor(_READERS, "archive")
        self._closed = False

    def close(self) -> None:
        """Take no more calls, and wait for reads that are under way. Blocks: not for the event loop."""
        self._closed = True
        self._readers.shutdown(wait=True, cancel_futures=True)

    def operators_command(self) -> StructuredCommand:
        """On the operator's socket: who is let in there is an operator, unless a token says who it is."""
        return StructuredCommand(partial(self._command, trusted=True))

    def portals_command(self) -> StructuredCommand:
        """On the portal's socket: without a token the caller is nobody."""
        return StructuredCommand(partial(self._command, trusted=False))

    async def _command(self, arguments: dict[str, Any], peer: Peer, trusted: bool) -> object:
        given = {"operation": "", "request": {}, "token": "", "origin": ""} | arguments
        if len(given) != 4 or not isinstance(given["request"], dict):
            raise Problem("bad-request", "platform takes operation, request (an object), token and origin")
        token, origin = given["token"], given["origin"]
        if not isinstance(token, str) or not isinstance(origin, str):
            raise Problem("bad-request", "token and origin are strings")
        if len(token) > _TOKEN_CHARACTERS or len(origin) > _ORIGIN_CHARACTERS:
            raise Problem("bad-request", "token or origin is too long")
        known = OPERATIONS if trusted else PORTALS
        operation = known.get(given["operation"]) if isinstance(given["operation"], str) else None
        if operation is None:
            raise Problem("bad-request", f"there is no operation {str(given['operation'])[:40]!r}")
        operator = trusted and not token
        if operator and operation.changes:
            fields = {"command": f"platform {operation.name}", "uid": peer.user, "pid": peer.process}
            self._events.tell("operator-command", "info", fields)
        caller = Caller(token, peer.user if operator else None, origin)
        return await self.call(operation, given["request"], caller)

    async def call(self, operation: Operation, request: dict[str, Any], caller: Caller) -> object:
        """The result, of the operation's result type. Problem when it is refused or cannot be journalled."""
        if self._closed:
            raise Problem("unavailable", "gkmd is stopping.")
        try:
            call = Call(operation.name, decoded(operation, request), caller)
        except Problem as problem:
            id = request.get("id")
            named = id if isinstance(id, str) else ""
            failed = self._platform.malformed(operation, caller, problem, self._now(), named)
            if failed.left.changes:
                await self._carry_out(operation, failed)
            raise
        try:
            outcome = self._platform.execute(call, self._now())
            while not isinstance(outcome, Done | Failed):
                outcome = await self._looked_up(outcome)
        except Problem:
            raise
        except StoreError as error:
            raise Problem("journal-failed", f"It could not be read: {error}") from None
        except PoolFull:
            text = "Too many passwords are being checked; try again in a moment."
            raise Problem("busy", text, come_back=self._now() + BUSY_SECONDS) from None
        except Exception as error:
            self._fault(operation, error)
        await self._carry_out(operation, outcome)
        if isinstance(outcome, Failed):
            raise outcome.problem
        return outcome.result

    async def _looked_up(self, question: Verify | Hash | Read) -> Outcome:
        if isinstance(question, Verify):
            try:
                right = await self._pool.verify(question.verifier, question.password, Asker.SIGN_IN)
            except PoolFull:
                question.abandoned()
                raise
            return cast(Outcome, question.resume(right, self._now()))
        if isinstance(question, Hash):
            hashed = await self._pool.hash(question.password, Asker.SIGN_IN)
            return cast(Outcome, question.resume(hashed, self._now()))
        # What was told a moment ago may still be on its way to the disk.
        with contextlib.suppress(Problem):
            await self._driver.settled()
        limit = min(question.limit, MOST_READ)
        read = partial(self._archive.read, question.kind, question.after, limit, question.descending)
        if self._closed:
            raise Problem("unavailable", "gkmd is stopping.")
        facts = await asyncio.get_running_loop().run_in_executor(self._readers, read)
        return cast(Outcome, question.resume(facts, self._now()))

    async def _carry_out(self, operation: Operation, outcome: Done | Failed) -> None:
        left, disowned = outcome.left, outcome.disowned
        # What only looked need not wait for a disk that hangs. An operation that found its work done already
        # (``once``) waits all the same: what it found may not be on the disk yet.
        if operation.changes or left.changes or left.orders or disowned:
            try:
                await self._driver.command_durably(self._apply(left, disowned))
            except Problem:
                raise
            except Exception as error:
                # The facts have changed, and are written whatever became of the groups.
                with contextlib.suppress(Exception):
                    await self._driver.command_durably(self._apply(Left(left.changes, ()), ()))
                self._fault(operation, error)
        for event, fields in outcome.tells:
            self._events.tell(event, "info", fields)

    def _fault(self, operation: Operation, error: Exception) -> NoReturn:
        self._driver.fault("platform", error, operation.name)
        raise Problem("internal", "A fault in gkmd; its log says more.") from None


def decoded(operation: Operation, request: dict[str, Any]) -> Any:
    """The request as the operation's own type. Problem("invalid") with the field that does not do; values are
    not quoted, they may be secrets.
    """
    try:
        return msgspec.convert(request, operation.request, strict=True)
    except RecursionError:
        raise Problem("bad-request", "the request is nested too deeply") from None
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        field = path.removesuffix("`").removeprefix(".").replace("[", ".").replace("]", "")
        if "`" in text and text.startswith("Object "):  # a missing or unknown member is named in the text
            member = text[text.index("`") + 1 : text.rindex("`")]
            field = f"{field}.{member}" if field else member
        raise Problem("invalid", f"{field or 'request'}: {text}", (FieldProblem(field, text),)) from None
