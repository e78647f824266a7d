"""Waiting for facts. The lab never sleeps in the hope that something has happened meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# How long a fact is waited for: most take a second or two, and ten times that on a busy machine.
PATIENCE_SECONDS = 60.0


class NotSeen(Exception):
    """A fact did not come true in its time."""


def wait_for(
    what: str, fact: Callable[[], T | None], within: float = PATIENCE_SECONDS, every: float = 0.05
) -> T:
    """Ask ``fact`` every ``every`` seconds until it answers something true, and return that.

    After ``within`` seconds raise NotSeen, which names ``what`` and the last answer.
    """
    deadline = time.monotonic() + within
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise NotSeen(f"not within {within:g} s: {what} (last answer: {answer!r})")
        time.sleep(every)
