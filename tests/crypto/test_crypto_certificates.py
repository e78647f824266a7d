"""certificates, raw_keys and issuing."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import SIGNATURE_HASHES, SigningKey, verify_signature
from gkmd.crypto.certificates import (
    MAX_CERTIFICATE_OCTETS,
    MAX_CERTIFICATES,
    TrustAnchors,
    certificate_identities,
    certificate_key,
    load_chain,
)
from gkmd.crypto.issuing import KEY_KINDS, make_authority, make_certificate, make_key
from gkmd.crypto.raw_keys import check_pinned, fingerprint, load_public_pem, public_pem

NOW = 1_800_000_000.0
DAY = 86_400.0
_START = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
_Key = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_USAGE = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass
class Made:
    certificate: x509.Certificate
    key: _Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in _USAGE})


def make(
    name: str,
    issuer: Made | None = None,
    *,
    key: _Key | None = None,
    ca: bool | None = False,
    path: int | None = None,
    days: tuple[float, float] = (-1, 30),
    key_usage: x509.KeyUsage | None = None,
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    sha: hashes.HashAlgorithm | None = None,
) -> Made:
    """Any certificate, right or wrong; ``ca`` None leaves BasicConstraints out."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_START + datetime.timedelta(days=days[0]))
        .not_valid_after(_START + datetime.timedelta(days=days[1]))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path), critical=True)
    if key_usage is None and ca:
        key_usage = usage("key_cert_sign", "crl_sign")
    if key_usage is not None:
        builder = builder.add_extension(key_usage, critical=True)
    for value, critical in extra:
        builder = builder.add_extension(value, critical)
    ed25519 = isinstance(signer, Ed25519PrivateKey)
    return Made(builder.sign(signer, None if ed25519 else sha or hashes.SHA256()), key)


def names(*values: x509.GeneralName) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((x509.SubjectAlternativeName(values), False),)


def refused(anchors: Made | list[Made], chain: list[Made], reason: str, now: float = NOW) -> None:
    anchors = anchors if isinstance(anchors, list) else [anchors]
    trusted = TrustAnchors.load(b"".join(each.pem for each in anchors))
    with pytest.raises(CryptoError, match=reason):
        trusted.verify_chain([each.der for each in chain], now)


def accepted(anchors: Made | list[Made], chain: list[Made], now: float = NOW) -> frozenset[Identity]:
    anchors = anchors if isinstance(anchors, list) else [anchors]
    trusted = TrustAnchors.load(b"".join(each.pem for each in anchors))
    peer = trusted.verify_chain([each.der for each in chain], now)
    spki = chain[0].key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert peer.spki_der == spki == certificate_key(chain[0].der)
    assert peer.identities == certificate_identities(chain[0].der)
    return peer.identities


# --- what gkmd issues -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ca_kind", KEY_KINDS)
@pytest.mark.parametrize("kind", KEY_KINDS)
def test_issued_certificates_verify(kind: str, ca_kind: str) -> None:
    rng = SeededRng(f"{kind} {ca_kind}")
    ca = make_authority("News CA", NOW, 3650, rng, ca_kind)
    texts = ("fqdn:rx1.example", "email:ops@news.example", "ipv4:10.0.0.1", "ipv6:fd00::1")
    wanted = [Identity.parse(text) for text in texts]
    issued = make_certificate(ca, "rx1", wanted, NOW, 365, rng, kind)
    anchors = TrustAnchors.load(ca.certificate_pem)
    (der,) = chain = load_chain(issued.certificate_pem)
    peer = anchors.verify_chain(chain, NOW)
    dn = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rx1")]).public_bytes()
    assert peer.identities == {*wanted, Identity(IdentityKind.DN, dn)}
    for identity in peer.identities:
        peer.require(identity)
    key = SigningKey.load_pem(issued.key_pem.reveal())
    assert key.spki_der == peer.spki_der == certificate_key(der)
    verify_signature(peer.spki_der, *key.sign(b"octets", SIGNATURE_HASHES), b"octets")
    ca_key = SigningKey.load_pem(ca.key_pem.reveal())
    assert anchors.authorities == hashlib.sha1(ca_key.spki_der).digest()
    for when, reason in ((-2 * DAY, "not yet valid"), (366 * DAY, "rx1: expired"), (3651 * DAY, "expired")):
        with pytest.raises(CryptoError, match=reason):
            anchors.verify_chain(chain, NOW + when)
    anchors.verify_chain(chain, NOW)  # the times in between left nothing behind


