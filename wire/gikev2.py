"""The payloads that G-IKEv2 adds (RFC 9838 section 4): GSA, KD, and the wrapped key in KD's attributes."""

from __future__ import annotations

from dataclasses import dataclass

from construct import (
    Bytes,
    Check,
    Default,
    GreedyBytes,
    GreedyRange,
    IfThenElse,
    Int8ub,
    Int32ub,
    Peek,
    Rebuild,
    RepeatUntil,
    Struct,
    Terminated,
    len_,
    obj_,
    this,
)

from wire import attributes as registry
from wire.attributes import ATTRIBUTE, Attribute, check_attributes
from wire.compile import Codec
from wire.errors import WireError
from wire.registry import ProtocolId
from wire.sa import TRANSFORM_BOX, Transform
from wire.selectors import TRAFFIC_SELECTOR, TrafficSelector
from wire.vocabulary import bind, sized

# Ours. A payload of 65,535 octets has room for fewer policies and bags than this, and for about as many keys.
MAX_POLICIES = 1024
MAX_BAGS = 1024
MAX_POLICY_TRANSFORMS = 64
MAX_POLICY_ATTRIBUTES = 64
MAX_BAG_ATTRIBUTES = 4096


@dataclass(slots=True)
class GroupSaPolicy:
    """One SA of the group: protocol 6 is the Rekey SA (SPI of 16 octets), 2 and 3 Data-Security SAs (4)."""

    protocol: int
    spi: bytes
    source: TrafficSelector
    destination: TrafficSelector
    transforms: list[Transform]
    attributes: list[Attribute]


#  0                   1                   2                   3
# +---------------+---------------+-------------------------------+
# |   protocol    |   SPI size    |            length             |
# +---------------+---------------+-------------------------------+
# ~                     SPI (4 or 16 octets)                      ~
# +---------------------------------------------------------------+
# ~       source traffic selector (bare, without a count)         ~
# +---------------------------------------------------------------+
# ~    destination traffic selector (bare, without a count)       ~
# +---------------------------------------------------------------+
# ~        transforms (until the one whose last field is 0)       ~
# +---------------------------------------------------------------+
# ~                attributes (to the end of length)              ~
# +---------------------------------------------------------------+   RFC 9838 figure 15
GROUP_SA_POLICY = Struct(
    "protocol" / Int8ub,
    "spi_size" / Rebuild(Int8ub, len_(this.body.spi)),
    "body"
    / sized(
        2,
        Struct(
            "spi" / Bytes(this._.spi_size),
            "source" / TRAFFIC_SELECTOR,
            "destination" / TRAFFIC_SELECTOR,
            "transforms" / RepeatUntil(obj_.last == 0, TRANSFORM_BOX),
            "attributes" / GreedyRange(ATTRIBUTE),
            Terminated,
        ),
    ),
    "spi-size"
    / Check(
        ((this.protocol == 6) & (this.spi_size == 16))
        | ((this.protocol == 2) & (this.spi_size == 4))
        | ((this.protocol == 3) & (this.spi_size == 4))
    ),
)


def _check_policy(policy: GroupSaPolicy) -> None:
    rekey = policy.protocol == ProtocolId.GIKE_UPDATE
    check_attributes(policy.attributes, registry.GROUP_SA_REKEY if rekey else registry.GROUP_SA_ESP)


bind(
    GroupSaPolicy,
    GROUP_SA_POLICY,
    limits={"transforms": MAX_POLICY_TRANSFORMS, "attributes": MAX_POLICY_ATTRIBUTES},
    check=_check_policy,
)


@dataclass(slots=True)
class GroupWidePolicy:
    """What holds for the group and for none of its SAs."""

    attributes: list[Attribute]


# +---------------+---------------+-------------------------------+
# |       0       |   reserved    |            length             |
# +---------------+---------------+-------------------------------+
# ~                          attributes                           ~
# +---------------------------------------------------------------+   RFC 9838 figure 16
GROUP_WIDE_POLICY = Struct(
    "zero" / Default(Int8ub, 0),
    "reserved" / Default(Int8ub, 0),
    "body" / sized(2, Struct("attributes" / GreedyRange(ATTRIBUTE), Terminated)),
)


def _check_group_wide(policy: GroupWidePolicy) -> None:
    check_attributes(policy.attributes, registry.GROUP_WIDE)


bind(
    GroupWidePolicy, GROUP_WIDE_POLICY, limits={"attributes": MAX_POLICY_ATTRIBUTES}, check=_check_group_wide
)


@dataclass(slots=True)
class Gsa:
    """Group Security Association (51)."""

    policies: list[GroupSaPolicy | GroupWidePolicy]


# RFC 9838 4.4.1: the first octet of a policy tells its kind.
POLICY = Struct(
    "first" / Peek(Int8ub), "policy" / IfThenElse(this.first == 0, GROUP_WIDE_POLICY, GROUP_SA_POLICY)
)
# +---------------------------------------------------------------+
# ~                        group policies                         ~
# +---------------------------------------------------------------+   RFC 9838 figure 14
GSA_BOX = Struct("policies" / GreedyRange(POLICY), Terminated)


