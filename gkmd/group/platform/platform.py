"""The platform as a whole: what the daemon makes, asks and ticks. Its parts are put together here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gkmd.core.change import Fact
from gkmd.core.rng import Rng
from gkmd.group.directory import Directory
from gkmd.group.model import Left
from gkmd.group.platform.access import Access
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.execution import Execution
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.forget import Forget
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.once import Once
from gkmd.group.platform.one_time_codes import OneTimeCodes
from gkmd.group.platform.outcome import Call, Outcome
from gkmd.group.platform.passkeys import Passkeys
from gkmd.group.platform.records import ARCHIVED, Account, AuditLine, Entry
from gkmd.group.platform.sessions import Sessions
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.sign_in import SignIn
from gkmd.group.platform.tokens import Tokens
from gkmd.group.platform.users import Users
from gkmd.group.platform.work import Handler, Handlers, Work

SWEEP: Final = 60.0  # seconds between two looks for what is over


class Platform:
    """``facts`` are those that the journal keeps in memory, ``last`` the newest of each archived kind.

    Made in two steps, for it is the directory's doorkeeper: first the platform, then the directory with it,
    then ``use(directory)``. ``extra`` are operations that the daemon itself answers.
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
        self._rng: Final = rng
        self._settings = settings
        self.facts: Final = Facts(facts, ARCHIVED)
        newest = {fact.KIND: fact for fact in last}
        line, entry = newest.get(AuditLine.KIND), newest.get(Entry.KIND)
        assert line is None or isinstance(line, AuditLine)
        assert entry is None or isinstance(entry, Entry)
        self._last_entry: Final = entry
        self.accounts: Final = Accounts(self.facts, rng)
        self.audit: Final = Audit(self.facts, line, self.accounts.name_of)
        self.once: Final = Once(self.facts)
        self.lock_out: Final = LockOut()
        self.access: Final = Access(self.facts, settings, self.accounts)
        self.sessions: Final = Sessions(self.facts, settings, self.audit, self.access, rng)
        self.sign_in: Final = SignIn(settings, self.audit, self.accounts, self.sessions, self.lock_out)
        self.tokens: Final = Tokens(self.facts, self.audit, rng)
        self.users: Final = Users(
            settings, self.audit, self.accounts, self.sessions, self.tokens, self.lock_out, self._retire
        )
        self.one_time_codes: Final = OneTimeCodes(self.audit, self.accounts, self.sign_in, rng)
        self.passkeys: Final = Passkeys(self.audit, self.accounts, self.sessions, rng)
        self.forget: Final = Forget(
            self.facts,
            self.audit,
            self.accounts,
            self.sessions,
            self.tokens,
            self.once,
            self.lock_out,
            self._retire,
        )
        self._handlers: dict[str, Handler] = {}
        self._execution: Final = Execution(self.facts, self.access, self.audit, self._handlers)
        for part in (
            self.audit,
            self.sessions,
            self.sign_in,
            self.tokens,
            self.users,
            self.one_time_codes,
            self.passkeys,
            self.forget,
        ):
            self._handlers.update(part.operations())
        self._handlers.update(extra or {})
        self._next_sweep = now

    def use(self, directory: Directory) -> None:
        """The groups that reservations are carried out by."""

    def _retire(self, account: Account, work: Work) -> None:
        """A disabled account's tickets admit no more."""

    def execute(self, call: Call, now: float) -> Outcome:
        """Never raises Problem: a refusal is Failed."""
        return self._execution.execute(call, now)

    def adopt(self, settings: PlatformSettings) -> None:
        """The operator has changed the configuration."""
        self._settings = settings
        for part in (self.access, self.sessions, self.sign_in, self.users):
            part.adopt(settings)

    def start(self, now: float) -> Left:
        return self.tick(now)

    def tick(self, now: float) -> Left:
        """Whatever is due: at ``deadline``, or earlier without harm."""
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP
            self.sessions.sweep(now)
            self.tokens.sweep(now)
            self.once.sweep(now)
        return Left(self.facts.commit(), ())

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return self._next_sweep
