"""Ephemeral key exchange: Curve25519 (RFC 8031), ECP-256/384 (RFC 5903), MODP-2048/3072 (RFC 3526).

Public values and shared secrets are in the form that stands on the wire and enters the key schedule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gkmd.core.algorithms import CURVE25519, ECP_256, ECP_384, MODP_2048, MODP_3072, KeyExchange
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto import modp

_CURVE: Final[dict[KeyExchange, ec.EllipticCurve]] = {ECP_256: ec.SECP256R1(), ECP_384: ec.SECP384R1()}
_ECDH: Final = ec.ECDH()


class KeyPair(ABC):
    """Our half of one key exchange. ``public`` goes into the KE payload; the private half stays inside."""

    __slots__ = ("_private", "alg", "public")

    def __init__(self, alg: KeyExchange, private: Any, public: bytes) -> None:
        self.alg: Final = alg
        self.public: Final = public
        self._private: Final = private

    @abstractmethod
    def agree(self, peer_public: bytes) -> SecretBytes:
        """The shared secret g^ir. CryptoError when the peer's value has the wrong length or is invalid."""

    def __repr__(self) -> str:
        return f"<key pair: {self.alg.name}>"


class _Curve25519Pair(KeyPair):
    __slots__ = ()

    def agree(self, peer_public: bytes) -> SecretBytes:
        # RFC 8031 3.2: the top bit is masked and non-canonical values are accepted, as RFC 7748 5 does.
        if len(peer_public) != 32:
            raise CryptoError(f"curve25519: public value of {len(peer_public)} octets, expected 32")
        try:
            # RFC 7748 6.1: an all-zero result (a point of small order) is refused; the library does it.
            return SecretBytes(self._private.exchange(X25519PublicKey.from_public_bytes(peer_public)))
        except ValueError:
            raise CryptoError("curve25519: no shared secret") from None


class _EcpPair(KeyPair):
    __slots__ = ()

    def agree(self, peer_public: bytes) -> SecretBytes:
        alg = self.alg
        if len(peer_public) != alg.public_octets:
            raise CryptoError(
                f"{alg.name}: public value of {len(peer_public)} octets, expected {alg.public_octets}"
            )
        try:
            # RFC 5903 7: x | y on the wire, so the SEC 1 form lacks only its 0x04. Decoding checks the curve
            # equation (RFC 6989 2.3), and the secret is the x coordinate alone.
            peer = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE[alg], b"\x04" + peer_public)
            return SecretBytes(self._private.exchange(_ECDH, peer))
        except ValueError:
            raise CryptoError(f"{alg.name}: the public value is not a point of the curve") from None


class _ModpPair(KeyPair):
    __slots__ = ()

    def agree(self, peer_public: bytes) -> SecretBytes:
        return modp.agree(self.alg, self._private, peer_public)


def generate(alg: KeyExchange, rng: Rng) -> KeyPair:
    """A fresh key pair whose private half is made of ``rng`` octets alone: the same octets, the same pair."""
    if alg is CURVE25519 or alg == CURVE25519:
        private = X25519PrivateKey.from_private_bytes(rng(32))
        return _Curve25519Pair(alg, private, private.public_key().public_bytes_raw())
    if alg in _CURVE:
        ecp = ec.derive_private_key(ec_scalar(_CURVE[alg], rng), _CURVE[alg])
        point = ecp.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return _EcpPair(alg, ecp, point[1:])
    if alg in (MODP_2048, MODP_3072):
        return _ModpPair(alg, *modp.generate(alg, rng))
    raise LocalError(f"no key exchange called {alg.name}")


def ec_scalar(curve: ec.EllipticCurve, rng: Rng) -> int:
    """A uniform private scalar in [1, n-1], by testing candidates (FIPS 186-5 A.2.2)."""
    order = curve.group_order
    for _ in range(64):  # each candidate fails with probability under 2^-32 on the curves in use
        candidate = int.from_bytes(rng((order.bit_length() + 7) // 8), "big")
        if 0 < candidate < order:
            return candidate
    raise LocalError("the random number source is stuck")
