"""The lists of names of reservations: looked up in constant time, imported as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.names_csv import fold
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.rng import Rng
from gkmd.crypto.passwords import check_verifier
from gkmd.group.platform import schedule
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.pages import page
from gkmd.group.platform.records import SEPARATOR, ListedName, Reservation
from gkmd.group.platform.work import Handlers, Work

MOST_NAMES: Final = 200_000  # on one list
MOST_NAMES_IN_ALL: Final = 2_000_000
MOST_STAGED: Final = 400_000  # names of all imports under way
MOST_IMPORTS: Final = 32
MOST_IMPORTS_OF_ONE: Final = 4  # owner; nobody keeps the others from importing
IMPORT_LASTS: Final = 3600.0  # seconds
_LONGEST: Final = 200


def wrong_with(name: str) -> str:
    """Why this cannot be a name on a list; "" when it can. What begins with ``t-`` is a ticket."""
    folded = fold(name)
    if not folded:
        return "the name is missing"
    if len(folded) > _LONGEST:
        return f"a name of {len(folded)} characters; at most {_LONGEST}"
    if not folded.isprintable() or SEPARATOR in folded:
        return "the name has a slash or a character that cannot be printed"
    if folded.startswith("t-"):
        return f"{name!r} begins like the number of a ticket (t-)"
    return ""


@dataclass(slots=True)
class Staged:
    """An import under way: verifiers by folded name. It is kept in memory only."""

    reservation: str
    owner: str
    begun: float
    names: dict[str, str] = field(default_factory=dict)


class Names:
    __slots__ = ("_audit", "_by_reservation", "_facts", "_imports", "_rng", "_staged")

    def __init__(self, facts: Facts, audit: Audit, rng: Rng) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self._rng: Final = rng
        self._by_reservation: Final = facts.index(ListedName, lambda listed: listed.reservation)
        self._imports: dict[str, Staged] = {}
        self._staged = 0  # names of all of them

    def operations(self) -> Handlers:
        return {
            "names-list": self._list,
            "name-remove": self._remove,
            "names-begin": self._begin,
            "names-add": self._add,
            "names-commit": self._commit,
            "names-abort": self._abort,
        }

    # For other parts

    def entry(self, reservation: str, name: str) -> ListedName | None:
        """What a list says of a name, as it was typed."""
        return self._facts.get(ListedName, reservation + SEPARATOR + fold(name))

    def count(self, reservation: str) -> int:
        return len(self._by_reservation.find(reservation))

    def drop_list(self, reservation: str) -> None:
        for listed in tuple(self._by_reservation.find(reservation).values()):
            self._facts.drop(listed)

    # Operations

    def _list(self, request: q.NamesOf, work: Work) -> r.Names:
        reservation = schedule.owned(self._facts, request.id, work.who)
        listed: Iterable[ListedName] = self._by_reservation.find(reservation.id).values()
        word = fold(request.search)
        rows = ((one.name, one) for one in listed if word in one.name)
        shown, after = page(rows, request.after, request.limit)
        return r.Names(
            names=tuple(r.Name(one.name, bool(one.verifier)) for one in shown),
            count=self.count(reservation.id),
            after=after,
        )

    def _remove(self, request: q.NameRemove, work: Work) -> r.Nothing:
        reservation = schedule.owned(self._facts, request.id, work.who)
        listed = self.entry(reservation.id, request.name)
        if listed is None:
            raise Problem("not-found", f"{request.name!r} is not on the list")
        self._facts.drop(listed)
        self._audit.note(work.who.actor, "name-remove", reservation.id, work.now)
        return r.Nothing()

    def _begin(self, request: q.ById, work: Work) -> r.Import:
        reservation = self._open(request.id, work)
        self._expire(work.now)
        for id, staged in tuple(self._imports.items()):
            if staged.reservation == reservation.id:
                self._drop(id)  # whoever begins anew has given up the one before
        mine = [id for id, staged in self._imports.items() if staged.owner == reservation.owner]
        for id in mine[: max(0, len(mine) - MOST_IMPORTS_OF_ONE + 1)]:
            self._drop(id)  # oldest first
        if len(self._imports) >= MOST_IMPORTS:
            raise Problem("busy", f"{MOST_IMPORTS} imports are under way; try again in a few minutes")
        id = new_id("i-", self._rng)
        self._imports[id] = Staged(reservation.id, reservation.owner, work.now)
        return r.Import(id, 0)

    def _add(self, request: q.NamesAdd, work: Work) -> r.Import:
        """All entries of the request, or with a problem none of them."""
        staged = self._import(request, work)
        if len(staged.names) + len(request.entries) > MOST_NAMES:
            raise Problem("invalid", f"a list has at most {MOST_NAMES} names")
        mine = sum(len(one.names) for one in self._imports.values() if one.owner == staged.owner)
        if mine + len(request.entries) > MOST_NAMES:
            raise Problem("busy", f"your imports under way have more than {MOST_NAMES} names; end one first")
        if self._staged + len(request.entries) > MOST_STAGED:
            raise Problem("busy", "other imports take all the room; try again in a few minutes")
        new: dict[str, str] = {}
        problems = []
        for place, entry in enumerate(request.entries):
            name, text, where = fold(entry.name), wrong_with(entry.name), "name"
            if not text and (name in staged.names or name in new):
                text = f"{entry.name!r} is in this import already"
            if not text and entry.verifier:
                try:
                    check_verifier(entry.verifier)
                except ValueError as error:
                    text, where = str(error), "verifier"
            if text:
                problems.append(FieldProblem(f"entries.{place}.{where}", text))
            new[name] = entry.verifier
        if problems:
            raise Problem("invalid", f"{len(problems)} names will not do; none was added", tuple(problems))
        staged.names.update(new)
        self._staged += len(new)
        return r.Import(request.import_id, len(staged.names))

    def _commit(self, request: q.NamesCommit, work: Work) -> r.Import:
        staged = self._import(request, work)
        found = len(staged.names)
        if found != request.expected:
            raise Problem(
                "conflict", f"the import has {found} names, {request.expected} were expected; nothing changed"
            )
        listed = self._by_reservation.find(staged.reservation)
        replace = request.mode == "replace"
        added = found if replace else sum(1 for name in staged.names if not self._has(staged, name))
        total = found if replace else len(listed) + added
        if total > MOST_NAMES:
            raise Problem("invalid", f"the list would have {total} names; at most {MOST_NAMES} are possible")
        in_all = self._facts.count(ListedName) - len(listed) + total
        if total > len(listed) and in_all > MOST_NAMES_IN_ALL:
            raise Problem("busy", f"all lists of this server together have at most {MOST_NAMES_IN_ALL} names")
        if replace:
            for one in [one for one in listed.values() if one.name not in staged.names]:
                self._facts.drop(one)
        for name, verifier in staged.names.items():
            one = ListedName(staged.reservation, name, verifier)
            before = self._facts.get(ListedName, one.key)
            if before is not None and verifier:
                # The same password has another verifier each time that a list is read.
                one = replaced(one, held=before.held)
            if before != one:
                self._facts.put(one)
        self._drop(request.import_id)
        self._audit.note(
            work.who.actor, "names-commit", staged.reservation, work.now, names=found, mode=request.mode
        )
        return r.Import(request.import_id, total)

    def _has(self, staged: Staged, name: str) -> bool:
        return self._facts.get(ListedName, staged.reservation + SEPARATOR + name) is not None

    def _abort(self, request: q.NamesImport, work: Work) -> r.Nothing:
        self._import(request, work)
        self._drop(request.import_id)
        self._audit.note(work.who.actor, "names-abort", request.id, work.now, broken=request.broken)
        return r.Nothing()

    # Imports

    def _open(self, id: str, work: Work) -> Reservation:
        reservation = schedule.owned(self._facts, id, work.who)
        if not schedule.is_live(reservation, work.now):
            raise Problem("conflict", f"the transmission is {schedule.state(reservation, work.now)}")
        return reservation

    def _import(self, request: q.NamesAdd | q.NamesCommit | q.NamesImport, work: Work) -> Staged:
        reservation = self._open(request.id, work)
        self._expire(work.now)
        staged = self._imports.get(request.import_id)
        if staged is None or staged.reservation != reservation.id:
            raise Problem("not-found", "there is no such import; begin again")
        return staged

    def _expire(self, now: float) -> None:
        for id, staged in tuple(self._imports.items()):
            if staged.begun + IMPORT_LASTS <= now:
                self._drop(id)

    def _drop(self, id: str) -> None:
        self._staged -= len(self._imports.pop(id).names)
