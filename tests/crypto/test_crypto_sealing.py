from __future__ import annotations

from itertools import product

import crypto_slow
import pytest
from crypto_vectors import load, octets
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.algorithms import (
    AES_CBC_128,
    AES_CBC_256,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    CIPHER_BY_NAME,
    CIPHERS,
    HMAC_SHA2_256_128,
    INTEGRITIES,
    Cipher,
    Integrity,
)
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.sealing import Sealer

Suite = tuple[Cipher, Integrity | None]

_SUITES: list[Suite] = [(cipher, None) for cipher in CIPHERS if cipher.aead]
_SUITES += list(product((AES_CBC_128, AES_CBC_256), INTEGRITIES))
_by_suite = pytest.mark.parametrize(
    "suite", _SUITES, ids=lambda suite: suite[0].name + (f"+{suite[1].name}" if suite[1] else "")
)
_AAD = bytes(range(32))


def keys(suite: Suite) -> tuple[bytes, bytes]:
    rng = SeededRng(f"{suite}")
    return rng(suite[0].key_octets), rng(suite[1].key_octets) if suite[1] else b""


def sealer(suite: Suite) -> Sealer:
    key, integrity_key = keys(suite)
    return Sealer(*suite, SecretBytes(key), SecretBytes(integrity_key) if suite[1] else None)


def slow_seal(suite: Suite, aad: bytes, plaintext: bytes, iv: bytes) -> bytes:
    """The sealed octets by the slow truth, from RFC 7296 3.14 and RFC 5282 3 to 5."""
    cipher, integrity = suite
    key, integrity_key = keys(suite)
    if integrity is None:
        seal = crypto_slow.chacha_seal if cipher == CHACHA20_POLY1305 else crypto_slow.gcm_seal
        return iv + seal(key[:-4], key[-4:] + iv, plaintext + b"\0", aad)
    pad = 15 - len(plaintext) % 16
    sealed = iv + crypto_slow.cbc_encrypt(key, iv, plaintext + bytes(pad) + bytes((pad,)))
    checksum = crypto_slow.hmac(integrity.hash_name, integrity_key, aad + sealed)
    return sealed + checksum[: integrity.icv_octets]


@pytest.mark.parametrize("row", load("crypto_sealing.json")["aead"], ids=lambda row: row["name"])
def test_known_aead(row: dict[str, str]) -> None:
    key = SecretBytes(octets(row["key"] + row["salt"]))
    tool = Sealer(CIPHER_BY_NAME[row["cipher"]], None, key, None)
    padded = octets(row["plaintext"])
    sealed = octets(row["iv"] + row["ciphertext"] + row["tag"])
    plaintext = padded[: len(padded) - 1 - padded[-1]]  # the vector's last octet is read as its pad length
    assert tool.open(octets(row["aad"]), sealed) == plaintext
    if padded[-1] == 0:
        assert tool.seal(octets(row["aad"]), plaintext, octets(row["iv"])) == sealed


