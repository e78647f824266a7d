"""Memberships on the running kernel: what they hear, what they do not, and what the wire sees of them."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from kernel_contract import NEWS, NEWS6, policy_for
from kernel_hosts import Wire, ip, received

from gkmd.core.address import IpAddress
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction
from gkmd.kernel.membership import Memberships, exempt_from_policies, open_membership

REKEY_PORT = 848
SSM = {4: IPv4Address("232.1.1.1"), 6: IPv6Address("ff3e::4000:1")}


def groups(wire: Wire, name: str) -> str:
    return ip("-n", wire[name].namespace, "maddr", "show", "dev", "e0")


@pytest.mark.root
@pytest.mark.parametrize("group", [NEWS, NEWS6], ids=["IPv4", "IPv6"])
def test_any_source(wire: Wire, group: IpAddress) -> None:
    rx = wire["rx"]
    memberships = Memberships()
    opened = rx.inside(lambda: memberships.join(group, REKEY_PORT, "e0"))
    assert opened is not None
    assert opened.getblocking() is False
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 4 << 20
    for name in ("s1", "s2"):
        wire[name].sender(group, REKEY_PORT)(name.encode())
    assert sorted(received(opened, 2)) == [b"s1", b"s2"]
    wire["s1"].sender(group, REKEY_PORT + 1)(b"other port")
    assert received(opened, 1, seconds=0.2) == []
    assert str(group) in groups(wire, "rx")

    assert memberships.leave(group, REKEY_PORT, "e0") is opened
    opened.close()
    assert str(group) not in groups(wire, "rx")
    assert len(memberships) == 0


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_source_specific(wire: Wire, version: int) -> None:
    rx, group = wire["rx"], SSM[version]
    allowed = wire["s1"].address(version)
    with rx.inside(lambda: open_membership(group, REKEY_PORT, "e0", allowed)) as opened:
        wire["s2"].sender(group, REKEY_PORT)(b"stranger")
        wire["s1"].sender(group, REKEY_PORT)(b"server")
        assert received(opened, 1) == [b"server"]


@pytest.mark.root
def test_a_port_0_membership_reports_but_hears_nothing(wire: Wire) -> None:
    rx = wire["rx"]
    memberships = Memberships()
    querier = wire.tap(IPv4Address("224.0.0.22"))
    assert rx.inside(lambda: memberships.join(NEWS, 0, "e0")) is None
    membership = next(iter(memberships._held.values())).socket
    wire["s1"].sender(NEWS, 5000)(b"data")
    assert received(membership, 1, seconds=0.3) == []
    seen = querier.frames(socket.IPPROTO_IGMP)
    assert seen
    assert all(NEWS.packed in frame.packet for frame in seen)
    assert memberships.leave(NEWS, 0, "e0") is None
    assert membership.fileno() == -1
    assert str(NEWS) not in groups(wire, "rx")


@pytest.mark.root
def test_only_what_this_socket_joined(wire: Wire) -> None:
    """Another socket's membership of the host, here on another source, does not widen ours."""
    rx = wire["rx"]
    s2 = wire["s2"].v4
    rx.receiver(SSM[4], 5000)  # any source
    with rx.inside(lambda: open_membership(SSM[4], REKEY_PORT, "e0", s2)) as opened:
        wire["s1"].sender(SSM[4], REKEY_PORT)(b"s1")
        assert received(opened, 1, seconds=0.3) == []


@pytest.mark.root
def test_keys_are_counted_and_two_groups_share_a_port(wire: Wire) -> None:
    rx = wire["rx"]
    memberships = Memberships()
    first = rx.inside(lambda: memberships.join(NEWS, REKEY_PORT, "e0"))
    assert first is not None
    assert rx.inside(lambda: memberships.join(NEWS, REKEY_PORT, "e0")) is None
    other = rx.inside(lambda: memberships.join(IPv4Address("239.1.1.2"), REKEY_PORT, "e0"))
    assert other is not None
    wire["s1"].sender(NEWS, REKEY_PORT)(b"news")
    assert received(first, 1) == [b"news"]
    assert received(other, 1, seconds=0.2) == []
    assert memberships.leave(NEWS, REKEY_PORT, "e0") is None
    assert len(memberships) == 2
    assert memberships.leave(NEWS, REKEY_PORT, "e0") is first
    assert memberships.leave(NEWS, REKEY_PORT, "e0") is None
    first.close()
    memberships.close()
    memberships.close()
    assert other.fileno() == -1
    assert str(NEWS) not in groups(wire, "rx")


