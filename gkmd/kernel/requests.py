"""Our SAs and policies as XFRM messages, and XFRM's listings as ours. Pure: octets in, octets out."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gkmd.core.address import IpAddress
from gkmd.core.errors import LocalError
from gkmd.core.esp import Direction, EspPolicy, EspSa, Mode
from gkmd.kernel.ledger import LeftPolicy, LeftSa, PolicyKey, SaKey
from gkmd.kernel.messages import (
    UNLIMITED,
    PolicyDirection,
    PolicyId,
    PolicyInfo,
    SaId,
    SaInfo,
    StateFlag,
    XfrmMessage,
    XfrmMode,
    family_of,
    pack_address,
    pack_aead,
    pack_cipher,
    pack_replay,
    pack_template,
    unpack_address,
)
from gkmd.kernel.names import (
    ESP_PRIORITY,
    PASS_PRIORITY,
    is_our_reqid,
    kernel_cipher,
    kernel_integrity,
    kernel_reqid,
)

# usersa_info.replay_window is a bitmap of one word; larger windows need XFRMA_REPLAY_ESN_VAL.
_SMALL_WINDOW: Final = 32
_MODE: Final = {Mode.TRANSPORT: XfrmMode.TRANSPORT, Mode.TUNNEL: XfrmMode.TUNNEL}
_DIRECTION: Final = {Direction.IN: PolicyDirection.IN, Direction.OUT: PolicyDirection.OUT}
_UNLIMITED: Final = dict.fromkeys(
    ("soft_byte_limit", "hard_byte_limit", "soft_packet_limit", "hard_packet_limit"), UNLIMITED
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a selector matches beside addresses. For ICMPv6 XFRM compares the type as the source port."""

    protocol: int = 0
    port: int = 0
    icmp_type: int | None = None


# Queries and reports about a group are sent to the group itself (RFC 2236 9, RFC 3376 4.1.12, RFC 2710 8,
# RFC 3810 5.1.15): under a policy for every protocol the last-member query would not be heard and
# the network would stop forwarding to us.
_IGMP: Final = (Traffic(socket.IPPROTO_IGMP),)
_MLD: Final = tuple(Traffic(socket.IPPROTO_ICMPV6, icmp_type=number) for number in (130, 131))


def _selector(source: IpAddress | None, destination: IpAddress, traffic: Traffic) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "sel_family": family_of(destination),
        "sel_daddr": pack_address(destination),
        "sel_prefixlen_d": destination.max_prefixlen,
        "sel_proto": traffic.protocol,
    }
    if source is not None:
        fields |= {"sel_saddr": pack_address(source), "sel_prefixlen_s": source.max_prefixlen}
    if traffic.port:
        fields |= {"sel_dport": traffic.port, "sel_dport_mask": 0xFFFF}
    if traffic.icmp_type is not None:
        fields |= {"sel_sport": traffic.icmp_type, "sel_sport_mask": 0xFFFF}
    return fields


def new_sa(sa: EspSa) -> SaInfo:
    """NEWSA. Holds the key: not for logs."""
    message = SaInfo()
    # The kernel finds an SA by destination and SPI alone; its selector is what ties it to the source.
    message.update(_selector(sa.source, sa.destination, Traffic()))
    message.update(_UNLIMITED)
    message.update(
        daddr=pack_address(sa.destination),
        saddr=pack_address(sa.source),
        spi=sa.spi,
        proto=socket.IPPROTO_ESP,
        family=family_of(sa.destination),
        mode=_MODE[sa.mode],
        reqid=kernel_reqid(sa.reqid),
        flags=StateFlag.WILDRECV if sa.direction is Direction.IN else 0,
        # No soft limit: the kernel would turn to an older SA when it passes.
        hard_add_expires_seconds=math.ceil(sa.lifetime),
    )
    if sa.replay_window <= _SMALL_WINDOW:
        message["replay_window"] = sa.replay_window
    else:
        message.attach("XFRMA_REPLAY_ESN_VAL", pack_replay(sa.replay_window))
    cipher = kernel_cipher(sa.cipher)
    if cipher is None:
        raise LocalError(f"no kernel name for {sa.cipher.name}")
    key = sa.key.reveal()
    if sa.cipher.aead:
        message.attach("XFRMA_ALG_AEAD", pack_aead(cipher.name, key, cipher.icv_bits))
        return message
    integrity = None if sa.integrity is None else kernel_integrity(sa.integrity)
    if integrity is None:
        raise LocalError(f"{sa.cipher.name} without integrity")
    split = sa.cipher.key_octets
    message.attach("XFRMA_ALG_CRYPT", pack_cipher(cipher.name, key[:split]))
    message.attach("XFRMA_ALG_AUTH_TRUNC", pack_aead(integrity.name, key[split:], integrity.icv_bits))
    return message


