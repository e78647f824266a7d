"""The order law of the server: durable before spoken."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from daemon_rig import (
    PATH,
    NotingEvents,
    NotingUdp,
    ScriptedJournal,
    ScriptedMachine,
    persist,
    send,
    settle,
    tell,
    until,
)

from gkmd.core.effect import Ask, Effect, Persist, SendMulticast
from gkmd.core.errors import LocalError, StoreError
from gkmd.core.identity import Identity
from gkmd.daemon import driver as driver_module
from gkmd.daemon import server_driver
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.server_driver import ServerDriver
from gkmd.group.model import Verdict

IDENTITY = Identity.parse("fqdn:rx1.example")
ASK = Ask(7, IDENTITY, Identity.parse("keyid:news"), ipaddress.ip_address("10.0.0.1"), False, 0)


class Rig:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.machine = ScriptedMachine(self.notes)
        self.journal = ScriptedJournal(self.notes)
        clock = SteadyClock()
        self.driver = ServerDriver(
            self.machine,
            clock,
            NotingUdp(self.notes).as_udp(),
            NotingEvents(self.notes, clock),
            self.journal,
            lambda ask, now: Verdict(None, receives=True, detail="welcome"),
        )

    def hear(self, *batch: list[Effect]) -> None:
        """One turn of a socket: a datagram for each list of effects."""
        for effects in batch:
            data = f"{id(effects)}".encode()
            self.machine.script[data] = effects
            self.driver.receive(data, PATH)
        self.driver.drained()

    async def settled(self) -> list[str]:
        await settle()
        notes = self.notes.copy()
        self.notes.clear()
        return notes


Test = Callable[[Rig], Coroutine[Any, Any, None]]


def with_rig(test: Test) -> Callable[[], None]:
    async def run() -> None:
        await test(Rig())

    def wrapper() -> None:
        asyncio.run(run())

    wrapper.__name__ = test.__name__
    return wrapper


@with_rig
async def test_what_needs_no_disk_goes_out_at_once(rig: Rig) -> None:
    rig.hear([send("a"), tell("heard")])
    assert rig.notes == ["send a", "tell heard"]


@with_rig
async def test_nothing_is_sent_before_the_commit(rig: Rig) -> None:
    rig.journal.hold = True
    rig.hear([persist(1), send("a"), tell("joined")])
    assert await rig.settled() == ["submit [1]"]
    rig.journal.release()
    assert await rig.settled() == ["committed", "done Persist ok", "send a", "tell joined"]


@with_rig
async def test_the_persists_of_one_turn_are_one_commit(rig: Rig) -> None:
    rig.hear([persist(1, 2), send("a")], [send("b")], [persist(3), send("c")])
    assert await rig.settled() == [
        "submit [1, 2, 3]",
        "done Persist ok",
        "send a",
        "send b",
        "done Persist ok",
        "send c",
    ]
    assert rig.driver.commits == 1


@with_rig
async def test_what_comes_during_a_commit_waits_for_the_next(rig: Rig) -> None:
    rig.journal.hold = True
    rig.hear([persist(1), send("a")])
    rig.hear([persist(2), send("b")])
    # Rests on no write of its own, but perhaps on the one that is under way.
    rig.hear([send("c")])
    rig.hear([persist(3), send("d")])
    assert await rig.settled() == ["submit [1]"]
    rig.journal.release()
    assert await rig.settled() == ["committed", "done Persist ok", "send a", "submit [2, 3]"]
    rig.journal.release()
    sent = [note for note in await rig.settled() if note.startswith("send")]
    assert sent == ["send b", "send c", "send d"]


@with_rig
async def test_a_failed_commit_withholds_everything_that_rests_on_it(rig: Rig) -> None:
    rig.journal.hold = True
    rig.journal.error = StoreError("journal: the disk is full")
    multicast = SendMulticast(b"rekey", ipaddress.ip_address("239.1.1.1"), 848, None, "", 1)
    rig.hear([persist(1), send("a"), tell("joined")], [tell("dropped"), send("b")])
    rig.hear([persist(2), multicast], [send("c")])
    rig.journal.release()
    notes = await rig.settled()
    assert notes[:3] == ["submit [1]", "failed", "tell journal-failed"]
    assert notes.count("done Persist failed") == 2
    assert not [note for note in notes if note.startswith(("send", "multicast", "submit [2"))]
    assert "tell joined" not in notes
    assert "tell dropped" in notes
    assert rig.driver.store_error == "journal: the disk is full"


@pytest.mark.parametrize("failures", [1, 3])
def test_the_disk_recovers(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_driver, "PAUSE_SECONDS", 0.01)

    async def run() -> None:
        rig = Rig()
        rig.journal.error = StoreError("full")
        lost: list[Effect] = []

        def on_done(effect: Effect, error: Exception | None) -> list[Effect]:
            # As the machine does it: what was lost is part of the next write.
            if error is not None and isinstance(effect, Persist):
                lost.append(effect)
            return []

        rig.machine.on_done = on_done
        for number in range(failures):
            rig.hear([persist(number), send("never")])
            await until(lambda number=number: len(lost) > number)  # type: ignore[misc]
        rig.journal.error = None
        rig.hear([persist(8, 9), send("now")])
        await until(lambda: rig.notes[-1] == "send now")
        assert "send never" not in rig.notes
        assert len(lost) == failures
        assert rig.notes[-2:] == ["done Persist ok", "send now"]
        assert rig.notes.count("tell journal-failed") == 1
        assert rig.notes.count("tell journal-recovered") == 1
        assert rig.driver.store_error == ""

    asyncio.run(run())


def test_a_failing_disk_is_not_hammered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_driver, "PAUSE_SECONDS", 3600.0)

    async def run() -> None:
        rig = Rig()
        rig.journal.error = StoreError("full")
        rig.machine.on_done = lambda effect, error: [persist(9)] if error else []
        rig.hear([persist(1)])
        await until(lambda: "tell journal-failed" in rig.notes)
        await asyncio.sleep(0.05)
        assert rig.notes.count("submit [9]") == 0

    asyncio.run(run())


def test_a_disk_that_hangs_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_driver, "MOST_WAITING", 4)

    async def run() -> None:
        rig = Rig()
        rig.journal.hold = True
        rig.hear([persist(1), send("a")])
        rig.hear([persist(2), send("b")], [send("c")], [persist(3), send("d")], [send("e")])
        rig.machine.script["rekey"] = [persist(4), send("f")]  # type: ignore[index]
        rig.driver.command("rekey")  # what does not come from the network goes on
        await rig.settled()
        received: list[bytes] = []
        rig.machine.receive = lambda data, path, now: received.append(data)  # type: ignore[method-assign,assignment,return-value]
        for _ in range(20):
            rig.driver.receive(b"more", PATH)
        assert received == []  # the machine has not changed for what nobody will write or send
        notes = await rig.settled()
        assert notes == ["tell journal-slow", *["tell datagram-dropped"] * 20]
        assert rig.driver.events.drops["journal-slow"] == 20
        rig.journal.release()
        assert await rig.settled() == ["committed", "done Persist ok", "send a", "submit [2, 3, 4]"]
        rig.driver.receive(b"more", PATH)
        assert received == [b"more"]
        rig.journal.release()
        sent = [note for note in await rig.settled() if note.startswith("send")]
        assert sent == ["send b", "send c", "send d", "send e", "send f"]

    asyncio.run(run())


@with_rig
async def test_asks_are_answered_at_once(rig: Rig) -> None:
    rig.machine.answers = [persist(1), send("keys")]
    rig.hear([tell("asked"), ASK, tell("after")])
    assert await rig.settled() == [
        "answer 7 welcome",
        "submit [1]",
        "tell asked",
        "done Persist ok",
        "send keys",
        "tell after",
    ]


@with_rig
async def test_a_fault_in_an_answer_takes_nothing_else_with_it(rig: Rig) -> None:
    def answer(ask: Ask, verdict: Verdict, now: float) -> list[Effect]:
        raise ZeroDivisionError

    rig.machine.answer = answer  # type: ignore[method-assign]
    rig.hear([persist(1), send("before"), ASK, send("after")], [send("next")])
    notes = await rig.settled()
    assert notes[:3] == ["tell internal-fault", "tell internal-fault-detail", "submit [1]"]
    assert notes[3:] == ["done Persist ok", "send before", "send after", "send next"]


@with_rig
async def test_effects_of_done_are_carried_out(rig: Rig) -> None:
    more = iter([[send("more")]])
    rig.machine.on_done = lambda effect, error: list(next(more, []))
    rig.hear([persist(1), send("a")])
    assert await rig.settled() == ["submit [1]", "done Persist ok", "send a", "send more"]


@with_rig
async def test_a_fault_in_a_machine_ends_one_datagram_only(rig: Rig) -> None:
    rig.machine.script[b"bad"] = ZeroDivisionError("oops")  # type: ignore[assignment]
    rig.driver.receive(b"bad", PATH)
    rig.hear([send("a")])
    assert rig.notes == ["tell internal-fault", "tell internal-fault-detail", "send a"]


@with_rig
async def test_commands_raise_what_the_machine_raises(rig: Rig) -> None:
    with pytest.raises(LocalError, match="no such group"):
        rig.driver.command(LocalError("no such group"))
    rig.machine.script["rekey"] = [send("a")]  # type: ignore[index]
    rig.driver.command("rekey")
    assert rig.notes == ["send a"]


def test_one_timer_is_armed_for_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "TROUBLE_SECONDS", 0.05)

    async def run() -> None:
        rig = Rig()
        now = rig.driver.clock.now()
        rig.machine.due = now + 60
        rig.hear([])
        rig.machine.due = now + 0.01
        rig.machine.ticks = [[persist(1), send("tick")]]
        rig.hear([])
        await until(lambda: "send tick" in rig.notes)
        assert rig.notes == ["tick", "submit [1]", "done Persist ok", "send tick"]
        rig.machine.due = now - 5  # passed: at once
        rig.hear([])
        await settle()
        assert rig.notes[-1] == "tick"
        rig.driver.stop_timer()
        rig.machine.due = now
        rig.hear([])
        await settle()
        assert rig.notes.count("tick") == 2

    asyncio.run(run())


def test_a_deadline_that_stays_in_the_past_does_not_spin() -> None:
    async def run() -> None:
        rig = Rig()
        rig.machine.deadline = lambda: 0.0  # type: ignore[method-assign]
        began = asyncio.get_running_loop().time()
        rig.hear([])
        await until(lambda: rig.notes.count("tick") >= 5)
        ticks = rig.notes.count("tick")
        assert asyncio.get_running_loop().time() - began >= (ticks - 1) * driver_module.IDLE_SECONDS * 0.99
        rig.driver.stop_timer()

    asyncio.run(run())


def test_after_a_sleep_of_the_host_the_timer_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "LONGEST_SECONDS", 0.02)

    async def run() -> None:
        rig = Rig()
        slept = 0.0
        rig.driver.clock = SteadyClock(steady=lambda: asyncio.get_running_loop().time() + slept)
        rig.machine.due = rig.driver.clock.now() + 3600
        rig.hear([])
        await asyncio.sleep(0.05)
        assert rig.notes == []
        slept = 7200.0
        await until(lambda: rig.notes)
        assert rig.notes == ["tick"]

    asyncio.run(run())


def test_a_failing_tick_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "TROUBLE_SECONDS", 0.05)

    async def run() -> None:
        rig = Rig()

        def tick(now: float) -> list[Effect]:
            raise ZeroDivisionError

        rig.machine.tick = tick  # type: ignore[method-assign]
        rig.machine.due = 0.0
        began = asyncio.get_running_loop().time()
        rig.hear([])
        await until(lambda: rig.notes.count("tell internal-fault") >= 3)
        faults = rig.notes.count("tell internal-fault")
        assert asyncio.get_running_loop().time() - began >= (faults - 1) * 0.05 * 0.99
        rig.driver.stop_timer()

    asyncio.run(run())


@with_rig
async def test_idle_waits_for_the_journal(rig: Rig) -> None:
    rig.journal.hold = True
    rig.hear([persist(1), send("a")])
    assert not await rig.driver.idle(0.02)
    asyncio.get_running_loop().call_later(0.02, rig.journal.release)
    assert await rig.driver.idle(60)
    assert rig.notes[-1] == "send a"


def test_every_order_of_commits_and_datagrams_keeps_the_law() -> None:
    """Each list is [Persist n, Send n]: no n is sent before the commit that holds it was acknowledged."""

    async def run(plan: tuple[str, ...]) -> None:
        rig = Rig()
        rig.journal.hold = True
        committed: set[int] = set()
        numbers = itertools.count(1)
        for step in plan:
            if step == "hear":
                number = next(numbers)
                rig.hear([persist(number), send(str(number))])
            else:
                for note in rig.notes:
                    if note.startswith("submit"):
                        committed |= {int(one) for one in note[8:-1].split(",")}
                rig.journal.release()
            await settle()
            sent = {int(note.split()[1]) for note in rig.notes if note.startswith("send")}
            assert sent <= committed

    for plan in itertools.product(("hear", "release"), repeat=6):
        asyncio.run(run(plan))
