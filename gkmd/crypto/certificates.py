"""X.509: whether a peer's chain leads to a CA that we trust, and which identities its certificate proves.

The path is built and checked by OpenSSL (``pyOpenSSL``): ``cryptography.x509.verification`` refuses every
Ed25519 key, as the web's profile has it, and tells its reasons as prose only. On top come the rules of RFC
4945 5.1.3 for IKE, and limits on size and strength.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID
from OpenSSL import crypto as openssl

from gkmd.core.errors import CryptoError
from gkmd.core.identity import Identity, IdentityKind
from gkmd.crypto.authentication import load_public
from gkmd.crypto.foreign import reading

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

MAX_CERTIFICATES: Final = 8
MAX_CERTIFICATE_OCTETS: Final = 16_384

_STRONG_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_NAMES_WITHOUT_CASE: Final = (IdentityKind.FQDN, IdentityKind.RFC822)
_IKE_PURPOSES: Final = (ExtendedKeyUsageOID.IPSEC_IKE, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)

# Verification errors of OpenSSL (x509_vfy.h) that a person can act on.
_REASON: Final[dict[int, str]] = {
    2: "unknown issuer",
    7: "signature does not match its issuer's key",
    9: "not yet valid",
    10: "expired",
    18: "unknown issuer: self-signed",
    19: "unknown issuer: ends in a CA that is not configured",
    20: "unknown issuer",
    21: "unknown issuer",
    22: "chain too long",
    25: "path length of a CA exceeded",
    32: "issuer may not sign certificates",
    34: "unknown critical extension",
    47: "name constraint of a CA violated",
    48: "name constraint of a CA violated",
    79: "issuer is not a CA",
}


@dataclass(frozen=True, slots=True)
class VerifiedPeer:
    """What a verified chain proves: a public key (SubjectPublicKeyInfo DER) and the names belonging to it."""

    spki_der: bytes
    identities: frozenset[Identity]

    def require(self, identity: Identity) -> None:
        """CryptoError unless the certificate names ``identity``."""
        if identity in self.identities:
            return
        if identity.kind in _NAMES_WITHOUT_CASE:
            # RFC 4945 3.1.2: names are compared without case, in full; wildcards do not count.
            data = identity.data.lower()
            if any(own.kind == identity.kind and own.data.lower() == data for own in self.identities):
                return
        raise CryptoError(f"identity not in certificate: {identity}")


class TrustAnchors:
    """The CA certificates that a configuration trusts."""

    __slots__ = ("_certificates", "_trusted", "authorities")

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        self._certificates: Final = frozenset(certificates)
        # RFC 7296 3.7: a CERTREQ lists the SHA-1 hashes of the CAs' SubjectPublicKeyInfo. SHA-1 only names
        # them.
        self.authorities: Final = b"".join(
            hashlib.sha1(_spki(each), usedforsecurity=False).digest() for each in certificates
        )
        self._trusted: Final = [openssl.X509.from_cryptography(each) for each in certificates]

    def __eq__(self, other: object) -> bool:
        """The same certificates are trusted."""
        return (
            self._certificates == other._certificates if isinstance(other, TrustAnchors) else NotImplemented
        )

    def __hash__(self) -> int:
        return hash(self._certificates)

    @classmethod
    def load(cls, pem: bytes) -> TrustAnchors:
        """Read one or more CA certificates in PEM; CryptoError when one is none that we can use."""
        certificates = [_parse(der) for der in load_chain(pem)]
        for each in certificates:
            if not _is_ca(each):
                raise CryptoError(f"{_subject(each)} is not a CA certificate")
            load_public(_spki(each))
        return cls(certificates)

    def verify_chain(self, chain_der: Sequence[bytes], now: float) -> VerifiedPeer:
        """Verify the certificates that a peer sent, its own first, the others in any order, at Unix time
        ``now``.

        CryptoError with a reason: expired, not yet valid, unknown issuer, not for signing, and so on.
        """
        if not chain_der:
            raise CryptoError("the peer sent no certificate")
        if len(chain_der) > MAX_CERTIFICATES:
            raise CryptoError(f"chain too long: {len(chain_der)} certificates, at most {MAX_CERTIFICATES}")
        sent = [_parse(der) for der in chain_der]
        leaf = sent[0]
        spki_der = _check_leaf(leaf)
        for each in self._build(chain_der, now)[1:]:
            if each not in self._certificates:
                _check_strength(each)
                # OpenSSL 3 takes keyCertSign alone for a CA; RFC 5280 6.1.4 (k) does not.
                if not _is_ca(each):
                    raise CryptoError(f"{_subject(each)}: issuer is not a CA")
        return VerifiedPeer(spki_der, identities(leaf))

    def _build(self, chain_der: Sequence[bytes], now: float) -> list[x509.Certificate]:
        try:
            leaf, *others = (openssl.load_certificate(openssl.FILETYPE_ASN1, der) for der in chain_der)
            context = openssl.X509StoreContext(self._store(now), leaf, others)
            return [each.to_cryptography() for each in context.get_verified_chain()]
        except openssl.X509StoreContextError as error:
            code, _, text = error.errors
            where = _subject(error.certificate.to_cryptography())
            raise CryptoError(f"{where}: {_REASON.get(code, text)}") from None
        except (openssl.Error, ValueError):
            raise CryptoError("a certificate cannot be read") from None

    def _store(self, now: float) -> openssl.X509Store:
        # A new one for each verification: a store keeps the first time that it was given, whatever comes
        # later.
        store = openssl.X509Store()
        # A configured CA is trusted whether it is a root or not.
        store.set_flags(openssl.X509StoreFlags.PARTIAL_CHAIN)
        store.set_time(datetime.datetime.fromtimestamp(now, datetime.UTC))
        for each in self._trusted:
            store.add_cert(each)
        return store

    def __repr__(self) -> str:
        return f"<trust anchors: {len(self._certificates)}>"


def load_chain(pem: bytes) -> list[bytes]:
    """The certificates of a PEM file as DER, in order; CryptoError when there is none or one is broken."""
    with reading("no certificate in PEM"):
        return [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(pem)]


def certificate_key(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, to compare with ``SigningKey.spki_der``."""
    return _spki(_parse(der))


