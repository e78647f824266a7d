"""Credentials that are taken out of the configuration end the IKE SAs that rest on them, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from endpoint_rig import (
    NEWS,
    SERVER_ID,
    World,
    established,
    join,
    member_name,
    policy,
    psk,
    secrets,
    sender_name,
    turned,
)
from test_ike_suites import ME, by_certificate, credentials

from gkmd.core.effect import InstallSa, RemoveSa
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import SigningKey
from gkmd.ike import gcks_settings, grounds, member_settings
from gkmd.ike.credentials import Credentials
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.registration_request import build_registration_request
from gkmd.ike.sa import SaState
from wire.registry import ExchangeType

NOBODY = Credentials(SERVER_ID, {member_name(19): psk(member_name(19))})
WAYS = ("psk", "ed25519 certificate", "ed25519 raw key")
EVENT = "credential-withdrawn"


def reload(world: World, new: Credentials) -> None:
    world.credentials = new
    world.do(world.server.command(gcks_settings.Reload((policy(),), new), world.now))


def registered(way: str) -> World:
    server, member = credentials(way)
    world = World(ike=IkePolicy(), credentials=server)
    world.add(0, credentials=member, identity=ME)
    world.run(1)
    assert len(world.directory.members("news")) == 1
    return world


def lacking(server: Credentials) -> Credentials:
    """The server's credentials without those of its member."""
    return replace(server, pre_shared_keys={}, pinned={}, trust_anchors=None)


def refused_for_good(world: World, why: str) -> None:
    (told,) = world.events(EVENT)
    assert told.fields["peer"] == str(ME)
    assert why in str(told.fields["reason"])
    assert not world.directory.members("news")
    world.run(5)
    assert not world.server._keeper.table
    assert not world.book.ike_sas
    assert not world.book.members
    # It was told, and when it comes again, it cannot.
    host = world.hosts[0]
    assert host.endpoint.sa is None
    world.do_member(host, host.endpoint.command(member_settings.Register("news"), world.now))
    world.run(5)
    assert world.events("authentication-failed")
    assert not world.directory.members("news")
    assert len(world.events(EVENT)) == 1


WHY = {"psk": "pre-shared key", "ed25519 certificate": "authority", "ed25519 raw key": "pinned key"}


@pytest.mark.parametrize("way", WAYS)
def test_what_the_peer_rested_on_is_gone(way: str) -> None:
    world = registered(way)
    reload(world, lacking(world.credentials))
    refused_for_good(world, WHY[way])


@pytest.mark.parametrize("way", WAYS)
def test_also_when_the_server_was_started_anew_between(way: str) -> None:
    world = registered(way)
    world.boot()
    assert len(world.server._keeper.table) == 1
    reload(world, lacking(world.credentials))
    refused_for_good(world, WHY[way])


@pytest.mark.parametrize("way", WAYS)
def test_a_restart_with_the_new_configuration_is_as_good_as_a_reload(way: str) -> None:
    world = registered(way)
    world.credentials = lacking(world.credentials)
    world.boot()
    refused_for_good(world, WHY[way])


def test_a_restart_before_the_delete_is_answered_forgets_nothing() -> None:
    world = registered("psk")
    world.fate = lambda _: []
    reload(world, NOBODY)
    assert world.book.ike_sas
    assert not world.book.members
    world.tells.clear()
    world.boot()
    assert next(iter(world.server._keeper.table)).state is SaState.CLOSING
    assert not world.directory.members("news")
    # Nobody answers any more: it goes all the same.
    world.run(300)
    assert not world.server._keeper.table
    assert not world.book.ike_sas


@pytest.mark.parametrize("way", WAYS)
def test_a_reload_that_takes_nothing_away_ends_nothing(way: str) -> None:
    world = registered(way)
    sent = len(world.sent)
    reload(world, world.credentials)
    more = {member_name(9): psk(member_name(9)), **world.credentials.pre_shared_keys}
    reload(world, replace(world.credentials, pre_shared_keys=more))
    world.boot()
    world.run(5)
    assert not world.events(EVENT)
    assert not [datagram for datagram in world.sent[sent:] if datagram.member is not None]
    assert len(world.directory.members("news")) == 1


def test_a_secret_that_changes_is_left_alone() -> None:
    """The server learns it first; the member must live until it is started anew."""
    world = registered("psk")
    reload(world, Credentials(SERVER_ID, {ME: SecretBytes(b"another secret of this member")}))
    world.run(5)
    assert not world.events(EVENT)
    assert len(world.directory.members("news")) == 1


