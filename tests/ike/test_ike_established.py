"""An established IKE SA: windows, retransmissions, liveness, Delete, errors, commands (RFC 7296 1.4,
2.1-2.5, 2.21).
"""

from __future__ import annotations

import pytest
from endpoint_rig import (
    World,
    arrows,
    ask,
    established,
    inside,
    join,
    member_name,
    note,
    notes,
    policy,
    seal,
    seal_raw,
    sender_name,
    turned,
)

from gkmd.core.address import Path
from gkmd.core.effect import InstallSa, Persist, Send
from gkmd.core.errors import LocalError
from gkmd.ike import gcks_settings, member_settings
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.member_settings import MemberSettings
from gkmd.ike.registration_request import build_registration_request, id_g
from gkmd.ike.removal import DELETE_IKE_SA
from gkmd.ike.sa import SaState
from gkmd.ike.window import LAST_MESSAGE_ID, Backoff
from wire.header import peek_untrusted
from wire.ikev2 import Delete, Ke, Nonce, Proposal, Sa, Transform
from wire.message import Payload, parse_untrusted
from wire.registry import ExchangeType, NotifyType, PayloadType, ProtocolId

I = ExchangeType.INFORMATIONAL  # noqa: E741
QUICK = Backoff(1.0, 1.5, 5.0, 3)


def ready(number: int = 1, **kwargs: object) -> World:
    """A world in which everybody is registered and the wire is quiet; nothing is delivered by itself any
    more.
    """
    world = World(members=number, **kwargs)  # type: ignore[arg-type]
    world.run(1)
    assert len(world.registered()) == number
    world.fate = lambda _: []
    world.sent.clear()
    return world


# --- window and retransmission --------------------------------------------------------------------


def test_a_repeated_request_gets_the_same_reply_and_is_not_handled_again() -> None:
    world = ready()
    ours, _ = established(world)
    request = seal(ours, I, 2, [])
    back = turned(world.hosts[0].path)
    world.to_server(request, back)
    commits = world.book.commits
    for _ in range(3):
        world.to_server(request, back)
    assert len({d.data for d in world.sent}) == 1
    assert len(world.sent) == 4
    assert world.book.commits == commits


def test_a_repeated_request_is_answered_where_it_came_from_and_moves_nothing() -> None:
    world = ready()
    ours, theirs = established(world)
    request = seal(ours, I, 2, [])
    world.to_server(request, turned(world.hosts[0].path))
    elsewhere = Path("10.0.0.1", 500, "10.7.7.7", 1234)
    effects = world.server.receive(request, elsewhere, world.now)
    assert [e.path for e in effects if isinstance(e, Send)] == [elsewhere]
    assert theirs.path == turned(world.hosts[0].path)


def test_a_fresh_request_from_a_new_path_moves_the_sa() -> None:
    world = ready()
    ours, theirs = established(world)
    elsewhere = Path("10.0.0.1", 4500, "10.7.7.7", 1234, marker=True)
    world.to_server(seal(ours, I, 2, []), elsewhere)
    assert theirs.path == elsewhere
    assert world.book.ike_sas[theirs.spi_r].path == elsewhere


@pytest.mark.parametrize("message_id", [0, 1, 3, 4, 0x7FFFFFFF, LAST_MESSAGE_ID])
def test_message_ids_outside_the_window_are_not_answered(message_id: int) -> None:
    world = ready()
    ours, theirs = established(world)
    world.to_server(seal(ours, I, 2, []), turned(world.hosts[0].path))
    before = theirs.record()
    world.sent.clear()
    if message_id == 3:
        message_id = 5
    world.to_server(seal(ours, I, message_id, []), turned(world.hosts[0].path))
    assert not world.sent
    assert theirs.record() == before


def test_old_datagrams_replayed_do_nothing() -> None:
    world = World(members=1)
    world.run(1)
    for _ in range(3):
        world.do_member(
            world.hosts[0], world.hosts[0].endpoint.command(member_settings.Register("news"), world.now)
        )
        world.run(1)
    recorded = [d for d in world.sent if d.member is not None or d.to_server]
    members = world.directory.members("news")
    world.sent.clear()
    world.fate = lambda _: []
    last = max(peek_untrusted(d.data).message_id for d in recorded)
    for datagram in recorded:
        if peek_untrusted(datagram.data).message_id < last:
            world.deliver(datagram)
    assert not world.sent
    assert world.directory.members("news") == members


