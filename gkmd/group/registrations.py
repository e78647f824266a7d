"""Which members registered over which IKE SA: they go together when it goes."""

from __future__ import annotations

from gkmd.core.change import MemberRecord
from gkmd.core.identity import Identity


class Registrations:
    """An index over the members of all groups, by the responder SPI of the IKE SA."""

    __slots__ = ("_by_spi",)

    def __init__(self) -> None:
        self._by_spi: dict[bytes, dict[tuple[str, Identity], None]] = {}

    def __len__(self) -> int:
        """IKE SAs over which somebody is registered."""
        return len(self._by_spi)

    def add(self, member: MemberRecord) -> None:
        self._by_spi.setdefault(member.ike_spi, {})[member.group, member.identity] = None

    def remove(self, member: MemberRecord) -> None:
        """Forget the member; one that is unknown is no error."""
        over = self._by_spi.get(member.ike_spi)
        if over is not None:
            over.pop((member.group, member.identity), None)
            if not over:
                del self._by_spi[member.ike_spi]

    def over(self, ike_spi: bytes) -> dict[str, list[Identity]]:
        """The members of this IKE SA by group."""
        found: dict[str, list[Identity]] = {}
        for group, identity in self._by_spi.get(ike_spi, ()):
            found.setdefault(group, []).append(identity)
        return found
