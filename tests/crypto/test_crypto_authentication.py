from __future__ import annotations

import struct
from contextlib import suppress
from functools import cache

import crypto_slow
import pytest
from crypto_vectors import load, octets
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.algorithms import MODP_2048, PRF_HMAC_SHA2_256, PRFS, Prf
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto import modp
from gkmd.crypto.authentication import (
    ED25519_IDENTIFIER,
    HASH_IDENTITY,
    SIGNATURE_HASHES,
    SigningKey,
    _kind,
    build_auth_data,
    check_public_key,
    load_public,
    parse_auth_data_untrusted,
    psk_auth,
    rekey_signed_octets,
    signed_octets,
    verify_psk,
    verify_signature,
)
from gkmd.crypto.signature_scheme import _BY_IDENTIFIER

_VECTORS = load("crypto_signatures.json")
_KINDS = ("ed25519", "p256", "p384", "rsa")
_TEXT = b"the signed octets"


@cache
def key(name: str) -> SigningKey:
    """One key of each kind; a few cost more than a test should."""
    if name == "ed25519":
        return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    if name in ("p256", "p384"):
        curve = ec.SECP256R1() if name == "p256" else ec.SECP384R1()
        return SigningKey(ec.derive_private_key(12345678901234567890, curve))
    return SigningKey(rsa.generate_private_key(65537, 2048), rsa_pss=name == "rsa")


@cache
def rsa_1024() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


# --- pre-shared keys and signed octets --------------------------------------------------------------------


@pytest.mark.parametrize("alg", PRFS, ids=lambda alg: alg.name)
def test_psk_by_the_formula(alg: Prf) -> None:
    for secret in (b"s", b"x" * 64, b"y" * 300):
        pad = crypto_slow.hmac(alg.hash_name, secret, b"Key Pad for IKEv2")
        expected = crypto_slow.hmac(alg.hash_name, pad, _TEXT)
        for _ in range(2):  # the second time from the cache
            assert psk_auth(alg, SecretBytes(secret), _TEXT) == expected
        verify_psk(alg, SecretBytes(secret), _TEXT, expected)


def test_wrong_psk_is_refused() -> None:
    alg, secret = PRF_HMAC_SHA2_256, SecretBytes(b"secret")
    good = psk_auth(alg, secret, _TEXT)
    for bad in (b"", good[:-1], good + b"\0", bytes(32), good[:-1] + bytes((good[-1] ^ 1,))):
        with pytest.raises(CryptoError, match="pre-shared"):
            verify_psk(alg, secret, _TEXT, bad)
    with pytest.raises(CryptoError):
        verify_psk(alg, SecretBytes(b"secreT"), _TEXT, good)
    with pytest.raises(CryptoError):
        verify_psk(alg, secret, _TEXT + b".", good)


def test_signed_octets_by_the_formula() -> None:
    out = signed_octets(b"message", b"nonce", PRF_HMAC_SHA2_256, SecretBytes(b"SK_p"), b"\x02\0\0\0name")
    assert out == b"message" + b"nonce" + crypto_slow.hmac("sha256", b"SK_p", b"\x02\0\0\0name")


def test_rekey_octets_have_adjusted_lengths_and_no_signature() -> None:
    """RFC 9838 figure 10: the lengths as if IV, padding and ICV did not exist; the signature value zeroed."""
    inner = bytes(range(100)) + b"S" * 64 + b"D" * 12
    ike = bytes(range(16)) + bytes((46, 0x20, 41, 8)) + struct.pack(">II", 7, 28 + 4 + 8 + 176 + 1 + 16)
    head = ike + bytes((51, 0)) + struct.pack(">H", 4 + 8 + 176 + 1 + 16)
    out = rekey_signed_octets(head, inner, 100, 64)
    assert len(out) == 32 + 176
    assert out[:24] == ike[:24]
    assert struct.unpack(">I", out[24:28]) == (32 + 176,)
    assert out[28:30] == b"\x33\0"
    assert struct.unpack(">H", out[30:32]) == (4 + 176,)
    assert out[32:] == inner[:100] + bytes(64) + b"D" * 12
    for bad in (
        (head[:-1], inner, 100, 64),
        (head, inner, 120, 64),
        (head, inner, -1, 64),
        (head, b"", 0, 64),
    ):
        with pytest.raises(LocalError):
            rekey_signed_octets(*bad)


