"""A name and a password by EAP, through both machines (RFC 7296 2.16)."""

from __future__ import annotations

import pytest
from eap_rig import (
    ANN,
    AUTH_LIE,
    BOB,
    PASSWORD,
    SERVER,
    SETTINGS,
    Ladder,
    begin_payloads,
    doorkeeper,
    eap,
    eap_of,
    login,
    login_world,
    porter,
)
from endpoint_rig import (
    NEWS,
    SERVER_ID,
    arrows,
    established,
    inside,
    join,
    member_name,
    notes,
    policy,
    psk,
    secrets,
    terrible,
)

from gkmd.core.effect import Ask, AskPassword, Persist, Proof, Send, Tell
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import Left, Refusal
from gkmd.ike import gcks_settings, grounds, member_settings
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.reason import Reason, read_reason
from gkmd.ike.sa import SaState
from wire.eap import EapCode, EapType, build_eap
from wire.ikev2 import Auth
from wire.message import Payload
from wire.registry import AuthMethod, NotifyType, PayloadType


def kinds(payloads: list[Payload]) -> list[int]:
    return [payload.type for payload in payloads]


def test_a_receiver_logs_in_in_four_round_trips() -> None:
    ladder = Ladder()
    world = ladder.world
    ladder.step(2)
    # HDR, SK{IDi, CERTREQ, IDr, IDg, SAg, N} -->
    assert kinds(ladder.read(ladder.held[0])) == [
        *(PayloadType.ID_I, PayloadType.CERTREQ, PayloadType.ID_R, PayloadType.ID_G, PayloadType.SA),
        PayloadType.NOTIFY,
    ]
    ladder.step()
    # <-- HDR, SK{IDr, CERT, AUTH, EAP}
    payloads = ladder.read(ladder.held[0])
    assert kinds(payloads)[0] == PayloadType.ID_R
    assert kinds(payloads)[-2:] == [PayloadType.AUTH, PayloadType.EAP]
    prompt = eap_of(payloads)
    assert (prompt.code, prompt.type, prompt.data) == (EapCode.REQUEST, EapType.GTC, b"Password")
    ladder.step()
    # HDR, SK{EAP} -->
    payloads = ladder.read(ladder.held[0])
    assert kinds(payloads) == [PayloadType.EAP]
    assert (eap_of(payloads).identifier, eap_of(payloads).data) == (prompt.identifier, PASSWORD)
    ladder.step()
    # <-- HDR, SK{EAP (success)}
    payloads = ladder.read(ladder.held[0])
    assert kinds(payloads) == [PayloadType.EAP]
    assert eap_of(payloads).code == EapCode.SUCCESS
    ladder.step()
    # HDR, SK{AUTH} -->
    assert kinds(ladder.read(ladder.held[0])) == [PayloadType.AUTH]
    assert not world.directory.members("news")
    ladder.step(2)
    # <-- HDR, SK{AUTH, GSA, KD, N}
    assert ladder.host.endpoint.groups["news"].registered
    ours, theirs = established(world)
    assert theirs.grounds == grounds.password(f"account {ANN}")
    assert theirs.peer == ANN
    assert ours.window.next_request_id == theirs.window.expected_request_id == 4
    (question,) = world.asks
    assert (question.proof, question.identity) == (Proof.PASSWORD, ANN)
    assert question.grounds == f"account {ANN}"
    assert doorkeeper(world).told == [("tried", ANN, None), ("admitted", ANN, Proof.PASSWORD)]
    # The journal knows it as well.
    world.boot()
    assert grounds.proof_of(next(iter(world.server._keeper.table)).grounds) is Proof.PASSWORD


def test_more_groups_over_the_ike_sa_need_no_password() -> None:
    world = login_world(policies=[policy(), policy("sport")], doorkeeper=porter(reserved={"news", "sport"}))
    world.add(0, [join(), join("sport")], credentials=login(BOB), identity=BOB)
    world.run(1)
    assert world.registered("news")
    assert world.registered("sport")
    assert len(world.password_asks) == 1
    assert [question.proof for question in world.asks] == [Proof.PASSWORD, Proof.PASSWORD]


def test_it_is_asked_where_it_comes_from_and_for_which_group() -> None:
    world = login_world()
    world.compares = False
    world.add(0, credentials=login(), identity=ANN)
    world.run(0.1)
    (question,) = world.password_asks
    assert (question.identity, question.group_id, str(question.address)) == (ANN, NEWS, "10.0.1.1")
    assert question.password == SecretBytes(PASSWORD)
    assert PASSWORD.decode() not in repr(question)


