"""Traffic that is closed from a member's start, before any key server has said what the group is.

A member learns the flow of a group when it registers, and only then knows what to protect. Where its own
configuration names the flow, policies are installed before anything else happens, and stay until the process
ends. They ask for an SA that does not exist, so nothing passes; the first SA opens them.
"""

from __future__ import annotations

from typing import Final

from gkmd.core.esp import Direction, EspPolicy, Mode
from gkmd.ike.group_join import GroupJoin

CLOSED_REQID: Final = 0xFFFFFF  # of no SA: members count theirs from 1


def closing_policies(join: GroupJoin) -> tuple[EspPolicy, ...]:
    """What the shell installs before it makes the machine, which takes it as installed.

    They are in transport mode. A group in tunnel mode replaces them with its own when its first SA comes.
    """
    if join.flow is None:
        return ()
    policies = []
    if join.receives:
        policies.append(EspPolicy(join.name, None, *join.flow, Mode.TRANSPORT, Direction.IN, 0))
    if join.sends:
        policies.append(EspPolicy(join.name, None, *join.flow, Mode.TRANSPORT, Direction.OUT, CLOSED_REQID))
    return tuple(policies)
