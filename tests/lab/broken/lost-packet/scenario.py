"""Broken on purpose: the receiver's SA is away for some packets."""

from lab.scenario import Lab
from lab.static_keys import add_policy, add_sa, clear, fresh_gcm, remove_sa

SECONDS = 180
GROUP, PORT, SPI = "239.77.0.1", 5000, 0x1000


def scenario(lab: Lab) -> None:
    net = lab.network("sender", "r1")
    key, source = fresh_gcm(), net["sender"].ipv4
    for name, direction in (("sender", "out"), ("r1", "in")):
        add_policy(net[name], source, GROUP, PORT, direction)
        add_sa(net[name], source, GROUP, SPI, key, direction)
    receiver = lab.receive(net["r1"], GROUP, PORT)
    net.wait_for_members(GROUP, ["r1"])
    sender = lab.send(net["sender"], GROUP, PORT, rate=50)
    lab.wait_for("the first packets", lambda: receiver.received() >= 10)
    remove_sa(net["r1"], source, GROUP, SPI)
    before = sender.sent
    lab.wait_for("packets that are lost", lambda: sender.sent >= before + 30)
    add_sa(net["r1"], source, GROUP, SPI, key, "in")
    back = receiver.received()
    lab.wait_for("packets again", lambda: receiver.received() > back)
    sender.stop()
    receiver.settle(sender)
    receiver.stop()
    lab.judge_delivery(sender, receiver)
    lab.check("r1: XFRM errors", {}, net["r1"].xfrm_stat())
    for name in ("sender", "r1"):
        clear(net[name])
