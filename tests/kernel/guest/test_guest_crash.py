"""A process is killed in the middle; the next one finds what it left and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_hosts import Wire, ip, received
from protected import PORT, Group, Protection

from gkmd.core.esp import Direction

pytestmark = pytest.mark.guest

# Runs in the receiver's namespace: installs a group like Protection(), says so, and waits for its end.
MEMBER = """
import asyncio, sys
sys.path[:0] = sys.argv[1:]
from kernel_contract import key_for
from protected import Protection
from gkmd.core.esp import Direction
from gkmd.kernel.xfrm import XfrmDataplane

async def main():
    plane = XfrmDataplane()
    for version in (4, 6):
        protection = Protection(version=version)
        await plane.install_policy(protection.policy(Direction.IN, None))
        await plane.install_sa(protection.sa(Direction.IN, 0x100, None, 0))
    print("installed", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def killed_member(wire: Wire) -> None:
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    command = ["ip", "netns", "exec", wire["rx"].namespace, sys.executable, "-c", MEMBER, *folders]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as member:
        assert member.stdout is not None
        assert member.stdout.readline() == "installed\n"
        member.send_signal(signal.SIGKILL)
    assert member.returncode == -signal.SIGKILL


@pytest.mark.parametrize("keep_closed", [False, True], ids=["remove", "keep-closed"])
async def test_what_a_killed_member_left(wire: Wire, keep_closed: bool) -> None:
    rx = wire["rx"]
    foreign_sa = "xfrm state add src 10.9.0.1 dst 239.1.1.1 proto esp spi 0x999 reqid 7 mode transport aead"
    ip("-n", rx.namespace, *foreign_sa.split(), "rfc4106(gcm(aes))", "0x" + 40 * "1", "128")
    foreign_policy = "xfrm policy add dir in dst 239.9.9.9/32 priority 7"
    ip("-n", rx.namespace, *foreign_policy.split())
    killed_member(wire)

    # The keys it had still open: 4 of ours and 2 foreign things are there.
    assert rx.xfrm("state").count("proto esp spi") == 3
    group = Group(wire, Protection())
    await group.send("s1", 0x100)
    heard = rx.receiver(group.protection.group, PORT)
    wire["s1"].sender(group.protection.group, PORT)(b"still")
    assert received(heard, 1) == [b"still"]

    plane = rx.dataplane()
    lines = await plane.recover(keep_closed=keep_closed)
    print(*lines, sep="\n")
    assert len(lines) == 4
    assert rx.xfrm("state").count("proto esp spi") == 1
    assert rx.xfrm("policy").count("tmpl ") == (2 if keep_closed else 0)
    stranger = wire["s2"].sender(group.protection.group, PORT)
    stranger(b"clear")
    assert received(heard, 1, seconds=0.3 if keep_closed else 20.0) == ([] if keep_closed else [b"clear"])

    # The new process gets the same SAs from the key server, and everything works again.
    protection = group.protection
    await plane.install_policy(protection.policy(Direction.IN, None))
    await plane.install_sa(protection.sa(Direction.IN, 0x100, group.source("s1"), 0))
    stranger(b"clear")
    wire["s1"].sender(protection.group, PORT)(b"again")
    assert received(heard, 1) == [b"again"]

    await plane.close()
    assert rx.xfrm("state").count("proto esp spi") == 1
    assert "0x00000999" in rx.xfrm("state")
    assert rx.xfrm("policy").count("src ") == 1
    assert "priority 7" in rx.xfrm("policy")
    await group.close()
