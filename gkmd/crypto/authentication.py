"""The AUTH payload: pre-shared keys (RFC 7296 2.15), digital signatures (RFC 7427, EdDSA by RFC 8420), and
the octets that they cover, those of GSA_REKEY (RFC 9838 2.4.1.1) among them.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from functools import lru_cache
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from gkmd.core.algorithms import Prf
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.secret import SecretBytes
from gkmd.crypto import signature_scheme
from gkmd.crypto.foreign import reading
from gkmd.crypto.prf import prf
from gkmd.crypto.signature_scheme import (
    ED25519_IDENTIFIER,
    HASH_IDENTITY,
    HASH_SHA2_256,
    HASH_SHA2_384,
    HASH_SHA2_512,
    KeyKind,
)

PublicKey: TypeAlias = Ed25519PublicKey | ec.EllipticCurvePublicKey | RSAPublicKey
PrivateKey: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | RSAPrivateKey

SIGNATURE_HASHES: Final = (HASH_IDENTITY, HASH_SHA2_256, HASH_SHA2_384, HASH_SHA2_512)
"""What we verify, for SIGNATURE_HASH_ALGORITHMS (RFC 7427 4). SHA-1 is not among them (RFC 8247 4.2)."""

_KEY_PAD: Final = b"Key Pad for IKEv2"  # RFC 7296 2.15: 17 octets, no NUL
_RSA_BITS: Final = range(2048, 8193)  # below is weak; above, a stranger's key would be expensive to use


# --- pre-shared keys --------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _pad(alg: str, secret: SecretBytes) -> bytes:
    return hmac.digest(secret.reveal(), _KEY_PAD, alg)


def psk_auth(alg: Prf, secret: SecretBytes, octets: bytes) -> bytes:
    """AUTH = prf(prf(shared secret, "Key Pad for IKEv2"), signed octets): RFC 7296 2.15."""
    return hmac.digest(_pad(alg.hash_name, secret), octets, alg.hash_name)


def verify_psk(alg: Prf, secret: SecretBytes, octets: bytes, auth: bytes) -> None:
    """CryptoError unless ``auth`` is the AUTH of ``octets`` under this secret; constant time."""
    if not hmac.compare_digest(psk_auth(alg, secret, octets), auth):
        raise CryptoError("the pre-shared key does not match")


# --- signed octets ----------------------------------------------------------------------------------------


def signed_octets(message: bytes, nonce: bytes, alg: Prf, sk_p: SecretBytes, id_body: bytes) -> bytes:
    """RealMessage | Nonce | prf(SK_p, RestOfIDPayload): RFC 7296 2.15.

    For the initiator: its IKE_SA_INIT request (without a non-ESP marker), the responder's nonce, SK_pi and
    the body of IDi; for the responder: its response, the initiator's nonce, SK_pr and the body of IDr.
    ``id_body`` is the ID payload without its generic header: type | three RESERVED octets as sent | data.
    """
    return message + nonce + prf(alg, sk_p.reveal(), id_body)


def rekey_signed_octets(head: bytes, inner: bytes, signature_at: int, signature_octets: int) -> bytes:
    """A | P of a GSA_REKEY message with its signature zeroed: RFC 9838 2.4.1.1.

    ``head`` is the IKE header and the SK generic header as they go over the wire (32 octets), ``inner`` the
    inner payloads in plaintext without padding, and the signature value stands in it at ``signature_at``.
    The two length fields of ``head`` are set as if neither IV, padding nor ICV existed.
    """
    if len(head) != 32:
        raise LocalError(f"IKE and SK headers have 32 octets, not {len(head)}")
    end = signature_at + signature_octets
    if not 0 <= signature_at <= end <= len(inner):
        raise LocalError("the signature is not inside the payloads")
    return b"".join(
        (
            head[:24],
            (32 + len(inner)).to_bytes(4, "big"),
            head[28:30],
            (4 + len(inner)).to_bytes(2, "big"),
            inner[:signature_at],
            bytes(signature_octets),
            inner[end:],
        )
    )


# --- digital signatures -----------------------------------------------------------------------------------


class SigningKey:
    """A private signature key: Ed25519, ECDSA over P-256 or P-384, or RSA of 2048 bits and more."""

    __slots__ = ("_key", "_rsa_pss", "kind", "spki_der")

    def __init__(self, key: PrivateKey, rsa_pss: bool = True) -> None:
        self._key: Final = key
        self._rsa_pss: Final = rsa_pss
        self.kind: Final[KeyKind] = _kind(key.public_key())
        self.spki_der: Final[bytes] = key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    def __eq__(self, other: object) -> bool:
        """The same key, used in the same way."""
        if not isinstance(other, SigningKey):
            return NotImplemented
        return (self.spki_der, self._rsa_pss) == (other.spki_der, other._rsa_pss)

    def __hash__(self) -> int:
        return hash((self.spki_der, self._rsa_pss))

    @classmethod
    def load_pem(cls, pem: bytes, rsa_pss: bool = True) -> SigningKey:
        """Read an unencrypted private key (PKCS #8 or the older forms).

        An RSA key signs by PSS (RFC 8247 4.2 asks for it), or by PKCS #1 v1.5 without ``rsa_pss``.
        """
        with reading("not an unencrypted private key in PEM"):
            key = load_pem_private_key(pem, None)
        if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey | RSAPrivateKey):
            raise CryptoError("the private key is neither Ed25519, ECDSA nor RSA")
        return cls(key, rsa_pss)

    @classmethod
    def from_seed(cls, seed: SecretBytes) -> SigningKey:
        """The Ed25519 key with this 32-octet private key (RFC 8032 5.1.5): how a Rekey SA keeps its own."""
        if len(seed) != 32:
            raise LocalError(f"an Ed25519 private key has 32 octets, not {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed.reveal()))

    def sign(self, octets: bytes, peer_hashes: Collection[int]) -> tuple[bytes, bytes]:
        """(AlgorithmIdentifier DER, signature) with the best hash that the peer announced.

        CryptoError when it announced none that this key can use: RFC 7427 4, RFC 8420 2.
        """
        scheme = signature_scheme.choose(self.kind, peer_hashes, self._rsa_pss)
        key = self._key
        if isinstance(key, Ed25519PrivateKey):
            return scheme.identifier, key.sign(octets)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return scheme.identifier, key.sign(octets, scheme.ecdsa)
        return scheme.identifier, key.sign(octets, scheme.padding, scheme.hash)

    def __repr__(self) -> str:
        return f"<signing key: {self.kind.value}>"


@lru_cache(maxsize=256)
def load_public(spki_der: bytes) -> PublicKey:
    """The key in a SubjectPublicKeyInfo; CryptoError for anything but the kinds that SigningKey takes."""
    with reading("not a public key that we can use"):
        key = load_der_public_key(spki_der)
    if not isinstance(key, Ed25519PublicKey | ec.EllipticCurvePublicKey | RSAPublicKey):
        raise CryptoError("the public key is neither Ed25519, ECDSA nor RSA")
    _kind(key)
    return key


def check_public_key(spki_der: bytes, algorithm_identifier: bytes) -> None:
    """CryptoError unless this key can have made signatures under this very algorithm."""
    _fitting(load_public(spki_der), spki_der, algorithm_identifier)


def verify_signature(spki_der: bytes, algorithm_identifier: bytes, signature: bytes, octets: bytes) -> None:
    """CryptoError unless ``signature`` over ``octets`` verifies with this key under this very algorithm."""
    key = load_public(spki_der)
    scheme = _fitting(key, spki_der, algorithm_identifier)
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, octets)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, octets, scheme.ecdsa)
        else:
            key.verify(signature, octets, scheme.padding, scheme.hash)
    except InvalidSignature:
        raise CryptoError("the signature does not verify") from None


def build_auth_data(algorithm_identifier: bytes, signature: bytes) -> bytes:
    """ASN.1 length | AlgorithmIdentifier | signature value: RFC 7427 3."""
    return bytes((len(algorithm_identifier),)) + algorithm_identifier + signature


def parse_auth_data_untrusted(data: bytes) -> tuple[bytes, bytes]:
    """(AlgorithmIdentifier, signature) of a Digital Signature AUTH; CryptoError when it is cut short."""
    end = 1 + data[0] if data else 0
    if end <= 1 or len(data) <= end:
        raise CryptoError("the authentication data is cut short")
    return data[1:end], data[end:]


def _fitting(key: PublicKey, spki_der: bytes, algorithm_identifier: bytes) -> signature_scheme.Scheme:
    scheme = signature_scheme.parse(algorithm_identifier)
    # The identifier must fit the key: a signature is never tried under another key's algorithm.
    if _kind(key) not in scheme.kinds:
        raise CryptoError(f"a {scheme.name} signature does not fit a {_kind(key).value} key")
    if signature_scheme.is_pss_only(spki_der) and not scheme.pss:
        # RFC 4055 1.2: a key that names id-RSASSA-PSS signs by PSS only.
        raise CryptoError(f"a {scheme.name} signature does not fit a key for RSASSA-PSS")
    return scheme


def _kind(key: PublicKey) -> KeyKind:
    if isinstance(key, Ed25519PublicKey):
        return KeyKind.ED25519
    if isinstance(key, RSAPublicKey):
        if key.key_size not in _RSA_BITS:
            raise CryptoError(
                f"an RSA key of {key.key_size} bits: {_RSA_BITS[0]} to {_RSA_BITS[-1]} are accepted"
            )
        return KeyKind.RSA
    for curve, kind in ((ec.SECP256R1, KeyKind.P256), (ec.SECP384R1, KeyKind.P384)):
        if isinstance(key.curve, curve):
            return kind
    raise CryptoError(f"an ECDSA key on {key.curve.name}: only P-256 and P-384 are accepted")


__all__ = [
    "ED25519_IDENTIFIER",
    "HASH_IDENTITY",
    "SIGNATURE_HASHES",
    "SigningKey",
    "build_auth_data",
    "check_public_key",
    "load_public",
    "parse_auth_data_untrusted",
    "psk_auth",
    "rekey_signed_octets",
    "signed_octets",
    "verify_psk",
    "verify_signature",
]
