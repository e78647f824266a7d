"""Message ids of one IKE SA: what is new, what is a retransmission, what waits for its reply (RFC 7296
2.1-2.3).

The window is one in both directions, as it is before any SET_WINDOW_SIZE; we never announce a larger one.
Nothing here knows keys: datagrams are kept sealed, and go out again bit for bit.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

LAST_MESSAGE_ID = 0xFFFFFFFF  # RFC 7296 2.2: an IKE SA whose ids are used up is closed


class Admission(enum.Enum):
    """What the message id of a request says about it, before it is opened."""

    NEW = "new"
    REPEATED = "repeated"  # of the request answered last: its reply goes out again
    OUTSIDE = "outside"  # older or ahead: silently dropped


@dataclass(frozen=True, slots=True)
class Backoff:
    """When a request is sent again: ``first`` seconds, each wait ``factor`` times the last, at most
    ``ceiling``; after ``tries`` copies and one more wait the peer is dead (RFC 7296 2.4)."""

    first: float = 1.0
    factor: float = 1.8
    ceiling: float = 20.0
    tries: int = 8

    def wait(self, copies: int) -> float:
        """Seconds after the copy number ``copies`` (the first is 1). Cannot fail."""
        return min(self.ceiling, self.first * self.factor ** (copies - 1))

    @property
    def patience(self) -> float:
        """Seconds from the first copy to giving up."""
        return sum(self.wait(copies) for copies in range(1, self.tries + 1))


@dataclass(slots=True)
class Pending:
    """A request of ours that waits for its reply."""

    message_id: int
    exchange: int
    datagram: bytes
    copies: int
    next_at: float


class Window:
    """The two counters and the two cached datagrams. One request of ours is outstanding at most."""

    __slots__ = ("expected_request_id", "last_reply", "next_request_id", "pending", "repeats")

    def __init__(
        self,
        next_request_id: int = 0,
        expected_request_id: int = 0,
        last_reply: bytes = b"",
        pending: Pending | None = None,
    ) -> None:
        self.next_request_id = next_request_id
        self.expected_request_id = expected_request_id
        self.last_reply = last_reply
        self.pending = pending
        self.repeats = 0  # of the last reply

    def admit(self, message_id: int) -> Admission:
        """Classify a request of the peer by its message id; changes nothing."""
        if message_id == self.expected_request_id:
            return Admission.NEW
        # RFC 7296 2.1: a reply is remembered until the next request comes. One that we no longer have
        # (a half-open SA that was never answered) is not made anew.
        if message_id == self.expected_request_id - 1 and self.last_reply:
            return Admission.REPEATED
        return Admission.OUTSIDE

    def replied(self, datagram: bytes) -> None:
        """The expected request is answered with ``datagram``, which is kept for its retransmissions."""
        self.expected_request_id += 1
        self.last_reply = datagram
        self.repeats = 0

    def requested(self, exchange: int, datagram: bytes, next_at: float) -> None:
        """Our next request is ``datagram``; it goes out again at ``next_at`` unless it is answered."""
        self.pending = Pending(self.next_request_id, exchange, datagram, 1, next_at)
        self.next_request_id += 1

    def awaits(self, message_id: int, exchange: int) -> bool:
        """Whether a reply with this id and exchange type answers the pending request. Cannot fail."""
        pending = self.pending
        return pending is not None and pending.message_id == message_id and pending.exchange == exchange

    def answered(self) -> None:
        """The pending request has its reply."""
        self.pending = None

    @property
    def exhausted(self) -> bool:
        """No further message id in one of the directions: the SA has to end (RFC 7296 2.2)."""
        return max(self.next_request_id, self.expected_request_id) > LAST_MESSAGE_ID
