"""The signature algorithms of RFC 7427 as a table keyed by their AlgorithmIdentifier.

RFC 7427 1 allows the DER to be compared as a blob against known values, and that is all the ASN.1 there is
here. Whatever is not in the table is refused, SHA-1 and RSASSA-PSS with its SHA-1 defaults first of all.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15

from gkmd.core.errors import CryptoError

# IKEv2 Hash Algorithms (RFC 7427 7, RFC 8420 4).
HASH_SHA2_256: Final = 2
HASH_SHA2_384: Final = 3
HASH_SHA2_512: Final = 4
HASH_IDENTITY: Final = 5

ED25519_IDENTIFIER: Final = bytes.fromhex("300506032b6570")  # RFC 8420 A.1


class KeyKind(enum.Enum):
    ED25519 = "Ed25519"
    P256 = "ECDSA P-256"
    P384 = "ECDSA P-384"
    RSA = "RSA"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to sign; ``hash``, ``padding`` and ``ecdsa`` are the library's, used where they apply."""

    name: str
    identifier: bytes  # as we send it
    kinds: frozenset[KeyKind]
    hash_number: int
    hash: hashes.HashAlgorithm
    padding: PKCS1v15 | PSS
    ecdsa: ec.ECDSA
    pss: bool = False


# Number, name, library's hash, digest octets, last octet of the OIDs: of ecdsa-with-SHA2
# (1.2.840.10045.4.3.x), of shaXWithRSAEncryption (1.2.840.113549.1.1.x) and of id-shaX
# (2.16.840.1.101.3.4.2.x). RFC 7427 A, RFC 4055 2.1.
_SHA2: Final = (
    (HASH_SHA2_256, "SHA2-256", hashes.SHA256(), 32, 0x02, 0x0B, 0x01),
    (HASH_SHA2_384, "SHA2-384", hashes.SHA384(), 48, 0x03, 0x0C, 0x02),
    (HASH_SHA2_512, "SHA2-512", hashes.SHA512(), 64, 0x04, 0x0D, 0x03),
)
_PKCS1: Final = bytes.fromhex("06092a864886f70d0101")  # lacks its last octet
_PSS_OID: Final = _PKCS1 + b"\x0a"
_NULL: Final = b"\x05\x00"


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    assert len(body) < 128  # every identifier in use fits the short form
    return bytes((tag, len(body))) + body


def _pss_identifiers(hash_octet: int, salt_octets: int) -> Iterator[bytes]:
    """Every encoding of RSASSA-PSS with one hash for both uses and a salt as long as the hash; ours first.

    DER omits trailerField when it is 1; RFC 7427 A.4.3 prints it nevertheless. RFC 4055 2.1 has the NULL
    parameters of the hashes sent and demands that both forms be accepted.
    """
    oid = bytes.fromhex("0609608648016503040200")[:-1] + bytes((hash_octet,))
    for trailer in (b"", _der(0xA3, _der(0x02, b"\x01"))):
        for null in (_NULL, b""):
            for mgf_null in (_NULL, b""):
                yield _der(
                    0x30,
                    _PSS_OID,
                    _der(
                        0x30,
                        _der(0xA0, _der(0x30, oid, null)),
                        _der(0xA1, _der(0x30, _PKCS1 + b"\x08", _der(0x30, oid, mgf_null))),
                        _der(0xA2, _der(0x02, bytes((salt_octets,)))),
                        trailer,
                    ),
                )


def _table() -> Iterator[tuple[bytes, Scheme]]:
    ecdsa_kinds = frozenset((KeyKind.P256, KeyKind.P384))
    rsa_kinds = frozenset((KeyKind.RSA,))
    any_hash = hashes.SHA512()
    yield (
        ED25519_IDENTIFIER,
        Scheme(
            "Ed25519",
            ED25519_IDENTIFIER,
            frozenset((KeyKind.ED25519,)),
            HASH_IDENTITY,
            any_hash,
            PKCS1v15(),
            ec.ECDSA(any_hash),
        ),
    )
    for number, name, sha, octets, ecdsa_octet, rsa_octet, hash_octet in _SHA2:
        identifier = _der(0x30, bytes.fromhex("06082a8648ce3d0403") + bytes((ecdsa_octet,)))
        yield (
            identifier,
            Scheme(f"ECDSA {name}", identifier, ecdsa_kinds, number, sha, PKCS1v15(), ec.ECDSA(sha)),
        )
        identifier = _der(0x30, _PKCS1 + bytes((rsa_octet,)), _NULL)
        yield (
            identifier,
            Scheme(f"RSA PKCS1 {name}", identifier, rsa_kinds, number, sha, PKCS1v15(), ec.ECDSA(sha)),
        )
        encodings = list(_pss_identifiers(hash_octet, octets))
        pss = Scheme(
            f"RSA PSS {name}",
            encodings[0],
            rsa_kinds,
            number,
            sha,
            PSS(MGF1(sha), octets),
            ec.ECDSA(sha),
            pss=True,
        )
        for encoding in encodings:
            yield encoding, pss


_BY_IDENTIFIER: Final[dict[bytes, Scheme]] = dict(_table())
_BY_USE: Final[dict[tuple[KeyKind, int, bool], Scheme]] = {
    (kind, scheme.hash_number, scheme.pss): scheme
    for scheme in _BY_IDENTIFIER.values()
    for kind in scheme.kinds
}
# The hash as strong as the key first.
_PREFERENCE: Final[dict[KeyKind, tuple[int, ...]]] = {
    KeyKind.ED25519: (HASH_IDENTITY,),  # RFC 8420 2: with no other
    KeyKind.P256: (HASH_SHA2_256, HASH_SHA2_384, HASH_SHA2_512),
    KeyKind.P384: (HASH_SHA2_384, HASH_SHA2_512, HASH_SHA2_256),
    KeyKind.RSA: (HASH_SHA2_256, HASH_SHA2_384, HASH_SHA2_512),
}


def parse(identifier: bytes) -> Scheme:
    """The scheme that an AlgorithmIdentifier from a peer names; CryptoError when we do not accept it."""
    scheme = _BY_IDENTIFIER.get(identifier)
    if scheme is None:
        raise CryptoError("the signature algorithm is not one that we accept")
    return scheme


def choose(kind: KeyKind, peer_hashes: Collection[int], rsa_pss: bool) -> Scheme:
    """The scheme to sign with for a peer that announced these hashes; CryptoError when there is none."""
    for number in _PREFERENCE[kind]:
        if number in peer_hashes:
            return _BY_USE[kind, number, rsa_pss and kind is KeyKind.RSA]
    raise CryptoError(f"the peer announced no hash that an {kind.value} signature can use")


def is_pss_only(spki_der: bytes) -> bool:
    """Whether a SubjectPublicKeyInfo names id-RSASSA-PSS rather than rsaEncryption as its algorithm."""
    # SEQUENCE (82 length) SEQUENCE (length) OID: the OID stands within the first octets of every RSA key.
    return _PSS_OID in spki_der[:20]
