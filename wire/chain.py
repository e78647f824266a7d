"""The chain of payloads (RFC 7296 3.2): each generic header names the type of the next."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from wire import gikev2, ikev2
from wire.compile import Codec
from wire.errors import WireError
from wire.gikev2 import Gsa, Kd
from wire.ikev2 import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Eap,
    Encrypted,
    EncryptedFragment,
    Id,
    Ke,
    Nonce,
    Notify,
    Sa,
    Ts,
    Unknown,
    Vendor,
)
from wire.registry import PayloadType
from wire.vocabulary import Binding

MAX_PAYLOADS = 64  # ours; the standard has no limit
GENERIC_OCTETS = 4
CRITICAL = 0x80

Body: TypeAlias = (
    Sa | Ke | Id | Cert | CertReq | Auth | Nonce | Notify | Delete | Vendor | Ts | Eap | Gsa | Kd
    | Encrypted | EncryptedFragment | Unknown
)  # fmt: skip


@dataclass(slots=True)
class Payload:
    """One payload: ``body`` is the record of its type, Unknown for types that we do not speak."""

    type: int
    body: Body
    critical: bool = False


BINDINGS: Final[dict[int, Binding[Any]]] = {
    PayloadType.SA: ikev2.SA,
    PayloadType.KE: ikev2.KE,
    PayloadType.ID_I: ikev2.ID,
    PayloadType.ID_R: ikev2.ID,
    PayloadType.CERT: ikev2.CERT,
    PayloadType.CERTREQ: ikev2.CERTREQ,
    PayloadType.AUTH: ikev2.AUTH,
    PayloadType.NONCE: ikev2.NONCE,
    PayloadType.NOTIFY: ikev2.NOTIFY,
    PayloadType.DELETE: ikev2.DELETE,
    PayloadType.VENDOR: ikev2.VENDOR,
    PayloadType.TS_I: ikev2.TS,
    PayloadType.TS_R: ikev2.TS,
    PayloadType.SK: ikev2.ENCRYPTED,
    # RFC 7296 3.2: what the standard defines is never unknown. We keep its octets and do not act on it.
    PayloadType.CP: ikev2.UNKNOWN,
    PayloadType.EAP: ikev2.EAP,
    PayloadType.ID_G: ikev2.ID,
    PayloadType.GSA: gikev2.GSA,
    PayloadType.KD: gikev2.KD,
    PayloadType.SKF: ikev2.ENCRYPTED_FRAGMENT,
}
_CODECS: Final[dict[int, Codec[Any]]] = {
    id(b): Codec(b) for b in {id(b): b for b in BINDINGS.values()}.values()
}
CODECS: Final[dict[int, Codec[Any]]] = {int(kind): _CODECS[id(b)] for kind, b in BINDINGS.items()}

_PARSE: Final[dict[int, Callable[[bytes, int, int], Any]]] = {kind: c.parse for kind, c in CODECS.items()}
_BUILD: Final[dict[int, tuple[type, Callable[[Any], bytes]]]] = {
    kind: (c.binding.record, c.build) for kind, c in CODECS.items()
}
MAX_REMEMBERED = 64
MAX_REMEMBERED_OCTETS = 1024


def _remembering(parse: Callable[[bytes, int, int], Any]) -> Callable[[bytes, int, int], Any]:
    """Parse the same octets once: all members of a configuration send the same proposals.

    The record is shared, so nobody changes it. What does not parse is not remembered.
    """
    known: dict[bytes, Any] = {}

    def parse_or_recall(data: bytes, start: int, end: int) -> Any:
        octets = data[start:end]
        record = known.get(octets)
        if record is None:
            record = parse(data, start, end)
            if len(octets) <= MAX_REMEMBERED_OCTETS:
                if len(known) >= MAX_REMEMBERED:
                    known.clear()
                known[octets] = record
        return record

    return parse_or_recall


_PARSE[PayloadType.SA] = _remembering(_PARSE[PayloadType.SA])
_SK: Final = int(PayloadType.SK)
_SKF: Final = int(PayloadType.SKF)

_SEALED: Final = (Encrypted, EncryptedFragment)

_generic = struct.Struct("!BBH")
_unpack_generic = _generic.unpack_from
_pack_generic = _generic.pack
_new = object.__new__


def parse_chain(data: bytes, offset: int, first: int) -> list[Payload]:
    """The payloads of ``data[offset:]``, the first of type ``first``; everything must be consumed.

    SK and SKF end a chain: their next-payload field belongs to what is inside. Raises WireError.
    """
    payloads: list[Payload] = []
    end = len(data)
    kind = first
    while kind:
        if len(payloads) == MAX_PAYLOADS:
            raise WireError("too-many-payloads", f"more than {MAX_PAYLOADS}")
        start = offset + 4
        if start > end:
            raise WireError("truncated", "generic payload header")
        following, flags, length = _unpack_generic(data, offset)
        if length < 4:
            # Such a payload would never end: the walk would not advance past its header.
            raise WireError("looping", f"payload {kind} of length {length}")
        offset += length
        if offset > end:
            raise WireError("truncated", f"payload {kind}")
        parse = _PARSE.get(kind)
        payload = _new(Payload)
        payload.type = kind
        payload.critical = flags >= CRITICAL
        payloads.append(payload)
        if parse is not None:
            body = parse(data, start, offset)
            payload.body = body
            if kind == _SK or kind == _SKF:  # noqa: SIM109  a tuple would cost on every payload
                body.first = following
                break
        elif flags >= CRITICAL:
            # RFC 7296 2.5: the whole message is rejected.
            raise WireError("unknown-critical", f"payload {kind}", payload_type=kind)
        else:
            payload.body = Unknown(data[start:offset])
        kind = following
    if offset != end:
        raise WireError("trailing", f"{end - offset} octets after the last payload")
    return payloads


def build_payloads(payloads: Iterable[Payload]) -> tuple[int, bytes]:
    """The first payload's type and the octets of a chain in the given order. Raises WireError ``build``."""
    pieces: list[bytes] = []
    kind = following = 0
    for payload in reversed(list(payloads)):
        kind = payload.type
        body = payload.body
        record, build = _BUILD.get(kind, _UNKNOWN)
        if body.__class__ is record:
            octets = build(body)
        elif body.__class__ is Unknown:
            octets = body.data  # of any type: built before, or never understood
        else:
            raise WireError("build", f"payload {kind} does not carry {type(body).__name__}")
        if isinstance(body, _SEALED):
            if pieces:
                raise WireError("build", "an encrypted payload is the last of its chain")
            following = body.first
        length = len(octets) + GENERIC_OCTETS
        if length > 65535:
            raise WireError("build", f"payload {kind} of {length} octets")
        pieces.append(octets)
        pieces.append(_pack_generic(following, CRITICAL if payload.critical else 0, length))
        following = kind
    pieces.reverse()
    try:
        return kind, b"".join(pieces)
    except TypeError as error:
        raise WireError("build", str(error)) from error


_UNKNOWN: Final[tuple[type, Callable[[Any], bytes]]] = (Unknown, Codec(ikev2.UNKNOWN).build)