def test_message_ids_that_are_used_up_end_the_sa() -> None:
    world = ready()
    ours, theirs = established(world)
    theirs.window.expected_request_id = LAST_MESSAGE_ID
    world.to_server(seal(ours, I, LAST_MESSAGE_ID, []), turned(world.hosts[0].path))
    assert len(world.sent) == 1
    assert theirs.state is SaState.GONE
    assert not world.book.ike_sas


def test_a_member_repeats_its_request_with_back_off_and_then_gives_up() -> None:
    world = World()
    host = world.add(0, settings=MemberSettings(backoff=QUICK, liveness_idle=30.0))
    world.run(1)
    world.fate = lambda _: []
    world.sent.clear()
    begin = world.now
    ours, _ = established(world)
    world.run(100, lambda: ours.state is SaState.GONE)
    # INFORMATIONAL{} --> x 3, bit for bit, then the SA is dead.
    assert len({d.data for d in world.sent if d.to_server and "INFORMATIONAL" in arrows(world)[0]}) >= 1
    informational = [d.data for d in world.sent if d.to_server and peek_untrusted(d.data).exchange == I]
    assert len(informational) == 3
    assert len(set(informational)) == 1
    assert ours.state is SaState.GONE
    assert "no reply" in ours.reason
    assert world.now - begin < 40
    # The group has a Rekey SA, so the member stays in it (RFC 9838 2.3.3) and looks for the server.
    assert host.endpoint.groups["news"].registered


def test_the_server_gives_up_a_silent_member_and_forgets_it() -> None:
    world = ready(settings=GcksSettings(liveness_idle=30.0, backoff=QUICK))
    _, theirs = established(world)
    world.hosts.clear()
    world.run(60, lambda: theirs.state is SaState.GONE)
    assert [a for a in arrows(world) if "INFORMATIONAL" in a] == ["INFORMATIONAL 0 <-"] * 3
    assert theirs.state is SaState.GONE
    assert not world.directory.members("news")
    assert not world.book.ike_sas
    assert not world.book.members


# --- liveness -------------------------------------------------------------------------------------


def test_liveness_is_asked_and_answered_on_both_sides() -> None:
    world = World(members=1, settings=GcksSettings(liveness_idle=40.0))
    world.run(1)
    world.sent.clear()
    world.run(300)
    # SK{} -->   <-- SK{}       and the other way round
    asked = arrows(world)
    assert asked.count("INFORMATIONAL 0 <-") >= 1
    assert len(world.directory.members("news")) == 1
    ours, theirs = established(world)
    assert ours.state is theirs.state is SaState.ESTABLISHED


def test_liveness_can_be_switched_off() -> None:
    world = World(settings=GcksSettings(liveness_idle=0.0))
    world.add(0, settings=MemberSettings(liveness_idle=0.0))
    world.run(1)
    world.sent.clear()
    world.run(2000)
    assert not [a for a in arrows(world) if "INFORMATIONAL" in a]


# --- Delete ---------------------------------------------------------------------------------------


def test_the_members_delete_ends_the_sa_and_its_memberships() -> None:
    world = ready()
    ours, theirs = established(world)
    delete = seal(ours, I, 2, [DELETE_IKE_SA])
    world.to_server(delete, turned(world.hosts[0].path))
    assert inside(ours, world.sent[-1].data) == []
    assert theirs.state is SaState.GONE
    assert not world.directory.members("news")
    # The reply may be lost: the ended SA lingers to repeat it, and does nothing else.
    world.to_server(delete, turned(world.hosts[0].path))
    assert world.sent[-1].data == world.sent[-2].data
    world.to_server(seal(ours, I, 3, []), turned(world.hosts[0].path))
    assert len(world.sent) == 2
    world.hosts.clear()
    world.run(31)
    world.to_server(delete, Path("10.0.0.1", 500, "10.0.1.1", 500))
    assert len([d for d in world.sent if not d.to_server]) == 2