def test_a_certificate_does_not_outlive_its_ca() -> None:
    rng = SeededRng(1)
    ca = make_authority("CA", NOW, 30, rng)
    certificate = x509.load_pem_x509_certificate(make_certificate(ca, "m", [], NOW, 365, rng).certificate_pem)
    assert certificate.not_valid_after_utc == _START + datetime.timedelta(days=30)
    assert certificate.not_valid_before_utc < _START
    assert 0 < certificate.serial_number < 1 << 159


def test_the_same_seed_makes_the_same_keys() -> None:
    for kind in KEY_KINDS:
        assert make_key(kind, SeededRng(7)) == make_key(kind, SeededRng(7))
        assert make_key(kind, SeededRng(7)) != make_key(kind, SeededRng(8))
        assert make_key(kind, SeededRng(7)).reveal().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    first, second = (make_authority("CA", NOW, 30, SeededRng(7)).certificate_pem for _ in range(2))
    assert first == second  # Ed25519 signs without randomness


def test_wrong_orders_are_our_own_mistake() -> None:
    rng = SeededRng(1)
    with pytest.raises(LocalError, match="ed25519, ecdsa-p256, ecdsa-p384"):
        make_key("rsa", rng)
    with pytest.raises(LocalError, match="common name"):
        make_authority("x" * 65, NOW, 30, rng)
    ca = make_authority("CA", NOW, 30, rng)
    for text in ("keyid:news", "dn:0x3000"):
        with pytest.raises(LocalError, match="cannot stand in a certificate"):
            make_certificate(ca, "m", [Identity.parse(text)], NOW, 30, rng)
    with pytest.raises(LocalError, match="cannot stand in a certificate"):
        make_certificate(ca, "m", [Identity(IdentityKind.FQDN, "b\u00fccher".encode())], NOW, 30, rng)
    foreign = type(ca)(ca.certificate_pem, SecretBytes(_rsa_pem()))
    with pytest.raises(LocalError, match="Ed25519 or ECDSA"):
        make_certificate(foreign, "m", [], NOW, 30, rng)
    assert "PRIVATE" not in repr(ca)


def _rsa_pem() -> bytes:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    return rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


# --- chains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ca_key", ["ed25519", "p256", "p384", "rsa"])
@pytest.mark.parametrize("leaf_key", ["ed25519", "p256", "rsa"])
def test_chains_of_every_kind(ca_key: str, leaf_key: str) -> None:
    def new(kind: str) -> _Key:
        if kind == "ed25519":
            return Ed25519PrivateKey.generate()
        if kind == "rsa":
            return rsa_key()
        return ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())

    root = make("Root", key=new(ca_key), ca=True)
    middle = make("Middle", root, key=new(ca_key), ca=True)
    leaf = make("leaf", middle, key=new(leaf_key), sha=hashes.SHA384())
    accepted(root, [leaf, middle])
    accepted(root, [leaf, middle, root])
    accepted(middle, [leaf])  # a trusted CA need not be a root


def test_others_come_in_any_order_and_strangers_do_no_harm() -> None:
    root = make("Root", ca=True)
    one, stranger = make("One", root, ca=True), make("Stranger", ca=True)
    two = make("Two", one, ca=True)
    leaf = make("leaf", two)
    for others in ([one, two], [two, one], [stranger, two, one, root], [one, one, two]):
        accepted(root, [leaf, *others])
    accepted([stranger, root], [leaf, one, two])


