"""Settings and commands of the key server's endpoint. Durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from gkmd.core.identity import Identity
from gkmd.group.model import GroupPolicy, Left
from gkmd.ike.credentials import Credentials
from gkmd.ike.window import Backoff


@dataclass(frozen=True, slots=True)
class GcksSettings:
    """Every default works."""

    half_open_limit: int = 4096  # half-open SAs at once; beyond it new ones are dropped
    half_open_lifetime: float = 30.0  # to authenticate, to decide, to ask again for a reply after the end
    cookie_threshold: int = 128  # half-open SAs from which on a cookie is asked for; 0: always
    half_open_per_source: int = 64  # beyond that threshold, of one IPv4 address or IPv6 network of 64 bits
    init_rate: float = 500  # key exchanges a second that one source may ask for, on average; 0: no limit
    init_burst: float = 2000  # and at once, when it has been quiet before
    cookie_lifetime: float = 60.0  # of the secret that cookies are made with
    liveness_idle: float = 120.0  # silence after which a member is asked whether it lives; 0: never
    backoff: Backoff = field(default_factory=Backoff)
    sas_per_peer: int = 4  # IKE SAs that one identity may keep; the oldest goes
    unused_sas: int = 10_000  # by tickets and passwords, with no member registered over them; the oldest go
    passwords: bool = False  # names and passwords by EAP; needs a doorkeeper and a signing key
    password_checks: int = 64  # passwords that are looked at at once; beyond it members come back later
    password_checks_per_source: int = 8  # of one IPv4 address or IPv6 network of 64 bits
    busy_wait: float = 5.0  # how much later


@dataclass(frozen=True, slots=True)
class Rekey:
    """Replace every key of a group now."""

    group: str


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Take a member out of a group, and tell it so over its IKE SA."""

    group: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The server stops. Members are kept for its restart unless ``delete_ike_sas``."""

    delete_ike_sas: bool = False


@dataclass(frozen=True, slots=True)
class Reload:
    """New policies, and new credentials unless None. IKE SAs stay whose peer still could authenticate as it
    did.
    """

    policies: tuple[GroupPolicy, ...]
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """Carry out what an operation of the platform has led to: its changes are journalled, its rekeys go out,
    and the IKE SAs of ``disowned`` end after their members were told to delete the keys.
    """

    left: Left
    disowned: tuple[Identity, ...] = ()


Command: TypeAlias = Rekey | RemoveMember | Shutdown | Reload | Apply
