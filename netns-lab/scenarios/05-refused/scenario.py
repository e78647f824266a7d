"""Refused: not allowed in the group, a wrong key, an unknown group; each gets nothing, by its own reason."""

from lab.keying import DATA_PORT, GroupMember, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 400
GROUP = "239.77.5.1"
REFUSED = ("uninvited", "wrongkey", "lost")
PACKETS = 200


def scenario(lab: Lab) -> None:
    lab.step("A group of a sender and one receiver")
    net = lab.network("gcks", "sender", "r1", *REFUSED)
    lab.watch_keys(net["sender"], net["r1"])
    server = KeyServer(lab, net["gcks"])
    server.configure(
        [group("news", GROUP, ["sender"], ["r1"])], hosts=("sender", "r1", "uninvited", "wrongkey", "lost")
    )
    server.start()
    members = start_members(
        lab, net, server, {"sender": [{"name": "news", "role": "sender"}], "r1": [{"name": "news"}]}
    )

    lab.step(
        "One that is not on the list, one with a wrong key, one that asks for a group that does not exist"
    )
    refused = {name: GroupMember(lab, net[name]) for name in REFUSED}
    refused["uninvited"].configure(server, [{"name": "news"}], secret=server.secret("uninvited"))
    # This one would send, and has named the group's address: it is closed before any registration.
    closed = {"name": "news", "role": "both", "address": GROUP, "port": DATA_PORT}
    refused["wrongkey"].configure(server, [closed], secret="not the key that was agreed upon")
    refused["lost"].configure(server, [{"name": "nowhere"}], secret=server.secret("lost"))
    for member in refused.values():
        member.start()
    for name in ("uninvited", "lost"):
        lab.wait_for(f"the refusal of {name}", lambda name=name: refused[name].events("registration-refused"))  # type: ignore[misc]
        status = refused[name].ask("status")
        lab.check(f"{name}: its IKE SA is kept (RFC 9838 2.3.1)", "established", status["ike_sa"]["state"])
    lab.wait_for("the failed authentication", lambda: server.events("authentication-failed"))
    reasons = {
        name: refused[name].events("registration-refused")[0]["reason"] for name in ("uninvited", "lost")
    }
    lab.check("uninvited: told", True, "AUTHORIZATION_FAILED" in reasons["uninvited"])
    lab.check("lost: told", True, "INVALID_GROUP_ID" in reasons["lost"])

    lab.step(f"{PACKETS} packets to the group; the refused listen")
    (wire,) = lab.capture(net.switch)
    receivers = {name: lab.receive(net[name], GROUP, DATA_PORT) for name in ("r1", *REFUSED)}
    net.wait_for_members(GROUP, list(receivers))
    stream = lab.send(net["sender"], GROUP, DATA_PORT, rate=100, count=PACKETS)
    held_back = lab.send(net["wrongkey"], GROUP, DATA_PORT, rate=100, count=PACKETS, stream=2)
    stream.wait()
    held_back.wait()
    receivers["r1"].settle(stream)
    for receiver in receivers.values():
        receiver.stop()
    lab.judge_delivery(stream, receivers["r1"])
    lab.judge_wire(wire, [DATA_PORT], esp=PACKETS, what="the wire")
    lab.check("r1: datagrams of the one that may not send", 0, receivers["r1"].received(held_back.stream))
    lab.check("members that the server knows", ["r1", "sender"], server.member_hosts("news"))
    for name in REFUSED:
        lab.check(f"{name}: datagrams", 0, receivers[name].total())
        lab.check(f"{name}: SAs in its kernel", "", net[name].ip("xfrm state").strip())

    lab.step("Everybody ends")
    part(members | refused, server, ["news"])
