"""Who holds the keys of which group now, as operators see it; groups of the configuration are shown, too."""

from __future__ import annotations

from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.core.change import MemberRecord
from gkmd.group.directory import Directory
from gkmd.group.platform.parties import Parties
from gkmd.group.platform.work import Handlers, Work


class GroupMembers:
    __slots__ = ("_groups", "_parties")

    def __init__(self, parties: Parties) -> None:
        self._parties: Final = parties
        self._groups: Directory | None = None

    def use(self, groups: Directory) -> None:
        self._groups = groups

    def operations(self) -> Handlers:
        return {"members": self._members}

    def _members(self, request: q.MembersOf, work: Work) -> r.Members:
        """In the order of groups and of joining; ``count`` is that of all, shown or not."""
        groups = self._groups
        if groups is None:
            return r.Members((), 0)
        names = [status.policy.name for status in groups.groups()]
        if request.group:
            if request.group not in names:
                raise Problem("not-found", f"there is no group {request.group!r}")
            names = [request.group]
        found: list[MemberRecord] = []
        count = 0
        for name in names:
            members = groups.members(name)
            count += len(members)
            found += members[: request.limit - len(found)]
        return r.Members(tuple(self._view(member) for member in found), count)

    def _view(self, member: MemberRecord) -> r.MemberView:
        known = [
            self._parties.name_of(party) for party in self._parties.may_be(member.group, member.identity)
        ]
        role = "sender" if member.sends and not member.receives else "receiver"
        return r.MemberView(
            group=member.group,
            identity=str(member.identity),
            name=" or ".join(sorted(name for name in known if name)),
            role="both" if member.sends and member.receives else role,
            address=str(member.address),
            joined=member.joined,
        )
