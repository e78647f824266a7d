"""GKMD_REASON and GKMD_EVIDENCE: what is said, what is read, and what others' notifications do (nothing)."""

from __future__ import annotations

import pytest
from eap_rig import ANN, login, login_world, porter
from endpoint_rig import (
    NEWS,
    SERVER_ID,
    T0,
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
    psk,
    seal,
)
from hypothesis import given
from hypothesis import strategies as st
from porter import WELCOME, Porter
from test_ike_faults import fail_once

from gkmd.core.effect import Ask, Proof
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.money import MOST, Money
from gkmd.group.model import Refusal, Verdict
from gkmd.ike.credentials import Credentials
from gkmd.ike.evidence import NOTHING, Shown, build_evidence, build_follows, read_evidence
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.reason import Reason, build_reason, read_reason
from gkmd.ike.registration_request import build_registration_request, refusal_notify
from wire.ikev2 import Notify
from wire.message import Payload
from wire.private import EvidenceItem, Item, ReasonItem, build_private
from wire.registry import ExchangeType, NotifyType, PayloadType

TICKET = Identity.parse("keyid:t-abcdefghijklmnopqrst")
EUR = Money("EUR", 250)
SHOWN = Evidence("7K2M-4QWX-99ZT-A0BC", Money("EUR", 500))


def evidence_note(*items: Item) -> Payload:
    return note(NotifyType.GKMD_EVIDENCE, build_private(list(items)))


def reason_note(*items: Item) -> Payload:
    return note(NotifyType.GKMD_REASON, build_private(list(items)))


def world_of(keeper: Porter, *joins: GroupJoin) -> World:
    keeper.tickets[TICKET] = psk(TICKET)
    world = login_world(doorkeeper=keeper)
    world.add(0, joins, credentials=Credentials(TICKET, {SERVER_ID: psk(TICKET)}), identity=TICKET)
    return world


# --- the notifications --------------------------------------------------------------------------------

MONEY = st.builds(Money, st.sampled_from(["EUR", "JPY", "KWD", "XAU"]), st.integers(0, MOST))
VOUCHERS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=4, max_size=16)


@given(st.builds(Evidence, VOUCHERS | st.just(""), st.none() | MONEY))
def test_evidence_survives_the_wire(evidence: Evidence) -> None:
    expected = Shown(evidence) if evidence != Evidence() else NOTHING
    assert read_evidence(build_evidence(evidence)) == expected


@given(
    st.builds(
        Reason,
        st.sampled_from([refusal.value for refusal in Refusal] + ["of-a-later-gkmd-2"]),
        st.none() | st.integers(0, 2**40 - 1).map(float),
        st.none() | MONEY,
        st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=40).filter(
            str.isprintable
        ),
    )
)
def test_reasons_survive_the_wire(reason: Reason) -> None:
    assert read_reason([build_reason(reason)]) == reason


def test_octets_of_the_document() -> None:
    (evidence,) = build_evidence(SHOWN)
    assert isinstance(evidence.body, Notify)
    assert (evidence.body.type, evidence.body.protocol, evidence.body.spi) == (46848, 0, b"")
    assert evidence.body.data.hex(" ", 4) == (
        b"gkmd\x01\x00\x00\x01\x00\x137K2M-4QWX-99ZT-A0BC\x00\x02\x00\x0bEUR\x00\x00\x00\x00\x00\x00\x01\xf4"
    ).hex(" ", 4)
    reason = build_reason(Reason("payment-required", 1_800_000_000.2, EUR, "Bitte zahlen")).body
    assert isinstance(reason, Notify)
    assert (reason.type, reason.protocol, reason.spi) == (46849, 0, b"")
    assert reason.data == (
        b"gkmd\x01\x00"
        b"\x00\x01\x00\x10payment-required"
        b"\x00\x02\x00\x08\x00\x00\x00\x00\x6b\x49\xd2\x01"
        b"\x00\x03\x00\x0bEUR\x00\x00\x00\x00\x00\x00\x00\xfa"
        b"\x00\x04\x00\x0cBitte zahlen"
    )
    (follows,) = build_follows()
    assert isinstance(follows.body, Notify)
    assert follows.body.data == b"gkmd\x01\x00\x00\x03\x00\x00"


def test_texts_are_cut_between_characters() -> None:
    read = read_reason([build_reason(Reason("full", text="ä" * 150))])
    assert read is not None
    assert read.text == "ä" * 100


