"""Negotiating the algorithms of an IKE SA: what we offer, what we choose, what we accept as chosen.

RFC 7296 3.3 with one addition of RFC 9838 2.3 and 4.5.4: every proposal names key wrap algorithms, and
exactly one comes back. A peer that does not know them refuses us, and we refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from gkmd.core.algorithms import (
    AES_CBC_128,
    AES_CBC_256,
    AES_GCM_16_128,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    CURVE25519,
    ECP_256,
    ECP_384,
    INTEGRITIES,
    KEY_WRAPS,
    MODP_2048,
    MODP_3072,
    PRFS,
    Cipher,
    Integrity,
    KeyExchange,
    KeyWrap,
    Prf,
)
from gkmd.core.errors import LocalError, PeerError
from wire.ikev2 import Attribute, Proposal, Sa, Transform
from wire.registry import INTEG_NONE, AttributeType, NotifyType, ProtocolId, TransformType

_KNOWN_TYPES: Final = frozenset(
    (TransformType.ENCR, TransformType.PRF, TransformType.INTEG, TransformType.KE, TransformType.KWA)
)


@dataclass(frozen=True, slots=True)
class IkeSuite:
    """The algorithms of one IKE SA. ``integrity`` is None with an AEAD cipher."""

    cipher: Cipher
    integrity: Integrity | None
    prf: Prf
    key_exchange: KeyExchange
    key_wrap: KeyWrap

    def __str__(self) -> str:
        names = (self.cipher, self.integrity, self.prf, self.key_exchange, self.key_wrap)
        return "/".join(a.name for a in names if a is not None)


@dataclass(frozen=True, slots=True)
class IkePolicy:
    """Acceptable algorithms, the preferred first. The defaults are those of RFC 8247 that are not on their
    way out.

    LocalError when a list is empty, or a cipher without integrity of its own stands without an integrity
    algorithm.
    """

    ciphers: tuple[Cipher, ...] = (
        AES_GCM_16_256,
        CHACHA20_POLY1305,
        AES_GCM_16_128,
        AES_CBC_256,
        AES_CBC_128,
    )
    integrities: tuple[Integrity, ...] = INTEGRITIES
    prfs: tuple[Prf, ...] = PRFS
    key_exchanges: tuple[KeyExchange, ...] = (CURVE25519, ECP_256, ECP_384, MODP_3072, MODP_2048)
    key_wraps: tuple[KeyWrap, ...] = KEY_WRAPS

    def __post_init__(self) -> None:
        if not (self.ciphers and self.prfs and self.key_exchanges and self.key_wraps):
            raise LocalError("an IKE policy needs a cipher, a prf, a key exchange and a key wrap algorithm")
        if not self.integrities and not all(cipher.aead for cipher in self.ciphers):
            raise LocalError("a CBC cipher needs an integrity algorithm")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the responder chose: the suite, and the SA payload that says so."""

    suite: IkeSuite
    reply: Sa


class _Named(Protocol):
    @property
    def transform_id(self) -> int: ...


_A = TypeVar("_A", bound=_Named)


def offer(policy: IkePolicy) -> Sa:
    """SAi1: all of the policy. AEAD ciphers and others stand in proposals of their own (RFC 7296 3.3)."""
    kinds = [[c for c in policy.ciphers if c.aead], [c for c in policy.ciphers if not c.aead]]
    if not policy.ciphers[0].aead:
        kinds.reverse()
    proposals: list[Proposal] = []
    for ciphers in kinds:
        if ciphers:
            integrities = () if ciphers[0].aead else policy.integrities
            transforms = [_encr(c) for c in ciphers]
            transforms += _transforms(TransformType.PRF, policy.prfs)
            transforms += _transforms(TransformType.INTEG, integrities)
            transforms += _transforms(TransformType.KE, policy.key_exchanges)
            transforms += _transforms(TransformType.KWA, policy.key_wraps)
            proposals.append(Proposal(len(proposals) + 1, ProtocolId.IKE, b"", transforms))
    return Sa(proposals)


def choose(policy: IkePolicy, offered: Sa, ke_group: int) -> Choice:
    """The responder's choice: the initiator's first proposal that we can take, in it our own order of
    preference.

    ``ke_group`` is the group of the KE payload: it is taken when both sides accept it, because each group
    of the policy is acceptable and another costs a round trip. PeerError(NO_PROPOSAL_CHOSEN) when nothing
    fits.
    """
    for proposal in offered.proposals:
        suite = _suite(policy, proposal, ke_group)
        if suite is not None:
            return Choice(suite, Sa([Proposal(proposal.number, ProtocolId.IKE, b"", _chosen(suite))]))
    raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, "no proposal with algorithms that we accept")


