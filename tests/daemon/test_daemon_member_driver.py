"""The order law of the member: one effect after the other, and the kernel's word goes back."""

from __future__ import annotations

import asyncio
import ipaddress

from daemon_rig import NotingEvents, NotingUdp, ScriptedMachine, send, settle, tell, until

from gkmd.core.algorithms import AES_GCM_16_256
from gkmd.core.effect import (
    InstallPolicy,
    InstallSa,
    JoinMulticast,
    LeaveMulticast,
    Persist,
    RemovePolicy,
    RemoveSa,
    SwitchOutput,
)
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction, EspPolicy, EspSa, Mode
from gkmd.core.secret import SecretBytes
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.member_driver import MemberDriver
from gkmd.kernel.recording import RecordedKernel, RecordingDataplane

GROUP = ipaddress.ip_address("239.10.0.1")
SOURCE = ipaddress.ip_address("10.0.0.1")
POLICY = EspPolicy("news", SOURCE, GROUP, 17, 5004, Mode.TRANSPORT, Direction.OUT, 1)
SWITCHED = EspPolicy("news", SOURCE, GROUP, 17, 5004, Mode.TRANSPORT, Direction.OUT, 2)
SA = EspSa(
    group="news",
    spi=0x100,
    source=SOURCE,
    destination=GROUP,
    mode=Mode.TRANSPORT,
    direction=Direction.OUT,
    cipher=AES_GCM_16_256,
    integrity=None,
    key=SecretBytes(bytes(36)),
    reqid=1,
    replay_window=64,
    lifetime=60,
)
JOIN = JoinMulticast("news", GROUP, 848, "lo")
LEAVE = LeaveMulticast("news", GROUP, 848, "lo")


class NotingMemberships:
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.refuse = False

    def join(self, effect: JoinMulticast) -> None:
        if self.refuse:
            raise DataplaneError("membership: no such interface", 19)
        self.notes.append(f"join {effect.port}")

    def leave(self, effect: LeaveMulticast) -> None:
        self.notes.append(f"leave {effect.port}")

    def close(self) -> None:
        self.notes.append("closed")


class Slow(RecordingDataplane):
    """Takes its time, so that overtaking would show."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(RecordedKernel())
        self.notes = notes

    async def _put_policy(self, policy: EspPolicy, *, replace: bool) -> None:
        await asyncio.sleep(0.01)
        await super()._put_policy(policy, replace=replace)
        self.notes.append("policy")

    async def _put_sa(self, sa: EspSa) -> None:
        await asyncio.sleep(0.005)
        await super()._put_sa(sa)
        self.notes.append("sa")


class Rig:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.machine = ScriptedMachine(self.notes)
        self.memberships = NotingMemberships(self.notes)
        self.kernel = Slow(self.notes)
        self.seen: list[EspSa] = []
        clock = SteadyClock()
        self.driver = MemberDriver(
            self.machine,
            clock,
            NotingUdp(self.notes).as_udp(),
            NotingEvents(self.notes, clock),
            self.kernel,
            self.memberships,
            self.seen.append,
        )

    def do(self, *effects: object) -> None:
        self.machine.script[b"x"] = list(effects)  # type: ignore[arg-type]
        self.driver.command(b"x")


def test_the_kernel_is_awaited_in_order_before_anything_is_said() -> None:
    async def run() -> None:
        rig = Rig()
        rig.do(InstallPolicy(POLICY), InstallSa(SA), JOIN, send("a"), tell("installed"))
        rig.do(send("b"))
        assert await rig.driver.idle(60)
        assert rig.notes == [
            "policy",
            "done InstallPolicy ok",
            "sa",
            "done InstallSa ok",
            "join 848",
            "done JoinMulticast ok",
            "send a",
            "tell installed",
            "send b",
        ]
        assert rig.seen == [SA]
        rig.notes.clear()
        rig.do(SwitchOutput(SWITCHED), LEAVE, RemoveSa(SA), RemovePolicy(POLICY))
        assert await rig.driver.idle(60)
        assert rig.kernel.policies == rig.kernel.sas == ()
        assert [what for what, _ in rig.kernel.history] == [
            "install-policy",
            "install-sa",
            "switch-output",
            "remove-sa",
            "remove-policy",
        ]

    asyncio.run(run())


def test_a_refusal_goes_back_to_the_machine_and_the_rest_goes_on() -> None:
    async def run() -> None:
        rig = Rig()
        rig.memberships.refuse = True
        results: list[Exception | None] = []

        def on_done(effect: object, error: Exception | None) -> list[object]:
            results.append(error)
            return [send("told the server")] if error and len(results) == 1 else []

        rig.machine.on_done = on_done  # type: ignore[assignment]
        rig.do(InstallSa(SA), JOIN, send("a"))  # no policy: refused
        assert await rig.driver.idle(60)
        assert all(isinstance(error, DataplaneError) for error in results)
        assert rig.notes == [
            "tell kernel-refused",
            "done InstallSa failed",
            "tell kernel-refused",
            "done JoinMulticast failed",
            "send a",
            "send told the server",
        ]
        assert rig.kernel.sas == ()

    asyncio.run(run())


def test_an_effect_that_no_member_has_is_a_fault_and_not_the_end() -> None:
    async def run() -> None:
        rig = Rig()
        rig.do(Persist(()), send("a"))
        assert await rig.driver.idle(60)
        assert rig.notes == ["tell internal-fault", "tell internal-fault-detail", "send a"]

    asyncio.run(run())


def test_the_timer_is_armed_again_after_the_work() -> None:
    async def run() -> None:
        rig = Rig()
        rig.do(InstallPolicy(POLICY))
        rig.machine.due = rig.driver.clock.now() + 0.03
        assert await rig.driver.idle(60)
        await until(lambda: rig.notes[-1] == "tick")
        rig.driver.stop_timer()
        await settle()

    asyncio.run(run())
