"""Tickets that come and go: closed first, open last, one of each, and what is told about the others."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon_rig import NotingEvents, NotingUdp, settle
from ticket_texts import ENDS, STARTS, ticket_id, ticket_text

from gkmd.core.address import Path as NetPath
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction
from gkmd.core.rng import SeededRng
from gkmd.crypto.issuing import make_authority
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.member_crew import MemberCrew
from gkmd.daemon.member_driver import MemberDriver
from gkmd.daemon.ticket_desk import TicketDesk
from gkmd.daemon.ticket_file import LocalChoices, Ticket, read_ticket
from gkmd.daemon.wishes import Wish, Wishes
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_member import State
from gkmd.ike.member_settings import MemberSettings, Server
from gkmd.ike.proposal import IkePolicy
from gkmd.kernel.recording import RecordedKernel, RecordingDataplane


def ticket(number: int = 1, **how: Any) -> Ticket:
    return read_ticket(ticket_text(number, **how), Path("t.toml"), LocalChoices("lo"))


@functools.cache
def authority(name: str) -> str:
    return make_authority(name, STARTS, 10, SeededRng(name)).certificate_pem.decode()


def book(*tickets: Ticket) -> dict[str, Ticket]:
    return {one.id: one for one in tickets}


class QuietMemberships:
    def join(self, effect: object) -> None: ...
    def leave(self, effect: object) -> None: ...
    def close(self) -> None: ...


class Desk:
    """A desk over a real crew and driver, whose datagrams go nowhere."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        clock = SteadyClock(wall=lambda: STARTS - 4_000_000.0)  # on whatever day the test runs
        self.events = NotingEvents(self.notes, clock)
        self.kernel = RecordedKernel()
        self.dataplane = RecordingDataplane(self.kernel)
        self.crew = MemberCrew()
        self.driver = MemberDriver(
            self.crew,
            clock,
            NotingUdpOctets(self.notes).as_udp(),
            self.events,
            self.dataplane,
            QuietMemberships(),
        )
        self.wishes = Wishes()
        self.route = True
        self.desk = TicketDesk(
            self.crew,
            self.driver.command,
            lambda: self.driver.idle(1),
            self.dataplane,
            self.events,
            self.wishes,
            self.endpoint,
        )

    def endpoint(self, one: Ticket) -> MemberEndpoint | None:
        if not self.route:
            return None
        path = NetPath("127.0.0.1", 1848, "127.0.0.1", 848)
        return MemberEndpoint(
            one.credentials,
            IkePolicy(),
            [Server(one.server_identity, path)],
            [one.join],
            SeededRng(one.id),
            MemberSettings(stop_within=0.01),
        )

    async def see(
        self,
        files: Mapping[str, Ticket],
        portal: Mapping[str, Ticket] | None = None,
        *,
        at_once: bool = False,
        now: float = STARTS,
    ) -> None:
        """Twice, so that what ended in the first turn is done with in the second."""
        for _ in range(2):
            everything = frozenset(files) if at_once else frozenset[str]()
            await self.desk.settle(files, portal or {}, everything, True, now)
            await settle()
            await self.driver.idle(1)

    @property
    def closed(self) -> set[str]:
        return {str(key[2]) for key in self.kernel.policies}

    def reasons(self) -> list[str]:
        recent = self.events.recent()
        return [str(one["reason"]) for one in recent if one["event"] == "ticket-not-used"]


class NotingUdpOctets(NotingUdp):
    def send(self, datagram: bytes, path: NetPath) -> None:
        self.notes.append("send")


