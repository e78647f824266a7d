"""What a reservation says to a receiver: admitted on what entitlement, or not and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gkmd.api.names_csv import fold
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.money import Money
from gkmd.group.model import Refusal
from gkmd.group.platform import rules
from gkmd.group.platform.billing import Billing
from gkmd.group.platform.entitlement import Denial, Entitlement, Entry, Standing
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.parties import identity_of
from gkmd.group.platform.records import (
    SEPARATOR,
    Account,
    Admission,
    ListedName,
    Reservation,
    Voucher,
    VoucherBatch,
)

_ENTRIES: Final = 4096
_NAMED: Final = frozenset((IdentityKind.FQDN, IdentityKind.RFC822, IdentityKind.KEY_ID))


@dataclass(frozen=True, slots=True)
class Receiver:
    """``party`` "": not heard of before. ``identity``: proved by credentials of the configuration.
    ``listed``: the folded name on the reservation's list whose password it has shown.
    """

    party: str
    account: Account | None = None
    identity: Identity | None = None
    listed: str = ""


class Assessor:
    __slots__ = ("_billing", "_entries", "_facts")

    def __init__(self, facts: Facts, billing: Billing) -> None:
        self._facts: Final = facts
        self._billing: Final = billing
        self._entries: dict[str, tuple[int, Entry]] = {}

    def assess(
        self,
        reservation: Reservation,
        receiver: Receiver,
        vouchers: tuple[str, ...] = (),
        consents: tuple[Money, ...] = (),
    ) -> Entitlement | Denial:
        """``vouchers``: digests of the codes that were shown; the first that will do is taken. Who was
        admitted before needs no evidence and pays nothing again, unless it was refunded or evicted.
        """
        account, admission = receiver.account, self.admission(reservation.id, receiver.party)
        if reservation.cancelled is not None:
            return Denial(Refusal.CANCELLED, "the transmission was cancelled")
        if account is not None and account.disabled:
            return Denial(Refusal.REVOKED, "the account is disabled")
        if admission is not None:
            if admission.evicted is not None:
                return Denial(Refusal.REVOKED, "this receiver was evicted")
            if admission.refunded is None:
                return Entitlement(())
        usable = ""
        for digest in vouchers:
            if self.voucher(reservation.id, digest, receiver.party) is not None:
                usable = digest
                break
        identity = receiver.identity
        if identity is None and account is not None and account.confirmed and "@" in account.login:
            identity = identity_of(account.login)
        standing = Standing(
            self._listed(reservation.id, receiver),
            identity,
            () if account is None else account.classes,
            usable,
            bool(vouchers),
            consents,
            account is not None,
            lambda currency: self._billing.available(receiver.party, currency),
        )
        return self._entry(reservation).entitle(standing)

    def admission(self, reservation: str, party: str) -> Admission | None:
        return self._facts.get(Admission, Admission.key_of(reservation, party)) if party else None

    def voucher(self, reservation: str, digest: str, party: str) -> Voucher | None:
        """A voucher that this party may use for this reservation, None when there is none."""
        voucher = self._facts.get(Voucher, digest) if digest else None
        if voucher is None or voucher.used is not None or voucher.held not in ("", party):
            return None
        batch = self._facts.get(VoucherBatch, voucher.batch)
        good = batch is not None and batch.revoked is None and batch.reservation == reservation
        return voucher if good else None

    def listed(self, reservation: str, name: str) -> ListedName | None:
        """The entry of a folded name on the list."""
        return self._facts.get(ListedName, reservation + SEPARATOR + name) if name else None

    def _listed(self, reservation: str, receiver: Receiver) -> bool:
        """A name with a password is had by that password alone. One without by an identity that was proved,
        or by a login that an operator vouches for: anybody may sign up by somebody else's name.
        """
        if receiver.listed:
            entry = self.listed(reservation, receiver.listed)
            if entry is not None and entry.verifier and self._is_whose(entry, receiver):
                return True
        names: tuple[str, ...] = ()
        if receiver.account is not None and receiver.account.confirmed:
            names = (receiver.account.login,)
        elif receiver.identity is not None:
            names = _names(receiver.identity)
        for name in names:
            entry = self.listed(reservation, fold(name))
            if entry is not None and not entry.verifier:
                return True
        return False

    def _is_whose(self, entry: ListedName, receiver: Receiver) -> bool:
        """Of accounts one alone has the name. Who logs in by it may, unless who has it was put out: it may
        be the same one.
        """
        if receiver.account is not None:
            return entry.held == receiver.party
        holder = self.admission(entry.reservation, entry.held)
        return holder is None or holder.evicted is None

    def _entry(self, reservation: Reservation) -> Entry:
        known = self._entries.get(reservation.id)
        if known is None or known[0] != reservation.version:
            if len(self._entries) >= _ENTRIES:
                self._entries.clear()
            entry = Entry(rules.parse(reservation.admission))
            known = self._entries[reservation.id] = (reservation.version, entry)
        return known[1]


def _names(identity: Identity) -> tuple[str, ...]:
    """As which a proved identity may be on a list: with its kind, or the bare name."""
    text = str(identity)
    return (text, text.partition(":")[2]) if identity.kind in _NAMED else (text,)
