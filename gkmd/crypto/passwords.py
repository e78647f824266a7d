"""Passwords, kept as argon2id strings (RFC 9106). Every function here takes time: not for the event loop."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from argon2.exceptions import Argon2Error
from argon2.low_level import Type, hash_secret, verify_secret

from gkmd.core.errors import CryptoError
from gkmd.core.rng import Rng, system_rng
from gkmd.core.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class Cost:
    """``memory`` in KiB, ``passes`` over it, ``lanes`` at the same time."""

    memory: int
    passes: int
    lanes: int


STANDARD: Final = Cost(19 * 1024, 2, 1)  # OWASP's smallest for argon2id; about 17 ms
MOST: Final = Cost(64 * 1024, 10, 4)  # of a string that somebody else made
LONGEST: Final = 1024  # octets of a password; checked before it is looked at
_SALT: Final = 16
_TAG: Final = 32
_STRING: Final = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)


def hash_password(password: SecretBytes | bytes, rng: Rng = system_rng, cost: Cost = STANDARD) -> str:
    """An argon2id string with a fresh salt. ValueError when the password is empty or longer than LONGEST."""
    octets = _octets(password)
    if not octets:
        raise ValueError("an empty password")
    encoded = hash_secret(octets, rng(_SALT), cost.passes, cost.memory, cost.lanes, _TAG, Type.ID)
    return encoded.decode("ascii")


def verify_password(verifier: str, password: SecretBytes | bytes) -> None:
    """CryptoError when it is another password, or when the verifier is none that ``check_verifier`` takes."""
    try:
        check_verifier(verifier)
        verify_secret(verifier.encode("ascii"), _octets(password), Type.ID)
    except (ValueError, Argon2Error):
        raise CryptoError("the password is not the one of this verifier") from None


def check_verifier(text: str) -> None:
    """ValueError unless it is an argon2id string that costs no more than ``MOST``: who brings verifiers along
    must not be able to make the server work as hard as they like.
    """
    found = _STRING.fullmatch(text) if len(text) <= 200 else None
    if found is None:
        raise ValueError("no argon2id string; $argon2id$v=19$m=...,t=...,p=...$salt$hash is needed")
    cost = Cost(int(found[1]), int(found[2]), int(found[3]))
    if not (1 <= cost.lanes <= MOST.lanes and 1 <= cost.passes <= MOST.passes):
        raise ValueError(
            f"an argon2id string of t={cost.passes}, p={cost.lanes};"
            f" at most t={MOST.passes}, p={MOST.lanes} are taken"
        )
    if not 8 * cost.lanes <= cost.memory <= MOST.memory:
        raise ValueError(
            f"an argon2id string of m={cost.memory} KiB; 8 for each lane to {MOST.memory} are taken"
        )
    salt, tag = _decoded(found[4]), _decoded(found[5])
    if not 8 <= len(salt) <= 64 or not 16 <= len(tag) <= 64:
        raise ValueError(
            f"an argon2id string with {len(salt)} octets of salt and {len(tag)} of hash; 8 to 64 and 16 to 64"
            " are taken"
        )


def nobody(cost: Cost = STANDARD) -> str:
    """A verifier that costs the same and that no password is known for."""
    salt, tag = (base64.b64encode(bytes(n)).decode().rstrip("=") for n in (_SALT, _TAG))
    return f"$argon2id$v=19$m={cost.memory},t={cost.passes},p={cost.lanes}${salt}${tag}"


NOBODY: Final = nobody()


def _octets(password: SecretBytes | bytes) -> bytes:
    """The octets that are hashed: text in normal form C, so that one keyboard's accent is another's."""
    octets = password.reveal() if isinstance(password, SecretBytes) else password
    if len(octets) > LONGEST:
        raise ValueError(f"a password of {len(octets)} octets; at most {LONGEST} are taken")
    try:
        return unicodedata.normalize("NFC", octets.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return octets


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("an argon2id string whose salt or hash is no base64") from None
