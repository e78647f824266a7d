"""ESP security associations and policies as the kernel takes them; neutral of any wire protocol.

Addresses are multicast destinations; a source of None is any source. Lifetimes are seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import Cipher, Integrity
from gkmd.core.secret import SecretBytes


class Mode(enum.Enum):
    TRANSPORT = "transport"
    TUNNEL = "tunnel"  # with the inner addresses preserved outside (RFC 5374 3.1)


class Direction(enum.Enum):
    IN = "in"  # receive only: the kernel never chooses it for output
    OUT = "out"  # sends; looped-back copies of our own packets open with it, too


@dataclass(frozen=True, slots=True)
class EspSa:
    """One ESP SA. ``key`` is the cipher key with its salt, then the integrity key (RFC 9838 2.4.2)."""

    group: str  # our name of the group, for logs and for recognising what is ours
    spi: int
    source: IpAddress | None
    destination: IpAddress
    mode: Mode
    direction: Direction
    cipher: Cipher
    integrity: Integrity | None
    key: SecretBytes
    reqid: int
    replay_window: int  # 0: no replay check (several senders on one SA)
    lifetime: float  # seconds until the kernel removes it by itself


@dataclass(frozen=True, slots=True)
class EspPolicy:
    """Traffic that must be ESP: with no SA nothing passes in clear, in either direction."""

    group: str
    source: IpAddress | None
    destination: IpAddress
    protocol: int  # 0 any, 17 UDP
    port: int  # destination port, 0 any
    mode: Mode
    direction: Direction
    reqid: int  # OUT: of the SA to send on; IN: 0, any SA
