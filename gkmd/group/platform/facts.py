"""The platform's facts in memory: what the journal holds, with indexes, and what it has not been told yet.

Every part of the platform keeps its state here and nowhere else, so that a refused operation can be undone as
a whole and a restarted server knows all that the last one knew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

from gkmd.core.change import Change, Drop, Fact, Put

F = TypeVar("F", bound=Fact)
_NOTHING: Final[Mapping[str, Any]] = {}


class Index:
    """Facts of one kind by a value that several may share; facts whose value is None are left out."""

    __slots__ = ("_found", "_value")

    def __init__(self, value: Callable[[Any], Hashable | None]) -> None:
        self._value: Final = value
        self._found: dict[Hashable, dict[str, Any]] = {}

    def find(self, value: Hashable) -> Mapping[str, Any]:
        """By key, in the order in which they came. Not to be kept: it changes."""
        return self._found.get(value, _NOTHING)

    def replace(self, key: str, before: Any, after: Any) -> None:
        """``before`` and ``after`` are the facts of this key; None for none."""
        new = None if after is None else self._value(after)
        same = None if new is None else self._found.get(new)
        if same is not None and (before is None or key in same):
            same[key] = after
            return
        old = None if before is None else self._value(before)
        if old is not None:
            found = self._found[old]
            del found[key]
            if not found:
                del self._found[old]
        if new is not None:
            if same is None:
                self._found[new] = {key: after}
            else:
                same[key] = after


class Count:
    """How many of something the facts of a kind hold, by value; one fact may hold several."""

    __slots__ = ("_found", "_values")

    def __init__(self, values: Callable[[Any], Iterable[Hashable]]) -> None:
        self._values: Final = values
        self._found: dict[Hashable, int] = {}

    def of(self, value: Hashable) -> int:
        return self._found.get(value, 0)

    def replace(self, key: str, before: Any, after: Any) -> None:
        """As ``Index.replace``."""
        found = self._found
        if before is not None:
            for value in self._values(before):
                found[value] -= 1
                if not found[value]:
                    del found[value]
        if after is not None:
            for value in self._values(after):
                found[value] = found.get(value, 0) + 1


class Facts:
    """``put`` and ``drop`` take effect at once; ``commit`` hands out the changes, ``rollback`` undoes them.

    Archived kinds (ledger entries, audit lines) are written and not kept, but for the newest of each.
    """

    __slots__ = ("_archived", "_by_kind", "_committed", "_indexes", "_newest", "_pending", "_undo")

    def __init__(self, facts: Iterable[Fact] = (), archived: Iterable[type[Any]] = ()) -> None:
        self._by_kind: dict[str, dict[str, Any]] = {}
        self._indexes: dict[str, list[Index | Count]] = {}
        self._pending: dict[tuple[str, str], Change] = {}
        self._undo: list[tuple[str, str, Any]] = []
        self._archived: Final = frozenset(kind.KIND for kind in archived)
        self._newest: dict[str, Any] = {}
        self._committed: dict[str, Any] = {}
        for fact in facts:
            self._by_kind.setdefault(fact.KIND, {})[fact.key] = fact

    def index(self, kind: type[F], value: Callable[[F], Hashable | None]) -> Index:
        """A new index over all facts of a kind; made once, by the part that needs it."""
        index = Index(cast(Callable[[Any], Hashable | None], value))
        self._follow(kind.KIND, index)
        return index

    def counted(self, kind: type[F], values: Callable[[F], Iterable[Hashable]]) -> Count:
        """A new count over all facts of a kind; made once, by the part that needs it."""
        count = Count(cast(Callable[[Any], Iterable[Hashable]], values))
        self._follow(kind.KIND, count)
        return count

    def _follow(self, kind: str, index: Index | Count) -> None:
        for key, fact in self._by_kind.get(kind, _NOTHING).items():
            index.replace(key, None, fact)
        self._indexes.setdefault(kind, []).append(index)

    def get(self, kind: type[F], key: str) -> F | None:
        found: F | None = self._by_kind.get(kind.KIND, _NOTHING).get(key)
        return found

    def all(self, kind: type[F]) -> Iterator[F]:
        """In no promised order. Not to be changed meanwhile."""
        return iter(self._by_kind.get(kind.KIND, _NOTHING).values())

    def count(self, kind: type[Any]) -> int:
        return len(self._by_kind.get(kind.KIND, _NOTHING))

    def resume(self, newest: Fact) -> None:
        """The newest fact of an archived kind, as it was read at start."""
        self._newest[newest.KIND] = self._committed[newest.KIND] = newest

    def newest(self, kind: type[F]) -> F | None:
        """The fact of an archived kind that was put last, those that were rolled back not counted."""
        return cast("F | None", self._newest.get(kind.KIND))

    def put(self, fact: Fact) -> None:
        kind, key = fact.KIND, fact.key
        self._pending[kind, key] = Put(fact)
        if kind in self._archived:
            self._newest[kind] = fact
        else:
            self._set(kind, key, fact)

    def drop(self, fact: Fact) -> None:
        kind, key = fact.KIND, fact.key
        self._pending[kind, key] = Drop(kind, key)
        self._set(kind, key, None)

    def _set(self, kind: str, key: str, fact: Any) -> None:
        rows = self._by_kind.get(kind)
        if rows is None:
            rows = self._by_kind[kind] = {}
        before = rows.get(key)
        self._undo.append((kind, key, before))
        self._store(rows, kind, key, before, fact)

    def _store(self, rows: dict[str, Any], kind: str, key: str, before: Any, after: Any) -> None:
        if after is None:
            rows.pop(key, None)
        else:
            rows[key] = after
        for index in self._indexes.get(kind, ()):
            index.replace(key, before, after)

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._pending)

    def commit(self) -> tuple[Change, ...]:
        """All that the journal has not been told; of a fact that changed twice the last."""
        changes = tuple(self._pending.values())
        self._pending.clear()
        self._undo.clear()
        self._committed = dict(self._newest)
        return changes

    def rollback(self) -> None:
        """Everything is as it was at the last commit."""
        for kind, key, before in reversed(self._undo):
            rows = self._by_kind[kind]
            self._store(rows, kind, key, rows.get(key), before)
        self._pending.clear()
        self._undo.clear()
        self._newest = dict(self._committed)
