"""EAP messages (RFC 3748 4), as the EAP payload of IKEv2 holds them (RFC 7296 3.16)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from construct import Check, GreedyBytes, Int8ub, Struct, len_, this

from wire.compile import Codec
from wire.vocabulary import bind, sized


class EapCode(IntEnum):
    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class EapType(IntEnum):
    """The methods that gkmd knows; RFC 3748 5."""

    IDENTITY = 1
    NOTIFICATION = 2
    NAK = 3
    GTC = 6


@dataclass(slots=True)
class EapMessage:
    """``content`` is Type and Type-Data of a Request or Response, empty in Success and Failure."""

    code: int
    identifier: int
    content: bytes = field(default=b"", repr=False)  # there may be a password in it

    @property
    def type(self) -> int:
        """The type of a Request or Response, 0 of Success and Failure, which have none."""
        return self.content[0] if self.content else 0

    @property
    def data(self) -> bytes:
        """Type-Data."""
        return self.content[1:]


#  0                   1                   2                   3
# +---------------+---------------+-------------------------------+
# |     code      |  identifier   |            length             |
# +---------------+---------------+-------------------------------+
# |     type      |                   type-data                   ~
# +---------------+-----------------------------------------------+   RFC 7296 figure 25
EAP_MESSAGE_BOX = Struct(
    "code" / Int8ub,
    "identifier" / Int8ub,
    # RFC 7296 3.16: what the length covers ends with the payload.
    "body" / sized(2, Struct("content" / GreedyBytes)),
    "eap-code" / Check((this.code > 0) & (this.code < 5)),
    # A type is there in Request and Response alone.
    "eap-type"
    / Check(
        ((this.code < 3) & (len_(this.body.content) > 0)) | ((this.code > 2) & (len_(this.body.content) == 0))
    ),
)
EAP_MESSAGE = bind(EapMessage, EAP_MESSAGE_BOX)
_EAP_MESSAGE = Codec(EAP_MESSAGE)


def parse_eap_untrusted(data: bytes) -> EapMessage:
    """The data of an EAP payload. Raises WireError."""
    return _EAP_MESSAGE.parse(data, 0, len(data))


def build_eap(code: EapCode, identifier: int, kind: int | None = None, data: bytes = b"") -> bytes:
    """The data of an EAP payload; ``kind`` None for Success and Failure. Raises WireError ``build``."""
    content = b"" if kind is None else bytes((kind,)) + data
    return _EAP_MESSAGE.build(EapMessage(code, identifier, content))
