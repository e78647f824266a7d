"""The tickets of a running member: taken up when they come, given back when they go or are over.

What a ticket is for is closed in the kernel before anything else happens and stays closed after its end,
until its file goes away or the member stops, so that nothing passes in clear because somebody is late.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from gkmd.core.errors import DataplaneError, LocalError
from gkmd.daemon.events import Events
from gkmd.daemon.member_crew import CrewCommand, Dismiss, Endpoint, Hire, MemberCrew, check_apart
from gkmd.daemon.ticket_file import Ticket
from gkmd.daemon.wishes import Wish, Wishes
from gkmd.ike.closing import closing_policies
from gkmd.kernel.dataplane import Dataplane

_SOON_SECONDS: Final = 900.0
MOST_CLOSED: Final = 1024  # transmissions that are over and still closed


@dataclass(slots=True)
class Held:
    """A ticket that was taken up. ``from_file``: its file is the user's, and says when to open again."""

    ticket: Ticket
    from_file: bool
    waits: bool
    hired: bool = False
    leaving: bool = False
    gone: bool = False  # its file went away


class TicketDesk:
    """``settle`` makes what is held follow what is wanted. One call at a time."""

    def __init__(
        self,
        crew: MemberCrew,
        command: Callable[[CrewCommand], None],
        idle: Callable[[], Awaitable[object]],
        dataplane: Dataplane,
        events: Events,
        wishes: Wishes,
        endpoint: Callable[[Ticket], Endpoint | None],
    ) -> None:
        self._crew = crew
        self._command = command
        self._idle = idle
        self._dataplane = dataplane
        self._events = events
        self._wishes = wishes
        self._endpoint = endpoint
        self._held: dict[str, Held] = {}
        self._over: dict[str, Held] = {}  # closed, the oldest first
        self._told: dict[str, str] = {}
        self._wanted: Mapping[str, Ticket] = {}

    @property
    def held(self) -> Mapping[str, Held]:
        return self._held

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(held.ticket.group for held in self._held.values())

    def of_group(self, group: str) -> Held | None:
        return next((held for held in self._held.values() if held.ticket.group == group), None)

    async def settle(
        self,
        files: Mapping[str, Ticket],
        portal: Mapping[str, Ticket],
        at_once: frozenset[str],
        waits: bool,
        now: float,
    ) -> None:
        """``files`` and ``portal`` are the tickets by id; those ``at_once`` do not wait to be wanted."""
        wanted = {**portal, **files}
        for name in files.keys() & portal.keys():
            if _same(files[name], portal[name]):
                wanted[name] = portal[name]  # its times are as they are now, a file's as they were
        self._wanted = wanted
        await self._end()
        for name, held in list(self._held.items()):
            ticket = wanted.get(name)
            if ticket is None or not _same(ticket, held.ticket):
                held.gone = held.gone or (ticket is None and held.from_file)
                await self._give_back(name, held)
            elif ticket != held.ticket:
                self._prolong(held, ticket)
        for name in [n for n, held in self._over.items() if held.from_file and n not in wanted]:
            # Whoever takes the file away wants no protection any more, unless by another ticket.
            if self.of_group(self._over[name].ticket.group) is not None:
                del self._over[name]
            elif not self._goes_on(self._over[name]):
                await self._release(self._over.pop(name), closed=False)
        told = self._told
        self._told = {name: text for name, text in told.items() if name in wanted}
        for name, ticket in wanted.items():
            if name in self._held:
                continue
            if ticket.ends <= now:
                if name not in self._over:
                    text = (
                        f"the transmission {ticket.group!r} is over; if it was extended, get its file again"
                    )
                    self._complain(name, text)
                continue
            await self._make_room(ticket, now)
            held = Held(ticket, name in files, waits and name not in at_once)
            await self._take_up(name, held)
        for name, held in self._held.items():
            if not held.hired and not held.leaving:
                self._hire(name, held)

    async def close(self) -> None:
        """After the crew has stopped: nothing is held. The data plane removes its policies by itself."""
        self._held.clear()
        self._over.clear()

    # --- the inside -------------------------------------------------------------------------------

    async def _make_room(self, ticket: Ticket, now: float) -> None:
        """What was extended and is paused gives way to what begins soon for the same traffic."""
        if ticket.starts > now + _SOON_SECONDS:
            return
        for name, held in list(self._held.items()):
            if held.ticket.ends > now or held.ticket.join.flow != ticket.join.flow:
                continue
            post = self._crew.post(name)
            if post is None or not any(group.registered for group in post.endpoint.groups.values()):
                await self._give_back(name, held)

    async def _take_up(self, name: str, held: Held) -> None:
        join = held.ticket.join
        try:
            if any(one.ticket.group == join.name for one in self._held.values()):
                raise LocalError(f"the transmission {join.name!r} is taken already, by another ticket")
            for one in self._held.values():
                check_apart(join, one.ticket.join)
            self._crew.check([join])
            for policy in closing_policies(join):
                await self._dataplane.install_policy(policy)
        except LocalError as error:
            self._complain(name, str(error))
            return
        except DataplaneError as error:
            await self._release(held, closed=True)
            self._over[name] = held
            self._complain(name, str(error))
            return
        self._told.pop(name, None)
        self._over.pop(name, None)
        self._held[name] = held
        if held.waits:
            self._wishes.add(join)
        self._events.tell(
            "ticket-taken-up", "info", {"ticket": name, "group": join.name, "title": held.ticket.title}
        )

    def _hire(self, name: str, held: Held) -> None:
        endpoint = self._endpoint(held.ticket)
        if endpoint is None:
            wanted = [str(address) for address in held.ticket.servers]
            self._complain(name, f"no route to its key server {', '.join(wanted)}; see `ip route`")
            return
        group = held.ticket.group
        waiting = (
            {group} if held.waits and self._wishes.wish(group) in (Wish.WAITING, Wish.DECLINED) else set()
        )
        try:
            self._command(Hire(name, endpoint, frozenset(waiting), held.ticket.ends))
        except LocalError as error:
            self._complain(name, str(error))
            return
        held.hired = True
        self._told.pop(name, None)

    def _prolong(self, held: Held, ticket: Ticket) -> None:
        """The times have changed, and nothing else."""
        held.ticket = ticket
        post = self._crew.post(ticket.id)
        if post is not None:
            post.until = ticket.ends

    async def _give_back(self, name: str, held: Held) -> None:
        self._wishes.remove(held.ticket.group)
        if held.leaving:
            return
        held.leaving = True
        if held.hired and self._crew.post(name) is not None:
            self._command(Dismiss(name))
        elif not held.hired:
            await self._finish(name, held)

    async def _end(self) -> None:
        """What the crew has done with: by our Dismiss, or because its time was over."""
        gone, self._crew.gone[:] = list(self._crew.gone), []
        if gone:
            await self._idle()  # what it did to the kernel comes first
        for name, _ in gone:
            held = self._held.get(name)
            if held is not None:
                await self._finish(name, held)

    async def _finish(self, name: str, held: Held) -> None:
        del self._held[name]
        self._wishes.remove(held.ticket.group)
        closed = not held.gone or self._goes_on(held)
        await self._release(held, closed=closed)
        if closed:
            self._over[name] = held
            while len(self._over) > MOST_CLOSED:
                oldest = self._over.pop(next(iter(self._over)))
                if self.of_group(oldest.ticket.group) is None:
                    await self._release(oldest, closed=False)
        self._events.tell(
            "ticket-given-back",
            "info",
            {"ticket": name, "group": held.ticket.group, "traffic": "closed" if closed else "open"},
        )

    def _goes_on(self, held: Held) -> bool:
        """Another ticket takes its place: between the two nothing passes in clear."""
        ours = held.ticket
        others = [one for one in self._wanted.values() if one.id != ours.id]
        return any(one.group == ours.group or one.join.flow == ours.join.flow for one in others)

    async def _release(self, held: Held, *, closed: bool) -> None:
        try:
            await self._dataplane.release(held.ticket.group, closed=closed)
        except DataplaneError as error:
            self._events.tell("kernel-refused", "warning", {"effect": "release", "error": str(error)})

    def _complain(self, name: str, text: str) -> None:
        if self._told.get(name) != text:
            self._told[name] = text
            self._events.tell("ticket-not-used", "warning", {"ticket": name, "reason": text})


def _same(one: Ticket, other: Ticket) -> bool:
    """But for what a change of the reservation may change."""
    return replace(one, title="", starts=0.0, ends=math.inf) == replace(
        other, title="", starts=0.0, ends=math.inf
    )
