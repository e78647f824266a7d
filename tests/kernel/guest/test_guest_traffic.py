"""Real multicast under ESP between namespaces; what is on the wire is opened by a stranger's ESP (scapy)."""

from __future__ import annotations

import socket

import pytest
from kernel_contract import key_for
from kernel_hosts import Frame, Wire, ip, received
from protected import PORT, Group, Protection
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation

from gkmd.core.algorithms import (
    AES_CBC_128,
    AES_CBC_256,
    AES_GCM_16_128,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    HMAC_SHA2_256_128,
    HMAC_SHA2_384_192,
    HMAC_SHA2_512_256,
)
from gkmd.core.esp import Mode

pytestmark = pytest.mark.guest

PROTECTIONS = [
    Protection(),
    Protection(cipher=AES_GCM_16_256, window=0),
    Protection(cipher=CHACHA20_POLY1305),
    Protection(cipher=AES_CBC_128, integrity=HMAC_SHA2_256_128),
    Protection(cipher=AES_CBC_256, integrity=HMAC_SHA2_384_192),
    Protection(cipher=AES_CBC_256, integrity=HMAC_SHA2_512_256),
    Protection(mode=Mode.TUNNEL),
    Protection(mode=Mode.TUNNEL, cipher=AES_CBC_128, integrity=HMAC_SHA2_256_128),
    Protection(version=6),
    Protection(version=6, cipher=CHACHA20_POLY1305, window=1024),
    Protection(version=6, mode=Mode.TUNNEL),
]

SCAPY_CIPHER = {12: "AES-CBC", 20: "AES-GCM", 28: "CHACHA20-POLY1305"}
SCAPY_INTEGRITY = {12: "SHA2-256-128", 13: "SHA2-384-192", 14: "SHA2-512-256"}


def describe(protection: Protection) -> str:
    integrity = f"-{protection.integrity.name}" if protection.integrity else ""
    return f"IPv{protection.version}-{protection.mode.value}-{protection.cipher.name}{integrity}"


def opened_by_a_stranger(frame: Frame, protection: Protection) -> bytes:
    """The UDP payload of an ESP packet; raises when the ICV is wrong."""
    key = key_for(protection.cipher, protection.integrity, frame.spi).reveal()
    split = protection.cipher.key_octets
    integrity = protection.integrity
    version = IP if frame.version == 4 else IPv6
    association = SecurityAssociation(
        ESP,
        spi=frame.spi,
        crypt_algo=SCAPY_CIPHER[protection.cipher.transform_id],
        crypt_key=key[:split],
        auth_algo=SCAPY_INTEGRITY[integrity.transform_id] if integrity else None,
        auth_key=key[split:] if integrity else None,
        tunnel_header=version() if protection.mode is Mode.TUNNEL else None,
    )
    return bytes(association.decrypt(version(frame.packet))[UDP].payload)


@pytest.mark.parametrize("protection", PROTECTIONS, ids=describe)
async def test_one_sender(wire: Wire, protection: Protection) -> None:
    group = Group(wire, protection)
    await group.close_receiver()
    await group.receive(0x100, "s1")
    await group.send("s1", 0x100)
    heard, tap = wire["rx"].receiver(group.protection.group, PORT), wire.tap(protection.group)
    send = wire["s1"].sender(protection.group, PORT)
    sent = [b"news %d" % number for number in range(5)]
    for data in sent:
        send(data)
    assert received(heard, 5) == sent
    frames = tap.frames()
    assert [frame.protocol for frame in frames] == 5 * [socket.IPPROTO_ESP]
    # Outside stand the sender and the group, in tunnel mode too (RFC 5374 3.1).
    assert {(frame.source, frame.destination, frame.spi) for frame in frames} == {
        (group.source("s1"), protection.group, 0x100)
    }
    assert [opened_by_a_stranger(frame, protection) for frame in frames] == sent
    assert wire["rx"].statistics() == {}
    assert wire["s1"].statistics() == {}
    await group.close()


