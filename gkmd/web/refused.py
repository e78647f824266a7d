"""Requests that the portal refuses itself: the daemon is told, which counts them and keeps the audit log."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Final, TypeVar

from gkmd.api.problem import Problem
from gkmd.api.results import Nothing
from gkmd.web.client import Caller, Daemon, ask

F = TypeVar("F", bound=Callable[..., object])
POSTED_TWICE: Final = "posted-twice"
_FIELD: Final = re.compile(r"[a-z0-9_.]{1,60}")
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_REASON: Final = re.compile(r"[a-z-]{1,40}")
_FIELDS: Final = 50


def about(operation: str) -> Callable[[F], F]:
    """Marks a page: what it refuses itself is refused of this operation."""

    def mark(page: F) -> F:
        page.operation = operation  # type: ignore[attr-defined]
        return page

    return mark


def operation_of(page: object) -> str:
    """What ``about`` said; "" for a page that only shows something."""
    found = getattr(page, "operation", "")
    assert isinstance(found, str)
    return found


async def report(daemon: Daemon, operation: str, id: str, problem: Problem, caller: Caller) -> None:
    """Tell the daemon that ``operation`` on ``id`` was refused here. Names of fields go there, what was in
    them does not. A daemon that is away is not told: nothing happens without it.
    """
    if problem.code == "unavailable":
        return
    fields = [one.field for one in problem.fields if _FIELD.fullmatch(one.field)]
    request = {
        "operation": operation,
        "code": problem.code,
        "id": id if _ID.fullmatch(id) else "",
        "reason": problem.reason if _REASON.fullmatch(problem.reason) else "",
        "fields": list(dict.fromkeys(fields))[:_FIELDS],
    }
    with contextlib.suppress(Problem):
        await ask(daemon, "refusal-report", request, caller, Nothing)
