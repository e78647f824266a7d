"""Ids: a prefix that says of what, and random characters that say nothing about anybody."""

from __future__ import annotations

import base64

from gkmd.core.rng import Rng


def new_id(prefix: str, rng: Rng, characters: int = 16) -> str:
    """``prefix`` and so many characters of base32 in lower case: five random bits each."""
    octets = rng(-(-characters * 5 // 8))
    return prefix + base64.b32encode(octets).decode("ascii").lower()[:characters]
