"""How a member answers the requests of its key server: liveness, Delete, inband rekeys (RFC 9838 2.4.2,
2.4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gkmd.core.errors import PeerError
from gkmd.ike.group_member import GroupMember
from gkmd.ike.notices import error_notify, fatal_of
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.turn import Turn
from wire.message import Payload, each, first
from wire.registry import ExchangeType, NotifyType, PayloadType, ProtocolId


@dataclass(frozen=True, slots=True)
class Answer:
    """The payloads of a reply. ``ends`` is the reason when the IKE SA ends with it."""

    payloads: Sequence[Payload] = ()
    ends: str = ""


def on_informational(
    turn: Turn, sa: IkeSa, groups: Sequence[GroupMember], payloads: list[Payload], now: float
) -> Answer:
    """Always an empty reply (RFC 7296 1.4)."""
    if any(body.protocol == ProtocolId.IKE for body in each(payloads, PayloadType.DELETE)):
        return Answer(ends="deleted by the server")
    fatal = fatal_of(payloads)
    return Answer(ends=f"given up by the server: {fatal}" if fatal else "")


def on_create_child(
    turn: Turn, sa: IkeSa, groups: Sequence[GroupMember], payloads: list[Payload], now: float
) -> Answer:
    """RFC 9838 2.3: Child SAs on this IKE SA are not recommended."""
    return Answer([error_notify(NotifyType.NO_ADDITIONAL_SAS)])


def on_inband(
    turn: Turn, sa: IkeSa, groups: Sequence[GroupMember], payloads: list[Payload], now: float
) -> Answer:
    """The message does not name its group: it is the one whose addresses or SPIs it names, or the only one.

    ``groups`` are those that were registered over this IKE SA.
    """
    try:
        named = [group for group in groups if group.concerned(payloads)]
        if not named and len(groups) == 1:
            named = [groups[0]]
        if named:
            turn.extend(named[0].inband(payloads, sa.gsk_w, now))
            return Answer()
    except PeerError as error:
        # RFC 9838 does not say how a member declines an inband rekey.
        turn.tell("rekey-refused", "warning", server=sa.peer_text, reason=str(error))
        return Answer([error_notify(NotifyType.NO_PROPOSAL_CHOSEN)])
    # A Delete of what is gone already is no error; keys for nobody are.
    if first(payloads, PayloadType.GSA) is None:
        return Answer()
    return Answer([error_notify(NotifyType.NO_PROPOSAL_CHOSEN)])


Handler: TypeAlias = Callable[[Turn, IkeSa, Sequence[GroupMember], list[Payload], float], Answer]

ON_REQUEST: Final[dict[tuple[SaState, int], Handler]] = {
    (state, exchange): handler
    for state in (SaState.ESTABLISHED, SaState.CLOSING)
    for exchange, handler in (
        (ExchangeType.INFORMATIONAL, on_informational),
        (ExchangeType.GSA_INBAND_REKEY, on_inband),
        (ExchangeType.CREATE_CHILD_SA, on_create_child),
    )
}
