"""The one place where the library's complaints about foreign octets become CryptoError."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

from gkmd.core.errors import CryptoError


@contextmanager
def reading(reason: str) -> Iterator[None]:
    """CryptoError with ``reason`` for input that the library cannot read, or reads today under protest only.

    The library's own text is left out: it may quote the input, which may be a private key.
    """
    try:
        with warnings.catch_warnings():
            # A finite-field key, a serial number of zero: what the next version refuses is refused now, and
            # no stranger can make us print a warning.
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            yield
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        CryptographyDeprecationWarning,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        raise CryptoError(reason) from None
