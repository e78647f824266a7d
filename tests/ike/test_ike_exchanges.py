"""The unicast exchanges between a member and the key server, each told with arrows (RFC 9838 2.3, RFC 7296
1, 2).
"""

from __future__ import annotations

import hashlib
import ipaddress

import pytest
from endpoint_rig import (
    SERVER_ID,
    T0,
    World,
    arrows,
    established,
    exchange_of,
    init_of,
    inside,
    join,
    member_name,
    note,
    notes,
    policy,
    psk,
    sender_name,
    turned,
)

from gkmd.core.algorithms import AES_CBC_256, CURVE25519, ECP_256, MODP_3072
from gkmd.core.effect import InstallPolicy, InstallSa, JoinMulticast, RemovePolicy, RemoveSa, Tell
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.secret import SecretBytes
from gkmd.ike import grounds, init_responder, member_settings
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings, Rekey
from gkmd.ike.grounds import Believed
from gkmd.ike.group_join import GroupOffer
from gkmd.ike.initial import ReplyTemplate
from gkmd.ike.member_settings import MemberSettings
from gkmd.ike.proposal import IkePolicy, choose
from gkmd.ike.sa import SaState
from wire.chain import build_payloads
from wire.header import build_header, peek_untrusted
from wire.ikev2 import Ke, Notify, Proposal, Sa, Transform
from wire.message import Payload, build_message, build_sealed_head, first, parse_untrusted
from wire.registry import (
    AuthMethod,
    ExchangeType,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
)

# --- registration ---------------------------------------------------------------------------------


def test_a_receiver_registers_in_two_round_trips() -> None:
    world = World(members=1)
    world.run(1)
    # HDR, SAi1, KEi, Ni -->                                     <-- HDR, SAr1, KEr, Nr
    # HDR, SK{IDi, AUTH, IDr, IDg, SAg, N(INITIAL_CONTACT)} -->  <-- HDR, SK{IDr, AUTH, GSA, KD, N}
    assert arrows(world) == ["IKE_SA_INIT 0 ->", "IKE_SA_INIT 0 <-", "GSA_AUTH 1 ->", "GSA_AUTH 1 <-"]
    host = world.hosts[0]
    assert host.endpoint.groups["news"].registered
    assert [m.identity for m in world.directory.members("news")] == [member_name(0)]
    # Policy before SA; and it listens to the rekeys.
    kinds = [type(e) for e in host.kernel]
    assert JoinMulticast in kinds
    assert InstallSa not in kinds or kinds.index(InstallPolicy) < kinds.index(InstallSa)
    ours, theirs = established(world)
    assert ours.state is theirs.state is SaState.ESTABLISHED
    assert theirs.peer == member_name(0)
    assert ours.peer == SERVER_ID
    assert ours.gsk_w == theirs.gsk_w


def test_a_sender_registers_and_receivers_learn_of_its_sa_first() -> None:
    world = World(members=1)
    world.run(1)
    world.sent.clear()
    world.add(5, [join(sends=True)])
    world.run(1)
    # ... GSA_AUTH{.., N(GROUP_SENDER)} -->   <~~ GSA_REKEY (multicast), then   <-- GSA_AUTH{.., GSA, KD}
    order = [exchange_of(d) for d in world.sent]
    assert order.index("GSA_REKEY 0 <-") < order.index("GSA_AUTH 1 <-")
    (tek,) = {sa.spi for sa in world.directory.sas("news").data_sas}
    for number, direction in ((0, "IN"), (5, "OUT")):
        installed = [e.sa for e in world.hosts[number].kernel if isinstance(e, InstallSa)]
        assert [(sa.spi, sa.direction.name) for sa in installed] == [(tek, direction)]


