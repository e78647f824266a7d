"""First light: one sender, three receivers and a stranger, rekeyed under a stream."""

from lab.keying import DATA_PORT, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 400
GROUP = "239.77.1.1"
RECEIVERS = ("r1", "r2", "r3")
MEMBERS = ("sender", *RECEIVERS)
RATE = 100.0
ROLLOVERS = 3


def scenario(lab: Lab) -> None:
    lab.step("A key server, a sender, three receivers and a stranger on one bridge")
    net = lab.network("gcks", *MEMBERS, "stranger")
    lab.watch_keys(*(net[name] for name in MEMBERS))
    wire, stranger_sees = lab.capture(net.switch, net["stranger"])

    lab.step("The key server starts")
    server = KeyServer(lab, net["gcks"])
    server.configure([group("news", GROUP, ["sender"], RECEIVERS)], hosts=MEMBERS)
    server.start()

    lab.step("A sender and three receivers register, each over its own Diffie-Hellman channel")
    roles = {name: "sender" if name == "sender" else "receiver" for name in MEMBERS}
    joins = {name: [{"name": "news", "role": role}] for name, role in roles.items()}
    members = start_members(lab, net, server, joins)
    lab.check("members that the server knows", sorted(MEMBERS), server.member_hosts("news"))

    lab.step(f"The stream: {RATE:g} packets/s until every key was replaced {ROLLOVERS} times")
    receivers = {name: lab.receive(net[name], GROUP, DATA_PORT) for name in RECEIVERS}
    stranger = lab.receive(net["stranger"], GROUP, DATA_PORT)
    net.wait_for_members(GROUP, [*RECEIVERS, "stranger"])
    stream = lab.send(net["sender"], GROUP, DATA_PORT, rate=RATE)
    rollovers = server.wait_rollovers("news", ROLLOVERS, lambda done: lab.progress(f"{done} rollovers"))
    members["sender"].wait_switched("news", server)
    stream.stop()
    lost = {}
    for name, receiver in receivers.items():
        receiver.settle(stream)
        receiver.stop()
        lost[name] = lab.judge_delivery(stream, receiver)
    stranger.stop()

    lab.step("What the wire and the stranger saw")
    found = lab.judge_wire(wire, [DATA_PORT], esp=stream.sent, what="the wire")
    at_stranger = lab.judge_wire(
        stranger_sees, [DATA_PORT], esp=stream.sent, what="the stranger's interface", at_most=300
    )
    lab.check("the stranger's sockets: datagrams", 0, stranger.total())
    lab.at_least("SPIs that the sender used", ROLLOVERS + 1, len(found.by_spi))
    for name in MEMBERS:
        lab.check(f"{name}: XFRM errors", {}, net[name].xfrm_stat())

    times = {name: member.registration_seconds() for name, member in members.items()}

    lab.step("Everybody leaves; then the server ends")
    part(members, server, ["news"])

    rows: list[list[object]] = [["packets sent", stream.sent]]
    rows += [[f"{name}: received / lost", f"{receivers[name].received()} / {lost[name]}"] for name in lost]
    rows += [
        ["seen in clear on the wire", found.clear],
        ["seen in clear by the stranger", at_stranger.clear + stranger.total()],
        [
            "decrypted by a stranger's ESP (scapy) with the kernel's keys",
            f"{found.decrypted} of {found.judged}",
        ],
        ["rollovers of TEK and KEK", rollovers],
        ["registration time", ", ".join(f"{name} {1000 * t:.0f} ms" for name, t in times.items())],
    ]
    lab.figures("first light", ["figure", "value"], rows)
