"""keymat and keywrap."""

from __future__ import annotations

from itertools import product

import crypto_slow
import pytest
from crypto_vectors import load, octets
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.algorithms import (
    AES_CBC_256,
    AES_GCM_16_128,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    CIPHERS,
    HMAC_SHA2_256_128,
    HMAC_SHA2_512_256,
    INTEGRITIES,
    KEY_WRAP_BY_NAME,
    KW_5649_128,
    KW_5649_256,
    PRF_BY_NAME,
    PRF_HMAC_SHA2_256,
    PRFS,
    Cipher,
    Integrity,
    Prf,
)
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keymat import (
    IkeKeys,
    data_octets,
    derive_ike,
    group_wrap_key,
    rekey_octets,
    split_rekey,
)
from gkmd.crypto.keywrap import unwrap, wrap, wrapped_octets

_KEYS = load("crypto_keys.json")
_SUITES: list[tuple[Cipher, Integrity | None]] = [(cipher, None) for cipher in CIPHERS if cipher.aead]
_SUITES += list(product((each for each in CIPHERS if not each.aead), INTEGRITIES))


@pytest.mark.parametrize("suite", _SUITES, ids=lambda s: s[0].name + (s[1].name if s[1] else ""))
@pytest.mark.parametrize("alg", PRFS, ids=lambda alg: alg.name)
def test_ike_keys_by_the_formula(alg: Prf, suite: tuple[Cipher, Integrity | None]) -> None:
    """RFC 7296 2.14 written out once more."""
    cipher, integrity = suite
    shared, ni, nr, spi_i, spi_r = b"g^ir" * 8, b"i" * 32, b"r" * 24, b"spi-init", b"spi-resp"
    keys = derive_ike(alg, *suite, SecretBytes(shared), ni, nr, spi_i, spi_r)
    seed = crypto_slow.hmac(alg.hash_name, ni + nr, shared)
    a = integrity.key_octets if integrity else 0
    lengths = (alg.octets, a, a, cipher.key_octets, cipher.key_octets, alg.octets, alg.octets)
    stream = crypto_slow.prf_plus(alg.hash_name, seed, ni + nr + spi_i + spi_r, sum(lengths))
    for name, length in zip(("d", "ai", "ar", "ei", "er", "pi", "pr"), lengths, strict=True):
        assert getattr(keys, name).reveal() == stream[:length]
        stream = stream[length:]
    assert IkeKeys.unpack(alg, *suite, keys.pack()) == keys
    assert len(keys.pack()) == sum(lengths)
    for wrong in (keys.pack().reveal()[:-1], keys.pack().reveal() + b"\0", b""):
        with pytest.raises(LocalError, match="octets"):
            IkeKeys.unpack(alg, *suite, SecretBytes(wrong))


def test_nothing_secret_in_repr() -> None:
    keys = derive_ike(
        PRF_HMAC_SHA2_256, AES_GCM_16_256, None, SecretBytes(b"s"), b"i", b"r", bytes(8), bytes(8)
    )
    shown = f"{keys} {keys!r} {keys.pack()!r}"
    assert keys.d.reveal().hex() not in shown
    assert repr(keys.d.reveal()) not in shown
    assert shown.count("<secret") == 15


@pytest.mark.parametrize("row", _KEYS["gsk_w"], ids=lambda row: row["prf"])
def test_known_group_wrap_keys(row: dict[str, str]) -> None:
    key = group_wrap_key(
        PRF_BY_NAME[row["prf"]], SecretBytes(octets(row["sk_d"])), KEY_WRAP_BY_NAME[row["key_wrap"]]
    )
    assert key.reveal().hex() == row["gsk_w"]
    shorter = group_wrap_key(PRF_BY_NAME[row["prf"]], SecretBytes(octets(row["sk_d"])), KW_5649_128)
    assert shorter.reveal() == key.reveal()[:16]


