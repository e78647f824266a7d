"""On demand: keys come when a program joins or sends, and go when the last program has left."""

from __future__ import annotations

from lab.keying import DATA_PORT, GroupMember, KeyServer, group, identity
from lab.scenario import Lab

SECONDS = 400
GROUP = "239.77.12.1"
PACKETS = 300


def scenario(lab: Lab) -> None:
    lab.step("A group, a sender and two receivers that wait to be wanted")
    net = lab.network("gcks", "sender", "r1", "r2")
    lab.watch_keys(net["sender"], net["r1"])
    server = KeyServer(lab, net["gcks"])
    hosts = ("sender", "r1", "r2")
    rekeys = {"rekey_address": "239.77.12.2", "tek_lifetime": "30m", "kek_lifetime": "30m"}
    server.configure([group("news", GROUP, ["sender"], ["r1", "r2"], **rekeys)], hosts=hosts)
    server.start()
    members = {name: GroupMember(lab, net[name]) for name in hosts}
    for name, member in members.items():
        net[name].sysctl("net/core/xfrm_acq_expires", "1")  # larval SAs are gone before the clean-up looks
        role = "sender" if name == "sender" else "receiver"
        wish = {"name": "news", "role": role, "address": GROUP, "port": DATA_PORT, "when": "wanted"}
        member.configure(server, [wish], secret=server.secret(name))
        member.start()
    for name, member in members.items():
        lab.wait_for(f"{name} waits", lambda member=member: state(member) == "waiting")  # type: ignore[misc]
    lab.check("members that the server knows before anybody wants anything", [], server.member_hosts("news"))

    lab.step("A program on r1 joins: r1 gets the keys, r2 does not")
    (wire,) = lab.capture(net.switch)
    receiver = lab.receive(net["r1"], GROUP, DATA_PORT)
    server.wait_members("news", ["r1"])
    lab.check("members", ["r1"], server.member_hosts("news"))
    members["r1"].wait_joined("news")

    lab.step("A second member on r1 does not touch what the first has in the kernel")

    def kernel() -> str:
        return net["r1"].ip("xfrm state") + net["r1"].ip("xfrm policy")

    held = kernel()
    second = members["r1"].start_second()
    lab.check("the second member: status", 1, second.wait())
    lab.check("it says why", True, "is at work in this network namespace" in second.log_text())
    lab.check("r1: its kernel holds what it held", True, kernel() == held)

    lab.step(f"A program on the sender sends until {PACKETS} came; the first meet a closed policy")
    stream = lab.send(net["sender"], GROUP, DATA_PORT, rate=50)
    server.wait_members("news", ["sender", "r1"])
    lab.check("members", ["r1", "sender"], server.member_hosts("news"))
    lab.wait_for("the packets at r1", lambda: receiver.received(stream.stream) >= PACKETS)
    stream.stop()
    receiver.settle(stream)
    lab.judge_delivery(stream, receiver, joined_late=True)
    lab.judge_wire(wire, [DATA_PORT], what="the wire")

    lab.step("The program on r1 ends: r1 leaves, and its keys are gone")
    receiver.stop()
    lab.wait_for("r1 waits again", lambda: state(members["r1"]) == "waiting")
    lab.wait_for("r1 is out", lambda: identity("r1") not in server.members("news"))
    lab.check_soon("r1: SAs in its kernel", "", lambda: net["r1"].ip("xfrm state").strip())
    lab.check("r1: still closed", True, GROUP in net["r1"].ip("xfrm policy"))
    lab.check("r1: registrations", 1, members["r1"].registrations("news"))

    lab.step("It comes back: so do the keys")
    again = lab.receive(net["r1"], GROUP, DATA_PORT, name="again")
    server.wait_members("news", ["r1"])
    members["r1"].wait_joined("news")
    last = lab.send(net["sender"], GROUP, DATA_PORT, rate=50, stream=2)
    lab.wait_for("packets at r1 after it came back", lambda: again.received(last.stream) >= 50)
    last.stop()
    again.stop()
    lab.at_least("r1: datagrams after it came back", 50, again.received(last.stream))
    lab.check("r2 was never a member", 0, members["r2"].registrations("news"))

    lab.step("Everybody ends")
    for member in members.values():
        member.stop()
    lab.wait_for("nobody in news", lambda: not server.members("news"))
    server.stop()


def state(member: GroupMember) -> str:
    return str(member.ask("groups")[0]["state"])
