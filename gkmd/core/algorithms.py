"""The algorithms that gkmd speaks, as data: names for people, transform numbers for the wire, sizes for keys.

Sizes are octets unless a name says bits. Transform numbers are those of the IKEv2 registry
(RFC 7296, 4106, 4868, 5903, 7634, 8031, 9838). Nothing here computes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Cipher:
    """An encryption transform (type 1). ``key_octets`` includes the salt that AEAD ciphers take."""

    name: str
    transform_id: int
    key_bits: int | None  # the Key Length attribute; None when the transform has a fixed key
    key_octets: int
    salt_octets: int
    iv_octets: int
    icv_octets: int  # 0 for ciphers that need a separate integrity transform
    block_octets: int

    @property
    def aead(self) -> bool:
        return self.icv_octets > 0


@dataclass(frozen=True, slots=True)
class Integrity:
    """An integrity transform (type 3)."""

    name: str
    transform_id: int
    hash_name: str
    key_octets: int
    icv_octets: int


@dataclass(frozen=True, slots=True)
class Prf:
    """A pseudorandom function (type 2); its preferred key and its output have the same length."""

    name: str
    transform_id: int
    hash_name: str
    octets: int


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """A key exchange method (type 4)."""

    name: str
    transform_id: int
    public_octets: int


@dataclass(frozen=True, slots=True)
class KeyWrap:
    """A key wrap algorithm (type 13, RFC 9838 4.4.2.1.3): AES key wrap with padding, RFC 5649."""

    name: str
    transform_id: int
    key_octets: int


class RekeyAuth(enum.Enum):
    """Group controller authentication method (type 14, RFC 9838 table 12)."""

    IMPLICIT = 1
    SIGNATURE = 2


class SequenceNumbers(enum.IntEnum):
    """Sequence number transform (type 5, RFC 9827)."""

    SEQUENTIAL_32 = 0
    EXTENDED_64 = 1
    UNSPECIFIED_32 = 2


AES_GCM_16_128: Final = Cipher("aes-gcm-16-128", 20, 128, 20, 4, 8, 16, 1)
AES_GCM_16_256: Final = Cipher("aes-gcm-16-256", 20, 256, 36, 4, 8, 16, 1)
CHACHA20_POLY1305: Final = Cipher("chacha20-poly1305", 28, None, 36, 4, 8, 16, 1)
AES_CBC_128: Final = Cipher("aes-cbc-128", 12, 128, 16, 0, 16, 0, 16)
AES_CBC_256: Final = Cipher("aes-cbc-256", 12, 256, 32, 0, 16, 0, 16)

HMAC_SHA2_256_128: Final = Integrity("hmac-sha2-256-128", 12, "sha256", 32, 16)
HMAC_SHA2_384_192: Final = Integrity("hmac-sha2-384-192", 13, "sha384", 48, 24)
HMAC_SHA2_512_256: Final = Integrity("hmac-sha2-512-256", 14, "sha512", 64, 32)

PRF_HMAC_SHA2_256: Final = Prf("prf-hmac-sha2-256", 5, "sha256", 32)
PRF_HMAC_SHA2_384: Final = Prf("prf-hmac-sha2-384", 6, "sha384", 48)
PRF_HMAC_SHA2_512: Final = Prf("prf-hmac-sha2-512", 7, "sha512", 64)

CURVE25519: Final = KeyExchange("curve25519", 31, 32)
ECP_256: Final = KeyExchange("ecp-256", 19, 64)
ECP_384: Final = KeyExchange("ecp-384", 20, 96)
MODP_2048: Final = KeyExchange("modp-2048", 14, 256)
MODP_3072: Final = KeyExchange("modp-3072", 15, 384)

KW_5649_128: Final = KeyWrap("kw-5649-128", 1, 16)
KW_5649_192: Final = KeyWrap("kw-5649-192", 2, 24)
KW_5649_256: Final = KeyWrap("kw-5649-256", 3, 32)

CIPHERS: Final = (AES_GCM_16_256, AES_GCM_16_128, CHACHA20_POLY1305, AES_CBC_256, AES_CBC_128)
INTEGRITIES: Final = (HMAC_SHA2_256_128, HMAC_SHA2_384_192, HMAC_SHA2_512_256)
PRFS: Final = (PRF_HMAC_SHA2_256, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512)
KEY_EXCHANGES: Final = (CURVE25519, ECP_256, ECP_384, MODP_2048, MODP_3072)
KEY_WRAPS: Final = (KW_5649_256, KW_5649_192, KW_5649_128)

CIPHER_BY_NAME: Final = {a.name: a for a in CIPHERS}
INTEGRITY_BY_NAME: Final = {a.name: a for a in INTEGRITIES}
PRF_BY_NAME: Final = {a.name: a for a in PRFS}
KEY_EXCHANGE_BY_NAME: Final = {a.name: a for a in KEY_EXCHANGES}
KEY_WRAP_BY_NAME: Final = {a.name: a for a in KEY_WRAPS}

CIPHER_BY_TRANSFORM: Final = {(a.transform_id, a.key_bits): a for a in CIPHERS}
INTEGRITY_BY_TRANSFORM: Final = {a.transform_id: a for a in INTEGRITIES}
KEY_EXCHANGE_BY_TRANSFORM: Final = {a.transform_id: a for a in KEY_EXCHANGES}
KEY_WRAP_BY_TRANSFORM: Final = {a.transform_id: a for a in KEY_WRAPS}
