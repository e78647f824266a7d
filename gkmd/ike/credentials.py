"""Who we are and whom we believe: identity, pre-shared keys, signing key, certificates, pinned keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import SigningKey
from gkmd.crypto.certificates import TrustAnchors


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that an endpoint needs to prove itself and to verify its peers.

    ``pre_shared_keys`` are by the peer's identity. ``certificate_chain`` is DER, the leaf first, and holds
    the public half of ``signing_key``; with ``raw_public_key`` the bare key is sent instead (RFC 7670).
    ``pinned`` are the SubjectPublicKeyInfo (DER) that an identity may sign with when no authority vouches
    for it. ``password``: of a member that logs in with a name, which is ``identity`` (RFC822_ADDR or KEY_ID);
    it goes to a key server that has proved itself by a signature, and to no other.
    """

    identity: Identity
    pre_shared_keys: Mapping[Identity, SecretBytes] = field(default_factory=dict)
    signing_key: SigningKey | None = None
    certificate_chain: tuple[bytes, ...] = ()
    raw_public_key: bool = False
    trust_anchors: TrustAnchors | None = None
    pinned: Mapping[Identity, tuple[bytes, ...]] = field(default_factory=dict)
    password: SecretBytes | None = None