def sa_id(key: SaKey) -> SaId:
    """DELSA."""
    destination, spi = key
    message = SaId()
    message.update(
        daddr=pack_address(destination),
        spi=spi,
        family=family_of(destination),
        proto=socket.IPPROTO_ESP,
    )
    return message


def new_policies(policy: EspPolicy) -> list[PolicyInfo]:
    """NEWPOLICY or UPDPOLICY: the policy itself first, then the exceptions that it needs."""
    message = _policy(policy, Traffic(policy.protocol, policy.port), ESP_PRIORITY)
    tunnel_out = policy.mode is Mode.TUNNEL and policy.direction is Direction.OUT
    message.attach(
        "XFRMA_TMPL",
        pack_template(
            family=family_of(policy.destination),
            # Receivers take any SA of the group: old and new overlap (RFC 9838 2.4.1.4 activation delays).
            reqid=kernel_reqid(policy.reqid) if policy.direction is Direction.OUT else 0,
            mode=_MODE[policy.mode],
            # A sender's tunnel keeps the inner addresses outside (RFC 5374 3.1). Input compares a template's
            # source with the SA's, which may be a wildcard: the selectors restrict sources instead.
            source=policy.source if tunnel_out else None,
            destination=policy.destination if tunnel_out else None,
        ),
    )
    return [message, *(_policy(policy, traffic, PASS_PRIORITY) for traffic in _exceptions(policy))]


def policy_ids(policy: EspPolicy) -> list[PolicyId]:
    """DELPOLICY, in the order of ``new_policies``."""
    messages = []
    for traffic in (Traffic(policy.protocol, policy.port), *_exceptions(policy)):
        message = PolicyId()
        message.update(_selector(policy.source, policy.destination, traffic))
        message["dir"] = _DIRECTION[policy.direction]
        messages.append(message)
    return messages


def _policy(policy: EspPolicy, traffic: Traffic, priority: int) -> PolicyInfo:
    message = PolicyInfo()
    message.update(_selector(policy.source, policy.destination, traffic))
    message.update(_UNLIMITED)
    message.update(dir=_DIRECTION[policy.direction], priority=priority)
    return message


def _exceptions(policy: EspPolicy) -> tuple[Traffic, ...]:
    if policy.protocol:
        return ()
    return _IGMP if policy.destination.version == 4 else _MLD


def left_sa(message: XfrmMessage) -> LeftSa | None:
    """What GETSA listed, if it is ours: ESP to a multicast address with a reqid of our range.

    A larval SA (SPI 0, made by the kernel for a key daemon that listens) is not: it goes by itself.
    """
    destination = unpack_address(message["daddr"], message["family"])
    ours = message["proto"] == socket.IPPROTO_ESP and is_our_reqid(message["reqid"]) and message["spi"]
    if not ours or destination is None or not destination.is_multicast:
        return None
    spi = int(message["spi"])
    return LeftSa(f"SA 0x{spi:08x} to {destination}", (destination, spi))


def left_policies(messages: Iterable[XfrmMessage]) -> list[LeftPolicy]:
    """What GETPOLICY listed that is ours: one of our priorities, to one multicast address.

    The handle of each is what deletes it: the PolicyIds of its exceptions, its own last.
    """
    found: dict[PolicyKey, list[tuple[int, PolicyId]]] = {}
    for message in messages:
        key = _policy_key(message)
        if key is not None:
            identity = PolicyId()
            identity.update(index=message["index"], dir=message["dir"], sel_family=message["sel_family"])
            found.setdefault(key, []).append((message["priority"], identity))
    left = []
    for key, parts in found.items():
        direction, source, destination, protocol, port = key
        description = (
            f"{direction.value} policy for {source or 'any'} -> {destination} protocol {protocol} port {port}"
        )
        parts.sort(key=lambda part: part[0])  # PASS_PRIORITY before ESP_PRIORITY
        left.append(LeftPolicy(description, key, tuple(identity for _, identity in parts)))
    return left


def _policy_key(message: XfrmMessage) -> PolicyKey | None:
    """The key of the policy of ours that this is, or is an exception of."""
    family = message["sel_family"]
    destination = unpack_address(message["sel_daddr"], family)
    direction = {number: ours for ours, number in _DIRECTION.items()}.get(message["dir"])
    if (
        direction is None
        or message["priority"] not in (ESP_PRIORITY, PASS_PRIORITY)
        or destination is None
        or not destination.is_multicast
        or message["sel_prefixlen_d"] != destination.max_prefixlen
    ):
        return None
    source = unpack_address(message["sel_saddr"], family)
    if message["priority"] == PASS_PRIORITY:  # only policies for every protocol have exceptions
        return direction, source, destination, 0, 0
    return direction, source, destination, message["sel_proto"], message["sel_dport"]
