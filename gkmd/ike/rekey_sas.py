"""A member's Rekey SAs, inbound only (RFC 9838 2.3.3): the current one, and the one before it for the
deactivation delay.

A key server that reflects, or another member that sends, has no Rekey SA of ours to send to: members have no
outbound one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gkmd.core.effect import Tell
from gkmd.ike.grant import RekeyGrant
from gkmd.ike.rekey_message import RekeyProtection

_REMEMBERED: Final = 32  # digests of datagrams: the copies of some rekeys, and then some


@dataclass(slots=True)
class HeldRekeySa:
    grant: RekeyGrant
    protection: RekeyProtection
    next_message_id: int  # the least that is accepted
    expires: float
    soft_at: float
    removed_at: float = math.inf

    @property
    def ends(self) -> float:
        return min(self.expires, self.removed_at)


class RekeySas:
    """The Rekey SAs of one group."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._held: list[HeldRekeySa] = []
        self._digests: deque[bytes] = deque(maxlen=_REMEMBERED)
        self.unreplaced_end = False  # the current one has gone and nothing has taken its place

    @property
    def held(self) -> tuple[HeldRekeySa, ...]:
        return tuple(self._held)

    @property
    def current(self) -> HeldRekeySa | None:
        return self._held[-1] if self._held else None

    def find(self, spi: bytes) -> HeldRekeySa | None:
        return next((held for held in self._held if held.grant.spi == spi), None)

    def seen(self, digest: bytes) -> bool:
        """Whether this very datagram was taken or refused before."""
        return digest in self._digests

    def remember(self, digest: bytes) -> None:
        self._digests.append(digest)

    def conflict(self, grant: RekeyGrant) -> bool:
        """An SPI that is held with another key."""
        held = self.find(grant.spi)
        return held is not None and held.grant.key != grant.key

    def outdated(self, grant: RekeyGrant | None) -> bool:
        """Whether a registration was answered before a rekey that we have taken already (RFC 9838 2.3.3): the
        next Message ID that it names is one that has been seen.
        """
        held = self.find(grant.spi) if grant is not None else None
        if grant is None or held is None or held.grant.key != grant.key:
            return False
        return grant.first_message_id < held.next_message_id

    def install(self, grant: RekeyGrant, soft: Callable[[float], float], now: float) -> None:
        """A new current Rekey SA. If known, its life does not get longer nor its Message ID smaller."""
        held = self.find(grant.spi)
        expires = now + grant.lifetime
        if held is not None and held.grant.key == grant.key:
            held.next_message_id = max(held.next_message_id, grant.first_message_id)
            held.expires = min(held.expires, expires)
            held.soft_at = now + soft(held.expires - now)
            held.removed_at = math.inf
            self._held.remove(held)
        else:
            if held is not None:
                self._held.remove(held)
            protection = RekeyProtection.of(
                grant.spi, grant.key, grant.cipher, grant.integrity, grant.key_wrap
            )
            held = HeldRekeySa(grant, protection, grant.first_message_id, expires, now + soft(grant.lifetime))
        self._held.append(held)
        self.unreplaced_end = False

    def retire_others(self, at: float) -> None:
        """All but the current one die at this instant, whatever their lifetime (RFC 9838 2.4.1.4)."""
        for held in self._held[:-1]:
            held.removed_at = min(held.removed_at, at)

    def delete(self, spi: bytes, at: float) -> None:
        """A Delete named this Rekey SA."""
        held = self.find(spi)
        if held is not None:
            held.removed_at = min(held.removed_at, at)

    def clear(self) -> list[Tell]:
        told = [self._told(held) for held in self._held]
        self._held.clear()
        return told

    def tick(self, now: float) -> list[Tell]:
        over = [held for held in self._held if held.ends <= now]
        if over and over[-1] is self.current:
            self.unreplaced_end = True
        self._held = [held for held in self._held if held.ends > now]
        return [self._told(held) for held in over]

    def deadline(self) -> float | None:
        return min((held.ends for held in self._held), default=None)

    def soft_deadline(self) -> float | None:
        return self.current.soft_at if self.current else None

    def _told(self, held: HeldRekeySa) -> Tell:
        return Tell("rekey-sa-removed", "info", {"group": self._group, "spi": held.grant.spi.hex()})
