"""What can be reserved, and everything that cannot, told at once and by its field."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from platform_rig import NOW, OPERATOR, STRANGER, Rig
from reservation_requests import HOUR, at, request, reserve

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount, Host, Rule, SecurityPolicy, SuppliedKeys
from gkmd.core.identity import Identity
from gkmd.group.platform.group_terms import policy_of
from gkmd.group.platform.outcome import Failed
from gkmd.group.platform.records import AuditLine, Reservation
from gkmd.group.platform.settings import PlatformSettings

DAY = 86_400
KEY_36 = "00" * 36
SERVER = ipaddress.ip_address("192.0.2.254")


@pytest.fixture(scope="module")
def shared() -> tuple[Rig, Any]:
    """For what is refused, and so changes nothing."""
    rig = Rig()
    return rig, rig.caller("anna", "sender")


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"start": at(NOW - 1)}, ["start"]),
        ({"start": at(NOW + 367 * DAY)}, ["start"]),
        ({"start": "2027-03-28T02:30", "time_zone": "Europe/Berlin"}, ["start"]),
        ({"time_zone": "Mars/Olympus"}, ["time_zone"]),
        ({"start": "tomorrow", "time_zone": "Mars"}, ["time_zone", "start"]),
        ({"title": "   "}, ["title"]),
        ({"title": "Rea\x1b[31mlly"}, ["title"]),
        ({"description": "a\x00b"}, ["description"]),
        ({"address": "239.1"}, ["address"]),
        ({"address": "192.0.2.1"}, ["address"]),
        ({"address": "224.0.0.251"}, ["address"]),
        ({"address": "ff02::1"}, ["address"]),
        ({"address": "ff15::1%eth0"}, ["address"]),
        ({"address": "239.1.1.1", "source_specific": True, "sources": ("192.0.2.1",)}, ["address"]),
        ({"address": "232.1.1.1"}, ["sources"]),
        ({"source_specific": True}, ["sources"]),
        ({"sources": ("192.0.2.1", "192.0.2.1")}, ["sources.1"]),
        ({"sources": ("239.1.1.1", "x", "0.0.0.0")}, ["sources.0", "sources.1", "sources.2"]),
        ({"sources": ("192.0.2.1",) * 101}, ["sources"]),
        ({"sources": ("2001:db8::1",)}, ["sources.0"]),
        ({"protocol": "any"}, ["port"]),
        ({"senders": (Host("a"), Host("a"))}, ["senders.1.label"]),
        ({"senders": (Host("a", "nonsense"),)}, ["senders.0.identity"]),
        ({"senders": (Host("a", "any"),)}, ["senders.0.identity"]),
        ({"senders": (Host("a", "", "2001:db8::1"),)}, ["senders.0.source"]),
        ({"senders": (Host("a", "", "239.1.1.1"),)}, ["senders.0.source"]),
        ({"senders": (Host("a", "", "192.0.2.2"),), "sources": ("192.0.2.1",)}, ["senders.0.source"]),
        ({"senders": tuple(Host(f"h{n}") for n in range(101))}, ["senders"]),
        (
            {"security": SecurityPolicy(cipher="rot13", rekey_cipher="x")},
            ["security.cipher", "security.rekey_cipher"],
        ),
        ({"security": SecurityPolicy(integrity="crc32")}, ["security.integrity"]),
        ({"security": SecurityPolicy(integrity="hmac-sha2-256-128")}, ["security"]),
        ({"security": SecurityPolicy(tek_lifetime=10)}, ["security"]),
        ({"security": SecurityPolicy(activation_delay=10)}, ["security"]),
        (
            {"security": SecurityPolicy(rekey_repeats=10, activation_delay=3, deactivation_delay=6)},
            ["security.activation_delay", "security.deactivation_delay"],
        ),
        ({"supplied": SuppliedKeys(300, "zz", 3660)}, ["supplied.key"]),
        ({"supplied": SuppliedKeys(300, "00" * 35, 3660), "senders": (Host("a"),)}, ["supplied"]),
        ({"supplied": SuppliedKeys(300, KEY_36, 3660)}, ["senders"]),
        ({"supplied": SuppliedKeys(300, KEY_36, 3660), "senders": (Host("a"), Host("b"))}, ["senders"]),
        ({"supplied": SuppliedKeys(300, KEY_36, 3659), "senders": (Host("a"),)}, ["supplied.lifetime"]),
        (
            {"supplied": SuppliedKeys(300, KEY_36, 3660), "senders": (Host("a"),), "lead": 61},
            ["supplied.lifetime"],
        ),
        ({"admission": Rule()}, ["admission"]),
        ({"admission": Rule(all=(Rule(price=Amount(0, "EUR")),))}, ["admission.all.0.price"]),
        (
            {
                "title": " ",
                "start": at(NOW - 5),
                "address": "10.0.0.1",
                "admission": Rule(),
                "protocol": "any",
            },
            ["start", "title", "admission", "port", "address"],
        ),
    ],
)
def test_what_cannot_be_reserved(shared: tuple[Rig, Any], more: dict[str, Any], fields: list[str]) -> None:
    rig, anna = shared
    problem = rig.refused("reserve", request(**more), anna)
    assert problem.code == "invalid"
    assert [one.field for one in problem.fields] == fields
    assert not rig.facts(Reservation)
    # The form that asks before it is sent is told the same.
    checked: r.Checked = rig.do("reservation-check", request(**more), anna)
    assert [(one.field, one.text) for one in checked.problems] == [
        (one.field, one.text) for one in problem.fields
    ]


def test_what_is_reserved_is_shown_as_it_was_meant() -> None:
    rig = Rig(PlatformSettings(fee_points=250, fee_fixed=5))
    anna = rig.caller("anna", "sender")
    asked = q.Reserve(
        title=" Konzert für alle ",
        description="Zwei\nZeilen",
        start="2026-12-24T18:00",
        duration=5400,
        time_zone="Europe/Berlin",
        lead=900,
        source_specific=True,
        port=6000,
        senders=(Host("studio", "", "192.0.2.1"), Host("spare", "fqdn:spare.example", "192.0.2.2")),
        security=SecurityPolicy(cipher="aes-cbc-256"),
        capacity=300,
        visibility="unlisted",
        admission=Rule(any=(Rule(names=True), Rule(price=Amount(250, "EUR")))),
    )
    view: r.ReservationView = rig.do("reserve", asked, anna)
    assert view.id.startswith("konzert-fur-alle-")
    assert (view.title, view.description, view.owner) == ("Konzert für alle", "Zwei\nZeilen", "anna")
    assert (view.start_local, view.starts) == ("2026-12-24T18:00+01:00", 1_798_131_600.0)
    assert (view.ends - view.starts, view.starts - view.opens) == (5400, 900)
    assert view.address.startswith("232.")
    assert view.sources == ("192.0.2.1", "192.0.2.2")  # those of its senders
    assert (view.senders, view.admission, view.security) == (asked.senders, asked.admission, asked.security)
    assert (view.fee_points, view.fee_fixed, view.capacity) == (250, 5, 300)
    assert (view.state, view.version, view.names, view.supplied) == ("coming", 1, 0, False)
    assert rig.do("reservation-show", q.ById(view.id), anna) == view
    rig.restart()
    assert rig.do("reservation-show", q.ById(view.id), anna) == view
    (line,) = rig.audit_lines("reserve")
    assert (line.subject, line.detail["address"]) == (view.id, view.address)


def test_its_group_runs_by_what_was_booked() -> None:
    settings = PlatformSettings(rekey_interface="eth1", rekey_ttl=7, server_addresses=(SERVER,))
    rig = Rig(settings)
    anna = rig.caller("anna", "sender")
    view = reserve(
        rig,
        anna,
        source_specific=True,
        protocol="any",
        port=0,
        senders=(Host("a", "fqdn:a.example", "192.0.2.1"), Host("b", "", "192.0.2.2")),
        security=SecurityPolicy(cipher="aes-cbc-128", mode="tunnel", tek_lifetime=100, kek_lifetime=200),
        capacity=9,
    )
    policy = rig.directory.policy(view.id)
    assert policy == policy_of(rig.facts(Reservation)[0], settings)
    assert policy.group_id == Identity.parse(view.group_id)
    assert str(policy.address) == str(policy.rekey_address) == view.address
    assert (policy.protocol, policy.port, policy.mode.value) == (0, 0, "tunnel")
    assert policy.integrity is not None
    assert (policy.cipher.name, policy.integrity.name) == ("aes-cbc-128", "hmac-sha2-256-128")
    assert (policy.rekey_interface, policy.rekey_ttl, policy.capacity) == ("eth1", 7, 9)
    assert (policy.starts, policy.ends) == (view.opens, view.ends)
    # Members of a source-specific group join the rekeys by the server's address.
    assert policy.rekey_source == SERVER
    assert [str(rule.who.text) for rule in policy.senders] == ["fqdn:a.example"]
    assert rig.directory.policy(reserve(rig, anna).id).rekey_source is None


def test_the_same_word_is_the_same_reservation() -> None:
    rig = Rig()
    anna = rig.caller("anna", "sender")
    first = rig.do("reserve", request(once="form-1"), anna)
    assert rig.do("reserve", request(once="form-1"), anna) == first
    rig.restart()
    assert rig.do("reserve", request(once="form-1"), anna) == first
    assert len(rig.facts(Reservation)) == 1
    assert rig.refused("reserve", request(once="form-1", title="Another"), anna).code == "conflict"
    other = rig.caller("otto", "sender")
    assert rig.do("reserve", request(once="form-1"), other).id != first.id


def test_who_reserves_and_for_whom() -> None:
    rig = Rig()
    anna = rig.caller("anna", "sender")
    rig.user("bert")
    assert reserve(rig, OPERATOR, owner="anna").owner == "anna"
    assert reserve(rig, anna, owner="anna").owner == "anna"
    assert rig.refused("reserve", request(), OPERATOR).fields[0].field == "owner"
    assert rig.refused("reserve", request(owner="bert"), OPERATOR).code == "invalid"
    assert rig.refused("reserve", request(owner="nobody"), OPERATOR).code == "invalid"
    assert rig.refused("reserve", request(owner="bert"), anna).code == "forbidden"
    assert rig.refused("reserve", request(), STRANGER).code == "sign-in-required"
    assert rig.refused("reserve", request(), rig.sign_in("bert")).code == "forbidden"


def test_a_sender_has_a_bounded_number_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gkmd.group.platform.reservations.MOST_LIVE", 3)
    rig = Rig()
    anna = rig.caller("anna", "sender")
    views = [reserve(rig, anna) for _ in range(3)]
    assert rig.refused("reserve", request(), anna).code == "conflict"
    rig.do("reservation-cancel", q.CancelReservation(views[0].id), anna)
    reserve(rig, anna)


def test_a_supplied_key_is_in_no_answer_and_no_log() -> None:
    rig = Rig()
    anna = rig.caller("anna", "sender")
    key = "c0ffee" * 12
    view = reserve(rig, anna, supplied=SuppliedKeys(4711, key, 3660), senders=(Host("a"),))
    assert view.supplied
    told = repr((view, rig.outcome, list(rig.facts(AuditLine)), rig.facts(Reservation)))
    assert "c0ffee" not in told
    assert str(bytes.fromhex(key)) not in told
    (made,) = rig.facts(Reservation)
    assert made.supplied_key.reveal() == bytes.fromhex(key)
    again = request(supplied=SuppliedKeys(4711, "c0ffee", 3660), senders=(Host("a"),))
    assert "c0ffee" not in repr(rig.refused("reserve", again, anna).as_json())


def test_a_supplied_key_lasts_to_the_end_after_a_change_too() -> None:
    rig = Rig()
    anna = rig.caller("anna", "sender")
    id = reserve(rig, anna, supplied=SuppliedKeys(300, KEY_36, 7200), senders=(Host("a"),)).id

    def wrong(**more: Any) -> list[str]:
        outcome = rig.outcome_of("reservation-change", q.ChangeReservation(id, **more), anna)
        return [one.field for one in outcome.problem.fields] if isinstance(outcome, Failed) else []

    assert wrong(duration=7141) == ["duration"]
    assert wrong(lead=3601) == ["lead"]
    assert wrong(duration=7140, start=at(NOW + 2 * HOUR)) == []
    assert wrong(lead=61) == ["lead"]
    assert wrong(title="Another") == []
    rig.pass_time(2 * HOUR - 5)  # it has opened: the SA's time has begun
    assert wrong(lead=10) == ["lead"]
    assert wrong(lead=10, duration=7180) == ["lead", "duration"]
    assert wrong(duration=7000) == []


def test_what_began_a_moment_ago_is_told_to_the_second() -> None:
    minute = NOW // 60 * 60
    rig = Rig(now=minute + 0.5)
    anna = rig.caller("anna", "sender")
    (field,) = rig.refused("reserve", request(minute), anna).fields
    assert field.text.endswith(f"it is {at(minute).removesuffix('Z')}+00:00")
    assert field.text.endswith(":00+00:00")


def test_a_check_reserves_nothing() -> None:
    rig = Rig()
    anna = rig.caller("anna", "sender")
    checked: r.Checked = rig.do("reservation-check", request(), anna)
    assert not checked.problems
    assert checked.address.startswith("239.")
    assert (checked.starts, checked.ends) == (NOW + HOUR, NOW + 2 * HOUR)
    assert not rig.facts(Reservation)
    reserve(rig, anna, address="239.7.7.7")
    taken: r.Checked = rig.do("reservation-check", request(NOW + 2 * HOUR, address="239.7.7.7"), anna)
    assert [one.field for one in taken.problems] == ["address"]
    assert "anna" not in taken.problems[0].text
    free: r.Checked = rig.do("reservation-check", request(NOW + 4 * HOUR, address="239.7.7.7"), anna)
    assert free.problems == ()
