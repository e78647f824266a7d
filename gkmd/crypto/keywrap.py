"""AES Key Wrap with Padding, RFC 5649: how every symmetric key of a group travels (RFC 9838 4.5.4)."""

from __future__ import annotations

from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.secret import SecretBytes


def wrapped_octets(key_octets: int) -> int:
    """Length of a wrapped key: whole blocks of eight, and eight more."""
    return -(-key_octets // 8) * 8 + 8


def wrap(kek: SecretBytes, key: SecretBytes) -> bytes:
    """The wrapped key. ``kek`` has 16, 24 or 32 octets, ``key`` at least one; LocalError otherwise."""
    if len(kek) not in (16, 24, 32) or not key:
        raise LocalError(f"cannot wrap a key of {len(key)} octets under one of {len(kek)}")
    return aes_key_wrap_with_padding(kek.reveal(), key.reveal())


def unwrap(kek: SecretBytes, data: bytes) -> SecretBytes:
    """The key inside ``data``; CryptoError when it was not wrapped under ``kek``."""
    if len(kek) not in (16, 24, 32):
        raise LocalError(f"cannot unwrap under a key of {len(kek)} octets")
    if len(data) < 16 or len(data) % 8:
        raise CryptoError(f"a wrapped key cannot have {len(data)} octets")
    try:
        return SecretBytes(aes_key_unwrap_with_padding(kek.reveal(), data))
    except InvalidUnwrap:
        raise CryptoError("the wrapped key does not unwrap") from None
