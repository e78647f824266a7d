"""Broken on purpose: an SA, a policy and an escaped program stay, another one ended in a traceback."""

import sys

from lab.scenario import Lab
from lab.static_keys import add_policy, add_sa, fresh_gcm

SECONDS = 180


def scenario(lab: Lab) -> None:
    net = lab.network("sender", "r1")
    add_policy(net["r1"], net["sender"].ipv4, "239.77.0.1", 5000, "in")
    add_sa(net["r1"], net["sender"].ipv4, "239.77.0.1", 0x1234, fresh_gcm(), "in")
    escape = net["r1"].start("escape", ["sh", "-c", "setsid sleep 1000 & echo away"])
    escape.wait_log("away")
    escape.wait()
    broken = net["r1"].start("broken", [sys.executable, "-c", "1 / 0"])
    lab.wait_for("its end", lambda: not broken.alive)
    lab.check("a good verdict", 1, 1)
