"""Passwords and one-time codes: what was hashed verifies, nothing else does or costs more than it may."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.errors import CryptoError
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto import one_time
from gkmd.crypto.passwords import (
    LONGEST,
    MOST,
    NOBODY,
    STANDARD,
    Cost,
    check_verifier,
    hash_password,
    nobody,
    verify_password,
)

CHEAP = Cost(8, 1, 1)


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
@settings(deadline=None, max_examples=50)
def test_a_password_verifies_and_another_does_not(password: bytes, other: bytes) -> None:
    verifier = hash_password(SecretBytes(password), SeededRng(1), CHEAP)
    check_verifier(verifier)
    verify_password(verifier, password)
    if other != password:
        with pytest.raises(CryptoError):
            verify_password(verifier, other)


def test_the_same_text_in_another_form_is_the_same_password() -> None:
    verifier = hash_password("Zo\u00eb".encode(), SeededRng(1), CHEAP)
    verify_password(verifier, "Zoe\u0308".encode())


def test_salts_differ_and_come_from_the_source_that_is_given() -> None:
    rng = SeededRng(1)
    first, second = hash_password(b"x", rng, CHEAP), hash_password(b"x", rng, CHEAP)
    assert first != second
    assert hash_password(b"x", SeededRng(1), CHEAP) == first


def test_the_standard_is_what_owasp_asks_for_at_least() -> None:
    assert (STANDARD.memory, STANDARD.passes, STANDARD.lanes) == (19456, 2, 1)
    assert NOBODY.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    check_verifier(NOBODY)


@pytest.mark.parametrize("password", [b"", b"\x00", b"x", bytes(32)])
def test_nobody_has_no_password(password: bytes) -> None:
    with pytest.raises(CryptoError):
        verify_password(nobody(CHEAP), password)


def test_passwords_are_bounded() -> None:
    with pytest.raises(ValueError, match="empty"):
        hash_password(b"", SeededRng(1), CHEAP)
    with pytest.raises(ValueError, match="1025"):
        hash_password(bytes(LONGEST + 1), SeededRng(1), CHEAP)
    with pytest.raises(CryptoError):
        verify_password(nobody(CHEAP), bytes(LONGEST + 1))


def string(memory: int = 64, passes: int = 1, lanes: int = 1, salt: int = 16, tag: int = 32) -> str:
    parts = (base64.b64encode(bytes(size)).decode().rstrip("=") for size in (salt, tag))
    return f"$argon2id$v=19$m={memory},t={passes},p={lanes}$" + "$".join(parts)


@pytest.mark.parametrize(
    "verifier",
    [string(), string(MOST.memory, MOST.passes, MOST.lanes), string(32, 1, 4), string(salt=8, tag=16)],
)
def test_what_others_made_is_taken_within_bounds(verifier: str) -> None:
    check_verifier(verifier)


@pytest.mark.parametrize(
    "verifier",
    [
        "",
        "password",
        string(MOST.memory + 1),
        string(passes=MOST.passes + 1),
        string(lanes=MOST.lanes + 1, memory=1024),
        string(passes=0),
        string(lanes=0),
        string(memory=7),
        string(memory=31, lanes=4),
        string(memory=99_999_999),
        string(salt=7),
        string(salt=65),
        string(tag=15),
        string(tag=65),
        string().replace("argon2id", "argon2i"),
        string().replace("argon2id", "argon2d"),
        string().replace("v=19", "v=16"),
        string() + "\n",
        string() + "$",
        string().replace("m=64", "m=+64"),
        string().replace("m=64", "m=６４"),
        string().replace("AAA", "A-A"),
        "$2b$12$abcdefghijklmnopqrstuv",
        "x" * 100_000,
    ],
)
def test_what_costs_too_much_or_is_none_is_refused(verifier: str) -> None:
    with pytest.raises(ValueError, match="argon2id"):
        check_verifier(verifier)
    with pytest.raises(CryptoError):
        verify_password(verifier, b"x")


@given(st.text(max_size=150))
def test_any_text_is_a_verifier_or_refused(text: str) -> None:
    try:
        check_verifier(text)
    except ValueError:
        with pytest.raises(CryptoError):
            verify_password(text, b"x")


# One-time codes: RFC 6238, appendix B, with SHA-1 and the last six digits

RFC_SECRET = SecretBytes(b"12345678901234567890")
RFC_CODES = [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037")]


@pytest.mark.parametrize(("now", "code"), RFC_CODES)
def test_the_codes_are_those_of_the_rfc(now: int, code: str) -> None:
    assert one_time.verify_code(RFC_SECRET, code, now, 0) == now // 30
    assert one_time.verify_code(RFC_SECRET, f"{code[:3]} {code[3:]}", now, 0) == now // 30


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_clock_may_be_one_step_off(shift: int) -> None:
    now, code = RFC_CODES[1]
    assert one_time.verify_code(RFC_SECRET, code, now + 30 * shift, 0) == now // 30


@pytest.mark.parametrize("shift", [-2, 2, 100])
def test_a_clock_may_not_be_two_steps_off(shift: int) -> None:
    now, code = RFC_CODES[1]
    with pytest.raises(CryptoError):
        one_time.verify_code(RFC_SECRET, code, now + 30 * shift, 0)


def test_a_step_is_good_once_and_none_before_it() -> None:
    now, code = RFC_CODES[1]
    step = one_time.verify_code(RFC_SECRET, code, now, 0)
    for last in (step, step + 1):
        with pytest.raises(CryptoError):
            one_time.verify_code(RFC_SECRET, code, now, last)
    assert one_time.verify_code(RFC_SECRET, code, now, step - 1) == step


@pytest.mark.parametrize(
    "code", ["", "0", "000000", "12345", "1234567", "abcdef", "０８１８０４", "\x00" * 6]
)
def test_other_codes_are_refused(code: str) -> None:
    with pytest.raises(CryptoError):
        one_time.verify_code(RFC_SECRET, code, 1111111109, 0)


def test_the_uri_says_all_that_an_app_needs() -> None:
    secret = one_time.new_secret(SeededRng(1))
    uri = one_time.provisioning_uri(secret, "eve@portal.example", "gkmd")
    assert uri.startswith("otpauth://totp/gkmd:eve%40portal.example?")
    assert f"secret={one_time.text_of(secret)}" in uri
    assert "issuer=gkmd" in uri
    assert len(secret) == 20
