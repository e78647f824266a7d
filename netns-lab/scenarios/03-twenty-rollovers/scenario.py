"""Twenty rollovers of TEK and KEK under 500 packets/s."""

from lab.keying import DATA_PORT, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 600
GROUP = "239.77.3.1"
RECEIVERS = ("r1", "r2", "r3")
RATE = 500.0
ROLLOVERS = 20
# A new key every four and a half seconds: as fast as two copies and these delays allow.
TIMES = {
    "tek_lifetime": "9s",
    "kek_lifetime": "9s",
    "activation_delay": "2s",
    "deactivation_delay": "3s",
    "rekey_repeats": 1,
    "rekey_interval": "0.5s",
}


def scenario(lab: Lab) -> None:
    lab.step("A key server, a sender and three receivers register")
    net = lab.network("gcks", "sender", *RECEIVERS)
    lab.watch_keys(*(net[name] for name in ("sender", *RECEIVERS)))
    server = KeyServer(lab, net["gcks"])
    server.configure([group("news", GROUP, ["sender"], RECEIVERS, **TIMES)], hosts=("sender", *RECEIVERS))
    server.start()
    joins: dict[str, list[dict[str, object]]] = {name: [{"name": "news"}] for name in RECEIVERS}
    joins["sender"] = [{"name": "news", "role": "sender"}]
    members = start_members(lab, net, server, joins)

    lab.step(f"{RATE:g} packets/s until every key was replaced {ROLLOVERS} times")
    (wire,) = lab.capture(net.switch)
    receivers = {name: lab.receive(net[name], GROUP, DATA_PORT) for name in RECEIVERS}
    net.wait_for_members(GROUP, RECEIVERS)
    stream = lab.send(net["sender"], GROUP, DATA_PORT, rate=RATE)
    rollovers = server.wait_rollovers(
        "news", ROLLOVERS, lambda done: lab.progress(f"{done} rollovers, {stream.sent} packets"), within=400
    )
    members["sender"].wait_switched("news", server)
    lab.check("errors while sending", {}, stream.stop()["errors"])
    rows: list[list[object]] = []
    for name, receiver in receivers.items():
        receiver.settle(stream)
        receiver.stop()
        lost = lab.judge_delivery(stream, receiver)
        account = receiver.account(stream.stream)
        rows.append([name, stream.sent, account["received"], lost, account["duplicated"]])

    lab.step("What the wire saw")
    found = lab.judge_wire(wire, [DATA_PORT], esp=stream.sent, what="the wire", at_most=1500)
    lab.at_least("SPIs that the sender used", ROLLOVERS + 1, len(found.by_spi))
    lab.at_least("rollovers", ROLLOVERS, rollovers)
    for name, member in members.items():
        lab.check(f"{name}: registrations", 1, member.registrations("news"))
        lab.check(f"{name}: XFRM errors", {}, net[name].xfrm_stat())
    part(members, server, ["news"])
    lab.figures(
        f"{rollovers} rollovers at {RATE:g} packets/s, {found.clear} packets in clear",
        ["receiver", "sent", "received", "lost", "duplicated"],
        rows,
    )
