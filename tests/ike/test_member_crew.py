"""Several identities of one member: endpoints that share a socket, a kernel and a driver."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import replace
from typing import Any, cast

import pytest
from endpoint_rig import SERVER_ID, T0, World, join, member_name, member_path, policy, psk
from hypothesis import given
from hypothesis import strategies as st

from gkmd.core.address import Path
from gkmd.core.effect import Effect, InstallSa, Tell
from gkmd.core.errors import DataplaneError, LocalError
from gkmd.core.identity import IdentityPattern
from gkmd.core.rng import SeededRng
from gkmd.daemon.member_crew import MOST_ENDPOINTS, Dismiss, Hire, MemberCrew
from gkmd.group.model import SenderRule
from gkmd.ike import gcks_settings
from gkmd.ike.credentials import Credentials
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.group_member import State
from gkmd.ike.member_settings import Leave, Register, Server, Stop
from gkmd.ike.proposal import IkePolicy
from wire.header import peek_untrusted

NAMES = ("news", "sport", "music")
FLOW = (ipaddress.ip_address("239.1.1.9"), 17, 5000)
NUMBERS = itertools.count()
EVERYBODY = (SenderRule(IdentityPattern.parse("fqdn:*.example")),)
REQIDS = itertools.count(1).__next__


def endpoint(number: int, *joins: GroupJoin) -> MemberEndpoint:
    """The endpoint of identity ``number``; all are behind the path of host 0."""
    who = member_name(number)
    return MemberEndpoint(
        Credentials(who, {SERVER_ID: psk(who)}),
        IkePolicy(),
        [Server(SERVER_ID, member_path(0))],
        joins,
        SeededRng(f"crew {next(NUMBERS)}"),
        reqids=REQIDS,
    )


class CrewWorld(World):
    """A world whose host 0 is a crew."""

    def __init__(self, **news: Any) -> None:
        changes = {"news": news}
        super().__init__([policy(n, senders=EVERYBODY, **changes.get(n, {})) for n in NAMES])
        self.crew = MemberCrew()
        self.host = self.add(0, start=False)
        self.host.endpoint = cast(Any, self.crew)

    def command(self, command: Any) -> None:
        self.do_member(self.host, self.crew.command(command, self.now))

    def hire(self, number: int, name: str, *, waits: bool = False, **changes: Any) -> None:
        made = endpoint(number, join(name, sends=True))
        self.command(Hire(f"t-{name}", made, frozenset({name} if waits else ()), **changes))

    def states(self) -> dict[str, State]:
        return {name: group.state for name, group in self.crew.groups.items()}

    def told(self, event: str) -> list[Tell]:
        return [tell for tell in self.host.tells if tell.event == event]


def test_every_identity_has_an_ike_sa_and_gets_what_is_its_own() -> None:
    world = CrewWorld()
    for number, name in enumerate(NAMES):
        world.hire(number, name)
    world.run(5)
    assert world.states() == dict.fromkeys(NAMES, State.MEMBER)
    assert len({post.endpoint.sa.spi_i for post in world.crew.posts if post.endpoint.sa}) == 3
    assert {str(m.identity) for m in world.book.members.values()} == {str(member_name(n)) for n in range(3)}
    reqids = [effect.sa.reqid for effect in world.host.kernel if isinstance(effect, InstallSa)]
    assert len(set(reqids)) == len(reqids) == 3
    # A rekey of one group comes to the one that is in it.
    before = len(world.told("rekey-received"))
    world.do(world.server.command(gcks_settings.Rekey("sport"), world.now))
    world.run(5)
    received = world.told("rekey-received")[before:]
    assert [tell.fields["group"] for tell in received] == ["sport"]


def test_what_nobody_knows_goes_to_nobody() -> None:
    world = CrewWorld()
    world.hire(0, "news")
    world.run(5)
    sent = next(one for one in world.sent if not one.to_server)
    data = bytes(8) + sent.data[8:]
    path = Path("10.0.1.1", 500, "10.0.0.1", 848)
    (tell,) = world.crew.receive(data, path, world.now)
    assert isinstance(tell, Tell)
    assert tell.fields["reason"] == "unknown-spi"
    (tell,) = world.crew.receive(b"short", path, world.now)
    assert isinstance(tell, Tell)
    assert world.crew.receive(sent.data, path, world.now) != [tell]


@given(st.binary(max_size=120))
def test_no_octets_disturb_it(data: bytes) -> None:
    crew = MemberCrew()
    crew.command(Hire("t-1", endpoint(1, join())), T0)
    effects = crew.receive(data, member_path(0), T0)
    assert all(isinstance(effect, Tell) for effect in effects)


def test_a_group_that_waits_asks_nothing_until_it_is_wanted_and_can_come_back() -> None:
    world = CrewWorld()
    world.hire(0, "news", waits=True)
    world.run(60)
    assert world.sent == []
    assert world.crew.deadline() is None
    assert not world.told("group-state")
    for _ in range(2):
        world.command(Register("news"))
        world.run(5)
        assert world.states() == {"news": State.MEMBER}
        assert world.book.members
        world.command(Leave("news"))
        world.run(20)
        assert world.states() == {"news": State.LEFT}
        assert not world.book.members


def test_a_group_that_is_left_while_it_is_being_admitted() -> None:
    """Whoever the server has let in is out again, although its answer came too late."""
    for wait in (0.0005, 0.0015, 0.0025, 0.0035):
        world = CrewWorld()
        world.hire(0, "news", waits=True)
        world.command(Register("news"))
        world.run(wait)
        world.command(Leave("news"))
        world.run(10)
        assert world.states() == {"news": State.LEFT}
        assert not world.book.members, wait
        world.command(Register("news"))
        world.run(5)
        assert world.states() == {"news": State.MEMBER}


def test_one_goes_and_the_others_stay() -> None:
    world = CrewWorld()
    for number, name in enumerate(NAMES):
        world.hire(number, name)
    world.run(5)
    world.command(Dismiss("t-sport"))
    world.run(2)
    assert world.states() == {"news": State.MEMBER, "music": State.MEMBER}
    assert world.crew.gone == [("t-sport", ("sport",))]
    assert {name for name, _ in world.book.members} == {"news", "music"}
    with pytest.raises(LocalError, match="no ticket 't-sport'"):
        world.command(Dismiss("t-sport"))
    world.hire(1, "sport")
    world.run(5)
    assert world.states()["sport"] is State.MEMBER
    world.command(Stop())
    assert not world.crew.stopped
    world.run(10)
    assert world.crew.stopped
    assert not world.book.members
    assert world.crew.deadline() is None
    with pytest.raises(LocalError, match="the member stops"):
        world.hire(0, "news")


def test_a_transmission_that_is_over_ends_its_endpoint_unless_it_was_extended() -> None:
    world = CrewWorld(ends=T0 + 60)
    world.hire(0, "news", until=T0 + 30)
    world.hire(1, "sport", waits=True, until=T0 + 30)
    world.run(20)
    assert set(world.states()) == {"news", "sport"}
    world.run(20)
    assert world.states() == {"news": State.MEMBER}  # the server has not ended it
    world.run(30)
    assert world.states() == {}
    assert [name for name, _ in world.crew.gone] == ["t-sport", "t-news"]
    assert len(world.told("transmission-over")) == 2


def test_a_program_that_pauses_after_an_extension_comes_back() -> None:
    world = CrewWorld(ends=T0 + 100)
    world.hire(0, "news", waits=True, until=T0 + 30)
    world.command(Register("news", patient=True))
    world.run(50)
    assert world.states() == {"news": State.MEMBER}
    world.command(Leave("news"))
    world.run(20)
    world.command(Register("news", patient=True))
    world.run(2)
    assert world.states() == {"news": State.MEMBER}
    # At the end the server says so, or says it to who asks again.
    world.command(Leave("news"))
    world.run(40)
    assert world.states() == {"news": State.LEFT}
    world.command(Register("news", patient=True))
    world.run(10)
    assert world.states() == {}
    assert len(world.told("transmission-over")) == 1


def test_nobody_waits_for_ever_for_a_program_that_paused() -> None:
    world = CrewWorld()
    world.hire(0, "news", waits=True, until=T0 + 30)
    world.command(Register("news"))
    world.run(40)
    world.command(Leave("news"))
    world.run(80_000)
    assert world.states() == {"news": State.LEFT}
    world.run(7000)
    assert world.states() == {}


def test_the_same_twice_is_refused() -> None:
    world = CrewWorld()
    world.hire(0, "news")
    before = len(world.host.kernel)
    with pytest.raises(LocalError, match="transmission 'news' is taken already, by the ticket t-news"):
        world.command(Hire("t-other", endpoint(1, join("news"))))
    with pytest.raises(LocalError, match="'t-news' is there already"):
        world.command(Hire("t-news", endpoint(1, join("sport"))))
    world.command(Hire("t-1", endpoint(1, join("sport", flow=FLOW))))
    with pytest.raises(LocalError, match=r"both for 239\.1\.1\.9 protocol 17 port 5000"):
        world.command(Hire("t-2", endpoint(2, join("music", flow=FLOW))))
    # Another direction is another policy.
    sender = replace(join("music", flow=FLOW), receives=False, sends=True)
    world.command(Hire("t-2", endpoint(2, sender)))
    assert len(world.host.kernel) == before
    with pytest.raises(LocalError, match="no group 'films'"):
        world.command(Register("films"))


def test_there_is_a_most() -> None:
    crew = MemberCrew()
    for number in range(MOST_ENDPOINTS):
        name = f"g{number}"
        crew.command(Hire(f"t-{number}", endpoint(1, join(name)), frozenset({name})), T0)
    with pytest.raises(LocalError, match="256 tickets already"):
        crew.command(Hire("t-more", endpoint(1, join("more"))), T0)


class Broken:
    """An endpoint with a fault in its timer."""

    def __init__(self) -> None:
        self.ticks = 0
        self.stopped = False
        self.sa = None
        self.spis = ()
        self.groups: dict[str, Any] = {}

    def start(self, now: float) -> list[Effect]:
        return []

    def deadline(self) -> float | None:
        return 0.0

    def tick(self, now: float) -> list[Effect]:
        self.ticks += 1
        raise ZeroDivisionError


def test_a_fault_in_one_is_not_felt_by_the_others() -> None:
    world = CrewWorld()
    broken = Broken()
    world.command(Hire("t-broken", cast(Any, broken)))
    world.hire(0, "news")
    world.run(5)
    assert world.states() == {"news": State.MEMBER}
    assert 4 <= broken.ticks <= 7
    assert world.told("internal-fault")


def test_the_kernels_refusal_goes_to_whose_it_is() -> None:
    world = CrewWorld()
    world.hire(0, "news")
    world.hire(1, "sport")
    world.run(5)
    installed = [effect for effect in world.host.kernel if isinstance(effect, InstallSa)]
    (sport,) = [effect for effect in installed if effect.sa.group == "sport"]
    error = DataplaneError("no", 1)
    world.do_member(world.host, world.crew.done(sport, error, world.now))
    world.run(5)
    again = [effect.sa.group for effect in world.host.kernel if isinstance(effect, InstallSa)]
    assert again.count("news") == 1
    assert again.count("sport") == 2


def test_a_key_server_cannot_take_rekeys_away_from_another() -> None:
    world = CrewWorld()
    world.hire(0, "news")
    world.run(5)
    post = world.crew.holder("news")
    assert post is not None
    thief = Broken()
    thief.spis = tuple(post.spis)  # type: ignore[assignment]
    world.command(Hire("t-thief", cast(Any, thief)))
    world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    world.run(3)
    assert world.told("rekey-received")
    assert peek_untrusted(world.sent[0].data).spi_i in post.spis
