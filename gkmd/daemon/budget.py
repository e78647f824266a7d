"""How many lines a second an event may have that strangers and refused peers cause at will."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LINES_A_SECOND: Final = 20
# On the server, at level info or above. Admitted members cause others, and are to be named for each.
BUDGETED: Final = frozenset(
    (
        "authentication-failed",
        "ike-sa-failed",
        "ike-sa-state",  # an IKE SA costs its peer nothing to end, also one that no group admitted
        "internal-fault",  # if one datagram can bring it about, so can a thousand
        "proposal-refused",
        "registration-refused",
        "request-declined",
        "request-rejected",
    )
)


@dataclass(slots=True)
class _Second:
    """The second that began with an event's first line."""

    ends: float
    lines: int = 0
    suppressed: int = 0
    level: str = "info"


class Budget:
    """Says which lines are to be written, and how many of an event were not once its second is over.

    It is about what is written and passed on; what happened is counted elsewhere.
    """

    __slots__ = ("_seconds", "suppressing")

    def __init__(self) -> None:
        self._seconds: dict[str, _Second] = {}
        self.suppressing = False  # whether ``ended`` will have something to tell

    def allows(self, event: str, level: str, now: float) -> bool:
        """Whether this line of ``event`` is still within its budget. Call ``ended`` first."""
        second = self._seconds.get(event)
        if second is None or second.ends <= now:
            second = self._seconds[event] = _Second(now + 1.0)
        if second.lines < LINES_A_SECOND:
            second.lines += 1
            return True
        second.suppressed += 1
        second.level = level
        self.suppressing = True
        return False

    def ended(self, now: float) -> list[tuple[str, str, int]]:
        """Event, level and number of the lines suppressed in seconds that are over; each is told once."""
        told = [
            (event, second.level, second.suppressed)
            for event, second in self._seconds.items()
            if second.suppressed and second.ends <= now
        ]
        for event, _, _ in told:
            del self._seconds[event]
        self.suppressing = any(second.suppressed for second in self._seconds.values())
        return told
