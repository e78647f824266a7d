"""A member's search for a key server: attempts with one after the other, with back-off and jitter between
rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gkmd.core.effect import Send
from gkmd.core.rng import Rng
from gkmd.group.model import Refusal
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.eap_peer import LoginRefused
from gkmd.ike.enrolment import Enrolment, doubled, jittered, when_to_come_back
from gkmd.ike.initiator import Attempt, AttemptFailed
from gkmd.ike.member_settings import MemberSettings, Server
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.reason import Reason
from gkmd.ike.sa import IkeSa
from gkmd.ike.turn import Turn
from wire.errors import WireError
from wire.header import Header
from wire.ikev2 import Encrypted
from wire.message import Message, Payload


class Connector:
    """One attempt at a time, for the group that is most due; it goes into GSA_AUTH."""

    __slots__ = (
        "_attempt",
        "_authenticator",
        "_enrolment",
        "_evidence",
        "_failed_at",
        "_failures",
        "_no_login_before",
        "_policy",
        "_registration",
        "_rng",
        "_server",
        "_servers",
        "_settings",
        "ready_at",
    )

    def __init__(
        self,
        authenticator: Authenticator,
        policy: IkePolicy,
        servers: Sequence[Server],
        settings: MemberSettings,
        rng: Rng,
    ) -> None:
        self._authenticator: Final = authenticator
        self._policy: Final = policy
        self._servers: Final = tuple(servers)
        self._settings: Final = settings
        self._rng: Final = rng
        self._attempt: Attempt | None = None
        self._enrolment: Enrolment | None = None
        self._registration: Sequence[Payload] = ()
        self._evidence: Sequence[Payload] = ()
        self._server = 0
        self._failures = 0
        self._failed_at = -math.inf
        self._no_login_before = 0.0
        self.ready_at = 0.0  # not before this instant

    @property
    def busy(self) -> bool:
        """An attempt is under way."""
        return self._attempt is not None

    @property
    def spi_i(self) -> bytes:
        """Our SPI of the attempt, empty when there is none."""
        return b"" if self._attempt is None else self._attempt.spi_i

    def begin(
        self,
        turn: Turn,
        enrolment: Enrolment,
        registration: Sequence[Payload],
        evidence: Sequence[Payload],
        now: float,
    ) -> None:
        """Ask the next server. ``registration`` is the group part of GSA_AUTH, ``evidence`` what is shown
        after EAP.
        """
        server = self._servers[self._server]
        backoff = self._settings.connect_backoff
        self._attempt = Attempt(server, self._authenticator, self._policy, backoff, self._rng, now)
        self._enrolment, self._registration, self._evidence = enrolment, registration, evidence
        self._send(turn, self._attempt)
        turn.tell("connecting", "debug", server=str(server.identity), path=str(server.path))

    def abandon(self) -> None:
        """The attempt is of no use any more."""
        self._attempt = self._enrolment = None

    def _send(self, turn: Turn, attempt: Attempt) -> None:
        turn.sends += [Send(datagram, attempt.server.path) for datagram in attempt.datagrams]

    def tick(self, turn: Turn, now: float) -> None:
        """Ask again, or give up and turn to the next server."""
        attempt = self._attempt
        if attempt is not None and attempt.next_at <= now:
            try:
                attempt.retransmit(now)
                self._send(turn, attempt)
            except AttemptFailed as error:
                self._failed(turn, attempt, error, now)

    def deadline(self) -> float | None:
        return None if self._attempt is None else self._attempt.next_at

    def receive_init_untrusted(self, turn: Turn, data: bytes, message: Message, now: float) -> None:
        """An answer to IKE_SA_INIT. Raises WireError and CryptoError when it is as good as none."""
        attempt = self._attempt
        if attempt is None:
            raise WireError("unexpected-exchange", "IKE_SA_INIT")
        datagram = attempt.receive_init_untrusted(data, message, self._registration, now)
        turn.sends.append(Send(datagram, attempt.server.path))

    def receive_auth_untrusted(
        self, turn: Turn, data: bytes, header: Header, sealed: Encrypted, now: float
    ) -> tuple[IkeSa, Enrolment, list[Payload]] | None:
        """The SA, the group and the payloads of the last reply when the server is the right one; None when it
        is not, or when there is more to say before.
        """
        attempt, enrolment = self._attempt, self._enrolment
        if attempt is None or enrolment is None:
            raise WireError("unknown-spi")
        try:
            connected = attempt.receive_auth_untrusted(data, header, sealed, self._evidence, now)
        except AttemptFailed as error:
            self._failed(turn, attempt, error, now)
            return None
        if connected is None:
            self._send(turn, attempt)
            return None
        sa, payloads = connected
        self.abandon()
        self._failures = 0
        return sa, enrolment, payloads

    def _failed(self, turn: Turn, attempt: Attempt, error: AttemptFailed, now: float) -> None:
        turn.tell("connect-failed", "warning", server=str(attempt.server.identity), reason=str(error))
        if error.notice:
            turn.sends.append(Send(error.notice, attempt.server.path))
        enrolment = self._enrolment
        self.abandon()
        self.next_server(now)
        if error.refused is not None:
            self._login_refused(turn, error.refused, enrolment, now)

    def _login_refused(
        self, turn: Turn, refused: LoginRefused, enrolment: Enrolment | None, now: float
    ) -> None:
        """Every further try with a wrong password brings a lock-out nearer, at whichever server."""
        reason = refused.reason or Reason(Refusal.WRONG_PASSWORD.value)
        at = when_to_come_back(reason, self._settings, self._rng, now)
        if at is None and reason.code != Refusal.BUSY.value:
            at = now + jittered(self._settings.slow_retry, self._rng)
        self.ready_at = self._no_login_before = max(self.ready_at, at or 0.0)
        if enrolment is not None:
            enrolment.member.refusal = reason
        turn.tell("login-refused", "warning", why=reason.code, again_in=round(self.ready_at - now, 1))

    def hurry(self) -> None:
        """An operator's wish goes before any wait."""
        self.ready_at = self._no_login_before = 0.0

    def wished(self) -> None:
        """A program's wish goes before a long wait for a server, not before that of a refused login."""
        soon = min(self.ready_at, self._failed_at + self._settings.wish_pause)
        self.ready_at = max(soon, self._no_login_before)

    def next_server(self, now: float) -> None:
        """Fail over: at once to a server that was not tried in this round, after a wait to the first
        again.
        """
        self._server = (self._server + 1) % len(self._servers)
        self._failures += 1
        self._failed_at = now
        rounds, place = divmod(self._failures, len(self._servers))
        wait = jittered(doubled(self._settings, rounds), self._rng) if place == 0 else 0.0
        self.ready_at = now + wait
