"""The small nouns: window, back-off, ledger, SA table, half-open table, proposals, cookies, turn."""

from __future__ import annotations

import itertools

import pytest
from endpoint_rig import SERVER_ID, World, established, init_of, member_name, turned

from gkmd.core.address import Path
from gkmd.core.alarms import Alarms
from gkmd.core.algorithms import (
    AES_CBC_128,
    AES_CBC_256,
    AES_GCM_16_128,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    CURVE25519,
    ECP_256,
    HMAC_SHA2_256_128,
    HMAC_SHA2_512_256,
    KW_5649_128,
    KW_5649_256,
    MODP_2048,
    PRF_HMAC_SHA2_256,
    PRF_HMAC_SHA2_512,
)
from gkmd.core.change import (
    Change,
    DropGroup,
    DropIkeSa,
    DropMember,
    GroupRecord,
    PutGroup,
    PutIkeSa,
)
from gkmd.core.effect import Ask, JoinMulticast, Persist, Send, Tell
from gkmd.core.errors import LocalError, PeerError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.ike.initial import Cookies, ReplyTemplate, build_request
from gkmd.ike.ledger import Ledger
from gkmd.ike.proposal import IkePolicy, accepted, choose, offer
from gkmd.ike.sa import IkeSa
from gkmd.ike.turn import Turn
from gkmd.ike.window import Admission, Backoff, Window
from wire.ikev2 import Attribute, Ke, Proposal, Sa, Transform
from wire.message import build_message, first, parse_untrusted
from wire.registry import ExchangeType, NotifyType, PayloadType, TransformType

# --- window ---------------------------------------------------------------------------------------


def test_a_window_of_one() -> None:
    window = Window()
    assert window.admit(0) is Admission.NEW
    assert window.admit(1) is Admission.OUTSIDE
    window.replied(b"reply 0")
    assert window.admit(0) is Admission.REPEATED
    assert window.last_reply == b"reply 0"
    assert window.admit(1) is Admission.NEW
    window.replied(b"reply 1")
    assert window.admit(0) is Admission.OUTSIDE
    # A request whose reply is no longer known is not answered anew.
    assert Window(expected_request_id=1).admit(0) is Admission.OUTSIDE


def test_our_own_requests() -> None:
    window = Window(next_request_id=5)
    assert not window.awaits(5, 37)
    window.requested(37, b"request", 10.0)
    assert window.awaits(5, 37)
    assert not window.awaits(5, 40)
    assert not window.awaits(4, 37)
    window.answered()
    assert not window.awaits(5, 37)
    assert window.next_request_id == 6


