"""IKE SAs that serve nothing: anybody who signs up has tickets, and each makes some. They are bounded."""

from __future__ import annotations

from eap_rig import login_world, porter
from endpoint_rig import SERVER_ID, T0, World, ask, note, psk
from porter import WELCOME

from gkmd.core.effect import Ask
from gkmd.core.identity import Identity
from gkmd.group.model import Refusal, Verdict
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from wire.ikev2 import Id
from wire.message import Payload
from wire.registry import ExchangeType, NotifyType, PayloadType

MOST = 3
GOOD, BAD = "keyid:t-good", "keyid:t-bad"
EARLY = Verdict(Refusal.NOT_YET_OPEN, come_back=T0 + 300)


def stage(good: int) -> World:
    """``good`` members by ticket, then as many IKE SAs as may be unused."""

    def judged(question: Ask) -> Verdict:
        return WELCOME if str(question.identity).startswith(GOOD) else EARLY

    names = [Identity.parse(f"{GOOD}{n}") for n in range(good)]
    names += [Identity.parse(f"{BAD}{n}") for n in range(20)]
    world = login_world(
        doorkeeper=porter(tickets={name: psk(name) for name in names}, verdict=judged),
        settings=GcksSettings(passwords=True, unused_sas=MOST),
    )
    for name in names[: good + MOST]:
        come(world, name)
    assert len(world.server._keeper.table) == good + MOST
    return world


def come(world: World, name: Identity) -> None:
    world.add(len(world.hosts), credentials=Credentials(name, {SERVER_ID: psk(name)}), identity=name)
    world.run(0.5)


def bad(number: int) -> Identity:
    return Identity.parse(f"{BAD}{number}")


def peers(world: World) -> list[str]:
    return [str(sa.peer) for sa in world.server._keeper.table]


def test_of_those_that_serve_nothing_the_oldest_go() -> None:
    world = stage(2)
    for number in range(MOST, MOST + 5):
        come(world, bad(number))
    assert peers(world) == [f"{GOOD}0", f"{GOOD}1", *(f"{BAD}{n}" for n in range(5, 8))]
    assert len(world.directory.members("news")) == 2
    assert len(world.book.ike_sas) == 2 + MOST
    # They are told, and need not wait for an answer that does not come.
    assert world.hosts[2].endpoint.sa is None
    assert world.hosts[2 + 7].endpoint.sa is not None


def test_who_has_left_its_groups_is_one_of_them() -> None:
    world = stage(4)
    left = [Payload(PayloadType.ID_G, Id(11, b"news")), note(NotifyType.REGISTRATION_FAILED)]
    for number in range(4):
        ask(world, left, ExchangeType.GSA_REGISTRATION, number)
    assert not world.directory.members("news")
    for number in range(MOST, MOST + 4):
        come(world, bad(number))
    assert len(world.server._keeper.table) == MOST


def test_also_after_a_restart() -> None:
    world = stage(1)
    world.boot()
    come(world, bad(MOST))
    assert peers(world)[0] == f"{GOOD}0"
    assert len(world.server._keeper.table) == 1 + MOST


def test_who_was_sent_away_comes_in_when_it_is_time() -> None:
    world = stage(0)
    come(world, bad(MOST))
    assert world.hosts[0].endpoint.sa is None
    assert isinstance(world.doorkeeper, type(porter()))
    world.doorkeeper.verdict = lambda question: WELCOME
    world.run(400)
    assert world.hosts[0].endpoint.groups["news"].registered
