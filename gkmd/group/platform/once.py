"""Words by which a caller makes sure that a request is carried out once, however often it is sent."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

import msgspec

from gkmd.api.problem import FieldProblem, Problem
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import OnceWord

KEPT: Final = 7 * 86_400.0  # seconds that a word is remembered
MOST_OF_ONE: Final = 500  # words of one caller; its oldest goes first


class Once:
    """``found`` before an operation is carried out, ``keep`` with it: in the same transaction."""

    __slots__ = ("_facts", "_of_actor")

    def __init__(self, facts: Facts) -> None:
        self._facts: Final = facts
        self._of_actor: Final = facts.index(OnceWord, lambda word: word.actor)

    def found(self, actor: str, operation: str, once: str, request: Any) -> str | None:
        """The id of what the same request has made before, None when it is new or ``once`` is empty.

        Problem ``conflict`` when the word was used for another request.
        """
        word = self._facts.get(OnceWord, _key(actor, operation, once)) if once else None
        if word is None:
            return None
        if not hmac.compare_digest(word.request, _digest(request)):
            text = "it was used for another request; take a new word for a new request"
            raise Problem("conflict", f"once: {text}", (FieldProblem("once", text),))
        return word.subject

    def keep(self, actor: str, operation: str, once: str, request: Any, subject: str, now: float) -> None:
        """``subject`` came of it. Nothing is kept without a word."""
        if not once:
            return
        mine = self._of_actor.find(actor)
        if len(mine) >= MOST_OF_ONE:
            self._facts.drop(min(mine.values(), key=lambda word: word.at))
        self._facts.put(OnceWord(_key(actor, operation, once), actor, _digest(request), subject, now))

    def forget(self, actor: str) -> None:
        for word in tuple(self._of_actor.find(actor).values()):
            self._facts.drop(word)

    def sweep(self, now: float) -> None:
        """Words that are older than ``KEPT`` go."""
        for word in tuple(self._facts.all(OnceWord)):
            if word.at + KEPT <= now:
                self._facts.drop(word)


def _key(actor: str, operation: str, once: str) -> str:
    # The parts are told apart: an operation's name has no NUL.
    return hashlib.sha256("\0".join((actor, operation, once)).encode()).hexdigest()


def _digest(request: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()
