"""When the keys of a group are replaced, and which lifetimes leave room for it.

A key that expires at E is replaced by a rekey at E - lead, where lead = repeat span + DTD + margin: the last
copy of the rekey is out, and the deactivation delay over (RFC 9838 4.4.3.1.1), a margin before the key dies.
A rekey that is made anyway takes along what would be due soon, so that keys of different age come to share
messages, and no rekey of the timeline meets the copies of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gkmd.group.model import GroupPolicy

LEAST_MARGIN: Final = 1.0  # seconds; covers a late timer and the way of the last copy
MOST_MARGIN: Final = 60.0
MARGIN_SHARE: Final = 0.1  # of the lifetime, between the two
LEAST_PERIOD: Final = 1.0  # seconds between two replacements of the same key
LONGEST_LIFETIME: Final = float(0xFFFFFFFF)  # GSA_KEY_LIFETIME has 4 octets (RFC 9838 4.4.2.2.1)
LONGEST_DELAY: Final = 0xFFFF  # GWP_ATD and GWP_DTD have 2


@dataclass(frozen=True, slots=True)
class Timeline:
    """The durations of one group in seconds, computed once."""

    span: float  # from the first copy of a rekey to its last
    data_lead: float
    rekey_lead: float
    data_early: float  # how much before its time a key is taken along
    rekey_early: float

    @classmethod
    def of(cls, policy: GroupPolicy) -> Timeline:
        span = policy.rekey_repeats * policy.rekey_interval
        hold = span + policy.deactivation_delay
        data, rekey = _margin(policy.tek_lifetime), _margin(policy.kek_lifetime)
        return cls(span, hold + data, hold + rekey, max(data, span), max(rekey, span))


def _margin(lifetime: float) -> float:
    return max(LEAST_MARGIN, min(MOST_MARGIN, lifetime * MARGIN_SHARE))


def smallest_lifetime(policy: GroupPolicy) -> int:
    """The smallest lifetime of a TEK or KEK, whole seconds, that this group's delays and repeats allow.

    Between two replacements lies time for the deactivation delay and for the repeats, so that never more than
    two SAs per sender (RFC 5374 4.2.1) and never two rekeys of the timeline are on their way at once.
    """
    span = policy.rekey_repeats * policy.rekey_interval
    hold = span + policy.deactivation_delay + max(policy.deactivation_delay, span, LEAST_PERIOD)
    lifetime, needed = 0, hold
    while lifetime < needed - 1e-9:
        lifetime = math.ceil(needed - 1e-9)
        margin = _margin(lifetime)
        needed = hold + margin + max(margin, span)
    return lifetime


def check_times(policy: GroupPolicy) -> None:
    """Raise ValueError, naming what would do, when the group's times cannot work."""
    if policy.rekey_repeats < 0 or (policy.rekey_repeats and not policy.rekey_interval > 0):
        raise ValueError(
            f"{policy.rekey_repeats} repeats {policy.rekey_interval:g} s apart: "
            "the number must not be negative and the interval must be positive"
        )
    for name, delay in (("activation", policy.activation_delay), ("deactivation", policy.deactivation_delay)):
        if not 0 <= delay <= LONGEST_DELAY:
            raise ValueError(f"{name} delay {delay} s is outside 0 to {LONGEST_DELAY} s")
    if policy.deactivation_delay < policy.activation_delay:
        # RFC 9838 4.4.3.1.1: receivers would drop the old SA while senders still use it.
        raise ValueError(
            f"deactivation delay {policy.deactivation_delay} s is shorter than the activation delay "
            f"{policy.activation_delay} s; it must be at least as long"
        )
    smallest = smallest_lifetime(policy)
    for name, lifetime in (("TEK", policy.tek_lifetime), ("KEK", policy.kek_lifetime)):
        if not smallest <= lifetime <= LONGEST_LIFETIME:
            raise ValueError(
                f"{name} lifetime {lifetime:g} s does not fit; with {policy.rekey_repeats} repeats "
                f"{policy.rekey_interval:g} s apart and a deactivation delay of "
                f"{policy.deactivation_delay} s the smallest possible is {smallest} s "
                f"(the longest: {LONGEST_LIFETIME:.0f} s)"
            )
    if policy.starts is not None and policy.ends is not None and policy.ends <= policy.starts:
        raise ValueError("the group ends before it starts")


def advice(policy: GroupPolicy) -> tuple[str, ...]:
    """What an operator should hear about delays that lose data when only the last copy of a rekey arrives."""
    span = policy.rekey_repeats * policy.rekey_interval
    activation, deactivation = policy.activation_delay, policy.deactivation_delay
    found = []
    if activation < span:
        found.append(
            f"activation delay {activation} s is shorter than the {span:g} s over which a rekey is "
            "repeated: receivers that miss the first copy lose data"
        )
    if deactivation < activation + span:
        found.append(
            f"deactivation delay {deactivation} s is shorter than activation delay plus repeats, "
            f"{activation + span:g} s: data of a sender that misses the first copy is lost"
        )
    return tuple(found)
