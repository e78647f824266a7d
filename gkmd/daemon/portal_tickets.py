"""The tickets that a member has at its portal, asked for every now and then, and got by itself if wished."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from gkmd.api import results
from gkmd.core.errors import GkmdError, LocalError
from gkmd.daemon.portal_client import PortalError, PortalLogin, printable
from gkmd.daemon.ticket_file import LocalChoices, Ticket, read_ticket

T = TypeVar("T")

MOST_TICKETS: Final = 128  # taken from the portal
_MOST_OFFERED: Final = 64  # with so many no more are got by itself: others choose what costs nothing
_MOST_GOT: Final = 16  # asked for in one round
_ANEW_ROUNDS: Final = 30  # before a file is asked for again although nothing is new
_REFUSED_ROUNDS: Final = 60  # before a transmission that gave no ticket is asked again
THREAD_SECONDS: Final = 120.0  # a round that takes longer is given up


class Portal(Protocol):
    """What is asked of ``PortalClient``."""

    def begin(self, seconds: float) -> None: ...
    def tickets(self, *, live: bool = True) -> tuple[results.TicketView, ...]: ...
    def ticket(self, name: str) -> results.TicketView: ...
    def transmissions(self) -> Iterator[results.Transmission]: ...
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
        self._whole: dict[str, tuple[results.TicketView, str]] = {}
        self._lock = threading.Lock()  # a round that was given up may still be under way

    def look(self, now: float) -> Round:
        """The live tickets. PortalError when the portal cannot be asked, or is being asked still."""
        if not self._lock.acquire(blocking=False):
            raise PortalError("the portal has not answered the last look yet")
        try:
            return self._look(now)
        finally:
            self._lock.release()

    def _look(self, now: float) -> Round:
        self._rounds += 1
        self._portal.begin(THREAD_SECONDS)
        complaints: dict[str, str] = {}
        views = self._portal.tickets(live=not self._settings.get_free)  # what was revoked is not got again
        live = [one for one in views if one.revoked is None and one.transmission.ends > now]
        if self._settings.get_free:
            # After what is there already, and apart from it: what anybody offers is in nobody's way.
            live += self._get_free(views, len(live), now, complaints)
        live.sort(key=self._order)
        found: dict[str, Ticket] = {}
        whole: dict[str, tuple[results.TicketView, str]] = {}
        for view in live[:MOST_TICKETS]:
            name = printable(view.id)
            text = self._text(view)
            if not text:
                complaints[name] = "the portal gives no file for it; its operator has not set platform.server"
                continue
            whole[view.id] = (view, text)
            try:
                ticket = read_ticket(text, Path(f"portal:{name}"), self._local)
            except GkmdError as error:
                complaints[name] = str(error)
                continue
            found[ticket.id] = ticket
        self._whole = whole
        if len(live) > MOST_TICKETS:
            complaints[""] = f"{len(live)} tickets; the {MOST_TICKETS} that begin first are taken"
        return Round(found, complaints)

    def _text(self, view: results.TicketView) -> str:
        """The ticket's file, asked for when there is something new, and every now and then."""
        if view.configuration:
            return view.configuration
        before, text = self._whole.get(view.id, (None, ""))
        if before == view and self._rounds % _ANEW_ROUNDS:
            return text
        return self._portal.ticket(view.id).configuration

    def _order(self, view: results.TicketView) -> tuple[bool, float]:
        """By their start; with ``get_free`` those first that somebody has got or that cost something."""
        offered = self._settings.get_free and view.transmission.price is None and view.admitted is None
        return offered, view.transmission.starts

    def _get_free(
        self, views: Sequence[results.TicketView], live: int, now: float, complaints: dict[str, str]
    ) -> list[results.TicketView]:
        """New tickets. What somebody has revoked is not got again."""
        had = {one.transmission.id for one in views if not one.sends}
        got: list[results.TicketView] = []
        asked = 0
        try:
            for one in self._portal.transmissions():
                wanted = not one.ticket and one.price is None and one.ends > now and one.id not in had
                if not wanted or self._refused.get(one.id, 0) > self._rounds:
                    continue
                if asked >= _MOST_GOT or live + len(got) >= _MOST_OFFERED:
                    break
                asked += 1
                try:
                    got.append(self._portal.get_ticket(one.id))
                except PortalError as error:
                    if not error.status:
                        raise
                    if len(self._refused) >= 10_000:
                        self._refused.clear()
                    self._refused[one.id] = self._rounds + _REFUSED_ROUNDS
                    complaints[printable(one.id)] = str(error)
        except PortalError as error:
            complaints["catalogue"] = str(error)
        return got


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
