"""Sending what a group ordered: rekeys sealed, journalled, then multicast (RFC 9838 2.4.1.3)."""

from __future__ import annotations

from collections.abc import Iterable

from gkmd.core.effect import SendMulticast
from gkmd.core.rng import Rng
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, RekeyOrder, Repeat
from gkmd.ike.rekey_message import exceeds_mtu, seal_rekey
from gkmd.ike.turn import Turn


def send_orders(turn: Turn, directory: Directory, orders: Iterable[RekeyOrder], rng: Rng, now: float) -> None:
    """Seal each order once. Its message id and its octets are in the journal before it is sent."""
    for order in orders:
        datagram = seal_rekey(order, rng)
        turn.changes += directory.sealed(order, datagram, now)
        turn.sends.append(_multicast(order.policy, datagram))
        turn.tell(
            "rekey-sent",
            group=order.policy.name,
            reason=order.reason,
            message_id=order.message_id,
            octets=len(datagram),
            fragmented=exceeds_mtu(datagram, order.policy.rekey_address.version),
            new_keys=len(order.data_sas),
            deleted=len(order.deleted_spis),
            new_rekey_sa=order.new_rekey_sa is not None,
            closing=order.close,
        )


def send_repeat(turn: Turn, repeat: Repeat) -> None:
    """One more copy, bit for bit."""
    turn.changes += repeat.changes
    turn.sends.append(_multicast(repeat.policy, repeat.datagram))


def _multicast(policy: GroupPolicy, datagram: bytes) -> SendMulticast:
    return SendMulticast(
        datagram,
        policy.rekey_address,
        policy.rekey_port,
        policy.rekey_source,
        policy.rekey_interface,
        policy.rekey_ttl,
    )
