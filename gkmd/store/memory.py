"""The journal's twin without a disk: for tests and simulations, under the same contract."""

from __future__ import annotations

from typing import Any

from gkmd.core.change import (
    Change,
    DropGroup,
    DropIkeSa,
    DropMember,
    GroupRecord,
    IkeSaRecord,
    Journalled,
    MemberRecord,
    PutGroup,
    PutIkeSa,
    PutMember,
)
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity
from gkmd.store.journal import Done


class MemoryJournal:
    """Every submission is done at once, in the caller's thread. ``failing`` makes the next ones fail."""

    def __init__(self, journalled: Journalled | None = None) -> None:
        self.failing: StoreError | None = None
        self._closed = False
        self._groups: dict[str, GroupRecord] = {}
        self._members: dict[tuple[str, Identity], MemberRecord] = {}
        self._ike_sas: dict[bytes, IkeSaRecord] = {}
        for group in journalled.groups if journalled else ():
            self._apply(PutGroup(group))
        for member in journalled.members if journalled else ():
            self._apply(PutMember(member))
        for ike_sa in journalled.ike_sas if journalled else ():
            self._apply(PutIkeSa(ike_sa))

    def load(self) -> Journalled:
        return Journalled(
            tuple(self._groups.values()), tuple(self._members.values()), tuple(self._ike_sas.values())
        )

    def submit(self, changes: tuple[Change, ...], done: Done) -> None:
        if self._closed or self.failing is not None:
            done(self.failing or StoreError("the journal is closed"))
            return
        for change in changes:
            self._apply(change)
        done(None)

    def close(self) -> None:
        self._closed = True

    def _apply(self, change: Change) -> Any:
        match change:
            case PutGroup(group):
                self._groups[group.name] = group
            case PutMember(member):
                self._members[member.group, member.identity] = member
            case PutIkeSa(ike_sa):
                self._ike_sas[ike_sa.spi_r] = ike_sa
            case DropGroup(name):
                self._groups.pop(name, None)
            case DropMember(name, identity):
                self._members.pop((name, identity), None)
            case DropIkeSa(spi_r):
                self._ike_sas.pop(spi_r, None)
