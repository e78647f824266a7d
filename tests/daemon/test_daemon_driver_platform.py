"""The driver's part for the platform: passwords that are compared elsewhere, commands known to be durable."""

from __future__ import annotations

import asyncio
import ipaddress
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
)

from gkmd.api.problem import Problem
from gkmd.core.effect import AskPassword, Effect
from gkmd.core.errors import CryptoError, LocalError, StoreError
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.password_pool import PasswordPool
from gkmd.daemon.server_driver import Passwords, ServerDriver
from gkmd.group.doorkeeper import PasswordCheck, PasswordVerdict
from gkmd.group.model import Refusal, Verdict

NAME = Identity.parse("email:rx@example")


def ask(number: int, password: str = "right") -> AskPassword:
    group = Identity.parse("keyid:opera")
    return AskPassword(number, NAME, group, ipaddress.ip_address("10.0.0.1"), SecretBytes(password.encode()))


class Machine(ScriptedMachine):
    """Notes the verdicts on passwords."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.verdicts: list[PasswordVerdict] = []

    def answer(self, ask: Any, verdict: Any, now: float) -> list[Effect]:
        if isinstance(verdict, PasswordVerdict):
            found = "right" if verdict.refusal is None else verdict.refusal.value
            self.notes.append(f"password {ask.number} {found}")
            self.verdicts.append(verdict)
            return [persist(ask.number), send(f"reply {ask.number}")]
        return super().answer(ask, verdict, now)


class Rig:
    def __init__(self, queue: int = 4) -> None:
        self.notes: list[str] = []
        self.machine = Machine(self.notes)
        self.journal = ScriptedJournal(self.notes)
        self.check = PasswordCheck("right", known=True)
        self.pool = PasswordPool(1, queue, self.compare)
        clock = SteadyClock()
        self.driver = ServerDriver(
            self.machine,
            clock,
            NotingUdp(self.notes).as_udp(),
            NotingEvents(self.notes, clock),
            self.journal,
            lambda ask, now: Verdict(None, receives=True),
            passwords=Passwords(lambda ask, now: self.check, self.pool),
        )

    @staticmethod
    def compare(verifier: str, password: SecretBytes) -> None:
        if password.reveal() != verifier.encode():
            raise CryptoError("another")

    def hear(self, *effects: Effect) -> None:
        data = f"{id(effects)}".encode()
        self.machine.script[data] = [*effects]
        self.driver.receive(data, PATH)
        self.driver.drained()

    async def until(self, note: str) -> None:
        async with asyncio.timeout(60):
            while note not in self.notes:
                await asyncio.sleep(0.001)


def test_a_password_is_answered_later_as_a_list_of_its_own() -> None:
    async def run() -> None:
        rig = Rig()
        rig.hear(ask(1), send("at once"))
        assert rig.notes == ["send at once"]
        rig.hear(ask(2, "wrong"))
        await rig.until("send reply 2")
        assert [note for note in rig.notes if note.startswith("password")] == [
            "password 1 right",
            "password 2 wrong-password",
        ]
        assert rig.notes.index("submit [1]") < rig.notes.index("send reply 1")
        rig.pool.close()

    asyncio.run(run())


def test_a_name_that_does_not_exist_is_compared_and_never_right() -> None:
    async def run() -> None:
        rig = Rig()
        rig.check = PasswordCheck("right", known=False)
        rig.hear(ask(1))
        await rig.until("send reply 1")
        assert "password 1 wrong-password" in rig.notes
        rig.pool.close()

    asyncio.run(run())


def test_the_verdict_says_whose_password_it_is() -> None:
    async def run() -> None:
        rig = Rig()
        rig.check = PasswordCheck("right", known=True, grounds="account:a-rx", identity=NAME)
        rig.hear(ask(1))
        await rig.until("send reply 1")
        assert rig.machine.verdicts == [PasswordVerdict(None, grounds="account:a-rx", identity=NAME)]
        rig.pool.close()

    asyncio.run(run())


def test_a_refusal_is_told_without_comparing() -> None:
    async def run() -> None:
        rig = Rig()
        rig.check = PasswordCheck("right", known=True, refusal=Refusal.LOCKED_OUT)
        rig.hear(ask(1))
        assert rig.notes[0] == "password 1 locked-out"
        assert rig.pool.waiting == 0
        await settle()
        assert rig.notes[-1] == "send reply 1"
        rig.pool.close()

    asyncio.run(run())


def test_when_too_many_wait_the_answer_is_busy() -> None:
    async def run() -> None:
        rig = Rig(queue=2)
        for number in range(1, 9):
            rig.hear(ask(number))
        busy = [note for note in rig.notes if note.endswith("busy")]
        assert busy == [f"password {number} busy" for number in range(4, 9)]
        await rig.until("send reply 3")
        rig.pool.close()

    asyncio.run(run())


def test_a_fault_of_the_doorkeeper_ends_one_datagram_only() -> None:
    async def run() -> None:
        rig = Rig()

        def fault(ask: AskPassword, now: float) -> PasswordCheck:
            raise ZeroDivisionError

        rig.driver._passwords = Passwords(fault, rig.pool)
        rig.hear(persist(1), ask(1), send("next"))
        assert rig.notes[:3] == ["tell internal-fault", "tell internal-fault-detail", "submit [1]"]
        await rig.until("send next")
        rig.pool.close()

    asyncio.run(run())


def test_an_answer_after_the_end_is_not_heard() -> None:
    async def run() -> None:
        rig = Rig()
        rig.hear(ask(1))
        rig.driver.stop_timer()
        await asyncio.sleep(0.05)
        assert rig.notes == []
        rig.pool.close()

    asyncio.run(run())


def test_without_a_platform_nobody_asks_for_passwords() -> None:
    async def run() -> None:
        rig = Rig()
        rig.driver._passwords = None
        with pytest.raises(LocalError, match="nobody knows any"):
            rig.hear(ask(1))
        rig.pool.close()

    asyncio.run(run())


# Commands


def test_a_command_is_durable_when_its_commit_is() -> None:
    async def run() -> None:
        rig = Rig()
        rig.journal.hold = True
        rig.machine.script["apply"] = [persist(1), send("rekey")]  # type: ignore[index]
        known = rig.driver.command_durably("apply")
        await settle()
        assert not known.done()
        assert rig.notes == ["submit [1]"]
        rig.journal.release()
        await known
        assert rig.notes == ["submit [1]", "committed", "done Persist ok", "send rekey"]
        rig.pool.close()

    asyncio.run(run())


def test_one_that_writes_nothing_waits_for_what_is_under_way() -> None:
    """What it found may be in that write: the same request a second time."""

    async def run() -> None:
        rig = Rig()
        rig.journal.hold = True
        rig.machine.script["nothing"] = []  # type: ignore[index]
        rig.hear(persist(1), send("a"))
        known = rig.driver.command_durably("nothing")
        await settle()
        assert not known.done()
        rig.journal.release()
        await known
        assert "send a" in rig.notes
        await rig.driver.command_durably("nothing")
        rig.pool.close()

    asyncio.run(run())


def test_a_failed_commit_fails_all_that_rest_on_it() -> None:
    async def run() -> None:
        rig = Rig()
        rig.journal.hold = True
        rig.journal.error = StoreError("journal: the disk is full")
        rig.machine.script["apply"] = [persist(1), send("rekey")]  # type: ignore[index]
        rig.machine.script["nothing"] = []  # type: ignore[index]
        waiting = [rig.driver.command_durably(one) for one in ("apply", "apply", "nothing")]
        await settle()
        rig.journal.release()
        for known in waiting:
            with pytest.raises(Problem, match="the disk is full") as refused:
                await known
            assert refused.value.code == "journal-failed"
        assert "send rekey" not in rig.notes
        rig.pool.close()

    asyncio.run(run())


def test_what_the_machine_refuses_is_raised_at_once() -> None:
    async def run() -> None:
        rig = Rig()
        with pytest.raises(LocalError, match="no such group"):
            rig.driver.command_durably(LocalError("no such group"))
        rig.pool.close()

    asyncio.run(run())