@pytest.mark.parametrize("row", load("crypto_hmac.json")["authenticators"], ids=lambda row: row["name"])
def test_known_checksums(row: dict[str, str]) -> None:
    integrity = next(each for each in INTEGRITIES if each.hash_name == row["hash"])
    tool = Sealer(AES_CBC_128, integrity, SecretBytes(bytes(16)), SecretBytes(octets(row["key"])))
    data = octets(row["data"])
    for cut in (0, len(data) // 2, len(data)):
        assert tool._checksum(data[:cut], data[cut:]).hex() == row["icv"]


@_by_suite
@settings(max_examples=25, deadline=None, database=None)
@given(data=st.data())
def test_seals_as_the_slow_truth_does(suite: Suite, data: st.DataObject) -> None:
    tool = sealer(suite)
    aad = data.draw(st.binary(max_size=60))
    plaintext = data.draw(st.binary(max_size=100))
    iv = data.draw(st.binary(min_size=suite[0].iv_octets, max_size=suite[0].iv_octets))
    sealed = tool.seal(aad, plaintext, iv)
    assert sealed == slow_seal(suite, aad, plaintext, iv)
    assert len(sealed) == tool.sealed_octets(len(plaintext))
    assert tool.open(aad, sealed) == plaintext


@_by_suite
def test_every_length_opens(suite: Suite) -> None:
    tool, iv = sealer(suite), bytes(suite[0].iv_octets)
    for length in (*range(50), 1000, 65000):
        plaintext = b"x" * length
        sealed = tool.seal(_AAD, plaintext, iv)
        assert len(sealed) == tool.sealed_octets(length)
        assert tool.open(_AAD, sealed) == plaintext


@_by_suite
def test_every_flipped_bit_is_refused(suite: Suite) -> None:
    tool = sealer(suite)
    sealed = tool.seal(_AAD, b"GSA and KD", bytes(range(suite[0].iv_octets)))
    for number in range(8 * len(sealed)):
        bad = bytearray(sealed)
        bad[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError, match="integrity"):
            tool.open(_AAD, bytes(bad))
    for number in range(8 * len(_AAD)):
        head = bytearray(_AAD)
        head[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError, match="integrity"):
            tool.open(bytes(head), sealed)


@_by_suite
def test_truncated_and_extended_are_refused(suite: Suite) -> None:
    tool = sealer(suite)
    sealed = tool.seal(_AAD, b"GSA and KD", bytes(suite[0].iv_octets))
    for length in range(len(sealed)):
        with pytest.raises(CryptoError):
            tool.open(_AAD, sealed[:length])
    for more in (b"\0", bytes(16), sealed):
        with pytest.raises(CryptoError):
            tool.open(_AAD, sealed + more)


@_by_suite
def test_another_key_does_not_open(suite: Suite) -> None:
    sealed = sealer(suite).seal(_AAD, b"payloads", bytes(suite[0].iv_octets))
    key, integrity_key = keys(suite)
    other = key[:-1] + bytes((key[-1] ^ 1,)), integrity_key[:-1] + bytes((sum(integrity_key[-1:]) ^ 1,))
    stranger = Sealer(*suite, SecretBytes(other[0]), SecretBytes(other[1]) if suite[1] else None)
    with pytest.raises(CryptoError):
        stranger.open(_AAD, sealed)


@_by_suite
def test_any_padding_is_accepted_and_none_beyond_the_payload(suite: Suite) -> None:
    """RFC 5282 3, RFC 7296 3.14: 0 to 255 octets of anything, as long as the blocks are whole."""
    cipher, integrity = suite
    tool, iv = sealer(suite), bytes(cipher.iv_octets)
    key, integrity_key = keys(suite)

    def raw(padded: bytes) -> bytes:
        if integrity is None:
            seal = crypto_slow.chacha_seal if cipher == CHACHA20_POLY1305 else crypto_slow.gcm_seal
            return iv + seal(key[:-4], key[-4:] + iv, padded, _AAD)
        body = iv + crypto_slow.cbc_encrypt(key, iv, padded)
        checksum = crypto_slow.hmac(integrity.hash_name, integrity_key, _AAD + body)
        return body + checksum[: integrity.icv_octets]

    assert tool.open(_AAD, raw(bytes(16) + b"p" * 255 + b"\xff" * 1)) == b"\0" * 16
    assert tool.open(_AAD, raw(b"y" * 15 + b"\x0f")) == b""
    assert tool.open(_AAD, raw(b"y" * 15 + b"\x00")) == b"y" * 15
    with pytest.raises(CryptoError, match="pad length"):
        tool.open(_AAD, raw(b"y" * 15 + b"\x10"))


def test_cbc_blocks_are_whole() -> None:
    """An authentic checksum over half a block: only a peer with the keys can send it, and still wrong."""
    suite: Suite = AES_CBC_256, HMAC_SHA2_256_128
    tool = sealer(suite)
    for body in (bytes(16), bytes(17), bytes(31), bytes(33)):
        checksum = crypto_slow.hmac("sha256", keys(suite)[1], _AAD + body)[:16]
        with pytest.raises(CryptoError, match=r"blocks|short"):
            tool.open(_AAD, body + checksum)


@_by_suite
def test_wrong_use_is_our_own_mistake(suite: Suite) -> None:
    cipher, integrity = suite
    key, integrity_key = (SecretBytes(each) for each in keys(suite))
    for length in (-1, 1):
        with pytest.raises(LocalError, match="octets"):
            Sealer(
                cipher, integrity, SecretBytes(bytes(len(key) + length)), integrity_key if integrity else None
            )
        with pytest.raises(LocalError, match="IV"):
            sealer(suite).seal(_AAD, b"", bytes(cipher.iv_octets + length))
    if integrity is None:
        with pytest.raises(LocalError, match="own integrity"):
            Sealer(cipher, HMAC_SHA2_256_128, key, SecretBytes(bytes(32)))
        with pytest.raises(LocalError, match="own integrity"):
            Sealer(cipher, None, key, SecretBytes(bytes(32)))
    else:
        with pytest.raises(LocalError, match="needs an integrity"):
            Sealer(cipher, None, key, None)
        with pytest.raises(LocalError, match="needs an integrity"):
            Sealer(cipher, integrity, key, None)
        with pytest.raises(LocalError, match="octets"):
            Sealer(cipher, integrity, key, SecretBytes(integrity_key.reveal()[1:]))


def test_nothing_secret_in_repr() -> None:
    tool = sealer((AES_GCM_16_256, None))
    assert repr(tool) == "<sealer: aes-gcm-16-256>"
    assert not hasattr(tool, "__dict__")
