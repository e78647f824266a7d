"""A sender who brings an SPI along cannot take that of another transmission at the same address."""

from __future__ import annotations

from platform_rig import Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Host, Rule, SuppliedKeys
from gkmd.group.platform.outcome import Caller

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


def test_nor_later() -> None:
    rig = Rig()
    sender, eve = rig.caller("tx", "sender"), rig.caller("eve", "sender")
    booked(rig, sender, "192.0.2.10", supplied=False)
    id = booked(rig, eve, "192.0.2.66", supplied=True, start="2026-12-24T16:00")
    problem = rig.refused("reservation-change", q.ChangeReservation(id, duration=7200), eve)
    assert [field.field for field in problem.fields] == ["duration"]
    problem = rig.refused("reservation-change", q.ChangeReservation(id, start="2026-12-24T18:00"), eve)
    assert "start" in [field.field for field in problem.fields]
