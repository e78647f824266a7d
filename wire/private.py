"""The data of gkmd's own notifications GKMD_EVIDENCE and GKMD_REASON (docs/protocol.md).

Their numbers are of the range for private use (RFC 7296 3.10.1), where anybody's notifications may be. What
does not begin with our four octets is somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from construct import (
    Bytes,
    Check,
    Default,
    GreedyRange,
    Int8ub,
    Int16ub,
    Rebuild,
    Struct,
    Terminated,
    len_,
    this,
)

from wire.compile import Codec
from wire.vocabulary import bind

MAGIC: Final = b"gkmd"
VERSION: Final = 1
_VERSION_AT: Final = len(MAGIC)
MAX_ITEMS: Final = 32


class EvidenceItem(IntEnum):
    """What a member shows."""

    VOUCHER = 1  # the code, UTF-8, 4 to 64 octets
    MOST = 2  # the most that it will pay: currency (3 ASCII octets), minor units (64 bits)
    FOLLOWS = 3  # empty: there is evidence, shown when the key server has proved itself


class ReasonItem(IntEnum):
    """Why a member is refused."""

    CODE = 1  # an ASCII token such as payment-required, 1 to 32 octets
    COME_BACK = 2  # Unix seconds (64 bits) from which on it may be different
    PRICE = 3  # what it would cost: as MOST
    TEXT = 4  # for people: UTF-8, at most 200 octets


@dataclass(slots=True)
class Item:
    """One thing that is said; types that are not known are skipped."""

    type: int
    value: bytes = field(repr=False)  # there may be a voucher in it


# +-------------------------------+-------------------------------+
# |             type              |            length             |
# +-------------------------------+-------------------------------+
# ~                  value ("length" octets)                      ~
# +---------------------------------------------------------------+
ITEM = Struct("type" / Int16ub, "length" / Rebuild(Int16ub, len_(this.value)), "value" / Bytes(this.length))
bind(Item, ITEM)


@dataclass(slots=True)
class Private:
    """``version`` tells the form of all that follows."""

    version: int
    items: list[Item]


# +---------------------------------------------------------------+
# |           0x67          0x6b          0x6d          0x64      |
# +---------------+---------------+-------------------------------+
# |    version    |   reserved    |            items              ~
# +---------------+---------------+-------------------------------+
PRIVATE_BOX = Struct(
    "magic" / Default(Bytes(4), MAGIC),
    "version" / Int8ub,
    "reserved" / Default(Int8ub, 0),
    "items" / GreedyRange(ITEM),
    Terminated,
    "private-magic" / Check(this.magic == MAGIC),
)
PRIVATE = bind(Private, PRIVATE_BOX, limits={"items": MAX_ITEMS})
_PRIVATE = Codec(PRIVATE)


def parse_private_untrusted(data: bytes) -> list[Item] | None:
    """The items of a notification; None when it is not ours, or of a version that we do not know. WireError
    when it is malformed.
    """
    if not data.startswith(MAGIC) or data[_VERSION_AT : _VERSION_AT + 1] not in (b"", bytes((VERSION,))):
        return None
    return _PRIVATE.parse(data, 0, len(data)).items


def build_private(items: list[Item]) -> bytes:
    """The data of a notification. Raises WireError ``build`` when an item does not fit."""
    return _PRIVATE.build(Private(VERSION, items))
