"""The metrics are Prometheus' text, with bounded labels."""

from __future__ import annotations

import ipaddress

from prometheus_client.parser import text_string_to_metric_families

from gkmd.api.results import CurrencyTotal, Statistics
from gkmd.core.identity import Identity
from gkmd.daemon.events import Events
from gkmd.daemon.logs import Log
from gkmd.daemon.metrics import Measured, Takings, text_of
from gkmd.group.model import GroupPolicy, GroupStatus, Refusal

ADDRESS = ipaddress.ip_address("239.1.1.1")
TRANSMISSION = Statistics(
    reservation="opera-abcdef",
    state="on",
    now=3,
    peak=5,
    total=8,
    senders=1,
    refused={"wrong-password": 1, "full": 4},
    joins=((0, 8),),
    rekeys=2,
    next_rekey=None,
    money=(CurrencyTotal("EUR", 3, 0, 750, 30, 720),),
    at=60.0,
)


def group(name: str, members: int, closed: bool = False) -> GroupStatus:
    policy = GroupPolicy(name, Identity.parse(f"keyid:{name}"), ADDRESS, ADDRESS)
    return GroupStatus(policy, 1, True, closed, members, 1, 1, None)


def values(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_is_in_it() -> None:
    measured = Measured(
        version="1.2",
        uptime=2.5,
        groups=(group("news", 3), group("opera-abcdef", 5, closed=True)),
        ike_sas=4,
        half_open=2,
        commits=9,
        journal_failing=True,
        events={"member-joined": 6, "rekey-sent": 7, "journal-failed": 1},
        drops={"cookies": 3},
        refusals={"full": 1},
        passwords_waiting=8,
        reservations={"coming": 1, "on": 0},
        takings={"EUR": Takings(500, 20), "JPY": Takings(-3, 0)},
        ledger_balanced=False,
        audit_lines=11,
        transmissions=(TRANSMISSION,),
    )
    found = values(text_of(measured))
    expected = {
        "gkmd_info version=1.2": 1,
        "gkmd_groups": 2,
        "gkmd_members group=news": 3,
        "gkmd_members group=opera-abcdef": 5,
        "gkmd_group_open group=opera-abcdef": 0,
        "gkmd_ike_sas": 4,
        "gkmd_half_open": 2,
        "gkmd_admitted_total": 6,
        "gkmd_refused_total reason=full": 1,
        "gkmd_rekeys_total": 7,
        "gkmd_passwords_waiting": 8,
        "gkmd_journal_commits_total": 9,
        "gkmd_journal_failures_total": 1,
        "gkmd_journal_failing": 1,
        "gkmd_datagrams_dropped_total reason=cookies": 3,
        "gkmd_events_total event=rekey-sent": 7,
        "gkmd_reservations state=coming": 1,
        "gkmd_charged_minor_units currency=EUR": 500,
        "gkmd_charged_minor_units currency=JPY": -3,
        "gkmd_fees_minor_units currency=EUR": 20,
        "gkmd_ledger_balanced": 0,
        "gkmd_audit_lines_total": 11,
        "gkmd_transmission_receivers reservation=opera-abcdef": 3,
        "gkmd_transmission_receivers_peak reservation=opera-abcdef": 5,
        "gkmd_transmission_admitted_total reservation=opera-abcdef": 8,
        "gkmd_transmission_rekeys_total reservation=opera-abcdef": 2,
        "gkmd_transmission_refused_total reason=full reservation=opera-abcdef": 4,
        "gkmd_transmission_refused_total reason=wrong-password reservation=opera-abcdef": 1,
        "gkmd_transmission_charged_minor_units currency=EUR reservation=opera-abcdef": 750,
    }
    assert found | expected == found


def test_two_renderings_do_not_meet() -> None:
    """There is no registry that both are in."""
    one = Measured("1", 1.0, (group("a", 1),), 0, 0, 0, False, {}, {}, {})
    two = Measured("1", 1.0, (group("b", 1),), 0, 0, 0, False, {}, {}, {})
    assert "gkmd_members group=a" in values(text_of(one))
    assert "gkmd_members group=a" not in values(text_of(two))
    assert "python_info" not in text_of(two)


def test_peers_do_not_make_up_reasons() -> None:
    events = Events(Log(lambda: 1.0, "error"), lambda: 1.0)
    for number in range(50):
        events.tell("registration-refused", "warning", {"reason": f"made up {number}"})
    events.tell("registration-refused", "warning", {"reason": f"{Refusal.FULL.value}: 10 members"})
    assert dict(events.refusals) == {"protocol": 50, "full": 1}


def test_refused_logins_are_refused_registrations() -> None:
    """A wrong password ends the exchange before there is a registration to refuse."""
    events = Events(Log(lambda: 1.0, "error"), lambda: 1.0)
    events.tell("authentication-failed", "warning", {"reason": Refusal.WRONG_PASSWORD.value})
    events.tell("authentication-failed", "warning", {"reason": "the signature is not its own"})
    assert dict(events.refusals) == {"wrong-password": 1}
