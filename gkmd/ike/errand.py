"""What a member asks its key server, one thing at a time: registering, leaving, whether it lives, the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gkmd.ike.enrolment import Enrolment
from gkmd.ike.evidence import build_evidence, build_follows
from gkmd.ike.notices import error_notify
from gkmd.ike.registration_request import build_registration_request, id_g
from gkmd.ike.render_gikev2 import offer
from wire.message import Payload
from wire.registry import ExchangeType, NotifyType


@dataclass(frozen=True, slots=True)
class Errand:
    """A request of ours: what it says, and for which group. ``registers``: GSA and KD are expected."""

    exchange: ExchangeType
    payloads: Sequence[Payload]
    enrolment: Enrolment | None = None
    registers: bool = False


def registration(enrolment: Enrolment, *, proved: bool = True) -> list[Payload]:
    """IDg, SAg, and N(GROUP_SENDER) when the member sends (RFC 9838 2.3.3); and what it has to show.

    ``proved``: the key server has proved itself. In GSA_AUTH it has not, and anybody could be reading: then
    it learns only that there is something.
    """
    join = enrolment.member.join
    request = build_registration_request(
        join.group_id, offer(join.offer), join.sender_ids if join.sends else None
    )
    shown = evidence(enrolment)
    return request + (shown if proved or not shown else build_follows())


def evidence(enrolment: Enrolment) -> list[Payload]:
    """The notification with what the member has to show for this group, if there is anything."""
    shown = enrolment.member.join.evidence
    return [] if shown is None else build_evidence(shown)


def farewell(enrolment: Enrolment, kind: NotifyType) -> Errand:
    """RFC 9838 2.3.2: IDg and a notification take the member out of the group."""
    payloads = [id_g(enrolment.member.join.group_id), error_notify(kind)]
    return Errand(ExchangeType.GSA_REGISTRATION, payloads, enrolment)
