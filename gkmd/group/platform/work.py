"""One operation under way: who asks, when, and what else it leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gkmd.core.change import Change
from gkmd.core.identity import Identity
from gkmd.group.model import Left, RekeyOrder
from gkmd.group.platform.records import Account


@dataclass(frozen=True, slots=True)
class Who:
    """The caller, known by its token or its socket. ``actor`` is its name in the audit log.

    ``scopes`` None: a session or the operator's socket, which may do whatever its roles allow.
    """

    actor: str
    account: Account | None
    roles: frozenset[str]
    scopes: frozenset[str] | None
    origin: str
    session: str = ""  # digest of the session, "" without one

    @property
    def operates(self) -> bool:
        return "operator" in self.roles


@dataclass(slots=True)
class Work:
    """Handlers change the facts, and collect here what the groups and the network have to do about it.

    A handler checks before it changes; when it raises ``Problem`` the facts are rolled back, but what a group
    has done is not. What is to be remembered of a refusal is left with ``even_if_refused``. ``now`` is Unix
    seconds.
    """

    who: Who
    now: float
    changes: list[Change] = field(default_factory=list)
    orders: list[RekeyOrder] = field(default_factory=list)
    disowned: list[Identity] = field(default_factory=list)
    tells: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    remains: list[Callable[[], None]] = field(default_factory=list)

    def left(self, left: Left) -> None:
        """What a group has returned."""
        self.changes += left.changes
        self.orders += left.orders

    def disown(self, identity: Identity) -> None:
        """The IKE SAs of this ticket or name end, and it is told to delete the keys."""
        self.disowned.append(identity)

    def even_if_refused(self, act: Callable[[], None]) -> None:
        """``act`` is done after the facts were rolled back when the operation ends with a Problem; only then.
        An audit line about the refusal, say.
        """
        self.remains.append(act)

    def tell(self, event: str, **fields: object) -> None:
        """One line of the log; no secrets, no names of people."""
        self.tells.append((event, fields))


Handler: TypeAlias = Callable[[Any, Work], Any]
"""(request, work) -> result, or Verify, Hash, Read whose ``resume(found, now)`` gives the result (or another
of these) in the same operation. Raises Problem."""

Handlers: TypeAlias = Mapping[str, Handler]
"""By the name of the operation."""
