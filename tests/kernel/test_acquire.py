"""ACQUIRE: the kernel's question as it comes over netlink, and any octets instead."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_hosts import Host

from gkmd.core.address import IpAddress
from gkmd.core.esp import Direction, EspPolicy, Mode
from gkmd.ike.closing import CLOSED_REQID
from gkmd.kernel.acquire import Acquire, drain_acquires, open_acquires, read_acquires

GROUP = ipaddress.ip_address("239.1.2.3")
GROUP6 = ipaddress.ip_address("ff15::6b6d")


def selector(destination: IpAddress, protocol: int, port: int, prefix: int | None = None) -> bytes:
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    length = destination.max_prefixlen if prefix is None else prefix
    octets = struct.pack(
        ">16s16sHHHH", destination.packed.ljust(16, b"\0"), bytes(16), port, 0xFFFF if port else 0, 0, 0
    )
    return octets + struct.pack("=HBBB3xiI", family, length, 0, protocol, 0, 0)


def question(policy: bytes, direction: int = 1, kind: int = 0x17) -> bytes:
    """struct xfrm_user_acquire: id, saddr, the flow's selector, the policy, four numbers."""
    flow = selector(GROUP, 17, 5004)
    info = policy + bytes(104) + struct.pack("=BBBB4x", direction, 0, 0, 0)
    body = bytes(24) + bytes(16) + flow + info + bytes(16)
    assert len(body) == 280
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_the_policy_that_was_met() -> None:
    data = question(selector(GROUP, 17, 5004)) + question(selector(GROUP6, 0, 0))
    assert read_acquires(data) == [Acquire(GROUP, 17, 5004), Acquire(GROUP6, 0, 0)]


@pytest.mark.parametrize(
    "data",
    [
        question(selector(GROUP, 17, 5004), direction=0),
        question(selector(GROUP, 17, 5004), kind=0x18),
        question(selector(GROUP, 17, 5004, prefix=8)),
        question(selector(ipaddress.ip_address("192.0.2.1"), 17, 5004)),
        question(selector(GROUP, 17, 5004))[:-1],
        b"",
    ],
)
def test_what_is_not_ours_is_passed_over(data: bytes) -> None:
    assert read_acquires(data) == []


@given(st.binary(max_size=700), st.integers(0, 300), st.binary(max_size=4))
def test_any_octets(data: bytes, at: int, more: bytes) -> None:
    whole = question(selector(GROUP, 17, 5004))
    for octets in (data, whole[:at] + more + whole[at + len(more) :] + data):
        assert all(one.destination.is_multicast for one in read_acquires(octets))


@pytest.mark.root
@pytest.mark.parametrize("group", [GROUP, GROUP6], ids=str)
async def test_the_kernel_asks_when_traffic_meets_a_closed_policy(host: Host, group: IpAddress) -> None:
    netlink = host.keep(host.inside(open_acquires))
    dataplane = host.dataplane()
    policy = EspPolicy("news", None, group, 17, 5004, Mode.TRANSPORT, Direction.OUT, CLOSED_REQID)
    await dataplane.install_policy(policy)
    assert drain_acquires(netlink) == []
    send, elsewhere = host.sender(group, 5004), host.sender(group, 5005)
    elsewhere(b"not protected")
    assert drain_acquires(netlink) == []
    for _ in range(3):
        send(b"nothing of this leaves")
    await asyncio.sleep(0)
    assert drain_acquires(netlink) == [Acquire(group, 17, 5004)]
    await dataplane.close()
