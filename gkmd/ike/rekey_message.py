"""GSA_REKEY as a datagram: sealed and signed by the key server, opened and verified by members.

RFC 9838 2.4.1. One message, no reply, no window. It is encrypted with GSK_e and GSK_a of the Rekey SA that is
being replaced, and under GCAUTH Digital Signature signed over A | P (2.4.1.1): the IKE and SK headers with
their lengths as if nothing had been encrypted, and the inner payloads with a zeroed signature.

Sizes with AES-GCM-16-256, KW_5649_256 and Ed25519: a new Rekey SA, one new data SA and the Delete of the old
one take 505 octets (IPv6: 601), each further data SA 140 (188). An Ethernet frame holds seven data SAs (IPv6:
five). Beyond, IP fragments the datagram; ``exceeds_mtu`` tells. IKE fragmentation (RFC 7383) of rekeys needs
that every member has negotiated it (2.4.1.2) and is not done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gkmd.core.algorithms import Cipher, Integrity, KeyWrap, RekeyAuth
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import (
    ED25519_IDENTIFIER,
    HASH_IDENTITY,
    SigningKey,
    build_auth_data,
    parse_auth_data_untrusted,
    rekey_signed_octets,
    verify_signature,
)
from gkmd.crypto.keymat import split_rekey
from gkmd.crypto.sealing import Sealer
from gkmd.group.model import RekeyOrder
from gkmd.ike.grant import RekeyAuthentication
from gkmd.ike.render_gikev2 import render_rekey
from wire.errors import WireError
from wire.header import HEADER_OCTETS, Header, peek_untrusted
from wire.ikev2 import Auth
from wire.message import (
    Payload,
    build_chain,
    build_sealed_head,
    first,
    parse_inner,
    parse_untrusted,
)
from wire.registry import FLAG_INITIATOR, AuthMethod, ExchangeType, PayloadType

SPI_OCTETS: Final = 16
_SK_HEADER: Final = 4
_AUTH_HEADER: Final = 8  # generic header, method, RESERVED
_ED25519_SIGNATURE: Final = 64
# Payload of UDP in an Ethernet frame: RFC 894, less the IPv6 (or IPv4) and UDP headers.
_UDP_PAYLOAD: Final = {4: 1500 - 20 - 8, 6: 1500 - 40 - 8}


@dataclass(frozen=True, slots=True)
class RekeyProtection:
    """The keys and algorithms of one Rekey SA, ready for use. ``gsk_w`` unwraps what its messages bring."""

    spi: bytes
    cipher: Cipher
    sealer: Sealer
    gsk_w: SecretBytes

    @classmethod
    def of(
        cls, spi: bytes, key: SecretBytes, cipher: Cipher, integrity: Integrity | None, key_wrap: KeyWrap
    ) -> RekeyProtection:
        """Divide GSK_e | GSK_a | GSK_w; CryptoError when the length is wrong."""
        gsk_e, gsk_a, gsk_w = split_rekey(key, cipher, integrity, key_wrap)
        return cls(spi, cipher, Sealer(cipher, integrity, gsk_e, gsk_a), gsk_w)


@dataclass(frozen=True, slots=True)
class OpenedRekey:
    """An authentic GSA_REKEY. Whether its Message ID is new is the caller's to judge (RFC 9838 2.4.1.4)."""

    message_id: int
    payloads: list[Payload]


def seal_rekey(order: RekeyOrder, rng: Rng) -> bytes:
    """The datagram that carries out the order, without a non-ESP marker.

    It is made once: copies are the same octets (RFC 9838 2.4.1.3), because under an AEAD cipher the IV is the
    message id, which for this reason is used for one content only.
    """
    policy, under = order.policy, order.under
    if len(under.spi) != SPI_OCTETS:
        raise LocalError(f"a Rekey SA has an SPI of {SPI_OCTETS} octets, not {len(under.spi)}")
    protection = RekeyProtection.of(
        under.spi, under.key, policy.rekey_cipher, policy.rekey_integrity, policy.key_wrap
    )
    payloads = render_rekey(order)
    if policy.rekey_auth is RekeyAuth.SIGNATURE:
        if under.signing_key is None:
            raise LocalError(f"group {policy.name}: a Rekey SA without a signature key")
        inner_first, inner = _sign(
            under.spi, order.message_id, payloads, SigningKey.from_seed(under.signing_key)
        )
    else:
        inner_first, inner = build_chain(payloads, ExchangeType.GSA_REKEY)
    sealed_octets = protection.sealer.sealed_octets(len(inner))
    head = _head(under.spi, order.message_id, inner_first, sealed_octets)
    if protection.cipher.aead:
        iv = order.message_id.to_bytes(protection.cipher.iv_octets, "big")
    else:
        iv = rng(protection.cipher.iv_octets)
    return head + protection.sealer.seal(head, inner, iv)


