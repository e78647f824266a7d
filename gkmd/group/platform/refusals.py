"""Requests that were refused, here or in the portal before they came here: all are counted, and those of
callers who are known leave a line of the audit log.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.operations import OPERATIONS, PORTALS
from gkmd.api.problem import CODES, FieldProblem, Problem
from gkmd.group.platform.audit import STRANGER, Audit, place_of
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import Reservation
from gkmd.group.platform.work import Handlers, Who, Work

REPORT: Final = "refusal-report"
PAGE: Final = "page"  # what only shows something, and not to everybody
_CALL: Final = "provider-call"
_AUDITED: Final = frozenset({"forbidden"})  # worth a line whatever the operation was
_PASSING: Final = frozenset(
    {"busy", "too-many-requests", "unavailable"}
)  # and what says nothing about who asks
_LOOKING: Final = frozenset({"reservation-check"})  # changes nothing, and a form asks it again and again
_FIELDS: Final = 10  # of a request, that one line names
_FIELD: Final = re.compile(r"[a-z0-9_.]{1,60}")  # what else a caller calls a field is his own text
_REASON: Final = re.compile(r"[a-z-]{1,40}")


class Refusals:
    """``counts``: refused requests by code, those of strangers included, since the start."""

    __slots__ = ("_audit", "_facts", "counts")

    def __init__(self, facts: Facts, audit: Audit) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self.counts: Final = Counter[str]()

    def operations(self) -> Handlers:
        return {REPORT: self._report}

    def _report(self, request: q.RefusalReport, work: Work) -> r.Nothing:
        """The portal has refused it. Its token says who asked; without one it is only counted."""
        page = request.operation == "" and request.code in _AUDITED
        if not (page or request.operation in OPERATIONS) or request.code not in CODES:
            raise Problem("bad-request", "a report names an operation and a code of this server")
        fields = tuple(FieldProblem(name, "") for name in request.fields)
        problem = Problem(request.code, "", fields, request.reason)
        if work.who.actor == STRANGER:
            self.count(problem)
            if request.operation == _CALL:  # not even a text, or far too long: somebody forges
                detail = {"refused": request.code, "origin": place_of(work.who.origin)}
                self._audit.refusal(STRANGER, _CALL, "", work.now, share=_CALL, **detail)
        else:
            self.note(request.operation or PAGE, request.id, work.who, False, problem, work.now)
        return r.Nothing()

    def count(self, problem: Problem) -> None:
        self.counts[problem.code] += 1

    def note(self, operation: str, id: str, who: Who, with_token: bool, problem: Problem, now: float) -> None:
        """Count it, and write the line if it is worth one. ``id`` as in the request, ``with_token``: a
        stranger has shown one that is none, or not any more.
        """
        self.count(problem)
        if not _is_worth_a_line(operation, who, with_token, problem):
            return
        subject = id if self._facts.get(Reservation, id) is not None else ""
        detail: dict[str, Any] = {"refused": problem.code, "origin": place_of(who.origin)}
        if _REASON.fullmatch(problem.reason):
            detail["reason"] = problem.reason
        fields = list(_named(problem.fields))
        if fields:
            detail["fields"] = fields[:_FIELDS]
        self._audit.refusal(who.actor, operation, subject, now, **detail)

    def repeated(self, operation: str, id: str, who: Who, now: float) -> None:
        """A request that was carried out before was sent again, and has changed nothing."""
        if operation not in _LOOKING:
            origin = place_of(who.origin)
            self._audit.refusal(who.actor, operation, id, now, refused="repeated", origin=origin)


def _named(fields: Iterable[FieldProblem]) -> Iterable[str]:
    return dict.fromkeys(one.field for one in fields if _FIELD.fullmatch(one.field))


def _is_worth_a_line(operation: str, who: Who, with_token: bool, problem: Problem) -> bool:
    """What somebody who is known tried to change and may not, and a token that is none any more: somebody may
    have stolen it.
    """
    if problem.code in _AUDITED:
        return True
    if who.actor == STRANGER:
        return problem.code == "sign-in-required" and with_token
    return PORTALS[operation].changes and operation not in _LOOKING and problem.code not in _PASSING