def test_what_cannot_be_said_is_not_said() -> None:
    for voucher in ("abc", "x" * 65):
        with pytest.raises(ValueError, match="octets"):
            build_evidence(Evidence(voucher))
    with pytest.raises(ValueError, match="below zero"):
        build_evidence(Evidence(most=Money("EUR", -1)))
    # A reason is told with what of it can be told.
    assert read_reason([build_reason(Reason("full", -5.0, Money("EUR", -1)))]) == Reason("full")
    assert read_reason([build_reason(Reason("full", float(2**40)))]) == Reason("full")


STRANGERS = [
    b"",
    b"gkm",
    b"charon",
    b"GKMD\x01\x00",
    b"gkmd\x02\x00\x00\x01\x00\x04abcd",  # a later version
    b"gkmd\x00\xff",
    bytes(64),
]


@pytest.mark.parametrize("data", STRANGERS, ids=lambda data: data[:8].hex() or "empty")
def test_what_is_not_ours_is_nothing(data: bytes) -> None:
    assert read_evidence([note(NotifyType.GKMD_EVIDENCE, data)]) == NOTHING
    assert read_reason([note(NotifyType.GKMD_REASON, data)]) is None
    # Ours behind it counts.
    ours = [note(NotifyType.GKMD_EVIDENCE, data), *build_evidence(SHOWN)]
    assert read_evidence(ours) == Shown(SHOWN)
    assert read_reason([note(NotifyType.GKMD_REASON, data), build_reason(Reason("full"))]) == Reason("full")


BAD_EVIDENCE = {
    "cut": b"gkmd",
    "item cut": b"gkmd\x01\x00\x00\x01\x00\x05abcd",
    "half an item": b"gkmd\x01\x00\x00\x01",
    "short voucher": build_private([Item(1, b"abc")]),
    "long voucher": build_private([Item(1, b"a" * 65)]),
    "no text": build_private([Item(1, b"\xff\xfe\xfd\xfc")]),
    "a voucher with a line end": build_private([Item(1, b"abc\nd")]),
    "short money": build_private([Item(2, b"EUR\x00")]),
    "long money": build_private([Item(2, b"EUR" + bytes(9))]),
    "no currency": build_private([Item(2, b"eur" + bytes(8))]),
    "a currency beyond ASCII": build_private([Item(2, b"\xc3\xa4R" + bytes(8))]),
    "more than there is": build_private([Item(2, b"EUR" + b"\xff" * 8)]),
    "too many items": b"gkmd\x01\x00" + b"\x00\x09\x00\x00" * 33,
}


@pytest.mark.parametrize("data", BAD_EVIDENCE.values(), ids=list(BAD_EVIDENCE))
def test_malformed_evidence_is_no_evidence_and_says_no_voucher(data: bytes) -> None:
    shown = read_evidence([note(NotifyType.GKMD_EVIDENCE, data)])
    assert shown.evidence is None
    assert "malformed" in shown.problem
    assert "abc" not in shown.problem


def test_malformed_evidence_is_told_and_does_not_end_the_ike_sa() -> None:
    keeper = porter(reserved={"news", "sport"})
    world = world_of(keeper)
    world.run(1)
    bad = note(NotifyType.GKMD_EVIDENCE, BAD_EVIDENCE["no currency"])
    reply = ask(world, [*build_registration_request(NEWS, None, None), bad], ExchangeType.GSA_REGISTRATION)
    assert PayloadType.GSA in [payload.type for payload in reply]
    assert world.asks[-1].evidence is None
    assert len(world.events("evidence-ignored")) == 1
    established(world)


def test_unknown_items_are_skipped() -> None:
    more = [Item(77, b"x" * 99), Item(0, b"")]
    items = [Item(EvidenceItem.VOUCHER, b"abcd"), *more]
    assert read_evidence([evidence_note(*items)]) == Shown(Evidence("abcd"))
    assert read_reason([reason_note(*more, Item(ReasonItem.CODE, b"full"), *more)]) == Reason("full")


