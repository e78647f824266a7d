"""The MODP groups 14 and 15 of RFC 3526: finite-field Diffie-Hellman, alone in its module because it is
leaving.

``cryptography`` 50 deprecates its ``asymmetric.dh`` and announces that it moves to ``hazmat.decrepit``, so
the names are fetched once, here, from whichever place has them, and the warning ends here.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any, Final

from gkmd.core.algorithms import MODP_2048, MODP_3072, KeyExchange
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes

_PLACES = (
    "cryptography.hazmat.decrepit.asymmetric.dh",
    "cryptography.hazmat.primitives.asymmetric.dh",
)


def _find_names() -> Any:
    for place in _PLACES:
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError:
            continue
    raise LocalError("this version of cryptography has no finite-field Diffie-Hellman")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _dh = _find_names()
    _ParameterNumbers = _dh.DHParameterNumbers
    _PrivateNumbers = _dh.DHPrivateNumbers
    _PublicNumbers = _dh.DHPublicNumbers

_GENERATOR: Final = 2

# RFC 3526 3: 2^2048 - 2^1984 - 1 + 2^64 * { [2^1918 pi] + 124476 }
_PRIME_2048: Final = """
FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1
29024E08 8A67CC74 020BBEA6 3B139B22 514A0879 8E3404DD
EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245
E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D
C2007CB8 A163BF05 98DA4836 1C55D39A 69163FA8 FD24CF5F
83655D23 DCA3AD96 1C62F356 208552BB 9ED52907 7096966D
670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9
DE2BCBF6 95581718 3995497C EA956AE5 15D22618 98FA0510
15728E5A 8AACAA68 FFFFFFFF FFFFFFFF
"""

# RFC 3526 4: 2^3072 - 2^3008 - 1 + 2^64 * { [2^2942 pi] + 1690314 }
_PRIME_3072: Final = """
FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1
29024E08 8A67CC74 020BBEA6 3B139B22 514A0879 8E3404DD
EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245
E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D
C2007CB8 A163BF05 98DA4836 1C55D39A 69163FA8 FD24CF5F
83655D23 DCA3AD96 1C62F356 208552BB 9ED52907 7096966D
670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9
DE2BCBF6 95581718 3995497C EA956AE5 15D22618 98FA0510
15728E5A 8AAAC42D AD33170D 04507A33 A85521AB DF1CBA64
ECFB8504 58DBEF0A 8AEA7157 5D060C7D B3970F85 A6E1E4C7
ABF5AE8C DB0933D7 1E8C94E0 4A25619D CEE3D226 1AD2EE6B
F12FFA06 D98A0864 D8760273 3EC86A64 521F2B18 177B200C
BBE11757 7A615D6C 770988C0 BAD946E2 08E24FA0 74E5AB31
43DB5BFC E0FD108E 4B82D120 A93AD2CA FFFFFFFF FFFFFFFF
"""


@dataclass(frozen=True, slots=True)
class _Group:
    octets: int
    exponent_octets: int
    prime: int
    numbers: Any
    base: Any  # the generator as a public key


def _group(alg: KeyExchange, prime_text: str, exponent_octets: int) -> _Group:
    prime = int("".join(prime_text.split()), 16)
    numbers = _ParameterNumbers(prime, _GENERATOR)
    return _Group(
        alg.public_octets,
        exponent_octets,
        prime,
        numbers,
        _PublicNumbers(_GENERATOR, numbers).public_key(),
    )


# Exponents at least twice as long as the strength of the group (RFC 3526 8: 220 and 260 bits at the least).
_GROUPS: Final = {
    MODP_2048: _group(MODP_2048, _PRIME_2048, 32),
    MODP_3072: _group(MODP_3072, _PRIME_3072, 40),
}


def generate(alg: KeyExchange, rng: Rng) -> tuple[Any, bytes]:
    """A private key (opaque, for ``agree``) and its public value, as long as the modulus (RFC 7296 3.4)."""
    group = _GROUPS[alg]
    exponent = int.from_bytes(rng(group.exponent_octets), "big")
    if exponent < 2:
        raise LocalError("the random number source is stuck")
    # The library wants the public value together with the exponent and does not compute it; its exchange
    # with the generator is that value, in constant time. The generator stands in for the public value,
    # which agree() never reads.
    private = _PrivateNumbers(exponent, _PublicNumbers(_GENERATOR, group.numbers)).private_key()
    return private, private.exchange(group.base)


def agree(alg: KeyExchange, private: Any, peer_public: bytes) -> SecretBytes:
    """The shared secret, padded to the length of the modulus (RFC 7296 2.14)."""
    group = _GROUPS[alg]
    if len(peer_public) != group.octets:
        raise CryptoError(f"{alg.name}: public value of {len(peer_public)} octets, expected {group.octets}")
    value = int.from_bytes(peer_public, "big")
    # RFC 6989 2.1: with a safe prime the value must be strictly between 1 and p-1.
    if not 1 < value < group.prime - 1:
        raise CryptoError(f"{alg.name}: public value out of range")
    try:
        return SecretBytes(private.exchange(_PublicNumbers(value, group.numbers).public_key()))
    except ValueError:
        raise CryptoError(f"{alg.name}: no shared secret") from None
