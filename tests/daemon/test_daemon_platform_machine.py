"""The platform beside the key server's machine: one timer, and a fault of the one is not the other's."""

from __future__ import annotations

from typing import Any, cast

from daemon_rig import ScriptedMachine, change, persist, send

from gkmd.core.effect import Effect, Tell
from gkmd.daemon.platform_machine import PlatformMachine
from gkmd.group.model import Left, RekeyOrder
from gkmd.ike.gcks_settings import Apply, Shutdown


class Gcks(ScriptedMachine):
    """Notes what is applied, and journals it."""

    def command(self, command: Any, now: float) -> list[Effect]:
        if isinstance(command, Apply):
            if command.left.orders:
                raise ZeroDivisionError
            self.notes.append("apply")
            return [persist(7)]
        self.notes.append(type(command).__name__)
        return []


class Ticking:
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.left = Left((change(7),), ())
        self.due: float | None = None
        self.fault = False

    def start(self, now: float) -> Left:
        self.notes.append("platform start")
        return self.left

    def tick(self, now: float) -> Left:
        self.notes.append("platform tick")
        if self.fault:
            raise ZeroDivisionError
        self.due = None
        return self.left

    def stop(self, now: float) -> Left:
        self.notes.append("platform stop")
        return self.left

    def deadline(self) -> float | None:
        return self.due


class Rig:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.gcks, self.platform = Gcks(self.notes), Ticking(self.notes)
        self.machine = PlatformMachine(self.gcks, self.platform)


def test_both_start_and_the_groups_of_reservations_are_journalled() -> None:
    rig = Rig()
    rig.gcks.script[b"start"] = [send("a")]
    assert rig.machine.start(1.0) == [send("a"), persist(7)]
    assert rig.notes == ["platform start", "apply"]


def test_the_earlier_deadline_counts() -> None:
    rig = Rig()
    assert rig.machine.deadline() is None
    rig.platform.due = 5.0
    assert rig.machine.deadline() == 5.0
    rig.gcks.due = 3.0
    assert rig.machine.deadline() == 3.0
    rig.gcks.due = 9.0
    assert rig.machine.deadline() == 5.0


def test_the_platform_ticks_when_it_is_due() -> None:
    rig = Rig()
    rig.platform.due = 5.0
    assert rig.machine.tick(4.9) == []
    assert rig.machine.tick(5.0) == [persist(7)]
    assert rig.notes == ["tick", "tick", "platform tick", "apply"]
    rig.platform.due, rig.platform.left = 6.0, Left((), ())
    assert rig.machine.tick(6.0) == []
    assert rig.notes[4:] == ["tick", "platform tick"]


def test_a_fault_of_the_platform_does_not_take_rekeys_along_and_does_not_spin() -> None:
    rig = Rig()
    rig.platform.due, rig.platform.fault = 1.0, True
    rig.gcks.ticks = [[persist(1), send("rekey")]]
    effects = rig.machine.tick(10.0)
    assert effects[:2] == [persist(1), send("rekey")]
    assert next(one.event for one in effects[2:] if isinstance(one, Tell)) == "internal-fault"
    assert rig.machine.deadline() == 11.0
    assert rig.machine.tick(10.5) == []
    rig.platform.fault = False
    assert rig.machine.tick(11.0) == [persist(7)]


def test_when_a_group_cannot_follow_what_changed_is_written_all_the_same() -> None:
    rig = Rig()
    rig.platform.due, rig.platform.left = 1.0, Left((change(7),), (cast(RekeyOrder, "order"),))
    effects = rig.machine.tick(1.0)
    assert isinstance(effects[0], Tell)
    assert effects[0].event == "internal-fault"
    assert effects[-1] == persist(7)


def test_at_the_end_what_was_counted_is_written() -> None:
    rig = Rig()
    assert rig.machine.command(Shutdown(), 1.0) == [persist(7)]
    assert rig.notes == ["platform stop", "apply", "Shutdown"]
