"""Sender-IDs for counter mode ciphers (RFC 9838 2.5.1, RFC 6054): counted upward, fresh on every
registration.
"""

from __future__ import annotations

from gkmd.group.model import Refusal, Refused


def allot(next_id: int, asked: int, bits: int, most: int) -> tuple[tuple[int, ...], int]:
    """The IDs for one registration, and the next one to give out.

    One if none or one was asked for; never more than asked, than ``most``, or than are left. Raises Refused
    when the last one has gone: every member must be excluded before the count may start again.
    """
    left = (1 << bits) - next_id
    count = min(max(1, asked), max(1, most), left)
    if count < 1:
        raise Refused(Refusal.SENDER_IDS_EXHAUSTED, f"all {1 << bits} have been given out")
    return tuple(range(next_id, next_id + count)), next_id + count
