"""A sender who brings an SPI along cannot take that of another transmission at the same address."""

from __future__ import annotations

from platform_rig import Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Host, Rule, SuppliedKeys
from gkmd.group.platform.outcome import Caller, Done

ADDRESS, SPI = "232.1.1.1", 0x1234


def booked(rig: Rig, sender: Caller, source: str, *, supplied: bool, start: str = "2026-12-24T18:00") -> str:
    keys = SuppliedKeys(SPI, "aa" * 36, 86_400) if supplied else None
    hosts = (Host("cam", source=source),)
    request = q.Reserve(
        "A talk",
        start,
        3600,
        address=ADDRESS,
        sources=(source,),
        senders=hosts,
        supplied=keys,
        admission=Rule(open=True),
    )
    outcome = rig.outcome_of("reserve", request, sender)
    return str(outcome.result.id) if hasattr(outcome, "result") else outcome.problem.fields[0].field


def test_an_address_is_not_shared_by_who_brings_an_spi() -> None:
    rig = Rig()
    sender, eve = rig.caller("tx", "sender"), rig.caller("eve", "sender")
    booked(rig, sender, "192.0.2.10", supplied=False)
    assert booked(rig, eve, "192.0.2.66", supplied=True) == "address"
    assert booked(rig, eve, "192.0.2.66", supplied=False) != "address"


def test_a_key_is_for_one_transmission() -> None:
    """With the key its nonces would come again, and who was admitted to the first could read the second."""
    rig = Rig()
    sender, eve = rig.caller("tx", "sender"), rig.caller("eve", "sender")
    key = SuppliedKeys(SPI, "ab" * 36, 86_400)

    def book(by: Caller, start: str, supplied: SuppliedKeys = key, operation: str = "reserve") -> object:
        hosts, rule = (Host("cam"),), Rule(open=True)
        request = q.Reserve("A talk", start, 3600, senders=hosts, supplied=supplied, admission=rule)
        outcome = rig.outcome_of(operation, request, by)
        if isinstance(outcome, Done):
            checked = operation == "reservation-check"
            return outcome.result.problems if checked else outcome.result.id
        return [one.field for one in outcome.problem.fields]

    first = book(sender, "2026-12-24T18:00")
    for by in (sender, eve):
        assert book(by, "2026-12-26T18:00") == ["supplied.key"]
        assert book(by, "2026-12-26T18:00", SuppliedKeys(SPI + 1, "AB" * 36, 86_400)) == ["supplied.key"]
    (problem,) = book(sender, "2026-12-26T18:00", operation="reservation-check")  # type: ignore[misc]
    assert problem.field == "supplied.key"
    rig.do("reservation-cancel", q.CancelReservation(str(first)), sender)
    again = book(sender, "2026-12-26T18:00")
    assert isinstance(again, str)
    rig.now = rig.do("reservation-show", q.ById(again), sender).ends + 3600
    rig.restart()
    sender = rig.sign_in("tx")
    assert rig.do("reservation-show", q.ById(again), sender).state == "over"
    assert book(sender, "2027-02-26T18:00") == ["supplied.key"]


def test_nor_later() -> None:
    rig = Rig()
    sender, eve = rig.caller("tx", "sender"), rig.caller("eve", "sender")
    booked(rig, sender, "192.0.2.10", supplied=False)
    id = booked(rig, eve, "192.0.2.66", supplied=True, start="2026-12-24T16:00")
    problem = rig.refused("reservation-change", q.ChangeReservation(id, duration=7200), eve)
    assert [field.field for field in problem.fields] == ["duration"]
    problem = rig.refused("reservation-change", q.ChangeReservation(id, start="2026-12-24T18:00"), eve)
    assert "start" in [field.field for field in problem.fields]
