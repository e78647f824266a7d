"""A member gives its password to the key server that it wants, once it has proved itself, and to no other."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from eap_rig import (
    ANN,
    PASSWORD,
    SERVER,
    Ladder,
    doorkeeper,
    eap,
    eap_of,
    login,
    login_world,
    password_sent,
)
from endpoint_rig import (
    NEWS,
    SERVER_ID,
    World,
    init_of,
    member_name,
    note,
    psk,
    seal,
    secrets,
    turned,
)
from porter import WELCOME
from test_ike_suites import by_certificate

from gkmd.core.effect import Ask
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.model import Refusal, Verdict
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.credentials import Credentials
from gkmd.ike.reason import Reason, build_reason
from gkmd.ike.render_gikev2 import render_registration
from wire.eap import EapCode, EapType, build_eap
from wire.ikev2 import Auth, Id
from wire.message import Payload, first
from wire.registry import AuthMethod, ExchangeType, NotifyType, PayloadType

GTC = eap(build_eap(EapCode.REQUEST, 1, EapType.GTC, b"Password"))
SUCCESS = eap(build_eap(EapCode.SUCCESS, 1))
FAILURE = eap(build_eap(EapCode.FAILURE, 1))
EVIL = Identity.parse("fqdn:evil.example")


def gave_up(ladder: Ladder, why: str) -> None:
    """The attempt has failed for this reason, and the password is where it was."""
    (told,) = ladder.events("connect-failed")
    assert why in str(told["reason"]), told
    assert not ladder.host.endpoint._connector.busy
    assert not ladder.host.endpoint.groups["news"].registered
    assert ladder.host.endpoint.sa is None


def by_psk(ladder: Ladder) -> list[Payload]:
    authenticator = Authenticator(Credentials(SERVER_ID, {ANN: psk(ANN)}))
    _, theirs = ladder.sas
    proof = authenticator.prove(ladder.half.our_proof(theirs), ANN, None, ())
    return [Payload(PayloadType.ID_R, authenticator.id_payload), *proof]


def without(payloads: list[Payload], kind: PayloadType) -> list[Payload]:
    return [payload for payload in payloads if payload.type != kind]


def renamed(payloads: list[Payload], name: Identity) -> list[Payload]:
    """The same proof with another IDr."""
    return [Payload(PayloadType.ID_R, Id(name.kind, name.data)), *without(payloads, PayloadType.ID_R)]


LIES = {
    "proves itself by a shared key": (lambda ladder: [*by_psk(ladder), GTC], "signature"),
    "has a certificate of an authority that we do not know": (
        lambda ladder: [*ladder.proof(by_certificate("ecdsa-p256", SERVER_ID)), GTC],
        "",
    ),
    "has a certificate for another name": (
        lambda ladder: [*renamed(ladder.proof(by_certificate("ed25519", EVIL)), SERVER_ID), GTC],
        "",
    ),
    "is another, and proves it": (
        lambda ladder: [*ladder.proof(by_certificate("ed25519", EVIL)), GTC],
        "the server is fqdn:evil.example",
    ),
    "is a member with a certificate": (
        lambda ladder: [*ladder.proof(by_certificate("ed25519", member_name(1))), GTC],
        "the server is fqdn:rx1.example",
    ),
    "sends no certificate": (
        lambda ladder: [*without(ladder.proof(), PayloadType.CERT), GTC],
        "no certificate",
    ),
    "takes EAP as if it were over": (lambda ladder: [*ladder.proof(), SUCCESS], "success without a password"),
    "says failure": (lambda ladder: [*ladder.proof(), FAILURE], "login refused"),
    "answers instead of asking": (
        lambda ladder: [*ladder.proof(), eap(build_eap(EapCode.RESPONSE, 1, EapType.GTC, b"x"))],
        "an EAP response",
    ),
    "asks without a proof": (lambda ladder: [GTC], "refused"),
    "says success without a proof": (lambda ladder: [SUCCESS], "refused"),
    "refuses, and does not ask": (
        lambda ladder: [*ladder.proof(), note(NotifyType.AUTHORIZATION_FAILED)],
        "did not ask for the password",
    ),
    "refuses with a reason, unproved": (
        lambda ladder: [
            note(NotifyType.AUTHENTICATION_FAILED),
            build_reason(Reason("locked-out", ladder.world.now + 86000)),
        ],
        "refused: AUTHENTICATION_FAILED",
    ),
    "writes rubbish": (lambda ladder: [*ladder.proof(), eap(b"\x01")], "malformed"),
}


@pytest.mark.parametrize(("lie", "why"), LIES.values(), ids=list(LIES))
def test_a_server_that_is_not_the_one(lie: object, why: str) -> None:
    both = login(pre_shared_keys={SERVER_ID: psk(ANN)})
    ladder = Ladder(credentials=both)
    ladder.step(3)
    ladder.lie(lie(ladder))  # type: ignore[operator]
    gave_up(ladder, why)
    assert not password_sent(ladder)
    # What somebody says who has proved nothing does not keep us away.
    if "unproved" in why or "AUTHENTICATION_FAILED" in why:
        assert ladder.host.endpoint._connector.ready_at < ladder.world.now + 5


def test_a_signature_with_a_flaw() -> None:
    ladder = Ladder()
    ladder.step(3)
    proof = ladder.proof()
    auth = first(proof, PayloadType.AUTH)
    assert auth is not None
    broken = auth.data[:-1] + bytes((auth.data[-1] ^ 1,))
    ladder.lie([*without(proof, PayloadType.AUTH), Payload(PayloadType.AUTH, Auth(auth.method, broken)), GTC])
    gave_up(ladder, "")
    assert not password_sent(ladder)


def test_admitted_without_a_password() -> None:
    """Whoever lets us in without asking does not know us: it may be anybody with our server's certificate."""
    ladder = Ladder()
    world = ladder.world
    ladder.step(3)
    _, theirs = ladder.sas
    ask = Ask(1, ANN, NEWS, ip_address("10.0.1.1"), False, 0)
    view = world.directory.join(ask, WELCOME, bytes(8), world.now).view
    ladder.lie([*ladder.proof(), *render_registration(view, theirs.gsk_w)])
    gave_up(ladder, "did not ask for the password")
    assert not ladder.host.kernel


