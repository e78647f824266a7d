from __future__ import annotations

import crypto_slow
import pytest
from crypto_vectors import load, octets

from gkmd.core.algorithms import (
    CURVE25519,
    ECP_256,
    ECP_384,
    KEY_EXCHANGE_BY_NAME,
    KEY_EXCHANGES,
    MODP_2048,
    MODP_3072,
    KeyExchange,
)
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import Rng, SeededRng
from gkmd.crypto import modp
from gkmd.crypto.exchange import generate

_VECTORS = load("crypto_exchange.json")
_ids = {"ids": lambda alg: alg.name}
_CONSTANT = {MODP_2048: 124476, MODP_3072: 1690314}


def fixed(text: str) -> Rng:
    """A source that gives these octets and no others."""

    def rng(length: int) -> bytes:
        assert length == len(octets(text))
        return octets(text)

    return rng


@pytest.mark.parametrize("row", _VECTORS["pairs"], ids=lambda row: row["from"])
def test_known_pairs(row: dict[str, str]) -> None:
    alg = KEY_EXCHANGE_BY_NAME[row["name"]]
    ours, theirs = generate(alg, fixed(row["i"])), generate(alg, fixed(row["r"]))
    assert (ours.public.hex(), theirs.public.hex()) == (row["public_i"], row["public_r"])
    assert ours.agree(theirs.public).reveal().hex() == row["shared"]
    assert theirs.agree(ours.public).reveal().hex() == row["shared"]


@pytest.mark.parametrize("row", _VECTORS["functions"], ids=lambda row: row["from"])
def test_known_x25519(row: dict[str, str]) -> None:
    assert generate(CURVE25519, fixed(row["scalar"])).agree(octets(row["point"])).reveal().hex() == row["out"]


@pytest.mark.parametrize("alg", _CONSTANT, **_ids)
def test_modp_primes_follow_pi(alg: KeyExchange) -> None:
    group = modp._GROUPS[alg]
    assert group.prime == crypto_slow.modp_prime(8 * alg.public_octets, _CONSTANT[alg])
    assert group.octets == alg.public_octets


