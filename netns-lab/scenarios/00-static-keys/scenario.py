"""Static keys: the lab proves itself without gkmd."""

from lab.scenario import Lab
from lab.static_keys import add_policy, add_sa, clear, fresh_cbc, fresh_gcm
from lab.topology import Network

SECONDS = 240
GROUP4, GROUP6, PORT = "239.77.0.1", "ff35::77:1", 5000
RECEIVERS = ("r1", "r2", "r3")
PACKETS, RATE = 300, 150.0


def install(lab: Lab, net: Network) -> None:
    sender = net["sender"]
    lab.watch_keys(sender)
    gcm, cbc = fresh_gcm(), fresh_cbc()
    for name, direction in (("sender", "out"), *((name, "in") for name in RECEIVERS)):
        for source, group, algorithms in ((sender.ipv4, GROUP4, gcm), (sender.ipv6, GROUP6, cbc)):
            # The policy before the SA: in between nothing passes, in clear least of all.
            add_policy(net[name], source, group, PORT, direction)
            add_sa(net[name], source, group, 0x1000, algorithms, direction)


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
        clear(net[name])
    lab.figures("static keys", ["receiver", "group", "received", "lost"], rows)
