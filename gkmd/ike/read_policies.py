"""One GSA policy at a time, from the wire to what this member would do with it; whatever is not acceptable is
refused.

RFC 9838 4.4.2 with 2.6, 2.7 and RFC 5374 4.1.3.4 (GPAD). Forms, sizes and repetitions of attributes are the
codec's business; here stands what they mean. Everything raises PeerError(NO_PROPOSAL_CHOSEN), which is what a
member tells the key server about a policy that it cannot take (2.3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import (
    CIPHER_BY_TRANSFORM,
    INTEGRITY_BY_TRANSFORM,
    KEY_WRAP_BY_TRANSFORM,
    Cipher,
    Integrity,
    KeyWrap,
    RekeyAuth,
    SequenceNumbers,
)
from gkmd.core.errors import PeerError
from gkmd.ike.group_join import GroupJoin, allowed, link_control
from gkmd.ike.selectors import UDP, Selection, read_selector
from wire.attributes import Attribute
from wire.gikev2 import GroupSaPolicy
from wire.ikev2 import Transform
from wire.registry import (
    INTEG_NONE,
    AttributeType,
    GroupSaAttribute,
    NotifyType,
    ProtocolId,
    TransformType,
)

_IMPLICIT_IV: Final = range(29, 32)  # RFC 8750
_RESERVED_SPIS: Final = 256  # RFC 4303 2.1

# RFC 9838 table 2, GCAUTH apart: it belongs to registrations only.
_REKEY_TYPES: Final = frozenset({TransformType.ENCR, TransformType.INTEG, TransformType.KWA})
_ESP_TYPES: Final = frozenset({TransformType.ENCR, TransformType.INTEG, TransformType.SN})


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """A TEK policy without its key. ``lifetime`` None: not given."""

    spi: int
    source: IpAddress | None
    destination: IpAddress
    protocol: int
    port: int
    cipher: Cipher
    integrity: Integrity | None
    shared: bool
    lifetime: float | None


@dataclass(frozen=True, slots=True)
class RekeyPolicy:
    """A KEK policy without its key. ``method`` is None in a rekey, ``algorithm`` b"" but for signatures."""

    spi: bytes
    source: IpAddress | None
    address: IpAddress
    port: int
    cipher: Cipher
    integrity: Integrity | None
    key_wrap: KeyWrap
    method: RekeyAuth | None
    algorithm: bytes
    lifetime: float
    first_message_id: int


def refused(reason: str) -> PeerError:
    """The policy is not acceptable to this member."""
    return PeerError(NotifyType.NO_PROPOSAL_CHOSEN, reason)


def number(attributes: Sequence[Attribute], kind: int) -> int | None:
    """A long attribute's value as a number; None when it is not there."""
    for attribute in attributes:
        if attribute.type == kind:
            return (
                attribute.value
                if isinstance(attribute.value, int)
                else int.from_bytes(attribute.value, "big")
            )
    return None


def read_data_policy(policy: GroupSaPolicy, join: GroupJoin, *, multicast_rekey: bool) -> DataPolicy:
    """A Data-Security SA's policy."""
    if policy.protocol != ProtocolId.ESP:
        raise refused("AH is not supported")
    transforms = _by_type(policy.transforms, _ESP_TYPES)
    cipher, integrity = _cipher(transforms, join.offer.ciphers, join.offer.integrities, "data")
    sequence = transforms.get(TransformType.SN)
    if sequence is None or sequence.attributes:
        raise refused("a data SA has no sequence number transform")  # RFC 9838 2.6: MUST be there
    if sequence.id == SequenceNumbers.EXTENDED_64:
        raise refused("a data SA has extended sequence numbers")  # RFC 9838 4.4.2.1.3: MUST NOT
    if sequence.id not in (SequenceNumbers.SEQUENTIAL_32, SequenceNumbers.UNSPECIFIED_32):
        raise refused(f"sequence number transform {sequence.id} is unknown")

    source, destination = _selections(policy)
    if destination.address is None or not destination.address.is_multicast:
        raise refused("the destination of a data SA is not one multicast address")
    if source.protocol != destination.protocol or source.port:
        raise refused("the source selector of a data SA is narrower than a policy of ours can be")
    if not join.data_addresses and link_control(destination.address):
        raise refused(f"{destination.address} is for the protocols of the link")
    if not allowed(destination.address, join.data_addresses):
        raise refused(f"data to {destination.address} is not what this member joined for")
    _check_source(source.address, join)

    spi = int.from_bytes(policy.spi, "big")
    if spi < _RESERVED_SPIS:
        raise refused(f"SPI {spi} is reserved")
    lifetime = number(policy.attributes, GroupSaAttribute.GSA_KEY_LIFETIME)
    if (lifetime is None and multicast_rekey) or lifetime == 0:
        raise refused("a data SA has no lifetime")  # RFC 9838 4.4.2.2.1: MUST with multicast rekey
    return DataPolicy(
        spi,
        source.address,
        destination.address,
        destination.protocol,
        destination.port,
        cipher,
        integrity,
        sequence.id == SequenceNumbers.UNSPECIFIED_32,
        lifetime,
    )


