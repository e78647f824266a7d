"""Keying material: an IKE SA's keys (RFC 7296 2.14), GSK_w (RFC 9838 3.1.1), Rekey SA keys (RFC 9838 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

from gkmd.core.algorithms import Cipher, Integrity, KeyWrap, Prf
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.prf import prf, prf_plus

_GROUP_WRAP_LABEL = b"Key Wrap for G-IKEv2"  # RFC 9838 3.1.1: 20 octets, no NUL


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr; ``ai`` and ``ar`` are empty with an AEAD cipher."""

    d: SecretBytes
    ai: SecretBytes
    ar: SecretBytes
    ei: SecretBytes
    er: SecretBytes
    pi: SecretBytes
    pr: SecretBytes

    def pack(self) -> SecretBytes:
        """All seven, in the order of RFC 7296 2.14, for the journal."""
        parts = (self.d, self.ai, self.ar, self.ei, self.er, self.pi, self.pr)
        return SecretBytes(b"".join([part.reveal() for part in parts]))

    @classmethod
    def unpack(cls, prf: Prf, cipher: Cipher, integrity: Integrity | None, packed: SecretBytes) -> IkeKeys:
        """The inverse of ``pack``; LocalError when the length does not fit the algorithms."""
        return _divide(prf, cipher, integrity, packed.reveal())


def derive_ike(
    prf_alg: Prf,
    cipher: Cipher,
    integrity: Integrity | None,
    shared: SecretBytes,
    nonce_i: bytes,
    nonce_r: bytes,
    spi_i: bytes,
    spi_r: bytes,
) -> IkeKeys:
    """The keys of a new IKE SA. ``shared`` is g^ir; nonces and SPIs are bare octets."""
    # RFC 7296 2.14: SKEYSEED = prf(Ni | Nr, g^ir); keys = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr).
    nonces = nonce_i + nonce_r
    seed = prf(prf_alg, nonces, shared.reveal())
    octets = _ike_octets(prf_alg, cipher, integrity)
    return _divide(prf_alg, cipher, integrity, prf_plus(prf_alg, seed, nonces + spi_i + spi_r, octets))


def _ike_octets(prf_alg: Prf, cipher: Cipher, integrity: Integrity | None) -> int:
    return 3 * prf_alg.octets + 2 * data_octets(cipher, integrity)


def _divide(prf_alg: Prf, cipher: Cipher, integrity: Integrity | None, octets: bytes) -> IkeKeys:
    p, a, e = prf_alg.octets, _integrity_octets(cipher, integrity), cipher.key_octets
    if len(octets) != 3 * p + 2 * (a + e):
        raise LocalError(f"IKE keys of {len(octets)} octets, expected {3 * p + 2 * (a + e)}")
    end = 0
    parts = []
    for length in (p, a, a, e, e, p, p):
        parts.append(SecretBytes(octets[end : end + length]))
        end += length
    return IkeKeys(*parts)


def _integrity_octets(cipher: Cipher, integrity: Integrity | None) -> int:
    if cipher.aead:
        if integrity is not None:
            raise LocalError(f"{cipher.name} takes no integrity algorithm")
        return 0
    if integrity is None:
        raise LocalError(f"{cipher.name} needs an integrity algorithm")
    return integrity.key_octets


def group_wrap_key(prf_alg: Prf, sk_d: SecretBytes, key_wrap: KeyWrap) -> SecretBytes:
    """GSK_w of a unicast IKE SA: prf+(SK_d, "Key Wrap for G-IKEv2"), as long as the key wrap's key."""
    return SecretBytes(prf_plus(prf_alg, sk_d.reveal(), _GROUP_WRAP_LABEL, key_wrap.key_octets))


def data_octets(cipher: Cipher, integrity: Integrity | None) -> int:
    """Length of a Data-Security SA's keying material: encryption key with salt, then integrity key."""
    return cipher.key_octets + _integrity_octets(cipher, integrity)


def rekey_octets(cipher: Cipher, integrity: Integrity | None, key_wrap: KeyWrap) -> int:
    """Length of a Rekey SA's keying material."""
    return data_octets(cipher, integrity) + key_wrap.key_octets


def split_rekey(
    key: SecretBytes, cipher: Cipher, integrity: Integrity | None, key_wrap: KeyWrap
) -> tuple[SecretBytes, SecretBytes | None, SecretBytes]:
    """GSK_e, GSK_a (None with an AEAD cipher), GSK_w: RFC 9838 3.4, encryption first, unlike RFC 7296 2.14.

    CryptoError unless the length is exactly right: it came out of a wrapped key (RFC 9838 4.5.2.1).
    """
    expected = rekey_octets(cipher, integrity, key_wrap)
    if len(key) != expected:
        raise CryptoError(f"Rekey SA keying material of {len(key)} octets, expected {expected}")
    octets = key.reveal()
    e, w = cipher.key_octets, expected - key_wrap.key_octets
    return SecretBytes(octets[:e]), SecretBytes(octets[e:w]) if integrity else None, SecretBytes(octets[w:])
