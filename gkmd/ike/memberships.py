"""Which multicast addresses a member listens to for one group, and the effects that make it so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.effect import Effect, JoinMulticast, LeaveMulticast

Membership: TypeAlias = tuple[IpAddress, int, IpAddress | None]
"""Address, port (0: data) and source (None: any)."""


class Memberships:
    """The memberships of one group on one interface."""

    def __init__(self, group: str, interface: str) -> None:
        self._group = group
        self._interface = interface
        self._joined: list[Membership] = []

    def follow(self, wanted: Iterable[Membership], *, leave: bool) -> list[Effect]:
        """Join what is wanted and not joined yet; with ``leave``, leave the rest.

        Between registrations data memberships stay while SAs come and go: joining again costs packets.
        """
        wanted = list(dict.fromkeys(wanted))
        new = [m for m in wanted if m not in self._joined]
        self._joined += new
        joins: list[Effect] = [
            JoinMulticast(self._group, address, port, self._interface, source)
            for address, port, source in new
        ]
        return joins + (self._leave([m for m in self._joined if m not in wanted]) if leave else [])

    def leave_old_rekeys(self, wanted: Iterable[Membership]) -> list[Effect]:
        """Leave the rekey addresses that no Rekey SA uses any more."""
        wanted = list(wanted)
        return self._leave([m for m in self._joined if m[1] and m not in wanted])

    def leave_all(self) -> list[Effect]:
        return self._leave(list(self._joined))

    def _leave(self, gone: list[Membership]) -> list[Effect]:
        self._joined = [m for m in self._joined if m not in gone]
        return [
            LeaveMulticast(self._group, address, port, self._interface, source)
            for address, port, source in gone
        ]
