"""What a member asks for in GSA_AUTH and GSA_REGISTRATION, and how a refusal is said (RFC 9838 2.3, 4.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gkmd.core.identity import Identity
from gkmd.group.model import Refusal
from gkmd.ike.evidence import NOTHING, Shown, read_evidence
from wire.errors import WireError
from wire.ikev2 import Id, Notify, Sa
from wire.message import Payload, first, notify
from wire.registry import NotifyType, PayloadType

# RFC 9838 4.7.1-4.7.3: AUTHORIZATION_FAILED is about this member, REGISTRATION_FAILED is not related to it
# and passes, INVALID_GROUP_ID is about the group. So what a member lacks (a name on the list, money, a good
# voucher, a right that was not taken back) is the first, and what nobody can have just now is the second.
_NOTIFY: Final = {
    Refusal.UNKNOWN_GROUP: NotifyType.INVALID_GROUP_ID,
    Refusal.NOT_AUTHORIZED: NotifyType.AUTHORIZATION_FAILED,
    Refusal.NOT_YET_OPEN: NotifyType.REGISTRATION_FAILED,
    Refusal.CLOSED: NotifyType.REGISTRATION_FAILED,
    Refusal.FULL: NotifyType.REGISTRATION_FAILED,
    Refusal.SENDER_IDS_EXHAUSTED: NotifyType.REGISTRATION_FAILED,
    Refusal.TOO_OFTEN: NotifyType.REGISTRATION_FAILED,
    Refusal.ADDRESS_TAKEN: NotifyType.REGISTRATION_FAILED,
    Refusal.NOT_ON_LIST: NotifyType.AUTHORIZATION_FAILED,
    Refusal.PAYMENT_REQUIRED: NotifyType.AUTHORIZATION_FAILED,
    Refusal.PRICE_TOO_HIGH: NotifyType.AUTHORIZATION_FAILED,
    Refusal.VOUCHER_INVALID: NotifyType.AUTHORIZATION_FAILED,
    Refusal.WRONG_PASSWORD: NotifyType.AUTHORIZATION_FAILED,
    Refusal.LOCKED_OUT: NotifyType.AUTHORIZATION_FAILED,
    Refusal.REVOKED: NotifyType.AUTHORIZATION_FAILED,
    Refusal.BUSY: NotifyType.REGISTRATION_FAILED,
    Refusal.CANCELLED: NotifyType.REGISTRATION_FAILED,
}
_MOST_ID_OCTETS: Final = 1024  # ours: no group has such a name, and the refusal is logged with it
_LEAVING: Final = (NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.REGISTRATION_FAILED)


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """One request for one group."""

    group_id: Identity
    acceptable: Sa | None  # SAg
    wants_to_send: bool
    sender_ids: int
    leaving: NotifyType | None  # RFC 9838 2.3.2: the member declines the policy, or goes
    shown: Shown = NOTHING


def read_registration_request(payloads: Sequence[Payload]) -> RegistrationRequest:
    """WireError when GROUP_SENDER is not as RFC 9838 4.7.4 has it; the rules have seen to the rest."""
    group_id = first(payloads, PayloadType.ID_G)
    if group_id is None:
        raise WireError("rule-missing", "ID_G")
    if len(group_id.data) > _MOST_ID_OCTETS:
        raise WireError("group-id", f"{len(group_id.data)} octets")
    sender = notify(payloads, NotifyType.GROUP_SENDER)
    if sender is not None and len(sender.data) != 4:
        raise WireError("group-sender", f"{len(sender.data)} octets")
    return RegistrationRequest(
        Identity(group_id.type, group_id.data),
        first(payloads, PayloadType.SA),
        sender is not None,
        int.from_bytes(sender.data, "big") if sender is not None else 0,
        next((kind for kind in _LEAVING if notify(payloads, kind) is not None), None),
        read_evidence(payloads),
    )


def build_registration_request(
    group_id: Identity, offered: Sa | None, sender_ids: int | None
) -> list[Payload]:
    """IDg, [SAg], [N(GROUP_SENDER)]; ``sender_ids`` None: receives only."""
    payloads = [id_g(group_id)]
    if offered is not None:
        payloads.append(Payload(PayloadType.SA, offered))
    if sender_ids is not None:
        data = sender_ids.to_bytes(4, "big")
        payloads.append(Payload(PayloadType.NOTIFY, Notify(0, b"", NotifyType.GROUP_SENDER, data)))
    return payloads


def id_g(group_id: Identity) -> Payload:
    """The group that a request is about."""
    return Payload(PayloadType.ID_G, Id(group_id.kind, group_id.data))


def refusal_notify(refusal: Refusal) -> NotifyType:
    """The notification that says why a group does not take a member."""
    return _NOTIFY[refusal]
