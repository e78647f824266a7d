"""Sealing what lies on disk: AES-256-GCM under keys drawn from the master key.

A sealed value is version (1) | salt (16) | nonce (12) | ciphertext | tag (16). The salt makes, by
HKDF-Expand, a working key for one life of the process: random 96-bit nonces are safe for 2^32 values per
key (NIST SP 800-38D 8.3), which a busy server would pass on one master key within weeks.

What a sealed value is found by, where that tells too much, is a MAC (keyed BLAKE2b, RFC 7693) under a key of
its own.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gkmd.core.algorithms import PRF_HMAC_SHA2_256
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.prf import prf_plus

MASTER_KEY_OCTETS: Final = 32

_VERSION: Final = b"\x01"
_SALT_OCTETS: Final = 16
_NONCE_OCTETS: Final = 12
_HEAD_OCTETS: Final = 1 + _SALT_OCTETS + _NONCE_OCTETS
_TAG_OCTETS: Final = 16
_LABEL: Final = b"gkmd seal at rest"
_NAMING_LABEL: Final = b"gkmd name at rest"
NAME_OCTETS: Final = 16
_VALUES_PER_SALT: Final = 1 << 31
_SALTS_KEPT: Final = 64


class MasterKey:
    """The key of the journal. ``key`` has 32 octets; LocalError otherwise."""

    __slots__ = ("_key", "_naming", "_opened", "_own", "_own_head", "_own_left", "_rng")

    def __init__(self, key: SecretBytes, rng: Rng) -> None:
        if len(key) != MASTER_KEY_OCTETS:
            raise LocalError(f"a master key has {MASTER_KEY_OCTETS} octets, not {len(key)}")
        self._key: Final = key
        self._rng: Final = rng
        self._naming: Final = prf_plus(PRF_HMAC_SHA2_256, key.reveal(), _NAMING_LABEL, 32)
        self._opened: dict[bytes, AESGCM] = {}
        self._own: AESGCM | None = None
        self._own_head = b""
        self._own_left = 0

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Seal ``plaintext`` so that it opens only with the same ``context``, e.g. its table and row."""
        if self._own is None or self._own_left == 0:
            salt = self._rng(_SALT_OCTETS)
            self._own, self._own_head, self._own_left = self._working(salt), _VERSION + salt, _VALUES_PER_SALT
        self._own_left -= 1
        nonce = self._rng(_NONCE_OCTETS)
        return self._own_head + nonce + self._own.encrypt(nonce, plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What ``seal`` was given; CryptoError when the value, its context or the master key is another."""
        if len(sealed) < _HEAD_OCTETS + _TAG_OCTETS or sealed[:1] != _VERSION:
            raise CryptoError("this is no value sealed by gkmd")
        salt = sealed[1 : 1 + _SALT_OCTETS]
        aead = self._opened.get(salt)
        if aead is None:
            if len(self._opened) >= _SALTS_KEPT:
                self._opened.clear()
            aead = self._opened[salt] = self._working(salt)
        try:
            return aead.decrypt(sealed[1 + _SALT_OCTETS : _HEAD_OCTETS], sealed[_HEAD_OCTETS:], context)
        except InvalidTag:
            raise CryptoError("a sealed value does not open: wrong master key, or it was altered") from None

    def name(self, text: bytes) -> bytes:
        """16 octets that stand for ``text``, always the same; who has no master key learns nothing by them
        and cannot try what it might be.
        """
        return hashlib.blake2b(text, digest_size=NAME_OCTETS, key=self._naming).digest()

    def _working(self, salt: bytes) -> AESGCM:
        return AESGCM(prf_plus(PRF_HMAC_SHA2_256, self._key.reveal(), _LABEL + salt, 32))

    def __repr__(self) -> str:
        return "<master key>"
