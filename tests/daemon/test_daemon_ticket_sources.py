"""Sources that fail: what a member has it keeps, and it is told once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from daemon_config import write
from daemon_rig import NotingEvents
from ticket_texts import ticket_id, ticket_text

from gkmd.daemon import member_config
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.portal_client import PortalError
from gkmd.daemon.portal_tickets import PortalTickets, Round
from gkmd.daemon.process import Process
from gkmd.daemon.ticket_desk import TicketDesk
from gkmd.daemon.ticket_file import LocalChoices, Ticket, read_ticket
from gkmd.daemon.ticket_sources import TicketSources

CONFIG = """\
[tickets]
folder = "tickets"
[portal]
url = "http://127.0.0.1:1"
token_file = "token"
"""


def ticket(number: int) -> Ticket:
    return read_ticket(ticket_text(number), Path("portal"), LocalChoices())


class Moods:
    """A portal whose answers are given out one after the other."""

    def __init__(self, *answers: Round | Exception) -> None:
        self.answers = list(answers)

    def look(self, now: float) -> Round:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Rig:
    """Sources of a member, and what its desk is told to hold."""

    def __init__(self, folder: Path, *answers: Round | Exception) -> None:
        write(folder, "token", "a token\n")
        (folder / "tickets").mkdir()
        self.notes: list[str] = []
        clock = SteadyClock()
        self.clock, self.events = clock, NotingEvents(self.notes, clock)
        self.seen: list[tuple[set[str], set[str]]] = []
        self.moods = Moods(*answers)
        config = member_config.load(write(folder, "member.toml", CONFIG))
        self.sources = TicketSources(
            config,
            cast(TicketDesk, self),
            cast(PortalTickets, self.moods),
            cast(Process, self),
        )

    async def settle(
        self, files: dict[str, Ticket], portal: dict[str, Ticket], at_once: frozenset[str], *rest: Any
    ) -> None:
        self.seen.append((set(files), set(portal)))

    async def turn(self) -> tuple[set[str], set[str]]:
        """One round at the portal, and what is held after it."""
        self.sources.look_now()
        await self.sources._turn()
        assert self.sources._round is not None
        await self.sources._round
        await self.sources._turn()
        return self.seen[-1]

    def told(self, *names: str) -> list[str]:
        return [note.removeprefix("tell ") for note in self.notes if note.removeprefix("tell ") in names]


def test_a_portal_that_comes_and_goes(tmp_path: Path) -> None:
    both = Round({one.id: one for one in (ticket(1), ticket(2))}, {"t-x": "no ticket"})
    down = PortalError("GET /tickets: Connection refused")
    rig = Rig(tmp_path, down, both, down, down, ZeroDivisionError(), both, Round({}, {}))

    async def run() -> None:
        two = {ticket_id(1), ticket_id(2)}
        assert await rig.turn() == (set(), set())
        assert await rig.turn() == (set(), two)
        for _ in range(3):
            assert await rig.turn() == (set(), two)
        state = rig.sources.portal_state()
        assert state is not None
        assert state["tickets"] == 2
        assert "ZeroDivisionError" in state["error"]
        assert await rig.turn() == (set(), two)
        assert await rig.turn() == (set(), set())

    asyncio.run(run())
    names = ("portal-not-reached", "portal-reached", "ticket-not-used")
    assert rig.told(*names) == [
        "portal-not-reached",
        "portal-reached",
        "ticket-not-used",
        "portal-not-reached",
        "portal-reached",
    ]


def test_files_and_the_portal_side_by_side(tmp_path: Path) -> None:
    rig = Rig(tmp_path, *[Round({ticket_id(1): ticket(1)}, {})] * 2)

    async def run() -> None:
        write(tmp_path / "tickets", "a.toml", ticket_text(2))
        write(tmp_path / "tickets", "b.toml", "no = 'ticket'")
        assert await rig.turn() == ({ticket_id(2)}, {ticket_id(1)})
        (tmp_path / "tickets" / "a.toml").unlink()
        assert await rig.turn() == (set(), {ticket_id(1)})

    asyncio.run(run())
    assert rig.told("ticket-not-used") == ["ticket-not-used"]


def test_a_round_is_not_begun_while_one_is_under_way(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Round({}, {}))

    async def run() -> None:
        await rig.sources._turn()
        assert 0.8 * 60 - 5 <= rig.sources._round_at - rig.clock.now() <= 1.2 * 60
        for _ in range(3):
            rig.sources.look_now()
            await rig.sources._turn()
        assert rig.sources._round is not None
        await rig.sources._round
        assert rig.moods.answers == []

    asyncio.run(run())