def test_the_servers_delete_leaves_groups_with_a_rekey_sa_alone() -> None:
    world = World(members=1)
    world.run(1)
    host = world.hosts[0]
    world.do(world.server.command(gcks_settings.Shutdown(delete_ike_sas=True), world.now))
    world.run(1)
    # <-- SK{D}     SK{} -->
    assert arrows(world)[-2:] == ["INFORMATIONAL 0 <-", "INFORMATIONAL 0 ->"]
    assert host.endpoint.sa is None
    assert not world.server._keeper.table
    assert host.endpoint.groups["news"].registered
    # It registers again when it needs to, not before (RFC 9838 2.3.3).
    world.sent.clear()
    world.run(100)
    assert not [a for a in arrows(world) if "INIT" in a]


def test_a_stopping_server_keeps_its_members_by_default() -> None:
    world = ready()
    world.do(world.server.command(gcks_settings.Shutdown(), world.now))
    assert not world.sent
    assert len(world.server._keeper.table) == 1


def test_deletes_may_cross() -> None:
    world = ready()
    ours, theirs = established(world)
    world.do(world.server.command(gcks_settings.Shutdown(delete_ike_sas=True), world.now))
    assert theirs.state is SaState.CLOSING
    world.to_server(seal(ours, I, 2, [DELETE_IKE_SA]), turned(world.hosts[0].path))
    assert inside(ours, world.sent[-1].data) == []
    assert theirs.state is SaState.GONE


def test_a_closing_sa_takes_no_registration() -> None:
    world = ready()
    established(world)
    world.do(world.server.command(gcks_settings.Shutdown(delete_ike_sas=True), world.now))
    world.sent.clear()
    reply = ask(
        world, build_registration_request(policy().group_id, None, None), ExchangeType.GSA_REGISTRATION
    )
    assert notes(reply) == [NotifyType.TEMPORARY_FAILURE]


# --- errors of an authenticated peer --------------------------------------------------------------


def test_an_unknown_critical_payload_is_rejected_and_the_sa_stays() -> None:
    world = ready()
    ours, theirs = established(world)
    octets = b"\0\x80\0\x08junk"  # next 0, critical, length 8
    world.to_server(seal_raw(ours, I, 2, 200, octets), turned(world.hosts[0].path))
    (reply,) = inside(ours, world.sent[-1].data)
    assert reply.body == note(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes([200])).body
    assert theirs.state is SaState.ESTABLISHED
    assert ask_again(world) == []


def ask_again(world: World) -> list[Payload]:
    ours, _ = established(world)
    ours.window.next_request_id = 3
    return ask(world, [], I)


def test_an_unknown_payload_that_is_not_critical_is_ignored() -> None:
    world = ready()
    ours, _ = established(world)
    world.to_server(seal_raw(ours, I, 2, 200, b"\0\0\0\x08junk"), turned(world.hosts[0].path))
    assert inside(ours, world.sent[-1].data) == []


@pytest.mark.parametrize(
    "octets",
    [b"\0\0\0\x03", b"\0\0\0\xff1234", b"\0\0\0\x04tail", b"\0"],
    ids=["loop", "cut", "tail", "short"],
)
def test_a_malformed_request_ends_the_sa(octets: bytes) -> None:
    world = ready()
    ours, theirs = established(world)
    request = seal_raw(ours, I, 2, PayloadType.NOTIFY, octets)
    world.to_server(request, turned(world.hosts[0].path))
    # SK{junk} -->    <-- SK{N(INVALID_SYNTAX)}    and the SA is gone on both sides (RFC 7296 2.21.3)
    assert notes(inside(ours, world.sent[-1].data)) == [NotifyType.INVALID_SYNTAX]
    assert theirs.state is SaState.GONE
    assert not world.directory.members("news")
    assert not world.book.ike_sas
    world.to_server(request, turned(world.hosts[0].path))
    assert world.sent[-1].data == world.sent[-2].data


@pytest.mark.parametrize(
    "exchange",
    [
        ExchangeType.GSA_AUTH,
        ExchangeType.IKE_AUTH,
        ExchangeType.GSA_INBAND_REKEY,
        ExchangeType.IKE_INTERMEDIATE,
        200,
    ],
)
def test_an_exchange_that_does_not_belong_there_ends_the_sa(exchange: int) -> None:
    world = ready()
    reply = ask(world, [], exchange)
    assert notes(reply) == [NotifyType.INVALID_SYNTAX]
    assert not world.server._keeper.table


