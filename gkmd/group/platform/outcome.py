"""What executing an operation of the API leads to: done, failed, or first something to be looked at.

    outcome = platform.execute(call, now)
    while isinstance(outcome, Verify | Hash | Read):
        outcome = outcome.resume(what the shell found, now)

What ``resume`` returns is an Outcome for the shell; a handler's own gives its result or another of these.
``left`` of Done and of Failed is carried out and journalled before the result or the problem is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gkmd.api.problem import Problem
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.model import Left


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``token``: of a session or of the API, "" for nobody. ``unix_user``: on the operator's own
    socket, where no token is needed, the user id; None elsewhere. ``origin`` is the address for rate limits.
    """

    token: str = ""
    unix_user: int | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """``request`` is of the operation's own request type (``gkmd.api.operations``)."""

    operation: str
    request: Any
    caller: Caller


@dataclass(frozen=True, slots=True)
class Done:
    """``result`` is of the operation's result type. ``disowned``: tickets and names whose IKE SAs end."""

    result: Any
    left: Left = field(default_factory=lambda: Left((), ()))
    disowned: tuple[Identity, ...] = ()
    tells: tuple[tuple[str, dict[str, object]], ...] = ()  # events for the log: name, fields


@dataclass(frozen=True, slots=True)
class Failed:
    """The operation was refused. What remains of it, such as its line of the audit log, is in ``left``."""

    problem: Problem
    left: Left = field(default_factory=lambda: Left((), ()))
    disowned: tuple[Identity, ...] = ()
    tells: tuple[tuple[str, dict[str, object]], ...] = ()


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Verify:
    """Compare a password with an argon2id string, then ``resume(right, now)``; or ``abandoned()`` when there
    is no room to compare it.
    """

    verifier: str
    password: SecretBytes
    resume: Callable[[bool, float], Any]
    abandoned: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Hash:
    """Make an argon2id string of a password, then ``resume(string, now)``."""

    password: SecretBytes
    resume: Callable[[str, float], Any]


@dataclass(frozen=True, slots=True)
class Read:
    """Read archived facts of ``kind`` with keys from ``after`` (exclusive) on, ``limit`` at most, then
    ``resume(facts, now)``; ``descending`` reads from the newest.
    """

    kind: str
    after: str
    limit: int
    resume: Callable[[tuple[Any, ...], float], Any]
    descending: bool = False


Outcome: TypeAlias = Done | Failed | Verify | Hash | Read