def test_missing_and_wrong_issuers() -> None:
    root, other = make("Root", ca=True), make("Other", ca=True)
    namesake = make("Root", ca=True)
    middle = make("Middle", root, ca=True)
    leaf = make("leaf", middle)
    refused(root, [leaf], "CN=leaf: unknown issuer")
    refused(other, [leaf, middle], "CN=Middle: unknown issuer")
    refused(other, [leaf, middle, root], "ends in a CA that is not configured")
    refused(namesake, [leaf, middle], "issuer's key|unknown issuer")
    refused(other, [make("self")], "self-signed|unknown issuer")
    refused(root, [middle], "not for signing: it is a CA")
    refused(root, [root], "not for signing: it is a CA")
    forged = Made(leaf.certificate, middle.key)
    refused(root, [make("leaf2", Made(middle.certificate, forged.key)), namesake], "unknown issuer")


def test_times() -> None:
    root = make("Root", ca=True)
    refused(root, [make("old", root, days=(-10, -1))], "CN=old: expired")
    refused(root, [make("new", root, days=(1, 10))], "CN=new: not yet valid")
    middle = make("Middle", root, ca=True, days=(-10, -1))
    refused(root, [make("leaf", middle), middle], "CN=Middle: expired")
    leaf = make("leaf", root, days=(-1, 1))
    accepted(root, [leaf])
    accepted(root, [leaf], NOW + DAY - 1)
    refused(root, [leaf], "expired", NOW + DAY + 1)
    refused(root, [leaf], "not yet valid", NOW - DAY - 1)
    refused(root, [make("leaf", root, days=(-1, 99))], "CN=Root: expired", NOW + 31 * DAY)


def test_only_cas_issue() -> None:
    root = make("Root", ca=True)
    member = make("member", root, ca=False)
    refused(root, [make("leaf", member), member], "not a CA|may not sign")
    bare = make("bare", root, ca=None)
    refused(root, [make("leaf", bare), bare], "not a CA|may not sign")
    half = make("half", root, ca=None, key_usage=usage("key_cert_sign"))
    refused(root, [make("leaf", half), half], "issuer is not a CA")
    # The same answer when the OpenSSL below lets it pass.
    leaf = make("leaf", half)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TrustAnchors, "_build", lambda *_: [leaf.certificate, half.certificate, root.certificate]
        )
        refused(root, [leaf, half], "CN=half: issuer is not a CA")
    unable = make("unable", root, ca=True, key_usage=usage("digital_signature"))
    refused(root, [make("leaf", unable), unable], "not a CA|may not sign")


def test_path_lengths_and_name_constraints() -> None:
    root = make("Root", ca=True, path=0)
    middle = make("Middle", root, ca=True)
    accepted(root, [make("leaf", root)])
    refused(root, [make("leaf", middle), middle], "path length")
    inside = x509.NameConstraints([x509.DNSName("news.example")], None)
    narrow = make("Narrow", ca=True, extra=((inside, True),))
    accepted(narrow, [make("leaf", narrow, extra=names(x509.DNSName("rx.news.example")))])
    refused(narrow, [make("leaf", narrow, extra=names(x509.DNSName("rx.other.example")))], "name constraint")


def test_caps() -> None:
    root = make("Root", ca=True)
    leaf = make("leaf", root)
    accepted(root, [leaf] + [root] * (MAX_CERTIFICATES - 1))
    refused(root, [leaf] + [root] * MAX_CERTIFICATES, "chain too long")
    refused(root, [], "no certificate")
    many = names(*(x509.DNSName(f"{number}.{'x' * 60}.example") for number in range(400)))
    fat = make("fat", root, extra=many)
    assert len(fat.der) > MAX_CERTIFICATE_OCTETS
    refused(root, [fat], f"at most {MAX_CERTIFICATE_OCTETS}")
    refused(root, [leaf, fat], f"at most {MAX_CERTIFICATE_OCTETS}")
    chain, last = [], root
    for number in range(MAX_CERTIFICATES):
        last = make(f"CA {number}", last, ca=True)
        chain.append(last)
    refused(root, [make("deep", last), *reversed(chain)], "chain too long")


