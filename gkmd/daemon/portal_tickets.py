"""The tickets that a member has at its portal, asked for every now and then, and got by itself if wished."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from gkmd.api import results
from gkmd.core.errors import GkmdError, LocalError
from gkmd.daemon.portal_client import PortalError, PortalLogin, printable
from gkmd.daemon.ticket_file import LocalChoices, Ticket, read_ticket

T = TypeVar("T")

MOST_TICKETS: Final = 128  # taken from the portal
_MOST_GOT: Final = 16  # tickets that are got in one round
_REFUSED_ROUNDS: Final = 60  # before a transmission that gave no ticket is asked again
THREAD_SECONDS: Final = 120.0  # a round that takes longer is given up


class Portal(Protocol):
    """What is asked of ``PortalClient``."""

    def tickets(self) -> tuple[results.TicketView, ...]: ...
    def transmissions(self) -> tuple[results.Transmission, ...]: ...
    def get_ticket(self, transmission: str) -> results.TicketView: ...


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """``every``: seconds between rounds. ``get_free``: get tickets by itself where nothing is to be paid."""

    login: PortalLogin
    every: float = 60.0
    get_free: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has found: tickets by their id, and what was wrong with others."""

    tickets: dict[str, Ticket]
    complaints: dict[str, str]


class PortalTickets:
    """``look`` is one round. It blocks: call it in a thread."""

    def __init__(self, portal: Portal, settings: PortalSettings, local: LocalChoices) -> None:
        self._portal = portal
        self._settings = settings
        self._local = local
        self._refused: dict[str, int] = {}  # transmission -> round in which it may be asked again
        self._rounds = 0

    def look(self, now: float) -> Round:
        """The live tickets. PortalError when the portal cannot be asked."""
        self._rounds += 1
        complaints: dict[str, str] = {}
        if self._settings.get_free:
            self._get_free(now, complaints)
        found: dict[str, Ticket] = {}
        views = [one for one in self._portal.tickets() if one.revoked is None]
        live = sorted((one for one in views if one.transmission.ends > now), key=_begins)
        for view in live[:MOST_TICKETS]:
            name = printable(view.id)
            if not view.configuration:
                complaints[name] = "the portal gives no file for it; its operator has not set platform.server"
                continue
            try:
                ticket = read_ticket(view.configuration, Path(f"portal:{name}"), self._local)
            except GkmdError as error:
                complaints[name] = str(error)
                continue
            found[ticket.id] = ticket
        if len(live) > MOST_TICKETS:
            complaints[""] = f"{len(live)} tickets; the {MOST_TICKETS} that begin first are taken"
        return Round(found, complaints)

    def _get_free(self, now: float, complaints: dict[str, str]) -> None:
        got = 0
        for one in self._portal.transmissions():
            wanted = not one.ticket and one.price is None and one.ends > now
            if not wanted or self._refused.get(one.id, 0) > self._rounds:
                continue
            if got >= _MOST_GOT:
                return
            got += 1
            try:
                self._portal.get_ticket(one.id)
            except PortalError as error:
                if not error.status:
                    raise
                if len(self._refused) >= 10_000:
                    self._refused.clear()
                self._refused[one.id] = self._rounds + _REFUSED_ROUNDS
                complaints[printable(one.id)] = str(error)


def _begins(view: results.TicketView) -> float:
    return view.transmission.starts


async def in_thread(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, done in a thread that nobody waits for when the process ends.

    LocalError when it takes longer than ``THREAD_SECONDS``.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # T's own None is a result, too

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(finish, result, failure)
        except RuntimeError:  # the loop is closed: nobody wants to know any more
            return

    threading.Thread(target=run, name="portal", daemon=True).start()
    try:
        async with asyncio.timeout(THREAD_SECONDS):
            return await done
    except TimeoutError:
        raise LocalError(f"the portal has not answered within {THREAD_SECONDS:.0f} s") from None
