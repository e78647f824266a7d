"""XFRM's netlink messages for pyroute2, which has only the number of the protocol.

The layouts are those of <linux/xfrm.h> on 64-bit machines (u64 aligned to 8), each pad written out, because
pyroute2 aligns the whole message to 4 but then leaves its own padding out of ``nlmsg_len``. Addresses are
16 octets, an IPv4 address left-aligned; SPIs and ports are big-endian, everything else is in host order.
Attribute values are packed here and given to pyroute2 as octets: it takes a dict for sub-fields, and it
leaves out attributes whose name it does not know without a word.
"""

from __future__ import annotations

import enum
import ipaddress
import socket
import struct
from collections.abc import Iterable
from typing import Final

from pyroute2.netlink import nlmsg
from pyroute2.netlink.marshal import Marshal

from gkmd.core.address import IpAddress
from gkmd.core.errors import LocalError

UNLIMITED: Final = 2**64 - 1  # XFRM_INF; 0 would end the SA at its first packet
ALL_ALGORITHMS: Final = 0xFFFFFFFF
ANY_ADDRESS: Final = bytes(16)


class Request(enum.IntEnum):
    """XFRM_MSG_*"""

    NEWSA = 0x10
    DELSA = 0x11
    GETSA = 0x12
    NEWPOLICY = 0x13
    DELPOLICY = 0x14
    GETPOLICY = 0x15
    UPDPOLICY = 0x19


class PolicyDirection(enum.IntEnum):
    """XFRM_POLICY_IN, _OUT, _FWD"""

    IN = 0
    OUT = 1
    FORWARD = 2


class XfrmMode(enum.IntEnum):
    TRANSPORT = 0
    TUNNEL = 1


class StateFlag(enum.IntFlag):
    """XFRM_STATE_*"""

    WILDRECV = 8  # receive only: never chosen for output


_SELECTOR: Final = (  # struct xfrm_selector
    ("sel_daddr", "16s"),
    ("sel_saddr", "16s"),
    ("sel_dport", ">H"),
    ("sel_dport_mask", ">H"),
    ("sel_sport", ">H"),
    ("sel_sport_mask", ">H"),
    ("sel_family", "H"),
    ("sel_prefixlen_d", "B"),
    ("sel_prefixlen_s", "B"),
    ("sel_proto", "B"),
    ("_pad_selector", "3x"),
    ("sel_ifindex", "i"),
    ("sel_user", "I"),
)
_ID: Final = (("daddr", "16s"), ("spi", ">I"), ("proto", "B"), ("_pad_id", "3x"))  # struct xfrm_id
_LIFETIME: Final = (  # struct xfrm_lifetime_cfg
    ("soft_byte_limit", "Q"),
    ("hard_byte_limit", "Q"),
    ("soft_packet_limit", "Q"),
    ("hard_packet_limit", "Q"),
    ("soft_add_expires_seconds", "Q"),
    ("hard_add_expires_seconds", "Q"),
    ("soft_use_expires_seconds", "Q"),
    ("hard_use_expires_seconds", "Q"),
)
_USED: Final = (("bytes", "Q"), ("packets", "Q"), ("add_time", "Q"), ("use_time", "Q"))  # xfrm_lifetime_cur
_STATS: Final = (("stat_replay_window", "I"), ("stat_replay", "I"), ("stat_integrity_failed", "I"))
_SA_INFO: Final = (  # struct xfrm_usersa_info
    *_SELECTOR,
    *_ID,
    ("saddr", "16s"),
    *_LIFETIME,
    *_USED,
    *_STATS,
    ("seq", "I"),
    ("reqid", "I"),
    ("family", "H"),
    ("mode", "B"),
    ("replay_window", "B"),
    ("flags", "B"),
    ("_pad_info", "7x"),
)
_SA_ID: Final = (  # struct xfrm_usersa_id
    ("daddr", "16s"),
    ("spi", ">I"),
    ("family", "H"),
    ("proto", "B"),
    ("_pad_id", "x"),
)
_POLICY_INFO: Final = (  # struct xfrm_userpolicy_info
    *_SELECTOR,
    *_LIFETIME,
    *_USED,
    ("priority", "I"),
    ("index", "I"),
    ("dir", "B"),
    ("action", "B"),
    ("flags", "B"),
    ("share", "B"),
    ("_pad_info", "4x"),
)
_POLICY_ID: Final = (*_SELECTOR, ("index", "I"), ("dir", "B"), ("_pad_id", "3x"))  # xfrm_userpolicy_id

# struct xfrm_user_tmpl: daddr, spi, proto, family, saddr, reqid, mode, share, optional, algorithm masks
_TEMPLATE: Final = struct.Struct("16s4sB3xH2x16sIBBBx3I")
_ALGORITHM: Final = struct.Struct("64sI")  # name, key length in bits
_ALGORITHM_ICV: Final = struct.Struct("64sII")  # and the ICV's length in bits
_REPLAY_ESN: Final = struct.Struct("6I")  # bitmap words, oseq, seq, oseq_hi, seq_hi, window


def layout_octets(fields: Iterable[tuple[str, str]]) -> int:
    """Size of a layout as pyroute2 writes it: field after field, nothing in between."""
    return sum(struct.calcsize(form) for _, form in fields)


