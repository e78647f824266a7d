"""The door with real accounts, books and audit, and a journal that takes one commit as one transaction.

Reservations and groups are stand-ins: a test says what there is.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from platform_rig import CHEAP, right
from reservation_record import reservation

from gkmd.api import requests as q
from gkmd.api.problem import Problem
from gkmd.core.change import Change, MemberRecord, Put
from gkmd.core.effect import Ask, AskPassword, Proof
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.money import Money
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import hash_password
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import GroupPolicy, Left, Refusal, Verdict
from gkmd.group.platform import voucher_codes
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.assessment import Assessor
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.door import Door
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ledger import CASH, Ledger, balance_of
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.once import Once
from gkmd.group.platform.outcome import Verify
from gkmd.group.platform.parties import Parties, identity_of
from gkmd.group.platform.receivers import Receivers
from gkmd.group.platform.records import (
    ARCHIVED,
    Account,
    Admission,
    AuditLine,
    Entry,
    ListedName,
    Posting,
    Reservation,
    Ticket,
    Voucher,
    VoucherBatch,
)
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.sign_in import new_account
from gkmd.group.platform.tickets import Tickets
from gkmd.group.platform.vouchers import Vouchers
from gkmd.group.platform.work import Who, Work

NOW = 1_790_000_000.0
HOST = ipaddress.ip_address("192.0.2.7")
OPEN = {"open": True}
NAMES = {"names": True}
VOUCHERS = {"vouchers": True}
PRICE = {"price": {"amount": 250, "currency": "EUR"}}
PASSWORD = SecretBytes(b"correct horse")
VERIFIER = hash_password(PASSWORD, SeededRng("verifier"), CHEAP)
SETTINGS = PlatformSettings(
    server_identity="fqdn:gcks.example", server_addresses=(ipaddress.ip_address("192.0.2.1"),)
)


def talk(admission: dict[str, Any], **changed: Any) -> Reservation:
    """It begins in ten minutes."""
    return reservation(NOW + 600, **{"admission": admission, "created": NOW} | changed)


class CountingBook:
    """Statistics that only count."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def admitted(self, reservation: str, new: bool, now: float) -> None:
        self.calls.append(("admitted", reservation, new))

    def refused(self, reservation: str, reason: str, now: float) -> None:
        self.calls.append(("refused", reservation, reason))

    def gone(self, reservation: str, now: float) -> None:
        self.calls.append(("gone", reservation))

    def rekeyed(self, reservation: str, now: float) -> None:
        self.calls.append(("rekeyed", reservation))


class Members:
    """Groups that have members and forget them."""

    def __init__(self) -> None:
        self.rows: dict[str, list[MemberRecord]] = {}
        self.dropped: list[tuple[str, Identity]] = []
        self.excluded: list[str] = []

    def holds(self, name: str) -> bool:
        return name in self.rows

    def members(self, name: str) -> tuple[MemberRecord, ...]:
        return tuple(self.rows[name])

    def add(self, name: str, identity: Identity) -> None:
        self.rows.setdefault(name, []).append(
            MemberRecord(name, identity, True, False, HOST, (), NOW, b"12345678")
        )

    def drop_member(self, name: str, identity: Identity, now: float) -> Left:
        self.rows[name] = [row for row in self.rows[name] if row.identity != identity]
        self.dropped.append((name, identity))
        return Left((), ())

    def exclude(self, name: str, now: float) -> Left:
        self.excluded.append(name)
        return Left((), ())