def test_rekey_signature_round_trip() -> None:
    """What the server zeroes before it signs is what a member zeroes before it verifies."""
    signer = SigningKey.from_seed(SecretBytes(bytes(32)))
    head = bytes(24) + struct.pack(">IHH", 300, 0x3300, 272)
    before = b"GSA KD AUTH:" + bytes(64)
    identifier, signature = signer.sign(rekey_signed_octets(head, before, 12, 64), (HASH_IDENTITY,))
    assert identifier == ED25519_IDENTIFIER == bytes.fromhex("300506032b6570")
    after = before[:12] + signature
    verify_signature(signer.spki_der, identifier, signature, rekey_signed_octets(head, after, 12, 64))
    for number in range(8 * 24):
        bad = bytearray(head)
        bad[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError):
            verify_signature(
                signer.spki_der, identifier, signature, rekey_signed_octets(bytes(bad), after, 12, 64)
            )


# --- known signatures and identifiers ---------------------------------------------------------------------


@pytest.mark.parametrize("row", _VECTORS["ed25519"], ids=lambda row: row["name"])
def test_known_ed25519(row: dict[str, str]) -> None:
    signer = SigningKey.from_seed(SecretBytes(octets(row["private"])))
    assert signer.spki_der == bytes.fromhex("302a300506032b6570032100") + octets(row["public"])
    assert signer.sign(octets(row["message"]), (5,)) == (ED25519_IDENTIFIER, octets(row["signature"]))
    verify_signature(signer.spki_der, ED25519_IDENTIFIER, octets(row["signature"]), octets(row["message"]))


@pytest.mark.parametrize("row", _VECTORS["ecdsa"], ids=lambda row: row["name"])
def test_known_ecdsa(row: dict[str, str]) -> None:
    curve = ec.SECP256R1() if row["curve"] == "secp256r1" else ec.SECP384R1()
    signer = SigningKey(ec.derive_private_key(int(row["private"], 16), curve))
    assert signer.spki_der.endswith(octets(row["public"]))
    signature = encode_dss_signature(int(row["r"], 16), int(row["s"], 16))
    verify_signature(signer.spki_der, octets(row["identifier"]), signature, octets(row["message"]))
    with pytest.raises(CryptoError):
        verify_signature(signer.spki_der, octets(row["identifier"]), signature, b"abd")
    # RFC 4754's bare r | s belongs to the older methods 9 and 10.
    with pytest.raises(CryptoError):
        verify_signature(
            signer.spki_der, octets(row["identifier"]), octets(row["r"] + row["s"]), octets(row["message"])
        )


def test_identifiers_of_the_standards() -> None:
    """RFC 7427 A, RFC 8420 A.1: what we accept is what they print, SHA-1, DSA and PSS by default excepted."""
    known = {name: octets(text) for name, text in _VECTORS["identifiers"].items()}
    refused = {name for name, identifier in known.items() if identifier not in _BY_IDENTIFIER}
    assert refused == {
        "sha1WithRSAEncryption",
        "dsa-with-sha1",
        "dsa-with-sha256",
        "ecdsa-with-sha1",
        "RSASSA-PSS with Empty Parameters",
        "RSASSA-PSS with Default Parameters",
    }
    for name in refused:
        with pytest.raises(CryptoError, match="not one that we accept"):
            verify_signature(key("rsa").spki_der, known[name], b"signature", _TEXT)


def test_both_encodings_of_pss_are_accepted() -> None:
    """With an explicit trailerField, as RFC 7427 A.4.3 prints it, and without, as DER has it."""
    printed = octets(_VECTORS["identifiers"]["RSASSA-PSS with SHA-256"])
    ours, signature = key("rsa").sign(_TEXT, (2,))
    assert ours == bytes.fromhex("3041") + printed[2:13] + bytes.fromhex("3034") + printed[15:-5]
    for identifier in (ours, printed):
        verify_signature(key("rsa").spki_der, identifier, signature, _TEXT)
    assert sum(scheme.pss for scheme in _BY_IDENTIFIER.values()) == 3 * 8