async def test_two_senders_share_a_cbc_sa(wire: Wire) -> None:
    protection = Protection(cipher=AES_CBC_128, integrity=HMAC_SHA2_256_128, window=0)
    group = Group(wire, protection)
    await group.close_receiver()
    await group.receive(0x300, None)
    for name in ("s1", "s2"):
        await group.send(name, 0x300, shared=True)
    heard, tap = wire["rx"].receiver(protection.group, PORT), wire.tap(protection.group)
    senders = {name: wire[name].sender(protection.group, PORT) for name in ("s1", "s2")}
    sent = [(name, b"%s %d" % (name.encode(), number)) for number in range(20) for name in senders]
    for name, data in sent:
        senders[name](data)
    assert received(heard, 40) == [data for _, data in sent]
    frames = tap.frames(socket.IPPROTO_ESP)
    assert {(str(frame.source), frame.spi) for frame in frames} == {("10.9.0.1", 0x300), ("10.9.0.2", 0x300)}
    assert [opened_by_a_stranger(frame, protection) for frame in frames] == [data for _, data in sent]
    assert wire["rx"].statistics() == {}
    await group.close()


async def test_two_senders_with_an_sa_each(wire: Wire) -> None:
    group = Group(wire, Protection(cipher=AES_GCM_16_128))
    await group.close_receiver()
    for name, spi in (("s1", 0x100), ("s2", 0x200)):
        await group.receive(spi, name)
        await group.send(name, spi)
    heard, tap = wire["rx"].receiver(group.protection.group, PORT), wire.tap(group.protection.group)
    for name in ("s1", "s2"):
        send = wire[name].sender(group.protection.group, PORT)
        for _ in range(3):
            send(name.encode())
    assert sorted(received(heard, 6)) == 3 * [b"s1"] + 3 * [b"s2"]
    assert sorted(tap.spis()) == 3 * [0x100] + 3 * [0x200]
    await group.close()


@pytest.mark.parametrize("protection", [Protection(), Protection(version=6)], ids=describe)
async def test_a_sender_that_receives_hears_itself_and_others(wire: Wire, protection: Protection) -> None:
    group = Group(wire, protection)
    await group.close_receiver("s1")
    await group.send("s1", 0x100)
    await group.receive(0x200, "s2", "s1")
    await group.send("s2", 0x200)
    heard = wire["s1"].receiver(group.protection.group, PORT)
    wire["s1"].sender(group.protection.group, PORT)(b"own")
    wire["s2"].sender(group.protection.group, PORT)(b"other")
    assert sorted(received(heard, 2)) == [b"other", b"own"]
    assert wire["s1"].statistics() == {}
    await group.close()


async def test_a_tunnel_does_not_loop_back(wire: Wire) -> None:
    """The inside of a looped tunnel comes in like a foreign packet with our own source address: it goes."""
    group = Group(wire, Protection(mode=Mode.TUNNEL))
    await group.close_receiver("s1")
    await group.send("s1", 0x100)
    await group.receive(0x200, "s2", "s1")
    await group.send("s2", 0x200)
    heard = wire["s1"].receiver(group.protection.group, PORT)
    for accept_local, expected in (("1", [b"other", b"own"]), ("0", [b"other"])):
        wire["s1"].set("ipv4/conf/e0/accept_local", accept_local)
        wire["s1"].sender(group.protection.group, PORT)(b"own")
        wire["s2"].sender(group.protection.group, PORT)(b"other")
        assert sorted(received(heard, len(expected))) == expected
    await group.close()


@pytest.mark.parametrize(
    "protection", [Protection(), Protection(version=6), Protection(mode=Mode.TUNNEL)], ids=describe
)
async def test_datagrams_larger_than_the_link(wire: Wire, protection: Protection) -> None:
    group = Group(wire, protection)
    await group.close_receiver()
    await group.receive(0x100, "s1")
    await group.send("s1", 0x100)
    heard = wire["rx"].receiver(protection.group, PORT)
    send = wire["s1"].sender(protection.group, PORT)
    sizes = [1, 1372, 1400, 1472, 1473, 3000, 8000]
    for size in sizes:
        send(bytes(size))
    assert [len(data) for data in received(heard, len(sizes))] == sizes
    await group.close()


async def test_two_groups_on_one_member(wire: Wire) -> None:
    """The same SPI in two groups, two data planes of two processes would do it: told apart by destination."""
    first, second = Group(wire, Protection()), Group(wire, Protection(version=6))
    second.planes = first.planes
    for group in (first, second):
        await group.close_receiver()
        await group.receive(0x100, "s1")
        await group.send("s1", 0x100)
    for group in (first, second):
        heard = wire["rx"].receiver(group.protection.group, PORT)
        wire["s1"].sender(group.protection.group, PORT)(b"hello")
        assert received(heard, 1) == [b"hello"]
    assert "0x00000100" in ip("-n", wire["rx"].namespace, "xfrm", "state")
    await first.close()