def test_waits_grow_to_the_ceiling() -> None:
    backoff = Backoff(1.0, 2.0, 5.0, 5)
    assert [backoff.wait(n) for n in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.patience == 17.0
    # RFC 7296 2.4: at least several minutes would suit the internet; ours end within two.
    assert 60 < Backoff().patience < 120


def test_an_sa_seals_each_message_id_once() -> None:
    world = World(members=1)
    world.run(1)
    _, theirs = established(world)
    theirs.request(ExchangeType.INFORMATIONAL, [], 0.0)
    with pytest.raises(LocalError, match="pending"):
        theirs.request(ExchangeType.INFORMATIONAL, [], 0.0)
    theirs.window.answered()
    theirs.window.next_request_id = 1 << 32
    with pytest.raises(LocalError, match="used up"):
        theirs.request(ExchangeType.INFORMATIONAL, [], 0.0)
    theirs.window.expected_request_id = 1 << 32
    with pytest.raises(LocalError, match="used up"):
        theirs.reply(ExchangeType.INFORMATIONAL, [])
    theirs.peer = None
    with pytest.raises(LocalError, match="authenticated"):
        theirs.record()


def test_an_sa_comes_back_as_it_was_written() -> None:
    world = World(members=1)
    world.run(1)
    ours, theirs = established(world)
    theirs.request(ExchangeType.GSA_INBAND_REKEY, [], 0.0)
    record = theirs.record()
    again = IkeSa.restore(record, SeededRng(1), world.now)
    assert again.record() == record
    assert again.gsk_w == theirs.gsk_w == ours.gsk_w
    assert again.window.awaits(0, ExchangeType.GSA_INBAND_REKEY)


# --- ledger ---------------------------------------------------------------------------------------


def group(name: str, epoch: int) -> Change:
    return PutGroup(GroupRecord(name, epoch, (), (), 0, 0, (), False))


def test_the_ledger_writes_the_newest_of_each_row() -> None:
    ledger = Ledger()
    assert ledger.persist([]) is None
    effect = ledger.persist([group("a", 1), group("b", 1), group("a", 2)])
    assert effect == Persist((group("b", 1), group("a", 2)))
    ledger.done(effect, failed=False)
    assert not ledger.behind


def test_lost_changes_come_again_in_front() -> None:
    ledger = Ledger()
    one = ledger.persist([group("a", 1), DropIkeSa(b"1")])
    assert one is not None
    ledger.done(one, failed=True)
    assert ledger.behind
    two = ledger.persist([group("b", 1)])
    assert two == Persist((group("a", 1), DropIkeSa(b"1"), group("b", 1)))
    assert not ledger.behind
    ledger.done(two, failed=True)
    three = ledger.persist([group("a", 3)])
    assert three == Persist((DropIkeSa(b"1"), group("b", 1), group("a", 3)))


def test_a_newer_write_in_flight_supersedes_a_lost_one() -> None:
    ledger = Ledger()
    member = Identity.parse("fqdn:a")
    one = ledger.persist([group("a", 1), DropMember("a", member)])
    two = ledger.persist([group("a", 2)])
    assert one is not None
    assert two is not None
    ledger.done(one, failed=True)
    ledger.done(two, failed=False)
    assert ledger.persist([DropGroup("x")]) == Persist((DropMember("a", member), DropGroup("x")))


def test_what_the_ledger_does_not_know_is_ignored() -> None:
    ledger = Ledger()
    effect = ledger.persist([group("a", 1)])
    ledger.done(Persist((group("a", 1),)), failed=True)  # equal, but another
    assert not ledger.behind
    assert effect is not None
    ledger.done(effect, failed=False)
    ledger.done(effect, failed=True)
    assert not ledger.behind


def test_an_ike_sa_in_flight() -> None:
    world = World(members=1)
    world.run(1)
    _, theirs = established(world)
    ledger = Ledger()
    effect = ledger.persist([PutIkeSa(theirs.record())])
    assert effect is not None
    assert ledger.in_flight(theirs.spi_r)
    assert not ledger.in_flight(bytes(8))
    ledger.done(effect, failed=False)
    assert not ledger.in_flight(theirs.spi_r)


# --- turn -----------------------------------------------------------------------------------------


def test_a_turn_keeps_the_order_law() -> None:
    path = Path("a", 1, "b", 2)
    ask = Ask(1, SERVER_ID, SERVER_ID, __import__("ipaddress").ip_address("10.0.0.1"), False, 0)
    effects = [
        Tell("one"),
        Send(b"1", path),
        ask,
        JoinMulticast("g", ask.address, 1, "eth0"),
        Persist((group("a", 1),)),
        Send(b"2", path),
        Persist((group("b", 1),)),
        Tell("two"),
    ]
    turn = Turn()
    turn.extend(effects)
    assert turn.effects() == [
        Persist((group("a", 1), group("b", 1))),
        effects[3],
        effects[1],
        effects[5],
        effects[0],
        effects[7],
        ask,
    ]


# --- proposals ------------------------------------------------------------------------------------


def test_aead_and_cbc_are_offered_apart() -> None:
    proposals = offer(IkePolicy()).proposals
    assert [p.number for p in proposals] == [1, 2]
    for proposal, aead in zip(proposals, (True, False), strict=True):
        types = {t.type for t in proposal.transforms}
        assert (TransformType.INTEG in types) is not aead
        assert {TransformType.ENCR, TransformType.PRF, TransformType.KE, TransformType.KWA} <= types
    only = offer(IkePolicy(ciphers=(AES_CBC_128, AES_GCM_16_256))).proposals
    assert TransformType.INTEG in {t.type for t in only[0].transforms}


@pytest.mark.parametrize(
    "policy",
    [
        IkePolicy(),
        IkePolicy(ciphers=(AES_CBC_256,), integrities=(HMAC_SHA2_512_256,), prfs=(PRF_HMAC_SHA2_512,)),
        IkePolicy(ciphers=(CHACHA20_POLY1305,), key_exchanges=(MODP_2048,), key_wraps=(KW_5649_128,)),
    ],
)
def test_what_is_chosen_is_accepted(policy: IkePolicy) -> None:
    group = policy.key_exchanges[0].transform_id
    choice = choose(IkePolicy(), offer(policy), group)
    assert choice.suite.cipher in policy.ciphers
    assert accepted(policy, choice.reply, group) == choice.suite
    (proposal,) = choice.reply.proposals
    types = [t.type for t in proposal.transforms]
    assert len(set(types)) == len(types)
    assert types.count(TransformType.KWA) == 1  # RFC 9838 2.3


def test_our_own_preference_decides_within_a_proposal() -> None:
    theirs = IkePolicy(ciphers=(AES_GCM_16_128, AES_GCM_16_256), key_wraps=(KW_5649_128, KW_5649_256))
    suite = choose(IkePolicy(), offer(theirs), CURVE25519.transform_id).suite
    assert suite.cipher is AES_GCM_16_256
    assert suite.key_wrap is KW_5649_256
    # The group of the KE payload is taken if it will do: another one costs a round trip.
    assert choose(IkePolicy(), offer(IkePolicy()), ECP_256.transform_id).suite.key_exchange is ECP_256
    assert choose(IkePolicy(), offer(IkePolicy()), 99).suite.key_exchange is CURVE25519


def without(policy: IkePolicy, kind: int) -> Sa:
    return Sa(
        [
            Proposal(p.number, p.protocol, p.spi, [t for t in p.transforms if t.type != kind])
            for p in offer(policy).proposals
        ]
    )


@pytest.mark.parametrize("kind", [1, 2, 4, 13])
def test_a_missing_transform_type_is_no_proposal(kind: int) -> None:
    with pytest.raises(PeerError) as caught:
        choose(IkePolicy(), without(IkePolicy(), kind), 31)
    assert caught.value.notify == NotifyType.NO_PROPOSAL_CHOSEN


def test_a_cbc_cipher_without_integrity_is_not_chosen() -> None:
    policy = IkePolicy(ciphers=(AES_CBC_256,))
    with pytest.raises(PeerError):
        choose(policy, without(policy, 3), 31)


def test_attributes_that_nobody_knows_spoil_a_transform_only() -> None:
    sa = offer(IkePolicy(ciphers=(AES_GCM_16_256, AES_GCM_16_128)))
    sa.proposals[0].transforms[0].attributes.append(Attribute(77, 1))
    assert choose(IkePolicy(), sa, 31).suite.cipher is AES_GCM_16_128
    # A fixed-length cipher with a length, and one that needs it without, are unknown too.
    odd = [Transform(1, 28, [Attribute(14, 256)]), Transform(1, 20, [])]
    sa.proposals[0].transforms[:2] = odd
    with pytest.raises(PeerError):
        choose(IkePolicy(), sa, 31)


def test_integrity_none_beside_an_aead_cipher_is_fine_and_another_is_not() -> None:
    policy = IkePolicy(ciphers=(AES_GCM_16_256,))
    sa = offer(policy)
    sa.proposals[0].transforms.append(Transform(3, 0))
    assert choose(policy, sa, 31).suite.integrity is None
    sa.proposals[0].transforms[-1] = Transform(3, HMAC_SHA2_256_128.transform_id)
    with pytest.raises(PeerError):
        choose(policy, sa, 31)


def answers() -> list[Sa]:
    """Answers to IkePolicy() that are none."""
    good = choose(IkePolicy(), offer(IkePolicy()), 31).reply.proposals[0]
    two = list(good.transforms)

    def with_transforms(transforms: list[Transform], number: int = 1) -> Sa:
        return Sa([Proposal(number, 1, b"", transforms)])

    return [
        Sa([good, good]),
        with_transforms(two, 7),
        with_transforms([*two, Transform(13, 1)]),
        with_transforms([t for t in two if t.type != 13]),
        with_transforms([t for t in two if t.type != 4] + [Transform(4, 19)]),
        with_transforms([Transform(1, 12, [Attribute(14, 256)]), *two[1:], Transform(3, 12)]),
        with_transforms([Transform(1, 20, [Attribute(14, 192)]), *two[1:]]),
        with_transforms([*two, Transform(3, 12)]),
        Sa([Proposal(1, 3, b"", two)]),
        Sa([Proposal(1, 1, bytes(8), two)]),
    ]


@pytest.mark.parametrize("number", range(10))
def test_an_answer_that_was_not_offered_is_not_accepted(number: int) -> None:
    with pytest.raises(PeerError):
        accepted(IkePolicy(), answers()[number], 31)


def test_policies_that_cannot_work() -> None:
    for wrong in ({"ciphers": ()}, {"prfs": ()}, {"key_exchanges": ()}, {"key_wraps": ()}):
        with pytest.raises(LocalError):
            IkePolicy(**wrong)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="integrity"):
        IkePolicy(integrities=())
    assert IkePolicy(ciphers=(AES_GCM_16_256,), integrities=()).integrities == ()
    text = str(choose(IkePolicy(), offer(IkePolicy()), 31).suite)
    assert text == "aes-gcm-16-256/prf-hmac-sha2-256/curve25519/kw-5649-256"


