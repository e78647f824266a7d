"""One-time codes of an authenticator app: TOTP (RFC 6238) of six digits and thirty seconds."""

from __future__ import annotations

import base64
import hmac
from typing import Final

import pyotp

from gkmd.core.errors import CryptoError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes

_SECRET: Final = 20  # octets, as long as HMAC-SHA-1's (RFC 4226 4, R6)
_STEP: Final = 30  # seconds
_WINDOW: Final = 1  # steps to either side: for clocks that are not quite right
_DIGITS: Final = 6


def new_secret(rng: Rng) -> SecretBytes:
    return SecretBytes(rng(_SECRET))


def text_of(secret: SecretBytes) -> str:
    """As it is typed into an app: base32."""
    return base64.b32encode(secret.reveal()).decode("ascii")


def provisioning_uri(secret: SecretBytes, login: str, issuer: str) -> str:
    """An ``otpauth:`` URI, for a QR code. It contains the secret."""
    return pyotp.TOTP(text_of(secret)).provisioning_uri(name=login, issuer_name=issuer)


def verify_code(secret: SecretBytes, code: str, now: float, last_step: int) -> int:
    """The time step of a right code, to be kept as the next ``last_step``: a code is good once.

    CryptoError when it is wrong, too old or too new, or was used before.
    """
    digits = code.replace(" ", "")
    totp = pyotp.TOTP(text_of(secret), digits=_DIGITS, interval=_STEP)
    current = int(now) // _STEP
    matching = None
    for step in range(max(0, current - _WINDOW), current + _WINDOW + 1):  # all of them, in constant time
        if hmac.compare_digest(totp.generate_otp(step).encode(), digits.encode()) and step > last_step:
            matching = step
    if matching is None:
        raise CryptoError("the one-time code does not match")
    return matching