def accepted(policy: IkePolicy, answer: Sa, ke_group: int) -> IkeSuite:
    """The initiator's view of SAr1: the suite, if it is one that we offered. PeerError otherwise.

    ``ke_group`` is the group that we sent a KE payload for; the responder cannot choose another one.
    """
    # RFC 7296 3.3: the accepted proposal is one of those offered, with one transform of each type.
    ours = offer(policy).proposals
    if len(answer.proposals) == 1:
        proposal = answer.proposals[0]
        same = [p for p in ours if p.number == proposal.number]
        types = [t.type for t in proposal.transforms]
        if same and len(set(types)) == len(types):
            suite = _suite(policy, proposal, ke_group)
            if suite is not None and suite.key_exchange.transform_id == ke_group:
                encr = _encr(suite.cipher)
                if any(t.id == encr.id and t.attributes == encr.attributes for t in same[0].transforms):
                    return suite
    raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, "the responder chose what we did not offer")


def _suite(policy: IkePolicy, proposal: Proposal, ke_group: int) -> IkeSuite | None:
    """What we take of a proposal, None when it lacks something."""
    if proposal.protocol != ProtocolId.IKE or proposal.spi:
        return None
    ids: dict[int, list[int]] = {kind: [] for kind in _KNOWN_TYPES}
    ciphers: list[tuple[int, int | None]] = []
    for transform in proposal.transforms:
        # RFC 7296 3.3.6: a transform type that we do not know makes the whole proposal unacceptable,
        if transform.type not in ids:
            return None
        # an attribute that we do not know only the transform.
        if transform.type == TransformType.ENCR:
            known, key_bits = _key_bits(transform.attributes)
            if known:
                ciphers.append((transform.id, key_bits))
        elif not transform.attributes:
            ids[transform.type].append(transform.id)
    integrities = ids[TransformType.INTEG]
    integrity = _first(policy.integrities, integrities)
    # RFC 5282 8: no integrity transform, or NONE, beside an AEAD cipher.
    aead_fits = not integrities or INTEG_NONE in integrities
    cipher = next(
        (
            c
            for c in policy.ciphers
            if (c.transform_id, c.key_bits) in ciphers and (aead_fits if c.aead else integrity is not None)
        ),
        None,
    )
    prf = _first(policy.prfs, ids[TransformType.PRF])
    wanted = [ke_group] if ke_group in ids[TransformType.KE] else []
    key_exchange = _first(policy.key_exchanges, wanted) or _first(policy.key_exchanges, ids[TransformType.KE])
    # RFC 9838 2.3: a proposal without a key wrap transform is none for us.
    key_wrap = _first(policy.key_wraps, ids[TransformType.KWA])
    if cipher is None or prf is None or key_exchange is None or key_wrap is None:
        return None
    return IkeSuite(cipher, None if cipher.aead else integrity, prf, key_exchange, key_wrap)


def _first(preferred: Iterable[_A], offered: Sequence[int]) -> _A | None:
    return next((a for a in preferred if a.transform_id in offered), None)


def _key_bits(attributes: Sequence[Attribute]) -> tuple[bool, int | None]:
    """Whether all attributes are known, and the Key Length in bits."""
    if not attributes:
        return True, None
    only = attributes[0]
    if len(attributes) == 1 and only.type == AttributeType.KEY_LENGTH and isinstance(only.value, int):
        return True, only.value
    return False, None


def _encr(cipher: Cipher) -> Transform:
    attributes = [] if cipher.key_bits is None else [Attribute(AttributeType.KEY_LENGTH, cipher.key_bits)]
    return Transform(TransformType.ENCR, cipher.transform_id, attributes)


def _transforms(kind: TransformType, algorithms: Iterable[_Named]) -> list[Transform]:
    return [Transform(kind, a.transform_id, []) for a in algorithms]


def _chosen(suite: IkeSuite) -> list[Transform]:
    transforms = [_encr(suite.cipher), *_transforms(TransformType.PRF, [suite.prf])]
    if suite.integrity is not None:
        transforms += _transforms(TransformType.INTEG, [suite.integrity])
    transforms += _transforms(TransformType.KE, [suite.key_exchange])
    transforms += _transforms(TransformType.KWA, [suite.key_wrap])
    return transforms
