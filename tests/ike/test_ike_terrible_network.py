"""Registrations over a seeded network that loses, doubles and delays a tenth of everything each."""

from __future__ import annotations

import time

import pytest
from endpoint_rig import T0, Datagram, World, join, member_name, policy, sender_name, terrible

from gkmd.core.effect import InstallSa, RemoveSa
from gkmd.ike import gcks_settings
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.sa import SaState


def test_a_thousand_registrations_each_with_one_member_and_one_sa_set() -> None:
    begin = time.process_time()
    world = World(
        members=1000, seed="thousand", fate=terrible(20251), settings=GcksSettings(cookie_threshold=64)
    )
    while len(world.registered()) < 1000 and world.now < T0 + 120:
        world.run(1)
    spent = time.process_time() - begin
    members = world.directory.members("news")
    assert len(members) == 1000
    assert {m.identity for m in members} == {member_name(number) for number in range(1000)}
    # One IKE SA each, the same on both sides and in the journal, and one group SA set.
    table = world.server._keeper.table
    (rekey,) = world.directory.sas("news").rekey_sas
    for host in world.hosts.values():
        ours = host.endpoint.sa
        assert ours is not None
        assert ours.state is SaState.ESTABLISHED
        theirs = table.get(ours.spi_r)
        assert theirs is not None
        assert theirs.peer == host.identity
        assert len(table.of_peer(host.identity)) == 1
        assert world.book.members["news", host.identity].ike_spi == ours.spi_r
        assert host.endpoint.groups["news"].rekey_spis == (rekey.spi,)
    world.run(40)  # what was late has come; nobody has come twice
    assert len(world.book.ike_sas) == len(table) == 1000
    assert len(world.server._init.table) == 0
    assert spent < 60.0, f"{spent:.1f} s"  # some seconds on a quiet machine


@pytest.mark.parametrize("seed", range(6))
def test_senders_receivers_and_rekeys_over_a_terrible_network(seed: int) -> None:
    world = World(
        [policy(tek_lifetime=120.0, kek_lifetime=200.0), policy("sport")], seed=seed, fate=terrible(seed)
    )
    for number in range(8):
        world.add(number, [join(), join("sport")])
    world.add(10, [join(sends=True), join("sport", sends=True)], identity=sender_name(10))
    world.run(60)
    assert len(world.registered("news")) == len(world.registered("sport")) == 9
    world.do(world.server.command(gcks_settings.Rekey("sport"), world.now))
    world.run(600)
    # Many rollovers later everybody still holds what the server holds.
    for name in ("news", "sport"):
        current = world.directory.sas(name).rekey_sas[-1].spi
        teks = {sa.spi for sa in world.directory.sas(name).data_sas if sa.removed_at is None}
        assert len(world.directory.members(name)) == 9
        for host in world.hosts.values():
            held = [e.sa.spi for e in host.kernel if isinstance(e, InstallSa) and e.sa.group == name]
            gone = [e.sa.spi for e in host.kernel if isinstance(e, RemoveSa) and e.sa.group == name]
            assert current in host.endpoint.groups[name].rekey_spis
            assert teks <= {spi for spi in held if held.count(spi) > gone.count(spi)}


def test_the_server_loses_its_power_in_the_middle_of_a_terrible_night() -> None:
    world = World(members=60, seed="night", fate=terrible(7), settings=GcksSettings(cookie_threshold=20))
    for _ in range(8):
        world.run(0.4)
        world.boot()  # kill -9: only the journal is left
    world.run(120, lambda: len(world.registered()) == 60)
    assert len(world.registered()) == 60
    assert len(world.directory.members("news")) == 60
    world.run(400)  # liveness on both sides finds every SA well
    assert len(world.server._keeper.table) == 60
    assert len(world.directory.members("news")) == 60
    assert {h.endpoint.sa.spi_r for h in world.hosts.values() if h.endpoint.sa} == set(world.book.ike_sas)


def test_datagrams_may_come_in_any_order() -> None:
    delays = iter([0.9, 0.1, 0.5, 0.3, 0.7] * 1000)

    def fate(_: Datagram) -> list[float]:
        return [next(delays), next(delays)]

    world = World(members=20, fate=fate)
    world.run(60)
    assert len(world.registered()) == 20
    assert len(world.server._keeper.table) == 20