BAD_REASONS = {
    "no code": [Item(ReasonItem.COME_BACK, bytes(8))],
    "no token": [Item(ReasonItem.CODE, b"Full of \x1b[31mred")],
    "long token": [Item(ReasonItem.CODE, b"a" * 33)],
    "a time of four octets": [Item(ReasonItem.CODE, b"full"), Item(ReasonItem.COME_BACK, bytes(4))],
    "a time beyond all": [Item(ReasonItem.CODE, b"full"), Item(ReasonItem.COME_BACK, b"\xff" * 8)],
    "a price of nothing": [Item(ReasonItem.CODE, b"full"), Item(ReasonItem.PRICE, b"")],
    "text that moves the cursor": [Item(ReasonItem.CODE, b"full"), Item(ReasonItem.TEXT, b"\x1b[2J")],
    "long text": [Item(ReasonItem.CODE, b"full"), Item(ReasonItem.TEXT, b"a" * 201)],
    "no text": [Item(ReasonItem.CODE, b"full"), Item(ReasonItem.TEXT, b"\xff")],
}


@pytest.mark.parametrize("items", BAD_REASONS.values(), ids=list(BAD_REASONS))
def test_malformed_reasons_are_none(items: list[Item]) -> None:
    assert read_reason([reason_note(*items)]) is None


def test_nothing_of_evidence_prints() -> None:
    (payload,) = build_evidence(SHOWN)
    assert "7K2M" not in repr(SHOWN)
    assert "7K2M" not in repr(Item(1, SHOWN.voucher.encode()))
    assert "7K2M" not in repr(read_evidence([payload]))


# --- refusals -----------------------------------------------------------------------------------------


def test_every_refusal_has_its_notification() -> None:
    kinds = {refusal: refusal_notify(refusal) for refusal in Refusal}
    assert kinds[Refusal.NOT_YET_OPEN] is kinds[Refusal.CANCELLED] is NotifyType.REGISTRATION_FAILED
    about_the_member = {
        *(Refusal.NOT_ON_LIST, Refusal.PAYMENT_REQUIRED, Refusal.PRICE_TOO_HIGH, Refusal.VOUCHER_INVALID),
        *(Refusal.NOT_AUTHORIZED, Refusal.WRONG_PASSWORD, Refusal.LOCKED_OUT, Refusal.REVOKED),
    }
    assert {r for r, kind in kinds.items() if kind is NotifyType.AUTHORIZATION_FAILED} == about_the_member


@pytest.mark.parametrize("refusal", list(Refusal), ids=lambda refusal: refusal.value)
def test_a_refused_member_learns_why(refusal: Refusal) -> None:
    keeper = porter()
    keeper.verdict = lambda ask: Verdict(refusal, detail="what nobody else is to know", price=EUR)
    world = world_of(keeper)
    world.run(0.5)
    ours, _ = established(world)
    reply = inside(ours, world.sent[-1].data)
    assert notes(reply) == [refusal_notify(refusal), NotifyType.GKMD_REASON]
    assert read_reason(reply) == Reason(refusal.value, None, EUR)
    assert keeper.told == [("refused", TICKET, refusal)]
    host = world.hosts[0]
    assert host.endpoint.groups["news"].status(world.now)["refused"] == {
        "reason": refusal.value,
        "price": "2.50 EUR",
    }
    (told,) = [t for t in host.tells if t.event == "registration-refused"]
    assert (told.fields["why"], told.fields["price"]) == (refusal.value, "2.50 EUR")
    # The detail is for our log, not for the member.
    assert not any(b"nobody else" in inside_octets(payload) for payload in reply)


def inside_octets(payload: Payload) -> bytes:
    return payload.body.data if isinstance(payload.body, Notify) else b""


@pytest.mark.parametrize("seconds", [5.0, 600.0])
def test_a_member_comes_back_when_it_is_told_and_not_before(seconds: float) -> None:
    keeper = porter()

    def verdict(ask: Ask) -> Verdict:
        late = world.now >= T0 + seconds
        return WELCOME if late else Verdict(Refusal.NOT_YET_OPEN, come_back=T0 + seconds)

    keeper.verdict = verdict
    world = world_of(keeper)
    world.run(seconds - 0.1)
    assert len(world.asks) == 1
    world.run(3.2)
    assert len(world.asks) == 2
    assert world.registered()
    assert world.hosts[0].endpoint.groups["news"].status(world.now)["refused"] is None


def test_many_members_do_not_come_back_at_the_same_instant() -> None:
    world = World([policy(starts=T0 + 60)], members=20)
    world.run(55)
    due = {host.endpoint._enrolments["news"].due for host in world.hosts.values()}
    assert len(due) == 20
    assert all(T0 + 60 <= at <= T0 + 63 for at in due if at is not None)


