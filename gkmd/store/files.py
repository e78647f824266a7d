"""The journal's files: ours alone, and held by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from gkmd.core.errors import StoreError
from gkmd.store.failures import store_error


def prepare(path: Path) -> None:
    """Make the file if need be, 0600, and check that nobody else can read or replace it. Raises
    StoreError.
    """
    try:
        folder = path.parent.stat()
        others = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others and not folder.st_mode & stat.S_ISVTX:
            raise StoreError(
                f"the folder {path.parent} of the journal is writable by others: `chmod go-w {path.parent}`"
            )
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
