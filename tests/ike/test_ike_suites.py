"""Every algorithm of an IKE SA with every way to authenticate, between the two real endpoints."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from endpoint_rig import (
    SERVER_ID,
    T0,
    World,
    ask,
    established,
    init_of,
    member_name,
    notes,
    psk,
    turned,
)

from gkmd.core.algorithms import CIPHERS, INTEGRITIES, KEY_EXCHANGES, KEY_WRAPS, PRFS, Cipher, Integrity
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import SigningKey
from gkmd.crypto.certificates import TrustAnchors, certificate_identities, load_chain
from gkmd.crypto.issuing import Issued, make_authority, make_certificate
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.credentials import Credentials
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.sa import IkeSa
from wire import chain
from wire.message import Payload, first, parse_untrusted
from wire.registry import AuthMethod, ExchangeType, NotifyType, PayloadType

PROTECTIONS: list[tuple[Cipher, tuple[Integrity, ...]]] = [
    (cipher, (integrity,)) if integrity else (cipher, ())
    for cipher in CIPHERS
    for integrity in ((None,) if cipher.aead else INTEGRITIES)
]
ME = member_name(0)


@functools.cache
def authority(kind: str) -> Issued:
    return make_authority(f"test CA {kind}", T0 - 1000, 3650, SeededRng(f"ca {kind}"), kind)


@functools.cache
def issued(kind: str, name: Identity) -> Issued:
    ca = authority(kind)
    return make_certificate(ca, "peer", [name], T0 - 1000, 365, SeededRng(f"{kind} {name}"), kind)


@functools.cache
def rsa_key(number: int) -> SigningKey:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey.load_pem(pem, rsa_pss=number % 2 == 0)


def by_certificate(kind: str, name: Identity) -> Credentials:
    one, anchors = issued(kind, name), TrustAnchors.load(authority(kind).certificate_pem)
    key = SigningKey.load_pem(one.key_pem.reveal())
    return Credentials(
        name, signing_key=key, certificate_chain=tuple(load_chain(one.certificate_pem)), trust_anchors=anchors
    )


def by_raw_key(name: Identity, peer: Identity, keys: tuple[SigningKey, SigningKey]) -> Credentials:
    return Credentials(
        name, signing_key=keys[0], raw_public_key=True, pinned={peer: (bytes(99), keys[1].spki_der)}
    )


def credentials(way: str) -> tuple[Credentials, Credentials]:
    """Of the server and of the member."""
    if way == "psk":
        return Credentials(SERVER_ID, {ME: psk(ME)}), Credentials(ME, {SERVER_ID: psk(ME)})
    if way == "rsa raw key":
        keys = rsa_key(0), rsa_key(1)
        return by_raw_key(SERVER_ID, ME, keys), by_raw_key(ME, SERVER_ID, (keys[1], keys[0]))
    if way == "ed25519 raw key":
        pair = tuple(SigningKey.from_seed(SecretBytes(bytes([n]) * 32)) for n in (1, 2))
        return by_raw_key(SERVER_ID, ME, (pair[0], pair[1])), by_raw_key(ME, SERVER_ID, (pair[1], pair[0]))
    kind = way.removesuffix(" certificate")
    return by_certificate(kind, SERVER_ID), by_certificate(kind, ME)


WAYS = ("psk", "ed25519 certificate", "ecdsa-p256 certificate", "ed25519 raw key", "rsa raw key")


def meet(ike: IkePolicy, server: Credentials, member: Credentials) -> World:
    world = World(ike=ike, credentials=server)
    world.add(0, credentials=member, identity=ME)
    world.run(0.2)
    return world


def check(world: World, ike: IkePolicy) -> None:
    (host,) = world.registered()
    ours, theirs = established(world)
    assert (ours.cipher, ours.prf, ours.key_wrap) == (ike.ciphers[0], ike.prfs[0], ike.key_wraps[0])
    assert ours.integrity == (ike.integrities[0] if ike.integrities else None)
    assert ours.gsk_w == theirs.gsk_w
    assert len(ours.gsk_w) == ours.key_wrap.key_octets
    assert ask(world, [], ExchangeType.INFORMATIONAL) == []
    # And again after a restart from the journal.
    world.boot()
    ours.window.next_request_id = 3
    assert ask(world, [], ExchangeType.INFORMATIONAL) == []
    assert host.endpoint.groups["news"].registered


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exchange", KEY_EXCHANGES, ids=lambda a: a.name)
def test_every_protection_and_key_exchange_with_every_authentication(way: str, exchange: object) -> None:
    server, member = credentials(way)
    others = itertools.cycle(itertools.product(PRFS, KEY_WRAPS))
    for (cipher, integrities), (prf, wrap) in zip(PROTECTIONS, others, strict=False):
        ike = IkePolicy((cipher,), integrities, (prf,), (exchange,), (wrap,))  # type: ignore[arg-type]
        check(meet(ike, server, member), ike)


@pytest.mark.parametrize("prf", PRFS, ids=lambda a: a.name)
def test_every_protection_prf_and_key_wrap(prf: object) -> None:
    server, member = credentials("psk")
    for (cipher, integrities), wrap in itertools.product(PROTECTIONS, KEY_WRAPS):
        ike = IkePolicy((cipher,), integrities, (prf,), KEY_EXCHANGES[:1], (wrap,))  # type: ignore[arg-type]
        check(meet(ike, server, member), ike)


def test_the_two_sides_may_authenticate_differently() -> None:
    # The member has a certificate, the server only a shared key with it; and the other way round.
    certified = by_certificate("ed25519", ME)
    server = Credentials(SERVER_ID, {ME: psk(ME)}, trust_anchors=certified.trust_anchors)
    member = replace(certified, pre_shared_keys={SERVER_ID: psk(ME)})
    world = meet(IkePolicy(), server, member)
    assert world.registered()
    server = replace(by_certificate("ed25519", SERVER_ID), pre_shared_keys={ME: psk(ME)})
    member = Credentials(ME, {SERVER_ID: psk(ME)}, trust_anchors=server.trust_anchors)
    assert meet(IkePolicy(), server, member).registered()


def test_a_server_with_both_serves_both() -> None:
    server = replace(
        by_certificate("ed25519", SERVER_ID), pre_shared_keys={member_name(1): psk(member_name(1))}
    )
    world = World(credentials=server)
    world.add(0, credentials=by_certificate("ed25519", ME), identity=ME)
    world.add(1)
    world.run(1)
    assert len(world.registered()) == 2
    methods = {
        t.fields["peer"]: t.fields["reason"]
        for t in world.events("ike-sa-state")
        if t.fields["to"] == "established"
    }
    assert "shared key" in str(methods[str(member_name(1))])
    assert "signature" in str(methods[str(ME)])


# --- what must not be believed --------------------------------------------------------------------


def refused(world: World) -> str:
    """The reason for which the server refused the only member."""
    assert not world.server._keeper.table
    assert not world.directory.members("news")
    assert not world.asks
    return str(world.events("authentication-failed")[0].fields["reason"])


def test_a_certificate_for_another_name() -> None:
    server = by_certificate("ed25519", SERVER_ID)
    member = replace(by_certificate("ed25519", member_name(5)), identity=ME)
    assert "not in certificate" in refused(meet(IkePolicy(), server, member))


def test_a_certificate_of_another_authority() -> None:
    stranger = make_authority("stranger", T0 - 1000, 3650, SeededRng("x"))
    one = make_certificate(stranger, "me", [ME], T0 - 1000, 365, SeededRng("y"))
    server = by_certificate("ed25519", SERVER_ID)
    member = Credentials(
        ME,
        signing_key=SigningKey.load_pem(one.key_pem.reveal()),
        certificate_chain=tuple(load_chain(one.certificate_pem)),
        trust_anchors=server.trust_anchors,
    )
    assert "issuer" in refused(meet(IkePolicy(), server, member))


@pytest.mark.parametrize("when", [-400 * 86400.0, 400 * 86400.0])
def test_a_certificate_outside_its_time(when: float) -> None:
    world = World(credentials=by_certificate("ed25519", SERVER_ID))
    world.now += when
    world.add(0, credentials=by_certificate("ed25519", ME), identity=ME)
    world.run(0.2)
    assert refused(world)


def test_a_key_that_is_not_the_certificates() -> None:
    member = replace(by_certificate("ed25519", ME), signing_key=SigningKey.from_seed(SecretBytes(bytes(32))))
    assert "does not verify" in refused(meet(IkePolicy(), by_certificate("ed25519", SERVER_ID), member))


def test_a_raw_key_that_is_pinned_for_somebody_else() -> None:
    server, member = credentials("ed25519 raw key")
    server = replace(server, pinned={member_name(5): server.pinned[ME]})
    assert "pinned" in refused(meet(IkePolicy(), server, member))


def test_no_certificate_is_sent_for_a_pinned_key() -> None:
    # RFC 7296 3.6: CERT may be left out when the key is known otherwise.
    server, member = credentials("ed25519 raw key")
    member = replace(member, raw_public_key=False)
    server = replace(server, raw_public_key=False)
    assert meet(IkePolicy(), server, member).registered()
    server = replace(server, pinned={})
    assert "no certificate and no pinned key" in refused(meet(IkePolicy(), server, member))


def test_a_certificate_whose_key_is_pinned_needs_no_authority() -> None:
    member = by_certificate("ed25519", ME)
    assert member.signing_key is not None
    server = replace(
        by_certificate("ed25519", SERVER_ID), trust_anchors=None, pinned={ME: (member.signing_key.spki_der,)}
    )
    assert meet(IkePolicy(), server, member).registered()


def test_a_shared_key_where_only_signatures_are_known() -> None:
    server = by_certificate("ed25519", SERVER_ID)
    member = Credentials(ME, {SERVER_ID: psk(ME)}, trust_anchors=server.trust_anchors)
    assert "no pre-shared key" in refused(meet(IkePolicy(), server, member))


def test_a_signature_without_any_trust() -> None:
    server = Credentials(SERVER_ID, {ME: psk(ME)})
    assert "no certificate authority" in refused(meet(IkePolicy(), server, by_certificate("ed25519", ME)))


def test_names_compare_without_case() -> None:
    loud = Identity.parse("fqdn:RX0.Example")
    world = World(credentials=Credentials(SERVER_ID, {Identity.parse("fqdn:rx0.EXAMPLE"): psk(ME)}))
    world.add(0, identity=ME, credentials=Credentials(loud, {SERVER_ID: psk(ME)}))
    world.run(1)
    assert [m.identity for m in world.directory.members("news")] == [ME]


def test_certificate_requests_are_sent_and_only_once_built() -> None:
    world = World(credentials=by_certificate("ed25519", SERVER_ID), fate=lambda _: [])
    host = world.add(0, credentials=by_certificate("ed25519", ME), identity=ME)
    world.to_server(init_of(world), turned(host.path))
    reply = parse_untrusted(world.sent[-1].data)
    request = first(reply.payloads, PayloadType.CERTREQ)
    assert request is not None
    assert request.encoding == 4
    anchors = world.credentials.trust_anchors
    assert anchors is not None
    assert request.data == anchors.authorities
    assert NotifyType.SIGNATURE_HASH_ALGORITHMS in notes(reply.payloads)


def test_the_payloads_of_gsa_auth_are_in_the_order_of_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    request = IkeSa.request

    def noted(self: IkeSa, exchange: int, payloads: Sequence[Payload], next_at: float) -> bytes:
        asked.append([int(payload.type) for payload in payloads])
        return request(self, exchange, payloads, next_at)

    monkeypatch.setattr(IkeSa, "request", noted)
    world = World(credentials=by_certificate("ed25519", SERVER_ID))
    world.add(0, credentials=by_certificate("ed25519", ME), identity=ME)
    world.run(0.5)
    # RFC 9838 figure 3: IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, IDg, [SAg,] [N]
    kinds = list(dict.fromkeys(asked[0]))
    kind = PayloadType
    assert kinds == [
        *(kind.ID_I, kind.CERT, kind.CERTREQ, kind.ID_R, kind.AUTH, kind.ID_G, kind.SA, kind.NOTIFY)
    ]


@pytest.mark.parametrize("method", [AuthMethod.RSA_SIGNATURE, AuthMethod.NULL, 0, 255])
def test_other_methods_are_refused(method: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server, member = credentials("psk")
    world = World(credentials=server)
    host = world.add(0, credentials=member, identity=ME, start=False)
    prove = Authenticator.prove

    def otherwise(self: object, *args: object) -> object:
        payloads = prove(self, *args)  # type: ignore[arg-type]
        payloads[-1].body.method = method  # type: ignore[union-attr]
        return payloads

    monkeypatch.setattr(Authenticator, "prove", otherwise)
    world.do_member(host, host.endpoint.start(world.now))
    world.run(0.2)
    assert "not accepted" in refused(world)


def test_the_issued_names_are_what_the_test_believes() -> None:
    (der, *_) = load_chain(issued("ed25519", ME).certificate_pem)
    assert ME in certificate_identities(der)


def test_nobody_changes_a_record_that_the_codec_shares() -> None:
    world = World(members=3)
    world.run(5)
    known = inspect.getclosurevars(chain._PARSE[PayloadType.SA]).nonlocals["known"]
    assert len(known) >= 2  # SAi1 and SAg at least
    for octets, record in known.items():
        assert record == chain.CODECS[PayloadType.SA].parse(octets, 0, len(octets))
