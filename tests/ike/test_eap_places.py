"""While a password is looked at: what waits, how many may, and when a place is free again."""

from __future__ import annotations

import itertools

import pytest
from eap_rig import (
    ANN,
    AUTH_LIE,
    BOB,
    PASSWORD,
    SETTINGS,
    Ladder,
    doorkeeper,
    login,
    login_world,
    porter,
)
from endpoint_rig import (
    SERVER_ID,
    psk,
)

from gkmd.core.effect import Proof
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.password_logins import Busy, PasswordChecks

TICKET = Identity.parse("keyid:t-abcdefghijklmnopqrst")


def test_while_the_password_is_looked_at_nothing_else_happens() -> None:
    ladder = Ladder()
    world = ladder.world
    world.compares = False
    ladder.step(5)
    before = len(world.password_asks)
    for _ in range(4):
        world.deliver(ladder.past[-1])
    assert ladder.ask([AUTH_LIE], 2) == ladder.ask([AUTH_LIE], 3) == []
    assert len(world.password_asks) == before == 1
    world.compare(world.password_asks[0])
    while ladder.held:
        ladder.step()
    assert ladder.host.endpoint.groups["news"].registered


def test_a_verdict_that_comes_too_late_counts_as_a_try_and_opens_nothing() -> None:
    ladder = Ladder()
    world = ladder.world
    world.compares = False
    ladder.step(5)
    world.now += 31
    world.do(world.server.tick(world.now))
    assert not len(world.server._init.table)
    ladder.held.clear()
    world.compare(world.password_asks[0])
    assert doorkeeper(world).told == [("tried", ANN, None)]
    assert not ladder.held
    # Twice is once.
    world.compare(world.password_asks[0])
    assert len(doorkeeper(world).told) == 1
    assert len(world.events("verdict-unused")) == 2


def test_so_many_passwords_at_once_and_no_more() -> None:
    settings = GcksSettings(passwords=True, password_checks=3, password_checks_per_source=3)
    world = login_world(settings=settings)
    world.compares = False
    for number in range(5):
        world.add(number, credentials=login(), identity=ANN)
    world.run(0.2)
    assert len(world.password_asks) == 3
    told = [dict(t.fields) for n in (3, 4) for t in world.hosts[n].tells if t.event == "login-refused"]
    assert [fields["why"] for fields in told] == ["busy", "busy"]
    # Who is told so is counted as a try by nobody, and comes back when there is room.
    assert doorkeeper(world).told == []
    world.compares = True
    for question in list(world.password_asks):
        world.compare(question)
    world.run(12)
    assert len(world.registered()) == 5


def test_one_source_does_not_take_all_the_places() -> None:
    ladder = Ladder()
    ladder.step(3)
    half, now = ladder.half, ladder.world.now
    assert half.login is not None
    checks = PasswordChecks(GcksSettings(password_checks=4, password_checks_per_source=2))
    numbers = itertools.count()

    def ask(source: str) -> int:
        number = next(numbers)
        assert half.login is not None
        checks.ask(number, half, half.login, SecretBytes(PASSWORD), source, half.path, now)
        return number

    one = ask("a")
    ask("a")
    for _ in range(3):
        with pytest.raises(Busy):
            ask("a")
    ask("b")
    assert checks.take(one) is not None
    assert checks.take(one) is None
    ask("a")
    ask("c")
    with pytest.raises(Busy):
        ask("d")  # four in all
    assert len(checks) == 4


def test_a_place_is_free_again_although_the_shell_has_forgotten() -> None:
    world = login_world(settings=GcksSettings(passwords=True, password_checks=1))
    world.compares = False
    world.add(0, credentials=login(), identity=ANN)
    world.run(0.2)
    del world.hosts[0]
    assert len(world.password_asks) == 1
    world.run(100)
    world.compares = True
    world.add(1, credentials=login(BOB), identity=BOB)
    world.run(5)
    assert not world.registered()
    world.run(40)
    assert world.hosts[1].endpoint.groups["news"].registered


def test_a_storm_of_logins_does_not_keep_tickets_waiting() -> None:
    world = login_world(doorkeeper=porter(tickets={TICKET: psk(TICKET)}))
    world.compares = False
    for number in range(150):
        world.add(number, credentials=login(), identity=ANN)
    world.run(0.05)
    ticket = Credentials(TICKET, {SERVER_ID: psk(TICKET)})
    host = world.add(900, credentials=ticket, identity=TICKET)
    world.run(0.05)
    # Two round trips, as ever; the passwords wait, and not more of them than may.
    assert host.endpoint.groups["news"].registered
    assert len(world.password_asks) == SETTINGS.password_checks
    assert (world.asks[-1].proof, world.asks[-1].identity) == (Proof.TICKET, TICKET)
