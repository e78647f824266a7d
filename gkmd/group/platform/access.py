"""Who calls, and what they may do: tokens become accounts, accounts have roles, tokens of the API scopes."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Final

from gkmd.api.operations import Operation
from gkmd.api.problem import Problem
from gkmd.core.rng import Rng
from gkmd.group.platform.accounts import Accounts
from gkmd.group.platform.audit import STRANGER
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.records import Account, ApiToken, Session
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.work import Who

API_PREFIX: Final = "gkmd_"  # of API tokens, so that scanners for leaked secrets can find them
_LONGEST_TOKEN: Final = 128
# What opens the account for longer than the session: not for who has found a browser that is signed in.
LASTING: Final = frozenset({"token-create", "passkey-begin", "totp-begin"})
_FRESH: Final = 3600.0  # seconds after the sign-in
_TOUCHED: Final = 60.0  # seconds after which a session's last use is written again


class Access:
    """``settings`` are asked for each time: the operator may change them."""

    __slots__ = ("_accounts", "_facts", "_settings", "_tokens")

    def __init__(self, facts: Facts, settings: PlatformSettings, accounts: Accounts) -> None:
        self._facts: Final = facts
        self._settings = settings
        self._accounts: Final = accounts
        self._tokens: Final = facts.index(ApiToken, lambda token: token.digest)

    def adopt(self, settings: PlatformSettings) -> None:
        self._settings = settings

    def who(self, caller: Caller, now: float) -> Who:
        """The caller; a token that is none any more makes it a stranger.

        Tokens are found by their digests: the time of a look-up tells nothing about the token.
        """
        if not caller.token:
            if caller.unix_user is None:
                return Who(STRANGER, None, frozenset(), None, caller.origin)
            return Who(f"unix:{caller.unix_user}", None, frozenset({"operator"}), None, caller.origin)
        found = self._of_token(caller, now) if len(caller.token) <= _LONGEST_TOKEN else None
        return found or Who(STRANGER, None, frozenset(), None, caller.origin)

    def _of_token(self, caller: Caller, now: float) -> Who | None:
        digest = digest_of(caller.token)
        if caller.token.startswith(API_PREFIX):
            token = next(iter(self._tokens.find(digest).values()), None)
            if token is None or (token.expires is not None and token.expires <= now):
                return None
            account = self._live(token.account)
            if account is None:
                return None
            roles = set(account.roles)
            if "operate" not in token.scopes:
                roles.discard("operator")
            return Who(account.id, account, frozenset(roles), frozenset(token.scopes), caller.origin)
        session = self._facts.get(Session, digest)
        if session is None or self.over(session, now):
            return None
        account = self._live(session.account)
        if account is None:
            return None
        return Who(account.id, account, frozenset(account.roles), None, caller.origin, session.digest)

    def _live(self, id: str) -> Account | None:
        account = self._accounts.get(id)
        return None if account is None or account.disabled else account

    def over(self, session: Session, now: float) -> bool:
        """Whether it has been idle for too long, or has lasted for as long as any may."""
        longest = min(session.expires, session.created + self._settings.session_longest)
        return now >= longest or now >= session.used + self._settings.session_idle

    def used(self, who: Who, now: float) -> None:
        """The session is in use; not every use is written down."""
        session = self._facts.get(Session, who.session) if who.session else None
        if session is not None and now - session.used >= min(_TOUCHED, self._settings.session_idle / 10):
            self._facts.put(replace(session, used=now))

    def again(self, who: Who, caller: Caller, now: float) -> Who:
        """The caller after a password was looked at elsewhere: as it is now. Problem when it is signed out or
        disabled meanwhile.
        """
        if who.account is None:
            return who
        found = self.who(caller, now)
        if found.account is None or found.account.id != who.account.id:
            raise Problem("sign-in-required", "the session has ended meanwhile; sign in again")
        return found

    def check_fresh(self, operation: Operation, who: Who, now: float) -> None:
        """Problem ``sign-in-required`` when this takes a session that was begun lately."""
        session = self._facts.get(Session, who.session) if operation.name in LASTING else None
        if session is not None and now >= session.created + _FRESH:
            text = f"{operation.name} takes a sign-in within the last hour; sign in again"
            raise Problem("sign-in-required", text, reason="sign-in-again")

    def check(self, operation: Operation, caller: Caller, who: Who) -> None:
        """Problem ``sign-in-required`` or ``forbidden`` unless this caller may use the operation at all."""
        stranger = who.account is None and "operator" not in who.roles
        # Who shows a session's token that has ended may do what everybody may, above all sign in again.
        if stranger and (operation.access != "anyone" or caller.token.startswith(API_PREFIX)):
            what = "the token is not valid, or not any more" if caller.token else "nobody is signed in"
            raise Problem("sign-in-required", f"{operation.name}: {what}")
        if who.scopes is not None:
            if operation.scope is None:
                raise Problem("forbidden", f"{operation.name} takes a session; an API token will not do")
            if operation.scope not in who.scopes:
                raise Problem(
                    "forbidden", f"{operation.name} needs a token with the scope {operation.scope!r}"
                )
        if operation.access == "operator" and not who.operates:
            raise Problem("forbidden", f"{operation.name} is for operators")
        if operation.access == "sender" and not who.operates and "sender" not in who.roles:
            raise Problem("forbidden", f"{operation.name} is for senders; ask the operator for the role")


def account_of(who: Who) -> Account:
    """The caller's account. Problem ``forbidden`` for the operator's socket, which has none."""
    if who.account is None:
        raise Problem("forbidden", "this is about an account, and the operator's socket has none")
    return who.account


def new_token(rng: Rng) -> str:
    """256 random bits, as they are shown once."""
    return base64.urlsafe_b64encode(rng(32)).decode("ascii").rstrip("=")


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
