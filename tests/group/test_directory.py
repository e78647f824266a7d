"""Joins, leaves, refusals, beginnings and ends, as the IKE machines see them."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_server import CHAT, NEWS, SHARED, T0, Server, ask_for, fqdn

from gkmd.core.algorithms import (
    AES_CBC_256,
    AES_GCM_16_128,
    CHACHA20_POLY1305,
    HMAC_SHA2_512_256,
    KW_5649_128,
    RekeyAuth,
)
from gkmd.core.change import DropMember, PutGroup, PutMember
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.rng import SeededRng
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, Refusal, Refused, RekeyOrder, Repeat, SenderRule, Verdict


def kinds(changes: object) -> list[str]:
    return [type(change).__name__ for change in changes]  # type: ignore[attr-defined]


# Keys


@pytest.mark.parametrize(
    ("changes", "data", "rekey"),
    [
        ({}, 36, 68),
        ({"cipher": AES_GCM_16_128, "rekey_cipher": AES_GCM_16_128, "key_wrap": KW_5649_128}, 20, 36),
        ({"cipher": AES_CBC_256, "integrity": HMAC_SHA2_512_256}, 96, 68),
        ({"rekey_cipher": AES_CBC_256, "rekey_integrity": HMAC_SHA2_512_256}, 36, 128),
        ({"cipher": CHACHA20_POLY1305}, 36, 68),
    ],
)
def test_keys_have_the_lengths_of_their_algorithms(changes: dict[str, object], data: int, rekey: int) -> None:
    policy = replace(NEWS, **changes)  # type: ignore[arg-type]
    view = Server([policy]).join("a.tx", T0, sends=True)
    assert [len(sa.key) for sa in view.data_sas] == [data]
    assert len(view.rekey_sa.key) == rekey
    assert view.rekey_sa.signing_key is not None
    assert len(view.rekey_sa.signing_key) == 32
    assert view.rekey_sa.spi[:8] != bytes(8)


def test_implicit_authentication_has_no_signing_key() -> None:
    view = Server([replace(NEWS, rekey_auth=RekeyAuth.IMPLICIT)]).join("r1", T0)
    assert view.rekey_sa.signing_key is None


# Joins


def test_first_receiver_gets_a_rekey_sa_and_no_data_sa() -> None:
    server = Server()
    joined = server.directory.join(ask_for("r1"), Verdict(None, True, False), b"spi-r1..", T0 + 1)
    assert joined.view.data_sas == ()
    assert joined.view.rekey_sa.next_message_id == 0
    assert joined.view.sender_ids == ()
    assert kinds(joined.changes) == ["PutMember"]
    assert joined.orders == ()


def test_new_sender_is_announced_to_receivers_before_its_reply() -> None:
    server = Server()
    server.join("r1", T0)
    view = server.join("a.tx", T0 + 1, sends=True, address="10.0.0.7")
    (sa,) = view.data_sas
    assert (sa.sender, sa.source) == (fqdn("a.tx"), ip_address("10.0.0.7"))
    assert sa.expires == T0 + 1 + NEWS.tek_lifetime
    (sent,) = server.sent
    assert sent.order.data_sas == (sa,)
    assert sent.order.message_id == 0
    assert sent.order.under.next_message_id == 0
    assert view.rekey_sa.next_message_id == 1  # RFC 9838 2.4.1.4: the next that will be used
    late = server.join("r2", T0 + 2)
    assert late.data_sas == (sa,)
    assert late.rekey_sa == view.rekey_sa


def test_source_of_a_sender_rule_wins_over_its_address() -> None:
    rule = SenderRule(IdentityPattern("fqdn:a.tx.example"), ip_address("192.0.2.9"))
    server = Server([replace(NEWS, senders=(rule, *NEWS.senders))])
    server.join("a.tx", T0, sends=True, address="10.0.0.7")
    server.join("b.tx", T0, sends=True, address="10.0.0.8")
    sas = server.directory.sas("news").data_sas
    assert [str(sa.source) for sa in sas] == ["192.0.2.9", "10.0.0.8"]
    server.rekey(T0 + 10)
    assert [str(sa.source) for sa in server.directory.sas("news").data_sas[2:]] == ["192.0.2.9", "10.0.0.8"]


def test_shared_sa_is_there_from_the_start_and_senders_change_nothing() -> None:
    server = Server([SHARED])
    first = server.join("r1", T0)
    (sa,) = first.data_sas
    assert (sa.sender, sa.source) == (None, None)
    joined = server.directory.join(ask_for("a.tx", sends=True), Verdict(None, True, True), b"spi-a.tx", T0)
    assert joined.view.data_sas == (sa,)
    assert kinds(joined.changes) == ["PutMember"]
    assert joined.orders == ()
    assert joined.view.sender_ids == ()
    assert server.leave("a.tx", T0 + 1).orders == ()


def test_one_that_only_sends_is_told_of_its_own_sa_only() -> None:
    server = Server([replace(NEWS, receivers=(IdentityPattern("fqdn:b.tx.example"),))])
    server.join("b.tx", T0, sends=True)
    assert [sa.sender for sa in server.join("a.tx", T0, sends=True).data_sas] == [fqdn("a.tx")]
    assert [sa.sender for sa in server.join("b.tx", T0, sends=True).data_sas][-1] == fqdn("b.tx")


def test_joiner_gets_sas_on_their_way_out_for_as_long_as_they_are() -> None:
    server = Server()
    server.join("a.tx", T0, sends=True)
    server.rekey(T0 + 10)
    old, new = server.join("r1", T0 + 12).data_sas
    assert old.removed_at == T0 + 10 + NEWS.deactivation_delay
    assert new.removed_at is None


def test_receiver_that_registers_again_is_one_member() -> None:
    server = Server()
    server.join("r1", T0, spi=b"ike-sa-1")
    server.join("r1", T0 + 5, spi=b"ike-sa-2", address="10.0.0.9")
    (member,) = server.directory.members("news")
    assert (member.joined, member.ike_spi, str(member.address)) == (T0 + 5, b"ike-sa-2", "10.0.0.9")
    # The old IKE SA ends after the new one was made: that takes nobody away.
    assert server.ike_sa_gone(b"ike-sa-1", T0 + 6).changes == ()
    assert kinds(server.ike_sa_gone(b"ike-sa-2", T0 + 7).changes) == ["DropMember"]
    assert server.directory.members("news") == ()
    assert server.journal.load().members == ()


def test_sender_that_registers_again_gets_a_new_sa_and_fresh_ids() -> None:
    server = Server()
    first = server.join("a.tx", T0, sends=True, ids=2)
    again = server.join("a.tx", T0 + 5, sends=True, ids=3)
    assert (first.sender_ids, again.sender_ids) == ((0, 1), (2, 3, 4))
    old, new = again.data_sas
    assert old.spi == first.data_sas[0].spi
    assert old.removed_at == T0 + 5 + NEWS.deactivation_delay
    assert new.key != old.key
    order = server.sent[-1].order
    assert (order.data_sas, order.deleted_spis) == ((new,), (old.spi,))


def test_sender_that_comes_back_as_receiver_loses_its_sa() -> None:
    server = Server()
    (sa,) = server.join("a.tx", T0, sends=True).data_sas
    view = server.join("a.tx", T0 + 5)
    assert server.sent[-1].order.deleted_spis == (sa.spi,)
    assert [old.removed_at for old in view.data_sas] == [T0 + 11]
    assert view.sender_ids == ()
    server.run(T0 + 100)
    assert server.directory.sas("news").data_sas == ()


def test_sender_ids_start_again_only_after_everybody_was_excluded() -> None:
    """RFC 9838 2.5.1 item 5: all GMs are excluded, and the new IDs are used with new SAs only."""
    server = Server([replace(NEWS, sender_id_bits=2)])
    server.join("r1", T0)
    old = server.join("a.tx", T0, sends=True, ids=3)
    assert server.join("b.tx", T0 + 1, sends=True, ids=3).sender_ids == (3,)
    before = server.directory.sas("news")
    count = len(server.sent)
    view = server.join("c.tx", T0 + 2, sends=True)
    assert view.sender_ids == (0,)
    assert view.rekey_sa.spi != old.rekey_sa.spi
    assert view.rekey_sa.signing_key != old.rekey_sa.signing_key
    assert view.rekey_sa.next_message_id == 0
    assert [sa.sender for sa in view.data_sas] == [fqdn("c.tx")]
    assert not {sa.spi for sa in before.data_sas} & {sa.spi for sa in view.data_sas}
    assert [member.identity for member in server.directory.members("news")] == [fqdn("c.tx")]
    assert [member.identity for member in server.journal.load().members] == [fqdn("c.tx")]
    (sent,) = server.sent[count:]
    order = sent.order
    assert (order.close, order.exclude, order.reason) == (True, True, "sender-ids-exhausted")
    assert order.under.spi == old.rekey_sa.spi
    server.run(T0 + 10)
    assert [copy.copy for copy in server.sent if copy.datagram == sent.datagram] == [0, 1, 2]


# Refusals


def refusal_of(server: Server, name: str, policy: GroupPolicy = NEWS, *, sends: bool = False) -> Refusal:
    """The refusal by ``decide`` and by ``join``; neither changes anything."""
    before = server.directory.groups(), server.directory.sas("news"), server.directory.deadline()
    ask = ask_for(name, policy, sends=sends)
    verdict = server.directory.decide(ask, server.clock)
    assert verdict.refusal is not None
    with pytest.raises(Refused) as refused:
        server.directory.join(ask, verdict, b"spi", server.clock)
    assert refused.value.refusal is verdict.refusal
    assert (server.directory.groups(), server.directory.sas("news"), server.directory.deadline()) == before
    return verdict.refusal


def test_refusals() -> None:
    server = Server([replace(NEWS, receivers=(IdentityPattern("fqdn:r1.example"),), capacity=1), CHAT])
    assert refusal_of(server, "r2") is Refusal.NOT_AUTHORIZED
    assert refusal_of(server, "r1", sends=True) is Refusal.NOT_AUTHORIZED
    assert refusal_of(server, "a.tx") is Refusal.NOT_AUTHORIZED  # it may send, but asks to receive
    assert (
        refusal_of(server, "r1", replace(NEWS, group_id=Identity.parse("keyid:no"))) is Refusal.UNKNOWN_GROUP
    )
    server.join("r1", T0)
    assert refusal_of(server, "a.tx", sends=True) is Refusal.FULL
    server.join("r1", T0 + 1)  # the same member again takes no room
    assert refusal_of(server, "r2") is Refusal.NOT_AUTHORIZED  # a stranger does not learn that it is full
    server.leave("r1", T0 + 2)
    server.join("a.tx", T0 + 3, sends=True)


def test_concealed_groups_look_like_groups_that_are_not_there() -> None:
    server = Server(conceal=True)
    stranger = ask_for("stranger.org", replace(NEWS, group_id=Identity.parse("keyid:no")))
    unknown = server.directory.decide(stranger, T0)
    assert unknown.refusal is Refusal.NOT_AUTHORIZED


def test_a_verdict_that_came_late_is_checked_again() -> None:
    server = Server([replace(NEWS, capacity=1, ends=T0 + 50)])
    admitted = Verdict(None, receives=True)
    server.join("r1", T0)
    with pytest.raises(Refused, match="full"):
        server.directory.join(ask_for("r2"), admitted, b"spi", T0)
    with pytest.raises(Refused, match="closed"):
        server.directory.join(ask_for("r1"), admitted, b"spi", T0 + 50)
    with pytest.raises(Refused, match="unknown-group"):
        server.directory.join(ask_for("r1", CHAT), admitted, b"spi", T0)


# Leaves


def test_receiver_leaves_without_a_rekey() -> None:
    server = Server()
    server.join("r1", T0)
    left = server.leave("r1", T0 + 1)
    assert left.changes == (DropMember("news", fqdn("r1")),)
    assert left.orders == ()
    assert server.leave("r1", T0 + 1).changes == ()
    assert server.directory.leave(Identity.parse("keyid:no"), fqdn("r1"), T0).changes == ()


def test_sender_takes_its_sa_along() -> None:
    server = Server()
    server.join("r1", T0)
    (sa,) = server.join("a.tx", T0, sends=True).data_sas
    left = server.leave("a.tx", T0 + 9)
    assert kinds(left.changes) == ["DropMember", "PutGroup"]
    (order,) = left.orders
    assert (order.data_sas, order.deleted_spis, order.new_rekey_sa) == ((), (sa.spi,), None)
    server.run(T0 + 9 + NEWS.deactivation_delay)
    assert server.directory.sas("news").data_sas == ()


def test_lost_ike_sa_drops_its_members_in_all_groups() -> None:
    server = Server([NEWS, CHAT])
    for policy in (NEWS, CHAT):
        server.join("a.tx", T0, policy, sends=True, spi=b"ike-sa-1")
        server.join("r1", T0, policy, spi=b"ike-sa-2")
    left = server.ike_sa_gone(b"ike-sa-1", T0 + 9)
    assert sorted(order.policy.name for order in left.orders) == ["chat", "news"]
    assert [member.identity for member in server.directory.members("chat")] == [fqdn("r1")]
    assert server.ike_sa_gone(b"ike-sa-1", T0 + 9) == server.ike_sa_gone(b"unknown.", T0 + 9)


# Orders and time


def test_rekey_by_hand_replaces_everything() -> None:
    server = Server([NEWS, CHAT])
    before = server.join("a.tx", T0, sends=True)
    server.run(T0 + 10)
    (order,) = server.rekey(T0 + 10)
    assert order.under.spi == before.rekey_sa.spi
    assert order.new_rekey_sa is not None
    assert order.deleted_spis == (before.data_sas[0].spi,)
    after = server.join("r1", T0 + 11)
    assert after.rekey_sa == order.new_rekey_sa
    assert after.rekey_sa.next_message_id == 0
    old = server.directory.sas("news").rekey_sas[0]
    assert (old.spi, old.removed_at) == (before.rekey_sa.spi, T0 + 16)
    server.run(T0 + 17)
    assert [sa.spi for sa in server.directory.sas("news").rekey_sas] == [after.rekey_sa.spi]
    assert server.directory.members("chat") == ()
    with pytest.raises(LocalError, match="no group 'nws'"):
        server.directory.rekey("nws", T0)


def test_no_order_is_handed_out_twice_while_it_is_not_sealed() -> None:
    server = Server()
    server.join("a.tx", T0, sends=True)
    server.run(T0 + 10)
    now = T0 + 46
    orders = [duty for duty in server.directory.tick(now) if isinstance(duty, RekeyOrder)]
    assert len(orders) == 1
    again = server.directory.tick(now)
    assert not [duty for duty in again if isinstance(duty, RekeyOrder)]
    assert kinds(server.directory.sealed(orders[0], b"datagram", now)) == ["PutGroup"]
    copies = server.directory.tick(now + 1)
    assert [duty.datagram for duty in copies if isinstance(duty, Repeat)] == [b"datagram"]


def test_copies_go_out_at_their_times_bit_for_bit() -> None:
    server = Server()
    server.join("a.tx", T0, sends=True)
    server.run(T0 + 30)
    assert [(sent.time - T0, sent.copy) for sent in server.sent] == [(0, 0), (1, 1), (2, 2)]
    assert len({sent.datagram for sent in server.sent}) == 1


def test_copies_are_journalled_with_the_state_that_they_rest_on() -> None:
    """A write that failed before is made good: the message id must not be free again after a crash."""
    server = Server()
    view = server.join("a.tx", T0, sends=True)
    (copy,) = server.directory.tick(T0 + 1)
    assert isinstance(copy, Repeat)
    (change,) = copy.changes
    assert isinstance(change, PutGroup)
    assert change.record.rekey_sas == (view.rekey_sa,)
    assert change.record.pending[0].repeats_left == 2  # this copy may still fail


def test_group_opens_at_its_start_and_closes_at_its_end() -> None:
    server = Server([replace(NEWS, starts=T0 + 100, ends=T0 + 150)])
    assert server.directory.sas("news").rekey_sas == ()
    assert refusal_of(server, "r1") is Refusal.NOT_YET_OPEN
    assert server.directory.rekey("news", T0) == ()
    assert server.directory.deadline() == T0 + 100
    server.run(T0 + 100)
    server.join("a.tx", T0 + 101, sends=True)
    server.join("r1", T0 + 101)
    duties = server.run(T0 + 160)
    orders = [duty for duty in duties if isinstance(duty, RekeyOrder) and duty.close]
    assert [(order.now, order.reason, order.exclude) for order in orders] == [(T0 + 150, "end", False)]
    server.clock = T0 + 160
    assert refusal_of(server, "r1") is Refusal.CLOSED
    assert server.directory.members("news") == ()
    held = server.journal.load()
    assert (held.members, held.groups[0].closed, held.groups[0].data_sas) == ((), True, ())
    server.run(T0 + 400)
    assert server.directory.deadline() is None
    assert server.directory.sas("news").rekey_sas == ()
    assert [status.closed for status in server.directory.groups()] == [True]


def test_member_may_come_before_the_tick_that_opens() -> None:
    server = Server([replace(NEWS, starts=T0 + 100)])
    assert server.join("r1", T0 + 100).rekey_sa.created == T0 + 100
    assert server.journal.load().groups[0].rekey_sas != ()


def test_stalled_server_begins_anew_when_the_rekey_sa_has_expired() -> None:
    server = Server()
    old = server.join("r1", T0)
    later = T0 + NEWS.kek_lifetime + 5
    server.tick(later)
    assert server.directory.members("news") == ()
    new = server.join("r1", later)
    assert new.rekey_sa.spi != old.rekey_sa.spi
    assert [member.identity for member in server.journal.load().members] == [fqdn("r1")]


# Reload


def test_reload_opens_closes_and_keeps() -> None:
    server = Server([NEWS, CHAT])
    server.join("r1", T0)
    server.join("r1", T0, CHAT)
    kept = server.directory.sas("news")
    third = replace(CHAT, name="third", group_id=Identity.parse("keyid:third"))
    left = server.reload([NEWS, third], T0 + 1)
    assert [(order.policy.name, order.close, order.reason) for order in left.orders] == [
        ("chat", True, "removed")
    ]
    assert server.directory.sas("news") == kept
    assert server.directory.decide(ask_for("r1", CHAT), T0 + 1).refusal is Refusal.UNKNOWN_GROUP
    server.join("r1", T0 + 2, third)
    server.run(T0 + 10)
    assert [sent.copy for sent in server.sent if sent.order.policy.name == "chat"] == [0, 1, 2]
    server.reload([NEWS, CHAT, third], T0 + 20)
    assert server.join("r1", T0 + 21, CHAT).rekey_sa.created == T0 + 20


def test_reload_with_a_mistake_changes_nothing() -> None:
    server = Server([NEWS])
    server.join("r1", T0)
    before = server.directory.sas("news"), server.directory.groups()
    for bad in (
        [NEWS, NEWS],
        [NEWS, replace(CHAT, group_id=NEWS.group_id)],
        [replace(NEWS, tek_lifetime=1.0)],
    ):
        with pytest.raises(ValueError, match="group "):
            server.reload(bad, T0 + 1)
    assert (server.directory.sas("news"), server.directory.groups()) == before


def test_reload_drops_members_that_are_no_longer_allowed() -> None:
    server = Server()
    server.join("r1", T0)
    server.join("r2", T0)
    (sa,) = server.join("a.tx", T0, sends=True).data_sas
    server.run(T0 + 5)
    left = server.reload([replace(NEWS, receivers=(IdentityPattern("fqdn:r1.example"),), senders=())], T0 + 6)
    assert [member.identity for member in server.directory.members("news")] == [fqdn("r1")]
    assert [order.deleted_spis for order in left.orders] == [(sa.spi,)]


def test_reload_with_other_durations_changes_all_keys() -> None:
    server = Server()
    view = server.join("a.tx", T0, sends=True)
    server.run(T0 + 5)
    (order,) = server.reload([replace(NEWS, deactivation_delay=8)], T0 + 6).orders
    assert order.new_rekey_sa is not None
    assert order.deleted_spis == (view.data_sas[0].spi,)
    assert order.policy.deactivation_delay == 8
    assert server.directory.sas("news").data_sas[0].removed_at == T0 + 14


def test_reload_with_other_terms_excludes_and_begins_anew() -> None:
    server = Server()
    old = server.join("a.tx", T0, sends=True)
    server.run(T0 + 5)
    other = replace(NEWS, rekey_address=ip_address("239.9.9.9"), cipher=AES_GCM_16_128)
    (order,) = server.reload([other], T0 + 6).orders
    assert (order.close, order.exclude, order.policy) == (True, True, NEWS)
    copies = [duty for duty in server.tick(T0 + 7) if isinstance(duty, Repeat)]
    assert [copy.policy.rekey_address for copy in copies] == [NEWS.rekey_address]  # where its members are
    assert server.directory.members("news") == ()
    new = server.join("a.tx", T0 + 8, other, sends=True)
    assert len(new.data_sas[0].key) == 20
    assert new.rekey_sa.spi != old.rekey_sa.spi
    assert server.directory.policy("news") == other
    assert server.directory.policy_of(NEWS.group_id) == other


def test_reload_that_moves_the_start_waits_for_it() -> None:
    server = Server()
    server.join("r1", T0)
    server.reload([replace(NEWS, port=5001, starts=T0 + 50)], T0 + 1)
    server.clock = T0 + 1
    assert refusal_of(server, "r1") is Refusal.NOT_YET_OPEN
    server.run(T0 + 50)
    assert server.join("r1", T0 + 51).rekey_sa.created == T0 + 50


# Views and cost


def test_status() -> None:
    server = Server()
    server.join("r1", T0)
    server.join("a.tx", T0, sends=True)
    (status,) = server.directory.groups()
    assert (status.members, status.senders, status.data_sas, status.opened) == (2, 1, 1, True)
    assert status.next_rekey == T0 + NEWS.tek_lifetime - 14  # repeats 2, deactivation delay 6, margin 6
    assert repr(server.directory.sas("news")).count("<secret: ") == 3
    with pytest.raises(LocalError):
        server.directory.members("nws")


def test_joins_and_leaves_do_not_depend_on_the_number_of_members() -> None:
    """Two thousand cost among twenty thousand what they cost alone; a scan would cost ten times as much."""
    directory = Directory([NEWS], SeededRng(1), T0)
    verdict = Verdict(None, receives=True)
    asks = [ask_for(f"r{number}") for number in range(20_000)]

    def join_and_leave() -> float:
        began = time.process_time()
        for number in range(2000):
            joined = directory.join(asks[number], verdict, number.to_bytes(8, "big"), T0)
            assert type(joined.changes[-1]) is PutMember
        for number in range(2000):
            directory.leave(NEWS.group_id, asks[number].identity, T0)
        return time.process_time() - began

    alone = min(join_and_leave() for _ in range(5))
    for number, ask in enumerate(asks[2000:]):
        directory.join(ask, verdict, number.to_bytes(9, "big"), T0)
    assert min(join_and_leave() for _ in range(5)) < 5 * alone
    assert len(directory.tick(T0 + 1000)) == 0
