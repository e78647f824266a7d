"""IKE SAs before their peer is authenticated: bounded in number and in time, found again by the whole
request.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gkmd.core.address import Path
from gkmd.core.identity import Identity
from gkmd.core.rng import Rng
from gkmd.crypto.exchange import KeyPair
from gkmd.crypto.keymat import derive_ike
from gkmd.ike.authenticate import Covered
from gkmd.ike.proposal import IkeSuite
from gkmd.ike.registration_request import RegistrationRequest
from gkmd.ike.sa import IkeSa
from gkmd.ike.window import Window
from wire.ikev2 import Id

SETTLED_LIMIT: Final = 4096  # requests remembered after their SA left the table


class Stage(enum.Enum):
    PROMPTED = "prompted"
    CHECKING = "checking"
    PASSED = "passed"


@dataclass(slots=True)
class Login:
    """EAP on one half-open SA. ``identity`` is a claim until the SA is authenticated."""

    id_i: Id
    identity: Identity
    request: RegistrationRequest
    initial_contact: bool
    stage: Stage = Stage.PROMPTED
    grounds: str = ""  # whose password was shown, when it has passed


@dataclass(slots=True)
class HalfOpen:
    """What the server keeps between its IKE_SA_INIT reply and GSA_AUTH."""

    spi_i: bytes
    spi_r: bytes
    request: bytes  # the two messages as they went over the wire: AUTH covers them
    reply: bytes
    pair: KeyPair
    peer_public: bytes
    nonce_i: bytes
    nonce_r: bytes
    suite: IkeSuite
    hashes: tuple[int, ...]
    path: Path
    expires: float
    sa: IkeSa | None = None
    login: Login | None = None  # EAP is under way

    def keyed(self, rng: Rng, now: float) -> IkeSa:
        """The SA with its keys; CryptoError when the peer's public value is no good.

        The second half of the key exchange waits for the first sealed message, so that a flood of IKE_SA_INIT
        does not pay for it.
        """
        if self.sa is None:
            suite = self.suite
            keys = derive_ike(
                suite.prf,
                suite.cipher,
                suite.integrity,
                self.pair.agree(self.peer_public),
                self.nonce_i,
                self.nonce_r,
                self.spi_i,
                self.spi_r,
            )
            self.sa = IkeSa(
                initiator=False,
                spi_i=self.spi_i,
                spi_r=self.spi_r,
                cipher=suite.cipher,
                integrity=suite.integrity,
                prf=suite.prf,
                key_wrap=suite.key_wrap,
                keys=keys,
                path=self.path,
                rng=rng,
                # RFC 7296 2.2: IKE_SA_INIT was message 0 of the initiator; ours begin at 0.
                window=Window(next_request_id=0, expected_request_id=1),
                now=now,
            )
        return self.sa

    def peers_proof(self, sa: IkeSa) -> Covered:
        """What the initiator's AUTH covers."""
        return Covered(self.request, self.nonce_r, self.suite.prf, sa.sk_pi)

    def our_proof(self, sa: IkeSa) -> Covered:
        """What the responder's AUTH covers."""
        return Covered(self.reply, self.nonce_i, self.suite.prf, sa.sk_pr)


class HalfOpenTable:
    """Half-open SAs by responder SPI and by the octets of the request, the oldest first."""

    __slots__ = ("_by_request", "_by_source", "_by_spi", "_lifetime", "_settled")

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._by_spi: dict[bytes, HalfOpen] = {}
        self._by_request: dict[bytes, HalfOpen] = {}
        self._by_source: Counter[str] = Counter()
        self._settled: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._by_spi)

    def __iter__(self) -> Iterator[HalfOpen]:
        return iter(tuple(self._by_spi.values()))

    def __contains__(self, spi_r: bytes) -> bool:
        return spi_r in self._by_spi

    def get(self, spi_r: bytes) -> HalfOpen | None:
        return self._by_spi.get(spi_r)

    def repeated_untrusted(self, request: bytes) -> HalfOpen | None:
        """The half-open SA that this very request set up (RFC 7296 2.1: found by the whole packet)."""
        return self._by_request.get(request)

    def settled_untrusted(self, request: bytes, now: float) -> bool:
        """Whether the SA of this request has gone on to GSA_AUTH, so that the request is to be ignored."""
        return bool(self._settled) and self._settled.get(_digest(request), 0.0) > now

    def of_source(self, path: Path) -> int:
        """How many of them came from where ``path`` comes from."""
        return self._by_source[source_of(path)]

    def add(self, half: HalfOpen) -> None:
        self._by_spi[half.spi_r] = half
        self._by_request[half.request] = half
        self._by_source[source_of(half.path)] += 1

    def remove(self, half: HalfOpen, now: float) -> None:
        """The SA is established, refused or given up. Its request is remembered for as long as it could
        repeat.
        """
        if self._by_spi.pop(half.spi_r, None) is not None:
            self._by_request.pop(half.request, None)
            source = source_of(half.path)
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]
            settled = self._settled
            settled[_digest(half.request)] = now + self._lifetime
            if len(settled) > SETTLED_LIMIT:
                del settled[next(iter(settled))]

    def deadline(self) -> float | None:
        """When the oldest entry expires."""
        for half in self._by_spi.values():
            return half.expires
        return None

    def expired(self, now: float) -> list[HalfOpen]:
        """The entries whose time is over; the caller removes them."""
        due = []
        for half in self._by_spi.values():
            if half.expires > now:
                break  # all have the same lifetime: the rest is younger
            due.append(half)
        return due


def source_of(path: Path) -> str:
    """Who sends, for limits: whoever has an IPv6 address has all 2^64 of its network."""
    address = path.remote.partition("%")[0]
    return ipaddress.ip_address(address).packed[:8].hex() if ":" in address else address


def _digest(request: bytes) -> bytes:
    return hashlib.blake2b(request, digest_size=16).digest()
