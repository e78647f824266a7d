"""A fault of our own while a member is admitted: the group has changed by then, and the journal learns of
it.
"""

from __future__ import annotations

from typing import Any

import pytest
from endpoint_rig import World, join

from gkmd.core.effect import Tell
from gkmd.ike import registrar


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str, calls: int = 1) -> None:
    """The function that the registrar knows by this name fails at the first ``calls`` calls."""
    real, left = getattr(registrar, name), calls

    def failing(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ZeroDivisionError("a fault of ours")
        return real(*arguments)

    monkeypatch.setattr(registrar, name, failing)


def faults_of(world: World) -> list[Tell]:
    return [tell for tell in world.tells if tell.event == "internal-fault"]


def check_journal(world: World) -> None:
    """It holds what the server has in mind."""
    held, sas = world.book.groups["news"], world.directory.sas("news")
    assert held.data_sas == sas.data_sas
    assert held.rekey_sas == sas.rekey_sas
    assert list(world.book.members.values()) == list(world.directory.members("news"))
    assert len(world.book.ike_sas) == world.server.ike_sas


@pytest.mark.parametrize(
    ("name", "calls"),
    [("render_registration", 1), ("send_orders", 1), ("send_orders", 2), ("_octets_of", 1)],
)
@pytest.mark.parametrize("killed", [False, True])
def test_a_fault_after_the_join_is_journalled(
    name: str, calls: int, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(members=1)
    world.run(2)
    receiver = world.directory.members("news")[0].identity
    before = world.book.groups["news"]
    fail_once(monkeypatch, name, calls)
    sender = world.add(7, [join(sends=True)]).identity
    for _ in range(100):
        world.run(0.01)
        if faults_of(world):
            break
    faults = faults_of(world)
    assert len(faults) == calls
    assert faults[0].fields["error"] == "ZeroDivisionError: a fault of ours"
    assert faults[0].fields["verb"] == "answer"
    assert str(faults[0].fields["at"]).startswith("test_ike_faults.py:")
    # The sender has no keys and is no member; what it was allotted is used up, in the journal, too.
    assert [member.identity for member in world.directory.members("news")] == [receiver]
    assert not world.registered("news")[1:]
    assert world.book.groups["news"].next_sender_id != before.next_sender_id
    assert "member-joined" not in [
        tell.event for tell in world.tells if tell.fields.get("peer") == str(sender)
    ]
    assert world.server.ike_sas == 2
    check_journal(world)
    if killed:
        world.boot()
    world.run(300)  # the member tries again, and nothing is amiss
    assert len(world.directory.members("news")) == 2
    assert len(world.registered("news")) == 2
    check_journal(world)
