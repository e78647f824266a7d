"""Users, as operators see them: added, changed, disabled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from msgspec import UNSET

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.accounts import ROLES, Accounts, check_name, check_password, fold, view
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.outcome import Hash
from gkmd.group.platform.pages import page
from gkmd.group.platform.records import Account
from gkmd.group.platform.sessions import Sessions
from gkmd.group.platform.sign_in import new_account
from gkmd.group.platform.tokens import Tokens
from gkmd.group.platform.work import Handlers, Work

_MOST_CLASSES: Final = 100


class Users:
    """``retire(account, work)`` closes what a disabled account has opened: the IKE SAs of its tickets."""

    __slots__ = ("_accounts", "_audit", "_lock_out", "_retire", "_sessions", "_tokens")

    def __init__(
        self,
        audit: Audit,
        accounts: Accounts,
        sessions: Sessions,
        tokens: Tokens,
        lock_out: LockOut,
        retire: Callable[[Account, Work], None],
    ) -> None:
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._sessions: Final = sessions
        self._tokens: Final = tokens
        self._lock_out: Final = lock_out
        self._retire: Final = retire

    def operations(self) -> Handlers:
        return {
            "user-list": self._list,
            "user-show": self._show,
            "user-add": self._add,
            "user-change": self._change,
        }

    def _list(self, request: q.ListUsers, work: Work) -> r.Accounts:
        wanted = request.search.strip().lower()
        found = (
            (account.login, account)
            for account in self._accounts.all()
            if wanted in account.login or wanted in account.name.lower()
        )
        shown, after = page(found, request.after, request.limit)
        return r.Accounts(tuple(view(account) for account in shown), after)

    def _show(self, request: q.ByLogin, work: Work) -> r.AccountView:
        return view(self._accounts.named(request.login))

    def _add(self, request: q.AddUser, work: Work) -> r.AccountView | Hash:
        login = fold(request.login)
        self._accounts.check_free(login)
        check_name(request.name)
        roles, classes = _roles(request.roles), _classes(request.classes)
        limit, currency = _credit(request.credit_limit)

        def add(verifier: str, now: float) -> r.AccountView:
            self._accounts.check_free(login)
            account = new_account(
                self._accounts.new_id(),
                login,
                request.name,
                now,
                verifier,
                confirmed=True,
                roles=roles,
                classes=classes,
                credit_limit=limit,
                credit_currency=currency,
            )
            self._accounts.put(account)
            self._audit.note(work.who.actor, "user-add", account.id, now, roles=roles, classes=classes)
            return view(account)

        if not request.password:
            return add("", work.now)
        check_password(request.password)
        return Hash(SecretBytes(request.password.encode()), add)

    def _change(self, request: q.ChangeUser, work: Work) -> r.AccountView | Hash:
        id = self._accounts.named(request.login).id
        self._changed(request, id)  # what is wrong is told before a password is hashed

        def change(verifier: str | None, now: float) -> r.AccountView:
            before = self._accounts.get(id)
            if before is None:
                raise Problem("not-found", f"there is no user {request.login!r}")
            after = self._changed(request, id)
            if verifier is not None:
                after = replace(after, password=SecretBytes(verifier.encode()))
            self._put(before, after, work)
            return view(after)

        if request.password is UNSET:
            return change(None, work.now)
        if not request.password:
            return change("", work.now)
        check_password(request.password)
        return Hash(SecretBytes(request.password.encode()), change)

    def _changed(self, request: q.ChangeUser, id: str) -> Account:
        """The account as it is asked for, but for the password."""
        account = self._accounts.get(id)
        if account is None:
            raise Problem("not-found", f"there is no user {request.login!r}")
        values: dict[str, Any] = {}
        if request.name is not UNSET:
            check_name(request.name)
            values["name"] = request.name
        if request.roles is not UNSET:
            values["roles"] = _roles(request.roles)
        if request.classes is not UNSET:
            values["classes"] = _classes(request.classes)
        if request.confirmed is not UNSET:
            values["confirmed"] = request.confirmed
        if request.disabled is not UNSET:
            values["disabled"] = request.disabled
        if request.credit_limit is not UNSET:
            values["credit_limit"], values["credit_currency"] = _credit(request.credit_limit)
        if request.reset_factors:
            values.update(totp=None, totp_step=0, passkeys=())
        changed = replace(account, **values)
        if "operator" in account.roles and ("operator" not in changed.roles or changed.disabled):
            self._accounts.keeps_an_operator(without=account)
        return changed

    def _put(self, before: Account, after: Account, work: Work) -> None:
        what = [
            name
            for name in ("name", "roles", "classes", "confirmed", "disabled", "credit_limit", "password")
            if getattr(before, name) != getattr(after, name)
        ]
        if (before.totp, before.passkeys) != (after.totp, after.passkeys):
            what.append("factors")
        if not what:
            return
        self._accounts.put(after)
        if after.disabled and not before.disabled:
            self._tokens.revoke_all(after.id)
            self._retire(after, work)
        if {"disabled", "password", "factors"} & set(what):
            self._sessions.end(after.id, but=work.who.session)
        if "password" in what:
            self._lock_out.forget(after.login)
        detail: dict[str, Any] = {"changed": what}
        for name in ("roles", "classes", "confirmed", "disabled", "credit_limit"):
            if name in what:
                detail[name] = getattr(after, name)
        self._audit.note(work.who.actor, "user-change", after.id, work.now, **detail)


def _roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """In their order, each once. Problem ``invalid`` for none."""
    found = tuple(role for role in ROLES if role in roles)
    if not found or set(roles) - set(ROLES):
        text = f"one or more of {', '.join(ROLES)} are needed"
        raise Problem("invalid", f"roles: {text}", (FieldProblem("roles", text),))
    return found


def _credit(limit: Amount | None) -> tuple[int, str]:
    return (0, "") if limit is None else (limit.amount, limit.currency)


def _classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(word.strip() for word in classes))
    if len(found) > _MOST_CLASSES or not all(word and word.isprintable() for word in found):
        text = f"at most {_MOST_CLASSES} words of printable characters are possible"
        raise Problem("invalid", f"classes: {text}", (FieldProblem("classes", text),))
    return found
