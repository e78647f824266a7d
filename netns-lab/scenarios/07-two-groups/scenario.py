"""Two groups on one member: one IKE SA, one group left while the other goes on."""

from lab.keying import DATA_PORT, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 400
GROUPS = {"news": "239.77.7.1", "sport": "239.77.7.2"}


def scenario(lab: Lab) -> None:
    lab.step("A sender and a receiver in two groups, over one IKE SA each")
    net = lab.network("gcks", "sender", "r1", "r2")
    lab.watch_keys(*(net[name] for name in ("sender", "r1", "r2")))
    server = KeyServer(lab, net["gcks"])
    server.configure(
        [group(name, address, ["sender"], ["r1", "r2"]) for name, address in GROUPS.items()],
        hosts=("sender", "r1", "r2"),
    )
    server.start()
    both: list[dict[str, object]] = [{"name": name} for name in GROUPS]
    members = start_members(
        lab,
        net,
        server,
        {
            "sender": [{"name": name, "role": "sender"} for name in GROUPS],
            "r1": both,
            "r2": [{"name": "news"}],
        },
    )
    lab.check("IKE SAs at the server", 3, server.ike_sas())

    lab.step("A stream to each group")
    (wire,) = lab.capture(net.switch)
    receivers = {
        name: lab.receive(net["r1"], address, DATA_PORT, name=f"receive-{name}")
        for name, address in GROUPS.items()
    }
    outsider = lab.receive(net["r2"], GROUPS["sport"], DATA_PORT, name="receive-sport")
    for address in GROUPS.values():
        net.wait_for_members(address, ["r1"])
    streams = {
        name: lab.send(net["sender"], address, DATA_PORT, rate=60, stream=number)
        for number, (name, address) in enumerate(GROUPS.items(), 1)
    }
    server.wait_rollovers("news", 1, lambda done: None)
    lab.wait_for(
        "packets of both", lambda: all(receivers[n].received(streams[n].stream) > 50 for n in GROUPS)
    )

    lab.step("r1 leaves one group")
    members["r1"].ask("leave", group="sport")
    lab.wait_for("its leave at the server", lambda: "r1" not in server.member_hosts("sport"))
    lab.wait_for("no SA of it at r1", lambda: not members["r1"].ask("sas", group="sport"))
    got = receivers["sport"].report()["streams"][str(streams["sport"].stream)]["last"]
    told = streams["sport"].sent  # as of its last report, half a second old at most
    before = lab.wait_for("the sender's next report", lambda: max(0, streams["sport"].sent - told)) + told
    server.wait_rollovers("news", 1, lambda done: lab.progress("the other group's rollover"))
    members["sender"].wait_switched("news", server)
    lab.wait_for("packets to the group that r1 has left", lambda: streams["sport"].sent - before >= 100)
    for stream in streams.values():
        stream.stop()
    receivers["news"].settle(streams["news"])
    for receiver in (*receivers.values(), outsider):
        receiver.stop()
    lab.judge_delivery(streams["news"], receivers["news"])
    last = receivers["sport"].account(streams["sport"].stream)["last"]
    lab.at_most("sport: last packet that r1 got, of those sent before it had left", before, int(last))
    lab.at_least("sport: packets sent after that", 100, streams["sport"].sent - before)
    lab.at_least("sport: packets that r1 got while it was a member", 50, int(got))
    lab.check("r2: datagrams of the group that it is not in", 0, outsider.total())
    lab.check("IKE SAs at the server, still", 3, server.ike_sas())
    sent = sum(stream.sent for stream in streams.values())
    lab.judge_wire(wire, [DATA_PORT], esp=sent, what="the wire")
    part(members, server, GROUPS)
