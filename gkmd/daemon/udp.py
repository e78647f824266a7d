"""UDP sockets, non-blocking, drained in turns of at most 64 datagrams.

That is six times cheaper per datagram than asyncio's DatagramProtocol. Sockets are bound by ``open`` before
the loop runs and before privileges are dropped. A datagram is handed over with its Path; the four zero octets
of a non-ESP marker (RFC 3948 2.2) are taken off, remembered in the path and put back on what is sent along
it. Sockets bound to a wildcard learn the local address from the kernel (IP_PKTINFO) and answer from it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from gkmd.core.address import IpAddress, Path
from gkmd.core.errors import LocalError
from gkmd.daemon.sockets import (
    ANCILLARY_OCTETS,
    Listener,
    UnsupportedFamily,
    hop_limit,
    is_wildcard,
    local_octets,
    packet_info,
)

DRAIN: Final = 64  # datagrams taken from one socket before the others have their turn
# Longer ones are dropped and counted. A registration with the SAs of 150 senders, old and new, takes 55,700.
DATAGRAM_OCTETS: Final = 61_440
NON_ESP_MARKER: Final = b"\0\0\0\0"
NAT_PORT: Final = 4500  # where everything that begins otherwise is ESP (RFC 3948 2.1)
_KEEPALIVE: Final = b"\xff"  # RFC 3948 2.3

Receive: TypeAlias = Callable[[bytes, Path], None]


class Udp:
    """The sockets of a daemon. ``drops`` counts what was not handed over, or not sent, by reason."""

    def __init__(self) -> None:
        self._receive: Receive = lambda data, path: None
        self._drained: Callable[[], None] = lambda: None
        self._listeners: list[Listener] = []
        self._by_local: dict[tuple[str, int], Listener] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers: set[socket.socket] = set()
        self._local_text: dict[bytes, str] = {}
        self.drops: Counter[str] = Counter()
        self.received = 0
        self.sent = 0

    def open(self, addresses: Sequence[tuple[str, int]], any_family: bool = False) -> None:
        """Bind every (host, port); all or nothing. Raises LocalError with what to do.

        With ``any_family`` a host without IPv6 (or IPv4) is no error as long as something is bound.
        """
        try:
            for host, port in addresses:
                try:
                    listener = Listener(host, port)
                except UnsupportedFamily:
                    if any_family and len(addresses) > 1:
                        continue
                    raise
                self._listeners.append(listener)
                self._by_local[(host, listener.port)] = listener
        except LocalError:
            self.close()
            raise

    @property
    def local(self) -> list[tuple[str, int]]:
        """The addresses that are bound, with the real port where 0 was asked for."""
        return [(listener.host, listener.port) for listener in self._listeners]

    def start(self, loop: asyncio.AbstractEventLoop, receive: Receive, drained: Callable[[], None]) -> None:
        """Begin to read: ``receive(datagram, path)`` for each, ``drained()`` after each turn of a socket."""
        self._loop, self._receive, self._drained = loop, receive, drained
        for listener in self._listeners:
            drain = self._drain_wildcard if listener.wildcard else self._drain_bound
            self.watch(listener.socket, drain, listener)

    def watch(self, sock: socket.socket, drain: Callable[..., None], *args: object) -> None:
        """Call ``drain(*args)`` whenever ``sock`` is readable, until ``unwatch``."""
        if self._loop is None:
            raise LocalError("the UDP sockets are not started")
        self._readers.add(sock)
        self._loop.add_reader(sock, drain, *args)

    def unwatch(self, sock: socket.socket) -> None:
        self._readers.discard(sock)
        if self._loop is not None:
            self._loop.remove_reader(sock)

    def stop(self) -> None:
        """Read no more; what is queued may still be sent."""
        for sock in list(self._readers):
            self.unwatch(sock)

    def close(self) -> None:
        self.stop()
        for listener in self._listeners:
            listener.socket.close()
        self._listeners.clear()
        self._by_local.clear()

    # -- receiving ---------------------------------------------------------------------------------------

    def _drain_bound(self, listener: Listener) -> None:
        recvfrom = listener.socket.recvfrom
        host, port = listener.host, listener.port
        for _ in range(DRAIN):
            try:
                data_untrusted, address = recvfrom(DATAGRAM_OCTETS + 1)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of an earlier datagram; it says nothing that we may trust
                self.drops["socket-error"] += 1
                continue
            self._hand_over(data_untrusted, host, port, address[0], address[1])
        self._drained()

    def _drain_wildcard(self, listener: Listener) -> None:
        recvmsg = listener.socket.recvmsg
        port = listener.port
        for _ in range(DRAIN):
            try:
                data_untrusted, ancillary, _flags, address = recvmsg(DATAGRAM_OCTETS + 1, ANCILLARY_OCTETS)
            except BlockingIOError:
                break
            except OSError:
                self.drops["socket-error"] += 1
                continue
            host = self._local_text_of(ancillary) or listener.host
            self._hand_over(data_untrusted, host, port, address[0], address[1])
        self._drained()

    def drain_multicast(self, sock: socket.socket, group: str, port: int) -> None:
        """A socket bound to a multicast address: the path's local end is the group."""
        for _ in range(DRAIN):
            try:
                data_untrusted, address = sock.recvfrom(DATAGRAM_OCTETS + 1)
            except BlockingIOError:
                break
            except OSError:
                self.drops["socket-error"] += 1
                continue
            if len(data_untrusted) > DATAGRAM_OCTETS:
                self.drops["too-long"] += 1
                continue
            self.received += 1
            # RFC 9838 2.4.1.1: rekeys have the marker on port 4500; elsewhere zeros may begin an SPI.
            marked = port == NAT_PORT and data_untrusted.startswith(NON_ESP_MARKER)
            data_untrusted = data_untrusted[4:] if marked else data_untrusted
            self._receive(data_untrusted, Path(group, port, address[0], address[1], marked))
        self._drained()

    def _hand_over(self, data_untrusted: bytes, host: str, port: int, remote: str, remote_port: int) -> None:
        if len(data_untrusted) > DATAGRAM_OCTETS:
            self.drops["too-long"] += 1
            return
        if data_untrusted == _KEEPALIVE:
            self.drops["nat-keepalive"] += 1
            return
        self.received += 1
        # An initiator SPI is random, never zero: four leading zeros are the marker of a peer that floated.
        if data_untrusted.startswith(NON_ESP_MARKER):
            self._receive(data_untrusted[4:], Path(host, port, remote, remote_port, True))
        else:
            self._receive(data_untrusted, Path(host, port, remote, remote_port))

    def _local_text_of(self, ancillary: list[tuple[int, int, bytes]]) -> str:
        octets = local_octets(ancillary)
        if octets is None:
            return ""
        text = self._local_text.get(octets)
        if text is None:
            # Only our own addresses come here, so this cannot grow by what strangers send.
            text = self._local_text[octets] = str(ipaddress.ip_address(octets))
        return text

    # -- sending -----------------------------------------------------------------------------------------

    def send(self, datagram: bytes, path: Path) -> None:
        """Send along ``path``. What the kernel does not take is counted and left to retransmission."""
        if path.marker:
            datagram = NON_ESP_MARKER + datagram
        listener = self._by_local.get((path.local, path.local_port)) or self._wildcard_for(path)
        if listener is None:
            self.drops["no-socket"] += 1
            return
        try:
            if listener.wildcard and path.local:
                local = "" if is_wildcard(path.local) else path.local
                control = [packet_info(listener.version, local, 0)]
                listener.socket.sendmsg([datagram], control, 0, (path.remote, path.remote_port))
            else:
                listener.socket.sendto(datagram, (path.remote, path.remote_port))
            self.sent += 1
        except OSError as error:
            self.drops[f"send-{_slug(error)}"] += 1

    def _wildcard_for(self, path: Path) -> Listener | None:
        version = 6 if ":" in path.remote else 4
        same = [one for one in self._listeners if one.version == version]
        wild = [one for one in same if one.wildcard]
        fitting = wild or ([] if path.local else same)
        return fitting[0] if fitting else None

    def send_multicast(
        self,
        datagram: bytes,
        address: IpAddress,
        port: int,
        source: IpAddress | None,
        interface: str,
        ttl: int,
    ) -> None:
        """Send to a group from ``source`` by ``interface`` (empty: the host's routes) with ``ttl``.

        The socket is one of ours, so that the source port is the one that we listen on. To port 4500 a
        non-ESP marker goes in front (RFC 9838 2.4.1.1). Raises LocalError when the interface does not exist
        or the kernel refuses; the caller logs it, the repeats try again.
        """
        if port == NAT_PORT:
            datagram = NON_ESP_MARKER + datagram
        listener = self._listener_from(address, source)
        try:
            index = socket.if_nametoindex(interface) if interface else 0
        except OSError:
            raise LocalError(f"no interface {interface!r} to send rekeys by; see `ip link`") from None
        # A bound socket sends from its own address whatever we say; a wildcard one takes ours.
        sender = str(source) if source is not None else ("" if listener.wildcard else listener.host)
        control = [packet_info(address.version, sender, index), hop_limit(address.version, ttl)]
        try:
            listener.socket.sendmsg([datagram], control, 0, (str(address), port))
            self.sent += 1
        except OSError as error:
            self.drops[f"send-{_slug(error)}"] += 1
            raise LocalError(
                f"cannot send to {address} port {port} by {interface or 'its route'}: {error.strerror}"
            ) from None

    def _listener_from(self, address: IpAddress, source: IpAddress | None) -> Listener:
        same = [one for one in self._listeners if one.version == address.version]
        for one in same:
            if source is not None and one.host == str(source):
                return one
        for one in same:
            if one.wildcard:
                return one
        if source is None and same:
            return same[0]
        raise LocalError(
            f"no listening socket can send to {address}"
            + (f" from {source}: add {source} to `listen`" if source is not None else "")
        )


def _slug(error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return "buffer-full"
    return (error.strerror or "error").lower().replace(" ", "-")
