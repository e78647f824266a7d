"""Broken on purpose: waits for what never comes."""

import time

from lab.scenario import Lab

SECONDS = 2


def scenario(lab: Lab) -> None:
    lab.check("a good verdict", 1, 1)
    while True:
        time.sleep(1)
