"""Requests of a sender, with times relative to the rig's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from platform_rig import NOW, OPERATOR, Rig

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Rule
from gkmd.core.address import IpAddress
from gkmd.core.effect import Ask, Proof
from gkmd.core.identity import Identity
from gkmd.group.model import GroupView
from gkmd.group.platform.outcome import Caller

HOUR = 3600


def at(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def request(begins: float = NOW + HOUR, **more: Any) -> q.Reserve:
    """Open to all, an hour long, in an hour; there may be one of this title already."""
    fields: dict[str, Any] = {"title": "Evening concert", "duration": HOUR, "start": at(begins)}
    return q.Reserve(**({"admission": Rule(open=True), "twice": True} | fields | more))


def reserve(rig: Rig, caller: Caller, begins: float = NOW + HOUR, **more: Any) -> r.ReservationView:
    view: r.ReservationView = rig.do("reserve", request(begins, **more), caller)
    return view


def ticket(rig: Rig, reservation: str, login: str) -> r.TicketView:
    """A receiver's ticket, given by the operator."""
    view: r.TicketView = rig.do("ticket-issue", q.IssueTicket(reservation, login=login), OPERATOR)
    return view


def ask_by(ticket_id: str, reservation: str, address: IpAddress, *, sends: bool = False) -> Ask:
    group = Identity.parse(f"keyid:{reservation}")
    return Ask(1, Identity.parse(f"keyid:{ticket_id}"), group, address, sends, 0, Proof.TICKET)


def join(rig: Rig, ask: Ask) -> GroupView:
    """As the registrar does it: decided, joined, journalled. Raises Refused."""
    verdict = rig.directory.decide(ask, rig.now)
    joined = rig.directory.join(ask, verdict, ask.identity.data[:8].ljust(8, b"\0"), rig.now)
    changes = joined.changes
    for order in joined.orders:
        changes += rig.directory.sealed(order, b"a rekey", rig.now)
    rig.write(changes)
    return joined.view