def test_a_time_far_away_is_a_day_at_most() -> None:
    keeper = porter()
    keeper.verdict = lambda ask: Verdict(Refusal.NOT_YET_OPEN, come_back=T0 + 30 * 86400)
    world = world_of(keeper)
    world.run(1)
    due = world.hosts[0].endpoint._enrolments["news"].due
    assert due is not None
    assert T0 + 86400 <= due <= T0 + 86410


def test_what_was_cancelled_is_seldom_asked_for() -> None:
    keeper = porter()
    keeper.verdict = lambda ask: Verdict(Refusal.CANCELLED)
    world = world_of(keeper)
    world.run(140)
    assert len(world.asks) == 1  # the next one comes after 150 to 450 seconds
    world.run(320)
    assert len(world.asks) >= 2


def test_a_time_that_has_passed_is_none() -> None:
    keeper = porter()
    keeper.verdict = lambda ask: Verdict(Refusal.NOT_YET_OPEN, come_back=T0 - 1000)
    world = world_of(keeper)
    world.run(30)
    assert 3 <= len(world.asks) <= 9  # 1, 2, 4, 8 ... seconds, with jitter


def test_a_refusal_of_the_group_itself_after_a_good_verdict() -> None:
    keeper = porter()
    world = login_world(policies=[policy(capacity=1)], doorkeeper=keeper)
    world.decides = False
    names = (ANN, Identity.parse("keyid:bob"))
    for number, name in enumerate(names):
        world.add(number, credentials=login(name), identity=name)
    world.run(0.2)
    # Both were let in, and there is room for one.
    verdicts = [world.directory.decide(question, world.now) for question in world.asks]
    assert [verdict.refusal for verdict in verdicts] == [None, None]
    for question, verdict in zip(world.asks, verdicts, strict=True):
        world.do(world.server.answer(question, verdict, world.now))
    world.run(0.2)
    (out,) = [h for h in world.hosts.values() if not h.endpoint.groups["news"].registered]
    assert out.endpoint.groups["news"].status(world.now)["refused"] == {"reason": "full"}
    assert keeper.told[-1] == ("refused", out.identity, Refusal.FULL)


def test_what_was_charged_is_given_back_when_the_keys_cannot_be_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_once(monkeypatch, "render_registration")
    keeper = porter()
    world = world_of(keeper)
    world.run(0.2)
    assert keeper.told == [("admitted", TICKET, Proof.TICKET), ("undone", TICKET), ("gone", TICKET)]
    assert not world.directory.members("news")
    # The member tries again soon, and then it works.
    world.run(5)
    assert world.registered()


# --- evidence on its way ------------------------------------------------------------------------------


def paid(ask: Ask) -> Verdict:
    return WELCOME if ask.evidence == SHOWN else Verdict(Refusal.PAYMENT_REQUIRED, price=EUR)


def test_evidence_is_shown_when_the_server_has_proved_itself() -> None:
    """A voucher is money: GSA_AUTH goes to whoever answers IKE_SA_INIT, GSA_REGISTRATION to our server."""
    keeper = porter(verdict=paid)
    world = world_of(keeper, join(evidence=SHOWN))
    world.run(1)
    assert world.registered()
    assert [question.evidence for question in world.asks] == [None, SHOWN]
    assert arrows(world)[-2:] == ["GSA_REGISTRATION 2 ->", "GSA_REGISTRATION 2 <-"]
    # It has been refused nothing: it had only not shown all.
    assert [what for what, *_ in keeper.told] == ["admitted"]
    host = world.hosts[0]
    assert not [t for t in host.tells if t.event == "registration-refused"]


def test_evidence_that_is_not_needed_is_not_shown() -> None:
    keeper = porter()
    world = world_of(keeper, join(evidence=SHOWN))
    world.run(1)
    assert [question.evidence for question in world.asks] == [None]


def test_evidence_that_does_not_help_is_a_refusal_and_counts() -> None:
    keeper = porter(verdict=lambda ask: Verdict(Refusal.VOUCHER_INVALID))
    world = world_of(keeper, join(evidence=SHOWN))
    world.run(100)
    assert [question.evidence for question in world.asks] == [None, SHOWN]
    assert keeper.told == [("refused", TICKET, Refusal.VOUCHER_INVALID)]