def test_child_sas_are_refused() -> None:
    world = ready()
    rekey = [
        Payload(PayloadType.SA, Sa([Proposal(1, ProtocolId.IKE, bytes(8), [Transform(1, 20)])])),
        Payload(PayloadType.NONCE, Nonce(bytes(32))),
        Payload(PayloadType.KE, Ke(31, bytes(32))),
    ]
    assert notes(ask(world, rekey, ExchangeType.CREATE_CHILD_SA)) == [NotifyType.NO_ADDITIONAL_SAS]
    assert len(world.server._keeper.table) == 1


def test_a_notification_of_failed_authentication_ends_the_sa() -> None:
    world = ready()
    assert ask(world, [note(NotifyType.AUTHENTICATION_FAILED)], I) == []
    assert not world.server._keeper.table


def test_group_sender_needs_four_octets() -> None:
    world = ready()
    payloads = [id_g(policy().group_id), note(NotifyType.GROUP_SENDER, b"\1")]
    assert notes(ask(world, payloads, ExchangeType.GSA_REGISTRATION)) == [NotifyType.INVALID_SYNTAX]


# --- several SAs of one peer ----------------------------------------------------------------------


def test_initial_contact_ends_the_older_sa_of_the_same_identity() -> None:
    world = World(members=1)
    world.run(1)
    _, old = established(world)
    world.add(7, identity=member_name(0))  # the same member, started again elsewhere
    world.run(1)
    assert old.state is SaState.GONE
    assert len(world.server._keeper.table) == 1
    (member,) = world.directory.members("news")
    assert member.ike_spi == world.hosts[7].endpoint.sa.spi_r  # type: ignore[union-attr]


def test_an_identity_keeps_only_so_many_sas(monkeypatch: pytest.MonkeyPatch) -> None:
    from gkmd.ike import initiator

    real = initiator.NotifyType.INITIAL_CONTACT
    monkeypatch.setattr(initiator.Attempt, "_auth_request", _without(initiator.Attempt._auth_request, real))
    world = World(settings=GcksSettings(sas_per_peer=2))
    for number in range(4):
        world.add(number, identity=member_name(0))
        world.run(1)
    assert len(world.server._keeper.table) == 2
    assert len(world.directory.members("news")) == 1


def _without(build: object, kind: int) -> object:
    def changed(*args: object) -> list[Payload]:
        payloads: list[Payload] = build(*args)  # type: ignore[operator]
        return [p for p in payloads if notes([p]) != [kind]]

    return changed


# --- commands -------------------------------------------------------------------------------------


def test_the_rekey_command_replaces_the_keys() -> None:
    world = World(members=2)
    world.add(5, [join(sends=True)])
    world.run(5)
    before = world.directory.sas("news")
    world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    world.run(10)
    after = world.directory.sas("news")
    assert {sa.spi for sa in before.data_sas}.isdisjoint(sa.spi for sa in after.data_sas)
    assert before.rekey_sas[-1].spi != after.rekey_sas[-1].spi
    assert len(after.data_sas) == 1
    for host in world.hosts.values():
        assert host.endpoint.groups["news"].rekey_spis == (after.rekey_sas[-1].spi,)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_member_is_removed_over_its_ike_sa(groups: int) -> None:
    world = World([policy(), policy("sport")])
    host = world.add(0, [join(sends=True), join("sport")][:groups])
    world.run(5)
    world.sent.clear()
    world.do(world.server.command(gcks_settings.RemoveMember("news", host.identity), world.now))
    assert not world.directory.members("news")
    world.run(0.5)
    # <-- GSA_INBAND_REKEY{D}      SK{} -->
    assert [a for a in arrows(world) if "INBAND" in a] == ["GSA_INBAND_REKEY 0 <-", "GSA_INBAND_REKEY 0 ->"]
    if groups == 2:
        # The message names the SAs of the one group, which end after the deactivation delay; the other stays.
        assert host.endpoint.groups["sport"].registered
        world.run(policy().deactivation_delay + 0.1, lambda: not host.endpoint.groups["news"].rekey_spis)
        assert not host.endpoint.groups["news"].rekey_spis
        assert host.endpoint.groups["sport"].rekey_spis
    else:
        assert not host.endpoint.groups["news"].registered
    # It may come back, if it is allowed to (RFC 9838 2.4.3).
    world.run(20)
    assert host.endpoint.groups["news"].rekey_spis
    assert [m.identity for m in world.directory.members("news")] == [host.identity]


