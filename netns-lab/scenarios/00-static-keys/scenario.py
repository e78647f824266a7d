"""Static keys: the lab proves itself without gkmd."""

import os

from lab.scenario import Lab
from lab.topology import Host, Network

SECONDS = 90
GROUP4, GROUP6, PORT = "239.77.0.1", "ff35::77:1", 5000
RECEIVERS = ("r1", "r2", "r3")
PACKETS, RATE = 300, 150.0


def selector(source: str, group: str) -> str:
    return f"src {source} dst {group} proto udp dport {PORT}"


def protect(host: Host, source: str, group: str, algorithms: str, direction: str) -> None:
    """The policy before the SA: in between nothing passes, in clear least of all."""
    template = f"tmpl src {source} dst {group} proto esp mode transport"
    host.ip(f"xfrm policy add {selector(source, group)} dir {direction} {template}")
    window = "replay-window 32" if direction == "in" else ""
    host.ip(
        f"xfrm state add src {source} dst {group} proto esp spi 0x1000 mode transport {window} {algorithms}"
    )


def fresh_keys() -> tuple[str, str]:
    """Algorithms with keys, for the IPv4 and for the IPv6 group."""
    gcm = f"aead rfc4106(gcm(aes)) 0x{os.urandom(20).hex()} 128"
    cbc = f"enc cbc(aes) 0x{os.urandom(16).hex()} auth-trunc hmac(sha256) 0x{os.urandom(32).hex()} 128"
    return gcm, cbc


def install(lab: Lab, net: Network) -> None:
    sender = net["sender"]
    lab.watch_keys(sender)
    gcm, cbc = fresh_keys()
    for name, direction in (("sender", "out"), *((name, "in") for name in RECEIVERS)):
        protect(net[name], sender.ipv4, GROUP4, gcm, direction)
        protect(net[name], sender.ipv6, GROUP6, cbc, direction)


def scenario(lab: Lab) -> None:
    lab.step("A sender, three receivers, a stranger and a bystander on one bridge")
    net = lab.network("sender", *RECEIVERS, "stranger", "bystander")

    lab.step("Policies, then SAs with fresh keys")
    install(lab, net)
    lab.check("SAs seen by the sender's monitor", 2, len(lab.keys()))

    lab.step("Captures and receivers; the stranger joins, too")
    wire, stranger_sees, bystander_sees = lab.capture(net.switch, net["stranger"], net["bystander"])
    joined = (*RECEIVERS, "stranger")
    in4 = {name: lab.receive(net[name], GROUP4, PORT, name="receive-4") for name in joined}
    in6 = {name: lab.receive(net[name], GROUP6, PORT, name="receive-6") for name in joined}
    for group in (GROUP4, GROUP6):
        net.wait_for_members(group, joined)
        lab.check(f"members of {group} that the bridge knows", sorted(joined), sorted(net.members(group)))

    lab.step(f"{PACKETS} packets to each group at {RATE:g} packets/s")
    out4 = lab.send(net["sender"], GROUP4, PORT, rate=RATE, count=PACKETS, stream=4)
    out6 = lab.send(net["sender"], GROUP6, PORT, rate=RATE, count=PACKETS, stream=6)
    rows = []
    for out, receivers in ((out4, in4), (out6, in6)):
        lab.check(f"errors while sending stream {out.stream}", {}, out.wait()["errors"])
        for name in RECEIVERS:
            receivers[name].settle(out)
            receivers[name].stop()
            lost = lab.judge_delivery(out, receivers[name])
            rows.append([name, receivers[name].group, receivers[name].received(out.stream), lost])

    lab.step("What the wire and the stranger saw")
    lab.judge_wire(wire, [PORT], esp=2 * PACKETS, what="the wire")
    lab.judge_wire(stranger_sees, [PORT], esp=2 * PACKETS, what="the stranger's interface")
    for receivers in (in4, in6):
        receivers["stranger"].stop()
    got = in4["stranger"].total() + in6["stranger"].total()
    lab.check("the stranger's sockets: datagrams", 0, got)
    flooded = lab.look_at(bystander_sees, [PORT])
    lab.check("the bystander's interface: ESP packets", 0, flooded.esp)
    lab.check("the bystander's interface: packets in clear", 0, flooded.clear)
    for name in ("sender", *RECEIVERS, "bystander"):
        lab.check(f"{name}: XFRM errors", {}, net[name].xfrm_stat())

    lab.step("Remove SAs and policies")
    for name in ("sender", *RECEIVERS):
        net[name].ip("xfrm state flush")
        net[name].ip("xfrm policy flush")
    lab.figures("static keys", ["receiver", "group", "received", "lost"], rows)
