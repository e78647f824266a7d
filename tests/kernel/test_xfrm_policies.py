"""The policy half of the contract on the running kernel, in namespaces of its own: needs root, but no ESP."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
from kernel_contract import NEWS, NEWS6, SOURCE, CheckContract, PolicyContract, policy_for, refused
from kernel_hosts import Host, Wire, ip, received
from xfrm_bench import XfrmBench

from gkmd.core.esp import Direction, Mode
from gkmd.kernel.names import ESP_PRIORITY, REQID_BASE

pytestmark = pytest.mark.root


class TestXfrmPolicies(CheckContract, PolicyContract):
    @pytest.fixture
    def bench(self, host: Host) -> XfrmBench:
        return XfrmBench(host)


async def test_a_stranger_reads_what_was_meant(host: Host) -> None:
    plane = host.dataplane()
    await plane.install_policy(policy_for(Direction.OUT, mode=Mode.TUNNEL, reqid=7))
    await plane.install_policy(policy_for(Direction.IN, mode=Mode.TUNNEL, source=SOURCE))
    text = " ".join(host.xfrm("policy").split())
    selector = "src 10.9.0.1/32 dst 239.1.1.1/32 proto udp dport 5000"
    assert (
        f"{selector} dir out priority {ESP_PRIORITY} ptype main "
        f"tmpl src 10.9.0.1 dst 239.1.1.1 proto esp reqid {REQID_BASE + 7} mode tunnel"
    ) in text
    assert (
        f"{selector} dir in priority {ESP_PRIORITY} ptype main "
        "tmpl src 0.0.0.0 dst 0.0.0.0 proto esp reqid 0 mode tunnel"
    ) in text
    await plane.switch_output(policy_for(Direction.OUT, mode=Mode.TUNNEL, reqid=8))
    assert f"reqid {REQID_BASE + 8} mode tunnel" in host.xfrm("policy")
    await plane.close()
    assert host.xfrm("policy") == ""


async def test_recover_leaves_other_peoples_policies(host: Host) -> None:
    other = "xfrm policy add dir out dst 239.1.1.1/32 priority 5 tmpl proto esp mode transport"
    ip("-n", host.namespace, *other.split())
    plane = host.dataplane()
    assert await plane.recover() == []
    await plane.close()
    assert "priority 5" in host.xfrm("policy")


async def test_a_policy_whose_exception_is_refused_is_taken_back(host: Host) -> None:
    foreign = "xfrm policy add dir in dst 239.1.1.1/32 proto igmp priority 5"
    ip("-n", host.namespace, *foreign.split())
    plane = host.dataplane()
    await refused(errno.EEXIST, plane.install_policy(policy_for(Direction.IN, protocol=0, port=0)))
    await plane.close()
    assert host.xfrm("policy").count("src ") == 1
    assert "priority 5" in host.xfrm("policy")


async def test_a_closed_data_plane_says_so(host: Host) -> None:
    plane = host.dataplane()
    await plane.close()
    line = await refused(errno.EBADF, plane.install_policy(policy_for(Direction.IN)))
    assert "closed" in line


@pytest.mark.parametrize("group", [NEWS, NEWS6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", [17, 0])
async def test_fail_closed_without_an_sa(wire: Wire, group: object, protocol: int) -> None:
    port = 5000 if protocol else 0
    send, heard, tap = wire["s1"].sender(group, 5000), wire["rx"].receiver(group, 5000), wire.tap(group)
    send(b"clear")
    assert received(heard, 1) == [b"clear"]

    # A receiver with the policy alone takes nothing in clear.
    receiver = wire["rx"].dataplane()
    inbound = policy_for(Direction.IN, destination=group, protocol=protocol, port=port)
    await receiver.install_policy(inbound)
    tap.frames()
    send(b"clear")
    assert received(heard, 1, seconds=0.4) == []
    assert len(tap.frames(17)) == 1
    assert wire["rx"].statistics().get("XfrmInTmplMismatch", 0) >= 1

    # A sender with the policy alone sends nothing, and sendto does not fail.
    sender = wire["s1"].dataplane()
    await sender.install_policy(
        policy_for(Direction.OUT, destination=group, source=None, protocol=protocol, port=port)
    )
    await receiver.remove_policy(inbound)
    send(b"clear")
    assert received(heard, 1, seconds=0.4) == []
    assert tap.frames(17) == []

    await sender.close()
    send(b"clear again")
    assert received(heard, 1) == [b"clear again"]
    await receiver.close()


DROPPED = """
import asyncio, os, sys
import pyprctl
from ipaddress import IPv4Address
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction, EspPolicy, Mode
from gkmd.kernel.xfrm import XfrmDataplane

plane = XfrmDataplane()
keep = {pyprctl.Cap.NET_ADMIN} if sys.argv[1] == "keep" else set()
pyprctl.set_keepcaps(True)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
pyprctl.CapState(effective=keep, permitted=keep, inheritable=set()).set_current()

async def main():
    policy = EspPolicy("news", None, IPv4Address("239.1.1.1"), 17, 5000, Mode.TRANSPORT, Direction.IN, 0)
    try:
        await plane.install_policy(policy)
    except DataplaneError as error:
        print(error.errno, error)
    else:
        print("installed")
    await plane.close()

asyncio.run(main())
"""


@pytest.mark.parametrize(("capability", "expected"), [("keep", "installed"), ("drop", "1 ")])
def test_the_socket_outlives_root_but_not_the_capability(host: Host, capability: str, expected: str) -> None:
    done = subprocess.run(
        ["ip", "netns", "exec", host.namespace, sys.executable, "-W", "error", "-c", DROPPED, capability],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)
    if capability == "drop":
        assert "CAP_NET_ADMIN" in done.stdout
    assert host.xfrm("policy") == ""