@pytest.mark.root
async def test_rekeys_pass_beside_a_policy_for_every_protocol_on_their_address(wire: Wire) -> None:
    rx, plane = wire["rx"], wire["rx"].dataplane()
    await plane.install_policy(policy_for(Direction.IN, protocol=0, port=0))
    data = rx.receiver(NEWS, 5000)
    with rx.inside(lambda: open_membership(NEWS, REKEY_PORT, "e0")) as rekeys:
        wire["s1"].sender(NEWS, REKEY_PORT)(b"rekey")
        wire["s1"].sender(NEWS, 5000)(b"clear data")
        assert received(rekeys, 1) == [b"rekey"]
        assert received(data, 1, seconds=0.3) == []
    await plane.close()


@pytest.mark.root
async def test_a_query_for_the_group_is_answered_beside_a_policy_for_every_protocol(wire: Wire) -> None:
    """Switches ask the group itself whether anybody is left; unheard, they would stop forwarding."""
    rx, plane = wire["rx"], wire["rx"].dataplane()
    for destination in (NEWS, NEWS6):
        await plane.install_policy(policy_for(Direction.IN, destination=destination, protocol=0, port=0))
        rx.receiver(destination, 5000)
    answers4 = wire.tap(IPv4Address("224.0.0.22"))
    answers6 = wire.tap(IPv6Address("ff02::16"))
    received(answers4.opened, 99, seconds=1.2)  # the unsolicited reports of joining

    def igmp_query() -> None:
        """IGMPv3 group-specific query, at most 0.1 s (RFC 3376 4.1)."""
        body = struct.pack(">BBH4sBBH", 0x11, 1, 0, NEWS.packed, 2, 1, 0)
        body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP) as raw:
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x94\x04\0\0")  # router alert
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            raw.sendto(body, (str(NEWS), 0))

    def mld_query() -> None:
        """MLDv2 address-specific query, at most 100 ms (RFC 3810 5.1); the kernel makes the checksum."""
        body = struct.pack(">BBHHH16sBBH", 130, 0, 0, 100, 0, NEWS6.packed, 2, 1, 0)
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            index = socket.if_nametoindex("e0")
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, b"\0\0\x05\x02\0\0\x01\0")
            raw.bind((link_local(wire, "s1"), 0, 0, index))
            raw.sendto(body, (str(NEWS6), 0, 0, index))

    for _ in range(3):
        answers4.frames()
        answers6.frames()
        wire["s1"].inside(igmp_query)
        wire["s1"].inside(mld_query)
        assert NEWS.packed in b"".join(received(answers4.opened, 1))
        assert NEWS6.packed in b"".join(received(answers6.opened, 1))
    await plane.close()


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def link_local(wire: Wire, name: str) -> str:
    words = ip("-n", wire[name].namespace, "-6", "addr", "show", "dev", "e0", "scope", "link").split()
    return words[words.index("inet6") + 1].split("/")[0]


@pytest.mark.parametrize(
    ("address", "port", "interface", "source", "code", "says"),
    [
        ("239.1.1.1", 0, "nowhere0", None, errno.ENODEV, "there is no interface 'nowhere0'"),
        ("239.1.1.1", 848, "nowhere0", "10.0.0.1", errno.ENODEV, "from 10.0.0.1"),
        ("10.1.1.1", 0, "lo", None, errno.EINVAL, "not a multicast address"),
        ("239.1.1.1", 0, "lo", "fd00::1", errno.EINVAL, "of its version"),
    ],
)
def test_refusals_are_one_clear_line(
    address: str, port: int, interface: str, source: str | None, code: int, says: str
) -> None:
    with pytest.raises(DataplaneError) as caught:
        open_membership(ip_address(address), port, interface, ip_address(source) if source else None)
    assert caught.value.errno == code
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_port_that_is_not_shared() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        with pytest.raises(DataplaneError, match="does not share it") as caught:
            open_membership(NEWS, other.getsockname()[1], "lo")
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.root
def test_an_exempt_socket_says_so() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        assert exempt_from_policies(opened)
