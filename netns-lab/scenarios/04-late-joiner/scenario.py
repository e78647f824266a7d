"""A late joiner: remaining lifetimes, nothing of the past, the next rollover like everybody."""

from lab.keying import DATA_PORT, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 400
GROUP = "239.77.4.1"
TEK_LIFETIME = 14.0


def scenario(lab: Lab) -> None:
    lab.step("A sender and one receiver; the stream begins")
    net = lab.network("gcks", "sender", "early", "late")
    lab.watch_keys(*(net[name] for name in ("sender", "early", "late")))
    server = KeyServer(lab, net["gcks"])
    server.configure(
        [group("news", GROUP, ["sender"], ["early", "late"], tek_lifetime=f"{TEK_LIFETIME:g}s")],
        hosts=("sender", "early", "late"),
    )
    server.start()
    members = start_members(
        lab, net, server, {"sender": [{"name": "news", "role": "sender"}], "early": [{"name": "news"}]}
    )
    (wire,) = lab.capture(net.switch)
    early = lab.receive(net["early"], GROUP, DATA_PORT)
    late = lab.receive(net["late"], GROUP, DATA_PORT)
    net.wait_for_members(GROUP, ["early", "late"])
    stream = lab.send(net["sender"], GROUP, DATA_PORT, rate=100)
    first = server.spis("news", "esp")
    server.wait_rollovers("news", 1, lambda done: None)
    # An SA whose end is announced is in use, and given to joiners, until the deactivation delay is over.
    lab.wait_for(
        "the end of the first key",
        lambda: first.isdisjoint(row["spi"] for row in server.ask("sas", group="news")),
    )
    lab.check("late: datagrams before it is a member", 0, late.total())

    lab.step("The late one joins")
    members |= start_members(lab, net, server, {"late": [{"name": "news"}]})
    left = [row["seconds_left"] for row in members["late"].ask("sas", group="news") if row["kind"] == "esp"]
    lab.at_most("late: longest lifetime that it was told, s", TEK_LIFETIME, max(left))
    lab.at_least("late: SAs", 1, len(left))
    held = {f"0x{key.spi:08x}" for key in lab.keys(net["late"])}
    lab.check("late: keys of the past", [], sorted(held & first))

    lab.step("Another rollover, for both alike")
    server.wait_rollovers("news", 1, lambda done: lab.progress(f"{done} rollover"))
    members["sender"].wait_switched("news", server)
    stream.stop()
    for receiver in (early, late):
        receiver.settle(stream)
        receiver.stop()
    lab.judge_delivery(stream, early)
    lab.judge_delivery(stream, late, joined_late=True)
    lab.at_least("late: first packet", 1, int(late.account(stream.stream)["first"]))
    lab.judge_wire(wire, [DATA_PORT], esp=stream.sent, what="the wire")
    lab.check("late: registrations", 1, members["late"].registrations("news"))
    part(members, server, ["news"])
