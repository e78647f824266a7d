"""Keys on demand: the kernel asks when traffic meets a closed policy, and the SAs that come then are used."""

from __future__ import annotations

import asyncio

import pytest
from kernel_hosts import Wire, received
from protected import PORT, Group, Protection

from gkmd.core.esp import Direction
from gkmd.ike.closing import CLOSED_REQID
from gkmd.kernel.acquire import Acquire, drain_acquires, open_acquires

pytestmark = pytest.mark.guest


@pytest.mark.parametrize("version", [4, 6])
async def test_a_sender_on_demand(wire: Wire, version: int) -> None:
    """Asked, opened, closed by a leave, asked again; nothing in clear, and no larval SA is in the way."""
    protection = Protection(version)
    group, host = Group(wire, protection), wire["s1"]
    host.set("core/xfrm_acq_expires", "5")  # seconds in which a larval SA is looked at
    heard, tap = wire["rx"].receiver(protection.group, PORT), wire.tap(protection.group)
    netlink = host.keep(host.inside(open_acquires))
    send, plane = host.sender(protection.group, PORT), group.plane("s1")
    await group.close_receiver()
    await plane.install_policy(protection.policy(Direction.OUT, None, CLOSED_REQID))

    for spi, reqid in ((0x100, 1), (0x200, 2)):
        await group.receive(spi, "s1")
        send(b"lost")
        assert drain_acquires(netlink) == [Acquire(protection.group, 17, PORT)]
        assert "spi 0x00000000" in host.xfrm("state")
        # As the member's machine does it: the policy names the new SA before that is there.
        await plane.switch_output(protection.policy(Direction.OUT, None, reqid))
        send(b"lost, too")
        await plane.install_sa(protection.sa(Direction.OUT, spi, group.source("s1"), reqid))
        for number in range(3):
            send(b"%d" % number)
        assert received(heard, 3) == [b"0", b"1", b"2"]
        assert tap.spis() == [spi] * 3
        drain_acquires(netlink)

        # It leaves: closed again, and asked for again when the larval SAs are gone.
        await plane.remove_sa(protection.sa(Direction.OUT, spi, group.source("s1"), reqid))
        send(b"late")
        assert received(heard, 1, seconds=0.2) == []
        assert tap.frames() == []
        for _ in range(600):
            if host.xfrm("state") == "":
                break
            await asyncio.sleep(0.1)
        drain_acquires(netlink)
    await group.close()
