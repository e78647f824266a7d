"""The key server is killed with -9 in the middle of a stream, and comes back as if nothing had been."""

from lab.keying import DATA_PORT, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 500
GROUP = "239.77.8.1"
RECEIVERS = ("r1", "r2")
# Long enough that keys are replaced when the scenario says so, and not between two looks at them.
TIMES = {"tek_lifetime": "30m", "kek_lifetime": "30m"}


def scenario(lab: Lab) -> None:
    lab.step("Everybody registers; the stream begins")
    net = lab.network("gcks", "sender", *RECEIVERS)
    lab.watch_keys(*(net[name] for name in ("sender", *RECEIVERS)))
    server = KeyServer(lab, net["gcks"])
    server.configure([group("news", GROUP, ["sender"], RECEIVERS, **TIMES)], hosts=("sender", *RECEIVERS))
    server.start()
    joins: dict[str, list[dict[str, object]]] = {name: [{"name": "news"}] for name in RECEIVERS}
    joins["sender"] = [{"name": "news", "role": "sender"}]
    members = start_members(lab, net, server, joins)
    (wire,) = lab.capture(net.switch)
    receivers = {name: lab.receive(net[name], GROUP, DATA_PORT) for name in RECEIVERS}
    net.wait_for_members(GROUP, RECEIVERS)
    stream = lab.send(net["sender"], GROUP, DATA_PORT, rate=100)
    lab.wait_for("packets on the first key", lambda: stream.sent > 10)
    server.ask("rekey", group="news")
    members["sender"].wait_switched("news", server)

    for life in ("first", "second"):
        lab.step(f"kill -9, the {life} time, and a new start")
        if life == "second":
            server.ask("rekey", group="news")  # and it dies with copies of it still to come
        before = {kind: server.spis("news", kind) for kind in ("esp", "rekey")}
        numbers, known = server.message_ids("news"), server.members("news")
        server.kill()
        server.start()
        for kind, spis in before.items():
            lab.check(f"{kind} SPIs", sorted(spis), sorted(server.spis("news", kind)))
        lab.check("message ids", numbers, server.message_ids("news"))
        lab.check("members", known, server.members("news"))

    lab.step("A rollover by the new process")
    # What the second process said last is heard first.
    members["sender"].wait_switched("news", server)
    server.ask("rekey", group="news")
    members["sender"].wait_switched("news", server)
    sent = stream.sent
    lab.wait_for("packets on the new key", lambda: stream.sent > sent + 100)
    stream.stop()
    for receiver in receivers.values():
        receiver.settle(stream)
        receiver.stop()
        lab.judge_delivery(stream, receiver)
    for name, member in members.items():
        lab.check(f"{name}: registrations", 1, member.registrations("news"))
        lab.check(f"{name}: IKE SA", "established", member.ask("status")["ike_sa"]["state"])
        lab.check(f"{name}: XFRM errors", {}, net[name].xfrm_stat())
    found = lab.judge_wire(wire, [DATA_PORT], esp=stream.sent, what="the wire")
    lab.at_least("SPIs that the sender used", 4, len(found.by_spi))

    lab.step("Everybody leaves, over the IKE SAs of the first process")
    part(members, server, ["news"])
