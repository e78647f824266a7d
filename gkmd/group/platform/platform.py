"""The platform as a whole: what the daemon makes, asks and ticks. Its parts are put together here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gkmd.api.operations import Operation
from gkmd.api.problem import Problem
from gkmd.core.change import Change, Fact
from gkmd.core.effect import Ask, AskPassword
from gkmd.core.identity import Identity
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.group.directory import Directory
from gkmd.group.doorkeeper import PasswordCheck, PasswordVerdict
from gkmd.group.model import GroupPolicy, Left, SenderRule, Verdict
from gkmd.group.platform.access import Access
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.assessment import Assessor
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.balances import Balances
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.catalogue import Catalogue
from gkmd.group.platform.door import Door
from gkmd.group.platform.execution import Execution
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.forget import Forget
from gkmd.group.platform.ledger import Ledger
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.members import GroupMembers
from gkmd.group.platform.names import Names
from gkmd.group.platform.once import Once
from gkmd.group.platform.one_time_codes import OneTimeCodes
from gkmd.group.platform.outcome import Call, Caller, Failed, Outcome
from gkmd.group.platform.parties import Parties
from gkmd.group.platform.passkeys import Passkeys
from gkmd.group.platform.payments import Payments
from gkmd.group.platform.receivers import Receivers
from gkmd.group.platform.records import ARCHIVED, AuditLine, Entry
from gkmd.group.platform.refusals import Refusals
from gkmd.group.platform.reservations import Reservations
from gkmd.group.platform.sessions import Sessions
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.sign_in import SignIn
from gkmd.group.platform.statement import Statements
from gkmd.group.platform.statistics import StatisticsBook
from gkmd.group.platform.tickets import Tickets
from gkmd.group.platform.tokens import Tokens
from gkmd.group.platform.users import Users
from gkmd.group.platform.value_vouchers import ValueVouchers
from gkmd.group.platform.vouchers import Vouchers
from gkmd.group.platform.work import Handler, Handlers

SWEEP: Final = 60.0  # seconds between two looks for what is over


class Platform:
    """The directory's ``Doorkeeper``, and the one that carries out the operations of the API.

    ``facts`` are those that the journal keeps in memory, ``last`` the newest of each archived kind. Made in
    two steps: first the platform, then the directory with it, then ``use(directory)``. ``extra`` are
    operations that the daemon itself answers.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        facts: Iterable[Fact],
        last: Iterable[Fact],
        rng: Rng,
        now: float,
        extra: Handlers | None = None,
    ) -> None:
        newest = {fact.KIND: fact for fact in last}
        line, entry = newest.get(AuditLine.KIND), newest.get(Entry.KIND)
        assert line is None or isinstance(line, AuditLine)
        assert entry is None or isinstance(entry, Entry)
        self.facts: Final = Facts(facts, ARCHIVED)

        self.accounts: Final = Accounts(self.facts, rng)
        self.parties: Final = Parties(self.facts, settings, self.accounts, rng)
        self.audit: Final = Audit(self.facts, line, self.parties.name_of)
        self.refusals: Final = Refusals(self.facts, self.audit)
        self.once: Final = Once(self.facts)
        self.lock_out: Final = LockOut()
        self.access: Final = Access(self.facts, settings, self.accounts)
        self.sessions: Final = Sessions(self.facts, settings, self.audit, self.access, rng)
        self.sign_in: Final = SignIn(settings, self.audit, self.accounts, self.sessions, self.lock_out)
        self.tokens: Final = Tokens(self.facts, self.audit, rng)

        self.ledger: Final = Ledger(self.facts, entry)
        self.billing: Final = Billing(self.facts, settings, self.ledger, self.audit)
        balances = Balances(self.facts, self.accounts, self.ledger, self.billing, self.audit)
        self.payments: Final = Payments(
            self.facts, settings, self.ledger, balances, self.audit, self.once, rng
        )

        self.names: Final = Names(self.facts, self.audit, rng)
        self.statistics: Final = StatisticsBook(self.facts, self.billing)
        self.reservations: Final = Reservations(
            self.facts, settings, self.audit, self.accounts, self.once, self.billing, self.names, rng, now
        )
        catalogue = Catalogue(self.facts, settings, self.accounts, self.names)
        self.members: Final = GroupMembers(self.parties)

        assessor = Assessor(self.facts, self.billing)
        vouchers = Vouchers(self.facts, self.audit, self.once, rng)
        self.tickets: Final = Tickets(
            self.facts,
            settings,
            self.audit,
            self.accounts,
            assessor,
            vouchers,
            self.lock_out,
            catalogue.shows,
            rng,
        )
        self.receivers: Final = Receivers(self.facts, self.audit, self.billing, self.parties, self.tickets)
        self.door: Final = Door(
            self.facts,
            self.audit,
            self.accounts,
            self.parties,
            self.tickets,
            assessor,
            self.billing,
            self.statistics,
            self.lock_out,
            self.reservations.policy,
        )
        users = Users(
            self.audit, self.accounts, self.sessions, self.tokens, self.lock_out, self.tickets.retire
        )

        handlers: dict[str, Handler] = {}
        for part in (
            self.audit,
            self.refusals,
            self.sessions,
            self.sign_in,
            OneTimeCodes(self.audit, self.accounts, self.sign_in, rng),
            Passkeys(self.audit, self.accounts, self.sessions, rng),
            self.tokens,
            users,
            Forget(
                self.facts,
                self.audit,
                self.accounts,
                self.sessions,
                self.tokens,
                self.tickets,
                self.ledger,
                self.once,
                self.lock_out,
            ),
            self.ledger,
            balances,
            self.payments,
            ValueVouchers(self.facts, self.ledger, balances, self.audit, self.once, rng),
            Statements(self.reservations, self.billing, self.audit, self.parties.name_of),
            self.names,
            self.statistics,
            self.reservations,
            catalogue,
            self.members,
            vouchers,
            self.tickets,
            self.receivers,
        ):
            handlers.update(part.operations())
        handlers.update(extra or {})
        self._execution: Final = Execution(self.facts, self.access, self.audit, self.refusals, handlers)
        self._adopting: Final = (
            self.parties,
            self.access,
            self.sessions,
            self.sign_in,
            self.payments,
            self.reservations,
            catalogue,
            self.tickets,
        )
        self._next_sweep = now

    def use(self, directory: Directory) -> None:
        """The groups that reservations are carried out by. Before ``start`` and ``execute``."""
        for part in (self.reservations, self.statistics, self.receivers, self.members):
            part.use(directory)

    def adopt(self, settings: PlatformSettings) -> None:
        """The operator has changed the configuration."""
        for part in self._adopting:
            part.adopt(settings)

    def execute(self, call: Call, now: float) -> Outcome:
        """Never raises Problem: a refusal is Failed."""
        return self._execution.execute(call, now)

    def malformed(
        self, operation: Operation, caller: Caller, problem: Problem, now: float, id: str = ""
    ) -> Failed:
        """``problem``: why the request of a call could not be read. ``id`` as it was in there."""
        return self._execution.malformed(operation, caller, problem, now, id)

    def noted(self, actor: str, action: str, group: str, identity: Identity | None, now: float) -> Left:
        """An audit line about what was done to a group, or to this member of it, without an operation."""
        detail = {}
        if identity is not None:
            known = self.parties.may_be(group, identity) or {self.parties.make("", str(identity), now)}
            detail["party"] = sorted(known)
        self.audit.note(actor, action, group, now, **detail)
        return Left(self.facts.commit(), ())

    # Time

    def start(self, now: float) -> Left:
        """Groups of reservations that are live are there from now on."""
        return _and(self.reservations.start(now), self.tick(now))

    def stop(self, now: float) -> Left:
        """The last ``tick``: what was kept for later is due, too."""
        return self._tick(now, last=True)

    def tick(self, now: float) -> Left:
        """Whatever is due: at ``deadline``, or earlier without harm."""
        return self._tick(now, last=False)

    def _tick(self, now: float, last: bool) -> Left:
        try:
            left = self.reservations.tick(now)
            self.door.tick(now)
            self.audit.tick(now, last)
            self.statistics.flush(now, last)
            if now >= self._next_sweep or now + SWEEP < self._next_sweep:  # or the clock went back
                self._next_sweep = now + SWEEP
                self.sessions.sweep(now)
                self.tokens.sweep(now)
                self.once.sweep(now)
                self.parties.sweep(now)
                self.payments.sweep(now)
        except BaseException:
            self.facts.rollback()
            raise
        return _and(left, Left(self.facts.commit(), ()))

    def deadline(self) -> float:
        """When ``tick`` has something to do."""
        parts = (self.reservations, self.door, self.audit, self.statistics)
        times = [part.deadline() for part in parts]
        return min((at for at in times if at is not None and at < self._next_sweep), default=self._next_sweep)

    # The directory's doorkeeper: the door decides

    def knows(self, group: str) -> bool:
        return self.door.knows(group)

    def policy_of(self, group_id: Identity) -> GroupPolicy | None:
        return self.door.policy_of(group_id)

    def sender(self, group: str, identity: Identity) -> SenderRule | None:
        return self.door.sender(group, identity)

    def secret_of(self, identity: Identity) -> SecretBytes | None:
        return self.door.secret_of(identity)

    def withdrawn(self, identity: Identity, grounds: str) -> str:
        return self.door.withdrawn(identity, grounds)

    def password_of(self, ask: AskPassword, now: float) -> PasswordCheck:
        return self.door.password_of(ask, now)

    def password_tried(self, ask: AskPassword, verdict: PasswordVerdict, now: float) -> tuple[Change, ...]:
        return self.door.password_tried(ask, verdict, now)

    def decide(self, ask: Ask, policy: GroupPolicy, now: float) -> Verdict:
        return self.door.decide(ask, policy, now)

    def admitted(self, ask: Ask, verdict: Verdict, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        try:
            return self.door.admitted(ask, verdict, policy, now)
        except BaseException:
            self.facts.rollback()
            raise

    def refused(self, ask: Ask, verdict: Verdict, now: float) -> tuple[Change, ...]:
        return self.door.refused(ask, verdict, now)

    def undone(self, ask: Ask, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        return self.door.undone(ask, policy, now)

    def gone(self, group: str, identities: Iterable[Identity], now: float) -> tuple[Change, ...]:
        return self.door.gone(group, identities, now)

    def rekeyed(self, group: str, now: float) -> None:
        self.door.rekeyed(group, now)


def _and(one: Left, other: Left) -> Left:
    # In this order: of a fact that is in both the later one is in the second.
    return Left(one.changes + other.changes, one.orders + other.orders)
