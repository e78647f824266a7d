"""What SQLite's errors mean to an operator: one line each, with what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from gkmd.core.errors import StoreError

_ADVICE: Final = {
    "SQLITE_FULL": "the disk is full: free some space; registrations go on then",
    "SQLITE_READONLY": "it or its file system is read-only: make it writable",
    "SQLITE_CORRUPT": "it is damaged: move it away and let all members register again",
    "SQLITE_NOTADB": "it is no database or is damaged: move it away, or name another file",
    "SQLITE_CANTOPEN": "it cannot be opened: check that the folder exists and belongs to gkmd's user",
    "SQLITE_IOERR": "reading or writing failed: check the disk, its quota and the limit of file sizes",
    "SQLITE_BUSY": "another program holds it: end that program",
    "SQLITE_PERM": "access is denied: it has to belong to gkmd's user",
    "SQLITE_AUTH": "access is denied: it has to belong to gkmd's user",
}


def store_error(path: Path, error: BaseException) -> StoreError:
    """The StoreError for what SQLAlchemy, SQLite or the system raised."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "") or ""
        primary = "_".join(name.split("_")[:2])
        advice = _ADVICE.get(primary, str(cause))
        return StoreError(f"journal {path}: {advice} ({name or type(cause).__name__})")
    if isinstance(cause, OSError):
        return StoreError(f"journal {path}: {cause.strerror or cause}")
    return StoreError(f"journal {path}: {type(cause).__name__}: {cause}")