def test_a_member_in_the_middle_that_swaps_the_halves() -> None:
    """The real server's proof for another IKE SA proves nothing on this one."""
    world = login_world()
    ladder = Ladder(world)
    ladder.step(2)
    other = world.add(1, credentials=login(), identity=ANN, start=False)
    world.do_member(other, other.endpoint.start(world.now))
    mine = ladder.half
    request = next(d for d in ladder.held if d.member == 1 and d.to_server)
    world.deliver(request)
    theirs = next(h for h in world.server._init.table if h is not mine)
    sa = theirs.keyed(world.rng, world.now)
    authenticator = Authenticator(SERVER)
    signed = authenticator.sign(theirs.our_proof(sa), theirs.hashes)
    here = mine.keyed(world.rng, world.now)
    payloads = [Payload(PayloadType.ID_R, authenticator.id_payload), *signed, GTC]
    data = seal(here, ExchangeType.GSA_AUTH, 1, payloads, response=True)
    world.to_member(ladder.host, data, ladder.host.path)
    gave_up(ladder, "")
    assert not password_sent(ladder)


def test_somebody_between_who_answers_first() -> None:
    """RFC 7296 2.4: the first answer to IKE_SA_INIT may be forged. Each answer gets the request without AUTH,
    and the password goes to the one that proves itself.
    """
    evil = World(credentials=by_certificate("ed25519", EVIL), seed="evil", settings=login_world().settings)
    evil.doorkeeper = doorkeeper(login_world())
    evil.boot()
    world = login_world()
    ladder = Ladder(world)
    request = ladder.held[0]
    evil.put = ladder.held.append  # type: ignore[method-assign]
    evil._by_address = world._by_address
    evil.to_server(init_of(world), request.path)
    forged = ladder.held.pop()
    world.to_member(ladder.host, forged.data, ladder.host.path)
    evil_request = ladder.held.pop()
    # The real server answers as well.
    ladder.step()
    ladder.step()
    attempt = ladder.host.endpoint._connector._attempt
    assert attempt is not None
    assert len(attempt._candidates) == 2
    evil.to_server(evil_request.data, turned(ladder.host.path))
    lie = ladder.held.pop()
    before = len(ladder.held)
    world.to_member(ladder.host, lie.data, ladder.host.path)
    # It is a stranger with a certificate: nothing goes there but that it failed.
    assert all(PASSWORD not in d.data for d in ladder.held)
    assert len(attempt._candidates) == 1
    assert len(ladder.held) == before
    while ladder.held:
        ladder.step()
    assert ladder.host.endpoint.groups["news"].registered
    assert not evil.password_asks
    assert len(world.password_asks) == 1


