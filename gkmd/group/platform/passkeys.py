"""Passkeys of accounts: registered, removed, and signed in with."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NoReturn

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.errors import CryptoError
from gkmd.core.rng import Rng
from gkmd.crypto import passkeys as webauthn
from gkmd.group.platform.access import account_of
from gkmd.group.platform.accounts import Accounts, passkey_name, passkey_view
from gkmd.group.platform.audit import Audit, place_of
from gkmd.group.platform.challenges import Challenges
from gkmd.group.platform.records import Account, Passkey
from gkmd.group.platform.sessions import Sessions
from gkmd.group.platform.work import Handlers, Work

MOST_OF_ONE: Final = 20


class Passkeys:
    __slots__ = ("_accounts", "_audit", "_registering", "_sessions", "_signing_in")

    def __init__(self, audit: Audit, accounts: Accounts, sessions: Sessions, rng: Rng) -> None:
        self._audit: Final = audit
        self._accounts: Final = accounts
        self._sessions: Final = sessions
        # Apart, so that strangers cannot push out the challenges of who is registering.
        self._registering: Final = Challenges(rng)
        self._signing_in: Final = Challenges(rng)

    def operations(self) -> Handlers:
        return {
            "passkey-begin": self._begin,
            "passkey-add": self._add,
            "passkey-remove": self._remove,
            "passkey-sign-in-begin": self._sign_in_begin,
            "passkey-sign-in": self._sign_in,
        }

    def _begin(self, request: q.PasskeyBegin, work: Work) -> r.Options:
        account, origin = account_of(work.who), _origin(request.origin)
        if len(account.passkeys) >= MOST_OF_ONE:
            raise Problem("conflict", f"there are {MOST_OF_ONE} passkeys already; remove one first")
        challenge = self._registering.make(account.id, origin, work.now)
        known = [passkey.id for passkey in account.passkeys]
        options = webauthn.creation_options(
            origin, challenge.octets, account.id.encode(), account.login, account.name, known
        )
        return r.Options(challenge.octets.hex(), options)

    def _add(self, request: q.PasskeyAdd, work: Work) -> r.PasskeyView:
        account, now = account_of(work.who), work.now
        challenge = self._registering.take(request.challenge, account.id, _origin(request.origin), now)
        if challenge is None:
            raise Problem("conflict", "this registration was not begun, or took too long; begin again")
        try:
            new = webauthn.verify_creation(request.credential, request.origin, challenge.octets)
        except CryptoError as error:
            raise Problem("invalid", str(error), (FieldProblem("credential", str(error)),)) from None
        if any(passkey.id == new.id for other in self._accounts.all() for passkey in other.passkeys):
            raise Problem("conflict", "this passkey is registered already")
        if len(account.passkeys) >= MOST_OF_ONE:
            raise Problem("conflict", f"there are {MOST_OF_ONE} passkeys already; remove one first")
        passkey = Passkey(new.id, new.public_key, new.counter, request.name, now)
        self._accounts.put(replace(account, passkeys=(*account.passkeys, passkey)))
        self._audit.note(account.id, "passkey-add", account.id, now, passkey=passkey_name(new.id))
        return passkey_view(passkey)

    def _remove(self, request: q.ById, work: Work) -> r.Nothing:
        account = account_of(work.who)
        left = tuple(passkey for passkey in account.passkeys if passkey_name(passkey.id) != request.id)
        if len(left) == len(account.passkeys):
            raise Problem("not-found", f"there is no passkey {request.id!r} of yours")
        if not left and not len(account.password):
            raise Problem(
                "conflict", "this is the only way to sign in to this account; add another one first"
            )
        self._accounts.put(replace(account, passkeys=left))
        self._audit.note(account.id, "passkey-remove", account.id, work.now, passkey=request.id)
        return r.Nothing()

    def _sign_in_begin(self, request: q.PasskeySignInBegin, work: Work) -> r.Options:
        origin = _origin(request.origin)
        challenge = self._signing_in.make("", origin, work.now)
        return r.Options(challenge.octets.hex(), webauthn.request_options(origin, challenge.octets))

    def _sign_in(self, request: q.PasskeySignIn, work: Work) -> r.SignedIn:
        challenge = self._signing_in.take(request.challenge, "", _origin(request.origin), work.now)
        if challenge is None:
            raise Problem("sign-in-failed", "this sign-in was not begun, or took too long; begin again")
        account, passkey = self._claimed(request, work)
        try:
            counter = webauthn.verify_assertion(
                request.credential, request.origin, challenge.octets, passkey.public_key, passkey.counter
            )
        except CryptoError:
            self._wrong(account.id, work)
        if account.disabled:
            self._remember("forbidden", account.id, work)
            raise Problem("forbidden", "this account is disabled; ask the operator")
        used = replace(passkey, counter=counter)
        account = replace(
            account, passkeys=tuple(used if one.id == used.id else one for one in account.passkeys)
        )
        if counter:
            self._accounts.put(account)
        return self._sessions.begin(account, "passkey", work)

    def _claimed(self, request: q.PasskeySignIn, work: Work) -> tuple[Account, Passkey]:
        """Whose passkey it says it is: the user handle is the id of an account, as it was registered."""
        try:
            id, user = webauthn.id_of(request.credential), webauthn.user_of(request.credential)
        except CryptoError:
            self._wrong("", work)
        account = self._accounts.get((user or b"").decode("ascii", "replace"))
        for passkey in () if account is None else account.passkeys:
            if account is not None and passkey.id == id:
                return account, passkey
        self._wrong("", work)

    def _wrong(self, account: str, work: Work) -> NoReturn:
        self._remember("sign-in-failed", account, work)
        raise Problem("sign-in-failed", "this passkey does not open any account here")

    def _remember(self, code: str, account: str, work: Work) -> None:
        def act() -> None:
            self._audit.refusal(
                work.who.actor,
                "sign-in",
                account,
                work.now,
                refused=code,
                via="passkey",
                origin=place_of(work.who.origin),
            )

        work.even_if_refused(act)


def _origin(origin: str) -> str:
    try:
        webauthn.party_of(origin)
    except ValueError as error:
        raise Problem("invalid", str(error), (FieldProblem("origin", str(error)),)) from None
    return origin
