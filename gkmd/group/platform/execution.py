"""How one operation of the API is carried out: who calls, may they, what came of it, and its audit line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from gkmd.api import requests as q
from gkmd.api.operations import PORTALS, Operation
from gkmd.api.problem import Problem
from gkmd.group.model import Left
from gkmd.group.platform.access import Access
from gkmd.group.platform.allowance import Allowance
from gkmd.group.platform.audit import STRANGER, Audit, place_of
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.lock_out import network
from gkmd.group.platform.outcome import Call, Caller, Done, Failed, Hash, Outcome, Read, Verify
from gkmd.group.platform.records import Session
from gkmd.group.platform.refusals import REPORT, Refusals
from gkmd.group.platform.work import Handler, Who, Work

# (a second, at once) by address; who has signed in may be anybody where anybody may sign up.
_ALLOWANCES: Final[Mapping[str, tuple[float, float]]] = {
    "sign-in": (1.0, 30.0),
    "passkey-sign-in-begin": (1.0, 30.0),
    "passkey-sign-in": (1.0, 30.0),
    "sign-up": (1 / 60, 10.0),
    "provider-call": (10.0, 100.0),
}
_ANYTHING: Final = (50.0, 300.0)  # for strangers, by address
_CHANGES: Final = (5.0, 300.0)  # by receivers, each: what they change is journalled
_SEARCHES: Final = (5.0, 50.0)  # by strangers and receivers: each reads the texts of all that is coming
_SIGN_UPS: Final = (0.5, 200.0)  # of all addresses together: an account is for good
_PLACES: Final = 20_000  # sessions of which is known where they were used


class Execution:
    """``handlers`` by the name of the operation; what has none is Problem ``unavailable``."""

    __slots__ = (
        "_access",
        "_allowances",
        "_anything",
        "_audit",
        "_changes",
        "_facts",
        "_handlers",
        "_places",
        "_refusals",
        "_searches",
        "_sign_ups",
    )

    def __init__(
        self,
        facts: Facts,
        access: Access,
        audit: Audit,
        refusals: Refusals,
        handlers: Mapping[str, Handler],
    ) -> None:
        self._facts: Final = facts
        self._access: Final = access
        self._audit: Final = audit
        self._refusals: Final = refusals
        self._handlers: Final = handlers
        self._places: dict[str, str] = {}  # by digest of the session, where it was used last; oldest first
        self._allowances: Final = {name: Allowance(*pair) for name, pair in _ALLOWANCES.items()}
        self._anything: Final = Allowance(*_ANYTHING)
        self._changes: Final = Allowance(*_CHANGES)
        self._searches: Final = Allowance(*_SEARCHES)
        self._sign_ups: Final = Allowance(*_SIGN_UPS)

    def execute(self, call: Call, now: float) -> Outcome:
        """Never raises Problem: a refusal is Failed."""
        operation = PORTALS.get(call.operation)
        if operation is None:
            return Failed(Problem("not-found", f"there is no operation {call.operation!r}"))
        who = self._access.who(call.caller, now)
        work = Work(who, now)

        def begin() -> Any:
            if not isinstance(call.request, operation.request):
                raise Problem("bad-request", f"{operation.name} takes a {operation.request.__name__}")
            self._allow(operation, call.request, work, now)
            if operation.name != REPORT:  # whoever was refused may be anybody
                self._access.check(operation, call.caller, who)
            self._access.check_fresh(operation, who, now)
            handler = self._handlers.get(operation.name)
            if handler is None:
                raise Problem("unavailable", f"{operation.name} is not offered by this server")
            return handler(call.request, work)

        return self._step(operation, call, work, begin)

    def malformed(
        self, operation: Operation, caller: Caller, problem: Problem, now: float, id: str = ""
    ) -> Failed:
        """The request could not even be read; who is known leaves a line. ``id`` as it was in the request."""
        work = Work(self._access.who(caller, now), now)
        return self._failed(Call(operation.name, q.ById(id), caller), work, problem)

    def _allow(self, operation: Operation, request: Any, work: Work, now: float) -> None:
        who, allowance = work.who, self._allowances.get(operation.name)
        if who.operates:
            return
        name, where = network(who.origin), "from this address"
        if isinstance(request, q.Catalogue) and request.search and "sender" not in who.roles:
            allowance = self._searches
        elif allowance is None and who.actor == STRANGER:
            allowance = self._anything
        elif allowance is None and operation.changes and "sender" not in who.roles:
            allowance, name, where = self._changes, who.actor, "from this account"
        come_back = None if allowance is None else allowance.take(name, now)
        if come_back is None and operation.name == "sign-up":
            come_back, where = self._sign_ups.take("", now), "at once"
        if come_back is not None:
            text = f"too many requests come {where}; wait a little"
            raise Problem("too-many-requests", text, come_back=come_back)

    def _step(self, operation: Operation, call: Call, work: Work, run: Callable[[], Any]) -> Outcome:
        lines = self._audit.lines
        try:
            result = run()
            if isinstance(result, Verify | Hash | Read):
                if self._facts.changed:
                    # They would be journalled after what others change meanwhile.
                    raise RuntimeError(f"{operation.name} changes facts before its last step")
                return self._resumed(operation, call, work, result)
            if operation.changes and self._facts.changed and self._audit.lines == lines:
                self._audit.note(work.who.actor, operation.name, "", work.now)
            elif _names_itself(call.request) and not self._facts.changed and not work.changes:
                id = str(getattr(result, "id", ""))
                self._refusals.repeated(operation.name, id, work.who, work.now)
        except Problem as problem:
            return self._failed(call, work, problem)
        except BaseException:
            self._facts.rollback()
            raise
        self._access.used(work.who, work.now)
        self._look_where(work.who, work.now)
        return Done(result, self._left(work), tuple(work.disowned), tuple(work.tells))

    def _failed(self, call: Call, work: Work, problem: Problem) -> Failed:
        self._facts.rollback()
        if work.remains:
            self._refusals.count(problem)
        elif call.operation != REPORT:  # that a report was refused is no news
            id, with_token = str(getattr(call.request, "id", "")), call.caller.token != ""
            self._refusals.note(call.operation, id, work.who, with_token, problem, work.now)
        for act in work.remains:
            act()
        return Failed(problem, self._left(work), tuple(work.disowned), tuple(work.tells))

    def _look_where(self, who: Who, now: float) -> None:
        """A session that goes on from another network leaves a line: its owner moved, or it was stolen."""
        if not who.session or self._facts.get(Session, who.session) is None:
            return
        place = place_of(who.origin)
        before = self._places.pop(who.session, place)
        self._places[who.session] = place
        if len(self._places) > _PLACES:
            del self._places[next(iter(self._places))]
        if place != before:
            self._audit.refusal(who.actor, "session-moved", who.actor, now, origin=place, before=before)

    def _left(self, work: Work) -> Left:
        # What groups have made of it may include facts, those of before.
        return Left((*work.changes, *self._facts.commit()), tuple(work.orders))

    def _resumed(
        self, operation: Operation, call: Call, work: Work, step: Verify | Hash | Read
    ) -> Verify | Hash | Read:
        inner = step.resume

        def resume(found: Any, now: float) -> Outcome:
            work.now = now

            def run() -> Any:
                # Others were served in between.
                work.who = self._access.again(work.who, call.caller, now)
                self._access.check(operation, call.caller, work.who)
                return inner(found, now)

            return self._step(operation, call, work, run)

        return replace(step, resume=resume)


def _names_itself(request: Any) -> bool:
    """Whether it has a word by which it is carried out once."""
    return bool(getattr(request, "once", "") or getattr(request, "reference", ""))