def test_once_the_server_has_proved_itself_others_are_forgotten() -> None:
    evil = login_world(credentials=by_certificate("ed25519", EVIL), seed="evil")
    world = login_world()
    ladder = Ladder(world)
    evil.put = ladder.held.append  # type: ignore[method-assign]
    evil._by_address = world._by_address
    evil.to_server(ladder.held[0].data, ladder.held[0].path)
    forged = ladder.held.pop()
    world.to_member(ladder.host, forged.data, ladder.host.path)
    ladder.held.pop()
    ladder.step(4)
    attempt = ladder.host.endpoint._connector._attempt
    assert attempt is not None
    (only,) = attempt._candidates
    assert only.sa.spi_r == ladder.half.spi_r
    # What is sent again is the password, to the one.
    assert len(attempt.retransmit(world.now + 1)) == 1


def test_once_the_server_has_proved_itself_no_other_answer_counts() -> None:
    world = login_world()
    ladder = Ladder(world)
    ladder.step(4)
    evil = login_world(seed="another server of the same name")
    evil.put = ladder.held.append  # type: ignore[method-assign]
    evil._by_address = world._by_address
    evil.to_server(init_of_past(ladder), turned(ladder.host.path))
    answer = ladder.held.pop()
    before = len(ladder.held)
    world.to_member(ladder.host, answer.data, ladder.host.path)
    assert len(ladder.held) == before
    while ladder.held:
        ladder.step()
    assert ladder.host.endpoint.groups["news"].registered


def init_of_past(ladder: Ladder) -> bytes:
    return ladder.past[0].data


def test_a_member_without_a_password_wants_no_eap() -> None:
    world = World(
        credentials=Credentials(
            SERVER_ID, secrets(3), signing_key=SERVER.signing_key, certificate_chain=SERVER.certificate_chain
        )
    )
    host = Credentials(member_name(0), {SERVER_ID: psk(member_name(0))}, trust_anchors=login().trust_anchors)
    world.decides = False
    ladder = Ladder(world, host)
    ladder.step(3)
    ladder.lie([*ladder.proof(world.credentials), GTC])
    gave_up(ladder, "asks for EAP although")


# --- after the server has proved itself ---------------------------------------------------------------


def test_methods_that_we_do_not_speak_get_a_nak() -> None:
    ladder = Ladder()
    ladder.step(3)
    challenge = eap(build_eap(EapCode.REQUEST, 7, 4, bytes(17)))  # MD5-Challenge
    ladder.lie([*ladder.proof(), challenge])
    (nak,) = [eap_of(ladder.read(d)) for d in ladder.held]
    assert (nak.code, nak.identifier, nak.type, nak.data) == (EapCode.RESPONSE, 7, EapType.NAK, b"\x06")
    # It then asks for what we speak.
    ladder.lie([GTC], 2)
    (answer,) = [eap_of(ladder.read(d)) for d in ladder.held]
    assert answer.data == PASSWORD


def test_identity_and_notification_are_answered() -> None:
    """RFC 7296 3.16: the initiator may; RFC 3748 5.2: it must."""
    ladder = Ladder()
    ladder.step(3)
    ladder.lie([*ladder.proof(), eap(build_eap(EapCode.REQUEST, 1, EapType.IDENTITY))])
    (answer,) = [eap_of(ladder.read(d)) for d in ladder.held]
    assert (answer.type, answer.data) == (EapType.IDENTITY, b"ann@example.org")
    ladder.lie([eap(build_eap(EapCode.REQUEST, 2, EapType.NOTIFICATION, b"Maintenance at ten"))], 2)
    (answer,) = [eap_of(ladder.read(d)) for d in ladder.held]
    assert (answer.identifier, answer.type, answer.data) == (2, EapType.NOTIFICATION, b"")


