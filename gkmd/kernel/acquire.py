"""XFRM ACQUIRE: the kernel asks for an SA when traffic meets a policy that has none.

    with closing(open_acquires()) as netlink:    # before privileges go, or with CAP_NET_ADMIN kept
        for acquire in read_acquires(netlink.recv(65536)): ...

As long as somebody listens the kernel keeps a larval SA (SPI 0) for what it has asked for, and does not ask
again until that one is gone (net.core.xfrm_acq_expires, 30 s). A larval SA has the reqid of its policy then,
and our SAs have new ones, so it is in nobody's way.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Final

from pyroute2.netlink import NETLINK_XFRM

from gkmd.core.address import IpAddress
from gkmd.core.errors import DataplaneError

_ACQUIRE: Final = 0x17  # XFRM_MSG_ACQUIRE
_GROUPS: Final = 1  # XFRMGRP_ACQUIRE
_HEADER: Final = struct.Struct("IHHII")  # struct nlmsghdr
# struct xfrm_user_acquire: xfrm_id 24, saddr 16, the flow's selector 56, the policy's info 168, 4 numbers
_ACQUIRE_OCTETS: Final = 280
_POLICY_AT: Final = 96
# struct xfrm_selector: daddr, saddr, dport, mask, sport, mask, family, two prefix lengths, protocol
_SELECTOR: Final = struct.Struct("16s16s2s2s2s2sHBBB")
_OUT: Final = 1  # XFRM_POLICY_OUT
_DIRECTION_AT: Final = _POLICY_AT + 160  # xfrm_userpolicy_info.dir
_BUFFER_OCTETS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Acquire:
    """The selector of the policy that the traffic met; 0 is any protocol, any port."""

    destination: IpAddress
    protocol: int
    port: int


def open_acquires() -> socket.socket:
    """A netlink socket on which the kernel asks. DataplaneError without CAP_NET_ADMIN or XFRM."""
    opened: socket.socket | None = None
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, NETLINK_XFRM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_OCTETS)
        opened.bind((0, _GROUPS))
    except OSError as error:
        if opened is not None:
            opened.close()
        raise DataplaneError(
            f"the kernel will not say when traffic meets a policy: {error.strerror}", error.errno or 0
        ) from None
    return opened


def drain_acquires(netlink: socket.socket) -> list[Acquire]:
    """Everything that the kernel has asked by now."""
    found: list[Acquire] = []
    while True:
        try:
            data, sender = netlink.recvfrom(65536)
        except BlockingIOError:
            return found
        except OSError as error:
            if error.errno == errno.ENOBUFS:  # asked too fast: traffic that goes on is asked for again
                continue
            return found
        if sender[0] == 0:  # another process may write to this socket, too; only the kernel is number 0
            found += read_acquires(data)


def read_acquires(data: bytes) -> list[Acquire]:
    """The questions in one datagram that are about our kind of policy: outbound, to one multicast address."""
    found = []
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            break
        if kind == _ACQUIRE and length >= _HEADER.size + _ACQUIRE_OCTETS:
            acquire = _read(data[at + _HEADER.size : at + length])
            if acquire is not None:
                found.append(acquire)
        at += (length + 3) & ~3
    return found


def _read(body: bytes) -> Acquire | None:
    daddr, _, dport, _, _, _, family, prefix, _, protocol = _SELECTOR.unpack_from(body, _POLICY_AT)
    destination: IpAddress
    if family == socket.AF_INET:
        destination = ipaddress.IPv4Address(daddr[:4])
    elif family == socket.AF_INET6:
        destination = ipaddress.IPv6Address(daddr)
    else:
        return None
    if body[_DIRECTION_AT] != _OUT or not destination.is_multicast or prefix != destination.max_prefixlen:
        return None
    return Acquire(destination, protocol, int.from_bytes(dport, "big"))