def test_what_the_certificate_is_for() -> None:
    """RFC 4945 5.1.3.2 and 5.1.3.12."""
    root = make("Root", ca=True)
    for good in (
        usage("digital_signature"),
        usage("content_commitment"),
        usage("digital_signature", "key_agreement"),
    ):
        accepted(root, [make("leaf", root, key_usage=good)])
    for bad in (usage("key_encipherment"), usage("key_agreement"), usage("key_cert_sign")):
        refused(root, [make("leaf", root, key_usage=bad)], "not for signing: its key usage")
    for purposes, fine in (
        ([ExtendedKeyUsageOID.IPSEC_IKE], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.IPSEC_IKE], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH], False),
        ([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING], False),
    ):
        for critical in (True, False):
            leaf = make("leaf", root, extra=((x509.ExtendedKeyUsage(purposes), critical),))
            if fine:
                accepted(root, [leaf])
            else:
                refused(root, [leaf], "not for signing: its extended key usage")


def test_unknown_critical_extensions() -> None:
    root = make("Root", ca=True)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    accepted(root, [make("leaf", root, extra=((unknown, False),))])
    refused(root, [make("leaf", root, extra=((unknown, True),))], "critical extension")


def test_weak_signatures_and_keys() -> None:
    root = make("Root", key=rsa_key(), ca=True)
    refused(root, [make("leaf", root, key=rsa_key(1024))], "1024 bits")
    refused(root, [make("leaf", root, key=ec.generate_private_key(ec.SECP521R1()))], "only P-256 and P-384")
    refused(root, [make("leaf", root, sha=hashes.SHA224())], "weak or unknown")
    middle = make("Middle", root, ca=True, sha=hashes.SHA3_256())
    refused(root, [make("leaf", middle), middle], "weak or unknown")
    small = make("Small", root, key=rsa_key(1024), ca=True)
    refused(root, [make("leaf", small), small], "1024 bits")
    # An unrelated weak certificate beside the chain does not count.
    accepted(root, [make("leaf", root), small])


# --- identities -------------------------------------------------------------------------------------------


def test_identities_of_a_certificate() -> None:
    root = make("Root", ca=True)
    leaf = make(
        "rx1",
        root,
        extra=names(
            x509.DNSName("RX1.Example"),
            x509.DNSName("*.example"),
            x509.DNSName(""),
            x509.RFC822Name("Ops@Example"),
            x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
            x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
            x509.UniformResourceIdentifier("https://example"),
            x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "else")])),
        ),
    )
    found = accepted(root, [leaf])
    dn = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rx1")]).public_bytes()
    assert {str(each) for each in found} == {
        "fqdn:RX1.Example",
        "email:Ops@Example",
        "ipv4:10.0.0.1",
        f"dn:0x{dn.hex()}",
    }
    peer = TrustAnchors.load(root.pem).verify_chain([leaf.der], NOW)
    for text in ("fqdn:rx1.example", "fqdn:RX1.EXAMPLE", "email:ops@example", "ipv4:10.0.0.1"):
        peer.require(Identity.parse(text))
    for text in (
        "fqdn:rx2.example",
        "fqdn:x.example",
        "fqdn:*.example",
        "fqdn:rx1",
        "email:rx1.example",
        "keyid:rx1.example",
        "ipv4:10.0.0.2",
        "ipv6:fd00::1",
        "dn:0x3000",
    ):
        with pytest.raises(CryptoError, match="identity not in certificate"):
            peer.require(Identity.parse(text))


def test_a_certificate_may_have_no_subject_or_no_names() -> None:
    root = make("Root", ca=True)
    assert len(accepted(root, [make("only a subject", root)])) == 1
    nameless = make("", root, extra=names(x509.DNSName("rx1.example")))
    assert accepted(root, [nameless]) == {Identity.parse("fqdn:rx1.example")}
    other = make("", make("Stranger", ca=True))
    refused(root, [other], "certificate without a subject: unknown issuer")


def test_a_name_cannot_break_a_log_line() -> None:
    root, stranger = make("Root", ca=True), make("Stranger", ca=True)
    leaf = make("a\nfake: log line\x1b[2J", stranger)
    with pytest.raises(CryptoError) as caught:
        TrustAnchors.load(root.pem).verify_chain([leaf.der], NOW)
    assert str(caught.value).isprintable()