@pytest.mark.parametrize("alg", _CONSTANT, **_ids)
def test_modp_agrees_with_plain_arithmetic(alg: KeyExchange) -> None:
    prime, length = modp._GROUPS[alg].prime, alg.public_octets
    draw = SeededRng("exponent")
    exponent = int.from_bytes(draw(modp._GROUPS[alg].exponent_octets), "big")
    pair = generate(alg, SeededRng("exponent"))
    assert pair.public == pow(2, exponent, prime).to_bytes(length, "big")
    for value in (2, 3, prime - 2, prime // 2, 12345678901234567890):
        expected = pow(value, exponent, prime).to_bytes(length, "big")
        assert pair.agree(value.to_bytes(length, "big")).reveal() == expected


def test_modp_without_the_library() -> None:
    """Once ``cryptography`` drops finite-field Diffie-Hellman, the reason is said; its errors are ours."""
    private, _ = modp.generate(MODP_2048, SeededRng(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modp, "_PLACES", ("gkmd.crypto.nowhere",))
        with pytest.raises(LocalError, match="finite-field"):
            modp._find_names()
        patch.setattr(modp, "_PublicNumbers", raise_value_error)
        with pytest.raises(CryptoError, match="no shared secret"):
            modp.agree(MODP_2048, private, bytes(255) + b"\2")


def raise_value_error(*_: object) -> None:
    raise ValueError


def test_modp_secret_keeps_leading_zeros() -> None:
    """RFC 7296 2.14: padded to the length of the modulus. A peer value is searched whose secret is short."""
    prime = modp._GROUPS[MODP_2048].prime
    exponent = int.from_bytes(SeededRng("short")(32), "big")
    pair = generate(MODP_2048, SeededRng("short"))
    value = next(v for v in range(3, 5000) if pow(v, exponent, prime) < 1 << 2040)
    secret = pair.agree(value.to_bytes(256, "big")).reveal()
    assert secret[0] == 0
    assert len(secret) == 256


@pytest.mark.parametrize("alg", KEY_EXCHANGES, **_ids)
def test_both_ends_agree_and_seeds_decide(alg: KeyExchange) -> None:
    ours, theirs = generate(alg, SeededRng(1)), generate(alg, SeededRng(2))
    assert len(ours.public) == alg.public_octets
    assert ours.agree(theirs.public) == theirs.agree(ours.public)
    assert generate(alg, SeededRng(1)).public == ours.public
    assert ours.public != theirs.public
    assert ours.alg is alg


@pytest.mark.parametrize("alg", KEY_EXCHANGES, **_ids)
def test_wrong_lengths_are_refused(alg: KeyExchange) -> None:
    pair = generate(alg, SeededRng(1))
    good = generate(alg, SeededRng(2)).public
    for bad in (b"", good[:-1], good + b"\0", b"\0" + good, b"\x04" + good, good * 2, good[: len(good) // 2]):
        with pytest.raises(CryptoError, match="octets"):
            pair.agree(bad)


@pytest.mark.parametrize(
    "point",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "00" * 31 + "80",
    ],
)
def test_x25519_small_order_is_refused(point: str) -> None:
    """The points whose product is zero for every scalar, some non-canonical (RFC 7748 6.1)."""
    with pytest.raises(CryptoError, match="no shared secret"):
        generate(CURVE25519, SeededRng(1)).agree(octets(point))


@pytest.mark.parametrize("alg", [ECP_256, ECP_384], **_ids)
def test_points_off_the_curve_are_refused(alg: KeyExchange) -> None:
    pair, good = generate(alg, SeededRng(1)), generate(alg, SeededRng(2)).public
    half = alg.public_octets // 2
    x, y = good[:half], good[half:]
    for bad in (
        bytes(2 * half),
        y + x,
        x + bytes(half),
        b"\xff" * 2 * half,
        good[:-1] + bytes((good[-1] ^ 1,)),
    ):
        with pytest.raises(CryptoError, match="point"):
            pair.agree(bad)


@pytest.mark.parametrize("alg", _CONSTANT, **_ids)
def test_modp_values_out_of_range_are_refused(alg: KeyExchange) -> None:
    pair, prime, length = generate(alg, SeededRng(1)), modp._GROUPS[alg].prime, alg.public_octets
    for bad in (0, 1, prime - 1, prime, prime + 1, (1 << 8 * length) - 1):
        with pytest.raises(CryptoError, match="out of range"):
            pair.agree(bad.to_bytes(length, "big"))


@pytest.mark.parametrize("alg", [ECP_256, ECP_384, MODP_2048, MODP_3072], **_ids)
@pytest.mark.parametrize("octet", [b"\0", b"\xff"])
def test_a_stuck_source_is_noticed(alg: KeyExchange, octet: bytes) -> None:
    if octet == b"\xff" and alg in _CONSTANT:
        return  # every exponent but 0 and 1 will do
    with pytest.raises(LocalError, match="stuck"):
        generate(alg, lambda length: octet * length)


def test_a_scalar_at_the_order_is_drawn_again() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    draws = [order.to_bytes(32, "big"), (order - 1).to_bytes(32, "big")]
    assert generate(ECP_256, lambda _: draws.pop(0)).public
    assert not draws


def test_an_unknown_exchange_is_our_own_mistake() -> None:
    with pytest.raises(LocalError, match="ecp-521"):
        generate(KeyExchange("ecp-521", 21, 132), SeededRng(1))


@pytest.mark.parametrize("alg", KEY_EXCHANGES, **_ids)
def test_nothing_secret_in_repr(alg: KeyExchange) -> None:
    pair = generate(alg, SeededRng(1))
    assert repr(pair) == f"<key pair: {alg.name}>"
    assert repr(pair.agree(generate(alg, SeededRng(2)).public)).startswith("<secret")
