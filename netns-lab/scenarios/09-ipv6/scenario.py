"""IPv6 all the way: IKE, rekeys and data; transport mode in one group, tunnel mode in the other."""

from lab.keying import DATA_PORT, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 450
GROUPS = {"transport": "ff35::77:91", "tunnel": "ff35::77:92"}
RECEIVERS = ("r1", "r2")


def scenario(lab: Lab) -> None:
    lab.step("A key server on IPv6, a sender and two receivers in two groups")
    net = lab.network("gcks", "sender", *RECEIVERS)
    lab.watch_keys(*(net[name] for name in ("sender", *RECEIVERS)))
    server = KeyServer(lab, net["gcks"])
    server.configure(
        [group(name, address, ["sender"], RECEIVERS, mode=name) for name, address in GROUPS.items()],
        hosts=("sender", *RECEIVERS),
        ipv6=True,
    )
    server.start()
    joins: dict[str, list[dict[str, object]]] = {
        host: [{"name": name} for name in GROUPS] for host in RECEIVERS
    }
    joins["sender"] = [{"name": name, "role": "sender"} for name in GROUPS]
    members = start_members(lab, net, server, joins, ipv6=True)

    lab.step("A stream to each group until every key was replaced twice")
    (wire,) = lab.capture(net.switch)
    receivers = {
        (host, name): lab.receive(net[host], address, DATA_PORT, name=f"receive-{name}")
        for host in RECEIVERS
        for name, address in GROUPS.items()
    }
    for address in GROUPS.values():
        net.wait_for_members(address, RECEIVERS)
    streams = {
        name: lab.send(net["sender"], address, DATA_PORT, rate=60, stream=number)
        for number, (name, address) in enumerate(GROUPS.items(), 1)
    }
    for name in GROUPS:
        server.wait_rollovers(name, 2, lambda done, name=name: lab.progress(f"{name}: {done} rollovers"))  # type: ignore[misc]
        members["sender"].wait_switched(name, server)
    for stream in streams.values():
        stream.stop()
    rows: list[list[object]] = []
    for (host, name), receiver in receivers.items():
        receiver.settle(streams[name])
        receiver.stop()
        lost = lab.judge_delivery(streams[name], receiver)
        rows.append([host, name, streams[name].sent, receiver.received(streams[name].stream), lost])

    lab.step("What the wire saw")
    sent = sum(stream.sent for stream in streams.values())
    lab.judge_wire(wire, [DATA_PORT], esp=sent, what="the wire")
    lab.check(
        "addresses of the members",
        [6],
        sorted({6 if ":" in m["address"] else 4 for m in server.members().values()}),
    )
    for host in members:
        lab.check(f"{host}: XFRM errors", {}, net[host].xfrm_stat())
    part(members, server, GROUPS)
    lab.figures("IPv6", ["receiver", "group", "sent", "received", "lost"], rows)
