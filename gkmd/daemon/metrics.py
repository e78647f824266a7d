"""Metrics of the key server in Prometheus' text format, made when they are asked for.

Labels are bounded: groups of the configuration and of live reservations by name, and names that are ours. No
names of people, no addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gkmd.api.results import Statistics
from gkmd.group.model import GroupStatus


@dataclass(frozen=True, slots=True)
class Takings:
    """What was charged in a currency less refunds, and the platform's part of it; minor units."""

    gross: int
    fees: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The key server at one instant. Counts are since its start."""

    version: str
    uptime: float
    groups: tuple[GroupStatus, ...]
    ike_sas: int
    half_open: int
    commits: int
    journal_failing: bool
    events: Mapping[str, int]
    drops: Mapping[str, int]
    refusals: Mapping[str, int]
    received: int = 0
    sent: int = 0
    passwords_waiting: int = 0
    reservations: Mapping[str, int] = field(default_factory=dict)  # by state
    takings: Mapping[str, Takings] = field(default_factory=dict)  # by currency
    ledger_balanced: bool = True
    audit_lines: int = 0
    requests_refused: Mapping[str, int] = field(default_factory=dict)  # by code
    transmissions: tuple[Statistics, ...] = ()  # that have opened, until a while after their end


def text_of(measured: Measured) -> str:
    """The text that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(measured))
    return generate_latest(registry).decode("utf-8")


_JOINED: Final = "member-joined"
_REKEYED: Final = "rekey-sent"
_JOURNAL_FAILED: Final = "journal-failed"


class _Collector(Collector):
    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        m = self._measured
        yield _gauge("gkmd_info", "The version that runs.", "version", {m.version: 1})
        yield _gauge("gkmd_uptime_seconds", "Seconds since the start.", value=m.uptime)
        yield from self._groups()
        yield _gauge("gkmd_ike_sas", "Established IKE SAs.", value=m.ike_sas)
        yield _gauge("gkmd_half_open", "Registrations under way.", value=m.half_open)
        yield _counter("gkmd_admitted", "Registrations that were admitted.", value=m.events.get(_JOINED, 0))
        yield _counter("gkmd_refused", "Registrations that were refused.", "reason", m.refusals)
        yield _counter(
            "gkmd_rekeys", "Rekeys that were sent, without copies.", value=m.events.get(_REKEYED, 0)
        )
        yield _gauge("gkmd_passwords_waiting", "Passwords to be compared.", value=m.passwords_waiting)
        yield _counter("gkmd_journal_commits", "Transactions on the disk.", value=m.commits)
        failures = m.events.get(_JOURNAL_FAILED, 0)
        yield _counter("gkmd_journal_failures", "Times that the journal began to fail.", value=failures)
        yield _gauge("gkmd_journal_failing", "1 while nothing can be written.", value=m.journal_failing)
        yield _counter("gkmd_datagrams_received", "Datagrams heard.", value=m.received)
        yield _counter("gkmd_datagrams_sent", "Datagrams sent.", value=m.sent)
        yield _counter("gkmd_datagrams_dropped", "Datagrams dropped.", "reason", m.drops)
        yield _counter("gkmd_events", "Events of the log.", "event", m.events)
        yield from self._platform()
        yield from self._transmissions()

    def _groups(self) -> Iterator[Metric]:
        groups = self._measured.groups
        yield _gauge("gkmd_groups", "Groups that are run.", value=len(groups))
        rows = {one.policy.name: one for one in groups}
        members = {name: one.members for name, one in rows.items()}
        senders = {name: one.senders for name, one in rows.items()}
        opened = {name: one.opened and not one.closed for name, one in rows.items()}
        yield _gauge("gkmd_members", "Members of a group.", "group", members)
        yield _gauge("gkmd_senders", "Of them those that send.", "group", senders)
        yield _gauge("gkmd_group_open", "1 when members are taken.", "group", opened)

    def _platform(self) -> Iterator[Metric]:
        m = self._measured
        yield _gauge("gkmd_reservations", "Reservations.", "state", m.reservations)
        gross = {currency: one.gross for currency, one in m.takings.items()}
        fees = {currency: one.fees for currency, one in m.takings.items()}
        text = "Charged less refunds, in minor units."
        yield _gauge("gkmd_charged_minor_units", text, "currency", gross)
        yield _gauge("gkmd_fees_minor_units", "The platform's part, in minor units.", "currency", fees)
        yield _gauge("gkmd_ledger_balanced", "0 is a fault: report it.", value=m.ledger_balanced)
        yield _counter("gkmd_audit_lines", "Lines of the audit log.", value=m.audit_lines)
        text = "Requests to the platform that were refused, by strangers, too."
        yield _counter("gkmd_requests_refused", text, "code", m.requests_refused)

    def _transmissions(self) -> Iterator[Metric]:
        """The numbers of the sender's page; the rate of the admitted are its joins over time."""
        them = self._measured.transmissions
        label = ("reservation",)
        receivers = GaugeMetricFamily("gkmd_transmission_receivers", "Receivers now.", labels=label)
        peak = GaugeMetricFamily("gkmd_transmission_receivers_peak", "Most at once.", labels=label)
        total = CounterMetricFamily("gkmd_transmission_admitted", "Receivers, each once.", labels=label)
        rekeys = CounterMetricFamily("gkmd_transmission_rekeys", "Rekeys, without copies.", labels=label)
        refused = CounterMetricFamily(
            "gkmd_transmission_refused", "Registrations refused.", labels=(*label, "reason")
        )
        labels = (*label, "currency")
        text = "Charged less refunds, in minor units."
        gross = GaugeMetricFamily("gkmd_transmission_charged_minor_units", text, labels=labels)
        for one in them:
            key = [one.reservation]
            receivers.add_metric(key, one.now)
            peak.add_metric(key, one.peak)
            total.add_metric(key, one.total)
            rekeys.add_metric(key, one.rekeys)
            for reason, number in sorted(one.refused.items()):
                refused.add_metric([*key, reason], number)
            for money in one.money:
                gross.add_metric([*key, money.currency], money.gross)
        yield from (receivers, peak, total, rekeys, refused, gross)


def _gauge(
    name: str, text: str, label: str = "", rows: Mapping[str, float] | None = None, value: float = 0
) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=[label] if label else None), label, rows, value)


def _counter(
    name: str, text: str, label: str = "", rows: Mapping[str, float] | None = None, value: float = 0
) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=[label] if label else None), label, rows, value)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily,
    label: str,
    rows: Mapping[str, float] | None,
    value: float,
) -> Metric:
    pairs: Iterable[tuple[list[str], float]] = [([], value)]
    if label:
        pairs = [([name], number) for name, number in sorted((rows or {}).items())]
    for labels, number in pairs:
        family.add_metric(labels, float(number))
    return family
