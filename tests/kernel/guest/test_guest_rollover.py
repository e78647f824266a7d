"""Keys are replaced under a stream: nothing lost, nothing twice, nothing in clear."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from kernel_hosts import Wire
from protected import PORT, Group, Protection

from gkmd.core.algorithms import AES_CBC_128, HMAC_SHA2_256_128
from gkmd.core.esp import Direction, Mode

pytestmark = pytest.mark.guest

ROLLOVERS = 10
PACKETS_PER_SECOND = 500
STEP_PACKETS = 75
MOST_AT_ONCE = 20  # whoever is held up does not catch up: no socket holds all that
WAIT_SECONDS = 30.0


class Stream:
    """Numbered datagrams at a steady pace, who heard which, and the SPIs on the wire."""

    def __init__(self, wire: Wire, group: Group, *, connected: bool) -> None:
        self.sent = 0
        self.heard: list[int] = []
        self.seen: list[int] = []
        self._tap = wire.tap(group.protection.group)
        self._send = wire["s1"].sender(group.protection.group, PORT, connected=connected)
        self._socket = wire["rx"].receiver(group.protection.group, PORT)
        self._running = True
        self._task = asyncio.create_task(self._run())

    def look(self) -> None:
        """Take what has come to the receiver and by the tap."""
        self.seen += self._tap.spis()
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(int(self._socket.recv(100)))

    async def _run(self) -> None:
        due = time.monotonic()
        while self._running:
            due = max(due, time.monotonic() - MOST_AT_ONCE / PACKETS_PER_SECOND)
            while due <= time.monotonic():
                self._send(b"%d" % self.sent)
                self.sent += 1
                due += 1 / PACKETS_PER_SECOND
            self.look()
            await asyncio.sleep(0.004)
        end = time.monotonic() + WAIT_SECONDS
        while min(len(self.heard), len(self.seen)) < self.sent and time.monotonic() < end:
            await asyncio.sleep(0.02)
            self.look()
        await asyncio.sleep(0.2)  # for what comes twice
        self.look()

    async def step(self) -> None:
        """Until some more packets were sent."""
        wanted = self.sent + STEP_PACKETS
        while self.sent < wanted:
            if self._task.done():
                await self._task  # its error
            await asyncio.sleep(0.004)

    async def stop(self) -> None:
        self._running = False
        await self._task


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
    sender, receiver = group.plane("s1"), group.plane("rx")
    source = group.source("s1")
    await group.close_receiver()
    await group.receive(0x100, "s1")
    await group.send("s1", 0x100, reqid=1)
    stream = Stream(wire, group, connected=connected)
    seen = stream.seen
    await stream.step()

    for number in range(1, ROLLOVERS + 1):
        old, new, reqid = 0x100 + number - 1, 0x100 + number, number + 1
        # The rekey arrives: everybody installs the new SA; the sender's waits under a new reqid.
        await group.receive(new, "s1")
        await sender.install_sa(protection.sa(Direction.OUT, new, source, reqid))
        await stream.step()
        assert seen[-1] == old
        # Activation.
        await sender.switch_output(protection.policy(Direction.OUT, source, reqid))
        await stream.step()
        end = time.monotonic() + WAIT_SECONDS
        while seen[-1] != new and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert seen[-1] == new
        # Deactivation.
        await sender.remove_sa(protection.sa(Direction.OUT, old, source, reqid - 1))
        await receiver.remove_sa(protection.sa(Direction.IN, old, source, 0))

    await stream.step()
    await stream.stop()
    print(f"{stream.sent} sent, {len(stream.heard)} delivered, {len(seen)} ESP, {len(set(seen))} SPIs")
    assert stream.heard == list(range(stream.sent))
    assert seen == sorted(seen)
    assert set(seen) == set(range(0x100, 0x101 + ROLLOVERS))
    assert len(seen) == stream.sent
    assert wire["rx"].statistics() == {}
    assert wire["s1"].statistics() == {}
    assert wire["rx"].xfrm("state").count("proto esp") == 1
    await group.close()