def test_the_password_goes_out_once() -> None:
    ladder = Ladder()
    ladder.step(3)
    ladder.lie([*ladder.proof(), GTC])
    ladder.lie([GTC], 2)
    gave_up(ladder, "a second time")


def test_rounds_are_bounded() -> None:
    ladder = Ladder()
    ladder.step(3)
    identity = eap(build_eap(EapCode.REQUEST, 1, EapType.IDENTITY))
    ladder.lie([*ladder.proof(), identity])
    rounds = 1
    while ladder.host.endpoint._connector.busy:
        rounds += 1
        ladder.lie([identity], rounds)
    assert rounds <= 10
    gave_up(ladder, "EAP requests")


FALSE_ENDS = {
    "no AUTH": [note(NotifyType.AUTHORIZATION_FAILED)],
    "AUTH of nothing": [Payload(PayloadType.AUTH, Auth(2, bytes(32))), note(NotifyType.AUTHORIZATION_FAILED)],
    "AUTH by another method": [
        Payload(PayloadType.AUTH, Auth(AuthMethod.DIGITAL_SIGNATURE, bytes(80))),
        note(NotifyType.AUTHORIZATION_FAILED),
    ],
    "EAP once more": [GTC],
    "success once more": [SUCCESS],
}


@pytest.mark.parametrize("payloads", FALSE_ENDS.values(), ids=list(FALSE_ENDS))
def test_the_end_of_eap_is_the_servers_auth(payloads: list[Payload]) -> None:
    """RFC 7296 2.16: without it EAP could have been done with somebody else."""
    ladder = Ladder()
    ladder.step(6)
    ladder.lie(payloads, 3)
    gave_up(ladder, "")


def test_the_first_proof_is_no_good_at_the_end() -> None:
    ladder = Ladder()
    ladder.step(6)
    proof = ladder.proof()
    ladder.lie([*proof, note(NotifyType.AUTHORIZATION_FAILED)], 3)
    gave_up(ladder, "after EAP")


def test_a_refusal_after_the_login_keeps_the_ike_sa() -> None:
    world = login_world()
    doorkeeper(world).verdict = lambda ask: Verdict(Refusal.NOT_ON_LIST)
    world.add(0, credentials=login(), identity=ANN)
    world.run(1)
    host = world.hosts[0]
    assert host.endpoint.sa is not None
    assert not world.registered()
    status = host.endpoint.groups["news"].status(world.now)
    assert status["refused"] == {"reason": "not-on-list"}
    assert doorkeeper(world).told[-1] == ("refused", ANN, Refusal.NOT_ON_LIST)


def test_a_raw_key_that_is_pinned_is_as_good_as_a_certificate() -> None:
    key = SERVER.signing_key
    assert key is not None
    server = Credentials(SERVER_ID, signing_key=key, raw_public_key=True)
    member = Credentials(ANN, pinned={SERVER_ID: (key.spki_der,)}, password=SecretBytes(PASSWORD))
    world = login_world(credentials=server)
    world.add(0, credentials=member, identity=ANN)
    world.run(1)
    assert world.registered()


def test_without_anything_to_verify_the_server_by_there_is_no_login() -> None:
    world = login_world()
    world.add(0, credentials=Credentials(ANN, password=SecretBytes(PASSWORD)), identity=ANN)
    world.run(5)
    assert not world.password_asks
    assert not world.registered()


def test_the_password_is_in_no_text() -> None:
    world = login_world()
    host = world.add(0, credentials=login(), identity=ANN)
    world.run(1)
    texts = [
        repr(host.endpoint),
        repr(login()),
        repr(world.password_asks),
        repr(host.tells),
        repr(world.tells),
    ]
    texts.append(repr([eap(build_eap(EapCode.RESPONSE, 1, EapType.GTC, PASSWORD))]))
    assert all(PASSWORD.decode() not in text for text in texts)
