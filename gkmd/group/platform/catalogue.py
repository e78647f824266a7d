"""What receivers find: transmissions that are on or coming, and what they may know of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.group.platform import rules, schedule
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.names import Names
from gkmd.group.platform.pages import page
from gkmd.group.platform.records import Reservation, Ticket
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.work import Handlers, Who, Work

_DAY: Final = 86_400
_LONGEST: Final = 366  # days that a transmission lasts at most


class Catalogue:
    """Public transmissions are for everybody, unlisted ones for who knows their id, private ones for their
    owner, operators, and whoever has a ticket or is on the list by a login that an operator vouches for.
    """

    __slots__ = ("_accounts", "_by_day", "_facts", "_names", "_settings", "_texts", "_tickets")

    def __init__(self, facts: Facts, settings: PlatformSettings, accounts: Accounts, names: Names) -> None:
        self._facts: Final = facts
        self._settings = settings
        # Everybody may ask for the catalogue: what it costs must not grow with what is long over.
        self._by_day: Final = facts.index(Reservation, _last_day)
        # By id, of those in the catalogue at the last search: to fold all of it anew takes ten times as long.
        self._texts: dict[str, _Text] = {}
        self._accounts: Final = accounts
        self._names: Final = names
        self._tickets: Final = facts.index(Ticket, lambda ticket: (ticket.party, ticket.reservation))

    def adopt(self, settings: PlatformSettings) -> None:
        self._settings = settings

    def operations(self) -> Handlers:
        return {"catalogue": self._catalogue, "transmission": self._transmission}

    def may_see(self, reservation: Reservation, who: Who) -> bool:
        """Whether its id leads the caller to it."""
        if reservation.visibility != "private" or who.operates:
            return True
        account = who.account
        if account is None:
            return False
        if account.id == reservation.owner or self._tickets.find((account.id, reservation.id)):
            return True
        return account.confirmed and self._names.entry(reservation.id, account.login) is not None

    def shows(self, reservation: Reservation, who: Who, now: float) -> r.Transmission:
        """The caller's view of a transmission that it may see."""
        rule = rules.parse(reservation.admission)
        owner = self._accounts.get(reservation.owner)
        return r.Transmission(
            id=reservation.id,
            title=reservation.title,
            description=reservation.description,
            by="" if owner is None else owner.name or owner.login,
            starts=reservation.starts,
            ends=reservation.ends,
            opens=schedule.opens(reservation),
            time_zone=reservation.time_zone,
            state=schedule.state(reservation, now),
            address=str(reservation.address),
            port=reservation.port,
            price=rules.price(rule),
            ways=rules.ways(rule),
            ticket=self._ticket(reservation, who),
        )

    def _ticket(self, reservation: Reservation, who: Who) -> str:
        """The caller's own live ticket, "" without one."""
        if who.account is None:
            return ""
        tickets = self._tickets.find((who.account.id, reservation.id)).values()
        return next((one.id for one in tickets if one.revoked is None and not one.sends), "")

    # Operations

    def _catalogue(self, request: q.Catalogue, work: Work) -> r.Transmissions:
        found = (
            (schedule.place(one), one) for one in self._found(request, work) if self.may_see(one, work.who)
        )
        shown, after = page(found, request.after, request.limit)
        return r.Transmissions(
            transmissions=tuple(self.shows(one, work.who, work.now) for one in shown), after=after
        )

    def _found(self, request: q.Catalogue, work: Work) -> Iterator[Reservation]:
        word = request.search.strip().casefold()
        today = int(work.now // _DAY)
        days = range(today, today + int(self._settings.longest_ahead // _DAY) + _LONGEST + 2)
        listed = (one for day in days for one in self._by_day.find(day).values())
        live = [one for one in listed if schedule.is_live(one, work.now)]
        if word:
            self._texts = {one.id: self._text(one) for one in live}
        for one in live:
            if request.state != "both" and (one.starts <= work.now) != (request.state == "now"):
                continue
            if not word or self._texts[one.id].has(word):
                yield one

    def _text(self, one: Reservation) -> _Text:
        known = self._texts.get(one.id)
        return known if known is not None and known.of is one else _Text.make(one)

    def _transmission(self, request: q.ById, work: Work) -> r.Transmission:
        reservation = self._facts.get(Reservation, request.id)
        if reservation is None or not self.may_see(reservation, work.who):
            raise Problem("not-found", f"there is no transmission {request.id!r}")
        return self.shows(reservation, work.who, work.now)


@dataclass(frozen=True, slots=True)
class _Text:
    """What is searched of a reservation, without case."""

    of: Reservation
    title: str
    description: str

    @classmethod
    def make(cls, of: Reservation) -> _Text:
        return cls(of, of.title.casefold(), of.description.casefold())

    def has(self, word: str) -> bool:
        return word in self.title or word in self.description


def _last_day(reservation: Reservation) -> int | None:
    """Number of the day of its end; None for what is in no catalogue."""
    if reservation.cancelled is not None or reservation.visibility == "unlisted":
        return None
    return int(reservation.ends // _DAY)