# --- cookies --------------------------------------------------------------------------------------


def test_a_cookie_is_good_for_its_maker_its_time_and_its_peer() -> None:
    cookies = Cookies(SeededRng(1), 60.0)
    nonce, spi = bytes(32), bytes(8)
    cookie = cookies.make(nonce, "10.0.0.1", spi, 1000.0)
    assert 1 <= len(cookie) <= 64
    assert cookies.good(cookie, nonce, "10.0.0.1", spi, 1059.0)
    assert cookies.good(cookie, nonce, "10.0.0.1", spi, 1061.0)  # the secret before this one
    assert not cookies.good(cookie, nonce, "10.0.0.1", spi, 1121.0)
    again = cookies.make(nonce, "10.0.0.1", spi, 1200.0)
    assert again != cookie
    for wrong in (
        (nonce[1:] + b"x", "10.0.0.1", spi),
        (nonce, "10.0.0.2", spi),
        (nonce, "10.0.0.1", bytes(7) + b"x"),
    ):
        assert not cookies.good(again, *wrong, 1200.0)
    assert not cookies.good(again[:-1], nonce, "10.0.0.1", spi, 1200.0)
    assert not cookies.good(b"", nonce, "10.0.0.1", spi, 1200.0)
    assert not Cookies(SeededRng(2), 60.0).good(again, nonce, "10.0.0.1", spi, 1200.0)


