from __future__ import annotations

import crypto_slow
import pytest
from crypto_vectors import load, octets
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.algorithms import PRF_BY_NAME, PRF_HMAC_SHA2_256, PRFS, Prf
from gkmd.core.errors import LocalError
from gkmd.crypto.prf import prf, prf_plus


@pytest.mark.parametrize("row", load("crypto_hmac.json")["prf"], ids=lambda row: row["name"])
@pytest.mark.parametrize("alg", PRFS, ids=lambda alg: alg.name)
def test_prf_known_answers(alg: Prf, row: dict[str, str]) -> None:
    assert prf(alg, octets(row["key"]), octets(row["data"])).hex() == row[alg.hash_name]


@pytest.mark.parametrize("row", load("crypto_keys.json")["prf_plus"], ids=lambda row: row["out"][:8])
def test_prf_plus_known_answers(row: dict[str, str]) -> None:
    out = octets(row["out"])
    assert prf_plus(PRF_BY_NAME[row["prf"]], octets(row["key"]), octets(row["seed"]), len(out)) == out


@settings(max_examples=60, deadline=None, database=None)
@given(
    alg=st.sampled_from(PRFS),
    key=st.binary(min_size=1, max_size=200),
    seed=st.binary(max_size=200),
    length=st.integers(1, 500),
)
def test_prf_plus_is_the_loop_of_the_standard(alg: Prf, key: bytes, seed: bytes, length: int) -> None:
    assert prf_plus(alg, key, seed, length) == crypto_slow.prf_plus(alg.hash_name, key, seed, length)


def test_prf_plus_ends_after_255_blocks() -> None:
    assert len(prf_plus(PRF_HMAC_SHA2_256, b"k", b"s", 255 * 32)) == 255 * 32
    for length in (0, -1, 255 * 32 + 1):
        with pytest.raises(LocalError, match="prf"):
            prf_plus(PRF_HMAC_SHA2_256, b"k", b"s", length)
