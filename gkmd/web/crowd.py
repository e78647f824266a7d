"""Who is let in: connections are counted as they are accepted, by address and in all. Those that are still at
their TLS handshake hold a place like all others, and have to be through with it in time.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from gkmd.web.config import Network
from gkmd.web.connections import Limits
from gkmd.web.rates import address_of, bucket_of

_AT_ONCE: Final = 100  # that are turned away before others have their turn
_HANDSHAKE: Final = 10.0  # seconds


class Crowd:
    """How many connections there are, and how many each client address has. Those of trusted proxies and of
    this host itself are counted in all, not by address.
    """

    def __init__(self, limits: Limits, proxies: tuple[Network, ...] = ()) -> None:
        self._limits: Final = limits
        self._proxies = proxies
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> Callable[[], None] | None:
        """What leaves again; None when the address has as many as it may, or there are as many as can be."""
        key = "" if self._is_free(address) else bucket_of(address)
        if self._open.total() >= self._limits.most or (key and self._open[key] >= self._limits.each):
            return None
        self._open[key] += 1
        return functools.partial(self._leave, key)

    def _leave(self, key: str) -> None:
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def _is_free(self, address: str) -> bool:
        found = address_of(address)
        return found is not None and (found.is_loopback or any(found in network for network in self._proxies))

    def __len__(self) -> int:
        return self._open.total()


class Entrance(socket.socket):
    """A listening socket that hangs up at once on who finds no place. Takes ``listening`` over."""

    def __init__(self, listening: socket.socket, crowd: Crowd) -> None:
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self._crowd = crowd

    def accept(self) -> tuple[socket.socket, Any]:
        """BlockingIOError when nobody waits, or many had to be turned away."""
        for _ in range(_AT_ONCE):
            found, address = super().accept()
            leave = self._crowd.enter(str(address[0]))
            if leave is not None:
                return _Guest(found, leave), address
            found.close()
        raise BlockingIOError("many were turned away")


class _Guest(socket.socket):
    def __init__(self, found: socket.socket, leave: Callable[[], None]) -> None:
        super().__init__(found.family, found.type, found.proto, found.detach())
        # Once; also when a fault drops it without closing it, as asyncio does when it cannot be served.
        self._leave: Final = weakref.finalize(self, leave)

    def close(self) -> None:
        super().close()
        self._leave()


class Loop(asyncio.SelectorEventLoop):
    """The event loop of the portal: asyncio gives a handshake a minute, and uvicorn has no setting for it."""

    async def create_server(self, *args: Any, **more: Any) -> asyncio.Server:
        if more.get("ssl") is not None:
            more.setdefault("ssl_handshake_timeout", _HANDSHAKE)
        return await super().create_server(*args, **more)
