"""Sessions of who has signed in: each a random token of which only the digest is kept."""

from __future__ import annotations

from typing import Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.core.rng import Rng
from gkmd.group.platform.access import Access, account_of, digest_of, new_token
from gkmd.group.platform.accounts import view
from gkmd.group.platform.audit import Audit, place_of
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import Account, Session
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.platform.work import Handlers, Work

MOST_OF_ONE: Final = 20  # of an account; the one that was used longest ago makes room


class Sessions:
    __slots__ = ("_access", "_audit", "_facts", "_of_account", "_rng", "_settings")

    def __init__(
        self, facts: Facts, settings: PlatformSettings, audit: Audit, access: Access, rng: Rng
    ) -> None:
        self._facts: Final = facts
        self._settings = settings
        self._audit: Final = audit
        self._access: Final = access
        self._rng: Final = rng
        self._of_account: Final = facts.index(Session, lambda session: session.account)

    def adopt(self, settings: PlatformSettings) -> None:
        self._settings = settings

    def operations(self) -> Handlers:
        return {"sign-out": self._sign_out, "session-list": self._list, "sessions-end": self._end_others}

    def begin(self, account: Account, via: str, work: Work) -> r.SignedIn:
        """A new session; ``via`` says how the account was proved."""
        mine = self._of_account.find(account.id)
        if len(mine) >= MOST_OF_ONE:
            self._facts.drop(min(mine.values(), key=lambda session: session.used))
        token, now = new_token(self._rng), work.now
        expires = now + self._settings.session_longest
        self._facts.put(Session(digest_of(token), account.id, via, now, now, expires))
        self._audit.note(account.id, "sign-in", account.id, now, via=via, origin=place_of(work.who.origin))
        return r.SignedIn(token, expires, view(account))

    def end(self, account: str, but: str = "") -> int:
        """All sessions of an account end, except the one with this digest; how many did."""
        ended = [one for one in self._of_account.find(account).values() if one.digest != but]
        for session in ended:
            self._facts.drop(session)
        return len(ended)

    def sweep(self, now: float) -> None:
        """Those that are over go."""
        for session in [one for one in self._facts.all(Session) if self._access.over(one, now)]:
            self._facts.drop(session)

    def _sign_out(self, request: q.Nothing, work: Work) -> r.Nothing:
        account = account_of(work.who)
        session = self._facts.get(Session, work.who.session)
        if session is not None:
            self._facts.drop(session)
            self._audit.note(account.id, "sign-out", account.id, work.now)
        return r.Nothing()

    def _list(self, request: q.Nothing, work: Work) -> r.Sessions:
        mine = self._of_account.find(account_of(work.who).id).values()
        live = [one for one in mine if not self._access.over(one, work.now)]
        return r.Sessions(
            tuple(
                r.SessionView(one.digest[:16], one.via, one.created, one.used, one.digest == work.who.session)
                for one in sorted(live, key=lambda one: one.used, reverse=True)
            )
        )

    def _end_others(self, request: q.Nothing, work: Work) -> r.Nothing:
        account = account_of(work.who)
        ended = self.end(account.id, but=work.who.session)
        if ended:
            self._audit.note(account.id, "sessions-end", account.id, work.now, sessions=ended)
        return r.Nothing()