def test_rekey_keys_have_encryption_first() -> None:
    key = SecretBytes(bytes(range(68)))
    assert rekey_octets(AES_GCM_16_256, None, KW_5649_256) == 68
    e, a, w = split_rekey(key, AES_GCM_16_256, None, KW_5649_256)
    assert (e.reveal(), a, w.reveal()) == (bytes(range(36)), None, bytes(range(36, 68)))
    key = SecretBytes(bytes(range(112)))
    assert rekey_octets(AES_CBC_256, HMAC_SHA2_512_256, KW_5649_128) == 112
    e, a, w = split_rekey(key, AES_CBC_256, HMAC_SHA2_512_256, KW_5649_128)
    assert a is not None
    assert (e.reveal(), a.reveal(), w.reveal()) == (
        bytes(range(32)),
        bytes(range(32, 96)),
        bytes(range(96, 112)),
    )


@pytest.mark.parametrize("length", [0, 1, 36, 67, 69, 100])
def test_rekey_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(CryptoError, match=f"{length} octets, expected 68"):
        split_rekey(SecretBytes(bytes(length)), AES_GCM_16_256, None, KW_5649_256)


def test_data_octets() -> None:
    assert [data_octets(c, None) for c in (AES_GCM_16_128, AES_GCM_16_256, CHACHA20_POLY1305)] == [20, 36, 36]
    assert data_octets(AES_CBC_256, HMAC_SHA2_256_128) == 64
    with pytest.raises(LocalError):
        data_octets(AES_CBC_256, None)
    with pytest.raises(LocalError):
        data_octets(AES_GCM_16_256, HMAC_SHA2_256_128)


# --- key wrap ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", _KEYS["key_wrap"], ids=lambda row: row["wrapped"][:8])
def test_known_wrapped_keys(row: dict[str, str]) -> None:
    kek, key = SecretBytes(octets(row["kek"])), SecretBytes(octets(row["key"]))
    assert wrap(kek, key).hex() == row["wrapped"]
    assert unwrap(kek, octets(row["wrapped"])) == key


@settings(max_examples=40, deadline=None, database=None)
@given(
    kek=st.sampled_from((16, 24, 32)).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    key=st.binary(min_size=1, max_size=120),
)
def test_wraps_as_the_slow_truth_does(kek: bytes, key: bytes) -> None:
    wrapped = wrap(SecretBytes(kek), SecretBytes(key))
    assert wrapped == crypto_slow.wrap(kek, key)
    assert len(wrapped) == wrapped_octets(len(key))
    assert unwrap(SecretBytes(kek), wrapped).reveal() == key


def test_lengths_of_the_digest() -> None:
    assert [wrapped_octets(n) for n in (68, 36, 32, 20, 8, 1)] == [80, 48, 40, 32, 16, 16]


@pytest.mark.parametrize("length", [7, 8, 20, 36])
def test_every_flipped_bit_of_a_wrapped_key_is_refused(length: int) -> None:
    kek = SecretBytes(bytes(range(32)))
    wrapped = wrap(kek, SecretBytes(b"k" * length))
    for number in range(8 * len(wrapped)):
        bad = bytearray(wrapped)
        bad[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError, match="unwrap"):
            unwrap(kek, bytes(bad))


def test_what_is_no_wrapped_key_is_refused() -> None:
    kek, key = SecretBytes(bytes(32)), SecretBytes(b"k" * 36)
    wrapped = wrap(kek, key)
    for length in range(len(wrapped)):
        with pytest.raises(CryptoError):
            unwrap(kek, wrapped[:length])
    for data in (b"", bytes(8), bytes(16), bytes(48), wrapped + bytes(8), wrapped[8:] + wrapped[:8]):
        with pytest.raises(CryptoError):
            unwrap(kek, data)
    with pytest.raises(CryptoError):
        unwrap(SecretBytes(bytes(31) + b"\1"), wrapped)
    with pytest.raises(CryptoError):
        unwrap(SecretBytes(bytes(16)), wrapped)


def test_wrong_use_of_key_wrap_is_our_own_mistake() -> None:
    for length in (0, 15, 17, 31, 33):
        with pytest.raises(LocalError):
            wrap(SecretBytes(bytes(length)), SecretBytes(b"key"))
        with pytest.raises(LocalError):
            unwrap(SecretBytes(bytes(length)), bytes(16))
    with pytest.raises(LocalError):
        wrap(SecretBytes(bytes(32)), SecretBytes(b""))