def _check_gsa(gsa: Gsa) -> None:
    """RFC 9838 4.4.1: at most one Rekey SA policy, at most one group-wide policy, and at least one SA."""
    wide = rekey = 0
    for policy in gsa.policies:
        if isinstance(policy, GroupWidePolicy):
            wide += 1
        elif policy.protocol == ProtocolId.GIKE_UPDATE:
            rekey += 1
    if wide > 1 or rekey > 1 or wide == len(gsa.policies):
        raise WireError(
            "gsa-policies", f"{len(gsa.policies)} policies, {rekey} of Rekey SAs, {wide} group-wide"
        )


GSA = bind(Gsa, GSA_BOX, limits={"policies": MAX_POLICIES}, check=_check_gsa)


@dataclass(slots=True)
class GroupKeyBag:
    """The keys of the SA that (protocol, SPI) names."""

    protocol: int
    spi: bytes
    attributes: list[Attribute]


#  0                   1                   2                   3
# +---------------+---------------+-------------------------------+
# |   protocol    |   SPI size    |            length             |
# +---------------+---------------+-------------------------------+
# ~                     SPI (4 or 16 octets)                      ~
# +---------------------------------------------------------------+
# ~                          attributes                           ~
# +---------------------------------------------------------------+   RFC 9838 figure 18
GROUP_KEY_BAG = Struct(
    "protocol" / Int8ub,
    "spi_size" / Rebuild(Int8ub, len_(this.body.spi)),
    "body"
    / sized(2, Struct("spi" / Bytes(this._.spi_size), "attributes" / GreedyRange(ATTRIBUTE), Terminated)),
    "spi-size"
    / Check(
        ((this.protocol == 6) & (this.spi_size == 16))
        | ((this.protocol == 2) & (this.spi_size == 4))
        | ((this.protocol == 3) & (this.spi_size == 4))
    ),
)


def _check_group_bag(bag: GroupKeyBag) -> None:
    rekey = bag.protocol == ProtocolId.GIKE_UPDATE
    check_attributes(bag.attributes, registry.GROUP_KEY_REKEY if rekey else registry.GROUP_KEY_ESP)


bind(GroupKeyBag, GROUP_KEY_BAG, limits={"attributes": MAX_BAG_ATTRIBUTES}, check=_check_group_bag)


@dataclass(slots=True)
class MemberKeyBag:
    """What one member gets for itself: its keys of a key tree, the signature key, its Sender-IDs."""

    attributes: list[Attribute]


# +---------------+---------------+-------------------------------+
# |       0       |   reserved    |            length             |
# +---------------+---------------+-------------------------------+
# ~                          attributes                           ~
# +---------------------------------------------------------------+   RFC 9838 figure 19
MEMBER_KEY_BAG = Struct(
    "zero" / Default(Int8ub, 0),
    "reserved" / Default(Int8ub, 0),
    "body" / sized(2, Struct("attributes" / GreedyRange(ATTRIBUTE), Terminated)),
)


def _check_member_bag(bag: MemberKeyBag) -> None:
    check_attributes(bag.attributes, registry.MEMBER_KEY)


bind(MemberKeyBag, MEMBER_KEY_BAG, limits={"attributes": MAX_BAG_ATTRIBUTES}, check=_check_member_bag)


@dataclass(slots=True)
class Kd:
    """Key Download (52)."""

    bags: list[GroupKeyBag | MemberKeyBag]


# RFC 9838 4.5.1: the first octet of a bag tells its kind.
BAG = Struct("first" / Peek(Int8ub), "bag" / IfThenElse(this.first == 0, MEMBER_KEY_BAG, GROUP_KEY_BAG))
# +---------------------------------------------------------------+
# ~                           key bags                            ~
# +---------------------------------------------------------------+   RFC 9838 figure 17
KD_BOX = Struct("bags" / GreedyRange(BAG), Terminated)
KD = bind(Kd, KD_BOX, limits={"bags": MAX_BAGS})


@dataclass(slots=True)
class WrappedKey:
    """Key ``key_id`` wrapped under ``kwk_id``.

    Key 0 is an SA's keying material, key-wrapping key 0 the default one.
    """

    key_id: int
    kwk_id: int
    data: bytes


# +---------------------------------------------------------------+
# |                            key id                             |
# +---------------------------------------------------------------+
# |                            KWK id                             |
# +---------------------------------------------------------------+
# ~                        encrypted key                          ~
# +---------------------------------------------------------------+   RFC 9838 figure 20
WRAPPED_KEY_BOX = Struct(
    "key_id" / Int32ub, "kwk_id" / Int32ub, "data" / GreedyBytes, "wrapped-key" / Check(len_(this.data) > 0)
)
WRAPPED_KEY = bind(WrappedKey, WRAPPED_KEY_BOX)
_WRAPPED_KEY = Codec(WRAPPED_KEY)


def parse_wrapped_key_untrusted(data: bytes) -> WrappedKey:
    """The value of an SA_KEY or WRAP_KEY attribute. Raises WireError."""
    return _WRAPPED_KEY.parse(data, 0, len(data))


def build_wrapped_key(key_id: int, kwk_id: int, data: bytes) -> bytes:
    """The value of an SA_KEY or WRAP_KEY attribute."""
    return _WRAPPED_KEY.build(WrappedKey(key_id, kwk_id, data))
