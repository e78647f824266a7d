"""Making keys and certificates, for ``gkmd init`` and for tests: a small CA, and members under it."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from gkmd.core import distinguished_name
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.exchange import ec_scalar

KEY_KINDS: Final = ("ed25519", "ecdsa-p256", "ecdsa-p384")

_CURVE: Final[dict[str, ec.EllipticCurve]] = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1()}
_BACKDATE: Final = datetime.timedelta(hours=1)  # for clocks that are behind ours


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key (PKCS #8), both PEM."""

    certificate_pem: bytes
    key_pem: SecretBytes


def make_key(kind: str, rng: Rng) -> SecretBytes:
    """A private key as PKCS #8 PEM; ``kind`` is one of KEY_KINDS. The same octets make the same key."""
    if kind == "ed25519":
        return _pem(Ed25519PrivateKey.from_private_bytes(rng(32)))
    if kind in _CURVE:
        return _pem(ec.derive_private_key(ec_scalar(_CURVE[kind], rng), _CURVE[kind]))
    raise LocalError(f"a key kind is one of {', '.join(KEY_KINDS)}, not {kind!r}")


def make_authority(name: str, now: float, days: int, rng: Rng, kind: str = "ed25519") -> Issued:
    """A self-signed CA certificate with the common name ``name``, for end entities only (path length 0)."""
    key_pem = make_key(kind, rng)
    key = _load(key_pem)
    subject = _name(name)
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(subject, subject, key, now, days, rng)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(own_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .sign(key, _hash(key))
    )
    return Issued(certificate.public_bytes(Encoding.PEM), key_pem)


def make_certificate(
    authority: Issued,
    name: str,
    names: Sequence[Identity],
    now: float,
    days: int,
    rng: Rng,
    kind: str = "ed25519",
) -> Issued:
    """A certificate for a server or a member, with its ``names`` (FQDN, email, IP address) as subjectAltName.
    A distinguished name among them is the subject; without one it is ``CN=name``.

    It never outlives its CA. There is no extended key usage, as RFC 4945 5.1.3.12 recommends.
    """
    ca = x509.load_pem_x509_certificate(authority.certificate_pem)
    ca_key = _load(authority.key_pem)
    distinguished = [each for each in names if each.kind == IdentityKind.DN]
    if len(distinguished) > 1:
        raise LocalError("a certificate has one subject, and so one distinguished name")
    subject = _subject(distinguished[0]) if distinguished else _name(name)
    key_pem = make_key(kind, rng)
    key = _load(key_pem)
    ca_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(subject, ca.subject, key, now, days, rng, ca.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
    )
    others = [_general_name(each) for each in names if each.kind != IdentityKind.DN]
    if others:
        alternative = x509.SubjectAlternativeName(others)
        builder = builder.add_extension(alternative, critical=False)
    certificate = builder.sign(ca_key, _hash(ca_key))
    return Issued(certificate.public_bytes(Encoding.PEM), key_pem)


_Key = Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def _pem(key: _Key) -> SecretBytes:
    return SecretBytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _load(pem: SecretBytes) -> _Key:
    key = load_pem_private_key(pem.reveal(), None)
    if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise LocalError("certificates are issued under Ed25519 or ECDSA keys only")
    return key


def _hash(key: _Key) -> hashes.SHA256 | hashes.SHA384 | None:
    if isinstance(key, Ed25519PrivateKey):
        return None
    return hashes.SHA384() if key.key_size > 256 else hashes.SHA256()


def _name(common_name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    except ValueError as error:
        raise LocalError(f"not a common name: {common_name!r}: {error}") from None


def _subject(identity: Identity) -> x509.Name:
    """The subject that is this DN, octet by octet."""
    try:
        parts = [
            x509.RelativeDistinguishedName(
                x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in part
            )
            for part in distinguished_name.strings_of(identity.data) or ()
        ]
        subject = x509.Name(parts)
        same = subject.public_bytes() == identity.data
    except ValueError as error:
        raise LocalError(f"{identity.shown()} cannot stand in a certificate: {error}") from None
    if not parts or not same:
        raise LocalError(
            f"{identity.shown()} cannot stand in a certificate as it is in DER: write the name as in "
            "dn:CN=rx1,O=Example"
        )
    return subject


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: _Key,
    now: float,
    days: int,
    rng: Rng,
    latest: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    start = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(microsecond=0)
    end = start + datetime.timedelta(days=days)
    # RFC 5280 4.1.2.2: the serial number is positive, unique, at most 20 octets.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(rng(16), "big") + 1)
        .not_valid_before(start - _BACKDATE)
        .not_valid_after(min(end, latest) if latest else end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(identity: Identity) -> x509.GeneralName:
    try:
        if identity.kind == IdentityKind.FQDN:
            return x509.DNSName(identity.data.decode("ascii"))
        if identity.kind == IdentityKind.RFC822:
            return x509.RFC822Name(identity.data.decode("ascii"))
        if identity.kind in (IdentityKind.IPV4, IdentityKind.IPV6):
            return x509.IPAddress(ipaddress.ip_address(identity.data))
    except ValueError as error:
        raise LocalError(f"{identity} cannot stand in a certificate: {error}") from None
    raise LocalError(f"{identity} cannot stand in a certificate: FQDN, email and IP addresses can")