def test_more_groups_over_one_ike_sa() -> None:
    world = World([policy(), policy("sport"), policy("late")])
    world.add(0, [join(), join("sport"), join("late")])
    world.run(1)
    # GSA_AUTH for the first, then one after the other: HDR, SK{IDg, SAg} -->   <-- HDR, SK{GSA, KD, N}
    assert arrows(world)[2:] == [
        "GSA_AUTH 1 ->",
        "GSA_AUTH 1 <-",
        "GSA_REGISTRATION 2 ->",
        "GSA_REGISTRATION 2 <-",
        "GSA_REGISTRATION 3 ->",
        "GSA_REGISTRATION 3 <-",
    ]
    for name in ("news", "sport", "late"):
        assert world.registered(name)
        assert [m.identity for m in world.directory.members(name)] == [member_name(0)]
    assert len(world.server._keeper.table) == 1


def test_registering_again_replaces_the_member() -> None:
    world = World(members=1)
    world.run(1)
    world.do_member(
        world.hosts[0], world.hosts[0].endpoint.command(member_settings.Register("news"), world.now)
    )
    world.run(1)
    assert arrows(world)[-2:] == ["GSA_REGISTRATION 2 ->", "GSA_REGISTRATION 2 <-"]
    assert len(world.directory.members("news")) == 1


def test_leaving_a_group_keeps_the_ike_sa() -> None:
    world = World([policy(), policy("sport")])
    host = world.add(0, [join(), join("sport")])
    world.run(1)
    world.do_member(host, host.endpoint.command(member_settings.Leave("news"), world.now))
    world.run(1)
    # HDR, SK{IDg, N(REGISTRATION_FAILED)} -->   <-- HDR, SK{}
    ours, _ = established(world)
    assert inside(ours, world.sent[-1].data) == []
    assert not world.directory.members("news")
    assert len(world.directory.members("sport")) == 1
    (left,) = [e.fields for e in world.tells if e.event == "member-left"]
    assert (left["group"], left["reason"]) == ("news", "REGISTRATION_FAILED")
    # Back again: a new membership.
    world.do_member(host, host.endpoint.command(member_settings.Register("news"), world.now))
    world.run(1)
    assert len(world.directory.members("news")) == 1


def test_a_clean_stop_leaves_every_group_and_deletes_the_ike_sa() -> None:
    world = World([policy(), policy("sport")])
    host = world.add(0, [join(), join("sport", sends=True)], identity=sender_name(0))
    world.run(1)
    world.sent.clear()
    world.do_member(host, host.endpoint.command(member_settings.Stop(), world.now))
    world.run(2)
    # SK{IDg, N} --> <-- SK{}   twice, then   SK{D} --> <-- SK{}
    assert [a for a in arrows(world) if a.endswith("->") and "REKEY" not in a] == [
        "GSA_REGISTRATION 3 ->",
        "GSA_REGISTRATION 4 ->",
        "INFORMATIONAL 5 ->",
    ]
    assert host.endpoint.stopped
    assert not world.server._keeper.table
    assert not world.book.ike_sas
    assert not world.book.members
    installed = [e.sa.spi for e in host.kernel if isinstance(e, InstallSa)]
    removed = [e.sa.spi for e in host.kernel if isinstance(e, RemoveSa)]
    assert sorted(installed) == sorted(removed)
    assert isinstance(host.kernel[-1], RemovePolicy)
    assert host.endpoint.deadline() is None


