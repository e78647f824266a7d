"""The books of a platform without the platform: facts, ledger, billing and a sender with one reservation."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from reservation_record import reservation

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.core.change import Change, Put
from gkmd.core.money import Money
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.balances import Balances
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ledger import Ledger, balance_of, invoice_of
from gkmd.group.platform.once import Once
from gkmd.group.platform.outcome import Read
from gkmd.group.platform.payments import Payments
from gkmd.group.platform.records import (
    ARCHIVED,
    Account,
    Admission,
    AuditLine,
    Charge,
    Entry,
    Posting,
    Reservation,
)
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.statement import Statements
from gkmd.group.platform.value_vouchers import ValueVouchers
from gkmd.group.platform.work import Who, Work

NOW = 1_000_000.0


class Books:
    """What was committed is ``journal``; ``crash`` forgets everything else and starts again from it."""

    def __init__(self, fee_points: int = 0, fee_fixed: int = 0, seed: int = 1, **settings: Any) -> None:
        self.settings = PlatformSettings(**settings)
        self.journal: dict[tuple[str, str], Any] = {}
        self.rng = SeededRng(seed)
        self._start()
        self.reservation = reservation(NOW, title="Talk", fee_points=fee_points, fee_fixed=fee_fixed)
        self.facts.put(self.reservation)
        for name in ("a-tx", "a-rx", "a-ry"):
            self.account(name)
        self.commit()

    def _start(self) -> None:
        archived = {kind.KIND for kind in ARCHIVED}
        kept = [fact for (kind, _), fact in self.journal.items() if kind not in archived]
        entries, lines = self._archive(Entry), self._archive(AuditLine)
        self.facts = Facts(kept, ARCHIVED)
        self.ledger = Ledger(self.facts, entries[-1] if entries else None)
        self.audit = Audit(self.facts, lines[-1] if lines else None)
        self.billing = Billing(self.facts, self.settings, self.ledger, self.audit)
        self.accounts = Accounts(self.facts, self.rng)
        self.balances = Balances(self.facts, self.accounts, self.ledger, self.billing, self.audit)
        once = Once(self.facts)
        self.vouchers = ValueVouchers(self.facts, self.ledger, self.balances, self.audit, once, self.rng)
        self.payments = Payments(
            self.facts, self.settings, self.ledger, self.balances, self.audit, once, self.rng
        )
        self.statements = Statements(self, self.billing, self.audit, self.accounts.name_of)
        self.handlers = {
            **self.ledger.operations(),
            **self.balances.operations(),
            **self.vouchers.operations(),
            **self.payments.operations(),
            **self.statements.operations(),
        }

    def owned(self, id: str, who: Who) -> Reservation:
        found = self.facts.get(Reservation, id)
        assert found is not None
        return found

    def commit(self) -> tuple[Change, ...]:
        changes = self.facts.commit()
        for change in changes:
            if isinstance(change, Put):
                self.journal[change.fact.KIND, change.fact.key] = change.fact
            else:
                del self.journal[change.kind, change.key]  # type: ignore[union-attr]
        return changes

    def crash(self) -> None:
        self._start()

    def entries(self) -> list[Entry]:
        """Of the journal, and with it all that is to be committed."""
        self.commit()
        return self._archive(Entry)

    def audited(self) -> list[AuditLine]:
        self.commit()
        return self._archive(AuditLine)

    def _archive(self, kind: type[Any]) -> list[Any]:
        return [
            fact for (name, _), fact in sorted(self.journal.items(), key=itemgetter(0)) if name == kind.KIND
        ]

    def account(
        self, name: str, credit_limit: int = 0, credit_currency: str = "EUR", **changed: Any
    ) -> Account:
        fields: dict[str, Any] = {
            "id": name,
            "login": name.removeprefix("a-"),
            "name": "",
            "roles": ("receiver",),
            "classes": (),
            "confirmed": True,
            "disabled": False,
            "password": SecretBytes(b""),
            "totp": None,
            "totp_step": 0,
            "passkeys": (),
            "credit_limit": credit_limit,
            "credit_currency": credit_currency,
            "created": NOW,
        }
        account = Account(**(fields | changed))
        self.facts.put(account)
        return account

    def credit(self, account: str, amount: int, currency: str = "EUR", reference: str = "") -> None:
        postings = (Posting("cash", amount), Posting(balance_of(account), -amount))
        reference = reference or f"deposit:{len(self.entries())}"
        self.ledger.post("deposit", reference, currency, postings, NOW)

    def settle(self, account: str, amount: int) -> None:
        postings = (Posting("cash", amount), Posting(invoice_of(account), -amount))
        self.ledger.post("settlement", f"settlement:{len(self.entries())}", "EUR", postings, NOW)

    def admit(self, party: str, price: Money) -> Admission:
        return self.billing.admit(self.reservation, party, "price", price, NOW)

    def charges(self) -> list[Charge]:
        return [charge for admission in self.facts.all(Admission) for charge in admission.charges]

    def money(self, amount: int, currency: str = "EUR") -> Money:
        return Money(currency, amount)

    def admission(self, party: str) -> Admission | None:
        return self.facts.get(Admission, f"{self.reservation.id}/{party}")

    def call(self, operation: str, request: Any = None, by: str = "", now: float = NOW) -> Any:
        """Carry out an operation as the platform does: as a whole, or not at all. ``by`` is an account, or
        "unix:0".
        """
        roles = frozenset({"operator"}) if by.startswith("unix:") else frozenset({"receiver"})
        who = Who(by or "stranger", self.facts.get(Account, by), roles, None, "192.0.2.1")
        work = Work(who, now)
        try:
            result = self.handlers[operation](request or OPERATIONS[operation].request(), work)
            while isinstance(result, Read):
                archive = self._archive(Entry)[:: -1 if result.descending else 1]
                found = [one for one in archive if follows(one.key, result)][: result.limit]
                result = result.resume(tuple(found), now)
        except Problem:
            self.facts.rollback()
            for act in work.remains:
                act()
            self.commit()
            raise
        self.commit()
        return result


def follows(key: str, read: Read) -> bool:
    """Whether a fact with this key comes after where the read begins."""
    return not read.after or (key < read.after if read.descending else key > read.after)
