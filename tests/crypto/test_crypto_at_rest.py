from __future__ import annotations

import crypto_slow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto import seal_at_rest
from gkmd.crypto.seal_at_rest import MasterKey

_KEY = SecretBytes(bytes(range(32)))


def master(seed: object = 1, key: SecretBytes = _KEY) -> MasterKey:
    return MasterKey(key, SeededRng(str(seed)))


@settings(max_examples=30, deadline=None, database=None)
@given(plaintext=st.binary(max_size=100), context=st.binary(max_size=40), seed=st.integers())
def test_format_by_the_slow_truth(plaintext: bytes, context: bytes, seed: int) -> None:
    rng = SeededRng(str(seed))
    salt, nonce = rng(16), rng(12)
    working = crypto_slow.prf_plus("sha256", _KEY.reveal(), b"gkmd seal at rest" + salt, 32)
    expected = b"\x01" + salt + nonce + crypto_slow.gcm_seal(working, nonce, plaintext, context)
    assert master(seed).seal(plaintext, context) == expected
    assert master("other").open(expected, context) == plaintext


def test_a_later_life_opens_what_an_earlier_one_sealed() -> None:
    sealed = [master(seed).seal(b"value %d" % seed, b"row") for seed in range(100)]
    reader = master("reader")
    for _ in range(2):
        assert [reader.open(each, b"row") for each in sealed] == [b"value %d" % seed for seed in range(100)]
    assert len(reader._opened) <= seal_at_rest._SALTS_KEPT


def test_the_same_value_never_looks_the_same() -> None:
    one = master()
    assert len({one.seal(b"value", b"row") for _ in range(200)}) == 200


def test_every_flipped_bit_and_every_cut_is_refused() -> None:
    one = master()
    sealed = one.seal(b"a key", b"row")
    for number in range(8 * len(sealed)):
        bad = bytearray(sealed)
        bad[number // 8] ^= 1 << number % 8
        with pytest.raises(CryptoError):
            one.open(bytes(bad), b"row")
    for length in range(len(sealed)):
        with pytest.raises(CryptoError):
            one.open(sealed[:length], b"row")
    with pytest.raises(CryptoError):
        one.open(sealed + b"\0", b"row")


def test_another_context_or_master_key_does_not_open() -> None:
    sealed = master().seal(b"a key", b"member 1")
    for context in (b"", b"member 2", b"member 11"):
        with pytest.raises(CryptoError, match="wrong master key"):
            master().open(sealed, context)
    with pytest.raises(CryptoError, match="wrong master key"):
        master(key=SecretBytes(bytes(32))).open(sealed, b"member 1")


def test_the_working_key_changes_before_it_is_worn_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_at_rest, "_VALUES_PER_SALT", 3)
    one = master()
    salts = [one.seal(b"", b"")[1:17] for _ in range(7)]
    assert salts[0] == salts[1] == salts[2] != salts[3] == salts[4] == salts[5] != salts[6]


def test_wrong_master_keys_are_our_own_mistake() -> None:
    for length in (0, 16, 31, 33):
        with pytest.raises(LocalError, match="32 octets"):
            master(key=SecretBytes(bytes(length)))


def test_names_are_steady_and_of_this_master_key_alone() -> None:
    one = master()
    assert one.name(b"zoe") == one.name(b"zoe") == master(seed=7).name(b"zoe")
    assert len(one.name(b"")) == seal_at_rest.NAME_OCTETS
    assert len({one.name(b"zoe"), one.name(b"zo"), one.name(b""), other().name(b"zoe")}) == 4


def other() -> MasterKey:
    return master(key=SecretBytes(bytes(32)))


def test_nothing_secret_in_repr() -> None:
    assert repr(master()) == "<master key>"
    assert not hasattr(master(), "__dict__")