def test_a_stop_is_over_in_time_when_the_server_is_silent() -> None:
    world = World(members=1)
    world.run(1)
    host = world.hosts[0]
    world.fate = lambda _: []
    world.do_member(host, host.endpoint.command(member_settings.Stop(), world.now))
    begin = world.now
    world.run(100, lambda: host.endpoint.stopped)
    assert host.endpoint.stopped
    assert world.now - begin <= MemberSettings().stop_within + 0.01


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("joins", "changes", "kind"),
    [
        ([join("nothing")], {}, NotifyType.INVALID_GROUP_ID),
        ([join()], {"receivers": (IdentityPattern.parse("fqdn:*.other"),)}, NotifyType.AUTHORIZATION_FAILED),
        ([join(sends=True, receives=False)], {"senders": ()}, NotifyType.AUTHORIZATION_FAILED),
        ([join()], {"starts": T0 + 1000}, NotifyType.REGISTRATION_FAILED),
        ([join()], {"starts": T0 - 1000, "ends": T0 - 10}, NotifyType.REGISTRATION_FAILED),
        ([join(offer=GroupOffer(ciphers=(AES_CBC_256,)))], {}, NotifyType.NO_PROPOSAL_CHOSEN),
    ],
    ids=["unknown", "receiver", "sender", "not-yet", "over", "algorithms"],
)
def test_a_refusal_keeps_the_ike_sa(
    joins: list[object], changes: dict[str, object], kind: NotifyType
) -> None:
    world = World([policy(**changes)])
    world.add(0, joins, identity=member_name(0))  # type: ignore[arg-type]
    world.run(0.5)
    # ... GSA_AUTH -->   <-- HDR, SK{IDr, AUTH, N}
    assert arrows(world)[-1] == "GSA_AUTH 1 <-"
    ours, theirs = established(world)
    payloads = inside(ours, world.sent[-1].data)
    assert [p.type for p in payloads[:3]] == [PayloadType.ID_R, PayloadType.AUTH, PayloadType.NOTIFY]
    # What the group says is said once more for the member's software; the algorithms are not its word.
    ours_too = [] if kind is NotifyType.NO_PROPOSAL_CHOSEN else [NotifyType.GKMD_REASON]
    assert notes(payloads) == [kind, *ours_too]
    assert ours.state is theirs.state is SaState.ESTABLISHED
    assert not world.registered(joins[0].name)  # type: ignore[attr-defined]
    assert not world.directory.members("news")
    # It is journalled as well.
    assert list(world.book.ike_sas) == [ours.spi_r]


def test_a_full_group_refuses_one_more() -> None:
    world = World([policy(capacity=2)], members=3)
    world.run(0.5)
    assert len(world.registered()) == 2
    assert len(world.server._keeper.table) == 3


def test_refused_members_come_back_when_the_group_opens_and_not_in_a_storm() -> None:
    world = World([policy(starts=T0 + 100.0)], members=1)
    asked = lambda: [a for a in arrows(world) if a.startswith("GSA_REGISTRATION") and a.endswith("->")]  # noqa: E731
    # They were told when, and do not ask before; then within some seconds.
    world.run(99.9)
    assert not asked()
    world.run(3.2)
    assert len(asked()) == 1
    assert world.registered()


def test_members_that_are_not_told_when_come_back_and_not_in_a_storm() -> None:
    world = World([policy(capacity=1)], members=2)
    world.run(99)
    asked = [a for a in arrows(world) if a.startswith("GSA_REGISTRATION") and a.endswith("->")]
    assert 3 <= len(asked) <= 12  # 1, 2, 4, 8 ... seconds, with jitter


def test_unauthorised_members_ask_rarely() -> None:
    world = World([policy(receivers=())], members=1)
    world.run(1000)
    asked = [a for a in arrows(world) if a.startswith("GSA_REGISTRATION") and a.endswith("->")]
    assert 1 <= len(asked) <= 7  # every 300 s, from 150 to 450


def test_a_member_declines_a_policy_that_it_cannot_live_with() -> None:
    # It says nothing of its limits (no SAg would do), and the server's choice is not acceptable to it.
    world = World()
    host = world.add(0, [join(data_addresses=())])
    host.endpoint._enrolments["news"].member.join = join(
        data_sources=(), rekey_addresses=(ipaddress.ip_network("239.9.9.0/24"),)
    )
    world.run(1)
    # <-- SK{IDr, AUTH, GSA, KD}   then   SK{IDg, N(NO_PROPOSAL_CHOSEN)} -->   <-- SK{}
    assert arrows(world)[-2:] == ["GSA_REGISTRATION 2 ->", "GSA_REGISTRATION 2 <-"]
    assert not host.endpoint.groups["news"].registered
    assert not world.directory.members("news")
    assert any(t.event == "policy-refused" for t in host.tells)


# --- authentication failures ----------------------------------------------------------------------