def test_effects_come_in_the_order_of_the_law() -> None:
    ladder = Ladder()
    world = ladder.world
    rank = {Persist: 0, Send: 1, Tell: 2, Ask: 3, AskPassword: 3}
    turns: list[list[int]] = []
    do = world.do

    def watched(effects: list[object]) -> None:
        turns.append([rank[type(effect)] for effect in effects])
        do(effects)  # type: ignore[arg-type]

    world.do = watched  # type: ignore[method-assign,assignment]
    while ladder.held:
        ladder.step()
    assert ladder.host.endpoint.groups["news"].registered
    assert all(turn == sorted(turn) for turn in turns)
    # Nothing of a peer that is not authenticated is written down.
    assert sum(0 in turn for turn in turns) == 1


REFUSED = [
    (PasswordVerdict(Refusal.WRONG_PASSWORD), "wrong-password", None),
    (PasswordVerdict(Refusal.LOCKED_OUT, 1_800_000_900.0), "locked-out", 1_800_000_900.0),
    (PasswordVerdict(Refusal.BUSY, 1_800_000_005.5), "busy", 1_800_000_006.0),
]


@pytest.mark.parametrize(("verdict", "code", "come_back"), REFUSED, ids=[row[1] for row in REFUSED])
def test_a_password_that_is_not_taken(verdict: PasswordVerdict, code: str, come_back: float | None) -> None:
    ladder = Ladder()
    world, host = ladder.world, ladder.host
    world.compares = False
    ladder.step(5)
    (question,) = world.password_asks
    ours, theirs = ladder.sas
    world.do(world.server.answer(question, verdict, world.now))
    (answer,) = ladder.held
    # <-- HDR, SK{EAP (failure), N(AUTHENTICATION_FAILED), N(GKMD_REASON)}
    payloads = inside(ours, answer.data)
    assert kinds(payloads) == [PayloadType.EAP, PayloadType.NOTIFY, PayloadType.NOTIFY]
    assert eap_of(payloads).code == EapCode.FAILURE
    assert notes(payloads) == [NotifyType.AUTHENTICATION_FAILED, NotifyType.GKMD_REASON]
    assert read_reason(payloads) == Reason(code, come_back)
    assert theirs.state is SaState.GONE
    assert not len(world.server._init.table)
    assert doorkeeper(world).told == [("tried", ANN, verdict.refusal)]
    ladder.step()
    # The member stops, says why, and comes back in time: with a wrong password that is late.
    (told,) = ladder.events("login-refused")
    assert told["why"] == code
    assert host.endpoint.groups["news"].status(world.now)["refused"] == Reason(code, come_back).plain()
    due = host.endpoint.deadline()
    assert due is not None
    expected = (world.now + 150, world.now + 450) if come_back is None else (come_back, come_back + 3)
    assert expected[0] <= due <= expected[1]
    assert host.endpoint.due("news") == due  # as `gkmd ctl groups` shows it
    assert not ladder.held
    # It does not go to the log, and an operator's wish goes before the wait.
    assert PASSWORD.decode() not in str(world.tells) + str(host.tells)
    world.do_member(host, host.endpoint.command(member_settings.Register("news"), world.now))
    assert ladder.held


def test_a_wrong_password_is_not_tried_again_and_again() -> None:
    world = login_world()
    world.add(0, credentials=login(password=b"guess"), identity=ANN)
    world.run(1000)
    assert 3 <= len(world.password_asks) <= 7  # every 150 to 450 seconds
    assert not world.book.ike_sas
    # It is put right, and all is well.
    doorkeeper(world).passwords[ANN] = b"guess"
    world.run(460)
    assert world.registered()
    assert world.hosts[0].endpoint.groups["news"].status(world.now)["refused"] is None


@pytest.mark.parametrize(
    ("settings", "keeper", "credentials"),
    [
        (GcksSettings(), True, SERVER),
        (SETTINGS, False, SERVER),
        (SETTINGS, True, Credentials(SERVER_ID, secrets(3))),
    ],
    ids=["not switched on", "no platform", "nothing to sign with"],
)
def test_without_a_platform_a_key_and_the_switch_there_are_no_passwords(
    settings: GcksSettings, keeper: bool, credentials: Credentials
) -> None:
    world = login_world(settings=settings, doorkeeper=porter() if keeper else None, credentials=credentials)
    ladder = Ladder(world)
    ladder.step(2)
    payloads = ladder.ask(begin_payloads(ANN), 1)
    assert notes(payloads) == [NotifyType.AUTHENTICATION_FAILED]
    assert kinds(payloads) == [PayloadType.NOTIFY]
    assert not world.password_asks
    assert not world.asks


