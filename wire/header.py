"""The header that IKEv2 shares with ISAKMP (RFC 7296 3.1), read before anything else is believed."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Bytes, Int8ub, Int32ub, Struct

from wire.compile import Codec
from wire.errors import WireError
from wire.registry import VERSION_ISAKMP_1
from wire.vocabulary import bind

HEADER_OCTETS = 28
MAX_DATAGRAM_OCTETS = 65_535


@dataclass(slots=True)
class Header:
    """``length`` counts the whole message.

    In GSA_REKEY the two SPIs are the 16 octets of the Rekey SA's SPI.
    """

    spi_i: bytes
    spi_r: bytes
    next_payload: int
    version: int
    exchange: int
    flags: int
    message_id: int
    length: int


#  0                   1                   2                   3
# +---------------------------------------------------------------+
# |                 initiator's SPI (8 octets)                    |
# +---------------------------------------------------------------+
# |                 responder's SPI (8 octets)                    |
# +---------------+---------------+---------------+---------------+
# | next payload  |    version    |   exchange    |     flags     |
# +---------------+---------------+---------------+---------------+
# |                          message id                           |
# +---------------------------------------------------------------+
# |                            length                             |
# +---------------------------------------------------------------+   RFC 7296 figure 4
HEADER_BOX = Struct(
    "spi_i" / Bytes(8),
    "spi_r" / Bytes(8),
    "next_payload" / Int8ub,
    "version" / Int8ub,
    "exchange" / Int8ub,
    "flags" / Int8ub,
    "message_id" / Int32ub,
    "length" / Int32ub,
)
HEADER = bind(Header, HEADER_BOX)
_HEADER = Codec(HEADER)


def peek_untrusted(data: bytes) -> Header:
    """Read the header of a whole datagram (without the non-ESP marker of port 4500).

    Raises WireError: truncated, too-long, isakmp-1, version, length, trailing. The minor version, the version
    flag and unassigned flags are ignored (RFC 7296 3.1).
    """
    octets = len(data)
    if octets < HEADER_OCTETS:
        raise WireError("truncated", f"{octets} octets")
    if octets > MAX_DATAGRAM_OCTETS:
        raise WireError("too-long", f"{octets} octets")
    version = data[17]
    if version >> 4 != 2:
        if version == VERSION_ISAKMP_1:
            raise WireError("isakmp-1", f"exchange {data[18]}")
        raise WireError("version", f"{version >> 4}.{version & 15}")
    header = _HEADER.parse(data, 0, HEADER_OCTETS)
    if header.length != octets:
        if header.length < HEADER_OCTETS:
            raise WireError("length", f"header says {header.length}")
        raise WireError(
            "truncated" if header.length > octets else "trailing", f"{octets} of {header.length} octets"
        )
    return header


def build_header(header: Header) -> bytes:
    """The 28 octets of a header."""
    return _HEADER.build(header)
