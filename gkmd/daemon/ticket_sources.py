"""Where a member's tickets come from, looked at in turns: the command line, a folder, the portal."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from gkmd.core.errors import LocalError
from gkmd.daemon.member_config import MemberConfig
from gkmd.daemon.portal_tickets import PortalTickets, in_thread
from gkmd.daemon.process import Process
from gkmd.daemon.ticket_desk import TicketDesk
from gkmd.daemon.ticket_file import Ticket
from gkmd.daemon.ticket_folder import TicketFolder

LOOK_SECONDS: Final = 2.0
_JITTER: Final = 0.2  # of the time between rounds at the portal, either way


class TicketSources:
    """``run`` is the member's task. What a source cannot say now, it is taken to say what it said before."""

    def __init__(
        self, config: MemberConfig, desk: TicketDesk, portal: PortalTickets | None, process: Process
    ) -> None:
        self._config = config
        self._desk = desk
        self._portal = portal
        self._process = process
        folder = config.tickets.folder
        self._folder = None if folder is None else TicketFolder(folder, config.tickets.local)
        self._given = {ticket.id: ticket for ticket in config.given}
        self._from_portal: dict[str, Ticket] = {}
        self._round: asyncio.Task[None] | None = None
        self._round_at = 0.0
        self._portal_error = ""
        self._looked_at: float | None = None
        self._told: dict[str, dict[str, str]] = {}
        self._wake = asyncio.Event()

    def look_now(self) -> None:
        """Do not wait for the next turn."""
        self._round_at = 0.0
        self._wake.set()

    def portal_state(self) -> dict[str, Any] | None:
        """For the control socket; None without a portal."""
        if self._config.portal is None:
            return None
        return {
            "url": self._config.portal.login.url,
            "tickets": len(self._from_portal),
            "last_look": self._looked_at,
            "error": self._portal_error,
        }

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self._turn()
                self._wake.clear()
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            if self._round is not None:
                self._round.cancel()

    async def _turn(self) -> None:
        files = dict(self._given)
        if self._folder is not None:
            found, complaints = self._folder.look()
            files = found | files
            self._complain("folder", complaints)
        now = self._process.clock.now()
        if self._portal is not None and self._round_at <= now and (self._round is None or self._round.done()):
            self._round_at = now + self._pause()
            self._round = asyncio.get_running_loop().create_task(self._look_at_portal(self._portal))
        settings = self._config
        at_once = frozenset(self._given if settings.at_once else ())
        await self._desk.settle(files, self._from_portal, at_once, settings.tickets.wanted, now)

    async def _look_at_portal(self, portal: PortalTickets) -> None:
        now = self._process.clock.now()
        try:
            found = await in_thread(lambda: portal.look(now))
        except LocalError as error:
            if not self._portal_error:
                held = len(self._from_portal)
                self._process.events.tell(
                    "portal-not-reached", "warning", {"error": str(error), "tickets_kept": held}
                )
            self._portal_error = str(error)
            return
        except Exception as error:
            self._portal_error = f"{type(error).__name__}: {error}"
            self._process.events.tell(
                "internal-fault", "error", {"verb": "portal", "error": self._portal_error}
            )
            return
        if self._portal_error:
            self._portal_error = ""
            self._process.events.tell("portal-reached", "info", {"tickets": len(found.tickets)})
        self._looked_at = self._process.clock.now()
        self._from_portal = found.tickets
        self._complain("portal", found.complaints)
        self._wake.set()

    def _pause(self) -> float:
        """Members must not come to the portal all at once."""
        assert self._config.portal is not None
        share = int.from_bytes(os.urandom(2), "big") / 65_536
        return self._config.portal.every * (1 - _JITTER + 2 * _JITTER * share)

    def _complain(self, source: str, complaints: dict[str, str]) -> None:
        told = self._told.get(source, {})
        for name, text in complaints.items():
            if told.get(name) != text:
                self._process.events.tell(
                    "ticket-not-used", "warning", {"ticket": name, "from": source, "reason": text}
                )
        self._told[source] = complaints
