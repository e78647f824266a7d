"""Whole messages: the header, the outer chain under the clear rules, the inner chain once it is opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, overload

from wire.chain import GENERIC_OCTETS, Body, Payload, build_payloads, parse_chain
from wire.errors import WireError
from wire.gikev2 import Gsa, Kd
from wire.header import HEADER_OCTETS, MAX_DATAGRAM_OCTETS, Header, build_header, peek_untrusted
from wire.ikev2 import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Encrypted,
    EncryptedFragment,
    Id,
    Ke,
    Nonce,
    Notify,
    Sa,
    Ts,
)
from wire.registry import FLAG_INITIATOR, FLAG_RESPONSE, VERSION_IKE_2, ExchangeType, PayloadType
from wire.rules import arrange, check_clear, check_encrypted

__all__ = [
    "Body",
    "Header",
    "Message",
    "Payload",
    "build_chain",
    "build_message",
    "build_sealed_head",
    "each",
    "first",
    "notify",
    "parse_inner",
    "parse_untrusted",
    "peek_untrusted",
]

# Ours: what fragments (RFC 7383) may add up to: a payload of the greatest length, and what goes with it.
MAX_INNER_OCTETS = 131_072

_NO_SPI = bytes(8)
_INIT = int(ExchangeType.IKE_SA_INIT)
_REKEY = int(ExchangeType.GSA_REKEY)


@dataclass(slots=True)
class Message:
    """A datagram as it came: what is in SK is still sealed."""

    header: Header
    payloads: list[Payload]


def parse_untrusted(data: bytes, header: Header | None = None) -> Message:
    """Parse a datagram (without non-ESP marker) and check its outer chain against the clear rules.

    ``header``: what ``peek_untrusted`` made of the same octets, to save doing it again. Raises WireError
    only.
    """
    if header is None:
        header = peek_untrusted(data)
    exchange, flags = header.exchange, header.flags
    response = flags & FLAG_RESPONSE != 0
    payloads = parse_chain(data, HEADER_OCTETS, header.next_payload)
    check_clear(exchange, response, payloads)
    if exchange == _INIT:
        _check_init(header, response)
    elif exchange == _REKEY:
        # RFC 9838 2.4.1: nobody answers a GSA_REKEY; and its SPIs are halves of one, which may be zero.
        if response:
            raise WireError("flags", "GSA_REKEY marked as a response")
    elif header.spi_i == _NO_SPI:
        raise WireError("spi", "initiator's SPI is zero")
    return Message(header, payloads)


def _check_init(header: Header, response: bool) -> None:
    """What RFC 7296 2.2 and 3.1 say of the header of IKE_SA_INIT alone."""
    if (header.flags & FLAG_INITIATOR != 0) is response:
        raise WireError("flags", "IKE_SA_INIT is asked by the initiator and answered by the responder")
    if header.spi_i == _NO_SPI:
        raise WireError("spi", "initiator's SPI is zero")
    if not response and header.spi_r != _NO_SPI:
        raise WireError("spi", "responder's SPI in an IKE_SA_INIT request")
    if header.message_id != 0:
        raise WireError("message-id", f"IKE_SA_INIT with message id {header.message_id}")


def parse_inner(exchange: int, response: bool, first: int, plaintext: bytes) -> list[Payload]:
    """Parse what was inside SK, without padding, and check it against the encrypted rules.

    It is authentic, and no better than the peer that sent it. Raises WireError only.
    """
    if len(plaintext) > MAX_INNER_OCTETS:
        raise WireError("too-long", f"{len(plaintext)} octets")
    payloads = parse_chain(plaintext, 0, first)
    check_encrypted(exchange, response, payloads)
    return payloads


def build_chain(
    payloads: Iterable[Payload], exchange: int | None = None, response: bool = False
) -> tuple[int, bytes]:
    """Type of the first payload (0 when there is none) and the octets of the chain, sorted by the rules.

    Without ``exchange`` the order is that of the first form of the rules that the payloads have. Raises
    WireError ``build`` when a record does not fit the wire.
    """
    return build_payloads(arrange(exchange, response, payloads))


def build_message(
    spi_i: bytes, spi_r: bytes, exchange: int, flags: int, message_id: int, payloads: Iterable[Payload]
) -> bytes:
    """A datagram with its outer chain, sorted by the rules. Raises WireError ``build``."""
    first_type, chain = build_payloads(arrange(exchange, flags & FLAG_RESPONSE != 0, payloads))
    return _head(spi_i, spi_r, first_type, exchange, flags, message_id, HEADER_OCTETS + len(chain)) + chain


def build_sealed_head(
    spi_i: bytes, spi_r: bytes, exchange: int, flags: int, message_id: int, first: int, sealed_octets: int
) -> bytes:
    """IKE header and SK header (32 octets): what ``sealed_octets`` of IV, ciphertext and ICV are bound to.

    The datagram is this followed by the sealed octets.
    """
    covered = GENERIC_OCTETS + sealed_octets
    head = _head(spi_i, spi_r, PayloadType.SK, exchange, flags, message_id, HEADER_OCTETS + covered)
    return head + bytes((first, 0)) + covered.to_bytes(2, "big")


def _head(
    spi_i: bytes, spi_r: bytes, first: int, exchange: int, flags: int, message_id: int, length: int
) -> bytes:
    if length > MAX_DATAGRAM_OCTETS:
        raise WireError("build", f"a message of {length} octets does not fit a datagram")
    return build_header(Header(spi_i, spi_r, first, VERSION_IKE_2, exchange, flags, message_id, length))


_S = Literal[PayloadType.SA]
_K = Literal[PayloadType.KE]
_I = Literal[PayloadType.ID_I, PayloadType.ID_R, PayloadType.ID_G]
_C = Literal[PayloadType.CERT]
_Q = Literal[PayloadType.CERTREQ]
_A = Literal[PayloadType.AUTH]
_O = Literal[PayloadType.NONCE]
_N = Literal[PayloadType.NOTIFY]
_D = Literal[PayloadType.DELETE]
_T = Literal[PayloadType.TS_I, PayloadType.TS_R]
_G = Literal[PayloadType.GSA]
_Y = Literal[PayloadType.KD]
_E = Literal[PayloadType.SK]
_F = Literal[PayloadType.SKF]


@overload
def first(payloads: Iterable[Payload], type: _S) -> Sa | None: ...
@overload
def first(payloads: Iterable[Payload], type: _K) -> Ke | None: ...
@overload
def first(payloads: Iterable[Payload], type: _I) -> Id | None: ...
@overload
def first(payloads: Iterable[Payload], type: _C) -> Cert | None: ...
@overload
def first(payloads: Iterable[Payload], type: _Q) -> CertReq | None: ...
@overload
def first(payloads: Iterable[Payload], type: _A) -> Auth | None: ...
@overload
def first(payloads: Iterable[Payload], type: _O) -> Nonce | None: ...
@overload
def first(payloads: Iterable[Payload], type: _N) -> Notify | None: ...
@overload
def first(payloads: Iterable[Payload], type: _D) -> Delete | None: ...
@overload
def first(payloads: Iterable[Payload], type: _T) -> Ts | None: ...
@overload
def first(payloads: Iterable[Payload], type: _G) -> Gsa | None: ...
@overload
def first(payloads: Iterable[Payload], type: _Y) -> Kd | None: ...
@overload
def first(payloads: Iterable[Payload], type: _E) -> Encrypted | None: ...
@overload
def first(payloads: Iterable[Payload], type: _F) -> EncryptedFragment | None: ...
@overload
def first(payloads: Iterable[Payload], type: int) -> Body | None: ...
def first(payloads: Iterable[Payload], type: int) -> Any:
    """The body of the first payload of a type, None when there is none."""
    for payload in payloads:
        if payload.type == type:
            return payload.body
    return None


@overload
def each(payloads: Iterable[Payload], type: _C) -> list[Cert]: ...
@overload
def each(payloads: Iterable[Payload], type: _Q) -> list[CertReq]: ...
@overload
def each(payloads: Iterable[Payload], type: _N) -> list[Notify]: ...
@overload
def each(payloads: Iterable[Payload], type: _D) -> list[Delete]: ...
@overload
def each(payloads: Iterable[Payload], type: int) -> list[Body]: ...
def each(payloads: Iterable[Payload], type: int) -> Any:
    """The bodies of all payloads of a type, in order."""
    return [payload.body for payload in payloads if payload.type == type]


def notify(payloads: Iterable[Payload], notify_type: int) -> Notify | None:
    """The first Notify with a message type, None when there is none."""
    for payload in payloads:
        body = payload.body
        if isinstance(body, Notify) and body.type == notify_type:
            return body
    return None