def test_a_secret_that_has_rested_vouches_for_nothing() -> None:
    cookies = Cookies(SeededRng(1), 60.0)
    cookie = cookies.make(bytes(32), "10.0.0.1", bytes(8), 0.0)
    assert not cookies.good(cookie, bytes(32), "10.0.0.1", bytes(8), 10_000.0)


def test_the_template_of_a_reply_is_the_reply() -> None:
    choice = choose(IkePolicy(), offer(IkePolicy()), 31)
    template = ReplyTemplate(choice.reply, CURVE25519, [])
    spi_i, spi_r, ke, nonce = b"i" * 8, b"r" * 8, b"k" * 32, b"n" * 32
    message = parse_untrusted(template.build(spi_i, spi_r, ke, nonce))
    assert (message.header.spi_i, message.header.spi_r) == (spi_i, spi_r)
    assert first(message.payloads, PayloadType.KE) == Ke(31, ke)
    assert message.payloads[2].body.data == nonce  # type: ignore[union-attr]
    again = build_message(spi_i, spi_r, ExchangeType.IKE_SA_INIT, 0x20, 0, message.payloads)
    assert again == template.build(spi_i, spi_r, ke, nonce)
    with pytest.raises(LocalError):
        template.build(spi_i, spi_r, ke + b"x", nonce)


def test_the_request_puts_a_cookie_in_front() -> None:
    ke = Ke(31, bytes(32))
    with_cookie = parse_untrusted(build_request(b"i" * 8, offer(IkePolicy()), ke, bytes(32), b"cookie", []))
    without_one = parse_untrusted(build_request(b"i" * 8, offer(IkePolicy()), ke, bytes(32), None, []))
    assert with_cookie.payloads[0].body.data == b"cookie"  # type: ignore[union-attr]
    assert with_cookie.payloads[1:] == without_one.payloads


# --- tables ---------------------------------------------------------------------------------------


def test_timers_wake_who_is_due_and_nobody_twice() -> None:
    world = World(members=3)
    world.run(1)
    table = world.server._keeper.table
    sas = list(table)
    table._alarms = Alarms()
    for sa, at in zip(sas, (30.0, 10.0, 20.0), strict=True):
        table.arm(sa, at)
    table.arm(sas[0], 40.0)  # later: the earlier timer stays
    table.arm(sas[0], 5.0)
    assert table.deadline() == 5.0
    assert table.due(4.0) == []
    assert table.due(10.0) == [sas[0], sas[1]]
    table.remove(sas[2])
    assert table.deadline() is None
    assert table.due(100.0) == []


def test_the_half_open_table_forgets_what_is_old() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    init = init_of(world)
    world.to_server(init, turned(host.path))
    table = world.server._init.table
    (half,) = table._by_spi.values()
    assert table.repeated_untrusted(init) is half
    assert table.deadline() == half.expires
    table.remove(half, world.now)
    table.remove(half, world.now)
    assert len(table) == 0
    assert table.settled_untrusted(init, world.now + 1)
    assert not table.settled_untrusted(init, world.now + 31)
    for number in itertools.islice(itertools.count(), 5000):
        half.request = number.to_bytes(4, "big")
        table.add(half)
        table.remove(half, world.now)
    assert len(table._settled) == 4096
    assert member_name(0) == host.identity
    assert PRF_HMAC_SHA2_256 in IkePolicy().prfs
