"""The pseudorandom function and its stretching: RFC 7296 2.13, RFC 4868."""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from gkmd.core.algorithms import Prf
from gkmd.core.errors import LocalError

_HASH: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def prf(alg: Prf, key: bytes, data: bytes) -> bytes:
    """HMAC of ``data``; ``alg.octets`` long. The key may have any length (RFC 7296 2.13)."""
    return hmac.digest(key, data, alg.hash_name)


def prf_plus(alg: Prf, key: bytes, seed: bytes, octets: int) -> bytes:
    """``octets`` of T1 | T2 | ... with Ti = prf(key, T(i-1) | seed | i): RFC 7296 2.13.

    This is HKDF-Expand (RFC 5869 2.3) octet for octet, with the seed as its info. LocalError beyond 255
    blocks, where prf+ is not defined.
    """
    if not 0 < octets <= 255 * alg.octets:
        raise LocalError(f"prf+ cannot make {octets} octets: 1 to {255 * alg.octets} with {alg.name}")
    if octets <= alg.octets:
        return prf(alg, key, seed + b"\x01")[:octets]  # one block: no machinery
    return HKDFExpand(_HASH[alg.hash_name], octets, seed).derive(key)