# sizeof() of the kernel's structures.
assert layout_octets(_SELECTOR) == 56
assert layout_octets(_ID) == 24
assert layout_octets(_SA_INFO) == 224
assert layout_octets(_SA_ID) == 24
assert layout_octets(_POLICY_INFO) == 168
assert layout_octets(_POLICY_ID) == 64
assert _TEMPLATE.size == 64
assert (_ALGORITHM.size, _ALGORITHM_ICV.size, _REPLAY_ESN.size) == (68, 72, 24)


class XfrmMessage(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """Base: the attribute table. A name's position is its number (XFRMA_*)."""

    __slots__ = ()
    # '16s' cannot be packed from pyroute2's default of 0.
    defaults = dict.fromkeys(("sel_daddr", "sel_saddr", "daddr", "saddr"), ANY_ADDRESS)
    nla_map = tuple(
        (name, "cdata")
        for name in (
            "XFRMA_UNSPEC",
            "XFRMA_ALG_AUTH",
            "XFRMA_ALG_CRYPT",
            "XFRMA_ALG_COMP",
            "XFRMA_ENCAP",
            "XFRMA_TMPL",
            "XFRMA_SA",
            "XFRMA_POLICY",
            "XFRMA_SEC_CTX",
            "XFRMA_LTIME_VAL",
            "XFRMA_REPLAY_VAL",
            "XFRMA_REPLAY_THRESH",
            "XFRMA_ETIMER_THRESH",
            "XFRMA_SRCADDR",
            "XFRMA_COADDR",
            "XFRMA_LASTUSED",
            "XFRMA_POLICY_TYPE",
            "XFRMA_MIGRATE",
            "XFRMA_ALG_AEAD",
            "XFRMA_KMADDRESS",
            "XFRMA_ALG_AUTH_TRUNC",
            "XFRMA_MARK",
            "XFRMA_TFCPAD",
            "XFRMA_REPLAY_ESN_VAL",
        )
    )

    def attach(self, name: str, value: bytes) -> None:
        """Add an attribute; LocalError for a name that pyroute2 would drop in silence."""
        if all(name != known for known, _ in self.nla_map):
            raise LocalError(f"{type(self).__name__} has no attribute {name}")
        self["attrs"].append((name, value))


class SaInfo(XfrmMessage):
    """NEWSA, and what GETSA answers."""

    __slots__ = ()
    fields = _SA_INFO


class SaId(XfrmMessage):
    """DELSA, GETSA."""

    __slots__ = ()
    fields = _SA_ID


class PolicyInfo(XfrmMessage):
    """NEWPOLICY, UPDPOLICY, and what GETPOLICY answers."""

    __slots__ = ()
    fields = _POLICY_INFO


class PolicyId(XfrmMessage):
    """DELPOLICY, GETPOLICY."""

    __slots__ = ()
    fields = _POLICY_ID


class XfrmMarshal(Marshal):  # type: ignore[misc]  # pyroute2 has no types
    """Which class reads which message."""

    msg_map: dict[int, type[XfrmMessage]] = {  # noqa: RUF012  # pyroute2 copies it per socket
        Request.NEWSA: SaInfo,
        Request.DELSA: SaId,
        Request.GETSA: SaId,
        Request.NEWPOLICY: PolicyInfo,
        Request.UPDPOLICY: PolicyInfo,
        Request.DELPOLICY: PolicyId,
        Request.GETPOLICY: PolicyId,
    }


def family_of(address: IpAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def pack_address(address: IpAddress | None) -> bytes:
    """xfrm_address_t; None is the wildcard."""
    return ANY_ADDRESS if address is None else address.packed.ljust(16, b"\0")


def unpack_address(data: bytes, family: int) -> IpAddress | None:
    """The reverse of ``pack_address``."""
    if data == ANY_ADDRESS:
        return None
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(data[:4])
    return ipaddress.IPv6Address(data)


def pack_aead(name: str, key: bytes, icv_bits: int) -> bytes:
    """struct xfrm_algo_aead, also struct xfrm_algo_auth (XFRMA_ALG_AUTH_TRUNC): key lengths are in bits."""
    return _ALGORITHM_ICV.pack(name.encode("ascii"), len(key) * 8, icv_bits) + key


def pack_cipher(name: str, key: bytes) -> bytes:
    """struct xfrm_algo (XFRMA_ALG_CRYPT)."""
    return _ALGORITHM.pack(name.encode("ascii"), len(key) * 8) + key


def pack_replay(window: int) -> bytes:
    """struct xfrm_replay_state_esn without extended numbers: the only way to a window of more than 32."""
    words = (window + 31) // 32
    return _REPLAY_ESN.pack(words, 0, 0, 0, 0, window) + bytes(4 * words)


def pack_template(
    *, family: int, reqid: int, mode: XfrmMode, source: IpAddress | None, destination: IpAddress | None
) -> bytes:
    """struct xfrm_user_tmpl for ESP, not optional, any SPI, any algorithm."""
    return _TEMPLATE.pack(
        pack_address(destination),
        bytes(4),
        socket.IPPROTO_ESP,
        family,
        pack_address(source),
        reqid,
        mode,
        0,
        0,
        ALL_ALGORITHMS,
        ALL_ALGORITHMS,
        ALL_ALGORITHMS,
    )
