"""GSA and KD of one message, taken apart and matched with each other (RFC 9838 4.4.1, 4.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gkmd.core.errors import PeerError
from gkmd.core.esp import Mode
from gkmd.ike.read_policies import refused
from wire.errors import WireError
from wire.gikev2 import GroupKeyBag, GroupSaPolicy, GroupWidePolicy, WrappedKey, parse_wrapped_key_untrusted
from wire.message import Payload, first, notify
from wire.registry import MemberKeyAttribute, NotifyType, PayloadType, ProtocolId


@dataclass(frozen=True, slots=True)
class Content:
    """What GSA, KD and the mode notify of one message say; policies and bags are in pairs."""

    mode: Mode
    rekey: GroupSaPolicy | None
    data: tuple[GroupSaPolicy, ...]
    wide: GroupWidePolicy | None
    bags: dict[tuple[int, bytes], GroupKeyBag]
    wrap_keys: tuple[WrappedKey, ...]
    auth_keys: tuple[bytes, ...]
    sender_ids: tuple[int, ...]


def take_apart(payloads: Sequence[Payload]) -> Content | None:
    """None without a GSA payload. PeerError when policies and keys do not make a whole."""
    gsa, kd = first(payloads, PayloadType.GSA), first(payloads, PayloadType.KD)
    if gsa is None:
        if kd is not None:
            raise refused("keys without a policy")
        return None
    if kd is None:
        raise refused("a policy without keys")
    rekey, data, wide = [], [], []
    for policy in gsa.policies:
        if isinstance(policy, GroupWidePolicy):
            wide.append(policy)
        elif policy.protocol == ProtocolId.GIKE_UPDATE:
            rekey.append(policy)
        else:
            data.append(policy)
    # RFC 9838 4.4.1: 0..1 KEK, 0..n TEK, 0..1 group-wide, and at least one SA.
    if len(rekey) > 1 or len(wide) > 1 or not (rekey or data):
        raise refused("a set of policies that RFC 9838 4.4.1 does not allow")

    bags: dict[tuple[int, bytes], GroupKeyBag] = {}
    wrap_keys: list[WrappedKey] = []
    auth_keys: list[bytes] = []
    sender_ids: list[int] = []
    for bag in kd.bags:
        if isinstance(bag, GroupKeyBag):
            if (bag.protocol, bag.spi) in bags:
                raise refused("two key bags for one SA")
            bags[bag.protocol, bag.spi] = bag
            continue
        for attribute in bag.attributes:
            if isinstance(attribute.value, int):
                continue  # known ones are octets, as the codec has checked; RFC 9838 has no unknown ones
            if attribute.type == MemberKeyAttribute.WRAP_KEY:
                wrap_keys.append(read_wrapped(attribute.value))
            elif attribute.type == MemberKeyAttribute.AUTH_KEY:
                auth_keys.append(attribute.value)
            elif attribute.type == MemberKeyAttribute.GM_SENDER_ID:
                # RFC 9838 gives no length: any is taken, as a number (ADR 8).
                sender_ids.append(int.from_bytes(attribute.value, "big"))
    policies = [*rekey, *data]
    names = {(policy.protocol, policy.spi) for policy in policies}
    if len(names) != len(policies) or names != bags.keys():
        raise refused("policies and key bags do not belong together")
    transport = notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None
    return Content(
        Mode.TRANSPORT if transport else Mode.TUNNEL,
        rekey[0] if rekey else None,
        tuple(data),
        wide[0] if wide else None,
        bags,
        tuple(wrap_keys),
        tuple(auth_keys),
        tuple(sender_ids),
    )


def read_wrapped(octets: bytes) -> WrappedKey:
    """The value of an SA_KEY or WRAP_KEY attribute; PeerError when it is too short to be one."""
    try:
        return parse_wrapped_key_untrusted(octets)
    except WireError as error:
        raise PeerError(NotifyType.INVALID_SYNTAX, f"wrapped key: {error}") from None
