"""Nothing passes in clear, nothing foreign comes in, whatever is missing or over."""

from __future__ import annotations

import asyncio
import dataclasses
import socket

import pytest
from kernel_contract import key_for
from kernel_hosts import Wire, ip, received
from protected import PORT, Group, Protection

from gkmd.core.algorithms import AES_GCM_16_128
from gkmd.core.esp import Direction, Mode

pytestmark = pytest.mark.guest


@pytest.mark.parametrize(
    "protection",
    [
        Protection(),
        Protection(version=6),
        Protection(mode=Mode.TUNNEL),
        Protection(version=6, mode=Mode.TUNNEL),
    ],
    ids=lambda p: f"IPv{p.version}-{p.mode.value}",
)
async def test_closed_without_an_sa_in_both_directions(wire: Wire, protection: Protection) -> None:
    group = Group(wire, protection)
    heard, tap = wire["rx"].receiver(protection.group, PORT), wire.tap(protection.group)
    send = wire["s1"].sender(protection.group, PORT)
    stranger = wire["s2"].sender(protection.group, PORT)
    await group.close_receiver()
    await group.send("s1", 0x100)

    # The receiver has no SA: ESP comes, nothing is delivered.
    send(b"early")
    assert received(heard, 1, seconds=0.3) == []
    assert tap.spis() == [0x100]
    assert "XfrmInNoStates" in wire["rx"].statistics()

    # It has one: what is ESP is delivered, what a stranger sends in clear is not.
    await group.receive(0x100, "s1")
    stranger(b"clear")
    send(b"good")
    assert received(heard, 1) == [b"good"]
    assert "XfrmInTmplMismatch" in wire["rx"].statistics()
    tap.frames()

    # The sender has no SA any more: nothing is on the wire, and sendto does not fail.
    await group.plane("s1").remove_sa(protection.sa(Direction.OUT, 0x100, group.source("s1"), 1))
    send(b"late")
    assert received(heard, 1, seconds=0.3) == []
    assert tap.frames() == []
    assert "XfrmOutNoStates" in wire["s1"].statistics()
    await group.close()


async def test_a_hard_expiry_closes_and_is_no_error(wire: Wire) -> None:
    group = Group(wire, Protection(lifetime=4.0))
    heard, tap = wire["rx"].receiver(group.protection.group, PORT), wire.tap(group.protection.group)
    send = wire["s1"].sender(group.protection.group, PORT)
    await group.close_receiver()
    await group.receive(0x100, "s1")
    await group.send("s1", 0x100)
    send(b"alive")
    assert received(heard, 1) == [b"alive"]
    assert "hard 4(sec)" in ip("-n", wire["rx"].namespace, "-s", "xfrm", "state")
    for _ in range(600):
        if wire["s1"].xfrm("state") == wire["rx"].xfrm("state") == "":
            break
        await asyncio.sleep(0.1)
    tap.frames()
    send(b"over")
    assert received(heard, 1, seconds=0.3) == []
    assert tap.frames() == []
    # Their owner removes them later, or installs the SPI again: both are fine.
    await group.plane("rx").remove_sa(group.protection.sa(Direction.IN, 0x100, group.source("s1"), 0))
    await group.plane("s1").install_sa(group.protection.sa(Direction.OUT, 0x100, group.source("s1"), 1))
    await group.close()


async def test_a_member_cannot_send_on_the_sa_of_another(wire: Wire) -> None:
    """Every member has the key: the SA's selector holds the source that the key server announced."""
    group = Group(wire, Protection())
    heard = wire["rx"].receiver(group.protection.group, PORT)
    await group.close_receiver()
    await group.receive(0x100, "s1")
    await group.send("s2", 0x100)  # s2 uses the SPI and the key of s1 under its own address
    wire["s2"].sender(group.protection.group, PORT)(b"forged")
    assert received(heard, 1, seconds=0.3) == []
    assert "XfrmInStateMismatch" in wire["rx"].statistics()
    await group.close()


async def test_a_wrong_key_opens_nothing(wire: Wire) -> None:
    group = Group(wire, Protection())
    heard = wire["rx"].receiver(group.protection.group, PORT)
    await group.close_receiver()
    wrong = dataclasses.replace(
        group.protection.sa(Direction.IN, 0x100, group.source("s1"), 0), key=key_for(AES_GCM_16_128, None, 99)
    )
    await group.plane("rx").install_sa(wrong)
    await group.send("s1", 0x100)
    wire["s1"].sender(group.protection.group, PORT)(b"secret")
    assert received(heard, 1, seconds=0.3) == []
    assert "XfrmInStateProtoError" in wire["rx"].statistics()
    await group.close()


@pytest.mark.parametrize("window", [0, 32, 64, 4096])
async def test_replayed_packets(wire: Wire, window: int) -> None:
    group = Group(wire, Protection(window=window))
    heard, tap = wire["rx"].receiver(group.protection.group, PORT), wire.tap(group.protection.group)
    await group.close_receiver()
    await group.receive(0x100, "s1")
    await group.send("s1", 0x100)
    send = wire["s1"].sender(group.protection.group, PORT)
    for number in range(4):
        send(b"%d" % number)
    assert received(heard, 4) == [b"0", b"1", b"2", b"3"]

    def replay() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.setsockopt(socket.SOL_SOCKET, 25, b"e0")
            for frame in frames:
                raw.sendto(frame.packet, (str(frame.destination), 0))

    frames = tap.frames(socket.IPPROTO_ESP)
    wire["s2"].inside(replay)
    again = received(heard, 4, seconds=0.4)
    assert len(again) == (0 if window else 4)
    assert len(tap.frames(socket.IPPROTO_ESP)) == 4
    await group.close()


async def test_the_receive_only_sa_is_never_sent_on(wire: Wire) -> None:
    """A receiver's SA of the same destination and reqid does not open the way out."""
    group = Group(wire, Protection())
    tap = wire.tap(group.protection.group)
    plane = group.plane("s1")
    await group.close_receiver("s1")
    await plane.install_policy(group.protection.policy(Direction.OUT, group.source("s1"), 0))
    await plane.install_sa(group.protection.sa(Direction.IN, 0x100, None, 0))
    wire["s1"].sender(group.protection.group, PORT)(b"nothing")
    await asyncio.sleep(0.3)
    assert tap.frames() == []
    assert wire["s1"].statistics() == {"XfrmOutNoStates": 1}
    await group.close()
