"""The key server's side of GSA_AUTH up to the question of admission (RFC 9838 2.3.1; RFC 7296 2.15, 2.21.2).

Until AUTH verifies the peer may be anybody, although it holds keys. A failure is told by one notification,
and what was half-open is gone.
"""

from __future__ import annotations

from typing import Final

from gkmd.core.address import Path
from gkmd.core.effect import Effect
from gkmd.core.errors import CryptoError, PeerError
from gkmd.core.rng import Rng
from gkmd.ike.authenticate import Authenticator, identity_of
from gkmd.ike.dropped import dropped
from gkmd.ike.half_open import HalfOpen, HalfOpenTable
from gkmd.ike.notices import error_notify
from gkmd.ike.registrar import Registrar, Waiting
from gkmd.ike.registration_request import read_registration_request
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.sa_keeper import SaKeeper
from gkmd.ike.turn import Turn
from wire.errors import WireError
from wire.header import Header
from wire.ikev2 import Encrypted
from wire.message import Payload, first, notify, parse_inner
from wire.registry import FLAG_RESPONSE, AuthMethod, ExchangeType, NotifyType, PayloadType

_FIRST_AUTH_ID: Final = 1
_METHOD: Final = {
    AuthMethod.SHARED_KEY: "authenticated by shared key",
    AuthMethod.DIGITAL_SIGNATURE: "authenticated by digital signature",
}


class AuthResponder:
    """Takes half-open SAs to an Ask, or to their end."""

    __slots__ = ("_authenticator", "_keeper", "_registrar", "_rng", "_table")

    def __init__(
        self,
        authenticator: Authenticator,
        table: HalfOpenTable,
        keeper: SaKeeper,
        registrar: Registrar,
        rng: Rng,
    ) -> None:
        self._authenticator = authenticator
        self._table: Final = table
        self._keeper: Final = keeper
        self._registrar: Final = registrar
        self._rng: Final = rng

    def use(self, authenticator: Authenticator) -> None:
        """New credentials, from now on."""
        self._authenticator = authenticator

    def receive_untrusted(
        self, half: HalfOpen, data: bytes, header: Header, sealed: Encrypted, path: Path, now: float
    ) -> list[Effect]:
        """Effects for one sealed message on a half-open SA. Raises WireError and CryptoError."""
        if header.flags & FLAG_RESPONSE or header.exchange != ExchangeType.GSA_AUTH:
            raise WireError("unexpected-exchange", f"{header.exchange} on a half-open IKE SA")
        if header.message_id != _FIRST_AUTH_ID:
            raise WireError("message-id", f"{header.message_id}")
        turn = Turn()
        try:
            sa = half.keyed(self._rng, now)
        except CryptoError as error:
            self._table.remove(half, now)
            turn.tell("ike-sa-failed", "info", reason=f"key exchange: {error}", path=str(path))
            return turn.effects()
        plaintext = sa.unseal_untrusted(data, sealed)
        if sa.ask is not None:
            return [dropped("repeated", path)]
        sa.path = path
        try:
            payloads = parse_inner(header.exchange, False, sealed.first, plaintext)
            self._authenticate(turn, half, sa, payloads, path, now)
        except PeerError as error:
            # RFC 7296 2.21.2: the only payload, and it does not say why.
            self._refuse(turn, half, sa, error_notify(error.notify), str(error), path, now)
        except WireError as error:
            # RFC 7296 2.21.2: rejected as a whole, before anything about authentication is looked at.
            kind, detail = NotifyType.INVALID_SYNTAX, b""
            if error.reason == "unknown-critical":
                kind, detail = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((error.payload_type or 0,))
            self._refuse(turn, half, sa, error_notify(kind, detail), f"malformed: {error}", path, now)
        return self._keeper.finish(turn)

    def _authenticate(
        self, turn: Turn, half: HalfOpen, sa: IkeSa, payloads: list[Payload], path: Path, now: float
    ) -> None:
        authenticator = self._authenticator
        request = read_registration_request(payloads)
        id_i = first(payloads, PayloadType.ID_I)
        if id_i is None:
            raise WireError("rule-missing", "ID_I")
        believed = authenticator.verify(half.peers_proof(sa), id_i, payloads, now)
        method = believed.method
        sa.peer, sa.grounds = identity_of(id_i), believed.grounds
        proof = authenticator.prove(half.our_proof(sa), sa.peer, method, half.hashes)
        reason = _METHOD[method]
        turn.tells.append(sa.move(SaState.AUTHENTICATED, reason))
        waiting = Waiting(
            sa,
            request,
            ExchangeType.GSA_AUTH,
            path,
            [Payload(PayloadType.ID_R, authenticator.id_payload), *proof],
            half,
            notify(payloads, NotifyType.INITIAL_CONTACT) is not None,
            reason,
        )
        self._registrar.ask(turn, waiting)

    def _refuse(
        self, turn: Turn, half: HalfOpen, sa: IkeSa, notice: Payload, reason: str, path: Path, now: float
    ) -> None:
        """GSA_AUTH has failed: one notification, no SA."""
        self._table.remove(half, now)
        turn.tell("authentication-failed", "warning", path=str(path), reason=reason)
        turn.tells.append(sa.move(SaState.GONE, reason))
        self._keeper.reply(turn, sa, ExchangeType.GSA_AUTH, [notice], path, now)
        self._keeper.linger(sa, now)
