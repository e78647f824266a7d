"""Who a receiver is to the platform: an account, or a party that stands for a name or an identity."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gkmd.api.names_csv import fold
from gkmd.core.effect import Ask, Proof
from gkmd.core.identity import Identity, IdentityKind, shown
from gkmd.core.rng import Rng
from gkmd.group.platform import schedule
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.records import Account, Admission, Party, Reservation, Ticket
from gkmd.group.platform.settings import PlatformSettings

OF_LIST: Final = "names:"  # grounds of a password: a reservation's list
OF_ACCOUNT: Final = "account:"  # or an account
_SWEEP_EVERY: Final = 3600.0
_SWEEP_AT_ONCE: Final = 1000
_LONGEST_NAME: Final = 200


def name_in(identity: Identity) -> str:
    """The name that an IDi of a password is; "" when it is none. What begins with ``t-`` is a ticket."""
    if (
        identity.kind not in (IdentityKind.KEY_ID, IdentityKind.RFC822)
        or len(identity.data) > 4 * _LONGEST_NAME
    ):
        return ""
    try:
        name = identity.data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if name.lower().startswith("t-") or len(name) > _LONGEST_NAME else name


def ticket_in(identity: Identity) -> str:
    """The ticket's id that a KEY_ID may be; "" when it is none."""
    if identity.kind != IdentityKind.KEY_ID or not identity.data.startswith(b"t-"):
        return ""
    return identity.data.decode("ascii", "replace") if len(identity.data) <= 100 else ""


def identity_of(name: str) -> Identity:
    """The identity by which a name is shown in IKE: ``email:`` when it has an @, else KEY_ID."""
    kind = IdentityKind.RFC822 if "@" in name else IdentityKind.KEY_ID
    return Identity(kind, name.encode("utf-8", "replace"))


class Parties:
    """Facts of parties without an account, and the names of all."""

    __slots__ = ("_accounts", "_admissions", "_by_name", "_facts", "_named", "_rng", "_settings", "_swept")

    def __init__(self, facts: Facts, settings: PlatformSettings, accounts: Accounts, rng: Rng) -> None:
        self._facts: Final = facts
        self._settings = settings
        self._accounts: Final = accounts
        self._rng: Final = rng
        self._by_name: Final = facts.index(Party, lambda party: _name_key(party.reservation, party.name))
        self._named: Final = facts.index(Party, lambda party: party.reservation if party.name else None)
        self._admissions: Final = facts.index(Admission, lambda admission: admission.party)
        self._swept = float("-inf")

    def adopt(self, settings: PlatformSettings) -> None:
        self._settings = settings

    def known(self, reservation: str, name: str) -> str:
        """The id of the party of a list's name (folded), or with ``reservation`` "" of an identity's text;
        "" when there is none yet.
        """
        return next(iter(self._by_name.find((reservation, name))), "")

    def make(self, reservation: str, name: str, now: float) -> str:
        """The party's id; it is new when it was not known."""
        known = self.known(reservation, name)
        if known:
            return known
        party = Party(new_id("p-", self._rng), reservation, name, now)
        self._facts.put(party)
        return party.id

    def of(self, reservation: str, ask: Ask) -> str | None:
        """Whose registration this is; None for who was not heard of before. Makes no fact."""
        if ask.proof is Proof.TICKET:
            ticket = self._facts.get(Ticket, ticket_in(ask.identity))
            return None if ticket is None else ticket.party
        if ask.proof is Proof.CONFIGURED:
            return self.known("", str(ask.identity)) or None
        account = self.account_of(ask)
        if account is not None:
            return account.id
        if ask.grounds == OF_LIST + reservation:
            return self.known(reservation, fold(name_in(ask.identity))) or None
        return None

    def account_of(self, ask: Ask) -> Account | None:
        """The account whose password was shown."""
        if ask.proof is not Proof.PASSWORD or not ask.grounds.startswith(OF_ACCOUNT):
            return None
        return self._accounts.get(ask.grounds.removeprefix(OF_ACCOUNT))

    def may_be(self, reservation: str, identity: Identity) -> frozenset[str]:
        """The parties that a member with this identity may be; more than one when a name is both on the list
        and a login.
        """
        ticket = self._facts.get(Ticket, ticket_in(identity))
        if ticket is not None:
            return frozenset((ticket.party,))
        name = name_in(identity)
        account = self._accounts.by_login(name) if name else None
        found = (
            self.known("", str(identity)),
            self.known(reservation, fold(name)) if name else "",
            "" if account is None else account.id,
        )
        return frozenset(id for id in found if id)

    def name_of(self, party: str) -> str:
        """The login, the list's name or the identity as people read it; "" when it is forgotten."""
        if party.startswith("a-"):
            return self._accounts.name_of(party)
        found = self._facts.get(Party, party)
        if found is None:
            return ""
        return found.name if found.reservation else shown(found.name)

    def sweep(self, now: float) -> None:
        """Names of parties are forgotten ``keep_receivers`` after the end of what they were admitted to; at
        most once an hour, and not too many at once.
        """
        if now < self._swept + _SWEEP_EVERY:
            return
        self._swept = now
        before = now - self._settings.keep_receivers
        forgotten: list[Party] = []
        for reservation in self._facts.all(Reservation):
            if schedule.ends(reservation) <= before:
                forgotten += self._named.find(reservation.id).values()
                if len(forgotten) >= _SWEEP_AT_ONCE:
                    break
        else:
            forgotten += [party for party in self._named.find("").values() if self._last_use(party) <= before]
        if len(forgotten) >= _SWEEP_AT_ONCE:
            self._swept = float("-inf")  # go on with the next tick
        for party in forgotten[:_SWEEP_AT_ONCE]:
            self._facts.put(replace(party, name=""))

    def _last_use(self, party: Party) -> float:
        last = party.created
        for admission in self._admissions.find(party.id).values():
            reservation = self._facts.get(Reservation, admission.reservation)
            last = max(last, admission.at if reservation is None else schedule.ends(reservation))
        return last


def _name_key(reservation: str, name: str) -> tuple[str, str] | None:
    return (reservation, name) if name else None
