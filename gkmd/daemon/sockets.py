"""Bound UDP sockets and the ancillary data that fixes the ends of a datagram."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from typing import Final

from gkmd.core.errors import LocalError

RECEIVE_BUFFER_OCTETS: Final = 8 << 20

# Linux numbers that Python 3.11 has no names for (linux/in.h, linux/in6.h, asm-generic/socket.h).
IP_PKTINFO: Final = 8
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_SO_RCVBUFFORCE: Final = 33

_IN_PKTINFO: Final = struct.Struct("=i4s4s")  # interface, local address, destination in the header
_IN6_PKTINFO: Final = struct.Struct("=16si")
_INT: Final = struct.Struct("=i")
ANCILLARY_OCTETS: Final = socket.CMSG_SPACE(_IN6_PKTINFO.size)


def bind_error(error: OSError, host: str, port: int) -> LocalError:
    """The one line for a socket that cannot be bound: what failed and what to do."""
    where = f"UDP {host} port {port}"
    if isinstance(error, PermissionError):
        return LocalError(
            f"cannot bind {where}: permission denied; start as root (gkmd gives privileges up by itself), "
            "grant CAP_NET_BIND_SERVICE, or configure a port from 1024 up"
        )
    if error.errno == errno.EADDRINUSE:
        return LocalError(
            f"cannot bind {where}: already in use; another key daemon runs here "
            f"(`ss -lunp 'sport = :{port}'` names it): stop it, or configure another address or port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return LocalError(f"cannot bind {where}: no interface has this address; see `ip address`")
    return LocalError(f"cannot bind {where}: {error.strerror}")


class UnsupportedFamily(LocalError):
    """This host does not have IPv4, or IPv6."""


class Listener:
    """One bound socket. ``wildcard`` ones ask the kernel for the local address of each datagram."""

    def __init__(self, host: str, port: int) -> None:
        address = ipaddress.ip_address(host.partition("%")[0])
        self.version = address.version
        self.wildcard = address.is_unspecified
        self.host = host
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        try:
            self.socket = socket.socket(
                family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
        except OSError:
            raise UnsupportedFamily(f"cannot bind {host}: this host has no IPv{address.version}") from None
        try:
            if address.version == 6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self.socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
                if self.wildcard:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                self.socket.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
                if self.wildcard:
                    self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            widen(self.socket)
            self.socket.bind((host, port))
            if self.wildcard:
                # After the bind, so that a second daemon still finds the port in use, but a socket of our own
                # may be bound to a multicast address of the same port.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError as error:
            self.socket.close()
            if address.version == 6 and self.wildcard and error.errno == errno.EADDRNOTAVAIL:
                # IPv6 is switched off (net.ipv6.conf.all.disable_ipv6).
                raise UnsupportedFamily(f"cannot bind {host}: this host has no IPv6 address") from None
            raise bind_error(error, host, port) from None
        self.port: int = self.socket.getsockname()[1]


def widen(sock: socket.socket) -> None:
    """A large receive buffer: a burst of registrations waits there rather than being lost."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_OCTETS)
    except PermissionError:  # without CAP_NET_ADMIN the system's limit (net.core.rmem_max) holds
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)


def is_wildcard(host: str) -> bool:
    """Whether ``host`` is the unspecified address of IPv4 or IPv6 as Python writes them, or empty."""
    return not host.strip("0.:")


def packet_info(version: int, local: str, interface: int) -> tuple[int, int, bytes]:
    """Ancillary data that fixes source address (unless empty) and interface (unless 0) of one datagram."""
    if version == 6:
        packed = ipaddress.IPv6Address(local.partition("%")[0] or 0).packed
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(packed, interface)
    packed = ipaddress.IPv4Address(local or 0).packed
    return socket.IPPROTO_IP, IP_PKTINFO, _IN_PKTINFO.pack(interface, packed, bytes(4))


def hop_limit(version: int, hops: int) -> tuple[int, int, bytes]:
    """Ancillary data that fixes the TTL or hop limit of one datagram."""
    if version == 6:
        return socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _INT.pack(hops)
    return socket.IPPROTO_IP, socket.IP_TTL, _INT.pack(hops)


def local_octets(ancillary: list[tuple[int, int, bytes]]) -> bytes | None:
    """Our address that a datagram came to, packed; None when the kernel did not say."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            octets: bytes = _IN_PKTINFO.unpack_from(data)[1]
            return octets
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            octets = _IN6_PKTINFO.unpack_from(data)[0]
            return octets
    return None
