"""Broken on purpose: the sender has neither policy nor SA, the stranger reads everything."""

from lab.scenario import Lab

SECONDS = 180


def scenario(lab: Lab) -> None:
    net = lab.network("sender", "stranger")
    (wire,) = lab.capture(net.switch)
    stranger = lab.receive(net["stranger"], "239.77.0.1", 5000)
    net.wait_for_members("239.77.0.1", ["stranger"])
    sender = lab.send(net["sender"], "239.77.0.1", 5000, rate=50, count=20)
    sender.wait()
    stranger.settle(sender)
    stranger.stop()
    lab.check("the stranger's socket: datagrams", 0, stranger.total())
    lab.judge_wire(wire, [5000], esp=20, what="the wire")
