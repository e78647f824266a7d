"""A folder whose ticket files a member takes up as they appear, and leaves when they go away."""

from __future__ import annotations

import os
import stat
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
        """Tickets by their id, and what is wrong with files, by name. A folder that is not there is empty.

        What cannot be read now is what it was: a ticket goes when its file goes.
        """
        complaints: dict[str, str] = {}
        signatures = self._signatures(complaints)
        if signatures is not None:
            self._read = {name: one for name, one in self._read.items() if name in signatures}
            for name, signature in signatures.items():
                known = self._read.get(name)
                if known is None or known[0] != signature:
                    ticket, complaint = self._load(name)
                    before = None if known is None else known[1]
                    self._read[name] = (signature, ticket or before, complaint)
        tickets: dict[str, Ticket] = {}
        for name in sorted(self._read):
            _, ticket, complaint = self._read[name]
            if complaint:
                complaints[name] = complaint
            if ticket is None:
                continue
            if ticket.id in tickets:
                complaints[name] = f"{self._folder / name}: the ticket {ticket.id} is in another file, too"
            else:
                tickets[ticket.id] = ticket
        return tickets, complaints

    def _signatures(self, complaints: dict[str, str]) -> dict[str, Signature] | None:
        found: dict[str, Signature] = {}
        try:
            if os.stat(self._folder).st_mode & stat.S_IWOTH:
                # Whoever can put tickets here closes addresses of this host.
                complaints[""] = f"{self._folder}: others can write to it: `chmod o-w {self._folder}`"
                return None
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.name.endswith(_SUFFIX):
                        continue
                    if len(found) >= MOST_FILES:
                        complaints[""] = f"{self._folder}: more than {MOST_FILES} files, others are not read"
                        break
                    try:
                        now = entry.stat()
                    except FileNotFoundError:
                        continue
                    except OSError as error:  # one such as a link to itself: the others are read
                        complaints[entry.name] = f"{self._folder / entry.name}: {error.strerror}"
                        continue
                    if not stat.S_ISREG(now.st_mode):
                        complaints[entry.name] = f"{self._folder / entry.name} is no regular file"
                        continue
                    times = (now.st_mtime_ns, now.st_ctime_ns)
                    found[entry.name] = (now.st_dev, now.st_ino, now.st_size, *times)
        except FileNotFoundError:
            return {}
        except OSError as error:
            complaints[""] = f"{self._folder}: {error.strerror}"
            return None
        return found

    def _load(self, name: str) -> tuple[Ticket | None, str]:
        try:
            return load_ticket(self._folder / name, self._local), ""
        except GkmdError as error:
            return None, str(error)