def test_commands_say_what_is_wrong() -> None:
    world = ready()
    with pytest.raises(LocalError, match="no group"):
        world.server.command(gcks_settings.Rekey("sport"), world.now)
    with pytest.raises(LocalError, match="not a member"):
        world.server.command(gcks_settings.RemoveMember("news", sender_name(3)), world.now)
    with pytest.raises(LocalError, match="no group"):
        world.server.command(gcks_settings.RemoveMember("sport", member_name(0)), world.now)
    with pytest.raises(LocalError):
        world.server.command(gcks_settings.Reload((policy(capacity=-1),)), world.now)
    with pytest.raises(LocalError, match="no group"):
        world.hosts[0].endpoint.command(member_settings.Leave("sport"), world.now)
    assert not world.sent


def test_reload_takes_new_groups_and_credentials() -> None:
    world = World(members=1)
    world.run(1)
    world.add(3, [join("sport")], credentials=None)
    world.run(0.5)
    assert not world.registered("sport")
    world.do(
        world.server.command(gcks_settings.Reload((policy(), policy("sport")), world.credentials), world.now)
    )
    host = world.hosts[3]
    world.do_member(host, host.endpoint.command(member_settings.Register("sport"), world.now))
    world.run(1)
    assert world.registered("sport") == [host]
    assert world.registered("news") == [world.hosts[0]]


# --- requests of the server to the member ---------------------------------------------------------


def server_asks(world: World, payloads: list[Payload], exchange: int) -> list[Payload]:
    _, theirs = established(world)
    message_id = theirs.window.next_request_id
    theirs.window.next_request_id += 1
    host = world.hosts[0]
    world.to_member(host, seal(theirs, exchange, message_id, payloads), host.path)
    reply = world.sent[-1]
    assert reply.to_server
    return inside(theirs, reply.data)


def test_the_member_answers_the_server() -> None:
    world = ready()
    assert server_asks(world, [], I) == []
    assert server_asks(world, [note(NotifyType.ADDITIONAL_TS_POSSIBLE)], I) == []


@pytest.mark.parametrize(
    ("exchange", "first", "octets", "kind", "lives"),
    [
        (I, 200, b"\0\x80\0\x04", NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, True),
        (I, 41, b"\0\0\0\x02", NotifyType.INVALID_SYNTAX, False),
        (ExchangeType.GSA_REGISTRATION, 50, b"\0\0\0\x0c\x0b\0\0\0news", NotifyType.INVALID_SYNTAX, False),
        (ExchangeType.CREATE_CHILD_SA, 200, b"\0\0\0\x04", NotifyType.INVALID_SYNTAX, False),
    ],
)
def test_the_member_rejects_what_it_does_not_understand(
    exchange: int, first: int, octets: bytes, kind: NotifyType, lives: bool
) -> None:
    world = ready()
    ours, theirs = established(world)
    host = world.hosts[0]
    request = seal_raw(theirs, exchange, 0, first, octets)
    world.to_member(host, request, host.path)
    replies = [d for d in world.sent if d.to_server]
    assert notes(inside(theirs, replies[0].data)) == [kind]
    assert (ours.state is SaState.ESTABLISHED) is lives
    world.to_member(host, request, host.path)
    again = [d for d in world.sent if d.to_server and peek_untrusted(d.data).exchange == exchange]
    assert len({d.data for d in again}) == 1
    assert len(again) == 2


def test_an_inband_rekey_for_nobody_is_refused() -> None:
    world = World([policy(), policy("sport")])
    world.add(0, [join(), join("sport")])
    world.run(1)
    world.fate = lambda _: []
    unknown = [Payload(PayloadType.DELETE, Delete(ProtocolId.ESP, 4, [b"\x77" * 4]))]
    assert server_asks(world, unknown, ExchangeType.GSA_INBAND_REKEY) == []
    assert len(world.registered("news")) == len(world.registered("sport")) == 1