def test_a_wrong_psk_gives_one_notification_and_no_sa() -> None:
    world = World()
    wrong = Credentials(member_name(0), {SERVER_ID: SecretBytes(b"not the key")})
    host = world.add(0, credentials=wrong)
    world.run(0.1)
    assert arrows(world)[-1] == "GSA_AUTH 1 <-"
    assert not world.server._keeper.table
    assert not world.book.ike_sas
    assert not world.asks
    (failed,) = world.events("authentication-failed")
    assert failed.level == "warning"
    assert any(t.event == "connect-failed" and "AUTHENTICATION_FAILED" in str(t.fields) for t in host.tells)
    # The member does not give up, and does not storm.
    world.run(60)
    inits = [a for a in arrows(world) if a == "IKE_SA_INIT 0 ->"]
    assert 3 <= len(inits) <= 10


def test_an_unknown_identity_is_refused_like_a_wrong_key() -> None:
    world = World()
    stranger = Identity.parse("fqdn:stranger.example")
    world.add(0, credentials=Credentials(stranger, {SERVER_ID: psk(stranger)}))
    world.run(0.1)
    assert not world.server._keeper.table
    assert not world.asks


def test_the_member_does_not_accept_another_server_than_its_own() -> None:
    # The server knows the member's key, but is not who the member wants.
    world = World()
    other = Identity.parse("fqdn:other.example")
    host = world.add(
        0, server_identity=other, credentials=Credentials(member_name(0), {other: psk(member_name(0))})
    )
    world.run(0.2)
    assert not host.endpoint.groups["news"].registered
    assert not host.kernel
    assert any("not fqdn:other.example" in str(t.fields.get("reason")) for t in host.tells)
    # INFORMATIONAL{N(AUTHENTICATION_FAILED)} --> tells the server, which forgets the SA (RFC 7296 2.21.2).
    assert "INFORMATIONAL 2 ->" in arrows(world)
    assert not world.server._keeper.table
    assert not world.directory.members("news")


def test_a_server_that_does_not_know_the_key_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    # The impostor lets everybody in, but cannot prove anything: the member's key is another.
    impostor = Credentials(SERVER_ID, {member_name(0): SecretBytes(b"guess")})
    world = World(credentials=impostor)
    host = world.add(0, start=False)
    verify = Authenticator.verify

    def gullible(self: Authenticator, *args: object) -> Believed:
        if self is world.server._auth._authenticator:
            return Believed(AuthMethod.SHARED_KEY, grounds.SHARED_KEY)
        return verify(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Authenticator, "verify", gullible)
    world.do_member(host, host.endpoint.start(world.now))
    world.run(0.2)
    assert world.asks  # it was let in ...
    assert not host.kernel  # ... and took nothing
    assert not host.endpoint.groups["news"].registered
    assert not world.directory.members("news")  # and the impostor was told


# --- IKE_SA_INIT ----------------------------------------------------------------------------------


def test_another_group_is_asked_for_and_given() -> None:
    world = World(ike=IkePolicy(key_exchanges=(ECP_256,)))
    world.add(0, ike=IkePolicy(key_exchanges=(CURVE25519, MODP_3072, ECP_256)))
    world.run(1)
    # HDR(A,0), SAi1, KEi(31), Ni -->           <-- HDR(A,0), N(INVALID_KE_PAYLOAD, 19)
    # HDR(A,0), SAi1, KEi(19), Ni -->           <-- HDR(A,B), SAr1, KEr, Nr
    assert arrows(world)[:4] == ["IKE_SA_INIT 0 ->", "IKE_SA_INIT 0 <-"] * 2
    refusal = parse_untrusted(world.sent[1].data)
    assert refusal.header.spi_r == bytes(8)
    assert notes(refusal.payloads) == [NotifyType.INVALID_KE_PAYLOAD]
    again = parse_untrusted(world.sent[2].data)
    once = parse_untrusted(world.sent[0].data)
    assert first(again.payloads, PayloadType.SA) == first(once.payloads, PayloadType.SA)
    assert first(again.payloads, PayloadType.NONCE) == first(once.payloads, PayloadType.NONCE)
    assert world.registered()
    assert len(world.server._init.table) == 0


