"""A set of new files: all of them appear, or none; nothing is ever overwritten."""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from gkmd.core.errors import LocalError

SERVICE_GROUP: Final = "gkmd"


@dataclass(slots=True)
class NewFiles:
    """Files to make in ``folder``: add them, then ``write``."""

    folder: Path
    group: str = SERVICE_GROUP  # of accounts; what it may read belongs to it
    _wanted: list[tuple[str, bytes, int]] = field(default_factory=list)

    def add(self, name: str, content: bytes | str, mode: int) -> None:
        self._wanted.append((name, content.encode() if isinstance(content, str) else content, mode))

    def write(self) -> list[Path]:
        """Write everything; LocalError when one exists already or cannot be made, and then none is left.

        With the account group on this host, and as root, what the group may read belongs to it.
        """
        for name, _, _ in self._wanted:
            if (self.folder / name).exists():
                raise LocalError(f"{self.folder / name} exists and is not overwritten: choose another folder")
        made: list[Path] = []
        created = not self.folder.exists()
        try:
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name, content, mode in self._wanted:
                self._write_one(self.folder / name, content, mode, made)
        except OSError as error:
            for path in made:
                path.unlink(missing_ok=True)
            if created:
                with contextlib.suppress(OSError):
                    self.folder.rmdir()
            raise LocalError(f"cannot write {error.filename or self.folder}: {error.strerror}") from None
        return made

    def _write_one(self, path: Path, content: bytes, mode: int, made: list[Path]) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        made.append(path)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            gid = service_group(self.group) if mode & 0o040 else None
            if gid is not None:
                os.fchown(file.fileno(), -1, gid)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def secret_file(path: Path) -> Iterator[TextIO]:
    """A new file for a secret, for its owner alone to read from the first instant on; gone again when what is
    done with it fails. LocalError when it exists: it is not overwritten.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise LocalError(f"{path} exists: name another file") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def service_group(name: str) -> int | None:
    """The group that a daemon runs as, when there is one and we may give files to it."""
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def append_line(path: Path, line: str) -> None:
    """Add a line to a file that exists. LocalError when that is not possible."""
    try:
        with path.open("r+b") as file:
            content = file.read()
            file.write((b"" if not content or content.endswith(b"\n") else b"\n") + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LocalError(f"cannot add to {path}: {error.strerror}") from None
