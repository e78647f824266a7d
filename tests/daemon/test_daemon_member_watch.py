"""Looking at the kernel's tables of memberships, however long it takes."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections import Counter
from typing import Any, cast

import pytest
from daemon_rig import NotingEvents
from test_daemon_wishes import ASM, join

from gkmd.core.address import IpAddress
from gkmd.daemon import member_watch
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.listening import Listening
from gkmd.daemon.member_watch import MemberWatch
from gkmd.daemon.process import Process
from gkmd.daemon.wishes import Wishes
from gkmd.ike.member_settings import Register
from gkmd.kernel.multicast_users import Joined


class Rig:
    """A watch whose kernel says ``seen``, when ``ready`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = SteadyClock()
        self.events = NotingEvents([], self.clock)
        self.held: list[tuple[IpAddress, IpAddress | None]] = []
        self.ready, self.looking = threading.Event(), threading.Event()
        self.seen = Joined(Counter({ASM: 1}))
        self.commands: list[Any] = []
        self.wishes = Wishes()
        self.wishes.add(join())
        monkeypatch.setattr(member_watch, "joined", self.joined)
        me = cast(Any, self)
        self.watch = MemberWatch(self.wishes, cast(Listening, me), self.commands.append, cast(Process, me))

    def joined(self, wanted: frozenset[IpAddress]) -> Joined:
        assert wanted == {ASM}
        self.looking.set()
        assert self.ready.wait(60)
        return self.seen

    async def look(self, meanwhile: Any = None) -> None:
        """One look; ``meanwhile`` is done by the loop while the kernel takes its time."""
        self.ready.clear()
        self.looking.clear()
        look = asyncio.get_running_loop().create_task(self.watch._look())
        while not self.looking.is_set():
            await asyncio.sleep(0.001)
        if meanwhile is not None:
            meanwhile()
        assert not look.done()
        self.ready.set()
        await look


def test_a_kernel_that_takes_its_time_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        rig = Rig(monkeypatch)
        await rig.look()
        assert rig.commands == [Register("news", patient=True)]

    asyncio.run(run())


def test_what_has_changed_meanwhile_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A membership of our own that came during the look could be one of the program's."""

    async def run() -> None:
        rig = Rig(monkeypatch)
        other = ipaddress.ip_address("239.9.9.9")
        await rig.look(meanwhile=lambda: rig.held.append((other, None)))
        assert rig.commands == []
        await rig.look()
        assert rig.commands == [Register("news", patient=True)]

    asyncio.run(run())


def test_a_table_of_which_a_part_is_seen_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        rig = Rig(monkeypatch)
        rig.seen = Joined(Counter({ASM: 1}), whole=False)
        await rig.look()
        await rig.look()
        assert rig.commands == [Register("news", patient=True)]
        assert [one["event"] for one in rig.events.recent()] == ["watch", "group-wanted"]

    asyncio.run(run())
