"""Tokens of the API: for programs, with scopes, until they expire or are revoked."""

from __future__ import annotations

from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.rng import Rng
from gkmd.group.platform.access import API_PREFIX, account_of, digest_of, new_token
from gkmd.group.platform.audit import Audit
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.ids import new_id
from gkmd.group.platform.records import ApiToken
from gkmd.group.platform.work import Handlers, Work

MOST_OF_ONE: Final = 100


class Tokens:
    __slots__ = ("_audit", "_facts", "_of_account", "_rng")

    def __init__(self, facts: Facts, audit: Audit, rng: Rng) -> None:
        self._facts: Final = facts
        self._audit: Final = audit
        self._rng: Final = rng
        self._of_account: Final = facts.index(ApiToken, lambda token: token.account)

    def operations(self) -> Handlers:
        return {"token-create": self._create, "token-list": self._list, "token-revoke": self._revoke}

    def revoke_all(self, account: str) -> int:
        mine = tuple(self._of_account.find(account).values())
        for token in mine:
            self._facts.drop(token)
        return len(mine)

    def sweep(self, now: float) -> None:
        """Those that have expired go."""
        for token in tuple(self._facts.all(ApiToken)):
            if token.expires is not None and token.expires <= now:
                self._facts.drop(token)

    def _create(self, request: q.CreateToken, work: Work) -> r.NewToken:
        account, now = account_of(work.who), work.now
        if len(self._of_account.find(account.id)) >= MOST_OF_ONE:
            raise Problem("conflict", f"there are {MOST_OF_ONE} tokens already; revoke one first")
        if request.expires is not None and not now < request.expires < float("inf"):
            text = "it is in the past"
            raise Problem("invalid", f"expires: {text}", (FieldProblem("expires", text),))
        scopes = tuple(dict.fromkeys(request.scopes))
        if "operate" in scopes and not work.who.operates:
            text = "the scope operate is for operators"
            raise Problem("invalid", f"scopes: {text}", (FieldProblem("scopes", text),))
        text = API_PREFIX + new_token(self._rng)
        id = new_id("tk-", self._rng)
        token = ApiToken(id, digest_of(text), account.id, request.name, scopes, now, request.expires)
        self._facts.put(token)
        self._audit.note(account.id, "token-create", id, now, scopes=scopes)
        return r.NewToken(text, _view(token))

    def _list(self, request: q.Nothing, work: Work) -> r.Tokens:
        mine = self._of_account.find(account_of(work.who).id).values()
        return r.Tokens(tuple(_view(token) for token in sorted(mine, key=lambda token: token.created)))

    def _revoke(self, request: q.ById, work: Work) -> r.Nothing:
        account = account_of(work.who)
        token = self._of_account.find(account.id).get(request.id)
        if token is None:
            raise Problem("not-found", f"there is no token {request.id!r} of yours")
        self._facts.drop(token)
        self._audit.note(account.id, "token-revoke", token.id, work.now)
        return r.Nothing()


def _view(token: ApiToken) -> r.TokenView:
    return r.TokenView(token.id, token.name, token.scopes, token.created, token.expires)
