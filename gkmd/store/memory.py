"""The journal's twin without a disk: for tests and simulations, under the same contract."""

from __future__ import annotations

from typing import Final

from gkmd.core.change import (
    Change,
    Drop,
    DropGroup,
    DropIkeSa,
    DropMember,
    Fact,
    GroupRecord,
    IkeSaRecord,
    Journalled,
    MemberRecord,
    Put,
    PutGroup,
    PutIkeSa,
    PutMember,
)
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity
from gkmd.group.platform.records import ARCHIVED, LOADED
from gkmd.store.journal import Done

_ARCHIVES: Final = frozenset(kind.KIND for kind in ARCHIVED)


class MemoryJournal:
    """Every submission is done at once, in the caller's thread. ``failing`` makes the next ones fail."""

    def __init__(self, journalled: Journalled | None = None) -> None:
        self.failing: StoreError | None = None
        self._closed = False
        self._groups: dict[str, GroupRecord] = {}
        self._members: dict[tuple[str, Identity], MemberRecord] = {}
        self._ike_sas: dict[bytes, IkeSaRecord] = {}
        self._facts: dict[str, dict[str, Fact]] = {}
        for fact in journalled.facts if journalled else ():
            self._apply(Put(fact))
        for group in journalled.groups if journalled else ():
            self._apply(PutGroup(group))
        for member in journalled.members if journalled else ():
            self._apply(PutMember(member))
        for ike_sa in journalled.ike_sas if journalled else ():
            self._apply(PutIkeSa(ike_sa))

    def load(self) -> Journalled:
        return Journalled(
            tuple(self._groups.values()),
            tuple(self._members.values()),
            tuple(self._ike_sas.values()),
            tuple(fact for kind in LOADED for fact in self._in_order(kind.KIND))
            + tuple(fact for kind in ARCHIVED for fact in self._in_order(kind.KIND)[-1:]),
        )

    def read(self, kind: str, after: str, limit: int, descending: bool = False) -> tuple[Fact, ...]:
        if self._closed or self.failing is not None:
            raise self.failing or StoreError("the journal is closed")
        if kind not in _ARCHIVES:
            raise StoreError(f"there is no archive of the kind {kind!r}")
        found = self._in_order(kind)
        if descending:
            found = [fact for fact in reversed(found) if not after or fact.key < after]
        elif after:
            found = [fact for fact in found if fact.key > after]
        return tuple(found[:limit])

    def _in_order(self, kind: str) -> list[Fact]:
        facts = self._facts.get(kind, {})
        return [facts[key] for key in sorted(facts)]

    def submit(self, changes: tuple[Change, ...], done: Done) -> None:
        if self._closed or self.failing is not None:
            done(self.failing or StoreError("the journal is closed"))
            return
        for change in changes:
            self._apply(change)
        done(None)

    def close(self) -> None:
        self._closed = True

    def _apply(self, change: Change) -> None:
        match change:
            case PutGroup(group):
                self._groups[group.name] = group
            case PutMember(member):
                self._members[member.group, member.identity] = member
            case PutIkeSa(ike_sa):
                self._ike_sas[ike_sa.spi_r] = ike_sa
            case Put(fact):
                self._facts.setdefault(fact.KIND, {})[fact.key] = fact
            case Drop(kind, key):
                self._facts.get(kind, {}).pop(key, None)
            case DropGroup(name):
                self._groups.pop(name, None)
            case DropMember(name, identity):
                self._members.pop((name, identity), None)
            case DropIkeSa(spi_r):
                self._ike_sas.pop(spi_r, None)
