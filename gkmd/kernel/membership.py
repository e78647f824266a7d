"""Multicast membership of this host, so that IGMP and MLD reports go out and rekeys come in.

    memberships = Memberships()
    rekeys = memberships.join(address, 848, "eth0", source)     # a socket to read, or None
    memberships.join(data_address, 0, "eth0")                   # only be a member: the application reads
    finished = memberships.leave(address, 848, "eth0", source)  # stop reading it, then close it
    memberships.close()

Groups may share an address and a port: each key is joined once and left by the last that joined it.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.errors import DataplaneError
from gkmd.kernel.messages import PolicyDirection, PolicyInfo, family_of
from gkmd.kernel.names import PASS_PRIORITY

# <linux/in.h>, <linux/in6.h>; not in Python's socket module.
_MCAST_JOIN_GROUP: Final = 42
_MCAST_JOIN_SOURCE_GROUP: Final = 46
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_IP_XFRM_POLICY: Final = 17
_IPV6_XFRM_POLICY: Final = 35
_SO_RCVBUFFORCE: Final = 33

# A rekey of a large group is repeated in bursts while this process may be busy with signatures.
RECEIVE_BUFFER_OCTETS: Final = 4 << 20

_SOCKADDR_STORAGE_OCTETS: Final = 128
_log = logging.getLogger(__name__)

MembershipKey: TypeAlias = tuple[IpAddress, int, str, IpAddress | None]


@dataclass(slots=True)
class _Membership:
    socket: socket.socket
    users: int


class Memberships:
    """The memberships that this process holds. Not for several threads."""

    def __init__(self) -> None:
        self._held: dict[MembershipKey, _Membership] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held(self) -> list[tuple[IpAddress, IpAddress | None]]:
        """Group and source of every socket of ours that is a member."""
        return [(address, source) for address, _, _, source in self._held]

    def join(
        self, address: IpAddress, port: int, interface: str, source: IpAddress | None = None
    ) -> socket.socket | None:
        """Join, and listen on ``port`` unless it is 0. An empty interface leaves the choice to the routes.

        Returns the new socket to read rekeys from; None with port 0, and when the key is held already.
        Raises DataplaneError: no such interface, the port taken by a program that does not share it, ...
        """
        key = (address, port, interface, source)
        held = self._held.get(key)
        if held is not None:
            held.users += 1
            return None
        opened = open_membership(address, port, interface, source)
        self._held[key] = _Membership(opened, 1)
        return opened if port else None

    def leave(
        self, address: IpAddress, port: int, interface: str, source: IpAddress | None = None
    ) -> socket.socket | None:
        """Leave when the last one does; unknown memberships are no error.

        Returns the socket that is done with: the caller stops reading it and closes it, which leaves.
        """
        key = (address, port, interface, source)
        held = self._held.get(key)
        if held is None:
            return None
        held.users -= 1
        if held.users:
            return None
        del self._held[key]
        if port:
            return held.socket
        held.socket.close()
        return None

    def close(self) -> None:
        """Leave everything and close every socket; readers must be gone from the loop by then."""
        for held in self._held.values():
            held.socket.close()
        self._held.clear()


def open_membership(
    address: IpAddress, port: int, interface: str, source: IpAddress | None = None
) -> socket.socket:
    """A non-blocking UDP socket that is a member of ``address``, source-specific when a source is given.

    With a port it is bound to (address, port) with SO_REUSEADDR, so that it hears this group alone and
    others may listen, too. With port 0 it is not bound, receives nothing and must only be held open.
    """
    what = f"membership of {address}{f' port {port}' if port else ''}"
    if source is not None:
        what += f" from {source}"
    if interface:
        what += f" on {interface}"
    if not address.is_multicast or (source is not None and source.version != address.version):
        raise DataplaneError(f"{what}: not a multicast address with a source of its version", errno.EINVAL)
    opened: socket.socket | None = None
    try:
        index = socket.if_nametoindex(interface) if interface else 0
        opened = socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        _hear_only_what_was_joined(opened)
        if port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _enlarge_receive_buffer(opened)
            exempt_from_policies(opened)
            # The index is the scope that IPv6 wants for link-local groups (RFC 4007 6).
            host = (str(address), port) if address.version == 4 else (str(address), port, 0, index)
            opened.bind(host)
        level = socket.IPPROTO_IP if address.version == 4 else socket.IPPROTO_IPV6
        # struct group_req / group_source_req: index padded to 8, then one or two sockaddr_storage.
        request = struct.pack("I4x", index) + _sockaddr(address)
        if source is None:
            opened.setsockopt(level, _MCAST_JOIN_GROUP, request)
        else:
            opened.setsockopt(level, _MCAST_JOIN_SOURCE_GROUP, request + _sockaddr(source))
    except OSError as error:
        if opened is not None:
            opened.close()
        raise _explain(what, interface, error) from None
    return opened


def exempt_from_policies(opened: socket.socket) -> bool:
    """Let this socket's rekeys pass in clear beside a policy that covers their address and port.

    They carry their own protection (RFC 4301 4.4.1: traffic of key management bypasses IPsec).
    Returns False without CAP_NET_ADMIN or XFRM, where there is no policy of ours either.
    """
    if opened.family == socket.AF_INET:
        level, option = socket.IPPROTO_IP, _IP_XFRM_POLICY
    else:
        level, option = socket.IPPROTO_IPV6, _IPV6_XFRM_POLICY
    try:
        for direction in (PolicyDirection.IN, PolicyDirection.OUT):
            opened.setsockopt(level, option, _pass_policy(opened.family, direction))
    except OSError as error:
        _log.debug("no IPsec exemption for the rekey socket: %s", error.strerror)
        return False
    return True


def _pass_policy(family: int, direction: PolicyDirection) -> bytes:
    """struct xfrm_userpolicy_info that lets everything of the socket pass."""
    message = PolicyInfo()
    message.update(sel_family=family, dir=direction, priority=PASS_PRIORITY)
    message.encode()
    header_octets = 16
    return bytes(message.data[header_octets:])


def _hear_only_what_was_joined(opened: socket.socket) -> None:
    # By default Linux delivers what any socket of the host joined, on any interface and from any source.
    if opened.family == socket.AF_INET:
        opened.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


def _enlarge_receive_buffer(opened: socket.socket) -> None:
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_OCTETS)
    except PermissionError:  # up to net.core.rmem_max then
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)


def _sockaddr(address: IpAddress) -> bytes:
    """struct sockaddr_storage of an address without a port."""
    if address.version == 4:
        start = struct.pack("HH4s", socket.AF_INET, 0, address.packed)
    else:
        start = struct.pack("HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0)
    return start.ljust(_SOCKADDR_STORAGE_OCTETS, b"\0")


def _explain(what: str, interface: str, error: OSError) -> DataplaneError:
    code = error.errno or 0
    if interface and code in (0, errno.ENODEV, errno.ENXIO):
        return DataplaneError(f"{what}: there is no interface {interface!r}", errno.ENODEV)
    if code == errno.ENODEV:
        return DataplaneError(f"{what}: no route to the group, name an interface", code)
    if code == errno.EADDRINUSE:
        return DataplaneError(f"{what}: the port is in use by a program that does not share it", code)
    if code == errno.EACCES:
        return DataplaneError(f"{what}: ports below 1024 need CAP_NET_BIND_SERVICE", code)
    return DataplaneError(f"{what}: {error.strerror}", code)