@pytest.mark.parametrize("kind", ["not offered", "tried", "no number", "unknown"])
def test_a_group_that_makes_no_sense_is_not_given(kind: str) -> None:
    world = World(fate=lambda _: [])
    host = world.add(0, ike=IkePolicy(key_exchanges=(CURVE25519, ECP_256)))
    data = {"not offered": b"\0\x0f", "tried": b"\0\x1f", "no number": b"\0", "unknown": b"\xff\xff"}[kind]
    header = peek_untrusted(init_of(world))
    refusal = build_message(
        header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0, [note(NotifyType.INVALID_KE_PAYLOAD, data)]
    )
    sent = len(world.sent)
    world.to_member(host, refusal, host.path)
    assert len(world.sent) == sent


def test_each_group_is_tried_once() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0, ike=IkePolicy(key_exchanges=(CURVE25519, ECP_256)))
    header = peek_untrusted(init_of(world))
    for expected, data in enumerate((b"\0\x13", b"\0\x1f", b"\0\x13")):
        refusal = build_message(
            header.spi_i,
            bytes(8),
            ExchangeType.IKE_SA_INIT,
            0x20,
            0,
            [note(NotifyType.INVALID_KE_PAYLOAD, data)],
        )
        world.to_member(host, refusal, host.path)
        assert len(world.sent) == (2 if expected >= 0 else 1)  # only the first is followed


def test_a_cookie_is_asked_for_under_load_and_costs_no_state() -> None:
    world = World(settings=GcksSettings(cookie_threshold=0), members=1)
    world.run(1)
    # HDR(A,0), SAi1, KEi, Ni -->               <-- HDR(A,0), N(COOKIE)
    # HDR(A,0), N(COOKIE), SAi1, KEi, Ni -->    <-- HDR(A,B), SAr1, KEr, Nr
    assert arrows(world)[:4] == ["IKE_SA_INIT 0 ->", "IKE_SA_INIT 0 <-"] * 2
    asked, again = parse_untrusted(world.sent[1].data), parse_untrusted(world.sent[2].data)
    assert asked.header.spi_r == bytes(8)
    (cookie,) = [p.body for p in asked.payloads]
    assert isinstance(cookie, Notify)
    assert again.payloads[0].body == Notify(0, b"", NotifyType.COOKIE, cookie.data)
    assert again.payloads[1:] == parse_untrusted(world.sent[0].data).payloads
    assert world.registered()


def test_a_flood_makes_no_more_half_open_sas_than_the_threshold() -> None:
    world = World(settings=GcksSettings(cookie_threshold=5))
    for number in range(9):
        world.add(number, start=False)
        world.fate = lambda _: []
        world.do_member(world.hosts[number], world.hosts[number].endpoint.start(world.now))
        world.to_server(init_of(world, number), turned(world.hosts[number].path))
    assert len(world.server._init.table) == 5
    assert len(world.events("cookie-asked")) == 4


