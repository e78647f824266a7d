"""The key server's side of GSA_AUTH up to the question of admission (RFC 9838 2.3.1; RFC 7296 2.15, 2.16,
2.21.2).

Until AUTH verifies the peer may be anybody, although it holds keys. A failure is told by one notification,
and what was half-open is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gkmd.core.address import Path
from gkmd.core.effect import AskPassword, Effect, Send
from gkmd.core.errors import CryptoError, PeerError
from gkmd.core.rng import Rng
from gkmd.group.directory import Directory
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import Refusal
from gkmd.ike import grounds
from gkmd.ike.authenticate import Authenticator, identity_of
from gkmd.ike.dropped import dropped
from gkmd.ike.evidence import NOTHING, read_evidence
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.half_open import HalfOpen, HalfOpenTable, Login, Stage, source_of
from gkmd.ike.notices import error_notify
from gkmd.ike.password_logins import Busy, PasswordChecks, begin, failure, prompt, read_password, success
from gkmd.ike.reason import build_reason, reason_of
from gkmd.ike.registrar import Registrar, Waiting
from gkmd.ike.registration_request import read_registration_request
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.sa_keeper import SaKeeper
from gkmd.ike.turn import Turn
from gkmd.ike.window import Admission
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
_BY_PASSWORD: Final = "authenticated by password"


class AuthResponder:
    """Takes half-open SAs to an Ask, or to their end."""

    __slots__ = (
        "_authenticator",
        "_checks",
        "_directory",
        "_keeper",
        "_registrar",
        "_rng",
        "_settings",
        "_table",
    )

    def __init__(
        self,
        authenticator: Authenticator,
        table: HalfOpenTable,
        keeper: SaKeeper,
        registrar: Registrar,
        directory: Directory,
        settings: GcksSettings,
        rng: Rng,
    ) -> None:
        self._authenticator = authenticator
        self._table: Final = table
        self._keeper: Final = keeper
        self._registrar: Final = registrar
        self._directory: Final = directory
        self._settings: Final = settings
        self._checks: Final = PasswordChecks(settings)
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
        if half.sa is None and header.message_id != _FIRST_AUTH_ID:
            raise WireError("message-id", f"{header.message_id}")
        turn = Turn()
        try:
            sa = half.keyed(self._rng, now)
        except CryptoError as error:
            self._table.remove(half, now)
            turn.tell("ike-sa-failed", "info", reason=f"key exchange: {error}", path=str(path))
            return turn.effects()
        admission = sa.window.admit(header.message_id)
        if admission is Admission.OUTSIDE:
            raise WireError("message-id", f"{header.message_id}")
        plaintext = sa.unseal_untrusted(data, sealed)
        if admission is Admission.REPEATED:
            # RFC 7296 2.1: of an EAP exchange that is over.
            self._keeper.repeat_reply(turn, sa, path)
            return self._keeper.finish(turn)
        if sa.ask is not None:
            return [dropped("repeated", path)]
        sa.path = path
        try:
            payloads = parse_inner(header.exchange, False, sealed.first, plaintext)
            self._on_request(turn, half, sa, payloads, path, now)
        except PeerError as error:
            # RFC 7296 2.21.2: the only payload, and it does not say why. RFC 7296 2.16: EAP ends by Failure.
            notice = [error_notify(error.notify)]
            self._refuse(
                turn, half, sa, [failure(), *notice] if half.login else notice, str(error), path, now
            )
        except WireError as error:
            # RFC 7296 2.21.2: rejected as a whole, before anything about authentication is looked at.
            kind, detail = NotifyType.INVALID_SYNTAX, b""
            if error.reason == "unknown-critical":
                kind, detail = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((error.payload_type or 0,))
            self._refuse(turn, half, sa, [error_notify(kind, detail)], f"malformed: {error}", path, now)
        return self._keeper.finish(turn)

    def _on_request(
        self, turn: Turn, half: HalfOpen, sa: IkeSa, payloads: list[Payload], path: Path, now: float
    ) -> None:
        login = half.login
        if login is None:
            if first(payloads, PayloadType.ID_I) is not None and first(payloads, PayloadType.AUTH) is None:
                self._begin_login(turn, half, sa, payloads, path)
            else:
                self._authenticate(turn, half, sa, payloads, path, now)
        elif login.stage is Stage.PASSED:
            self._finish_login(turn, half, sa, login, payloads, path)
        else:
            self._check_password(turn, half, sa, login, payloads, path, now)

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

    # --- EAP --------------------------------------------------------------------------------------

    def _begin_login(
        self, turn: Turn, half: HalfOpen, sa: IkeSa, payloads: list[Payload], path: Path
    ) -> None:
        """RFC 7296 2.16: we prove ourselves by a signature, and ask for the password."""
        authenticator = self._authenticator
        if not self._settings.passwords or self._directory.doorkeeper is None or not authenticator.signs:
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, "no AUTH payload, and no passwords here")
        login = begin(payloads)
        # No method of the peer: whatever we share with somebody of this name, a signature it has to be.
        proof = authenticator.sign(half.our_proof(sa), half.hashes)
        half.login = login
        id_r = Payload(PayloadType.ID_R, authenticator.id_payload)
        self._send(turn, sa, [id_r, *proof, prompt()], path)

    def _check_password(
        self,
        turn: Turn,
        half: HalfOpen,
        sa: IkeSa,
        login: Login,
        payloads: list[Payload],
        path: Path,
        now: float,
    ) -> None:
        password = read_password(payloads)
        number = self._registrar.next_number()
        try:
            question = self._checks.ask(number, half, login, password, source_of(path), path, now)
        except Busy:
            later = now + self._settings.busy_wait
            self._fail_login(turn, half, sa, PasswordVerdict(Refusal.BUSY, later), path, now)
            return
        sa.ask, login.stage = number, Stage.CHECKING
        turn.asks.append(question)

    def answer(self, turn: Turn, ask: AskPassword, verdict: PasswordVerdict, now: float) -> None:
        """The shell's word on a password. It counts as a try also when it comes too late."""
        check = self._checks.take(ask.number)
        if check is not None and self._directory.doorkeeper is not None:
            turn.changes += self._directory.doorkeeper.password_tried(ask, verdict, now)
        half = None if check is None else check.half
        if check is None or half is None or self._table.get(half.spi_r) is not half:
            turn.tell("verdict-unused", "debug", peer=str(ask.identity), group=str(ask.group_id))
            return
        sa, login = half.sa, half.login
        assert sa is not None
        assert login is not None
        sa.ask = None
        if verdict.refusal is not None:
            self._fail_login(turn, half, sa, verdict, check.path, now)
            return
        login.stage, login.grounds = Stage.PASSED, verdict.grounds
        login.identity = verdict.identity or login.identity
        self._send(turn, sa, [success()], check.path)

    def _finish_login(
        self, turn: Turn, half: HalfOpen, sa: IkeSa, login: Login, payloads: list[Payload], path: Path
    ) -> None:
        """RFC 7296 2.16: AUTH binds the name to the keys of this very SA."""
        auth = first(payloads, PayloadType.AUTH)
        if auth is None or first(payloads, PayloadType.ID_I) is not None:
            raise WireError("rule-missing", "AUTH alone, to end EAP")
        authenticator = self._authenticator
        authenticator.verify_after_eap(half.peers_proof(sa), login.id_i, auth)
        sa.peer, sa.grounds = login.identity, grounds.password(login.grounds)
        turn.tells.append(sa.move(SaState.AUTHENTICATED, _BY_PASSWORD))
        request = login.request
        shown = read_evidence(payloads)
        if shown is not NOTHING:
            request = replace(request, shown=shown)
        waiting = Waiting(
            sa,
            request,
            ExchangeType.GSA_AUTH,
            path,
            [authenticator.prove_after_eap(half.our_proof(sa))],
            half,
            login.initial_contact,
            _BY_PASSWORD,
        )
        self._registrar.ask(turn, waiting)

    def _send(self, turn: Turn, sa: IkeSa, payloads: list[Payload], path: Path) -> None:
        """A reply on the way to authentication: nothing of it is journalled."""
        turn.sends.append(Send(sa.reply(ExchangeType.GSA_AUTH, payloads), path))

    def _fail_login(
        self, turn: Turn, half: HalfOpen, sa: IkeSa, verdict: PasswordVerdict, path: Path, now: float
    ) -> None:
        assert verdict.refusal is not None
        told = build_reason(reason_of(verdict.refusal, verdict.come_back))
        payloads = [failure(), error_notify(NotifyType.AUTHENTICATION_FAILED), told]
        self._refuse(turn, half, sa, payloads, verdict.refusal.value, path, now)

    def _refuse(
        self, turn: Turn, half: HalfOpen, sa: IkeSa, told: list[Payload], reason: str, path: Path, now: float
    ) -> None:
        """GSA_AUTH has failed: one message, no SA."""
        self._table.remove(half, now)
        turn.tell("authentication-failed", "warning", path=str(path), reason=reason)
        turn.tells.append(sa.move(SaState.GONE, reason))
        self._keeper.reply(turn, sa, ExchangeType.GSA_AUTH, told, path, now)
        self._keeper.linger(sa, now)