# --- hostile octets ---------------------------------------------------------------------------------------


def test_anchors_that_are_none() -> None:
    root = make("Root", ca=True)
    for bad, reason in (
        (b"", "no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate in PEM"),
        (root.pem[:-100], "no certificate in PEM"),
        (make("leaf", root).pem, "not a CA certificate"),
        (root.pem + make("leaf", root).pem, "CN=leaf is not a CA certificate"),
        (make("Weak", key=rsa_key(1024), ca=True).pem, "1024 bits"),
    ):
        with pytest.raises(CryptoError, match=reason):
            TrustAnchors.load(bad)
    both = TrustAnchors.load(root.pem + make("Two", ca=True).pem)
    assert len(both.authorities) == 40
    assert repr(both) == "<trust anchors: 2>"


def test_anchors_are_the_same_when_they_trust_the_same() -> None:
    one, two = make("One", ca=True).pem, make("Two", ca=True).pem
    assert TrustAnchors.load(one + two) == TrustAnchors.load(two + one)
    assert len({TrustAnchors.load(one), TrustAnchors.load(one), TrustAnchors.load(two)}) == 2
    assert TrustAnchors.load(one) != one


def test_every_flipped_bit_of_a_certificate_is_refused() -> None:
    rng = SeededRng("flip")
    ca = make_authority("CA", NOW, 30, rng)
    (der,) = load_chain(
        make_certificate(ca, "rx1", [Identity.parse("fqdn:rx1")], NOW, 30, rng).certificate_pem
    )
    anchors = TrustAnchors.load(ca.certificate_pem)
    assert anchors.verify_chain([der], NOW)
    for number in range(8 * len(der)):
        bad = bytearray(der)
        bad[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError):
            anchors.verify_chain([bytes(bad)], NOW)
    for length in range(0, len(der), 5):
        with pytest.raises(CryptoError):
            anchors.verify_chain([der[:length]], NOW)
    with pytest.raises(CryptoError, match="cannot be read"):
        anchors.verify_chain([der + b"\0"], NOW)
    with pytest.raises(CryptoError, match="cannot be read"):
        anchors.verify_chain([der, b"\x30\x00"], NOW)


# --- raw public keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_pinned_keys(kind: str) -> None:
    key = SigningKey.load_pem(make_key(kind, SeededRng(kind)).reveal())
    other = SigningKey.load_pem(make_key(kind, SeededRng("other")).reveal())
    pem = public_pem(key.spki_der)
    assert pem.startswith(b"-----BEGIN PUBLIC KEY-----")
    assert load_public_pem(pem) == key.spki_der
    assert fingerprint(key.spki_der) == "sha256:" + hashlib.sha256(key.spki_der).hexdigest()
    check_pinned(key.spki_der, [other.spki_der, key.spki_der])
    for pins in ([], [other.spki_der], [key.spki_der + b"\0"], [key.spki_der[:-1]], [b""]):
        with pytest.raises(CryptoError, match="not pinned: sha256:"):
            check_pinned(key.spki_der, pins)


def test_keys_that_cannot_be_pinned() -> None:
    weak = rsa_key(1024).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for bad, reason in ((b"", "not a public key"), (b"nonsense", "not a public key"), (weak, "1024 bits")):
        with pytest.raises(CryptoError, match=reason):
            load_public_pem(bad)
    with pytest.raises(CryptoError, match="not a public key"):
        check_pinned(b"", [b""])


def test_the_raw_key_of_rfc_7670() -> None:
    """RFC 7670 A.1: the SubjectPublicKeyInfo of an ECDSA key, octet for octet."""
    spki = bytes.fromhex(
        "3059301306072a8648ce3d020106082a8648ce3d03010703420004cb28e0999b9c7715fd0a80d8e47a77079716cbbf917d"
        "d72e97566ea1c066957c2b57c0235fb7489768d058ff4911c20fdbe71e3699d91339afbb903ee17255dc"
    )
    assert load_public_pem(public_pem(spki)) == spki
    check_pinned(spki, [spki])