def test_a_cookie_of_another_peer_is_as_good_as_none() -> None:
    world = World(settings=GcksSettings(cookie_threshold=0), fate=lambda _: [])
    host = world.add(0)
    world.to_server(init_of(world), turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    other = turned(host.path)
    other = type(other)(other.local, other.local_port, "10.9.9.9", 500)
    world.to_server(init_of(world), other)
    assert notes(parse_untrusted(world.sent[-1].data).payloads) == [NotifyType.COOKIE]
    assert len(world.server._init.table) == 0
    # Where it belongs it opens the door, for one and the next secret.
    world.now += world.settings.cookie_lifetime * 1.5
    world.to_server(init_of(world), turned(host.path))
    assert len(world.server._init.table) == 1


def test_a_cookie_has_to_stand_first() -> None:
    world = World(settings=GcksSettings(cookie_threshold=0), fate=lambda _: [])
    host = world.add(0)
    world.to_server(init_of(world), turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    message = parse_untrusted(init_of(world))
    first_type, chain = build_payloads([*message.payloads[1:], message.payloads[0]])
    header = message.header
    header.next_payload = first_type
    world.to_server(build_header(header) + chain, turned(host.path))
    assert len(world.server._init.table) == 0


def test_forged_cookies_do_not_keep_a_member_busy() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    header = peek_untrusted(init_of(world))
    for number in range(20):
        cookie = build_message(
            header.spi_i,
            bytes(8),
            ExchangeType.IKE_SA_INIT,
            0x20,
            0,
            [note(NotifyType.COOKIE, bytes([number + 1]))],
        )
        world.to_member(host, cookie, host.path)
    assert len(world.sent) == 1 + 5


def test_a_repeated_init_gets_the_same_reply_without_a_new_key_exchange(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    made = []
    generate = init_responder.generate
    monkeypatch.setattr(init_responder, "generate", lambda *a: made.append(a) or generate(*a))
    for _ in range(3):
        world.to_server(init_of(world), turned(host.path))
    replies = {d.data for d in world.sent if not d.to_server}
    assert len(replies) == 1
    assert len(made) == 1
    assert len(world.server._init.table) == 1


def test_a_repeated_init_after_gsa_auth_is_ignored() -> None:
    world = World(members=1)
    world.run(1)
    init = next(d.data for d in world.sent if d.to_server)
    sent = len(world.sent)
    world.to_server(init, turned(world.hosts[0].path))
    assert len(world.sent) == sent
    assert len(world.server._init.table) == 0


def test_half_open_sas_are_bounded_in_number_and_time() -> None:
    world = World(settings=GcksSettings(half_open_limit=3), fate=lambda _: [])
    for number in range(5):
        world.add(number)
        world.to_server(init_of(world, number), turned(world.hosts[number].path))
    assert len(world.server._init.table) == 3
    world.hosts.clear()
    world.run(29)
    assert len(world.server._init.table) == 3
    world.run(2)
    assert len(world.server._init.table) == 0


@pytest.mark.parametrize("missing", ["kwa", "cipher", "protocol", "unknown-type"])
def test_a_proposal_that_does_not_fit_is_refused(missing: str) -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    message = parse_untrusted(init_of(world))
    sa = first(message.payloads, PayloadType.SA)
    assert sa is not None
    proposals = []
    for proposal in sa.proposals:
        transforms = list(proposal.transforms)
        protocol = int(proposal.protocol)
        if missing == "kwa":  # a plain IKEv2 initiator (RFC 9838 2.3)
            transforms = [t for t in transforms if t.type != TransformType.KWA]
        elif missing == "cipher":
            transforms = [Transform(1, 99) if t.type == TransformType.ENCR else t for t in transforms]
        elif missing == "protocol":
            protocol = ProtocolId.ESP
        else:
            transforms.append(Transform(99, 1))
        proposals.append(Proposal(proposal.number, protocol, b"", transforms))
    payloads = [Payload(33, Sa(proposals)), *(p for p in message.payloads if p.type != PayloadType.SA)]
    header = message.header
    data = build_message(header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 0x08, 0, payloads)
    world.to_server(data, turned(host.path))
    # <-- HDR(A,0), N(NO_PROPOSAL_CHOSEN)
    reply = parse_untrusted(world.sent[-1].data)
    assert notes(reply.payloads) == [NotifyType.NO_PROPOSAL_CHOSEN]
    assert reply.header.spi_r == bytes(8)
    assert len(world.server._init.table) == 0
    # To the member it is a hint: it asks again, until it has asked often enough.
    sent = len(world.sent)
    world.to_member(host, world.sent[-1].data, host.path)
    assert len(world.sent) == sent
    world.run(60, lambda: any(t.event == "connect-failed" for t in host.tells))
    failed = next(t for t in host.tells if t.event == "connect-failed")
    assert "NO_PROPOSAL_CHOSEN" in str(failed.fields["reason"])


def test_nat_detection_is_answered_when_asked() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    message = parse_untrusted(init_of(world))
    payloads = [*message.payloads, note(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20))]
    data = build_message(message.header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 0x08, 0, payloads)
    world.to_server(data, turned(host.path))
    reply = parse_untrusted(world.sent[-1].data)
    header = reply.header
    kinds = {p.body.type: p.body.data for p in reply.payloads if isinstance(p.body, Notify)}
    seen = hashlib.sha1(header.spi_i + header.spi_r + bytes([10, 0, 1, 1]) + b"\x01\xf4").digest()
    assert kinds[NotifyType.NAT_DETECTION_DESTINATION_IP] == seen
    ours = hashlib.sha1(header.spi_i + header.spi_r + bytes([10, 0, 0, 1]) + b"\x01\xf4").digest()
    assert kinds[NotifyType.NAT_DETECTION_SOURCE_IP] == ours


@pytest.mark.parametrize("octets", [0, 31, 33, 64])
def test_a_public_value_of_another_length_makes_no_state(octets: int) -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    message = parse_untrusted(init_of(world))
    payloads = [
        Payload(34, Ke(31, bytes(octets))) if p.type == PayloadType.KE else p for p in message.payloads
    ]
    data = build_message(message.header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 0x08, 0, payloads)
    sent = len(world.sent)
    world.to_server(data, turned(host.path))
    assert len(world.sent) == sent
    assert len(world.server._init.table) == 0


def test_a_rekey_that_comes_back_to_the_server_is_dropped() -> None:
    # RFC 9838 8.2.4: the key server has no inbound Rekey SA, whatever the flags say.
    world = World(members=1)
    world.run(1)
    world.do(world.server.command(Rekey("news"), world.now))
    rekey = next(d for d in world.sent if exchange_of(d).startswith("GSA_REKEY"))
    before = world.directory.sas("news")
    for flags in (0x00, 0x08, 0x20, 0x28):
        data = bytearray(rekey.data)
        data[19] = flags
        effects = world.server.receive(bytes(data), turned(world.hosts[0].path), world.now)
        assert [type(e) for e in effects] == [Tell]
    assert world.directory.sas("news") == before


def test_a_public_value_of_small_order_ends_the_half_open_sa() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    message = parse_untrusted(init_of(world))
    payloads = [Payload(34, Ke(31, bytes(32))) if p.type == PayloadType.KE else p for p in message.payloads]
    data = build_message(message.header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 0x08, 0, payloads)
    world.to_server(data, turned(host.path))
    reply = peek_untrusted(world.sent[-1].data)
    sealed = build_sealed_head(reply.spi_i, reply.spi_r, ExchangeType.GSA_AUTH, 0x08, 1, 35, 60) + bytes(60)
    sent = len(world.sent)
    world.to_server(sealed, turned(host.path))
    assert len(world.sent) == sent
    assert len(world.server._init.table) == 0
    assert any("key exchange" in str(t.fields["reason"]) for t in world.events("ike-sa-failed"))


def test_the_first_answer_to_init_may_be_forged() -> None:
    # A stranger on the wire answers before the server does (RFC 7296 2.4).
    world = World()
    host = world.add(0)
    init = init_of(world)
    header = peek_untrusted(init)
    chosen = choose(IkePolicy(), first(parse_untrusted(init).payloads, PayloadType.SA), 31)  # type: ignore[arg-type]
    for number in range(3):
        forged = ReplyTemplate(chosen.reply, CURVE25519, []).build(
            header.spi_i, bytes([number + 1]) * 8, bytes([9]) + bytes([number] * 31), bytes([number] * 32)
        )
        world.to_member(host, forged, host.path)
    world.run(2)
    assert world.registered()
    # The stranger got three requests that it cannot read, and nothing came of them.
    assert arrows(world).count("GSA_AUTH 1 ->") >= 4


def test_an_answer_with_the_same_keys_is_not_sealed_for_twice() -> None:
    # The server's answer comes once as it was and once with another notification: same keys, same IV.
    world = World(fate=lambda _: [])
    host = world.add(0)
    world.to_server(init_of(world), turned(host.path))
    reply = parse_untrusted(world.sent[-1].data)
    genuine = world.sent[-1].data
    forged = build_message(
        reply.header.spi_i,
        reply.header.spi_r,
        ExchangeType.IKE_SA_INIT,
        0x20,
        0,
        [*reply.payloads, note(NotifyType.REDIRECT_SUPPORTED)],
    )
    sent = len(world.sent)
    world.to_member(host, forged, host.path)
    world.to_member(host, genuine, host.path)
    world.to_member(host, genuine, host.path)
    assert len(world.sent) == sent + 1
    # And both variants are tried when the server proves itself.
    world.to_server(world.sent[-1].data, turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    assert world.registered()