def read_rekey_policy(policy: GroupSaPolicy, join: GroupJoin, *, registration: bool) -> RekeyPolicy:
    """The Rekey SA's policy. GCAUTH has to be there at registration and must not be in a rekey (RFC 9838
    4.4.2.1.1).
    """
    offer = join.offer
    types = _REKEY_TYPES | {TransformType.GCAUTH} if registration else _REKEY_TYPES
    transforms = _by_type(policy.transforms, types)
    cipher, integrity = _cipher(transforms, offer.rekey_ciphers, offer.rekey_integrities, "rekey")
    key_wrap = _key_wrap(transforms.get(TransformType.KWA), offer.key_wraps)
    method, algorithm = None, b""
    if registration:
        method, algorithm = _method(transforms.get(TransformType.GCAUTH))
        if method not in offer.rekey_auths:
            raise refused(f"rekeys with {method.name.lower()} authentication are not accepted")

    source, destination = _selections(policy)
    # RFC 9838 4.4.2: one multicast address, UDP, one port.
    if destination.address is None or not destination.address.is_multicast:
        raise refused("the destination of rekeys is not one multicast address")
    if destination.protocol not in (UDP, 0) or not destination.port:
        raise refused("the destination of rekeys is not one UDP port")
    if not allowed(destination.address, join.rekey_addresses):
        raise refused(f"rekeys to {destination.address} are not what this member joined for")
    if not any(policy.spi):
        raise refused("the SPI of a Rekey SA is zero")
    lifetime = number(policy.attributes, GroupSaAttribute.GSA_KEY_LIFETIME)
    if not lifetime:
        raise refused("the Rekey SA has no lifetime")
    return RekeyPolicy(
        policy.spi,
        source.address,
        destination.address,
        destination.port,
        cipher,
        integrity,
        key_wrap,
        method,
        algorithm,
        lifetime,
        number(policy.attributes, GroupSaAttribute.GSA_INITIAL_MESSAGE_ID) or 0,
    )


def _by_type(transforms: Sequence[Transform], types: frozenset[TransformType]) -> dict[int, Transform]:
    # RFC 9838 4.4.2.1: exactly one of each mandatory type, at most one of each optional type.
    found: dict[int, Transform] = {}
    for transform in transforms:
        if transform.type not in types:
            raise refused(f"transform type {transform.type} does not belong here")
        if transform.type in found:
            raise refused(f"transform type {transform.type} is there twice")
        found[transform.type] = transform
    return found


def _cipher(
    transforms: dict[int, Transform],
    ciphers: tuple[Cipher, ...],
    integrities: tuple[Integrity, ...],
    what: str,
) -> tuple[Cipher, Integrity | None]:
    encr, integ = transforms.get(TransformType.ENCR), transforms.get(TransformType.INTEG)
    if encr is None:
        raise refused(f"a {what} SA has no cipher")
    if encr.id in _IMPLICIT_IV:
        # RFC 9838 2.7: never on a Rekey SA, on ESP only with one sender; the kernel has none of them.
        raise refused(f"a {what} SA has a cipher with implicit IV")
    bits: int | None = None
    for attribute in encr.attributes:
        if attribute.type != AttributeType.KEY_LENGTH or not isinstance(attribute.value, int):
            raise refused(f"a cipher has an unknown attribute {attribute.type}")
        bits = attribute.value
    cipher = CIPHER_BY_TRANSFORM.get((encr.id, bits))
    if cipher is None or cipher not in ciphers:
        raise refused(f"cipher {encr.id} with {bits} bits is not accepted for a {what} SA")
    # RFC 9838 table 2 (*): absent or NONE with an AEAD cipher, else there and not NONE.
    if integ is not None and integ.attributes:
        raise refused("an integrity transform has an attribute")
    if cipher.aead:
        if integ is not None and integ.id != INTEG_NONE:
            raise refused(f"{cipher.name} with an integrity algorithm")
        return cipher, None
    integrity = INTEGRITY_BY_TRANSFORM.get(integ.id) if integ is not None else None
    if integrity is None or integrity not in integrities:
        raise refused(f"{cipher.name} without an accepted integrity algorithm")
    return cipher, integrity


def _key_wrap(transform: Transform | None, accepted: tuple[KeyWrap, ...]) -> KeyWrap:
    key_wrap = KEY_WRAP_BY_TRANSFORM.get(transform.id) if transform and not transform.attributes else None
    if key_wrap is None or key_wrap not in accepted:
        raise refused("the Rekey SA has no accepted key wrap algorithm")
    return key_wrap


def _method(transform: Transform | None) -> tuple[RekeyAuth, bytes]:
    if transform is None:
        raise refused("the Rekey SA has no authentication method")
    if transform.id not in {method.value for method in RekeyAuth}:
        raise refused(f"authentication method {transform.id} of rekeys is unknown")
    method = RekeyAuth(transform.id)
    algorithm = b""
    for attribute in transform.attributes:
        if attribute.type != AttributeType.SIGNATURE_ALGORITHM or not isinstance(attribute.value, bytes):
            raise refused(f"an authentication method has an unknown attribute {attribute.type}")
        algorithm = attribute.value
    # RFC 9838 4.4.2.1.1: with signatures it has to be there, with anything else it must not.
    if bool(algorithm) is not (method is RekeyAuth.SIGNATURE):
        raise refused("the signature algorithm does not go with the authentication method")
    return method, algorithm


def _selections(policy: GroupSaPolicy) -> tuple[Selection, Selection]:
    try:
        source, destination = read_selector(policy.source), read_selector(policy.destination)
    except ValueError as error:
        raise refused(str(error)) from None
    if source.version != destination.version:
        raise refused("source and destination are of different IP versions")
    return source, destination


def _check_source(source: IpAddress | None, join: GroupJoin) -> None:
    if source is None:
        if join.data_sources:
            raise refused("data from any source is not what this member joined for")
    elif source.is_multicast or source.is_unspecified:
        raise refused(f"{source} is no source address")
    elif not allowed(source, join.data_sources):
        raise refused(f"data from {source} is not what this member joined for")