# --- choosing, signing, verifying -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*_KINDS, "rsa-pkcs1"])
def test_round_trip_with_every_hash(name: str) -> None:
    signer = key(name)
    seen = set()
    for hashes in ((5,), (2,), (3,), (4,), SIGNATURE_HASHES, [4, 3], frozenset((1, 2, 5))):
        if not {5} & set(hashes) if name == "ed25519" else not {2, 3, 4} & set(hashes):
            with pytest.raises(CryptoError, match="announced no hash"):
                signer.sign(_TEXT, hashes)
            continue
        identifier, signature = signer.sign(_TEXT, hashes)
        seen.add(identifier)
        verify_signature(signer.spki_der, identifier, signature, _TEXT)
        assert parse_auth_data_untrusted(build_auth_data(identifier, signature)) == (identifier, signature)
    assert len(seen) == (1 if name == "ed25519" else 3)
    with pytest.raises(CryptoError, match="announced no hash"):
        signer.sign(_TEXT, (1,))  # SHA-1 alone
    with pytest.raises(CryptoError, match="announced no hash"):
        signer.sign(_TEXT, ())


def test_the_hash_fits_the_key() -> None:
    best = {name: _BY_IDENTIFIER[key(name).sign(_TEXT, SIGNATURE_HASHES)[0]].name for name in _KINDS}
    assert best == {
        "ed25519": "Ed25519",
        "p256": "ECDSA SHA2-256",
        "p384": "ECDSA SHA2-384",
        "rsa": "RSA PSS SHA2-256",
    }
    assert _BY_IDENTIFIER[key("rsa-pkcs1").sign(_TEXT, SIGNATURE_HASHES)[0]].name == "RSA PKCS1 SHA2-256"


@pytest.mark.parametrize("name", _KINDS)
def test_substituted_identifiers_are_refused(name: str) -> None:
    signer = key(name)
    identifier, signature = signer.sign(_TEXT, SIGNATURE_HASHES)
    own = _BY_IDENTIFIER[identifier]
    for other, scheme in _BY_IDENTIFIER.items():
        if scheme is not own:
            with pytest.raises(CryptoError, match=r"does not fit|does not verify"):
                verify_signature(signer.spki_der, other, signature, _TEXT)
    for number in range(8 * len(identifier)):
        bad = bytearray(identifier)
        bad[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError):
            verify_signature(signer.spki_der, bytes(bad), signature, _TEXT)


def test_a_public_key_is_checked_before_it_is_used() -> None:
    for name in _KINDS:
        for identifier, scheme in _BY_IDENTIFIER.items():
            if _kind(load_public(key(name).spki_der)) in scheme.kinds:
                check_public_key(key(name).spki_der, identifier)
            else:
                with pytest.raises(CryptoError, match="does not fit"):
                    check_public_key(key(name).spki_der, identifier)
    with pytest.raises(CryptoError, match="not one that we accept"):
        check_public_key(key("ed25519").spki_der, ED25519_IDENTIFIER[:-1] + b"\x71")


@pytest.mark.parametrize("name", _KINDS)
def test_forged_signatures_are_refused(name: str) -> None:
    signer = key(name)
    identifier, signature = signer.sign(_TEXT, SIGNATURE_HASHES)
    for text in (b"", _TEXT[:-1], _TEXT + b"\0"):
        with pytest.raises(CryptoError):
            verify_signature(signer.spki_der, identifier, signature, text)
    for bad in (b"", signature[:-1], signature + b"\0", bytes(len(signature)), b"\xff" * len(signature)):
        with pytest.raises(CryptoError):
            verify_signature(signer.spki_der, identifier, bad, _TEXT)
    for number in range(0, 8 * len(signature), 7):
        flipped = bytearray(signature)
        flipped[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError):
            verify_signature(signer.spki_der, identifier, bytes(flipped), _TEXT)
    for other in _KINDS:
        if other != name:
            with pytest.raises(CryptoError):
                verify_signature(key(other).spki_der, identifier, signature, _TEXT)


def test_a_key_for_pss_signs_by_pss_only() -> None:
    """RFC 4055 1.2: the SubjectPublicKeyInfo may name id-RSASSA-PSS instead of rsaEncryption."""
    spki = key("rsa").spki_der
    restricted = (
        bytes.fromhex("30820120300b06092a864886f70d01010a") + spki[spki.index(b"\x03\x82\x01\x0f\x00") :]
    )
    verify_signature(restricted, *key("rsa").sign(_TEXT, (2,)), _TEXT)
    loose = SigningKey(key("rsa")._key, rsa_pss=False).sign(_TEXT, (2,))
    verify_signature(spki, *loose, _TEXT)
    with pytest.raises(CryptoError, match="RSASSA-PSS"):
        verify_signature(restricted, *loose, _TEXT)