@pytest.mark.parametrize(
    "name", ["fqdn:rx1.example", "ipv4:10.0.0.1", "dn:0x3000"], ids=["fqdn", "ipv4", "dn"]
)
def test_a_name_is_an_address_of_mail_or_a_key_id(name: str) -> None:
    ladder = Ladder()
    ladder.step(2)
    payloads = ladder.ask(begin_payloads(Identity.parse(name)), 1)
    assert notes(payloads) == [NotifyType.AUTHENTICATION_FAILED]
    assert not ladder.world.password_asks


BAD_PASSWORDS = {
    "nak": build_eap(EapCode.RESPONSE, 1, EapType.NAK, b"\x04"),
    "another type": build_eap(EapCode.RESPONSE, 1, 4, b"x" * 16),
    "identity": build_eap(EapCode.RESPONSE, 1, EapType.IDENTITY, b"ann"),
    "another identifier": build_eap(EapCode.RESPONSE, 2, EapType.GTC, PASSWORD),
    "a request": build_eap(EapCode.REQUEST, 1, EapType.GTC, PASSWORD),
    "success": build_eap(EapCode.SUCCESS, 1),
    "empty": build_eap(EapCode.RESPONSE, 1, EapType.GTC),
    "long": build_eap(EapCode.RESPONSE, 1, EapType.GTC, bytes(257)),
}


@pytest.mark.parametrize("data", BAD_PASSWORDS.values(), ids=list(BAD_PASSWORDS))
def test_what_is_no_password_ends_the_login(data: bytes) -> None:
    ladder = Ladder()
    ladder.step(4)
    payloads = ladder.ask([eap(data)], 2)
    assert eap_of(payloads).code == EapCode.FAILURE
    assert notes(payloads) == [NotifyType.AUTHENTICATION_FAILED]
    assert not ladder.world.password_asks
    assert not len(ladder.world.server._init.table)
    assert doorkeeper(ladder.world).told == []


def test_the_longest_password_is_one() -> None:
    ladder = Ladder()
    ladder.step(4)
    ladder.ask([eap(build_eap(EapCode.RESPONSE, 1, EapType.GTC, b"\xff" * 256))], 2)
    assert len(ladder.world.password_asks) == 1


OUT_OF_TURN = {
    "AUTH before the password": (4, 2, [AUTH_LIE]),
    "the beginning again": (4, 2, begin_payloads(ANN)),
    "EAP cut short": (4, 2, [eap(b"\x02\x01\x00")]),
    "EAP at once": (2, 1, [eap(build_eap(EapCode.RESPONSE, 1, EapType.GTC, PASSWORD))]),
    "AUTH alone at once": (2, 1, [AUTH_LIE]),
    "EAP after success": (6, 3, [eap(build_eap(EapCode.RESPONSE, 1, EapType.GTC, PASSWORD))]),
    "a shared key's request after success": (6, 3, [*begin_payloads(ANN), AUTH_LIE]),
}


@pytest.mark.parametrize(("steps", "message_id", "payloads"), OUT_OF_TURN.values(), ids=list(OUT_OF_TURN))
def test_a_message_that_is_not_due_ends_the_login(
    steps: int, message_id: int, payloads: list[Payload]
) -> None:
    ladder = Ladder()
    ladder.step(steps)
    answer = ladder.ask(payloads, message_id)
    assert notes(answer) == [NotifyType.INVALID_SYNTAX]
    assert not len(ladder.world.server._init.table)
    assert not ladder.world.asks


@pytest.mark.parametrize("method", [AuthMethod.SHARED_KEY, AuthMethod.DIGITAL_SIGNATURE, AuthMethod.NULL])
def test_auth_after_eap_has_to_be_right(method: AuthMethod) -> None:
    ladder = Ladder()
    ladder.step(6)
    answer = ladder.ask([Payload(PayloadType.AUTH, Auth(method, bytes(32)))], 3)
    assert NotifyType.AUTHENTICATION_FAILED in notes(answer)
    assert not ladder.world.asks
    assert not ladder.world.directory.members("news")


