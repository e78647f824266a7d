"""Lifetimes that work are taken, others refused with the number that would work; keys change in time."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_server import NEWS, SHARED, T0, Server
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.identity import IdentityPattern
from gkmd.core.rng import SeededRng
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, RekeyOrder, SenderRule
from gkmd.group.terms import check
from gkmd.group.timeline import Timeline, advice, smallest_lifetime


@st.composite
def durations(draw: st.DrawFn, base: GroupPolicy = NEWS) -> GroupPolicy:
    """A policy whose lifetimes are at least the smallest possible."""
    activation = draw(st.integers(0, 10))
    policy = replace(
        base,
        rekey_repeats=draw(st.integers(0, 4)),
        rekey_interval=draw(st.sampled_from([0.25, 0.5, 1.0, 3.0])),
        activation_delay=activation,
        deactivation_delay=activation + draw(st.integers(0, 10)),
    )
    smallest = smallest_lifetime(policy)
    lifetime = st.integers(0, 400).map(lambda more: float(smallest + more))
    return replace(policy, tek_lifetime=draw(lifetime), kek_lifetime=draw(lifetime))


@given(durations())
def test_smallest_lifetime_is_the_smallest(policy: GroupPolicy) -> None:
    smallest = smallest_lifetime(policy)
    check(replace(policy, tek_lifetime=smallest, kek_lifetime=smallest))
    with pytest.raises(ValueError, match=re.escape(f"the smallest possible is {smallest} s")):
        check(replace(policy, tek_lifetime=smallest - 1))
    with pytest.raises(ValueError, match="KEK lifetime"):
        check(replace(policy, kek_lifetime=smallest - 1))


@given(durations())
def test_periods_leave_room_for_two_sas_only(policy: GroupPolicy) -> None:
    times = Timeline.of(policy)
    shortest = policy.tek_lifetime - times.data_lead - times.data_early
    assert shortest >= max(policy.deactivation_delay, times.span, 1.0) - 1e-6
    assert times.data_lead >= times.span + policy.deactivation_delay + 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rekey_repeats": -1}, "must not be negative"),
        ({"rekey_interval": 0.0}, "must be positive"),
        ({"activation_delay": -1}, "activation delay -1 s"),
        ({"deactivation_delay": 70000}, "outside 0 to 65535"),
        ({"activation_delay": 7}, "must be at least as long"),
        ({"tek_lifetime": 5e9}, "4294967295"),
        ({"starts": 5.0, "ends": 5.0}, "ends before it starts"),
        ({"integrity": SHARED.integrity}, "takes no integrity"),
        ({"rekey_cipher": SHARED.cipher}, "needs an integrity"),
        ({"sender_id_bits": 0}, "Sender-ID bits"),
        ({"capacity": -1}, "capacity -1"),
        ({"most_sender_ids": 0}, "at least 1"),
        ({"rekey_address": ip_address("ff15::1")}, "rekey address ff15::1 does not go with"),
        ({"rekey_source": ip_address("fd00::1")}, "rekey source fd00::1 does not go with"),
        (
            {"senders": (SenderRule(IdentityPattern("any"), ip_address("fd00::1")),)},
            "source fd00::1 does not go with",
        ),
    ],
)
def test_impossible_policies_are_refused(changes: dict[str, object], words: str) -> None:
    bad = replace(NEWS, **changes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        check(bad)
    with pytest.raises(ValueError, match="group 'news'"):
        Directory([bad], SeededRng(1), T0)


def test_no_repeats_need_no_interval() -> None:
    check(replace(NEWS, rekey_repeats=0, rekey_interval=0.0))


def test_advice_is_given_when_the_last_copy_may_come_too_late() -> None:
    assert advice(NEWS) == ()
    assert "activation delay 1 s" in advice(replace(NEWS, activation_delay=1))[0]
    assert "deactivation delay 4 s" in advice(replace(NEWS, deactivation_delay=4))[0]


@settings(max_examples=60, deadline=None)
@given(durations(), st.booleans(), st.floats(0, 0.9))
def test_every_key_is_replaced_before_it_expires(policy: GroupPolicy, shared: bool, late: float) -> None:
    """Over five lifetimes, with ticks that come late: times, message ids, SPIs, ends of the old SAs."""
    if shared:
        policy = replace(policy, cipher=SHARED.cipher, integrity=SHARED.integrity)
    server = Server([policy])
    if not shared:
        server.join("a.tx", T0 + 1, sends=True)
        server.join("b.tx", T0 + 2.5, sends=True)
    times, dtd = Timeline.of(policy), policy.deactivation_delay
    seen: set[object] = {sa.spi for sa in server.directory.sas("news").data_sas}
    next_id: dict[bytes, int] = {}
    end = T0 + 5 * max(policy.tek_lifetime, policy.kek_lifetime)
    while (deadline := server.directory.deadline()) is not None and deadline < end:
        now = deadline + late
        before = server.directory.sas("news")
        for duty in server.tick(now):
            if not isinstance(duty, RekeyOrder):
                continue
            first = 0 if shared or duty.under.created != T0 else 2
            assert duty.message_id == next_id.get(duty.under.spi, first)
            next_id[duty.under.spi] = duty.message_id + 1
            old = {sa.spi: sa for sa in before.data_sas}
            # What an earlier rekey brought that is still being repeated comes again.
            added = [sa for sa in duty.data_sas if sa.spi not in old]
            gone = [old[spi] for spi in duty.deleted_spis if spi in old and old[spi].removed_at is None]
            again = {sa.spi for sa in duty.data_sas} - {sa.spi for sa in added}
            said_for = times.span + (policy.rekey_repeats + 1) * late + 1e-6
            assert all(now - old[spi].created < said_for for spi in again)
            for sa in added:
                assert sa.spi not in seen
                seen.add(sa.spi)
                assert sa.expires == now + policy.tek_lifetime
            for sa in gone:
                assert sa.expires - now >= times.data_lead - late - 1e-6
                assert sa.expires - now <= times.data_lead + times.data_early + 1e-6
            assert [sa.sender for sa in added] == [sa.sender for sa in gone]
            if duty.new_rekey_sa is not None:
                assert duty.new_rekey_sa.spi not in seen
                seen.add(duty.new_rekey_sa.spi)
                assert duty.under.expires - now >= times.rekey_lead - late - 1e-6
                assert duty.new_rekey_sa.next_message_id == 0
                assert duty.new_rekey_sa.signing_key == duty.under.signing_key
        live = server.directory.sas("news")
        for sender in {sa.sender for sa in before.data_sas}:
            own = [sa for sa in live.data_sas if sa.sender == sender]
            assert 1 <= len(own) <= 2
            assert own[-1].removed_at is None
            assert own[-1].expires > now
            assert all(sa.removed_at is not None and now < sa.removed_at <= now + dtd for sa in own[:-1])
            assert all(sa.removed_at < sa.expires for sa in own[:-1] if sa.removed_at is not None)
        assert live.rekey_sas[-1].expires > now
        for sa in before.data_sas:
            # Gone at the end of the deactivation delay, neither before nor after this tick.
            if sa.removed_at is not None:
                assert (sa.removed_at > now) == (sa in live.data_sas)
    assert len(server.sent) >= 5


def test_a_rekey_takes_along_what_is_due_soon() -> None:
    server = Server([replace(NEWS, tek_lifetime=100.0)])
    server.join("a.tx", T0, sends=True)
    server.join("b.tx", T0 + 5, sends=True)
    orders = [duty for duty in server.run(T0 + 200) if isinstance(duty, RekeyOrder)]
    assert [len(order.data_sas) for order in orders] == [2, 2]


def test_old_sa_is_gone_exactly_at_the_deactivation_delay() -> None:
    server = Server()
    server.join("a.tx", T0, sends=True)
    (order,) = (duty for duty in server.run(T0 + 50) if isinstance(duty, RekeyOrder))
    (old,) = order.deleted_spis
    for now, there in ((order.now + 5.999, True), (order.now + 6, False)):
        server = Server([NEWS], journal=server.journal, now=order.now)
        server.join("rx", now)
        assert (old in {sa.spi for sa in server.directory.sas("news").data_sas}) == there


def test_many_senders_are_split_into_messages_of_bounded_size() -> None:
    server = Server()
    for number in range(70):
        server.join(f"s{number}.tx", T0, sends=True)
    server.run(T0 + 5)
    orders = server.rekey(T0 + 10)
    assert [len(order.data_sas) for order in orders] == [32, 32, 6]
    assert [order.new_rekey_sa is not None for order in orders] == [False, False, True]
    assert [order.message_id for order in orders] == [70, 71, 72]
    assert len({order.under.spi for order in orders}) == 1