def test_a_pinned_key_in_place_of_another_ends_what_the_other_signed() -> None:
    world = registered("ed25519 raw key")
    mine = SigningKey.from_seed(SecretBytes(bytes([2]) * 32)).spki_der
    other = SigningKey.from_seed(SecretBytes(bytes([3]) * 32)).spki_der
    reload(world, replace(world.credentials, pinned={ME: (other, mine)}))
    assert not world.events(EVENT)
    reload(world, replace(world.credentials, pinned={ME: (other,)}))
    refused_for_good(world, "pinned key")


@pytest.mark.parametrize("groups", [1, 2])
def test_the_member_is_told_to_delete_its_keys(groups: int) -> None:
    world = World([policy(), policy("sport")], members=0)
    host = world.add(0, [join(), join("sport")][:groups])
    world.run(1)
    installed = [effect.sa for effect in host.kernel if isinstance(effect, InstallSa)]
    world.add(1, [join(), join("sport", sends=True)])
    world.run(1)
    left = {name: secret for name, secret in secrets(20).items() if name != member_name(0)}
    new = replace(world.credentials, pre_shared_keys=left)
    world.do(world.server.command(gcks_settings.Reload((policy(), policy("sport")), new), world.now))
    world.credentials = new
    world.run(5)
    removed = [effect.sa for effect in host.kernel if isinstance(effect, RemoveSa)]
    assert {sa.spi for sa in installed} <= {sa.spi for sa in removed}
    assert not world.server._keeper.table.of_peer(member_name(0))
    assert not any(group.rekey_spis for group in host.endpoint.groups.values())
    for group in ("news", "sport"):
        assert [member.identity for member in world.directory.members(group)] == [sender_name(1)]


def test_only_those_who_rest_on_it_go() -> None:
    world = World(members=3)
    world.run(1)
    certified = by_certificate("ed25519", member_name(7))
    reload(world, replace(world.credentials, trust_anchors=certified.trust_anchors))
    signing = replace(certified, pre_shared_keys={SERVER_ID: psk(member_name(7))}, trust_anchors=None)
    world.add(7, credentials=signing, identity=member_name(7))
    world.run(1)
    assert len(world.directory.members("news")) == 4
    left = dict(secrets(20))
    for number in (1, 7):
        del left[member_name(number)]
    reload(world, replace(world.credentials, pre_shared_keys=left))
    assert [told.fields["peer"] for told in world.events(EVENT)] == [str(member_name(1))]
    world.run(5)
    peers = {member.identity for member in world.directory.members("news")}
    assert peers == {member_name(0), member_name(2), member_name(7)}
    assert {sa.grounds for sa in world.server._keeper.table} == {grounds.SHARED_KEY, grounds.CERTIFICATE}


def test_an_old_journal_does_not_say_and_is_left_alone() -> None:
    world = registered("psk")
    world.book.ike_sas = {spi: replace(record, grounds="") for spi, record in world.book.ike_sas.items()}
    world.boot()
    reload(world, NOBODY)
    world.run(5)
    assert not world.events(EVENT)
    assert len(world.directory.members("news")) == 1


def test_who_does_not_obey_cannot_register_on_what_is_being_deleted() -> None:
    world = registered("psk")
    ours, theirs = established(world)
    world.fate = lambda _: []
    reload(world, NOBODY)
    request = ours.request(
        ExchangeType.GSA_REGISTRATION, build_registration_request(NEWS, None, None), world.now
    )
    world.to_server(request, turned(world.hosts[0].path))
    assert theirs.state is SaState.CLOSING
    assert not world.asks[1:]
    assert not world.directory.members("news")


@pytest.mark.parametrize("first", [True, False])
def test_an_open_question_of_admission_is_closed(first: bool) -> None:
    if first:
        world = World(members=1)
        world.decides = False
        world.run(0.5)
        assert len(world.server._init.table) == 1
    else:
        world = registered("psk")
        world.decides = False
        ours, _ = established(world)
        payloads = build_registration_request(NEWS, None, None)
        request = ours.request(ExchangeType.GSA_REGISTRATION, payloads, world.now)
        world.to_server(request, turned(world.hosts[0].path))
    asked = world.asks[-1]
    reload(world, NOBODY)
    assert len(world.events(EVENT)) == 1
    assert not world.server._init.table
    world.decide(asked)
    assert not world.directory.members("news")
    world.run(60)
    assert not world.server._keeper.table
