"""Reservations: booked, changed and cancelled, and their groups begun and ended in time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.address import IpAddress
from gkmd.core.alarms import Alarms
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, Left
from gkmd.group.platform import group_terms, schedule
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.booking import Desk
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.names import Names
from gkmd.group.platform.once import Once
from gkmd.group.platform.pages import page
from gkmd.group.platform.pool import Pool
from gkmd.group.platform.records import (
    Account,
    Admission,
    ListedName,
    Reservation,
    Ticket,
    Voucher,
    VoucherBatch,
)
from gkmd.group.platform.reservation_view import reservation_view
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.twins import doubt, twin_of
from gkmd.group.platform.work import Handlers, Who, Work

MOST_LIVE: Final = 1000  # of one owner, coming or on
_WOUND_UP: Final = 86_400.0  # seconds after an end in which a restarted server still looks after the group
_AGAIN: Final = 1.0  # seconds between two looks at a group that tells its members the end
_SLUG: Final = 40
# What goes when a reservation has been over for long; vouchers go with their batches.
_KEPT: Final[tuple[type[ListedName] | type[Ticket] | type[VoucherBatch], ...]] = (
    ListedName,
    Ticket,
    VoucherBatch,
)


class Reservations:
    __slots__ = (
        "_accounts",
        "_alarms",
        "_audit",
        "_billing",
        "_desk",
        "_facts",
        "_groups",
        "_names",
        "_of_owner",
        "_once",
        "_pool",
        "_rng",
        "_senders",
        "_settings",
    )

    def __init__(
        self,
        facts: Facts,
        settings: PlatformSettings,
        audit: Audit,
        accounts: Accounts,
        once: Once,
        billing: Billing,
        names: Names,
        rng: Rng,
        now: float,
    ) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._once: Final = once
        self._billing: Final = billing
        self._names: Final = names
        self._rng: Final = rng
        self._groups: Directory | None = None
        self._of_owner: Final = facts.index(Reservation, lambda one: one.owner)
        self._senders: Final = facts.index(
            Ticket, lambda ticket: ticket.reservation if ticket.sends else None
        )
        self._pool: Pool = Pool(facts, settings.pools, self._configured, rng)
        self.adopt(settings)
        self._alarms: Final[Alarms[str]] = Alarms()  # ids that something is to be done about
        kept = {fact.reservation for kind in _KEPT for fact in facts.all(kind)}
        for one in facts.all(Reservation):
            ends = schedule.ends(one)
            if now < ends + _WOUND_UP:
                self._alarms.set(one.id, ends)
            elif one.id in kept:
                self._alarms.set(one.id, ends + settings.keep_reservations)

    def use(self, groups: Directory) -> None:
        self._groups = groups

    def adopt(self, settings: PlatformSettings) -> None:
        """The operator's settings; reservations that are there keep their addresses and fees."""
        self._settings = settings
        self._pool.adopt(settings.pools)
        self._desk = Desk(settings, self._pool, self._is_worn)

    def operations(self) -> Handlers:
        return {
            "reserve": self._reserve,
            "reservation-check": self._check,
            "reservation-list": self._list,
            "reservation-show": self._show,
            "reservation-change": self._change,
            "reservation-cancel": self._cancel,
        }

    # For other parts

    def get(self, id: str) -> Reservation | None:
        return self._facts.get(Reservation, id)

    def owned(self, id: str, who: Who) -> Reservation:
        """Problem ``not-found`` for what is not the caller's and the caller no operator."""
        return schedule.owned(self._facts, id, who)

    def live(self, id: str, now: float) -> Reservation | None:
        """The reservation if it is coming, open or on."""
        reservation = self.get(id)
        return reservation if reservation is not None and schedule.is_live(reservation, now) else None

    def policy(self, reservation: Reservation) -> GroupPolicy:
        """The policy that its group has, or would have."""
        return group_terms.policy_of(reservation, self._settings)

    def policies(self, now: float) -> tuple[GroupPolicy, ...]:
        """Of all groups that are to be there at a start of the server: those that ended lately may still owe
        their members the news.
        """
        return tuple(
            self.policy(one)
            for one in self._facts.all(Reservation)
            if now < schedule.ends(one) + _WOUND_UP and schedule.ends(one) > schedule.opens(one)
        )

    # Time

    def start(self, now: float) -> Left:
        """The groups of all live reservations are there, whatever the directory was made with."""
        left = Left((), ())
        for one in tuple(self._facts.all(Reservation)):
            if schedule.is_live(one, now) and self._groups is not None and not self._groups.holds(one.id):
                left = _both(left, self._groups.establish(self.policy(one), now))
        return _both(left, self.tick(now))

    def tick(self, now: float) -> Left:
        """Groups that are over end, and what was kept long enough goes. The caller commits the facts."""
        left = Left((), ())
        while (id := self._alarms.due(now)) is not None:
            reservation = self.get(id)
            if reservation is not None:
                left = _both(left, self._wind_up(reservation, now))
        return left

    def _wind_up(self, reservation: Reservation, now: float) -> Left:
        """Whatever is to be done about it by now; it is armed for what comes next, later than now."""
        id, ends, left = reservation.id, schedule.ends(reservation), Left((), ())
        if now < ends:
            self._alarms.set(id, ends)
            return left
        if self._groups is not None and self._groups.holds(id):
            left = self._groups.end(id, now, "end")
            if self._groups.holds(id):
                self._alarms.set(id, now + _AGAIN)
                return left
        forgets = ends + self._settings.keep_reservations
        if now < forgets:
            self._alarms.set(id, forgets)
        else:
            self._forget(reservation)
        return left

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return self._alarms.first()

    def _forget(self, reservation: Reservation) -> None:
        """Lists, tickets and vouchers are kept for a while after the end, and no longer."""
        id = reservation.id
        self._names.drop_list(id)
        for ticket in [ticket for ticket in self._facts.all(Ticket) if ticket.reservation == id]:
            self._facts.drop(ticket)
        batches = {batch.id: batch for batch in self._facts.all(VoucherBatch) if batch.reservation == id}
        if batches:
            for voucher in [voucher for voucher in self._facts.all(Voucher) if voucher.batch in batches]:
                self._facts.drop(voucher)
            for batch in batches.values():
                self._facts.drop(batch)

    # Operations

    def _reserve(self, request: q.Reserve, work: Work) -> r.ReservationView:
        known = self._once.found(work.who.actor, "reserve", request.once, request)
        if known is not None:
            return self._view(self.owned(known, work.who), work.now)
        owner = self._owner(request.owner, work.who)
        mine = self._of_owner.find(owner.id).values()
        if sum(1 for one in mine if schedule.is_live(one, work.now)) >= MOST_LIVE:
            raise Problem("conflict", f"{MOST_LIVE} reservations that are not over; no more are possible")
        booking = self._desk.book(request, self._new_id(request.title), owner.id, work.now)
        reservation = booking.reservation
        if reservation is None:
            raise _refused("this cannot be reserved", booking.problems)
        twin = None if request.twice else twin_of(reservation, mine, work.now)
        if twin is not None:
            text = doubt(twin)
            raise Problem("conflict", f"{text.field}: {text.text}", (text,))
        self._facts.put(reservation)
        self._once.keep(work.who.actor, "reserve", request.once, request, reservation.id, work.now)
        self._audit.note(
            work.who.actor,
            "reserve",
            reservation.id,
            work.now,
            owner=owner.id,
            address=str(reservation.address),
            starts=reservation.starts,
            ends=reservation.ends,
        )
        self._carry(reservation, work)
        work.tell("reserved", reservation=reservation.id, address=str(reservation.address))
        return self._view(reservation, work.now)

    def _check(self, request: q.Reserve, work: Work) -> r.Checked:
        problems: list[FieldProblem] = []
        mine: Collection[Reservation] = ()
        try:
            mine = self._of_owner.find(self._owner(request.owner, work.who).id).values()
        except Problem as problem:
            problems += problem.fields
        booking = self._desk.book(request, "check", "", work.now)
        problems += booking.problems
        if booking.reservation is not None and not request.twice:
            twin = twin_of(booking.reservation, mine, work.now)
            problems += [] if twin is None else [doubt(twin)]
        return r.Checked(
            problems=tuple(r.Refused(one.field, one.text) for one in problems),
            address=str(booking.address) if booking.address is not None else "",
            starts=booking.starts,
            ends=booking.starts + request.duration if booking.starts is not None else None,
        )

    def _owner(self, login: str, who: Who) -> Account:
        """Whose reservation it becomes: an operator may reserve for somebody else."""
        if not login:
            if who.account is None:
                text = "the login of the sender that it is for is needed"
                raise Problem("invalid", f"owner: {text}", (FieldProblem("owner", text),))
            return who.account
        if who.account is not None and login == who.account.login:
            return who.account
        if not who.operates:
            text = "an operator alone reserves for somebody else"
            raise Problem("forbidden", text, (FieldProblem("owner", text),))
        account = self._accounts.by_login(login)
        if account is None or account.disabled or "sender" not in account.roles:
            text = f"there is no sender {login!r}"
            raise Problem("invalid", f"owner: {text}", (FieldProblem("owner", text),))
        return account

    def _list(self, request: q.ListReservations, work: Work) -> r.Reservations:
        who = work.who
        found: Iterable[Reservation] = self._facts.all(Reservation)
        if not who.operates:
            found = self._of_owner.find("" if who.account is None else who.account.id).values()
        elif request.owner:
            account = self._accounts.by_login(request.owner)
            found = self._of_owner.find("" if account is None else account.id).values()
        wanted = {schedule.OPEN, schedule.ON} if request.state == "open" else {request.state}
        word = request.search.strip().casefold()
        rows = (
            (schedule.place(one), one)
            for one in found
            if (request.state == "all" or schedule.state(one, work.now) in wanted)
            and word in one.title.casefold()
        )
        shown, after = page(rows, request.after, request.limit)
        return r.Reservations(reservations=tuple(self._view(one, work.now) for one in shown), after=after)

    def _show(self, request: q.ById, work: Work) -> r.ReservationView:
        return self._view(self.owned(request.id, work.who), work.now)

    def _change(self, request: q.ChangeReservation, work: Work) -> r.ReservationView:
        before = self.owned(request.id, work.who)
        if request.version not in (0, before.version):
            raise Problem(
                "changed-meanwhile",
                f"it is version {before.version} by now, the change was made from {request.version}",
            )
        if not schedule.is_live(before, work.now):
            raise Problem("conflict", f"the transmission is {schedule.state(before, work.now)}")
        booking = self._desk.change(before, request, work.now)
        after = booking.reservation
        if after is None:
            raise _refused("it cannot be changed like this", booking.problems)
        changed = [name for name in _CHANGING if getattr(before, name) != getattr(after, name)]
        if not changed:
            return self._view(before, work.now)
        self._facts.put(after)
        detail = {name: getattr(after, name) for name in ("starts", "ends", "capacity") if name in changed}
        self._audit.note(work.who.actor, "reservation-change", after.id, work.now, changed=changed, **detail)
        self._revoke_senders(after, work)
        self._carry(after, work)
        return self._view(after, work.now)

    def _revoke_senders(self, reservation: Reservation, work: Work) -> None:
        """Tickets of hosts that are no longer among the senders end."""
        labels = {host.label for host in reservation.senders if not host.identity}
        for ticket in tuple(self._senders.find(reservation.id).values()):
            if ticket.revoked is None and ticket.label not in labels:
                self._facts.put(replace(ticket, revoked=work.now))
                work.disown(Identity(IdentityKind.KEY_ID, ticket.id.encode("ascii")))

    def _carry(self, reservation: Reservation, work: Work) -> None:
        """The group follows the reservation; after everything else, for it is not undone."""
        if self._groups is not None:
            try:
                work.left(self._groups.establish(self.policy(reservation), work.now))
            except ValueError as error:
                raise Problem("conflict", str(error)) from None
            if reservation.ends <= work.now:
                work.left(self._groups.end(reservation.id, work.now, "end"))
        self._alarms.set(reservation.id, max(reservation.ends, work.now + _AGAIN))

    def _cancel(self, request: q.CancelReservation, work: Work) -> r.ReservationView:
        before = self.owned(request.id, work.who)
        if before.cancelled is not None:
            return self._view(before, work.now)
        if work.now >= before.ends:
            raise Problem("conflict", "the transmission is over; receivers can be refunded one by one")
        after = replace(before, cancelled=work.now, version=before.version + 1)
        self._facts.put(after)
        admissions: tuple[Admission, ...] = tuple(self._billing.admissions.find(after.id).values())
        paid = [one for one in admissions if one.amount and one.refunded is None]
        if not work.who.operates:
            self._billing.check_covered(after, paid)
        for admission in paid:
            self._billing.refund(after, admission, "cancelled", work.now)
        self._audit.note(
            work.who.actor,
            "reservation-cancel",
            after.id,
            work.now,
            reason=request.reason,
            refunds=len(paid),
        )
        if self._groups is not None:
            work.left(self._groups.end(after.id, work.now, "cancelled"))
        self._alarms.set(after.id, work.now + _AGAIN)
        work.tell("reservation-cancelled", reservation=after.id, refunds=len(paid))
        return self._view(after, work.now)

    # Parts

    def _view(self, reservation: Reservation, now: float) -> r.ReservationView:
        return reservation_view(reservation, self._accounts, self._names, now)

    def _configured(self) -> Collection[IpAddress]:
        return frozenset() if self._groups is None else self._groups.configured_addresses()

    def _is_worn(self, key: SecretBytes) -> bool:
        """Of one that was cancelled before it opened nobody ever got it."""
        return any(
            one.supplied_key == key and schedule.ends(one) > schedule.opens(one)
            for one in self._facts.all(Reservation)
        )

    def _new_id(self, title: str) -> str:
        plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode("ascii").lower()
        slug = re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG].strip("-") or "transmission"
        while True:
            id = new_id(f"{slug}-", self._rng, 6)
            taken = self._groups is not None and self._groups.holds(id)
            if self.get(id) is None and not taken:
                return id


_CHANGING: Final = (
    "title",
    "description",
    "starts",
    "ends",
    "lead",
    "capacity",
    "visibility",
    "senders",
    "admission",
)


def _refused(what: str, problems: Iterable[FieldProblem]) -> Problem:
    fields = tuple(problems)
    return Problem("invalid", f"{what}: {'; '.join(f'{one.field}: {one.text}' for one in fields)}", fields)


def _both(one: Left, other: Left) -> Left:
    return Left(one.changes + other.changes, one.orders + other.orders)
