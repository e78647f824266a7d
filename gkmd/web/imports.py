"""Lists under way to the platform: passwords are hashed here, chunk by chunk, and the list is committed as a
whole at the end. What is not done when the portal stops is as if it had not begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from gkmd.api.names_csv import ParsedNames, parse_names
from gkmd.api.problem import Problem
from gkmd.api.results import Import, Nothing
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import check_verifier, hash_password
from gkmd.web.client import Caller, Daemon, ask

_AT_ONCE: Final = 4
_AT_ONCE_EACH: Final = 2  # of one account, so that nobody takes all places
_REMEMBERED: Final = 100
_NAMES: Final = 100  # of one request; with the longest names and verifiers it stays below CHUNK_OCTETS
CHUNK_OCTETS: Final = 48_000
_VERIFIER: Final = "$argon2"


@dataclass(slots=True)
class ListImport:
    """``state``: reading, hashing, done, refused (``problem``, or ``lines`` that are wrong), stopped."""

    id: str
    reservation: str
    owner: str
    mode: str
    state: str = "reading"
    total: int = 0
    sent: int = 0
    problem: Problem | None = None
    lines: list[tuple[int, str]] = field(default_factory=list)
    more: int = 0
    task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.state in ("reading", "hashing")


class Imports:
    """The lists of this process. ``owner`` is the account whose session began one."""

    def __init__(self, daemon: Daemon, workers: int = 0) -> None:
        self._daemon = daemon
        self._known: OrderedDict[str, ListImport] = OrderedDict()
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, "gkmd-hash")

    def begin(self, reservation: str, mode: str, file: BinaryIO, caller: Caller, owner: str) -> ListImport:
        """Take over ``file``; it is closed when it was read. Problem when too many are under way."""
        running = [one for one in self._known.values() if one.running]
        if any(one.reservation == reservation for one in running):
            raise Problem("conflict", "A list is being imported into this reservation already.")
        if len(running) >= _AT_ONCE or sum(one.owner == owner for one in running) >= _AT_ONCE_EACH:
            raise Problem("busy", "Other lists are being imported; try again in a few minutes.")
        made = ListImport(secrets.token_urlsafe(12), reservation, owner, mode)
        self._known[made.id] = made
        for key in [key for key, one in self._known.items() if not one.running]:
            if len(self._known) <= _REMEMBERED:
                break
            del self._known[key]
        made.task = asyncio.create_task(self._run(made, file, caller))
        return made

    def find(self, identifier: str, reservation: str, owner: str) -> ListImport:
        """Problem when there is none, or it is somebody else's."""
        found = self._known.get(identifier)
        if found is None or found.owner != owner or found.reservation != reservation:
            raise Problem("not-found", "This import is not known any more; look at the list itself.")
        return found

    def stop(self, one: ListImport) -> None:
        if one.task is not None and one.running:
            one.task.cancel()

    async def close(self) -> None:
        tasks = [one.task for one in self._known.values() if one.task is not None and one.running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, one: ListImport, file: BinaryIO, caller: Caller) -> None:
        try:
            parsed = await asyncio.get_running_loop().run_in_executor(self._pool, read_list, file)
            one.total = len(parsed.names)
            if parsed.problems:
                one.lines, one.more, one.state = parsed.problems, parsed.more_problems, "refused"
                await self._note(one, caller)
                return
            one.state = "hashing"
            await self._send(one, parsed.names, caller)
            one.state = "done"
        except Problem as problem:
            one.problem, one.state = problem, "refused"
        except asyncio.CancelledError:
            one.state = "stopped"
        except Exception as error:  # a fault must not leave the page waiting for ever
            one.problem = Problem("internal", f"The import failed: {type(error).__name__}.")
            one.state = "refused"
            raise

    async def _note(self, one: ListImport, caller: Caller) -> None:
        """A list that was refused here leaves a line in the audit log, too."""
        begun = await ask(self._daemon, "names-begin", {"id": one.reservation}, caller, Import)
        at = {"id": one.reservation, "import_id": begun.import_id}
        await ask(self._daemon, "names-abort", {**at, "broken": len(one.lines) + one.more}, caller, Nothing)

    async def _send(self, one: ListImport, names: list[tuple[str, str]], caller: Caller) -> None:
        begun = await ask(self._daemon, "names-begin", {"id": one.reservation}, caller, Import)
        at = {"id": one.reservation, "import_id": begun.import_id}
        loop = asyncio.get_running_loop()
        try:
            for start in range(0, len(names), _NAMES):
                part = names[start : start + _NAMES]
                jobs = [loop.run_in_executor(self._pool, _entry, name, word) for name, word in part]
                for chunk in _bounded(await asyncio.gather(*jobs)):
                    await ask(self._daemon, "names-add", {**at, "entries": chunk}, caller, Import)
                    one.sent += len(chunk)
            commit = {**at, "expected": len(names), "mode": one.mode}
            await ask(self._daemon, "names-commit", commit, caller, Import)
        except BaseException:
            with contextlib.suppress(Problem):
                await asyncio.shield(ask(self._daemon, "names-abort", at, caller, Nothing))
            raise


def read_list(file: BinaryIO) -> ParsedNames:
    """Names and passwords of a CSV file. What is wrong is in ``problems``; takes time."""
    with file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        try:
            parsed = parse_names(text)
        except UnicodeDecodeError:
            parsed = ParsedNames()
            parsed.problem(1, "the file is not UTF-8 text; save it as CSV UTF-8")
            return parsed
        finally:
            with contextlib.suppress(ValueError):
                text.detach()
    for number, (name, word) in enumerate(parsed.names, 1):
        if word.startswith(_VERIFIER):
            try:
                check_verifier(word)
            except ValueError as error:
                parsed.problem(number, f"{name[:60]}: {error} (entry {number})")
    return parsed


def _entry(name: str, word: str) -> dict[str, str]:
    if not word:
        return {"name": name}
    if word.startswith(_VERIFIER):
        return {"name": name, "verifier": word}
    return {"name": name, "verifier": hash_password(SecretBytes(word.encode()))}


def _bounded(entries: list[dict[str, str]]) -> Iterator[list[dict[str, Any]]]:
    """Parts whose JSON stays below CHUNK_OCTETS, so that each fits a line of the daemon's socket."""
    part: list[dict[str, Any]] = []
    size = 0
    for one in entries:
        octets = 40 + 2 * len(one["name"].encode()) + len(one.get("verifier", ""))
        if part and size + octets > CHUNK_OCTETS:
            yield part
            part, size = [], 0
        part.append(one)
        size += octets
    if part:
        yield part
