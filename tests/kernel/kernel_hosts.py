"""Hosts made of network namespaces on one wire, for tests of the data plane.

      s1 (10.9.0.1, fd00:9::1)   s2 (.2)   rx (.3)
       |                          |         |
      ------------ bridge without snooping ------------

Names carry the pid; everything is gone when the ``with`` block ends. Sockets are opened in a thread that
enters the namespace, so that one test process holds the ends of all hosts.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from gkmd.core.address import IpAddress
from gkmd.kernel.membership import open_membership
from gkmd.kernel.xfrm import XfrmDataplane, open_xfrm_socket

_CLONE_NEWNET = 0x40000000
_SO_BINDTODEVICE = 25
_ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_IP_HEADER = {4: 20, 6: 40}
Result = TypeVar("Result")


def ip(*arguments: str) -> str:
    """Run iproute2; AssertionError with its complaint when it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def ip_batch(namespace: str, *lines: str) -> str:
    """Several commands of iproute2 in one process; in a guest a process costs more than the command."""
    where = ["-n", namespace] if namespace else []
    done = subprocess.run(
        ["ip", *where, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Host:
    name: str
    namespace: str
    device: str
    v4: IpAddress
    v6: IpAddress
    _sockets: list[socket.socket] = field(default_factory=list)
    _planes: list[XfrmDataplane] = field(default_factory=list)
    _counted: dict[str, int] = field(default_factory=dict)

    def inside(self, function: Callable[[], Result]) -> Result:
        """Call the function in a thread that is in this host's network namespace."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def enter() -> None:
            try:
                with open(f"/run/netns/{self.namespace}") as handle:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(handle.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def keep(self, opened: socket.socket) -> socket.socket:
        self._sockets.append(opened)
        return opened

    def dataplane(self) -> XfrmDataplane:
        plane = XfrmDataplane(self.inside(open_xfrm_socket))
        self._planes.append(plane)
        return plane

    def crash(self) -> None:
        """The processes of this host's data planes are gone; the kernel keeps what they installed."""
        for plane in self._planes:
            for opened in (plane._channel, plane._opened):
                if opened is not None:
                    opened.close()
            plane._channel = plane._opened = None
        self._planes.clear()

    def xfrm(self, what: str) -> str:
        """``ip xfrm state`` or ``ip xfrm policy``: what a stranger's program sees."""
        return ip("-n", self.namespace, "xfrm", what)

    def statistics(self) -> dict[str, int]:
        """Why the kernel dropped something since the test began: /proc/net/xfrm_stat without the zeros."""
        now = self.inside(read_statistics)
        grown = {name: count - self._counted.get(name, 0) for name, count in now.items()}
        return {name: count for name, count in grown.items() if count}

    def xfrm_is_empty(self) -> bool:
        return ip_batch(self.namespace, "xfrm state list", "xfrm policy list") == ""

    def set(self, name: str, value: str) -> None:
        """A sysctl below net, such as ``ipv4/conf/e0/disable_policy``."""
        self.inside(lambda: void(Path("/proc/sys/net", name).write_text(value)))

    def address(self, version: int) -> IpAddress:
        return self.v4 if version == 4 else self.v6

    def sender(self, group: IpAddress, port: int, *, connected: bool = False) -> Callable[[bytes], None]:
        """Returns a function that sends one datagram; like a real sender's sendto it does not fail."""

        def make() -> socket.socket:
            family = socket.AF_INET if group.version == 4 else socket.AF_INET6
            opened = socket.socket(family, socket.SOCK_DGRAM)
            opened.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, self.device.encode())
            opened.bind((str(self.address(group.version)), 0))
            if connected:
                opened.connect((str(group), port))
            return opened

        opened = self.keep(self.inside(make))
        if connected:
            return lambda data: void(opened.send(data))
        return lambda data: void(opened.sendto(data, (str(group), port)))

    def receiver(self, group: IpAddress, port: int) -> socket.socket:
        """An application's socket: a member of the group, under the host's IPsec policies."""

        def make() -> socket.socket:
            membership = self.keep(open_membership(group, 0, self.device))
            opened = socket.socket(membership.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            opened.bind((str(group), port))
            return opened

        return self.keep(self.inside(make))

    def begin(self) -> None:
        """A test begins: count from here."""
        self._counted = self.inside(read_statistics)

    def clean(self) -> None:
        """Remove what a failed test left, so that the next one has a clean host."""
        self.close()
        self.inside(flush_xfrm)

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()
        self._sockets.clear()


def void(_: int) -> None:
    return None


def flush_xfrm() -> None:
    """XFRM_MSG_FLUSHSA and XFRM_MSG_FLUSHPOLICY by hand: cleaning up must not cost a process each time."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 6) as netlink:
        netlink.send(struct.pack("IHHIIB3x", 20, 0x1C, 1, 1, 0, 0))
        netlink.send(struct.pack("IHHII", 16, 0x1D, 1, 2, 0))


def read_statistics() -> dict[str, int]:
    with open("/proc/thread-self/net/xfrm_stat") as lines:
        return {name: int(count) for name, count in (line.split() for line in lines)}


@dataclass(frozen=True, repr=False)
class Frame:
    """One IP packet as it was on the wire."""

    packet: bytes

    def __repr__(self) -> str:
        return f"<{self.source} -> {self.destination} protocol {self.protocol}>"

    @property
    def version(self) -> int:
        return self.packet[0] >> 4

    @property
    def protocol(self) -> int:
        return self.packet[9 if self.version == 4 else 6]

    @property
    def source(self) -> IpAddress:
        return ip_address(self.packet[12:16] if self.version == 4 else self.packet[8:24])

    @property
    def destination(self) -> IpAddress:
        return ip_address(self.packet[16:20] if self.version == 4 else self.packet[24:40])

    @property
    def spi(self) -> int:
        assert self.protocol == socket.IPPROTO_ESP
        return int(struct.unpack_from(">I", self.packet, _IP_HEADER[self.version])[0])


@dataclass
class Tap:
    opened: socket.socket
    group: IpAddress

    def frames(self, protocol: int | None = None) -> list[Frame]:
        """What came since the last call, to the group alone; optionally of one protocol."""
        found = []
        while True:
            try:
                packet, address = self.opened.recvfrom(65535)
            except BlockingIOError:
                break
            frame = Frame(packet)
            if address[2] != socket.PACKET_OUTGOING and frame.destination == self.group:
                found.append(frame)
        return [frame for frame in found if protocol in (None, frame.protocol)]

    def spis(self) -> list[int]:
        """SPIs of the ESP packets since the last call; fails if anything was in clear."""
        frames = self.frames()
        assert all(frame.protocol == socket.IPPROTO_ESP for frame in frames), frames
        return [frame.spi for frame in frames]


def received(opened: socket.socket, expected: int, seconds: float = 20.0, quiet: float = 0.15) -> list[bytes]:
    """What the socket gets until ``expected`` datagrams are there, and then whatever comes for ``quiet``."""
    found: list[bytes] = []
    end = time.monotonic() + seconds
    while True:
        left = (end if len(found) < expected else min(end, time.monotonic() + quiet)) - time.monotonic()
        if not select.select([opened], [], [], max(left, 0.0))[0]:
            return found
        found.append(opened.recv(65535))


class Wire:
    """Hosts on one bridge, which has a namespace of its own."""

    def __init__(self, *names: str) -> None:
        self.hosts: dict[str, Host] = {}
        self._taps: list[socket.socket] = []
        self._names = names
        self._prefix = f"gk{os.getpid()}"

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __enter__(self) -> Wire:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()  # loads ipv6 where it is a module
        for number, name in enumerate(self._names, 1):
            v4, v6 = ip_address(f"10.9.0.{number}"), ip_address(f"fd00:9::{number}")
            self.hosts[name] = Host(name, f"{self._prefix}-{name}", "e0", v4, v6)
        try:
            ip_batch("", *(f"netns add {self._prefix}-{name}" for name in ("sw", *self._names)))
            switch = f"{self._prefix}-sw"
            lines = ["link add br0 type bridge mcast_snooping 0", "link set br0 up"]
            for number, host in enumerate(self.hosts.values(), 1):
                # Link-local addresses are usable at once instead of after a second or two.
                host.set("ipv6/conf/default/accept_dad", "0")
                lines.append(f"link add p{number} type veth peer name e0 netns {host.namespace}")
                lines.append(f"link set p{number} master br0 up")
            ip_batch(switch, *lines)
            for host in self.hosts.values():
                ip_batch(
                    host.namespace,
                    f"addr add {host.v4}/24 dev e0",
                    f"addr add {host.v6}/64 dev e0 nodad",
                    "link set lo up",
                    "link set e0 up",
                    "route add 224.0.0.0/4 dev e0",
                )
        except BaseException:
            self.__exit__()
            raise
        return self

    def tap(self, group: IpAddress) -> Tap:
        """Everything on the wire to the group. A host is no witness: it sees the insides of tunnels, too."""
        switch = Host("sw", f"{self._prefix}-sw", "br0", ip_address("0.0.0.0"), ip_address("::"))

        def make() -> socket.socket:
            ethertype = _ETHERTYPE[group.version]
            kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
            opened = socket.socket(socket.AF_PACKET, kind, socket.htons(ethertype))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            opened.bind((switch.device, ethertype))
            return opened

        opened = switch.inside(make)
        self._taps.append(opened)
        return Tap(opened, group)

    def begin(self) -> None:
        for host in self.hosts.values():
            host.begin()

    def clean(self) -> None:
        for opened in self._taps:
            opened.close()
        self._taps.clear()
        for host in self.hosts.values():
            host.clean()

    def crash(self) -> None:
        for host in self.hosts.values():
            host.crash()

    def __exit__(self, *exception: object) -> None:
        for host in self.hosts.values():
            host.close()
        for opened in self._taps:
            opened.close()
        for name in ("sw", *self._names):
            subprocess.run(["ip", "netns", "del", f"{self._prefix}-{name}"], capture_output=True, check=False)
