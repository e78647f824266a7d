"""Views, orders and offers as payloads: what each party is told, and what not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_fixtures import (
    CBC_REKEY,
    GROUP_ADDRESS,
    GSK_W,
    IMPLICIT,
    IPV6,
    POLICY,
    RECEIVER,
    SENDER,
    SHARED,
    T0,
    TUNNEL,
    TX,
    TX2,
    Server,
    through_wire,
)

from gkmd.core.algorithms import (
    AES_CBC_128,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    HMAC_SHA2_256_128,
    KW_5649_128,
    KW_5649_256,
    PRF_HMAC_SHA2_256,
    PRF_HMAC_SHA2_512,
    RekeyAuth,
)
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import SigningKey
from gkmd.crypto.keymat import group_wrap_key
from gkmd.crypto.keywrap import unwrap
from gkmd.daemon.udp import DATAGRAM_OCTETS
from gkmd.group.group import MOST_SENDERS
from gkmd.group.model import GroupPolicy
from gkmd.ike.group_join import GroupOffer
from gkmd.ike.read_gikev2 import read_registration
from gkmd.ike.render_gikev2 import acceptable, offer, render_registration, render_rekey
from gkmd.ike.selectors import Selection, build_selector, read_selector
from wire.attributes import Attribute
from wire.gikev2 import (
    GroupKeyBag,
    GroupSaPolicy,
    GroupWidePolicy,
    MemberKeyBag,
    parse_wrapped_key_untrusted,
)
from wire.ikev2 import Proposal, Sa, TrafficSelector, Transform
from wire.message import Payload, build_chain, first, notify, parse_inner
from wire.registry import ExchangeType, NotifyType, PayloadType, ProtocolId, TransformType


def policies(payloads: list[Payload]) -> list[GroupSaPolicy]:
    gsa = first(payloads, PayloadType.GSA)
    assert gsa is not None
    return [p for p in gsa.policies if isinstance(p, GroupSaPolicy)]


def wide(payloads: list[Payload]) -> dict[int, int | bytes]:
    gsa = first(payloads, PayloadType.GSA)
    assert gsa is not None
    (policy,) = [p for p in gsa.policies if isinstance(p, GroupWidePolicy)]
    return {a.type: a.value for a in policy.attributes}


def member_bag(payloads: list[Payload]) -> list[tuple[int, int | bytes]]:
    kd = first(payloads, PayloadType.KD)
    assert kd is not None
    return [(a.type, a.value) for b in kd.bags if isinstance(b, MemberKeyBag) for a in b.attributes]


def attributes(policy: GroupSaPolicy) -> dict[int, int | bytes]:
    return {a.type: a.value for a in policy.attributes}


def number(value: int | bytes) -> int:
    assert isinstance(value, bytes)
    assert len(value) == 4
    return int.from_bytes(value, "big")


# --- registration ----------------------------------------------------------------------------------------


def test_what_a_receiver_is_told() -> None:
    server = Server()
    tek = server.new_tek(T0, TX)
    payloads = through_wire(render_registration(server.view(T0), GSK_W))
    kek_policy, tek_policy = policies(payloads)
    assert kek_policy.spi == server.kek.spi
    assert [(t.type, t.id) for t in kek_policy.transforms] == [(1, 20), (13, 3), (14, 2)]
    assert kek_policy.transforms[2].attributes == [Attribute(18, bytes.fromhex("300506032b6570"))]
    assert attributes(kek_policy) == {1: (3600).to_bytes(4, "big")}
    assert tek_policy.spi == tek.spi.to_bytes(4, "big")
    assert wide(payloads) == {1: 4, 2: 10}
    assert server.signing_key is not None
    # AUTH_KEY is a bare SubjectPublicKeyInfo, and all that a receiver's member bag holds.
    assert member_bag(payloads) == [(2, SigningKey.from_seed(server.signing_key).spki_der)]
    assert notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None
    kd = first(payloads, PayloadType.KD)
    assert kd is not None
    for bag, secret in zip(kd.bags, (server.kek.key, tek.key), strict=False):
        assert isinstance(bag, GroupKeyBag)
        (attribute,) = bag.attributes
        assert isinstance(attribute.value, bytes)
        wrapped = parse_wrapped_key_untrusted(attribute.value)
        assert (wrapped.key_id, wrapped.kwk_id) == (0, 0)
        assert unwrap(GSK_W, wrapped.data) == secret


@pytest.mark.parametrize(
    ("policy", "ids", "told"),
    [
        (POLICY, (3, 200), True),
        (POLICY, (), False),  # no GROUP_SENDER
        (SHARED, (3,), False),  # no counter mode: RFC 9838 table 9 note 1
    ],
)
def test_sender_ids_go_to_senders_with_counter_mode(
    policy: GroupPolicy, ids: tuple[int, ...], told: bool
) -> None:
    server = Server(policy)
    server.new_tek(T0, TX)
    payloads = through_wire(render_registration(server.view(T0, ids), GSK_W))
    given = [value for kind, value in member_bag(payloads) if kind == 3]
    assert [number(value) for value in given] == (list(ids) if told else [])
    assert (3 in wide(payloads)) is told


def test_a_late_joiner_gets_what_remains() -> None:
    server = Server()
    first_tek = server.new_tek(T0, TX)
    server.rekey(T0 + 500)  # the first one goes at T0 + 510
    server.kek = replace(server.kek, next_message_id=41)
    payloads = render_registration(server.view(T0 + 503.2), GSK_W)
    kek, old, new = policies(payloads)
    assert number(attributes(kek)[1]) == 3096  # rounded down: nobody outlives the server's view
    assert number(attributes(kek)[2]) == 41  # the id of the message that comes next
    assert old.spi == first_tek.spi.to_bytes(4, "big")
    assert number(attributes(old)[1]) == 6  # until its removal, not until its expiry
    assert number(attributes(new)[1]) == 596
    # At the very end one second is left, and then nothing.
    server.teks = {first_tek.spi: server.teks[first_tek.spi]}
    almost = replace(server.view(T0 + 505), now=T0 + 509.9)
    assert number(attributes(policies(render_registration(almost, GSK_W))[1])[1]) == 1
    over = replace(server.view(T0 + 505), now=T0 + 510)
    assert len(policies(render_registration(over, GSK_W))) == 1


def test_the_sas_of_all_senders_fit_a_datagram_even_while_keys_change() -> None:
    server = Server(IPV6)
    for number in range(2 * MOST_SENDERS):
        server.new_tek(T0, ip_address((0xFD << 120) + number + 1))
    _, inner = build_chain(render_registration(server.view(T0, (1,) * 8), GSK_W))
    assert len(inner) < DATAGRAM_OCTETS - 5000  # for IDr, a certificate chain and AUTH


def test_the_shapes_of_all_policies() -> None:
    for policy, sequence, auth, transport in (
        (POLICY, 0, 2, True),
        (SHARED, 2, 2, True),
        (IMPLICIT, 0, 1, True),
        (TUNNEL, 0, 2, False),
        (IPV6, 0, 2, True),
        (CBC_REKEY, 0, 2, True),
    ):
        server = Server(policy)
        source = None if policy.shared_sa else policy.rekey_source
        server.new_tek(T0, source)
        payloads = through_wire(render_registration(server.view(T0), GSK_W))
        kek, tek = policies(payloads)
        assert {t.type: t.id for t in tek.transforms}[TransformType.SN] == sequence
        assert {t.type: t.id for t in kek.transforms}[TransformType.GCAUTH] == auth
        assert (TransformType.INTEG in {t.type for t in kek.transforms}) is not policy.rekey_cipher.aead
        assert (TransformType.INTEG in {t.type for t in tek.transforms}) is not policy.cipher.aead
        assert bool(member_bag(payloads)) is (policy.rekey_auth is RekeyAuth.SIGNATURE)
        assert (notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None) is transport
        version = policy.address.version
        assert read_selector(tek.source) == Selection(version, source, 17, 0)
        assert read_selector(tek.destination) == Selection(version, policy.address, 17, 5000)
        assert read_selector(kek.source) == Selection(version, policy.rekey_source, 17, 0)
        assert read_selector(kek.destination) == Selection(version, policy.rekey_address, 17, 848)


@pytest.mark.parametrize("policy", [POLICY, SHARED, CBC_REKEY, IMPLICIT, IPV6, TUNNEL], ids=range(6))
def test_what_is_rendered_is_what_is_read(policy: GroupPolicy) -> None:
    server = Server(policy)
    source = None if policy.shared_sa else policy.rekey_source
    teks = [server.new_tek(T0, source), server.new_tek(T0, source, lifetime=100)]
    grant = server.grant(RECEIVER, T0 + 1)
    assert [(g.spi, g.key, g.source, g.lifetime) for g in grant.data] == [
        (t.spi, t.key, t.source, t.expires - T0 - 1) for t in teks
    ]
    assert all(
        (g.destination, g.protocol, g.port, g.mode, g.cipher, g.integrity, g.shared)
        == (policy.address, 17, 5000, policy.mode, policy.cipher, policy.integrity, policy.shared_sa)
        for g in grant.data
    )
    rekey = grant.rekey
    assert rekey is not None
    assert (rekey.spi, rekey.key, rekey.lifetime) == (server.kek.spi, server.kek.key, 3599)
    assert (rekey.source, rekey.address, rekey.port) == (policy.rekey_source, policy.rekey_address, 848)
    assert (rekey.cipher, rekey.integrity) == (policy.rekey_cipher, policy.rekey_integrity)
    assert rekey.key_wrap == policy.key_wrap
    assert grant.authentication is not None
    assert grant.authentication.method is policy.rekey_auth
    assert (grant.delays.activation, grant.delays.deactivation) == (4, 10)


@pytest.mark.parametrize(
    ("prf", "octets", "expected"),
    [
        (PRF_HMAC_SHA2_256, 32, "b169180742eb22165048cce7281f2e65465010931c41a1b39a8492aff33a06d4"),
        (PRF_HMAC_SHA2_512, 64, "eecbf641fe34aba620d0165e9633ed079bff1399574728fa1077a261150dd1e6"),
    ],
    ids=["sha256", "sha512"],
)
def test_keys_travel_under_gsk_w(prf: object, octets: int, expected: str) -> None:
    """Vectors made for this project with another prf+: prf+(SK_d, "Key Wrap for G-IKEv2"), no NUL."""
    gsk_w = group_wrap_key(prf, SecretBytes(bytes(range(octets))), KW_5649_256)  # type: ignore[arg-type]
    assert gsk_w.reveal().hex() == expected
    server = Server()
    server.new_tek(T0, TX)
    payloads = render_registration(server.view(T0), gsk_w)
    assert read_registration(payloads, gsk_w, KW_5649_256, RECEIVER).rekey is not None


# --- rekeys ----------------------------------------------------------------------------------------------


def rekey(server: Server, **how: object) -> list[Payload]:
    kind, octets = build_chain(render_rekey(server.order(T0, **how)), ExchangeType.GSA_REKEY)  # type: ignore[arg-type]
    return parse_inner(ExchangeType.GSA_REKEY, False, kind, octets)


def test_the_mode_is_said_in_every_rekey_with_esp() -> None:
    server = Server()
    assert notify(rekey(server, data_sas=(server.new_tek(T0),)), NotifyType.USE_TRANSPORT_MODE) is not None
    assert notify(rekey(server, new_kek=server.new_kek(T0)), NotifyType.USE_TRANSPORT_MODE) is None
    tunnel = Server(TUNNEL)
    assert notify(rekey(tunnel, data_sas=(tunnel.new_tek(T0),)), NotifyType.USE_TRANSPORT_MODE) is None


def test_a_new_signature_key_is_announced_and_an_old_one_is_not() -> None:
    server = Server()
    assert member_bag(rekey(server, new_kek=server.new_kek(T0))) == []
    seed = SecretBytes(b"\x07" * 32)
    new = replace(server.new_kek(T0), signing_key=seed)
    assert member_bag(rekey(server, new_kek=new)) == [(2, SigningKey.from_seed(seed).spki_der)]


def test_a_rekey_without_a_new_rekey_sa() -> None:
    server = Server()
    payloads = rekey(server, data_sas=(server.new_tek(T0, TX), server.new_tek(T0, TX2)))
    assert [p.protocol for p in policies(payloads)] == [ProtocolId.ESP, ProtocolId.ESP]
    assert wide(payloads) == {1: 4, 2: 10}


# --- SAg -------------------------------------------------------------------------------------------------


def test_an_offer_of_everything_fits_every_policy() -> None:
    everything = offer(GroupOffer(rekey_auths=tuple(RekeyAuth)))
    first_type, octets = build_chain([Payload(PayloadType.SA, everything)], ExchangeType.GSA_REGISTRATION)
    assert first_type == PayloadType.SA
    assert octets
    for policy in (POLICY, SHARED, CBC_REKEY, IMPLICIT, IPV6, TUNNEL):
        assert acceptable(everything, policy)
    # All proposals with one number: the protocols do not depend on each other.
    assert [(p.number, p.protocol, p.spi) for p in everything.proposals] == [(1, 6, b""), (1, 3, b"")]


@pytest.mark.parametrize(
    ("policy", "limits"),
    [
        (POLICY, {"ciphers": (CHACHA20_POLY1305,)}),
        (POLICY, {"rekey_ciphers": (AES_CBC_128,)}),
        (POLICY, {"key_wraps": (KW_5649_128,)}),
        (SHARED, {"ciphers": (AES_GCM_16_256,)}),
        (SHARED, {"integrities": ()}),
        (CBC_REKEY, {"rekey_integrities": ()}),
        (IMPLICIT, {}),  # not accepted unless asked for
    ],
)
def test_an_offer_that_lacks_something(policy: GroupPolicy, limits: dict[str, object]) -> None:
    assert not acceptable(offer(GroupOffer(**limits)), policy)  # type: ignore[arg-type]


def proposal(number: int, protocol: int, *transforms: Transform) -> Proposal:
    return Proposal(number, protocol, b"", list(transforms))


def test_equal_proposal_numbers_belong_together() -> None:
    """RFC 9838 2.3.3: what a proposal has for one protocol goes with those of its number for the others."""
    rekey_proposal, data_proposal = offer(GroupOffer()).proposals
    assert acceptable(Sa([rekey_proposal, data_proposal]), POLICY)
    assert not acceptable(Sa([rekey_proposal, replace(data_proposal, number=2)]), POLICY)
    others = [replace(rekey_proposal, number=2), replace(data_proposal, number=2)]
    weak = [replace(rekey_proposal, transforms=[]), *others]
    assert acceptable(Sa(weak), POLICY)
    assert not acceptable(Sa([rekey_proposal]), POLICY)
    assert not acceptable(Sa([data_proposal]), POLICY)


def test_an_offer_of_another_make() -> None:
    """GCAUTH may be missing, or without the attribute that only a key server has to send; AH says nothing."""
    encr = Transform(1, 20, [Attribute(14, 256)])
    ah = proposal(1, 2, Transform(3, 12, []), Transform(5, 0, []))
    esp = proposal(1, 3, encr, Transform(5, 2, []), Transform(5, 0, []), Transform(99, 1, []))
    for gcauth, fits in (([], True), ([Transform(14, 2, [])], True), ([Transform(14, 1, [])], False)):
        kek = proposal(1, 6, encr, Transform(13, 3, []), *gcauth)
        assert acceptable(Sa([ah, esp, kek]), POLICY) is fits
    # Without KWA it is no SAg that RFC 9838 4.5.4 allows; another key length is another cipher.
    assert not acceptable(Sa([esp, proposal(1, 6, encr)]), POLICY)
    short = Transform(1, 20, [Attribute(14, 128)])
    assert not acceptable(Sa([esp, proposal(1, 6, short, Transform(13, 3, []))]), POLICY)


def test_sender_joins_with_what_it_was_given() -> None:
    server = Server()
    server.new_tek(T0, TX)
    grant = server.grant(SENDER, T0, (255,))
    assert (grant.sender_id_bits, grant.sender_ids) == (8, (255,))


# --- selectors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selector",
    [
        TrafficSelector(9, 17, 0, 65535, bytes(4), bytes(4)),
        TrafficSelector(7, 17, 0, 65535, bytes(16), bytes(16)),
        TrafficSelector(7, 17, 0, 65535, TX.packed, TX2.packed),  # a range of addresses
        TrafficSelector(7, 17, 5000, 5001, GROUP_ADDRESS.packed, GROUP_ADDRESS.packed),
        TrafficSelector(7, 17, 0, 0, GROUP_ADDRESS.packed, GROUP_ADDRESS.packed),
        TrafficSelector(7, 17, 65535, 0, GROUP_ADDRESS.packed, GROUP_ADDRESS.packed),  # OPAQUE
        TrafficSelector(
            7, 0, 5000, 5000, GROUP_ADDRESS.packed, GROUP_ADDRESS.packed
        ),  # a port of any protocol
    ],
)
def test_selectors_that_a_policy_cannot_express(selector: TrafficSelector) -> None:
    with pytest.raises(ValueError, match="selector"):
        read_selector(selector)


def test_selectors_both_ways() -> None:
    for version, address in ((4, None), (4, TX), (6, IPV6.address), (6, None)):
        for protocol, port in ((0, 0), (17, 0), (17, 5000)):
            built = build_selector(version, address, protocol, port)
            assert read_selector(built) == Selection(version, address, protocol, port)


def test_integrity_of_a_shared_group_is_rendered() -> None:
    server = Server(SHARED)
    server.new_tek(T0)
    (_, tek) = policies(render_registration(server.view(T0), GSK_W))
    assert {t.type: t.id for t in tek.transforms}[3] == HMAC_SHA2_256_128.transform_id