def test_a_ticket_is_closed_first_and_waits() -> None:
    async def run_() -> None:
        rig = Desk()
        await rig.see(book(ticket(1), ticket(2, role="sender")))
        assert rig.closed == {"239.192.0.1", "239.192.0.2"}
        assert [key[0] for key in rig.kernel.policies] == [Direction.IN, Direction.OUT]
        assert {name: group.state for name, group in rig.crew.groups.items()} == dict.fromkeys(
            ("concert-1", "concert-2"), State.LEFT
        )
        assert "send" not in rig.notes
        assert rig.wishes.wish("concert-1") is Wish.WAITING
        # The file goes away: the ticket is given back, and what it protected is open.
        await rig.see(book(ticket(2, role="sender")))
        assert rig.closed == {"239.192.0.2"}
        assert set(rig.desk.held) == {ticket_id(2)}
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_at_once_is_at_once() -> None:
    async def run_() -> None:
        rig = Desk()
        await rig.see(book(ticket(1)), at_once=True)
        assert "send" in rig.notes
        assert rig.wishes.wish("concert-1") is Wish.ALWAYS
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_without_a_route_it_is_closed_already_and_registers_by_what_was_seen_meanwhile() -> None:
    async def run_() -> None:
        rig = Desk()
        rig.route = False
        await rig.see(book(ticket(1)))
        assert rig.closed == {"239.192.0.1"}
        assert rig.crew.groups == {}
        assert len(rig.reasons()) == 1  # told once
        assert "no route to its key server 127.0.0.1" in rig.reasons()[0]
        rig.wishes.asked("concert-1")
        rig.route = True
        await rig.see(book(ticket(1)))
        assert "send" in rig.notes
        rig.route = False
        await rig.see(book(ticket(2)))
        await rig.see({})
        assert rig.closed == set()
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_the_end_of_a_transmission_leaves_it_closed_until_its_file_goes() -> None:
    async def run_() -> None:
        rig = Desk()
        now = rig.driver.clock.now()
        over = book(ticket(1, ends=int(now) + 1))
        await rig.see(over, now=now)
        assert set(rig.desk.held) == {ticket_id(1)}
        rig.driver._take(rig.crew.tick(now + 2))  # as the timer would
        await rig.see(over, now=now + 2)
        assert rig.desk.held == {}
        assert rig.crew.groups == {}
        assert rig.closed == {"239.192.0.1"}
        assert rig.reasons() == []
        # It was extended: taken up again, by the policies that are there.
        await rig.see(book(ticket(1, ends=int(now) + 100)), now=now + 3)
        assert set(rig.desk.held) == {ticket_id(1)}
        assert [verb for verb, _ in rig.dataplane.history] == ["install-policy", "install-policy"]
        rig.driver._take(rig.crew.tick(now + 200))
        await rig.see(over, now=now + 200)
        await rig.see({}, now=now + 201)
        assert rig.closed == set()
        await rig.see(book(ticket(3, ends=int(now) - 5)), now=now)
        assert rig.reasons() == [
            "the transmission 'concert-3' is over; if it was extended, get its file again"
        ]
        assert rig.closed == set()
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_a_ticket_that_the_portal_takes_back_stays_closed() -> None:
    async def run_() -> None:
        rig = Desk()
        await rig.see({}, book(ticket(1)))
        await rig.see({}, {})
        assert rig.desk.held == {}
        assert rig.closed == {"239.192.0.1"}
        await rig.dataplane.close()
        assert rig.closed == set()
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_other_times_change_nothing_but_the_end() -> None:
    async def run_() -> None:
        rig = Desk()
        await rig.see(book(ticket(1)))
        post = rig.crew.post(ticket_id(1))
        assert post is not None
        assert post.until == ENDS
        await rig.see(book(ticket(1, ends=ENDS + 600)))
        assert rig.crew.post(ticket_id(1)) is post
        assert post.until == ENDS + 600
        # Another authority for the server is believed by a new endpoint only.
        await rig.see(book(ticket(1, ca=authority("one"), ends=ENDS + 600)))
        trusting = rig.crew.post(ticket_id(1))
        assert trusting is not post
        await rig.see(book(ticket(1, ca=authority("one"), ends=ENDS + 600)))
        assert rig.crew.post(ticket_id(1)) is trusting
        # Another transmission under the same ticket is another ticket.
        await rig.see(book(ticket(1, address="239.192.0.77")))
        assert rig.crew.post(ticket_id(1)) is not post
        assert "239.192.0.77" in rig.closed
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_the_same_transmission_twice_is_refused_and_told_once() -> None:
    async def run_() -> None:
        rig = Desk()
        both = book(ticket(1), ticket(2, transmission="concert-1"), ticket(3, address="239.192.0.1"))
        await rig.see(both)
        await rig.see(both)
        assert set(rig.desk.held) == {ticket_id(1)}
        assert rig.reasons() == [
            "the transmission 'concert-1' is taken already, by another ticket",
            "'concert-3' and 'concert-1' are both for 239.192.0.1 protocol 17 port 5004: the kernel has one "
            "policy for this traffic; give up one of the two",
        ]
        # The first goes: the others have their turn.
        del both[ticket_id(1)]
        await rig.see(both)
        await rig.see(both)
        assert set(rig.desk.held) == {ticket_id(2), ticket_id(3)}
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_between_two_tickets_for_one_transmission_nothing_is_open() -> None:
    """The holder has revoked a ticket and puts the file of the next one in its place."""

    async def run_() -> None:
        rig = Desk()
        await rig.see(book(ticket(1)))
        opened: list[str] = []
        release = rig.dataplane.release

        async def noting(group: str, *, closed: bool) -> None:
            if not closed:
                opened.append(group)
            await release(group, closed=closed)

        rig.dataplane.release = noting  # type: ignore[method-assign]
        for instead in (
            ticket(2, transmission="concert-1", address="239.192.0.1"),
            ticket(3, address="239.192.0.1"),
        ):
            await rig.see(book(instead))
            await rig.see(book(instead))
            assert set(rig.desk.held) == {instead.id}
            assert opened == []
            assert rig.closed == {"239.192.0.1"}
        await rig.see({})
        assert rig.closed == set()
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_an_old_file_that_goes_takes_nothing_from_the_ticket_that_followed_it() -> None:
    async def run_() -> None:
        rig = Desk()
        now = rig.driver.clock.now()
        old = ticket(1, ends=int(now) + 1)
        await rig.see(book(old), now=now)
        rig.driver._take(rig.crew.tick(now + 2))
        await rig.see(book(old), now=now + 2)
        assert rig.desk.held == {}
        new = ticket(2, transmission="concert-1", address="239.192.0.1", ends=int(now) + 1000)
        await rig.see(book(old, new), now=now + 3)
        assert set(rig.desk.held) == {new.id}
        for _ in range(2):
            await rig.see(book(new), now=now + 4)
            assert rig.closed == {"239.192.0.1"}
        await rig.see({}, now=now + 5)
        assert rig.closed == set()
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_what_is_paused_gives_way_to_the_next_on_its_address() -> None:
    async def run_() -> None:
        rig = Desk()
        now = rig.driver.clock.now()
        first = ticket(1, ends=int(now) + 1)
        await rig.see(book(first), now=now)
        post = rig.crew.post(first.id)
        assert post is not None
        post.extended_by = now + 80_000  # it has received beyond the end that its file names
        rig.driver._take(rig.crew.tick(now + 2))
        tomorrow = ticket(2, address="239.192.0.1", ends=int(now) + 80_000)
        await rig.see(book(first, tomorrow), now=now + 2)
        assert set(rig.desk.held) == {first.id}
        soon = ticket(3, address="239.192.0.1", ends=int(now) + 500)
        await rig.see(book(first, soon), now=now + 3)
        assert set(rig.desk.held) == {soon.id}
        assert rig.closed == {"239.192.0.1"}
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_a_file_is_as_old_as_it_is_and_the_portal_knows_better() -> None:
    async def run_() -> None:
        rig = Desk()
        await rig.see(book(ticket(1)), book(ticket(1, ends=ENDS + 600)))
        post = rig.crew.post(ticket_id(1))
        assert post is not None
        assert post.until == ENDS + 600
        # Otherwise the file counts: it is the user's.
        await rig.see(book(ticket(1)), book(ticket(1, port=5006, ends=ENDS + 600)))
        assert rig.crew.post(ticket_id(1)) is post
        assert post.until == ENDS
        rig.driver.stop_timer()

    asyncio.run(run_())


def test_what_the_kernel_does_not_close_is_not_used() -> None:
    async def run_() -> None:
        rig = Desk()
        rig.kernel.refusal = DataplaneError("policy: not permitted", 1)
        await rig.see(book(ticket(1)))
        assert rig.crew.groups == {}
        assert rig.reasons() == ["policy: not permitted"]
        rig.kernel.refusal = None
        await rig.see(book(ticket(1)))
        assert set(rig.crew.groups) == {"concert-1"}
        rig.driver.stop_timer()

    asyncio.run(run_())