# --- keys that are not accepted ---------------------------------------------------------------------------


def pem(private: object) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined, no-any-return]


def spki(private: object) -> bytes:
    public = private.public_key()  # type: ignore[attr-defined]
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (rsa_1024, "1024 bits"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "only P-256 and P-384"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "only P-256 and P-384"),
        (ed448.Ed448PrivateKey.generate, "neither"),
        (lambda: dsa.generate_private_key(1024), "neither"),
    ],
    ids=["rsa-1024", "p521", "k256", "ed448", "dsa"],
)
def test_weak_and_foreign_keys_are_refused(make: object, reason: str) -> None:
    private = make()  # type: ignore[operator]
    with pytest.raises(CryptoError, match=reason):
        SigningKey.load_pem(pem(private))
    with pytest.raises(CryptoError, match=reason):
        load_public(spki(private))
    with pytest.raises(CryptoError, match=reason):
        verify_signature(spki(private), ED25519_IDENTIFIER, bytes(64), _TEXT)


def test_what_the_library_deprecates_is_refused_in_silence() -> None:
    """A finite-field key is read with a warning; a stranger must not make us print one, nor stop us by it."""
    private, _ = modp.generate(MODP_2048, SeededRng(1))
    with pytest.raises(CryptoError, match="not a public key"):
        load_public(spki(private))
    with pytest.raises(CryptoError, match="not an unencrypted private key"):
        SigningKey.load_pem(pem(private))


def test_private_keys_are_read_from_pem() -> None:
    for name in _KINDS:
        signer = SigningKey.load_pem(pem(key(name)._key))
        assert signer.spki_der == key(name).spki_der
    old = key("rsa")._key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert SigningKey.load_pem(old).spki_der == key("rsa").spki_der
    locked = key("p256")._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
    for bad in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", locked, b"\xff" * 99):
        with pytest.raises(CryptoError, match="not an unencrypted private key"):
            SigningKey.load_pem(bad)
    with pytest.raises(LocalError, match="32 octets"):
        SigningKey.from_seed(SecretBytes(bytes(31)))


def test_nothing_secret_in_repr_or_errors() -> None:
    private = pem(key("p256")._key)
    with pytest.raises(CryptoError) as caught:
        SigningKey.load_pem(private[:-60])
    assert private.split(b"\n")[1].decode() not in str(caught.value)
    assert repr(key("ed25519")) == "<signing key: Ed25519>"
    assert {repr(key(name)) for name in ("p256", "p384", "rsa")} == {
        "<signing key: ECDSA P-256>",
        "<signing key: ECDSA P-384>",
        "<signing key: RSA>",
    }


# --- hostile octets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00signature", b"\x01", b"\x07\x30\x05", b"\x01\x30", b"\xff" * 255]
)
def test_auth_data_that_is_cut_short(data: bytes) -> None:
    with pytest.raises(CryptoError, match="cut short"):
        parse_auth_data_untrusted(data)


@settings(max_examples=200, deadline=None, database=None)
@given(
    spki_der=st.one_of(
        st.binary(max_size=100), st.sampled_from(["ed25519", "p256"]).map(lambda n: key(n).spki_der)
    ),
    identifier=st.one_of(st.binary(max_size=80), st.sampled_from(sorted(_BY_IDENTIFIER))),
    signature=st.binary(max_size=100),
)
def test_only_crypto_errors_escape(spki_der: bytes, identifier: bytes, signature: bytes) -> None:
    with pytest.raises(CryptoError):
        verify_signature(spki_der, identifier, signature, _TEXT)
    with suppress(CryptoError):
        parse_auth_data_untrusted(signature)


@pytest.mark.parametrize("name", _KINDS)
def test_no_flipped_bit_of_a_public_key_raises_anything_else(name: str) -> None:
    good = key(name).spki_der
    identifier, signature = key(name).sign(_TEXT, SIGNATURE_HASHES)
    for number in range(0, 8 * len(good), 3):
        bad = bytearray(good)
        bad[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError):
            verify_signature(bytes(bad), identifier, signature, _TEXT)
