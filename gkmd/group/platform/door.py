"""The door: who is admitted to a reserved transmission, what that costs, and what is remembered of it.

``decide`` looks and changes nothing; ``admitted`` makes admission and charge one set of changes, which the
journal takes with the member as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from gkmd.api.names_csv import fold
from gkmd.api.problem import Problem
from gkmd.core.change import Change
from gkmd.core.effect import Ask, AskPassword, Proof
from gkmd.core.identity import Identity, IdentityKind, IdentityPattern
from gkmd.core.money import Money
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import NOBODY
from gkmd.group.doorkeeper import PasswordCheck, PasswordVerdict
from gkmd.group.model import GroupPolicy, Refusal, Refused, SenderRule, Verdict
from gkmd.group.platform import voucher_codes
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.accounts import fold as fold_login
from gkmd.group.platform.assessment import Assessor, Receiver
from gkmd.group.platform.audit import STRANGER, Audit
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.entitlement import Denial, Entitlement
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.parties import OF_ACCOUNT, OF_LIST, Parties, identity_of, name_in
from gkmd.group.platform.records import Admission, Reservation, Ticket, Voucher
from gkmd.group.platform.refusal_log import RefusalLog
from gkmd.group.platform.statistics import StatisticsBook
from gkmd.group.platform.tickets import Tickets, tried_name

_SENDERS_NOTED: Final = 4096


@dataclass(frozen=True, slots=True)
class _Granted:
    """The note of ``decide`` to ``admitted``. ``name``: of the party that is to be made when there is none:
    reservation and name.
    """

    reservation: Reservation
    receiver: Receiver
    name: tuple[str, str]
    entitlement: Entitlement


@dataclass(frozen=True, slots=True)
class _Done:
    """What the last ``admitted`` has done, to be undone in the same turn."""

    ask: Ask
    reservation: Reservation
    admission: Admission
    voucher: Voucher | None  # as it was


class Door:
    """``policy`` makes the policy of a reservation's group."""

    def __init__(
        self,
        facts: Facts,
        audit: Audit,
        accounts: Accounts,
        parties: Parties,
        tickets: Tickets,
        assessor: Assessor,
        billing: Billing,
        statistics: StatisticsBook,
        lock_out: LockOut,
        policy: Callable[[Reservation], GroupPolicy],
    ) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._parties: Final = parties
        self._tickets: Final = tickets
        self._assessor: Final = assessor
        self._billing: Final = billing
        self._statistics: Final = statistics
        self._lock_out: Final = lock_out
        self._policy: Final = policy
        self._refusals: Final = RefusalLog(audit)
        self._senders_noted: dict[tuple[str, Identity], None] = {}
        self._last: _Done | None = None

    # Groups

    def knows(self, group: str) -> bool:
        return self._facts.get(Reservation, group) is not None

    def policy_of(self, group_id: Identity) -> GroupPolicy | None:
        reservation = self._reservation(group_id)
        return None if reservation is None else self._policy(reservation)

    def sender(self, group: str, identity: Identity) -> SenderRule | None:
        """By a live ticket for one of its labels, or by the identity of one of its hosts."""
        reservation = self._facts.get(Reservation, group)
        if reservation is None or reservation.cancelled is not None:
            return None
        ticket = self._tickets.find(identity)
        if ticket is not None:
            return None if ticket.revoked is not None else self._host_of(reservation, ticket, identity)
        for host in reservation.senders:
            if host.identity:
                pattern = IdentityPattern.parse(host.identity)
                if pattern.matches(identity):
                    return SenderRule(pattern, host.source)
        return None

    def _host_of(self, reservation: Reservation, ticket: Ticket, identity: Identity) -> SenderRule | None:
        if not ticket.sends or ticket.reservation != reservation.id:
            return None
        for host in reservation.senders:
            if host.label == ticket.label and not host.identity:
                return SenderRule(IdentityPattern(str(identity)), host.source)
        return None

    def _reservation(self, group_id: Identity) -> Reservation | None:
        if group_id.kind != IdentityKind.KEY_ID or len(group_id.data) > 100:
            return None
        return self._facts.get(Reservation, group_id.data.decode("utf-8", "replace"))

    # Tickets and passwords

    def secret_of(self, identity: Identity) -> SecretBytes | None:
        """Of a revoked ticket, too: inside its own IKE SA its holder is told that it is; it opens nothing."""
        ticket = self._tickets.find(identity)
        return None if ticket is None else ticket.secret

    def withdrawn(self, identity: Identity, grounds: str) -> str:
        """Of a name the grounds say whose it is: an account may have the name that a list has."""
        ticket = self._tickets.find(identity)
        if ticket is not None and ticket.revoked is not None:
            return "the ticket was revoked"
        if ticket is None and not name_in(identity):
            return "there is no such ticket"
        if ticket is None and not grounds.startswith(OF_ACCOUNT):
            return ""
        account = self._accounts.get(grounds.removeprefix(OF_ACCOUNT) if ticket is None else ticket.party)
        return "the account is disabled, or is no more" if account is None or account.disabled else ""

    def password_of(self, ask: AskPassword, now: float) -> PasswordCheck:
        """The list's password for this name, else that of the account with this login.

        Until ``password_tried`` it counts as wrong for its name, so that many attempts at once are many. For
        the address it does not: a thousand receivers may be behind one.
        """
        tried, verifier, grounds, identity = self._verifier(ask)
        come_back = self._lock_out.refusal(tried, str(ask.address), now)
        if come_back is not None:
            return PasswordCheck(NOBODY, False, Refusal.LOCKED_OUT, come_back)
        self._lock_out.failed(tried, "", now)
        if not verifier:
            return PasswordCheck(NOBODY, False)
        return PasswordCheck(verifier, True, grounds=grounds, identity=identity)

    def _verifier(self, ask: AskPassword) -> tuple[str, str, str, Identity]:
        """The name for the lock-out, the verifier ("" when there is none), what the password is of, and the
        one form of the name.
        """
        name, reservation = name_in(ask.identity), self._reservation(ask.group_id)
        folded = fold(name)
        if reservation is None or not name:
            # No account's password opens a group of the configuration; what is tried there is counted, too.
            return tried_name("", folded), "", "", ask.identity
        entry = self._assessor.listed(reservation.id, folded)
        if entry is not None and entry.verifier:
            grounds = OF_LIST + reservation.id
            return tried_name(reservation.id, folded), entry.verifier, grounds, identity_of(folded)
        account = self._accounts.by_login(name)
        if account is None:
            return fold_login(name), "", "", ask.identity
        verifier = account.password.reveal().decode("ascii")
        return account.login, verifier, OF_ACCOUNT + account.id, identity_of(account.login)

    def password_tried(self, ask: AskPassword, verdict: PasswordVerdict, now: float) -> tuple[Change, ...]:
        tried, origin = self._verifier(ask)[0], str(ask.address)
        if verdict.refusal is not Refusal.LOCKED_OUT:
            self._lock_out.forgiven(tried, "")
        if verdict.refusal in (None, Refusal.WRONG_PASSWORD):
            self._lock_out.failed(tried, origin, now)
        if verdict.refusal is None:
            self._lock_out.succeeded(tried, origin)
        else:
            reservation = self._reservation(ask.group_id)
            if reservation is not None:
                self._refuse(reservation.id, STRANGER, verdict.refusal, now)
        return self._facts.commit()

    # Admission

    def decide(self, ask: Ask, policy: GroupPolicy, now: float) -> Verdict:
        reservation = self._facts.get(Reservation, policy.name)
        if reservation is None:
            return Verdict(Refusal.UNKNOWN_GROUP)
        verdict = self._decided(reservation, ask)
        if verdict.refusal is None or reservation.visibility != "private":
            return verdict
        # Who has a ticket, or a password of the list, knows it.
        stranger = ask.proof is not Proof.TICKET and ask.grounds != OF_LIST + reservation.id
        admitted = self._assessor.admission(reservation.id, self._parties.of(reservation.id, ask) or "")
        return replace(verdict, hidden=stranger and admitted is None)

    def _decided(self, reservation: Reservation, ask: Ask) -> Verdict:
        found = self._candidate(reservation, ask)
        if isinstance(found, Verdict):
            return found
        receiver, ticket, name = found
        if ask.wants_to_send:
            return self._sending(reservation, receiver, ask, name)
        vouchers, consents = _evidence(ask, ticket)
        entitlement = self._assessor.assess(reservation, receiver, vouchers, consents)
        if isinstance(entitlement, Denial):
            return Verdict(entitlement.refusal, detail=entitlement.detail, price=entitlement.price)
        granted = _Granted(reservation, receiver, name, entitlement)
        return Verdict(None, receives=True, price=entitlement.price, entitlement=granted)

    def _candidate(
        self, reservation: Reservation, ask: Ask
    ) -> tuple[Receiver, Ticket | None, tuple[str, str]] | Verdict:
        """Who asks, by what it has proved."""
        if ask.proof is Proof.TICKET:
            ticket = self._tickets.find(ask.identity)
            if ticket is None:
                return Verdict(Refusal.NOT_AUTHORIZED, detail="there is no such ticket")
            if ticket.reservation != reservation.id:
                return Verdict(Refusal.NOT_AUTHORIZED, detail="the ticket is for another transmission")
            if reservation.cancelled is not None:
                return Verdict(Refusal.CANCELLED, detail="the transmission was cancelled")
            account = self._accounts.get(ticket.party)
            if ticket.revoked is not None or account is None:
                return Verdict(Refusal.REVOKED, detail="the ticket was revoked")
            if ticket.sends is not ask.wants_to_send:
                what = "sending" if ticket.sends else "receiving"
                return Verdict(Refusal.NOT_AUTHORIZED, detail=f"the ticket is for {what}")
            return Receiver(account.id, account, None, ticket.listed), ticket, ("", "")
        if ask.proof is Proof.CONFIGURED:
            text = str(ask.identity)
            return Receiver(self._parties.known("", text), None, ask.identity), None, ("", text)
        account = self._parties.account_of(ask)
        if account is not None:
            if account.totp is not None:
                detail = "this account asks for a one-time code beside the password: use a ticket"
                return Verdict(Refusal.NOT_AUTHORIZED, detail=detail)
            return Receiver(account.id, account), None, ("", "")
        if ask.grounds != OF_LIST + reservation.id:
            return Verdict(Refusal.NOT_AUTHORIZED, detail="the password that was shown is not one for this")
        name = fold(name_in(ask.identity))
        known = self._parties.known(reservation.id, name)
        return Receiver(known, None, None, name), None, (reservation.id, name)

    def _sending(
        self, reservation: Reservation, receiver: Receiver, ask: Ask, name: tuple[str, str]
    ) -> Verdict:
        """A sender pays nothing, and is no receiver."""
        if reservation.cancelled is not None:
            return Verdict(Refusal.CANCELLED, detail="the transmission was cancelled")
        if receiver.account is not None and receiver.account.disabled:
            return Verdict(Refusal.REVOKED, detail="the account is disabled")
        # A password proves no host: its name may be that of one.
        if ask.proof is Proof.PASSWORD or self.sender(reservation.id, ask.identity) is None:
            return Verdict(Refusal.NOT_AUTHORIZED, detail="may not send")
        granted = _Granted(reservation, receiver, name, Entitlement(()))
        return Verdict(None, sends=True, entitlement=granted)

    def admitted(self, ask: Ask, verdict: Verdict, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        """A registration that is repeated changes nothing but the number of who is there."""
        self._last = None
        granted = verdict.entitlement
        if not isinstance(granted, _Granted) or granted.reservation.id != policy.name:
            raise Refused(Refusal.NOT_AUTHORIZED, "nothing was decided about it")
        if verdict.sends:
            self._note_sender(granted, ask, now)
        else:
            self._admit(granted, ask, now)
        return self._facts.commit()

    def _note_sender(self, granted: _Granted, ask: Ask, now: float) -> None:
        key = (granted.reservation.id, ask.identity)
        if key in self._senders_noted:
            return
        if len(self._senders_noted) >= _SENDERS_NOTED:
            self._senders_noted.clear()
        self._senders_noted[key] = None
        party = granted.receiver.party or self._parties.make(*granted.name, now)
        self._audit.note(party, "admit", granted.reservation.id, now, role="sender")

    def _admit(self, granted: _Granted, ask: Ask, now: float) -> None:
        reservation, receiver, found = granted.reservation, granted.receiver, granted.entitlement
        party = receiver.party or self._parties.known(*granted.name)  # by now it may be known
        before = self._assessor.admission(reservation.id, party)
        if before is not None and before.refunded is None and before.evicted is None:
            self._statistics.admitted(reservation.id, False, now)
            return
        if not found.ways or (before is not None and before.evicted is not None):
            raise Refused(Refusal.REVOKED, "the admission was taken back meanwhile")
        # What ``decide`` has seen may be gone: looked at again before anything changes.
        voucher = self._assessor.voucher(reservation.id, found.voucher, party) if found.voucher else None
        if found.voucher and voucher is None:
            raise Refused(Refusal.VOUCHER_INVALID, "the voucher was used meanwhile")
        party = party or self._parties.make(*granted.name, now)
        try:
            admission = self._billing.admit(reservation, party, found.by, found.price, now)
        except Problem as problem:
            raise Refused(Refusal.PAYMENT_REQUIRED, problem.detail) from None
        if voucher is not None:
            self._facts.put(replace(voucher, held=party, used=now))
        self._statistics.admitted(reservation.id, before is None, now)
        paid = {"amount": admission.amount, "currency": admission.currency} if admission.currency else {}
        self._audit.note(party, "admit", reservation.id, now, by=found.by, **paid)
        self._last = _Done(ask, reservation, admission, voucher)

    def undone(self, ask: Ask, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        """A repeated registration has nothing to undo."""
        done, self._last = self._last, None
        if done is None or done.ask is not ask:
            return self._facts.commit()
        if done.admission.amount:
            self._billing.refund(done.reservation, done.admission, "undone", now)
        else:
            # Kept, as when it was paid for: who comes again is not counted as another receiver.
            self._facts.put(replace(done.admission, refunded=now))
        if done.voucher is not None:
            self._facts.put(done.voucher)
        self._audit.note("gkmd", "undo", done.reservation.id, now, party=done.admission.party)
        return self._facts.commit()

    def refused(self, ask: Ask, verdict: Verdict, now: float) -> tuple[Change, ...]:
        reservation = self._reservation(ask.group_id)
        if reservation is not None and verdict.refusal is not None:
            actor = self._parties.of(reservation.id, ask) or STRANGER
            self._refuse(reservation.id, actor, verdict.refusal, now)
        return self._facts.commit()

    def _refuse(self, reservation: str, actor: str, refusal: Refusal, now: float) -> None:
        self._statistics.refused(reservation, refusal.value, now)
        self._refusals.note(actor, reservation, refusal.value, now)

    def gone(self, group: str, identities: Iterable[Identity], now: float) -> tuple[Change, ...]:
        self._statistics.gone(group, now)
        return self._facts.commit()

    def rekeyed(self, group: str, now: float) -> None:
        self._statistics.rekeyed(group, now)

    # Time

    def tick(self, now: float) -> None:
        """The facts that come of it are the caller's to commit."""
        self._refusals.tick(now)

    def deadline(self) -> float | None:
        return self._refusals.deadline()


def _evidence(ask: Ask, ticket: Ticket | None) -> tuple[tuple[str, ...], tuple[Money, ...]]:
    """Vouchers and consents that were shown: those of the ticket first, and those that came with the request.
    The larger consent counts, so neither takes anything from the other.
    """
    vouchers: tuple[str, ...] = ()
    consents: tuple[Money, ...] = ()
    if ticket is not None:
        if ticket.voucher:
            vouchers = (ticket.voucher,)
        if ticket.currency:
            consents = (Money(ticket.currency, ticket.most),)
    if ask.evidence is not None:
        if ask.evidence.voucher:
            code = voucher_codes.fold(ask.evidence.voucher)
            vouchers += (voucher_codes.digest(code) if code else "",)
        if ask.evidence.most is not None:
            consents += (ask.evidence.most,)
    return vouchers, consents
