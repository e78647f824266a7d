"""Who holds the keys of which group now, as operators see it; groups of the configuration are shown, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.core.change import MemberRecord
from gkmd.group.directory import Directory
from gkmd.group.platform.parties import Parties
from gkmd.group.platform.work import Handlers, Work

_MOST_LOOKED_AT: Final = 20_000


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
        """In the order of groups and of joining. With a ``search`` a page may be short and still not be the
        last: an answer looks at so many members, and no more.
        """
        if self._groups is None:
            return r.Members((), 0)
        counts = {status.policy.name: status.members for status in self._groups.groups()}
        if request.group:
            if request.group not in counts:
                raise Problem("not-found", f"there is no group {request.group!r}")
            counts = {request.group: counts[request.group]}
        word = request.search.strip().casefold()
        shown: list[r.MemberView] = []
        after = ""
        for looked_at, (place, member) in enumerate(self._after(request.after, sorted(counts))):
            if len(shown) == request.limit or looked_at == _MOST_LOOKED_AT:
                return r.Members(tuple(shown), sum(counts.values()), after)
            view = self._view(member)
            if word in view.identity.casefold() or word in view.name.casefold():
                shown.append(view)
            after = place
        return r.Members(tuple(shown), sum(counts.values()))

    def _after(self, after: str, names: list[str]) -> Iterator[tuple[str, MemberRecord]]:
        """The members after a place, each with its own: group, instant of joining, IKE SA."""
        assert self._groups is not None
        group, joined, spi = (*after.rsplit("/", 2), "", "")[:3]
        for name in names:
            if name < group:
                continue
            members = self._groups.members(name)
            places = sorted(
                (f"{one.joined:017.6f}", one.ike_spi.hex(), number) for number, one in enumerate(members)
            )
            for at, ike, number in places:
                if (name, at, ike) > (group, joined, spi):
                    yield f"{name}/{at}/{ike}", members[number]

    def _view(self, member: MemberRecord) -> r.MemberView:
        known = [
            self._parties.name_of(party) for party in self._parties.may_be(member.group, member.identity)
        ]
        role = "sender" if member.sends and not member.receives else "receiver"
        return r.MemberView(
            group=member.group,
            identity=member.identity.shown(),
            name=" or ".join(sorted(name for name in known if name)),
            role="both" if member.sends and member.receives else role,
            address=str(member.address),
            joined=member.joined,
        )
