"""Randomness as an argument: ``Rng`` is any callable that returns n fresh octets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TypeAlias

Rng: TypeAlias = Callable[[int], bytes]

system_rng: Rng = os.urandom


class SeededRng:
    """A reproducible stream for tests and simulations; never for keys that protect anything."""

    def __init__(self, seed: int | str) -> None:
        self._seed = str(seed).encode()
        self._counter = 0

    def __call__(self, octets: int) -> bytes:
        out = b""
        while len(out) < octets:
            out += hashlib.sha512(self._seed + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        return out[:octets]
