"""The group of a reservation: its policy, made of what was booked and what the operator has set."""

from __future__ import annotations

from typing import Final

import msgspec

from gkmd.api.nouns import SecurityPolicy
from gkmd.api.problem import FieldProblem
from gkmd.core.address import IpAddress
from gkmd.core.algorithms import (
    CIPHER_BY_NAME,
    HMAC_SHA2_256_128,
    INTEGRITY_BY_NAME,
    Cipher,
    Integrity,
    RekeyAuth,
)
from gkmd.core.esp import Mode
from gkmd.core.identity import Identity, IdentityKind, IdentityPattern
from gkmd.group.model import GroupPolicy, SenderRule, SuppliedSa
from gkmd.group.platform import schedule
from gkmd.group.platform.pool import is_source_specific
from gkmd.group.platform.records import Reservation
from gkmd.group.platform.settings import PlatformSettings

PROTOCOLS: Final = {"udp": 17, "any": 0}
_REKEY_AUTHS: Final = {"signature": RekeyAuth.SIGNATURE, "implicit": RekeyAuth.IMPLICIT}
_MODES: Final = {mode.value: mode for mode in Mode}


def group_id(id: str) -> Identity:
    """The group id of a reservation: its id as KEY_ID."""
    return Identity(IdentityKind.KEY_ID, id.encode("ascii"))


def policy_of(reservation: Reservation, settings: PlatformSettings) -> GroupPolicy:
    """The policy that its group runs by. Who receives is the doorkeeper's business and not said in it."""
    security = msgspec.convert(reservation.security, SecurityPolicy)
    cipher, rekey_cipher = CIPHER_BY_NAME[security.cipher], CIPHER_BY_NAME[security.rekey_cipher]
    supplied = None
    if reservation.supplied_key is not None:
        supplied = SuppliedSa(
            reservation.supplied_spi, reservation.supplied_key, reservation.supplied_lifetime
        )
    return GroupPolicy(
        name=reservation.id,
        group_id=group_id(reservation.id),
        address=reservation.address,
        rekey_address=reservation.address,
        protocol=reservation.protocol,
        port=reservation.port,
        rekey_source=_rekey_source(reservation.address, settings),
        rekey_interface=settings.rekey_interface,
        rekey_ttl=settings.rekey_ttl,
        senders=tuple(
            SenderRule(IdentityPattern(host.identity), host.source)
            for host in reservation.senders
            if host.identity
        ),
        mode=_MODES[security.mode],
        cipher=cipher,
        integrity=_integrity(cipher, security.integrity),
        rekey_cipher=rekey_cipher,
        rekey_integrity=_integrity(rekey_cipher, security.rekey_integrity),
        rekey_auth=_REKEY_AUTHS[security.rekey_auth],
        tek_lifetime=float(security.tek_lifetime),
        kek_lifetime=float(security.kek_lifetime),
        activation_delay=security.activation_delay,
        deactivation_delay=security.deactivation_delay,
        rekey_repeats=security.rekey_repeats,
        rekey_interval=security.rekey_interval,
        capacity=reservation.capacity,
        starts=schedule.opens(reservation),
        ends=schedule.ends(reservation),
        supplied=supplied,
    )


def _rekey_source(address: IpAddress, settings: PlatformSettings) -> IpAddress | None:
    """Members of a source-specific group join the server's rekeys by its address, too."""
    if settings.rekey_source is not None and settings.rekey_source.version == address.version:
        return settings.rekey_source
    if not is_source_specific(address):
        return None
    return next((own for own in settings.server_addresses if own.version == address.version), None)


def _integrity(cipher: Cipher, name: str) -> Integrity | None:
    """Without a name what fits: none beside an AEAD cipher, HMAC-SHA2-256 beside CBC."""
    if name:
        return INTEGRITY_BY_NAME[name]
    return None if cipher.aead else HMAC_SHA2_256_128


def check_names(security: SecurityPolicy) -> tuple[FieldProblem, ...]:
    """Algorithms that there are not; without problems ``policy_of`` finds them all."""
    wrong = []
    for field, name, known in (
        ("cipher", security.cipher, CIPHER_BY_NAME),
        ("rekey_cipher", security.rekey_cipher, CIPHER_BY_NAME),
        ("integrity", security.integrity or HMAC_SHA2_256_128.name, INTEGRITY_BY_NAME),
        ("rekey_integrity", security.rekey_integrity or HMAC_SHA2_256_128.name, INTEGRITY_BY_NAME),
    ):
        if name not in known:
            wrong.append(
                FieldProblem(f"security.{field}", f"there is no {name[:40]!r}; one of {', '.join(known)}")
            )
    return tuple(wrong)
