"""The key server's established IKE SAs: by responder SPI, by peer, and by when each wants attention."""

from __future__ import annotations

from collections.abc import Iterator

from gkmd.core.alarms import Alarms
from gkmd.core.identity import Identity
from gkmd.ike.sa import IkeSa


class SaTable:
    """A timer is armed early rather than moved: who is woken too soon is armed again."""

    __slots__ = ("_alarms", "_by_peer", "_by_spi")

    def __init__(self) -> None:
        self._by_spi: dict[bytes, IkeSa] = {}
        self._by_peer: dict[Identity, list[IkeSa]] = {}
        self._alarms: Alarms[bytes] = Alarms()

    def __len__(self) -> int:
        return len(self._by_spi)

    def __contains__(self, spi_r: bytes) -> bool:
        return spi_r in self._by_spi

    def __iter__(self) -> Iterator[IkeSa]:
        return iter(tuple(self._by_spi.values()))

    def get(self, spi_r: bytes) -> IkeSa | None:
        return self._by_spi.get(spi_r)

    def of_peer(self, peer: Identity) -> tuple[IkeSa, ...]:
        """The SAs of one identity, the oldest first."""
        return tuple(self._by_peer.get(peer, ()))

    def add(self, sa: IkeSa) -> None:
        self._by_spi[sa.spi_r] = sa
        if sa.peer is not None:
            self._by_peer.setdefault(sa.peer, []).append(sa)

    def remove(self, sa: IkeSa) -> None:
        self._by_spi.pop(sa.spi_r, None)
        self._alarms.drop(sa.spi_r)
        if sa.peer is not None:
            others = [other for other in self._by_peer.get(sa.peer, ()) if other is not sa]
            if others:
                self._by_peer[sa.peer] = others
            else:
                self._by_peer.pop(sa.peer, None)

    def arm(self, sa: IkeSa, at: float) -> None:
        """Wake at ``at`` or earlier."""
        armed = self._alarms.at(sa.spi_r)
        if armed is None or at < armed:
            self._alarms.set(sa.spi_r, at)

    def due(self, now: float) -> list[IkeSa]:
        """The SAs whose time has come; each has to be armed again."""
        woken = []
        while (spi_r := self._alarms.due(now)) is not None:
            woken.append(self._by_spi[spi_r])
        return woken

    def deadline(self) -> float | None:
        return self._alarms.first()
