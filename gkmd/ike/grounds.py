"""On what grounds a peer was believed to be who it says, as an IKE SA and the journal remember it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from gkmd.core.effect import Proof
from wire.registry import AuthMethod

UNKNOWN: Final = ""  # journalled by a gkmd that did not note it
SHARED_KEY: Final = "psk"
CERTIFICATE: Final = "certificate"
TICKET: Final = "ticket"
PASSWORD: Final = "password"
_PINNED: Final = "pinned"


@dataclass(frozen=True, slots=True)
class Believed:
    """The method of the AUTH payload that verified, and what of our configuration it rests on."""

    method: AuthMethod
    grounds: str


def pinned(public_key: bytes) -> str:
    """The grounds that a pinned key is: with its name, for an identity may have several."""
    return f"{_PINNED} {hashlib.blake2b(public_key, digest_size=16).hexdigest()}"


def is_pinned(grounds: str) -> bool:
    """Whether ``grounds`` are a pinned key, whichever."""
    return grounds.partition(" ")[0] == _PINNED


def password(of: str) -> str:
    """The grounds that a password is, with whose it was (``PasswordVerdict.grounds``)."""
    return f"{PASSWORD} {of}" if of else PASSWORD


def whose_password(grounds: str) -> str:
    """Whose password was shown; "" when none was."""
    kind, _, of = grounds.partition(" ")
    return of if kind == PASSWORD else ""


def proof_of(grounds: str) -> Proof:
    """What the grounds are worth to the admission."""
    return _PROOFS.get(grounds.partition(" ")[0], Proof.CONFIGURED)


def whose(grounds: str) -> str:
    """Who the grounds say that a peer is, beside its name. Names for passwords are chosen by whoever signs up
    or makes a list: peers of one name are the same one only when this is the same, too.
    """
    kind = grounds.partition(" ")[0]
    return grounds if kind in _PROOFS else ""


_PROOFS: Final = {TICKET: Proof.TICKET, PASSWORD: Proof.PASSWORD}