def peek_rekey_untrusted(data: bytes) -> Header:
    """The header of something that may be a GSA_REKEY message; WireError when it cannot be one."""
    header = peek_untrusted(data)
    if header.exchange != ExchangeType.GSA_REKEY:
        raise WireError("exchange", f"exchange {header.exchange} is not GSA_REKEY")
    return header


def open_rekey_untrusted(
    data: bytes, protection: RekeyProtection, authentication: RekeyAuthentication
) -> OpenedRekey:
    """Decrypt, check the ICV, verify the signature: in this order (RFC 9838 2.4.1.4).

    Raises WireError for octets that are no GSA_REKEY message, CryptoError for those that are not authentic.
    """
    message = parse_untrusted(data)
    header = message.header
    if header.exchange != ExchangeType.GSA_REKEY or header.spi_i + header.spi_r != protection.spi:
        raise WireError("spi", "not a message of this Rekey SA")
    encrypted = first(message.payloads, PayloadType.SK)
    if encrypted is None:
        raise WireError("fragment", "fragments of rekeys are not taken")
    head = data[: len(data) - len(encrypted.data)]
    inner = protection.sealer.open(head, encrypted.data)
    payloads = parse_inner(ExchangeType.GSA_REKEY, False, encrypted.first, inner)
    _authenticate(head, inner, encrypted.first, payloads, authentication)
    return OpenedRekey(header.message_id, payloads)


def exceeds_mtu(datagram: bytes, version: int) -> bool:
    """Whether IP (4 or 6) has to fragment this datagram on an Ethernet link."""
    return len(datagram) > _UDP_PAYLOAD[version]


def _head(spi: bytes, message_id: int, inner_first: int, sealed_octets: int) -> bytes:
    # The flags of a message of a Rekey SA are "as in RFC 7296", where nobody is the initiator of one: the key
    # server, which alone sends, sets the I bit (ADR 8).
    return build_sealed_head(
        spi[:8], spi[8:], ExchangeType.GSA_REKEY, FLAG_INITIATOR, message_id, inner_first, sealed_octets
    )


def _sign(spi: bytes, message_id: int, payloads: list[Payload], key: SigningKey) -> tuple[int, bytes]:
    # The length of the signature has to be known before there is one (RFC 9838 2.4.1.1): Ed25519's is fixed.
    auth = Auth(AuthMethod.DIGITAL_SIGNATURE, build_auth_data(ED25519_IDENTIFIER, bytes(_ED25519_SIGNATURE)))
    complete = [*payloads, Payload(PayloadType.AUTH, auth)]
    inner_first, inner = build_chain(complete, ExchangeType.GSA_REKEY)
    signature_at = _auth_data_at(inner_first, inner) + 1 + len(ED25519_IDENTIFIER)
    octets = rekey_signed_octets(
        _head(spi, message_id, inner_first, len(inner)), inner, signature_at, _ED25519_SIGNATURE
    )
    _, signature = key.sign(octets, (HASH_IDENTITY,))
    return inner_first, inner[:signature_at] + signature + inner[signature_at + _ED25519_SIGNATURE :]


def _authenticate(
    head: bytes, inner: bytes, inner_first: int, payloads: list[Payload], expected: RekeyAuthentication
) -> None:
    auth = first(payloads, PayloadType.AUTH)
    if expected.method is RekeyAuth.IMPLICIT:
        # RFC 9838 2.4.1: AUTH must not be there; that the message opened is all the proof there is.
        if auth is not None:
            raise CryptoError("a signature under implicit authentication")
        return
    if auth is None:
        raise CryptoError("no signature")
    # RFC 9838 4.4.2.1.1: method 14, and the algorithm that was named at registration, whatever AUTH says.
    if auth.method != AuthMethod.DIGITAL_SIGNATURE:
        raise CryptoError("another authentication method")
    identifier, signature = parse_auth_data_untrusted(auth.data)
    if identifier != expected.algorithm:
        raise CryptoError("another signature algorithm")
    signature_at = _auth_data_at(inner_first, inner) + 1 + len(identifier)
    octets = rekey_signed_octets(head, inner, signature_at, len(signature))
    verify_signature(expected.public_key, expected.algorithm, signature, octets)


def _auth_data_at(inner_first: int, inner: bytes) -> int:
    """Where the Authentication Data begins in a well-formed chain that has one AUTH payload."""
    kind, at = inner_first, 0
    while kind != PayloadType.AUTH:
        kind, at = inner[at], at + int.from_bytes(inner[at + 2 : at + 4], "big")
    return at + _AUTH_HEADER


assert HEADER_OCTETS + _SK_HEADER == 32  # what rekey_signed_octets takes as A
