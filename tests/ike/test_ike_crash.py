"""kill -9 between any two effects of the server, and a journal that cannot be written: nothing is used twice,
nobody is lost, and nobody who was registered has to register again."""

from __future__ import annotations

from collections import defaultdict

import pytest
from endpoint_rig import World, arrows, established, inside, join, policy, seal, terrible, turned

from gkmd.core.change import PutGroup
from gkmd.core.effect import Effect, Persist, Send, SendMulticast, Tell
from gkmd.core.errors import LocalError, StoreError
from gkmd.group.model import Left
from gkmd.ike import gcks_settings, member_settings
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.sa import SaState
from wire.header import peek_untrusted
from wire.message import parse_untrusted
from wire.registry import ExchangeType


class Killed(Exception):
    pass


class Mortal(World):
    """Dies after so many effects, once."""

    lives = -1

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if self.lives == 0:
                self.lives = -1
                raise Killed
            self.lives -= 1
            super().do([effect])

    def run_on(self, seconds: float) -> None:
        """Run; when the server dies, start it again from its journal."""
        end = self.now + seconds
        while self.now < end:
            try:
                self.run(end - self.now)
            except Killed:
                self.now += 0.05
                self.boot()


def check_that_nothing_is_used_twice(world: World) -> None:
    contents = defaultdict(set)
    for datagram in world.sent:
        header = peek_untrusted(datagram.data)
        if header.exchange == ExchangeType.IKE_SA_INIT:
            continue
        spis = header.spi_i + header.spi_r
        sealed = parse_untrusted(datagram.data).payloads[0].body
        contents[datagram.to_server, spis, sealed.data[:8]].add(datagram.data)  # type: ignore[union-attr]
        kind = (header.exchange, header.flags, header.message_id)
        contents[datagram.to_server, spis, kind].add(datagram.data)
    assert contents
    assert all(len(datagrams) == 1 for datagrams in contents.values())


def life(world: Mortal) -> None:
    """What a server does in a day, in twelve seconds."""
    world.add(0, [join(), join("sport")])
    world.add(1)
    world.add(2, [join(sends=True)])
    world.run_on(3)
    for command in (
        gcks_settings.Rekey("news"),
        gcks_settings.RemoveMember("sport", world.hosts[0].identity),
    ):
        try:
            world.do(world.server.command(command, world.now))
        except Killed:
            world.now += 0.05
            world.boot()
        except LocalError:
            pass  # the member has not come back yet
        world.run_on(3)
    host = world.hosts[1]
    world.do_member(host, host.endpoint.command(member_settings.Leave("news"), world.now))
    world.run_on(10)


def effects_of_a_life() -> int:
    world = Mortal([policy(), policy("sport")], settings=GcksSettings(liveness_idle=2.0))
    life(world)
    return -world.lives


@pytest.mark.parametrize("part", range(4))
def test_a_server_that_dies_between_any_two_effects_goes_on_where_it_was(part: int) -> None:
    total = effects_of_a_life()
    assert total > 60
    for lives in range(part, total, 4):
        world = Mortal([policy(), policy("sport")], settings=GcksSettings(liveness_idle=2.0))
        world.lives = lives
        life(world)
        world.run_on(30)
        check_that_nothing_is_used_twice(world)
        names = {name: {m.identity for m in world.directory.members(name)} for name in ("news", "sport")}
        assert names["news"] == {world.hosts[0].identity, world.hosts[2].identity}, lives
        assert names["sport"] == {world.hosts[0].identity}, lives  # it came back
        assert len(world.registered("news")) == 2
        # The IKE SAs of the journal are those of the members, on both sides.
        assert {h.endpoint.sa.spi_r for h in world.hosts.values() if h.endpoint.sa} == set(world.book.ike_sas)
        rekey = world.directory.sas("news").rekey_sas[-1].spi
        for host in world.registered("news"):
            assert rekey in host.endpoint.groups["news"].rekey_spis


def test_members_do_not_notice_a_crash() -> None:
    world = World(members=10)
    world.run(2)
    before = {n: h.endpoint.sa.spi_r for n, h in world.hosts.items() if h.endpoint.sa}
    keys = world.directory.sas("news")
    world.boot()
    assert world.directory.sas("news").rekey_sas[-1].spi == keys.rekey_sas[-1].spi
    world.sent.clear()
    world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    world.run(300)
    assert not [a for a in arrows(world) if a.startswith(("IKE_SA_INIT", "GSA_AUTH", "GSA_REGISTRATION"))]
    assert {n: h.endpoint.sa.spi_r for n, h in world.hosts.items() if h.endpoint.sa} == before
    new = world.directory.sas("news").rekey_sas[-1].spi
    assert new != keys.rekey_sas[-1].spi
    assert all(h.endpoint.groups["news"].rekey_spis == (new,) for h in world.hosts.values())


