"""A list of names from a file to the platform: parsed and hashed here, committed there as a whole."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from gkmd.api.names_csv import ParsedNames, parse_names
from gkmd.cli.desk import Desk
from gkmd.core.errors import GkmdError, LocalError
from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import hash_password

CHUNK: Final = 200
_HASHED: Final = "$argon2id$"


def import_names(desk: Desk, reservation: str, file: Path, *, append: bool) -> int:
    """How many names are on the list then. LocalError names each broken line; then nothing is imported."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            parsed = parse_names(lines)
    except OSError as error:
        raise LocalError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        parsed = ParsedNames()
        parsed.problem(1, f"the file is not UTF-8: {error}")
    if parsed.problems:
        told = [f"{file}:{line}: {text}" for line, text in parsed.problems]
        told += [f"and {parsed.more_problems} more"] if parsed.more_problems else []
        broken = len(parsed.problems) + parsed.more_problems
        with contextlib.suppress(LocalError):  # it is for the audit log; the lines are broken all the same
            begun = desk.call("names-begin", id=reservation)["import_id"]
            desk.call("names-abort", id=reservation, import_id=begun, broken=broken)
        raise LocalError("nothing was imported:\n  " + "\n  ".join(told))
    begun = desk.call("names-begin", id=reservation)["import_id"]
    try:
        _send(desk, reservation, begun, parsed.names)
        mode = "append" if append else "replace"
        result = desk.call(
            "names-commit", id=reservation, import_id=begun, mode=mode, expected=len(parsed.names)
        )
    except BaseException:
        with contextlib.suppress(GkmdError):  # the reason that is told is the first one
            desk.call("names-abort", id=reservation, import_id=begun)
        raise
    count: int = result["count"]
    return count


def _send(desk: Desk, reservation: str, begun: str, names: list[tuple[str, str]]) -> None:
    progress = _Progress(len(names))
    for chunk in hashed_in_chunks(names, progress.advance):
        entries = [{"name": name, "verifier": verifier} for name, verifier in chunk]
        desk.call("names-add", id=reservation, import_id=begun, entries=entries)
    progress.end()


def hashed_in_chunks(
    names: list[tuple[str, str]], advanced: Callable[[int], None]
) -> Iterator[list[tuple[str, str]]]:
    """``(name, verifier)`` in chunks, in order; all cores hash. ``advanced`` gets how many are done."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            verifiers = list(pool.map(_verifier, (password for _, password in chunk)))
            yield [(name, verifier) for (name, _), verifier in zip(chunk, verifiers, strict=True)]
            advanced(start + len(chunk))


def _verifier(password: str) -> str:
    if not password or password.startswith(_HASHED):
        return password
    return hash_password(SecretBytes(password.encode()), system_rng)


class _Progress:
    """A line that counts, on a terminal only."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = sys.stderr.isatty()

    def advance(self, done: int) -> None:
        if self._shown:
            sys.stderr.write(f"\r{done} of {self._total} names")
            sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\n")
