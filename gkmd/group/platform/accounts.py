"""Accounts: found by id, login or passkey, and shown."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Final

from gkmd.api import results as r
from gkmd.api.nouns import Amount
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.rng import Rng
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.records import Account, Passkey

_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._@+-")
ROLES: Final = ("receiver", "sender", "operator")


class Accounts:
    __slots__ = ("_by_login", "_facts", "_operators", "_rng")

    def __init__(self, facts: Facts, rng: Rng) -> None:
        self._facts: Final = facts
        self._rng: Final = rng
        self._by_login: Final = facts.index(Account, lambda account: account.login)
        self._operators: Final = facts.index(
            Account, lambda account: True if "operator" in account.roles and not account.disabled else None
        )

    def get(self, id: str) -> Account | None:
        return self._facts.get(Account, id)

    def by_login(self, login: str) -> Account | None:
        """``login`` as it was typed."""
        return next(iter(self._by_login.find(fold(login)).values()), None)

    def named(self, login: str) -> Account:
        """Problem ``not-found`` when there is none."""
        account = self.by_login(login)
        if account is None:
            raise Problem("not-found", f"there is no user {login!r}")
        return account

    def all(self) -> Iterable[Account]:
        return self._facts.all(Account)

    def name_of(self, id: str) -> str:
        """The login; "" for what is no account, or no more."""
        account = self.get(id)
        return "" if account is None else account.login

    def new_id(self) -> str:
        while True:
            id = new_id("a-", self._rng)
            if self.get(id) is None:
                return id

    def keeps_an_operator(self, without: Account) -> None:
        """Problem ``conflict`` when there would be no operator left who can sign in."""
        if set(self._operators.find(True)) == {without.id}:
            raise Problem("conflict", f"{without.login} is the last operator: make another one first")

    def check_free(self, login: str) -> None:
        """Problem ``invalid`` for what is no login, ``conflict`` for one that is taken."""
        text = wrong_with_login(login)
        if text:
            raise Problem("invalid", f"login: {text}", (FieldProblem("login", text),))
        if self.by_login(login) is not None:
            text = f"{login} is taken"
            raise Problem("conflict", f"login: {text}", (FieldProblem("login", text),))

    def put(self, account: Account) -> None:
        self._facts.put(account)


def fold(login: str) -> str:
    """The one form in which a login is kept and compared."""
    return unicodedata.normalize("NFKC", login).strip().lower()


def wrong_with_login(login: str) -> str:
    """Why it cannot be one; "" when it can. What begins with ``t-`` is a ticket wherever a name is read."""
    if not 2 <= len(login) <= 64:
        return f"it has {len(login)} characters; 2 to 64 are needed"
    if not set(login) <= _LETTERS or not login[0].isalnum():
        return "a to z, digits and . _ @ + - are possible, the first a letter or digit"
    if login.startswith("t-"):
        return "names that begin with t- are those of tickets"
    return ""


def check_name(name: str) -> None:
    """Problem ``invalid`` for what cannot be shown as somebody's name."""
    if not name.isprintable():
        text = "it has a character that cannot be printed"
        raise Problem("invalid", f"name: {text}", (FieldProblem("name", text),))


def check_password(password: str, field: str = "password") -> None:
    """Problem ``invalid`` unless it may be a new password."""
    if not 10 <= len(password) <= 256:
        text = f"it has {len(password)} characters; 10 to 256 are needed"
        raise Problem("invalid", f"{field}: {text}", (FieldProblem(field, text),))


def view(account: Account) -> r.AccountView:
    return r.AccountView(
        id=account.id,
        login=account.login,
        name=account.name,
        roles=account.roles,
        classes=account.classes,
        confirmed=account.confirmed,
        disabled=account.disabled,
        totp=account.totp is not None,
        passkeys=tuple(passkey_view(passkey) for passkey in account.passkeys),
        credit_limit=Amount(account.credit_limit, account.credit_currency) if account.credit_limit else None,
        created=account.created,
    )


def passkey_view(passkey: Passkey) -> r.PasskeyView:
    return r.PasskeyView(passkey_name(passkey.id), passkey.name, passkey.created)


def passkey_name(id: bytes) -> str:
    """How the API names a passkey: its id may be longer than an id of the API."""
    return "pk-" + hashlib.sha256(id).hexdigest()[:32]
