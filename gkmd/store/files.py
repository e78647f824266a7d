"""The journal's files: ours alone, and held by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Final

from gkmd.core.errors import StoreError
from gkmd.store.failures import store_error

_COMPANIONS: Final = ("-wal", "-shm", "-journal", ".lock")  # SQLite's, and ours


def prepare(path: Path) -> None:
    """Make the file if need be, 0600, and check that nobody else can read or replace it, or put anything
    beside it. Raises StoreError.
    """
    try:
        _check_folder(path.parent)
        # Closed again before SQLite opens it: POSIX locks end with any descriptor of the file that is closed.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise store_error(path, error) from None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"journal {path} is no regular file")
    if found.st_uid != os.geteuid():
        raise StoreError(f"journal {path} belongs to user {found.st_uid}, not to gkmd's user {os.geteuid()}")
    if found.st_mode & 0o077:
        raise StoreError(
            f"journal {path} has mode {stat.S_IMODE(found.st_mode):04o}, expected 0600: `chmod 0600 {path}`"
        )
    for end in _COMPANIONS:
        _check_companion(path.with_name(path.name + end))


def _check_folder(folder: Path) -> None:
    """Whoever can write there can put a write-ahead log beside the journal, and SQLite takes it up."""
    found, user = folder.stat(), os.geteuid()
    if found.st_uid not in (0, user):
        raise StoreError(
            f"the folder {folder} of the journal belongs to user {found.st_uid}, not to gkmd's user {user} or"
            f" root: `chown {user} {folder}`, or run gkmd as that user"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        # Also when it is sticky: that keeps others from removing files, not from making them.
        advice = "configure a folder of its own" if found.st_mode & stat.S_ISVTX else f"`chmod go-w {folder}`"
        raise StoreError(f"the folder {folder} of the journal is writable by others: {advice}")


def _check_companion(path: Path) -> None:
    """It may have been put there before the folder was closed."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise store_error(path, error) from None
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise StoreError(
            f"{path} is no regular file of gkmd's user {os.geteuid()}: look at it, and move it away"
        )


class Lock:
    """The right to use a journal, held until ``release`` or the end of the process. Raises StoreError."""

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise store_error(lock, error) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise StoreError(
                f"journal {path} is in use by process {holder or 'unknown'}: one server only may use it"
            ) from None
        except OSError as error:
            os.close(self._fd)
            raise store_error(lock, error) from None

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