@pytest.mark.parametrize("steps", [3, 5, 7])
def test_a_request_that_comes_again_gets_the_same_reply(steps: int) -> None:
    """RFC 7296 2.1: of each of the three requests."""
    ladder = Ladder()
    ladder.step(steps)
    world = ladder.world
    (reply,) = ladder.held
    for _ in range(3):
        world.deliver(ladder.past[-1])
    assert [d.data for d in ladder.held] == [reply.data] * 4
    assert len(world.password_asks) == (1 if steps > 3 else 0)
    assert len(world.asks) == (1 if steps > 5 else 0)
    # And so does the member with a reply that comes again: it says nothing new.
    del ladder.held[1:]
    ladder.step()
    sent = list(ladder.held)
    world.deliver(ladder.past[-1])
    assert ladder.held == sent


def test_older_requests_and_the_first_are_not_answered_any_more() -> None:
    ladder = Ladder()
    ladder.step(6)
    ladder.held.clear()
    for old in ladder.past[:4]:
        if old.to_server:
            ladder.world.deliver(old)
    assert not ladder.held


def test_logins_over_a_terrible_network() -> None:
    names = [Identity.parse(f"email:user{number}@example.org") for number in range(40)]
    keeper = porter()
    keeper.passwords |= dict.fromkeys(names, PASSWORD)
    world = login_world(doorkeeper=keeper, fate=terrible(3))
    for number, name in enumerate(names):
        world.add(number, credentials=login(name), identity=name)
    world.run(180, lambda: len(world.registered()) == 40)
    assert len(world.registered()) == 40
    assert {m.identity for m in world.directory.members("news")} == set(names)
    world.run(40)
    assert len(world.server._keeper.table) == len(world.book.ike_sas) == 40
    assert not len(world.server._init.table)


def test_the_server_is_killed_in_the_middle_of_a_login() -> None:
    for steps in range(1, 8):
        world = login_world()
        ladder = Ladder(world)
        ladder.step(steps)
        world.boot()
        ladder.held.clear()
        del world.put  # type: ignore[method-assign]
        world.run(90, lambda: bool(world.registered()))  # noqa: B023
        assert world.registered(), steps
        assert len(world.directory.members("news")) == 1


def test_a_disk_that_is_full_tells_nobody_anything() -> None:
    ladder = Ladder()
    ladder.step(6)
    ladder.world.disk_full = True
    ladder.step()
    assert not ladder.held
    ladder.world.disk_full = False
    ladder.world.deliver(ladder.past[-1])
    while ladder.held:
        ladder.step()
    assert ladder.host.endpoint.groups["news"].registered


def test_initial_contact_counts_when_the_login_is_complete() -> None:
    world = login_world()
    world.add(0, credentials=login(), identity=ANN)
    world.run(1)
    (before,) = world.server._keeper.table
    # Somebody else says that he is Ann, and does not know her password.
    world.add(1, credentials=login(password=b"guess"), identity=ANN)
    world.run(1)
    assert list(world.server._keeper.table) == [before]
    # She comes again from elsewhere.
    world.add(2, credentials=login(), identity=ANN)
    world.run(1)
    (after,) = world.server._keeper.table
    assert after is not before
    assert before.state is SaState.GONE


@pytest.mark.parametrize("steps", [5, 6, 7])
def test_who_is_disowned_meanwhile_does_not_come_in(steps: int) -> None:
    ladder = Ladder()
    world = ladder.world
    world.compares = steps != 5
    world.decides = steps != 7
    ladder.step(steps)
    world.do(world.server.command(gcks_settings.Apply(Left((), ()), (ANN,)), world.now))
    world.compares = True
    if steps == 5:
        world.compare(world.password_asks[0])
    for question in world.asks:
        world.decide(question)
    while ladder.held and len(ladder.past) < 30:
        ladder.step()
    assert not world.directory.members("news")
    assert not len(world.server._keeper.table)


def test_a_configured_key_of_the_same_name_is_not_in_the_way() -> None:
    """A name with a password is not the holder of a shared key, and the server signs for it all the same."""
    both = Credentials(
        SERVER_ID,
        {ANN: psk(ANN)},
        signing_key=SERVER.signing_key,
        certificate_chain=SERVER.certificate_chain,
    )
    world = login_world(credentials=both)
    world.add(0, credentials=login(), identity=ANN)
    world.run(1)
    assert world.registered()
    assert world.asks[-1].proof is Proof.PASSWORD


def test_peers_with_keys_are_served_as_before() -> None:
    world = login_world(
        credentials=Credentials(
            SERVER_ID,
            secrets(3),
            signing_key=SERVER.signing_key,
            certificate_chain=SERVER.certificate_chain,
        )
    )
    world.add(0)
    world.run(1)
    assert world.registered()
    assert arrows(world)[-1] == "GSA_AUTH 1 <-"
    assert world.asks[-1].proof is Proof.CONFIGURED
    assert world.asks[-1].identity == member_name(0)
