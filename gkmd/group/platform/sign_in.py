"""Signing in by password and one-time code, signing up, and changing the password."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import Problem
from gkmd.core.errors import CryptoError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.one_time import verify_code
from gkmd.crypto.passwords import NOBODY
from gkmd.group.platform.access import account_of
from gkmd.group.platform.accounts import Accounts, check_name, check_password, fold, view
from gkmd.group.platform.audit import STRANGER, Audit, place_of
from gkmd.group.platform.lock_out import LockOut
from gkmd.group.platform.outcome import Hash, Verify
from gkmd.group.platform.records import Account
from gkmd.group.platform.sessions import Sessions
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.work import Handlers, Work


class SignIn:
    __slots__ = ("_accounts", "_audit", "_lock_out", "_sessions", "_settings")

    def __init__(
        self,
        settings: PlatformSettings,
        audit: Audit,
        accounts: Accounts,
        sessions: Sessions,
        lock_out: LockOut,
    ) -> None:
        self._settings = settings
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._sessions: Final = sessions
        self._lock_out: Final = lock_out

    def adopt(self, settings: PlatformSettings) -> None:
        self._settings = settings

    def operations(self) -> Handlers:
        return {
            "sign-in": self._sign_in,
            "sign-up": self._sign_up,
            "me": self._me,
            "password-change": self._change_password,
        }

    def _me(self, request: q.Nothing, work: Work) -> r.AccountView:
        return view(account_of(work.who))

    def _sign_in(self, request: q.SignIn, work: Work) -> Verify:
        """The same steps and the same answers, whether the login exists or not."""
        login, origin = fold(request.login), work.who.origin
        account = self._accounts.by_login(login)
        id = "" if account is None else account.id
        self.may_try(login, id, work)
        verifier = "" if account is None else account.password.reveal().decode("ascii")

        def resume(right: bool, now: float) -> r.SignedIn:
            # The account as it is by now: with another password this one proves nothing.
            found = self._accounts.get(id)
            if found is None or not verifier or found.password.reveal().decode("ascii") != verifier:
                right = False
            if not right or found is None:
                raise self._wrong("sign-in-failed", "the login or the password is not right", id, work)
            if found.disabled:
                self._lock_out.forgiven(login, origin)
                raise self._wrong("forbidden", "this account is disabled; ask the operator", id, work)
            via = "password"
            if found.totp is not None:
                found, via = self._with_code(found, found.totp, request.code, login, work), "password+totp"
            self._lock_out.succeeded(login, origin)
            return self._sessions.begin(found, via, work)

        password = SecretBytes(request.password.encode())
        return Verify(verifier or NOBODY, password, resume, lambda: self._lock_out.forgiven(login, origin))

    def _with_code(self, account: Account, totp: SecretBytes, code: str, login: str, work: Work) -> Account:
        if not code:
            self._lock_out.forgiven(login, work.who.origin)
            raise Problem("code-required", "a one-time code is needed beside the password")
        try:
            step = verify_code(totp, code, work.now, account.totp_step)
        except CryptoError:
            raise self._wrong(
                "sign-in-failed", "the one-time code is not right, or was used before", account.id, work
            ) from None
        account = replace(account, totp_step=step)
        self._accounts.put(account)
        return account

    def may_try(self, login: str, id: str, work: Work) -> None:
        """Problem ``locked-out`` when there were too many failures. Else this is counted as one until it is
        known to be none: a thousand attempts at once are a thousand.
        """
        come_back = self._lock_out.refusal(login, work.who.origin, work.now)
        if come_back is not None:
            problem = self._wrong("locked-out", "too many wrong passwords; wait before the next", id, work)
            problem.come_back = come_back
            raise problem
        self._lock_out.failed(login, work.who.origin, work.now)

    def _wrong(self, code: str, text: str, id: str, work: Work) -> Problem:
        """A refusal that leaves its line. What was typed as a login is not written: it may be a password."""
        self.remember(code, "sign-in", id, work)
        return Problem(code, text)

    def remember(self, code: str, action: str, id: str, work: Work) -> None:
        actor = work.who.actor

        def act() -> None:
            self._audit.refusal(actor, action, id, work.now, refused=code, origin=place_of(work.who.origin))

        work.even_if_refused(act)

    def confirmed(self, password: str, account: Account, action: str, work: Work, then: Any) -> Verify:
        """Ask for the caller's password once more; ``then(account, now)`` when it is right. Who holds a
        session of somebody else must not be able to guess without end.
        """
        verifier = account.password.reveal().decode("ascii")
        if not verifier:
            raise Problem("conflict", "this account has no password; the operator can set one")
        login, origin = account.login, work.who.origin
        self.may_try(login, account.id, work)

        def resume(right: bool, now: float) -> Any:
            found = account_of(work.who)
            if not right or found.password != account.password:
                self.remember("sign-in-failed", action, account.id, work)
                raise Problem("sign-in-failed", "the password is not right")
            self._lock_out.succeeded(login, origin)
            return then(found, now)

        shown = SecretBytes(password.encode())
        return Verify(verifier, shown, resume, lambda: self._lock_out.forgiven(login, origin))

    def _change_password(self, request: q.ChangePassword, work: Work) -> Verify:
        check_password(request.new, "new")

        def then(account: Account, now: float) -> Hash:
            proved = account.password

            def resume(verifier: str, now: float) -> r.Nothing:
                found = account_of(work.who)
                if found.password != proved:
                    raise Problem("conflict", "the password was changed meanwhile")
                self._accounts.put(replace(found, password=SecretBytes(verifier.encode())))
                ended = self._sessions.end(found.id, but=work.who.session)
                self._lock_out.forget(found.login)
                self._audit.note(found.id, "password-change", found.id, now, sessions=ended)
                return r.Nothing()

            return Hash(SecretBytes(request.new.encode()), resume)

        return self.confirmed(request.old, account_of(work.who), "password-change", work, then)

    def _sign_up(self, request: q.SignUp, work: Work) -> Hash:
        if not self._settings.sign_up:
            raise Problem("forbidden", "accounts are made by the operator here")
        login = fold(request.login)
        self._accounts.check_free(login)
        check_name(request.name)
        check_password(request.password)

        def resume(verifier: str, now: float) -> r.AccountView:
            self._accounts.check_free(login)
            account = new_account(
                self._accounts.new_id(), login, request.name, now, verifier, confirmed=False
            )
            self._accounts.put(account)
            actor = account.id if work.who.actor == STRANGER else work.who.actor
            self._audit.note(actor, "sign-up", account.id, now, origin=place_of(work.who.origin))
            return view(account)

        return Hash(SecretBytes(request.password.encode()), resume)


def new_account(
    id: str,
    login: str,
    name: str,
    now: float,
    verifier: str = "",
    *,
    confirmed: bool,
    roles: tuple[str, ...] = ("receiver",),
    classes: tuple[str, ...] = (),
    credit_limit: int = 0,
    credit_currency: str = "",
) -> Account:
    return Account(
        id=id,
        login=login,
        name=name,
        roles=roles,
        classes=classes,
        confirmed=confirmed,
        disabled=False,
        password=SecretBytes(verifier.encode()),
        totp=None,
        totp_step=0,
        passkeys=(),
        credit_limit=credit_limit,
        credit_currency=credit_currency,
        created=now,
    )
