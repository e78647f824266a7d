"""A platform with its directory and nothing else: the clock is an argument, the journal a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.core.change import (
    Change,
    Drop,
    DropGroup,
    DropMember,
    Fact,
    GroupRecord,
    Journalled,
    MemberRecord,
    Put,
    PutGroup,
    PutMember,
)
from gkmd.core.errors import CryptoError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import NOBODY, Cost, hash_password, verify_password
from gkmd.group.directory import Directory
from gkmd.group.model import Left, RekeyOrder
from gkmd.group.platform.outcome import Call, Caller, Done, Failed, Hash, Outcome, Read, Verify
from gkmd.group.platform.platform import Platform
from gkmd.group.platform.records import ARCHIVED, AuditLine
from gkmd.group.platform.settings import PlatformSettings

NOW = 1_790_000_000.0
CHEAP = Cost(8, 1, 1)  # of argon2: tests make many passwords
PASSWORD = "correct horse battery"
OPERATOR = Caller(unix_user=0)
STRANGER = Caller(origin="192.0.2.1")


class Rig:
    """``journal`` is what was journalled: facts by kind and key. ``restart`` makes everything anew from it.

    ``dones`` are the last outcomes; ``left`` collects what the groups and the network would do.
    """

    def __init__(
        self, settings: PlatformSettings | None = None, seed: int | str = 0, now: float = NOW
    ) -> None:
        self.settings = settings or PlatformSettings()
        self.rng = SeededRng(seed)
        self.now = now
        self.journal: dict[tuple[str, str], Fact] = {}
        self.groups: dict[str, GroupRecord] = {}
        self.members: dict[tuple[str, Identity], MemberRecord] = {}
        self.outcome: Outcome | None = None  # of the last operation
        self.start()

    def start(self) -> None:
        """As a daemon that has just been started with this journal."""
        archived = {kind.KIND for kind in ARCHIVED}
        last: dict[str, Fact] = {}
        for (kind, _), fact in sorted(self.journal.items()):
            if kind in archived:
                last[kind] = fact
        kept = [fact for (kind, _), fact in self.journal.items() if kind not in archived]
        self.platform = Platform(self.settings, kept, last.values(), self.rng, self.now)
        self.directory = self.make_directory()
        self.platform.use(self.directory)
        self.write(self.directory.start_changes())
        self.carry_out(self.platform.start(self.now))

    restart = start

    def make_directory(self) -> Directory:
        journalled = Journalled(tuple(self.groups.values()), tuple(self.members.values()))
        policies = self.platform.reservations.policies(self.now)
        return Directory(policies, self.rng, self.now, journalled, doorkeeper=self.platform)

    # The journal

    def write(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if isinstance(change, Put):
                self.journal[change.fact.KIND, change.fact.key] = change.fact
            elif isinstance(change, Drop):
                self.journal.pop((change.kind, change.key), None)
            elif isinstance(change, PutGroup):
                self.groups[change.record.name] = change.record
            elif isinstance(change, DropGroup):
                self.groups.pop(change.name, None)
            elif isinstance(change, PutMember):
                self.members[change.record.group, change.record.identity] = change.record
            elif isinstance(change, DropMember):
                self.members.pop((change.group, change.identity), None)

    def carry_out(self, left: Left) -> None:
        """What changes is journalled; orders to rekey are sealed, and sent to nobody."""
        self.write(left.changes)
        for order in left.orders:
            self.write(self.directory.sealed(order, b"a rekey", self.now))

    def pass_time(self, seconds: float) -> None:
        """Groups and platform are ticked at their deadlines until then."""
        until = self.now + seconds
        while True:
            due = (self.directory.deadline(), self.platform.deadline())
            at = min((at for at in due if at is not None), default=until)
            if at >= until:
                break
            self.now = max(self.now, at)
            self.tick()
        self.now = until
        self.tick()

    def tick(self) -> None:
        for duty in self.directory.tick(self.now):
            if isinstance(duty, RekeyOrder):
                self.write(self.directory.sealed(duty, b"a rekey", self.now))
            else:
                self.write(duty.changes)
        self.carry_out(self.platform.tick(self.now))

    def read(self, read: Read) -> tuple[Any, ...]:
        """Archived facts, as the store reads them."""
        found = sorted(key for kind, key in self.journal if kind == read.kind)
        if read.descending:
            found = [key for key in reversed(found) if not read.after or key < read.after]
        else:
            found = [key for key in found if key > read.after]
        return tuple(self.journal[read.kind, key] for key in found[: read.limit])

    def facts(self, kind: type[Any]) -> list[Any]:
        """All journalled facts of a kind, in the order of their keys."""
        return [fact for (name, _), fact in sorted(self.journal.items()) if name == kind.KIND]

    def audit_lines(self, action: str = "") -> list[AuditLine]:
        return [line for line in self.facts(AuditLine) if action in ("", line.action)]

    # Operations

    def outcome_of(self, operation: str, request: Any, caller: Caller = OPERATOR) -> Done | Failed:
        """Everything that the shell does for one operation. The clock stands still."""
        outcome = self.begin(operation, request, caller)
        while not isinstance(outcome, Done | Failed):
            outcome = self.step(outcome)
        return self.end(outcome)

    def begin(self, operation: str, request: Any, caller: Caller = OPERATOR) -> Outcome:
        return self.platform.execute(Call(operation, request, caller), self.now)

    def step(self, outcome: Verify | Hash | Read) -> Outcome:
        if isinstance(outcome, Verify):
            return outcome.resume(right(outcome.verifier, outcome.password), self.now)
        if isinstance(outcome, Hash):
            return outcome.resume(hash_password(outcome.password, self.rng, CHEAP), self.now)
        return outcome.resume(self.read(outcome), self.now)

    def end(self, outcome: Done | Failed) -> Done | Failed:
        self.outcome = outcome
        self.carry_out(outcome.left)
        return outcome

    def do(self, operation: str, request: Any = None, caller: Caller = OPERATOR) -> Any:
        """The result. Raises Problem."""
        outcome = self.outcome_of(
            operation, OPERATIONS[operation].request() if request is None else request, caller
        )
        if isinstance(outcome, Failed):
            raise outcome.problem
        return outcome.result

    def refused(self, operation: str, request: Any = None, caller: Caller = OPERATOR) -> Problem:
        """The problem; an assertion fails when there is none."""
        outcome = self.outcome_of(
            operation, OPERATIONS[operation].request() if request is None else request, caller
        )
        assert isinstance(outcome, Failed), outcome
        return outcome.problem

    # People

    def user(self, login: str, *roles: str, **more: Any) -> r.AccountView:
        """An account with ``PASSWORD``, made by the operator; a receiver when no role is given."""
        request = q.AddUser(login=login, password=PASSWORD, roles=roles or ("receiver",), **more)  # type: ignore[arg-type]
        view: r.AccountView = self.do("user-add", request)
        return view

    def sign_in(
        self, login: str, password: str = PASSWORD, code: str = "", origin: str = "192.0.2.1"
    ) -> Caller:
        """A caller with the new session's token."""
        signed: r.SignedIn = self.do("sign-in", q.SignIn(login, password, code), Caller(origin=origin))
        return Caller(token=signed.token, origin=origin)

    def caller(self, login: str, *roles: str, **more: Any) -> Caller:
        """A new user who has signed in."""
        self.user(login, *roles, **more)
        return self.sign_in(login)

    def token(self, caller: Caller, *scopes: str, expires: float | None = None) -> Caller:
        """A caller with a new API token of who calls."""
        made: r.NewToken = self.do("token-create", q.CreateToken("test", scopes, expires), caller)  # type: ignore[arg-type]
        return Caller(token=made.token, origin=caller.origin)


def right(verifier: str, password: SecretBytes) -> bool:
    if verifier == NOBODY:
        return False  # which takes a while to find out
    try:
        verify_password(verifier, password)
    except CryptoError:
        return False
    return True


def code_of(act: Callable[[], Any]) -> str:
    """The code of the problem that this raises, "" when it raises none."""
    try:
        act()
    except Problem as problem:
        return problem.code
    return ""