class DoorRig:
    """``journal`` has what was written; ``restart`` knows nothing else."""

    def __init__(self, seed: int | str = 0) -> None:
        self.rng = SeededRng(seed)
        self.now = NOW
        self.journal: dict[tuple[str, str], Any] = {}
        self.transactions: list[tuple[Change, ...]] = []
        self.groups = Members()
        self.number = 0
        self.restart()

    def restart(self) -> None:
        archived = {kind.KIND for kind in ARCHIVED}
        facts = [fact for (kind, _), fact in self.journal.items() if kind not in archived]
        last = {kind: self.stored(kind)[-1:] for kind in ARCHIVED}
        self.facts = Facts(facts, ARCHIVED)
        self.audit = Audit(self.facts, *last[AuditLine])
        self.accounts = Accounts(self.facts, self.rng)
        self.ledger = Ledger(self.facts, last[Entry][0] if last[Entry] else None)
        self.billing = Billing(self.facts, SETTINGS, self.ledger, self.audit)
        self.book = CountingBook()
        self.lock_out = LockOut()
        self.parties = Parties(self.facts, SETTINGS, self.accounts, self.rng)
        self.assessor = Assessor(self.facts, self.billing)
        self.vouchers = Vouchers(self.facts, self.audit, Once(self.facts), self.rng)
        self.tickets = Tickets(
            self.facts,
            SETTINGS,
            self.audit,
            self.accounts,
            self.assessor,
            self.vouchers,
            self.lock_out,
            lambda reservation, who, now: reservation.id,  # type: ignore[arg-type,return-value]
            self.rng,
        )
        book: Any = self.book
        self.receivers = Receivers(self.facts, self.audit, self.billing, self.parties, self.tickets)
        self.receivers.use(self.groups)  # type: ignore[arg-type]
        self.door = Door(
            self.facts,
            self.audit,
            self.accounts,
            self.parties,
            self.tickets,
            self.assessor,
            self.billing,
            book,
            self.lock_out,
            policy,
        )
        self.handlers = {
            **self.tickets.operations(),
            **self.vouchers.operations(),
            **self.receivers.operations(),
        }

    # The journal

    def write(self, changes: tuple[Change, ...]) -> None:
        self.transactions.append(changes)
        for change in changes:
            if isinstance(change, Put):
                self.journal[change.fact.KIND, change.fact.key] = change.fact
            else:
                del self.journal[change.kind, change.key]  # type: ignore[union-attr]

    def put(self, *facts: Any) -> None:
        for fact in facts:
            self.facts.put(fact)
        self.write(self.facts.commit())

    def stored(self, kind: Any) -> list[Any]:
        return [fact for (name, _), fact in sorted(self.journal.items()) if name == kind.KIND]

    # What there is

    def reserve(self, admission: dict[str, Any], name: str = "talk", **changed: Any) -> Reservation:
        made = talk(admission, id=name, **changed)
        self.put(made)
        return made

    def change(self, name: str = "talk", **changed: Any) -> None:
        found = self.facts.get(Reservation, name)
        assert found is not None
        self.put(replace(found, version=found.version + 1, **changed))

    def user(self, login: str, money: int = 0, **changed: Any) -> Account:
        made = new_account(f"a-{login}", login, "", NOW, VERIFIER, confirmed=True)
        self.put(replace(made, **changed))
        if money:
            self.pay(login, money)
        return self.account(login)

    def account(self, login: str) -> Account:
        found = self.accounts.by_login(login)
        assert found is not None
        return found

    def pay(self, login: str, money: int, currency: str = "EUR") -> None:
        postings = (Posting(CASH, money), Posting(balance_of(f"a-{login}"), -money))
        self.ledger.post("deposit", f"deposit:{self.number}", currency, postings, self.now)
        self.number += 1
        self.write(self.facts.commit())

    def listed(self, name: str, verifier: str = VERIFIER, where: str = "talk") -> None:
        self.put(ListedName(where, name, verifier))

    def code(self, where: str = "talk", **changed: Any) -> str:
        """A voucher's code."""
        (code,) = voucher_codes.make(self.rng, 1)
        batch = VoucherBatch(f"b-{where}", "a-tx", where, 0, "", 1, NOW, None)
        self.put(replace(batch, **changed), Voucher(digest(code), batch.id, "", None))
        return code

    # Operations

    def who(self, login: str = "") -> Who:
        if not login:
            return Who("unix:0", None, frozenset({"operator"}), None, "")
        account = self.account(login)
        return Who(account.id, account, frozenset(account.roles), None, "192.0.2.9")

    def do(self, operation: str, request: Any, login: str = "") -> Any:
        """The result; what was changed is journalled. Raises Problem, and then nothing has changed."""
        self.work = Work(self.who(login), self.now)
        try:
            found = self.handlers[operation](request, self.work)
            while isinstance(found, Verify):
                found = found.resume(right(found.verifier, found.password), self.now)
        except Problem:
            self.facts.rollback()
            for act in self.work.remains:
                act()
            self.write(self.facts.commit())
            raise
        self.write((*self.work.changes, *self.facts.commit()))
        return found

    # Registrations

    def ask(self, identity: Identity, where: str = "talk", **more: Any) -> Ask:
        self.number += 1
        fields = {"wants_to_send": False, "sender_ids": 0} | more
        return Ask(self.number, identity, group_id(where), HOST, **fields)

    def by_ticket(self, id: str, where: str = "talk", **more: Any) -> Ask:
        return self.ask(Identity(IdentityKind.KEY_ID, id.encode()), where, proof=Proof.TICKET, **more)

    def tried(
        self, name: str, password: SecretBytes = PASSWORD, where: str = "talk"
    ) -> tuple[AskPassword, PasswordVerdict]:
        """Everything that happens to a password; the verdict is what the IKE SA is told."""
        ask = AskPassword(1, identity_of(name), group_id(where), HOST, password)
        check = self.door.password_of(ask, self.now)
        if check.refusal is not None:
            verdict = PasswordVerdict(check.refusal, check.come_back)
        elif right(check.verifier, password) and check.known:
            verdict = PasswordVerdict(None, grounds=check.grounds)
        else:
            verdict = PasswordVerdict(Refusal.WRONG_PASSWORD)
        self.write(self.door.password_tried(ask, verdict, self.now))
        return ask, verdict

    def by_password(self, name: str, where: str = "talk", **more: Any) -> Ask:
        _, verdict = self.tried(name, where=where)
        assert verdict.refusal is None, verdict
        return self.ask(identity_of(name), where, proof=Proof.PASSWORD, grounds=verdict.grounds, **more)

    def decide(self, ask: Ask) -> Verdict:
        return self.door.decide(ask, policy_named(ask), self.now)

    def register(self, ask: Ask) -> Verdict:
        """Decide, and admit or refuse; journalled."""
        verdict = self.decide(ask)
        if verdict.refusal is None:
            self.write(self.door.admitted(ask, verdict, policy_named(ask), self.now))
        else:
            self.write(self.door.refused(ask, verdict, self.now))
        return verdict

    # What came of it

    def admissions(self, where: str = "talk") -> list[Admission]:
        return [one for one in self.stored(Admission) if one.reservation == where]

    def entries(self, kind: str) -> list[Entry]:
        return [one for one in self.stored(Entry) if one.kind == kind]

    def balance(self, login: str, currency: str = "EUR") -> int:
        return self.billing.balance(f"a-{login}", currency)

    def audited(self, action: str) -> list[AuditLine]:
        return [line for line in self.stored(AuditLine) if line.action == action]

    def live_tickets(self) -> list[Ticket]:
        return [ticket for ticket in self.stored(Ticket) if ticket.revoked is None]


def group_id(where: str) -> Identity:
    return Identity(IdentityKind.KEY_ID, where.encode())


def policy(reservation: Reservation) -> GroupPolicy:
    group = Identity(IdentityKind.KEY_ID, reservation.id.encode())
    return GroupPolicy(reservation.id, group, reservation.address, reservation.address)


def policy_named(ask: Ask) -> GroupPolicy:
    address = ipaddress.ip_address("239.192.0.1")
    return GroupPolicy(ask.group_id.data.decode(), ask.group_id, address, address)


def digest(code: str) -> str:
    return voucher_codes.digest(voucher_codes.fold(code))


def agreed(amount: int, currency: str = "EUR", voucher: str = "") -> Evidence:
    return Evidence(voucher, Money(currency, amount))


def ticket(rig: DoorRig, login: str, where: str = "talk", **more: object) -> str:
    """The id of a new ticket of this user, who is made when there is none."""
    if rig.accounts.by_login(login) is None:
        rig.user(login)
    view = rig.do("ticket-issue", q.IssueTicket(where, **more), login)  # type: ignore[arg-type]
    return str(view.id)
