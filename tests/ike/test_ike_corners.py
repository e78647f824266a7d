"""What happens rarely: requests that wait in line, damaged replies, fragments, short nonces, tables that
are full.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from endpoint_rig import (
    SERVER_ID,
    World,
    arrows,
    ask,
    established,
    init_of,
    inside,
    join,
    member_name,
    note,
    notes,
    policy,
    psk,
    seal_raw,
    turned,
)
from test_ike_suites import by_certificate, credentials

from gkmd.core.address import Path
from gkmd.core.algorithms import CURVE25519, PRF_HMAC_SHA2_512
from gkmd.core.effect import Send, Tell
from gkmd.core.errors import LocalError
from gkmd.crypto.exchange import generate
from gkmd.ike import gcks_settings, init_responder, registrar, sa_keeper
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.initial import ReplyTemplate
from gkmd.ike.proposal import IkePolicy, choose
from gkmd.ike.removal import DELETE_IKE_SA
from gkmd.ike.sa import SaState
from gkmd.ike.turn import Turn
from wire.chain import build_payloads
from wire.header import build_header, peek_untrusted
from wire.ikev2 import Cert, EncryptedFragment, Nonce
from wire.message import Payload, build_message, first, parse_untrusted
from wire.registry import ExchangeType, NotifyType, PayloadType

I = ExchangeType.INFORMATIONAL  # noqa: E741


def ready(**kwargs: object) -> World:
    world = World(members=1, **kwargs)  # type: ignore[arg-type]
    world.run(1)
    world.fate = lambda _: []
    world.sent.clear()
    return world


def request(world: World, exchange: ExchangeType, payloads: list[Payload]) -> None:
    _, theirs = established(world)
    turn = Turn()
    world.server._keeper.request(turn, theirs, exchange, payloads, world.now)
    world.do(world.server._keeper.finish(turn))


# --- our requests wait in line --------------------------------------------------------------------


def test_requests_of_the_server_go_out_one_by_one() -> None:
    world = World(members=1)
    world.run(1)
    world.sent.clear()
    for _ in range(3):
        request(world, I, [])
    assert arrows(world) == ["INFORMATIONAL 0 <-"]
    world.run(1)
    assert arrows(world) == [f"INFORMATIONAL {n} {way}" for n in range(3) for way in ("<-", "->")]
    _, theirs = established(world)
    assert world.book.ike_sas[theirs.spi_r].next_request_id == 3
    assert world.book.ike_sas[theirs.spi_r].pending_request == b""


def test_a_delete_waits_for_the_request_before_it() -> None:
    world = World(members=1)
    world.run(1)
    _, theirs = established(world)
    request(world, I, [])
    world.sent.clear()
    world.do(world.server.command(gcks_settings.Shutdown(delete_ike_sas=True), world.now))
    assert theirs.state is SaState.CLOSING
    assert not world.sent
    world.run(1)
    # SK{} <--  --> SK{}  and then  SK{D} <--  --> SK{}
    assert [a for a in arrows(world) if a.endswith("<-")] == ["INFORMATIONAL 1 <-"]
    assert theirs.state is SaState.GONE
    assert world.hosts[0].endpoint.sa is None
    assert world.server.ike_sas == 0


def test_a_request_on_its_way_to_the_journal_is_not_repeated_early() -> None:
    world = ready()
    _, theirs = established(world)
    turn = Turn()
    world.server._keeper.request(turn, theirs, I, [], world.now)
    effects = world.server._keeper.finish(turn)  # nobody says that it is done
    world.now += 1.01
    assert [e for e in world.server.tick(world.now) if isinstance(e, Send)] == []
    world.server.done(effects[0], None, world.now)
    world.now += 0.2
    (again,) = [e for e in world.server.tick(world.now) if isinstance(e, Send)]
    assert again == effects[1]


# --- damaged replies ------------------------------------------------------------------------------


def test_a_malformed_reply_ends_the_sa_at_the_server() -> None:
    world = ready()
    ours, theirs = established(world)
    request(world, I, [])
    data = seal_raw(ours, I, 0, PayloadType.NOTIFY, b"\0\0\0\2", response=True)
    world.to_server(data, turned(world.hosts[0].path))
    assert theirs.state is SaState.GONE
    assert "malformed reply" in theirs.reason
    assert not world.directory.members("news")


def test_a_fatal_notification_in_a_reply_ends_the_sa_at_the_server() -> None:
    world = ready()
    ours, theirs = established(world)
    request(world, I, [])
    first_type, octets = build_payloads([note(NotifyType.INVALID_SYNTAX)])
    data = seal_raw(ours, I, 0, first_type, octets, response=True)
    world.to_server(data, turned(world.hosts[0].path))
    assert theirs.state is SaState.GONE
    assert "INVALID_SYNTAX" in theirs.reason


def test_a_malformed_reply_ends_the_sa_at_the_member() -> None:
    world = ready()
    host = world.hosts[0]
    ours, theirs = established(world)
    ours.heard -= 1000
    world.do_member(host, host.endpoint.tick(world.now))
    data = seal_raw(theirs, I, 2, PayloadType.NOTIFY, b"\0\0\0\2", response=True)
    world.to_member(host, data, host.path)
    assert ours.state is SaState.GONE
    assert host.endpoint.groups["news"].registered


# --- GSA_AUTH -------------------------------------------------------------------------------------


def at_gsa_auth(**kwargs: object) -> tuple[World, object, object]:
    """A world before GSA_AUTH arrives, and both ends of the half-open SA."""
    world = World(fate=lambda _: [], **kwargs)  # type: ignore[arg-type]
    host = world.add(0)
    world.to_server(init_of(world), turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    (half,) = world.server._init.table._by_spi.values()
    return world, host.endpoint._connector._attempt._candidates[0].sa, half  # type: ignore[union-attr]


def test_an_unknown_critical_payload_in_gsa_auth() -> None:
    world, ours, half = at_gsa_auth()
    data = seal_raw(ours, ExchangeType.GSA_AUTH, 1, 200, b"\0\x80\0\4")  # type: ignore[arg-type]
    path = turned(world.hosts[0].path)
    world.to_server(data, path)
    (reply,) = inside(ours, world.sent[-1].data)  # type: ignore[arg-type]
    assert reply.body == note(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc8").body
    assert half.sa.state is SaState.GONE  # type: ignore[attr-defined]
    assert world.server.half_open == 0
    # Its reply may be lost.
    world.to_server(data, path)
    assert world.sent[-1].data == world.sent[-2].data


def test_another_message_id_or_exchange_on_a_half_open_sa_is_dropped() -> None:
    world, ours, _ = at_gsa_auth()
    path = turned(world.hosts[0].path)
    sent = len(world.sent)
    for exchange, message_id in ((ExchangeType.GSA_AUTH, 2), (ExchangeType.GSA_AUTH, 0), (I, 1)):
        world.to_server(seal_raw(ours, exchange, message_id, 0, b""), path)  # type: ignore[arg-type]
    assert len(world.sent) == sent
    assert world.server.half_open == 1


@pytest.mark.parametrize("encoding", [1, 7, 12])
def test_other_certificate_encodings_are_refused(encoding: int) -> None:
    server = by_certificate("ed25519", SERVER_ID)
    member = by_certificate("ed25519", member_name(0))
    world = World(credentials=server, fate=lambda _: [])
    host = world.add(0, credentials=member, identity=member_name(0))
    world.to_server(init_of(world), turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    (half,) = world.server._init.table._by_spi.values()
    ours = host.endpoint._connector._attempt._candidates[0].sa  # type: ignore[union-attr]
    payloads = inside(half.keyed(world.rng, world.now), world.sent[-1].data)
    changed = [
        Payload(p.type, Cert(encoding, p.body.data)) if isinstance(p.body, Cert) else p for p in payloads
    ]
    kind, octets = build_payloads(changed)
    world.to_server(seal_raw(ours, ExchangeType.GSA_AUTH, 1, kind, octets), turned(host.path))
    (failed,) = world.events("authentication-failed")
    assert f"encoding {encoding}" in str(failed.fields["reason"])


def test_a_member_whose_hashes_do_not_fit_is_told_nothing() -> None:
    # It announces no hash that an Ed25519 signature can use (RFC 8420 2), so the server cannot prove itself.
    server, member = credentials("ed25519 certificate")
    server = replace(server, pre_shared_keys={})
    world = World(credentials=server, fate=lambda _: [])
    host = world.add(0, credentials=member, identity=member_name(0))
    world.to_server(init_of(world), turned(host.path))
    (half,) = world.server._init.table._by_spi.values()
    half.hashes = (2,)
    world.to_member(host, world.sent[-1].data, host.path)
    world.to_server(world.sent[-1].data, turned(host.path))
    assert "no hash" in str(world.events("authentication-failed")[0].fields["reason"])
    assert not world.asks


def test_raw_keys_are_asked_for_when_some_are_pinned() -> None:
    server, member = credentials("ed25519 raw key")
    world = World(credentials=server, fate=lambda _: [])
    host = world.add(0, credentials=member, identity=member_name(0))
    world.to_server(init_of(world), turned(host.path))
    wanted = first(parse_untrusted(world.sent[-1].data).payloads, PayloadType.CERTREQ)
    assert wanted is not None
    assert (wanted.encoding, wanted.data) == (15, b"")


# --- IKE_SA_INIT ----------------------------------------------------------------------------------


def test_a_nonce_has_half_the_key_of_the_prf() -> None:
    ike = IkePolicy(prfs=(PRF_HMAC_SHA2_512,))
    world = World(ike=ike, fate=lambda _: [])
    host = world.add(0)
    message = parse_untrusted(init_of(world))
    payloads = [
        Payload(p.type, Nonce(bytes(31))) if p.type == PayloadType.NONCE else p for p in message.payloads
    ]
    data = build_message(message.header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, payloads)
    sent = len(world.sent)
    world.to_server(data, turned(host.path))
    assert len(world.sent) == sent
    # The member sees to the same.
    world.to_server(init_of(world), turned(host.path))
    reply = parse_untrusted(world.sent[-1].data)
    payloads = [
        Payload(p.type, Nonce(bytes(31))) if p.type == PayloadType.NONCE else p for p in reply.payloads
    ]
    header = reply.header
    data = build_message(header.spi_i, header.spi_r, ExchangeType.IKE_SA_INIT, 0x20, 0, payloads)
    sent = len(world.sent)
    world.to_member(host, data, host.path)
    assert len(world.sent) == sent


def test_a_reply_to_the_server_is_none() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    world.to_server(init_of(world), turned(host.path))
    reply = world.sent[-1].data
    world.sent.clear()
    world.to_server(reply, turned(host.path))
    assert not world.sent
    dropped = world.events("datagram-dropped")[-1]
    assert dropped.fields["reason"] == "unexpected-reply"


def test_only_so_many_answers_are_followed_up_and_notifications_come_too_late() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    init = parse_untrusted(init_of(world))
    offered = first(init.payloads, PayloadType.SA)
    assert offered is not None
    template = ReplyTemplate(choose(IkePolicy(), offered, 31).reply, CURVE25519, [])
    world.sent.clear()
    for number in range(6):
        public = generate(CURVE25519, world.rng).public
        world.to_member(
            host, template.build(init.header.spi_i, world.rng(8), public, bytes([number]) * 32), host.path
        )
    assert arrows(world) == ["GSA_AUTH 1 ->"] * 4
    for late in (note(NotifyType.COOKIE, b"c"), note(NotifyType.INVALID_KE_PAYLOAD, b"\0\x13")):
        data = build_message(init.header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0, [late])
        world.to_member(host, data, host.path)
    assert len(world.sent) == 4
    # All four are repeated until one proves itself.
    world.now = host.endpoint.deadline() or 0.0
    world.do_member(host, host.endpoint.tick(world.now))
    assert len({d.data for d in world.sent}) == 4
    assert len(world.sent) == 8


def test_one_of_several_answers_that_is_no_good_leaves_the_others() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    init = init_of(world)
    header = peek_untrusted(init)
    # Another server with the same name but without the key answers as well.
    impostor = World(
        credentials=Credentials(SERVER_ID, {member_name(0): psk("guess")}), fate=lambda _: [], seed="impostor"
    )
    impostor.hosts[0] = host
    impostor._by_address[host.path.local] = 0
    impostor.to_server(init, turned(host.path))
    world.to_member(host, impostor.sent[-1].data, host.path)
    to_impostor = world.sent[-1].data
    world.to_server(init, turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    genuine = world.sent[-1].data
    impostor.to_server(to_impostor, turned(host.path))
    assert notes(parse_untrusted(impostor.sent[-1].data).payloads) == []  # it is sealed
    world.to_member(host, impostor.sent[-1].data, host.path)
    assert host.tells[-1].event == "datagram-dropped"
    assert host.tells[-1].fields["reason"] == "not-the-server"
    world.to_server(genuine, turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    assert world.registered() == [host]
    assert header.spi_i == host.endpoint.sa.spi_i  # type: ignore[union-attr]


# --- fragments, paths, bounds ---------------------------------------------------------------------


def test_fragments_were_not_agreed_on() -> None:
    world = ready()
    ours, theirs = established(world)
    before = theirs.record()
    kind, chain = build_payloads([Payload(PayloadType.SKF, EncryptedFragment(0, 1, 2, bytes(40)))])
    for flags, to_server in ((0x08, True), (0x00, False)):
        header = peek_untrusted(_any_datagram())
        header.spi_i, header.spi_r, header.exchange = ours.spi_i, ours.spi_r, I
        header.next_payload, header.flags, header.message_id = kind, flags, 2 if to_server else 0
        header.length = 28 + len(chain)
        data = build_header(header) + chain
        if to_server:
            world.to_server(data, turned(world.hosts[0].path))
            assert world.events("datagram-dropped")[-1].fields["reason"] == "fragment"
        else:
            world.to_member(world.hosts[0], data, world.hosts[0].path)
            assert world.hosts[0].tells[-1].fields["reason"] == "fragment"
    assert theirs.record() == before


def _any_datagram() -> bytes:
    return build_message(
        bytes([1]) * 8, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0, [note(NotifyType.COOKIE)]
    )


def test_a_path_without_a_local_address_is_no_trouble() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    message = parse_untrusted(init_of(world))
    payloads = [*message.payloads, note(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20))]
    data = build_message(message.header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, payloads)
    effects = world.server.receive(data, Path("", 0, host.path.local, 500), world.now)
    assert [type(e) for e in effects] == [Send]
    host.path = replace(host.path, local="")
    world = World()
    member = world.add(1, start=False)
    member.endpoint._connector._servers = (  # type: ignore[misc]
        replace(member.endpoint._connector._servers[0], path=Path("0.0.0.0", 500, "10.0.0.1", 500)),
    )
    world.do_member(member, member.endpoint.start(world.now))
    assert world.sent[-1].path.remote == "0.0.0.0"


def test_caches_and_the_ended_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_responder, "_MOST_CHOICES", 2)
    monkeypatch.setattr(registrar, "_MOST_JUDGED", 1)
    monkeypatch.setattr(sa_keeper, "_LINGERING_LIMIT", 2)
    world = World([policy(), policy("sport")])
    for number in range(6):
        ike = IkePolicy(key_wraps=IkePolicy().key_wraps[number % 3 :], prfs=IkePolicy().prfs[number % 2 :])
        world.add(number, [join(), join("sport")], ike=ike)
    world.run(2)
    assert len(world.registered("sport")) == 6
    assert len(world.server._init._choices) <= 2
    assert len(world.server._registrar._judged) <= 1
    assert len(world.server._registrar._octets) <= 1
    for number in range(6):
        assert ask(world, [DELETE_IKE_SA], I, number) == []
    assert len(world.server._keeper._lingering) == 2


def test_a_template_keeps_its_lengths_and_a_machine_its_manners() -> None:
    world = World()
    assert world.server.command(gcks_settings.Shutdown(), world.now) == []
    assert world.server.deadline() is not None
    with pytest.raises(LocalError):
        world.server.command(gcks_settings.Rekey(""), world.now)
    host = world.add(0)
    asked = type("Ask", (), {})
    assert host.endpoint.answer(asked, asked, world.now) == []  # type: ignore[arg-type]
    assert GcksSettings() == world.settings
    assert all(isinstance(t, Tell) for t in host.tells)
