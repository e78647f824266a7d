"""One-time codes of accounts: asked for from the confirmation of a first code on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.errors import CryptoError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.one_time import new_secret, provisioning_uri, text_of, verify_code
from gkmd.group.platform.access import account_of
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.outcome import Verify
from gkmd.group.platform.records import Account
from gkmd.group.platform.sign_in import SignIn
from gkmd.group.platform.work import Handlers, Work

_WAITS: Final = 900.0  # seconds that a new secret waits for its first code
_MOST: Final = 1000
_ISSUER: Final = "gkmd"


class OneTimeCodes:
    __slots__ = ("_accounts", "_audit", "_rng", "_sign_in", "_waiting")

    def __init__(self, audit: Audit, accounts: Accounts, sign_in: SignIn, rng: Rng) -> None:
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._sign_in: Final = sign_in
        self._rng: Final = rng
        self._waiting: dict[str, tuple[SecretBytes, float]] = {}  # by account; oldest first

    def operations(self) -> Handlers:
        return {"totp-begin": self._begin, "totp-confirm": self._confirm, "totp-remove": self._remove}

    def _begin(self, request: q.Nothing, work: Work) -> r.TotpSecret:
        account = _without_codes(work)
        secret = new_secret(self._rng)
        self._waiting.pop(account.id, None)
        self._waiting[account.id] = secret, work.now + _WAITS
        if len(self._waiting) > _MOST:
            del self._waiting[next(iter(self._waiting))]
        return r.TotpSecret(text_of(secret), provisioning_uri(secret, account.login, _ISSUER))

    def _confirm(self, request: q.ConfirmCode, work: Work) -> r.Nothing:
        account = _without_codes(work)
        secret, until = self._waiting.get(account.id, (None, 0.0))
        if secret is None or until <= work.now:
            raise Problem("conflict", "one-time codes were not begun, or it took too long; begin again")
        try:
            step = verify_code(secret, request.code, work.now, 0)
        except CryptoError:
            text = "it is not right; look whether the clock of the device is"
            raise Problem("invalid", f"code: {text}", (FieldProblem("code", text),)) from None
        del self._waiting[account.id]
        self._accounts.put(replace(account, totp=secret, totp_step=step))
        self._audit.note(account.id, "totp-confirm", account.id, work.now)
        return r.Nothing()

    def _remove(self, request: q.ConfirmPassword, work: Work) -> Verify:
        if account_of(work.who).totp is None:
            raise Problem("conflict", "this account asks for no one-time codes")

        def then(account: Account, now: float) -> r.Nothing:
            self._accounts.put(replace(account, totp=None, totp_step=0))
            self._audit.note(account.id, "totp-remove", account.id, now)
            return r.Nothing()

        return self._sign_in.confirmed(request.password, account_of(work.who), "totp-remove", work, then)


def _without_codes(work: Work) -> Account:
    account = account_of(work.who)
    if account.totp is not None:
        raise Problem("conflict", "this account asks for one-time codes already; remove them first")
    return account