def test_evidence_does_not_help_a_group_that_is_closed() -> None:
    keeper = porter(verdict=lambda ask: Verdict(Refusal.CLOSED))
    world = world_of(keeper, join(evidence=SHOWN))
    world.run(0.4)
    assert len(world.asks) == 1
    assert keeper.told == [("refused", TICKET, Refusal.CLOSED)]


def test_who_says_that_more_follows_and_shows_nothing_is_refused_all_the_same() -> None:
    keeper = porter(verdict=paid)
    world = world_of(keeper)
    world.run(0.5)
    request = [*build_registration_request(NEWS, None, None), *build_follows()]
    reply = ask(world, request, ExchangeType.GSA_REGISTRATION)
    assert notes(reply)[0] == NotifyType.AUTHORIZATION_FAILED
    assert not world.directory.members("news")


def test_after_a_login_evidence_comes_with_auth() -> None:
    keeper = porter(verdict=paid)
    world = login_world(doorkeeper=keeper)
    world.add(0, [join(evidence=SHOWN)], credentials=login(), identity=ANN)
    world.run(1)
    assert world.registered()
    assert [question.evidence for question in world.asks] == [SHOWN]
    assert arrows(world)[-1] == "GSA_AUTH 3 <-"


def test_evidence_that_does_not_help_after_a_login_is_a_refusal() -> None:
    keeper = porter(verdict=lambda ask: Verdict(Refusal.VOUCHER_INVALID))
    world = login_world(doorkeeper=keeper)
    host = world.add(0, [join(evidence=SHOWN)], credentials=login(), identity=ANN)
    world.run(100)
    assert [question.evidence for question in world.asks] == [SHOWN]
    (told,) = [t for t in host.tells if t.event == "registration-refused"]
    assert told.fields["why"] == "voucher-invalid"


# --- strangers ----------------------------------------------------------------------------------------


def test_private_notifications_of_another_make_change_nothing() -> None:
    """The range for private use is anybody's: what a peer of another make says there is not for us."""
    world = World(members=1)
    world.run(1)
    strange = [note(kind, bytes(range(20))) for kind in (40960, 40969, 46848, 46849, 65535)]
    reply = ask(
        world, [*build_registration_request(NEWS, None, None), *strange], ExchangeType.GSA_REGISTRATION
    )
    assert PayloadType.GSA in [payload.type for payload in reply]
    assert ask(world, strange, ExchangeType.INFORMATIONAL) == []
    assert not world.events("evidence-ignored")
    assert world.asks[-1].evidence is None


def test_a_member_of_another_make_reads_the_refusal_without_ours() -> None:
    """The error notification comes first, alone it says all that RFC 9838 has a word for."""
    world = World([policy(receivers=())], members=1)
    world.run(0.5)
    ours, _ = established(world)
    reply = inside(ours, world.sent[-1].data)
    errors = [kind for kind in notes(reply) if kind < 16384]
    assert errors == [NotifyType.AUTHORIZATION_FAILED]
    assert notes(reply)[0] == errors[0]


def test_a_server_of_another_make_gives_no_reason() -> None:
    world = World([policy(receivers=())], members=1)
    host = world.hosts[0]
    put = world.put
    world.put = lambda datagram: None if not datagram.to_server and datagram.data[18] == 39 else put(datagram)  # type: ignore[method-assign]
    world.run(0.2)
    half = host.endpoint._connector._attempt._candidates[0]  # type: ignore[union-attr]
    (theirs,) = world.server._keeper.table
    payloads = [p for p in inside(half.sa, theirs.window.last_reply) if p.type != PayloadType.NOTIFY]

    data = seal(
        theirs,
        ExchangeType.GSA_AUTH,
        1,
        [*payloads, note(NotifyType.AUTHORIZATION_FAILED)],
        response=True,
    )
    world.to_member(host, data, host.path)
    status = host.endpoint.groups["news"].status(world.now)
    assert status["refused"] == {"reason": "AUTHORIZATION_FAILED"}


def test_strangers_who_are_not_authenticated_learn_nothing() -> None:
    world = login_world()
    wrong = Credentials(member_name(0), {SERVER_ID: psk("somebody else")})
    world.add(0, credentials=wrong, identity=member_name(0))
    world.run(0.2)
    failed = [t for t in world.hosts[0].tells if t.event == "connect-failed"]
    assert failed[0].fields["reason"] == "refused: AUTHENTICATION_FAILED"
