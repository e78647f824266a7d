"""A reservation as its owner and operators see it."""

from __future__ import annotations

from typing import Final

from gkmd.api import results as r
from gkmd.api.nouns import Host
from gkmd.group.platform import group_terms, rules, schedule, wall_clock
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.booking import security_of
from gkmd.group.platform.names import Names
from gkmd.group.platform.records import Reservation

_PROTOCOL_NAMES: Final = {number: name for name, number in group_terms.PROTOCOLS.items()}


def reservation_view(
    reservation: Reservation, accounts: Accounts, names: Names, now: float
) -> r.ReservationView:
    return r.ReservationView(
        id=reservation.id,
        group_id=str(group_terms.group_id(reservation.id)),
        owner=accounts.name_of(reservation.owner),
        title=reservation.title,
        description=reservation.description,
        starts=reservation.starts,
        ends=reservation.ends,
        opens=schedule.opens(reservation),
        time_zone=reservation.time_zone,
        start_local=wall_clock.show(reservation.starts, reservation.time_zone),
        duration=round(reservation.ends - reservation.starts),
        lead=int(reservation.lead),
        address=str(reservation.address),
        port=reservation.port,
        protocol=_PROTOCOL_NAMES[reservation.protocol],
        sources=tuple(map(str, reservation.sources)),
        senders=tuple(
            Host(host.label, host.identity, str(host.source) if host.source is not None else "")
            for host in reservation.senders
        ),
        security=security_of(reservation),
        supplied=reservation.supplied_key is not None,
        capacity=reservation.capacity,
        visibility=reservation.visibility,
        admission=rules.parse(reservation.admission),
        names=names.count(reservation.id),
        fee_points=reservation.fee_points,
        fee_fixed=reservation.fee_fixed,
        created=reservation.created,
        cancelled=reservation.cancelled,
        state=schedule.state(reservation, now),
        version=reservation.version,
    )
