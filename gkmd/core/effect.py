"""What a pure machine asks of the world, in order.

The order law: Persist < InstallPolicy / InstallSa / RemoveSa < Send < Tell. If a Persist fails nothing that
follows it in the same list is carried out, and the peer retransmits.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gkmd.core.address import IpAddress, Path
from gkmd.core.change import Change
from gkmd.core.esp import EspPolicy, EspSa
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class Persist:
    """Write these changes durably, as one transaction, before anything after it."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class InstallPolicy:
    policy: EspPolicy


@dataclass(frozen=True, slots=True)
class RemovePolicy:
    policy: EspPolicy


@dataclass(frozen=True, slots=True)
class InstallSa:
    sa: EspSa


@dataclass(frozen=True, slots=True)
class RemoveSa:
    sa: EspSa


@dataclass(frozen=True, slots=True)
class SwitchOutput:
    """Point the outbound policy at another reqid: the sender's moment of activation."""

    policy: EspPolicy  # already with the new reqid


@dataclass(frozen=True, slots=True)
class JoinMulticast:
    """Listen to an address for datagrams to ``port`` (rekeys), or only be a member (port 0: data)."""

    group: str
    address: IpAddress
    port: int
    interface: str
    source: IpAddress | None = None  # source-specific when given


@dataclass(frozen=True, slots=True)
class LeaveMulticast:
    group: str
    address: IpAddress
    port: int
    interface: str
    source: IpAddress | None = None


@dataclass(frozen=True, slots=True)
class Send:
    datagram: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class SendMulticast:
    """``source``: local address to send from, None for the host's choice; ``interface`` may be empty."""

    datagram: bytes
    address: IpAddress
    port: int
    source: IpAddress | None
    interface: str
    ttl: int


class Proof(enum.Enum):
    """How the peer proved its identity."""

    CONFIGURED = "configured"  # a pre-shared key, a certificate or a pinned key of the configuration
    TICKET = "ticket"
    PASSWORD = "password"  # EAP


@dataclass(frozen=True, slots=True)
class Ask:
    """An admission question; ``answer(ask, verdict, now)`` resumes the machine."""

    number: int
    identity: Identity
    group_id: Identity
    address: IpAddress
    wants_to_send: bool
    sender_ids: int  # Sender-IDs asked for (RFC 9838 2.5.1)
    proof: Proof = Proof.CONFIGURED
    evidence: Evidence | None = None
    grounds: str = ""  # with Proof.PASSWORD: ``PasswordVerdict.grounds``, as the IKE SA remembers them


@dataclass(frozen=True, slots=True)
class AskPassword:
    """Is this the password of that name? The shell answers ``answer(ask, verdict, now)`` with a
    ``gkmd.group.doorkeeper.PasswordVerdict``, later: the check takes tens of milliseconds elsewhere.
    """

    number: int
    identity: Identity  # the name, not yet proved
    group_id: Identity
    address: IpAddress
    password: SecretBytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Something happened: one log line, one event, one count. ``fields`` never hold secrets.

    ``level`` is debug, info or warning; ``event`` a short noun phrase with dashes, e.g. ``member-joined``.
    """

    event: str
    level: str = "info"
    fields: Mapping[str, object] = field(default_factory=dict)


Effect: TypeAlias = (
    Persist
    | InstallPolicy
    | RemovePolicy
    | InstallSa
    | RemoveSa
    | SwitchOutput
    | JoinMulticast
    | LeaveMulticast
    | Send
    | SendMulticast
    | Ask
    | AskPassword
    | Tell
)
