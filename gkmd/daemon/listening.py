"""A member's memberships: the kernel's joins, and the sockets on which rekeys are heard."""

from __future__ import annotations

import socket

from gkmd.core.address import IpAddress
from gkmd.core.effect import JoinMulticast, LeaveMulticast
from gkmd.daemon.udp import Udp
from gkmd.kernel.membership import Memberships


class Listening:
    """Joins and leaves. A rekey goes the way of all datagrams, with the group as the path's local end."""

    def __init__(self, udp: Udp) -> None:
        self._udp = udp
        self._memberships = Memberships()
        self._heard: set[socket.socket] = set()

    def join(self, effect: JoinMulticast) -> None:
        """DataplaneError when the host refuses."""
        opened = self._memberships.join(effect.address, effect.port, effect.interface, effect.source)
        if opened is not None:
            self._heard.add(opened)
            self._udp.watch(opened, self._udp.drain_multicast, opened, str(effect.address), effect.port)

    def leave(self, effect: LeaveMulticast) -> None:
        closed = self._memberships.leave(effect.address, effect.port, effect.interface, effect.source)
        if closed is not None:
            self._silence(closed)
            closed.close()

    @property
    def held(self) -> list[tuple[IpAddress, IpAddress | None]]:
        """Group and source of every socket of ours that is a member."""
        return self._memberships.held

    def close(self) -> None:
        """Leave everything."""
        for opened in list(self._heard):
            self._silence(opened)
        self._memberships.close()

    def _silence(self, opened: socket.socket) -> None:
        self._heard.discard(opened)
        self._udp.unwatch(opened)
