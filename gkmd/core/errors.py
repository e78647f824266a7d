"""The error tree of gkmd. ``wire.errors.WireError`` stands outside: it means drop and count, never answer.

GkmdError
 +- PeerError        the peer violated the protocol or was refused; ``notify`` is the code that it is told
 +- CryptoError      a verification, an unwrap or an opening failed; the octets are not what they claim to be
 +- LocalError       our own caller asked for something impossible
 +- StoreError       the journal cannot be read or written
 +- DataplaneError   the kernel refused an SA, a policy or a membership; ``errno`` says why
 +- ConfigError      a configuration file is wrong: file, line, key and what was expected
"""

from __future__ import annotations


class GkmdError(Exception):
    """Base of every error that gkmd raises on purpose."""


class PeerError(GkmdError):
    """The peer is refused. Only ``notify`` (a Notify Message Type) reaches it; the text is for our log."""

    def __init__(self, notify: int, reason: str) -> None:
        super().__init__(reason)
        self.notify = notify


class CryptoError(GkmdError):
    """Something did not verify. The message never says more than which check failed."""


class LocalError(GkmdError):
    """A caller inside this process misused an interface."""


class StoreError(GkmdError):
    """The journal cannot be read or written; the message says what to do."""


class DataplaneError(GkmdError):
    """The kernel refused. ``errno`` is the system's number, 0 when there is none."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class ConfigError(GkmdError):
    """A configuration is wrong: ``file:line: key: found, expected``."""
