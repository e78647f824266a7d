"""Voucher codes: 80 random bits as four groups of four characters, such as ``7K2M-9XQR-4TBW-0HJC``.

The alphabet is Crockford's base32, which leaves out I, L, O and U; case, dashes and spaces do not matter, and
the letters that are easily misread are read as the digits that they look like.
"""

from __future__ import annotations

import hashlib
from typing import Final

from gkmd.core.rng import Rng

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 16
_GROUP: Final = 4
_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


def make(rng: Rng, count: int) -> tuple[str, ...]:
    """``count`` new codes, as they are shown."""
    return tuple(_shown(rng(10)) for _ in range(count))


def _shown(octets: bytes) -> str:
    number = int.from_bytes(octets, "big")
    code = "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(LENGTH)))
    return "-".join(code[at : at + _GROUP] for at in range(0, LENGTH, _GROUP))


def fold(text: str) -> str:
    """The 16 characters of a code that somebody has typed; "" when it is none."""
    if len(text) > 64 or not text.isascii():
        return ""
    code = text.upper().translate(_READ_AS)
    return code if len(code) == LENGTH and set(code) <= set(ALPHABET) else ""


def digest(code: str) -> str:
    """What is kept of a folded code: hex of its SHA-256. 80 bits are too many to try them all."""
    return hashlib.sha256(b"gkmd voucher\0" + code.encode("ascii")).hexdigest()
