"""Addresses: no two reservations have one at the same time, and only those that a transmission can have."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platform_rig import NOW, Rig
from reservation_requests import HOUR, request, reserve

from gkmd.api import requests as q
from gkmd.api.problem import Problem
from gkmd.core.address import IpAddress
from gkmd.core.rng import SeededRng
from gkmd.group.platform import schedule
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.group_terms import policy_of
from gkmd.group.platform.pool import GUARD, Pool, is_source_specific, wrong_with
from gkmd.group.platform.records import Reservation
from gkmd.group.platform.settings import PlatformSettings

TINY = (ipaddress.ip_network("239.192.0.0/30"), ipaddress.ip_network("232.192.0.0/31"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("239.1.2.3", ""),
        ("232.1.2.3", ""),
        ("ff15::1", ""),
        ("ff3e::8000:1", ""),
        ("192.0.2.1", "no multicast"),
        ("2001:db8::1", "no multicast"),
        ("224.0.0.251", "routers do not forward"),
        ("224.0.1.1", ""),
        ("ff01::1", "does not leave the link"),
        ("ff02::1", "does not leave the link"),
        ("ff12::1", "does not leave the link"),
        ("ff10::1", "does not leave the link"),
        ("ff1f::1", "reserved"),
    ],
)
def test_which_addresses_a_transmission_can_have(text: str, why: str) -> None:
    found = wrong_with(ipaddress.ip_address(text))
    assert bool(found) == bool(why)
    assert why in found


@pytest.mark.parametrize(
    ("text", "specific"),
    [("232.0.0.1", True), ("239.0.0.1", False), ("ff3e::1", True), ("ff35:1::1", False), ("ff15::1", False)],
)
def test_which_are_source_specific(text: str, specific: bool) -> None:
    assert is_source_specific(ipaddress.ip_address(text)) == specific


def taken_by(rig: Rig) -> list[Reservation]:
    return [one for one in rig.facts(Reservation) if schedule.ends(one) > schedule.opens(one)]


def overlapping(one: Reservation, other: Reservation) -> bool:
    return schedule.opens(one) < schedule.ends(other) and schedule.opens(other) < schedule.ends(one)


acts = st.lists(
    st.one_of(
        st.tuples(
            st.just("reserve"),
            st.integers(0, 12),  # tenths of an hour from now
            st.integers(1, 12),
            st.integers(0, 900),
            st.sampled_from(["", "", "239.192.0.1", "232.192.0.1"]),
            st.sampled_from([(), ("192.0.2.1",), ("192.0.2.2",), ("192.0.2.1", "192.0.2.2")]),
        ),
        st.tuples(st.just("change"), st.integers(0, 9), st.integers(1, 15), st.integers(0, 900)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.integers(1, 4)),
        st.tuples(st.just("restart")),
    ),
    min_size=2,
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(acts)
def test_no_two_share_an_address_at_the_same_time(script: list[tuple[object, ...]]) -> None:
    """Whatever is reserved, changed, cancelled and waited for."""
    rig = Rig(PlatformSettings(pools=TINY))
    anna = rig.caller("anna", "sender")
    ids: list[str] = []
    refusals: set[str] = set()
    for act in script:
        try:
            match act:
                case ("reserve", int(start), int(tenths), int(lead), str(address), tuple(sources)):
                    more = {"address": address, "lead": lead, "duration": tenths * 360, "sources": sources}
                    ids.append(reserve(rig, anna, rig.now + start * 360, **more).id)
                case ("change", int(which), int(tenths), int(lead)) if ids:
                    change = q.ChangeReservation(ids[which % len(ids)], duration=tenths * 360, lead=lead)
                    rig.do("reservation-change", change, anna)
                case ("cancel", int(which)) if ids:
                    rig.do("reservation-cancel", q.CancelReservation(ids[which % len(ids)]), anna)
                case ("wait", int(tenths)):
                    rig.pass_time(tenths * 360)
                case ("restart",):
                    rig.restart()
        except Problem as problem:
            refusals.add(problem.code)
    assert refusals <= {"invalid", "conflict"}
    found = taken_by(rig)
    for place, one in enumerate(found):
        for other in found[place + 1 :]:
            if one.address == other.address and overlapping(one, other):
                assert one.sources
                assert other.sources
                assert not set(one.sources) & set(other.sources)
                assert not one.from_pool
                assert not other.from_pool


def test_an_address_of_the_pool_is_shared_with_nobody_whatever_the_sources() -> None:
    rig = Rig(PlatformSettings(pools=TINY))
    anna = rig.caller("anna", "sender")
    one = reserve(rig, anna, sources=("192.0.2.1",), source_specific=True, duration=3600)
    other = {"address": one.address, "sources": ("192.0.2.2",), "duration": 3600}
    start = rig.now + 3600.0
    problem = rig.refused("reserve", request(start, **other), anna)
    assert [field.field for field in problem.fields] == ["address"]
    reserve(rig, anna, one.ends + 7200.0, **other)
    problem = rig.refused("reservation-change", q.ChangeReservation(one.id, duration=3 * 3600), anna)
    assert [field.field for field in problem.fields] == ["duration"]


def test_a_full_pool_says_so_and_a_later_time_is_free() -> None:
    rig = Rig(PlatformSettings(pools=TINY))
    anna = rig.caller("anna", "sender")
    found = {reserve(rig, anna).address for _ in range(4)}
    assert found == {"239.192.0.0", "239.192.0.1", "239.192.0.2", "239.192.0.3"}
    problem = rig.refused("reserve", request(), anna)
    assert [one.field for one in problem.fields] == ["address"]
    assert rig.refused("reserve", request(family=6), anna).fields[0].field == "address"
    # The guard time after an end, and the lead before a start, are not free either.
    assert rig.refused("reserve", request(NOW + 2 * HOUR + GUARD - 1, lead=0), anna).code == "invalid"
    assert rig.refused("reserve", request(NOW + 2 * HOUR + GUARD + 59, lead=60), anna).code == "invalid"
    reserve(rig, anna, NOW + 2 * HOUR + GUARD + 60, lead=60)
    # A cancelled one leaves its address.
    (first, *_) = rig.do("reservation-list", q.ListReservations(), anna).reservations
    rig.do("reservation-cancel", q.CancelReservation(first.id), anna)
    assert reserve(rig, anna).address == first.address


def test_addresses_are_taken_from_all_over_the_pool() -> None:
    rig = Rig()
    anna = rig.caller("anna", "sender")
    found = [ipaddress.ip_address(reserve(rig, anna).address) for _ in range(8)]
    assert len({int(address) >> 8 for address in found}) >= 7
    six = reserve(rig, anna, family=6, source_specific=True, sources=("2001:db8::1",))
    assert ipaddress.ip_address(six.address) in ipaddress.ip_network("ff35::8000:0/97")


def test_an_address_of_the_configuration_is_not_for_reservations() -> None:
    own: set[IpAddress] = {ipaddress.ip_address("239.192.0.0"), ipaddress.ip_address("239.192.0.1")}
    pool = Pool(Facts(), TINY, lambda: own, SeededRng(1))
    assert "operator" in pool.conflict(ipaddress.ip_address("239.192.0.1"), (), NOW, NOW + 1)
    found = {pool.take(4, False, NOW, NOW + 1) for _ in range(40)}
    assert found == {ipaddress.ip_address("239.192.0.2"), ipaddress.ip_address("239.192.0.3")}


def test_networks_that_begin_with_unusable_addresses_are_searched_through() -> None:
    odd = (ipaddress.ip_network("224.0.0.0/23"),)
    pool = Pool(Facts(), odd, frozenset, SeededRng(1))
    for _ in range(20):
        address = pool.take(4, False, NOW, NOW + 1)
        assert address is not None
        assert wrong_with(address) == ""
    assert Pool(Facts(), (), frozenset, SeededRng(1)).take(4, False, NOW, NOW + 1) is None


def test_finding_a_free_address_stays_quick_among_many() -> None:
    """Of 4096 addresses one is free."""
    rig = Rig(PlatformSettings(pools=(ipaddress.ip_network("239.192.0.0/20"),)))
    view = reserve(rig, rig.caller("anna", "sender"))
    made = rig.facts(Reservation)[0]
    network = ipaddress.ip_network("239.192.0.0/20")
    others = [
        replace(made, id=f"r-{number}", address=network[number])
        for number in range(4096)
        if str(network[number]) != view.address
    ]
    pool = Pool(Facts([made, *others]), (network,), frozenset, SeededRng(1))
    assert pool.take(4, False, made.starts, made.ends) is None
    assert pool.take(4, False, made.ends + 7200, made.ends + 7260) is not None
    pool = Pool(Facts([made, *others[:-1]]), (network,), frozenset, SeededRng(1))
    assert pool.take(4, False, made.starts, made.ends) == others[-1].address
    assert policy_of(made, PlatformSettings()).address == made.address