def certificate_identities(der: bytes) -> frozenset[Identity]:
    """The identities that a certificate would prove, if it verified."""
    return identities(_parse(der))


def identities(certificate: x509.Certificate) -> frozenset[Identity]:
    """The names of a certificate as IKE identities: subjectAltName, and the subject as DN (RFC 4945 3.1)."""
    found = set()
    if certificate.subject.rdns:
        with reading("the subject of a certificate cannot be read"):
            found.add(Identity(IdentityKind.DN, certificate.subject.public_bytes()))
    for name in _extension(certificate, x509.SubjectAlternativeName) or ():
        if isinstance(name, x509.DNSName):
            # RFC 4945 5.1.3.6: a name with a wildcard may be taken as invalid; it is no identity.
            if name.value and "*" not in name.value:
                found.add(Identity(IdentityKind.FQDN, name.value.encode("ascii")))
        elif isinstance(name, x509.RFC822Name):
            found.add(Identity(IdentityKind.RFC822, name.value.encode("ascii")))
        elif isinstance(name, x509.IPAddress):
            if isinstance(name.value, ipaddress.IPv4Address):
                found.add(Identity(IdentityKind.IPV4, name.value.packed))
            elif isinstance(name.value, ipaddress.IPv6Address):
                found.add(Identity(IdentityKind.IPV6, name.value.packed))
    return frozenset(found)


def _parse(der: bytes) -> x509.Certificate:
    if len(der) > MAX_CERTIFICATE_OCTETS:
        raise CryptoError(f"a certificate of {len(der)} octets: at most {MAX_CERTIFICATE_OCTETS}")
    with reading("a certificate cannot be read"):
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions, certificate.subject  # both are parsed late
        return certificate


def _check_leaf(leaf: x509.Certificate) -> bytes:
    """The rules for the certificate of an IKE peer itself; its SubjectPublicKeyInfo."""
    spki_der = _check_strength(leaf)
    if _is_ca(leaf):
        raise CryptoError(f"{_subject(leaf)}: not for signing: it is a CA certificate")
    usage = _extension(leaf, x509.KeyUsage)
    # RFC 4945 5.1.3.2: digitalSignature or nonRepudiation must be among the uses, if uses are given.
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise CryptoError(f"{_subject(leaf)}: not for signing: its key usage lacks digitalSignature")
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    # RFC 4945 5.1.3.12: no EKU is best; one that is there must name IKE or any purpose.
    if purposes is not None and not any(purpose in _IKE_PURPOSES for purpose in purposes):
        raise CryptoError(f"{_subject(leaf)}: not for signing: its extended key usage lacks ipsecIKE")
    return spki_der


def _check_strength(certificate: x509.Certificate) -> bytes:
    """Signed by an algorithm and with a key that we accept; its SubjectPublicKeyInfo."""
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        weak = f"{_subject(certificate)}: signed by a weak or unknown algorithm"
        with reading(weak):
            algorithm = certificate.signature_hash_algorithm
        if not isinstance(algorithm, _STRONG_HASHES):
            raise CryptoError(weak)
    spki_der = _spki(certificate)
    load_public(spki_der)
    return spki_der


def _is_ca(certificate: x509.Certificate) -> bool:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _spki(certificate: x509.Certificate) -> bytes:
    with reading(f"{_subject(certificate)}: not a public key that we can use"):
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _subject(certificate: x509.Certificate) -> str:
    # A stranger chose this name and it goes to our log: one line, not long.
    text = certificate.subject.rfc4514_string()[:120] or "certificate without a subject"
    return "".join(letter if letter.isprintable() else "?" for letter in text)
