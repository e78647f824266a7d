"""Tickets: a random id and secret that stand for a receiver, or a sender's host, of one transmission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.names_csv import fold
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.money import Money
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import NOBODY
from gkmd.group.model import Refusal
from gkmd.group.platform import schedule, voucher_codes
from gkmd.group.platform.access import account_of
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.allowance import Allowance
from gkmd.group.platform.assessment import Assessor, Receiver
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.entitlement import Denial
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.member_file import ticket_file
from gkmd.group.platform.outcome import Verify
from gkmd.group.platform.pages import page, place
from gkmd.group.platform.parties import OF_LIST, identity_of, ticket_in
from gkmd.group.platform.records import Account, ListedName, Party, Reservation, Ticket
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.vouchers import Vouchers
from gkmd.group.platform.work import Handlers, Who, Work

SECRET_OCTETS: Final = 32
REVOKED_KEPT: Final = 8  # of one party and transmission: who comes with an older one is not told why
_READ_AGAIN: Final = 600.0  # seconds

Shows: TypeAlias = Callable[[Reservation, Who, float], r.Transmission]


class Tickets:
    """``shows`` is the catalogue's view of a transmission. A party has one live ticket for a transmission,
    a sender's host one for its label.
    """

    __slots__ = (
        "_accounts",
        "_assessor",
        "_audit",
        "_facts",
        "_held",
        "_lock_out",
        "_names_held",
        "_of_party",
        "_reads",
        "_rng",
        "_settings",
        "_shows",
        "_vouchers",
    )

    def __init__(
        self,
        facts: Facts,
        settings: PlatformSettings,
        audit: Audit,
        accounts: Accounts,
        assessor: Assessor,
        vouchers: Vouchers,
        lock_out: LockOut,
        shows: Shows,
        rng: Rng,
    ) -> None:
        self._facts: Final = facts
        self._settings = settings
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._assessor: Final = assessor
        self._vouchers: Final = vouchers
        self._lock_out: Final = lock_out
        self._shows: Final = shows
        self._rng: Final = rng
        self._reads: Final = Allowance(1 / _READ_AGAIN, 1.0)
        self._of_party: Final = facts.index(Ticket, lambda ticket: ticket.party)
        self._held: Final = facts.index(Ticket, lambda ticket: _purpose(ticket))
        self._names_held: Final = facts.index(ListedName, lambda entry: entry.held or None)

    def adopt(self, settings: PlatformSettings) -> None:
        self._settings = settings

    def operations(self) -> Handlers:
        return {
            "ticket-issue": self._issue,
            "ticket-list": self._list,
            "ticket-show": self._show,
            "ticket-revoke": self._revoke,
            "sender-ticket": self._sender_ticket,
        }

    # For other parts

    def find(self, identity: Identity) -> Ticket | None:
        """The ticket with this KEY_ID, revoked or not."""
        id = ticket_in(identity)
        return self._facts.get(Ticket, id) if id else None

    def live(self, reservation: str, party: str) -> Ticket | None:
        """The receiver's ticket that this party has for a transmission."""
        return self._live((reservation, party, False, ""))

    def revoke(self, ticket: Ticket, work: Work) -> None:
        """It admits no more, its IKE SAs end, and a voucher in it that was not used is free again."""
        if ticket.revoked is None:
            self._facts.put(replace(ticket, revoked=work.now))
            self._vouchers.release(ticket.voucher, ticket.party)
            self._give_free(ticket.reservation, ticket.listed, ticket.party)
        work.disown(key_id(ticket))

    def keep_out(self, reservation: str, party: str) -> None:
        """A receiver was evicted that came by a list's name and password: no account comes by them after it,
        nor does one that has not come yet.
        """
        known = self._facts.get(Party, party)
        entry = None if known is None else self._assessor.listed(reservation, known.name)
        if known is None or known.reservation != reservation or entry is None:
            return
        if not self._is_in(reservation, entry.held):
            self._facts.put(replace(entry, held=party))

    def _is_in(self, reservation: str, party: str) -> bool:
        """Whether it was admitted and nothing was taken back, or it was evicted."""
        admission = self._assessor.admission(reservation, party)
        return admission is not None and (admission.refunded is None or admission.evicted is not None)

    def _give_free(self, reservation: str, listed: str, party: str) -> None:
        """Of a name that its party has not used the password is anybody's again. One that has used it is
        admitted, by whatever ticket it gets.
        """
        entry = self._assessor.listed(reservation, listed)
        if entry is not None and entry.held == party and not self._is_in(reservation, party):
            self._facts.put(replace(entry, held=""))

    def retire(self, account: Account, work: Work) -> None:
        """The account is disabled: what it has opened is closed. Its tickets are good again with it."""
        work.disown(identity_of(account.login))
        for ticket in self._of_party.find(account.id).values():
            if ticket.revoked is None:
                work.disown(key_id(ticket))

    def forget(self, account: Account, work: Work) -> int:
        """The account is no more; how many tickets went with it."""
        self.retire(account, work)
        tickets = tuple(self._of_party.find(account.id).values())
        for ticket in tickets:
            self._vouchers.release(ticket.voucher, ticket.party)
            self._facts.drop(ticket)
        for entry in tuple(self._names_held.find(account.id).values()):
            admission = self._assessor.admission(entry.reservation, account.id)
            if admission is None or admission.evicted is None:  # who was put out does not come by a new name
                self._facts.put(replace(entry, held=""))
        return len(tickets)

    # Receivers

    def _issue(self, request: q.IssueTicket, work: Work) -> r.TicketView | Verify:
        reservation, account = self._wanted(request, work)
        if not request.password:
            return self._issued(request, work, "", work.now)
        if request.login and account != work.who.account:
            text = "a list's password is shown by who it was given to, not for somebody else"
            raise Problem("invalid", f"password: {text}", (FieldProblem("password", text),))
        name = fold(request.listed or account.login)
        entry = self._assessor.listed(reservation.id, name)
        verifier = "" if entry is None else entry.verifier
        tried, origin = tried_name(reservation.id, name), work.who.origin
        come_back = self._lock_out.refusal(tried, origin, work.now)
        if come_back is not None:
            self._remember(Refusal.LOCKED_OUT, reservation, work)
            self._be_silent(reservation, work)
            raise Problem("locked-out", "too many wrong passwords; wait before the next", come_back=come_back)
        self._lock_out.failed(tried, origin, work.now)

        def resume(right: bool, now: float) -> r.TicketView:
            now_listed = self._assessor.listed(reservation.id, name)
            if not right or not verifier or now_listed is None or now_listed.verifier != verifier:
                self._remember(Refusal.WRONG_PASSWORD, reservation, work)
                self._be_silent(reservation, work)
                raise Problem(
                    "not-admitted",
                    "the name is not on the list, or its password is another",
                    reason=Refusal.WRONG_PASSWORD.value,
                )
            self._lock_out.succeeded(tried, origin)
            return self._issued(request, work, name, now)

        password = SecretBytes(request.password.encode())
        return Verify(verifier or NOBODY, password, resume, lambda: self._lock_out.forgiven(tried, origin))

    def _wanted(self, request: q.IssueTicket, work: Work) -> tuple[Reservation, Account]:
        """The transmission and who the ticket is for, as they are now."""
        who = work.who
        reservation = self._facts.get(Reservation, request.id)
        if reservation is None:
            raise _unknown(request.id)
        owns = who.operates or (who.account is not None and who.account.id == reservation.owner)
        if not request.login:
            account = account_of(who)
        elif who.account is not None and self._accounts.by_login(request.login) == who.account:
            account = who.account
        elif owns:
            account = self._accounts.named(request.login)
            if request.most is not None:
                text = "only the receiver itself can agree to pay"
                raise Problem("invalid", f"most: {text}", (FieldProblem("most", text),))
        else:
            raise Problem("forbidden", "tickets for others are given by operators and by the sender")
        if reservation.cancelled is None and reservation.ends <= work.now:
            self._be_silent(reservation, work)
            raise Problem("conflict", "the transmission is over", reason=Refusal.CLOSED.value)
        return reservation, account

    def _issued(self, request: q.IssueTicket, work: Work, listed: str, now: float) -> r.TicketView:
        reservation, account = self._wanted(request, work)
        before = self.live(reservation.id, account.id)
        listed_before = "" if before is None else before.listed
        if listed:
            self._have(reservation, listed, account)
            if listed != listed_before:
                self._give_free(reservation.id, listed_before, account.id)
        listed = listed or listed_before
        most = Money(request.most.currency, request.most.amount) if request.most is not None else None
        if most is None and before is not None and before.currency:
            most = Money(before.currency, before.most)
        digest = self._voucher(request.voucher, reservation, account, work)
        held = "" if before is None else before.voucher
        receiver = Receiver(account.id, account, None, listed)
        vouchers = tuple(one for one in (digest, held) if one)
        found = self._assessor.assess(reservation, receiver, vouchers, () if most is None else (most,))
        if isinstance(found, Denial):
            raise self._refused(found, reservation, most, work)
        voucher = found.voucher or held
        if held and voucher != held:
            self._vouchers.release(held, account.id)
        if voucher:
            self._vouchers.hold(voucher, account.id)
        changed: dict[str, Any] = {
            "listed": listed,
            "voucher": voucher,
            "most": 0 if most is None else most.amount,
            "currency": "" if most is None else most.currency,
        }
        if before is None:
            ticket = replace(self._new(reservation, account.id, False, "", now), **changed)
            action = "ticket-issue"
        else:
            ticket, action = replace(before, **changed), "ticket-change"
        if ticket != before:
            self._facts.put(ticket)
            detail = {"ticket": ticket.id, "most": ticket.most, "currency": ticket.currency}
            self._audit.note(work.who.actor, action, reservation.id, now, party=account.id, **detail)
        else:
            self._note_read(ticket, work)
        return self._view(ticket, reservation, work)

    def _have(self, reservation: Reservation, listed: str, account: Account) -> None:
        """The name is this account's from now on. A password that has leaked lets one in, not everybody, one
        after the other neither: who was admitted remains so, and who was evicted remains out.
        """
        entry = self._assessor.listed(reservation.id, listed)
        assert entry is not None
        if entry.held not in ("", account.id):
            raise Problem(
                "conflict",
                f"{listed!r} of the list is somebody else's already: one name is one receiver",
                reason=Refusal.NOT_ON_LIST.value,
            )
        if not entry.held:
            self._facts.put(replace(entry, held=account.id))

    def _voucher(self, code: str, reservation: Reservation, account: Account, work: Work) -> str:
        """The digest of a code that this account may use; "" without a code. A wrong one is said at once,
        though there may be other ways in: who gave it wants it to be used.
        """
        if not code:
            return ""
        folded = voucher_codes.fold(code)
        digest = voucher_codes.digest(folded) if folded else ""
        admission = self._assessor.admission(reservation.id, account.id)
        if admission is not None and admission.refunded is None and admission.evicted is None:
            return ""  # nothing is needed any more
        if self._assessor.voucher(reservation.id, digest, account.id) is None:
            self._remember(Refusal.VOUCHER_INVALID, reservation, work)
            self._be_silent(reservation, work)
            text = "it is none of this transmission's, or was used, or is revoked"
            raise Problem(
                "not-admitted",
                f"voucher: {text}",
                (FieldProblem("voucher", text),),
                reason=Refusal.VOUCHER_INVALID.value,
            )
        return digest

    def _refused(self, found: Denial, reservation: Reservation, most: Money | None, work: Work) -> Problem:
        private = reservation.visibility == "private" and reservation.owner != work.who.actor
        if private and found.price is None and not work.who.operates:
            return _unknown(reservation.id)
        self._remember(found.refusal, reservation, work)
        text = found.detail if found.price is None else f"{found.detail}; the price is {found.price}"
        poor = found.refusal is Refusal.PAYMENT_REQUIRED and most is not None
        return Problem("payment-required" if poor else "not-admitted", text, reason=found.refusal.value)

    def _be_silent(self, reservation: Reservation, work: Work) -> None:
        """Problem ``not-found`` for a private transmission that the caller has nothing to do with: there is
        none, whatever it has tried.
        """
        actor = work.who.actor
        if reservation.visibility != "private" or work.who.operates or actor == reservation.owner:
            return
        admission = self._assessor.admission(reservation.id, actor)
        if admission is None and self.live(reservation.id, actor) is None:
            raise _unknown(reservation.id)

    def _remember(self, refusal: Refusal, reservation: Reservation, work: Work) -> None:
        actor = work.who.actor

        def act() -> None:
            self._audit.refusal(actor, "ticket-refuse", reservation.id, work.now, reason=refusal.value)

        work.even_if_refused(act)

    def _list(self, request: q.ListTickets, work: Work) -> r.Tickets:
        """Newest first."""
        mine = self._of_party.find(account_of(work.who).id).values()
        found = ((one, self._facts.get(Reservation, one.reservation)) for one in mine)
        rows = (
            (place(ticket.created, ticket.id), (ticket, reservation))
            for ticket, reservation in found
            if reservation is not None
            and not (request.live and (ticket.revoked or not schedule.is_live(reservation, work.now)))
        )
        shown, after = page(rows, request.after, request.limit, newest=True)
        return r.Tickets(tuple(self._view(*one, work, secret=False) for one in shown), after)

    def _show(self, request: q.ById, work: Work) -> r.TicketView:
        ticket, reservation = self._own(request.id, work)
        self._note_read(ticket, work)
        return self._view(ticket, reservation, work)

    def _note_read(self, ticket: Ticket, work: Work) -> None:
        """Who reads a secret, or looks at somebody else's ticket. A holder who looks at its own again and
        again leaves one line for all that it reads soon after another.
        """
        actor = work.who.actor
        mine = actor == ticket.party
        if mine and ticket.revoked is not None:
            return  # its secret is not shown
        if mine and self._reads.take(f"{actor} {ticket.id}", work.now) is not None:
            return
        self._audit.note(actor, "ticket-read", ticket.reservation, work.now, ticket=ticket.id)

    def _revoke(self, request: q.ById, work: Work) -> r.Nothing:
        ticket, reservation = self._own(request.id, work)
        if ticket.revoked is None:
            self.revoke(ticket, work)
            self._audit.note(work.who.actor, "ticket-revoke", reservation.id, work.now, ticket=ticket.id)
        return r.Nothing()

    def _own(self, id: str, work: Work) -> tuple[Ticket, Reservation]:
        """A ticket that is the caller's: its own, one for its reservation, or any for an operator."""
        ticket = self._facts.get(Ticket, id)
        reservation = None if ticket is None else self._facts.get(Reservation, ticket.reservation)
        if ticket is None or reservation is None:
            raise Problem("not-found", f"there is no ticket {id!r}")
        mine = "" if work.who.account is None else work.who.account.id
        if not work.who.operates and mine not in (ticket.party, reservation.owner):
            raise Problem("not-found", f"there is no ticket {id!r}")
        return ticket, reservation

    # Senders

    def _sender_ticket(self, request: q.SenderTicket, work: Work) -> r.TicketView:
        reservation = schedule.owned(self._facts, request.id, work.who)
        host = next((one for one in reservation.senders if one.label == request.label), None)
        if host is None:
            raise Problem("not-found", f"this reservation has no sender {request.label!r}")
        if host.identity:
            raise Problem(
                "conflict", f"{host.label} is known by its identity {host.identity} and needs no ticket"
            )
        if not schedule.is_live(reservation, work.now):
            raise Problem("conflict", "the reservation is over")
        ticket = self._live((reservation.id, reservation.owner, True, host.label))
        if ticket is None:
            ticket = self._new(reservation, reservation.owner, True, host.label, work.now)
            self._facts.put(ticket)
            detail = {"ticket": ticket.id, "label": host.label}
            self._audit.note(work.who.actor, "sender-ticket", reservation.id, work.now, **detail)
        else:
            self._note_read(ticket, work)
        return self._view(ticket, reservation, work)

    # Both

    def _live(self, purpose: tuple[str, str, bool, str]) -> Ticket | None:
        return next((one for one in self._held.find(purpose).values() if one.revoked is None), None)

    def _new(self, reservation: Reservation, party: str, sends: bool, label: str, now: float) -> Ticket:
        old = sorted(self._held.find((reservation.id, party, sends, label)).values(), key=lambda t: t.created)
        for ticket in old[: max(0, len(old) - REVOKED_KEPT + 1)]:
            self._facts.drop(ticket)
        id = new_id("t-", self._rng, 20)
        secret = SecretBytes(self._rng(SECRET_OCTETS))
        return Ticket(id, secret, reservation.id, party, label, sends, "", "", 0, "", now, None)

    def _view(
        self, ticket: Ticket, reservation: Reservation, work: Work, *, secret: bool = True
    ) -> r.TicketView:
        """The secret is for the holder, and for operators who hand tickets out. A sender does not see it:
        who has it spends what the holder has agreed to.
        """
        shown = secret and ticket.revoked is None and (work.who.operates or work.who.actor == ticket.party)
        admission = None if ticket.sends else self._assessor.admission(reservation.id, ticket.party)
        return r.TicketView(
            ticket.id,
            self._shows(reservation, work.who, work.now),
            ticket.sends,
            ticket.label,
            ticket.secret.reveal().hex() if shown else "",
            ticket_file(ticket, reservation, self._settings) if shown else "",
            ticket.created,
            ticket.revoked,
            None if admission is None else admission.at,
        )


def key_id(ticket: Ticket) -> Identity:
    return Identity(IdentityKind.KEY_ID, ticket.id.encode("ascii"))


def tried_name(reservation: str, name: str) -> str:
    """As which the lock-out knows a name of a list; no login has this form."""
    return f"{OF_LIST}{reservation}/{name}"


def _purpose(ticket: Ticket) -> tuple[str, str, bool, str]:
    return (ticket.reservation, ticket.party, ticket.sends, ticket.label)


def _unknown(id: str) -> Problem:
    return Problem("not-found", f"there is no transmission {id!r}, or what you have shown does not open it")
