"""Keys are replaced under a stream: nothing lost, nothing twice, nothing in clear."""

from __future__ import annotations

import asyncio
import time

import pytest
from kernel_hosts import Wire
from protected import PORT, Group, Protection

from gkmd.core.algorithms import AES_CBC_128, HMAC_SHA2_256_128
from gkmd.core.esp import Direction, Mode

pytestmark = pytest.mark.guest

ROLLOVERS = 10
PACKETS_PER_SECOND = 500
STEP_SECONDS = 0.15
WAIT_SECONDS = 30.0


class Stream:
    """Numbered datagrams at a steady pace, and who heard which."""

    def __init__(self, wire: Wire, group: Group, *, connected: bool) -> None:
        self.sent = 0
        self.heard: list[int] = []
        self._send = wire["s1"].sender(group.protection.group, PORT, connected=connected)
        self._socket = wire["rx"].receiver(group.protection.group, PORT)
        self._running = True

    def drain(self) -> None:
        while True:
            try:
                self.heard.append(int(self._socket.recv(100)))
            except BlockingIOError:
                return

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self.drain)
        start = time.monotonic()
        while self._running:
            while self.sent < (time.monotonic() - start) * PACKETS_PER_SECOND:
                self._send(b"%d" % self.sent)
                self.sent += 1
                self.drain()  # who was held up sends many at once, and the socket does not hold them all
            await asyncio.sleep(0.004)
        end = time.monotonic() + WAIT_SECONDS
        while len(self.heard) < self.sent and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # for what comes twice
        asyncio.get_running_loop().remove_reader(self._socket)
        self.drain()

    def stop(self) -> None:
        self._running = False


@pytest.mark.parametrize(
    ("protection", "connected"),
    [
        (Protection(), False),
        (Protection(), True),
        (Protection(version=6), True),
        (Protection(mode=Mode.TUNNEL), False),
        (Protection(cipher=AES_CBC_128, integrity=HMAC_SHA2_256_128, window=0), False),
    ],
    ids=["IPv4", "IPv4-connected", "IPv6-connected", "tunnel", "CBC"],
)
async def test_ten_rollovers(wire: Wire, protection: Protection, connected: bool) -> None:
    group = Group(wire, protection)
    tap = wire.tap(protection.group)
    sender, receiver = group.plane("s1"), group.plane("rx")
    source = group.source("s1")
    await group.close_receiver()
    await group.receive(0x100, "s1")
    await group.send("s1", 0x100, reqid=1)
    stream = Stream(wire, group, connected=connected)
    running = asyncio.create_task(stream.run())
    seen: list[int] = []
    await asyncio.sleep(STEP_SECONDS)

    for number in range(1, ROLLOVERS + 1):
        old, new, reqid = 0x100 + number - 1, 0x100 + number, number + 1
        # The rekey arrives: everybody installs the new SA; the sender's waits under a new reqid.
        await group.receive(new, "s1")
        await sender.install_sa(protection.sa(Direction.OUT, new, source, reqid))
        await asyncio.sleep(STEP_SECONDS)
        seen += tap.spis()
        assert seen[-1] == old
        # Activation.
        await sender.switch_output(protection.policy(Direction.OUT, source, reqid))
        await asyncio.sleep(STEP_SECONDS)
        end = time.monotonic() + WAIT_SECONDS
        while seen[-1] != new and time.monotonic() < end:
            await asyncio.sleep(0.02)
            seen += tap.spis()
        assert seen[-1] == new
        # Deactivation.
        await sender.remove_sa(protection.sa(Direction.OUT, old, source, reqid - 1))
        await receiver.remove_sa(protection.sa(Direction.IN, old, source, 0))

    await asyncio.sleep(STEP_SECONDS)
    stream.stop()
    await running
    seen += tap.spis()
    print(f"{stream.sent} sent, {len(stream.heard)} delivered, {len(seen)} ESP, {len(set(seen))} SPIs")
    assert stream.sent > ROLLOVERS * 2 * STEP_SECONDS * PACKETS_PER_SECOND * 0.5
    assert stream.heard == list(range(stream.sent))
    assert seen == sorted(seen)
    assert set(seen) == set(range(0x100, 0x101 + ROLLOVERS))
    assert len(seen) == stream.sent
    assert wire["rx"].statistics() == {}
    assert wire["s1"].statistics() == {}
    assert wire["rx"].xfrm("state").count("proto esp") == 1
    await group.close()