def test_a_request_repeated_after_a_crash_gets_the_same_reply() -> None:
    world = World(members=1, fate=lambda _: [])
    host = world.hosts[0]
    world.to_server(world.sent[-1].data, turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    auth = world.sent[-1].data
    world.to_server(auth, turned(host.path))
    reply = world.sent[-1].data  # it was lost, and then:
    world.boot()
    world.to_server(auth, turned(host.path))
    assert world.sent[-1].data == reply
    world.to_member(host, reply, host.path)
    assert world.registered() == [host]
    assert len(world.directory.members("news")) == 1


def test_our_request_repeated_after_a_crash_is_the_same() -> None:
    world = World(members=1, settings=GcksSettings(liveness_idle=10.0))
    world.run(1)
    world.fate = lambda _: []
    world.sent.clear()
    world.run(10.5)
    world.boot()
    world.run(0.5)
    asked = [d.data for d in world.sent if not d.to_server]
    assert len(asked) >= 2
    assert len(set(asked)) == 1


# --- a journal that cannot be written -------------------------------------------------------------


def test_nothing_is_said_that_could_not_be_written() -> None:
    world = World()
    world.disk_full = True
    for number in range(3):
        world.add(number)
    world.run(20)
    replies = {a for a in arrows(world) if a.endswith("<-")}
    assert replies == {"IKE_SA_INIT 0 <-"}
    assert not world.registered()
    assert not world.book.ike_sas
    # There is room again: the members repeat their requests, and the lost changes are written first.
    world.disk_full = False
    world.run(60)
    assert len(world.registered()) == 3
    assert len(world.book.members) == 3
    assert set(world.book.ike_sas) == {h.endpoint.sa.spi_r for h in world.hosts.values() if h.endpoint.sa}
    check_that_nothing_is_used_twice(world)


@pytest.mark.parametrize("seed", range(4))
def test_a_disk_that_fills_up_now_and_then(seed: int) -> None:
    world = World([policy(), policy("sport")], seed=seed, fate=terrible(seed))
    for number in range(6):
        world.add(number, [join(), join("sport", sends=True)], identity=None)
    for step in range(30):
        world.disk_full = step % 3 == 1
        world.run(1.5)
        if step % 10 == 5:
            world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    world.disk_full = False
    world.run(120)
    check_that_nothing_is_used_twice(world)
    for name in ("news", "sport"):
        assert len(world.registered(name)) == 6
        assert {m for g, m in world.book.members if g == name} == {h.identity for h in world.hosts.values()}
        assert world.book.groups[name].rekey_sas[-1] == world.directory.sas(name).rekey_sas[-1]


def test_a_reply_that_is_on_its_way_to_the_journal_is_not_repeated_early() -> None:
    world = World(members=1)
    world.run(1)
    ours, theirs = established(world)
    request = seal(ours, ExchangeType.INFORMATIONAL, 2, [])
    path = turned(world.hosts[0].path)
    effects = world.server.receive(request, path, world.now)
    persist = effects[0]
    assert isinstance(persist, Persist)
    # Until the journal has answered a copy of the request gets nothing ...
    again = world.server.receive(request, path, world.now)
    assert [type(e) for e in again] == [Tell]
    # ... when it has failed, the lost record is written again in front of the reply ...
    assert world.server.done(persist, StoreError("full"), world.now) == []
    again = world.server.receive(request, path, world.now)
    assert [type(e) for e in again] == [Persist, Send]
    assert isinstance(again[0], Persist)
    assert again[0].changes == persist.changes
    world.server.done(again[0], None, world.now)
    # ... and when it is written, the reply alone goes out.
    again = world.server.receive(request, path, world.now)
    assert [type(e) for e in again] == [Send]
    assert theirs.state is SaState.ESTABLISHED


def test_a_lost_rekey_is_written_before_its_copy_is_sent() -> None:
    world = World(members=1)
    world.run(1)
    world.disk_full = True
    world.sent.clear()
    world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    assert not world.sent
    world.disk_full = False
    do = world.do
    seen: list[list[type]] = []

    def watch(effects: list[Effect]) -> None:
        seen.append([type(e) for e in effects])
        do(effects)

    world.do = watch  # type: ignore[method-assign]
    world.run(3)
    multicasts = [kinds for kinds in seen if SendMulticast in kinds]
    assert multicasts
    assert all(kinds[0] is Persist for kinds in multicasts)
    rekey = world.directory.sas("news").rekey_sas[-1].spi
    assert world.book.groups["news"].rekey_sas[-1].spi == rekey
    assert world.hosts[0].endpoint.groups["news"].rekey_spis[-1] == rekey
    assert inside is not None


def test_a_command_that_finds_its_work_done_waits_for_what_was_lost() -> None:
    """A request with ``once``, or a provider's call, that comes again after a commit has failed: it changes
    nothing more, and must not be told that all is well while nothing of it is on the disk.
    """
    world = World()
    row = PutGroup(world.book.groups["news"])
    world.disk_full = True
    world.do(world.server.command(gcks_settings.Apply(Left((row,), ())), world.now))
    (persist,) = world.server.command(gcks_settings.Apply(Left((), ())), world.now)
    assert isinstance(persist, Persist)
    assert persist.changes == (row,)
    # And so does the end: what can be written by then is written.
    world.do([persist])
    effects = world.server.command(gcks_settings.Shutdown(), world.now)
    world.disk_full = False
    world.do(effects)
    assert world.server.command(gcks_settings.Apply(Left((), ())), world.now) == []
