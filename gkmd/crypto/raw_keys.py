"""Raw public keys: the SubjectPublicKeyInfo is the credential, pinned in the configuration (RFC 7670)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from gkmd.core.errors import CryptoError
from gkmd.crypto.authentication import load_public
from gkmd.crypto.foreign import reading


def load_public_pem(pem: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) in a PEM file; CryptoError when it holds no key that we accept."""
    with reading("not a public key in PEM"):
        spki_der = load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    load_public(spki_der)
    return spki_der


def public_pem(spki_der: bytes) -> bytes:
    """The PEM file of a public key."""
    return load_public(spki_der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(spki_der: bytes) -> str:
    """``sha256:`` and the digest of the SubjectPublicKeyInfo in hex, for people to compare."""
    return f"sha256:{hashlib.sha256(spki_der).hexdigest()}"


def check_pinned(spki_der: bytes, pins: Iterable[bytes]) -> None:
    """CryptoError unless the key that a peer sent is, octet for octet, one of those pinned for it.

    The CERT payload (encoding 15) is the peer's, so the key is also checked to be one that we accept.
    """
    if not any(hmac.compare_digest(spki_der, pin) for pin in pins):
        raise CryptoError(f"raw public key is not pinned: {fingerprint(spki_der)}")
    load_public(spki_der)
