"""A folder whose ticket files a member takes up as they appear, and leaves when they go away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeAlias

from gkmd.core.errors import GkmdError
from gkmd.daemon.ticket_file import LocalChoices, Ticket, load_ticket

MOST_FILES: Final = 256
_SUFFIX: Final = ".toml"

Signature: TypeAlias = tuple[int, int, int, int, int]


class TicketFolder:
    """``look`` says what is there now. A file is read again when it has changed."""

    def __init__(self, folder: Path, local: LocalChoices) -> None:
        self._folder = folder
        self._local = local
        self._read: dict[str, tuple[Signature, Ticket | None, str]] = {}

    def look(self) -> tuple[dict[str, Ticket], dict[str, str]]:
        """Tickets by their id, and what is wrong with files, by name. A folder that is not there is empty."""
        complaints: dict[str, str] = {}
        signatures = self._signatures(complaints)
        self._read = {name: one for name, one in self._read.items() if name in signatures}
        for name, signature in signatures.items():
            known = self._read.get(name)
            if known is None or known[0] != signature:
                self._read[name] = (signature, *self._load(name))
        tickets: dict[str, Ticket] = {}
        for name in sorted(self._read):
            _, ticket, complaint = self._read[name]
            if ticket is None:
                complaints[name] = complaint
            elif ticket.id in tickets:
                complaints[name] = f"{self._folder / name}: the ticket {ticket.id} is in another file, too"
            else:
                tickets[ticket.id] = ticket
        return tickets, complaints

    def _signatures(self, complaints: dict[str, str]) -> dict[str, Signature]:
        found: dict[str, Signature] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.name.endswith(_SUFFIX):
                        continue
                    if len(found) >= MOST_FILES:
                        complaints[""] = f"{self._folder}: more than {MOST_FILES} files, others are not read"
                        break
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue
                    found[entry.name] = (
                        stat.st_dev,
                        stat.st_ino,
                        stat.st_size,
                        stat.st_mtime_ns,
                        stat.st_ctime_ns,
                    )
        except FileNotFoundError:
            return {}
        except OSError as error:
            complaints[""] = f"{self._folder}: {error.strerror}"
        return found

    def _load(self, name: str) -> tuple[Ticket | None, str]:
        try:
            return load_ticket(self._folder / name, self._local), ""
        except GkmdError as error:
            return None, str(error)