def test_without_a_rekey_sa_the_loss_of_the_ike_sa_excludes() -> None:
    world = World(members=1)
    world.run(1)
    host = world.hosts[0]
    member = host.endpoint.groups["news"]
    member._rekeys.clear()
    world.do(world.server.command(gcks_settings.Shutdown(delete_ike_sas=True), world.now))
    world.run(0.5)
    assert not member.registered or len(host.endpoint.groups["news"].rekey_spis) > 0
    world.run(30)
    assert member.registered  # it came back by itself


def test_every_persist_comes_before_every_send() -> None:
    world = World([policy(), policy("sport")])
    seen: list[list[str]] = []
    do = world.do

    def watch(effects: list[object]) -> None:
        seen.append([type(e).__name__ for e in effects])
        do(effects)  # type: ignore[arg-type]

    world.do = watch  # type: ignore[method-assign,assignment]
    world.add(0, [join(sends=True), join("sport")])
    world.run(30)
    world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    rank = {"Persist": 0, "Send": 1, "SendMulticast": 1, "Tell": 2, "Ask": 3}
    assert any("Persist" in names for names in seen)
    for names in seen:
        ranks = [rank[name] for name in names]
        assert ranks == sorted(ranks)
        assert names.count("Persist") <= 1


def test_keys_and_counters_are_journalled_with_each_use() -> None:
    world = ready()
    ours, theirs = established(world)
    ask(world, [], I)
    assert world.book.ike_sas[ours.spi_r] == theirs.record()
    assert parse_untrusted(theirs.window.last_reply).header.message_id == 2
    assert isinstance(Persist(()), Persist)
    assert not [e for e in world.hosts[0].kernel if isinstance(e, InstallSa)]


def test_a_verdict_for_an_sa_that_has_ended_changes_nothing() -> None:
    world = ready(settings=GcksSettings(liveness_idle=10.0, backoff=QUICK))
    _, theirs = established(world)
    world.decides = False
    host = world.hosts[0]
    world.do_member(host, host.endpoint.command(member_settings.Register("news"), world.now))
    world.to_server(world.sent[-1].data, turned(host.path))
    question = world.asks[-1]
    world.hosts.clear()
    world.run(60, lambda: theirs.state is SaState.GONE)
    verdict = world.directory.decide(question, world.now)
    effects = world.server.answer(question, verdict, world.now)
    assert [e.event for e in effects] == ["verdict-unused"]  # type: ignore[union-attr]
    assert not world.directory.members("news")


def test_a_verdict_that_comes_too_late_finds_no_half_open_sa() -> None:
    world = World(fate=lambda _: [])
    world.decides = False
    host = world.add(0)
    world.to_server(world.sent[-1].data, turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    world.to_server(world.sent[-1].data, turned(host.path))
    (question,) = world.asks
    # Its copies do not ask again.
    world.to_server(next(d.data for d in reversed(world.sent) if d.to_server), turned(host.path))
    assert len(world.asks) == 1
    world.hosts.clear()
    world.run(31)
    assert any(t.fields.get("reason") == "no verdict in time" for t in world.events("ike-sa-state"))
    effects = world.server.answer(question, world.directory.decide(question, world.now), world.now)
    assert [e.event for e in effects] == ["verdict-unused"]  # type: ignore[union-attr]
    assert len(world.server._init.table) == 0


def test_worn_out_ids_take_the_memberships_along() -> None:
    world = ready()
    ours, theirs = established(world)
    theirs.window.next_request_id = LAST_MESSAGE_ID
    theirs.heard -= 1000
    world.now += 1000
    world.do(world.server.tick(world.now))
    assert ours.state is SaState.ESTABLISHED
    assert theirs.state is SaState.GONE
    assert not world.directory.members("news")
    assert not world.book.members


def test_a_member_that_declines_an_inband_rekey_is_told_of() -> None:
    world = ready()
    _, theirs = established(world)
    world.do(world.server.command(gcks_settings.RemoveMember("news", member_name(0)), world.now))
    refusal = seal(
        established(world)[0],
        ExchangeType.GSA_INBAND_REKEY,
        0,
        [note(NotifyType.NO_PROPOSAL_CHOSEN)],
        response=True,
    )
    world.to_server(refusal, turned(world.hosts[0].path))
    assert world.events("request-declined")
    assert theirs.state is SaState.ESTABLISHED
    assert theirs.window.pending is None
