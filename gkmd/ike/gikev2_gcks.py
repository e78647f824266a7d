"""The key server's endpoint of G-IKEv2: a pure machine with five verbs (RFC 9838 2.3, 2.4; RFC 7296 1 and 2).

    IKE_SA_INIT        init_responder      half-open SA
    GSA_AUTH           -> Ask -> answer    established SA, first group or its refusal
    GSA_REGISTRATION   -> Ask -> answer    further groups; leaving one is answered at once
    INFORMATIONAL      liveness, Delete
    tick               rekeys and their copies, liveness, retransmissions, ends

``_ON_REQUEST`` and ``_ON_REPLY`` say what is done with an authentic message in each state of its SA; what
is not there is an error of the peer. All that changes goes through one ``Turn`` and is journalled before
anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from gkmd.core.address import Path
from gkmd.core.change import Journalled
from gkmd.core.effect import Ask, AskPassword, Effect, Proof
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import Rng
from gkmd.group.directory import Directory
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import Left, Refusal, RekeyOrder, Verdict
from gkmd.ike import gcks_settings
from gkmd.ike.auth_responder import AuthResponder
from gkmd.ike.authenticate import Authenticator, canonical
from gkmd.ike.credentials import Credentials
from gkmd.ike.dropped import dropped
from gkmd.ike.gcks_settings import Command, GcksSettings
from gkmd.ike.grounds import proof_of
from gkmd.ike.init_responder import InitResponder
from gkmd.ike.notices import error_notify, error_of, fatal_of, name_of_notify
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.registrar import Registrar, Waiting
from gkmd.ike.registration_request import read_registration_request
from gkmd.ike.rekey_sender import send_orders, send_repeat
from gkmd.ike.removal import DELETE_IKE_SA, deletion_of
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.sa_keeper import SaKeeper
from gkmd.ike.turn import Turn
from gkmd.ike.window import Admission
from gkmd.ike.withdrawal import Withdrawal
from wire.errors import WireError
from wire.header import Header, peek_untrusted
from wire.ikev2 import Encrypted
from wire.message import Payload, each, first, parse_inner, parse_untrusted
from wire.registry import (
    FLAG_INITIATOR,
    FLAG_RESPONSE,
    ExchangeType,
    NotifyType,
    PayloadType,
    ProtocolId,
)


class Gcks:
    """``receive`` gets datagrams without the non-ESP marker; neither WireError nor CryptoError leaves it.

    ``done`` has to be called for every Persist, in order, with None or the StoreError. ``settings``,
    ``policy`` and ``credentials`` are as their classes say. ``journalled`` is what the journal held, the
    same as the directory got.
    """

    def __init__(
        self,
        credentials: Credentials,
        policy: IkePolicy,
        directory: Directory,
        rng: Rng,
        settings: GcksSettings | None = None,
        journalled: Journalled | None = None,
    ) -> None:
        settings = settings or GcksSettings()
        self._settings: Final = settings
        self._directory: Final = directory
        self._rng: Final = rng
        self._authenticator = authenticator = Authenticator(credentials, directory.doorkeeper)
        self._keeper: Final = SaKeeper(directory, settings, rng)
        self._registrar: Final = Registrar(directory, rng)
        self._init: Final = InitResponder(authenticator, policy, settings, rng, self._taken)
        self._auth: Final = AuthResponder(
            authenticator, self._init.table, self._keeper, self._registrar, directory, settings, rng
        )
        self._withdrawal: Final = Withdrawal(self._init.table, self._keeper, self._registrar, directory)
        self._journalled: Journalled | None = journalled

    def _taken(self, spi_r: bytes) -> bool:
        return (
            spi_r in self._keeper.table
            or spi_r in self._init.table
            or self._keeper.lingering(spi_r) is not None
        )

    @property
    def ike_sas(self) -> int:
        """How many IKE SAs are established, for the control socket."""
        return len(self._keeper.table)

    @property
    def half_open(self) -> int:
        """How many registrations are under way, for the control socket."""
        return len(self._init.table)

    def start(self, now: float) -> list[Effect]:
        """Once, before the other verbs: journal the first SAs of new groups, take up the IKE SAs of the
        journal.
        """
        turn = Turn()
        journalled, self._journalled = self._journalled, None
        turn.changes += self._directory.start_changes()
        if journalled is not None:
            self._keeper.restore(journalled.ike_sas, now)
            self._withdrawal.of_credentials(turn, self._authenticator, now)
        turn.tell("key-server-started", groups=len(self._directory.groups()), ike_sas=len(self._keeper.table))
        return self._keeper.finish(turn)

    # --- receive ----------------------------------------------------------------------------------

    def receive(self, data: bytes, path: Path, now: float) -> list[Effect]:
        """One datagram from the network."""
        try:
            header = peek_untrusted(data)
            if header.exchange == ExchangeType.IKE_SA_INIT:
                return self._init.receive_untrusted(data, header, path, now)
            return self._receive_sealed_untrusted(data, header, path, now)
        except WireError as error:
            return [dropped(error.reason, path, str(error))]
        except CryptoError as error:
            return [dropped("not-authentic", path, str(error))]

    def _receive_sealed_untrusted(self, data: bytes, header: Header, path: Path, now: float) -> list[Effect]:
        if not header.flags & FLAG_INITIATOR:
            raise WireError("flags", "we are the responder of all our IKE SAs")
        keeper = self._keeper
        sa = keeper.table.get(header.spi_r)
        half = None if sa is not None else self._init.table.get(header.spi_r)
        lingering = keeper.lingering(header.spi_r) if sa is None and half is None else None
        known = sa or half or lingering
        if known is None or known.spi_i != header.spi_i:
            # RFC 7296 2.21.4: an answer would be optional, and could be made use of.
            raise WireError("unknown-spi")
        sealed = first(parse_untrusted(data, header).payloads, PayloadType.SK)
        if sealed is None:
            raise WireError("fragment", "IKE fragmentation was not agreed on")
        if half is not None:
            return self._auth.receive_untrusted(half, data, header, sealed, path, now)
        assert isinstance(known, IkeSa)
        if header.flags & FLAG_RESPONSE:
            return self._on_reply(known, data, header, sealed, now)
        return self._on_request(known, data, header, sealed, path, now)

    def _on_request(
        self, sa: IkeSa, data: bytes, header: Header, sealed: Encrypted, path: Path, now: float
    ) -> list[Effect]:
        admission = sa.window.admit(header.message_id)
        if admission is Admission.OUTSIDE or (admission is Admission.NEW and sa.state is SaState.GONE):
            raise WireError("message-id", f"{header.message_id}")  # RFC 7296 2.3: never answered
        plaintext = sa.unseal_untrusted(data, sealed)
        # From here on the peer has sent it.
        turn = Turn()
        if admission is Admission.REPEATED:
            self._keeper.repeat_reply(turn, sa, path)
            return self._keeper.finish(turn)
        if sa.ask is not None:
            return [dropped("repeated", path)]
        sa.heard, sa.path = now, path
        try:
            payloads = parse_inner(header.exchange, False, sealed.first, plaintext)
            handler = _ON_REQUEST.get((sa.state, header.exchange))
            if handler is None:
                raise WireError("unexpected-exchange", f"{header.exchange} in state {sa.state.value}")
            handler(self, turn, sa, payloads, path, now)
        except WireError as error:
            self._malformed(turn, sa, header.exchange, error, path, now)
        return self._keeper.finish(turn)

    def _malformed(
        self, turn: Turn, sa: IkeSa, exchange: int, error: WireError, path: Path, now: float
    ) -> None:
        """An authenticated request that cannot be understood."""
        keeper = self._keeper
        if error.reason == "unknown-critical":
            # RFC 7296 2.5: the message is rejected, the SA stays.
            data = bytes((error.payload_type or 0,))
            notice = error_notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data)
            keeper.reply(turn, sa, exchange, [notice], path, now)
            turn.tell("request-rejected", "warning", peer=str(sa.peer), reason=str(error))
            return
        # RFC 7296 2.21.3: fatal for both sides, without a Delete.
        turn.sends.clear()
        keeper.end(turn, sa, f"malformed request: {error}", now, linger=True)
        keeper.reply(turn, sa, exchange, [error_notify(NotifyType.INVALID_SYNTAX)], path, now)

    # --- answer -----------------------------------------------------------------------------------

    def answer(self, ask: Ask | AskPassword, verdict: Verdict | PasswordVerdict, now: float) -> list[Effect]:
        """The shell's verdict on an Ask, or its PasswordVerdict on an AskPassword; one that comes too late
        changes nothing.
        """
        turn = Turn()
        if isinstance(ask, AskPassword):
            assert isinstance(verdict, PasswordVerdict)
            self._auth.answer(turn, ask, verdict, now)
            return self._keeper.finish(turn)
        assert isinstance(verdict, Verdict)
        waiting = self._registrar.take(ask.number)
        if waiting is None or waiting.sa.state is SaState.GONE:
            turn.tell("verdict-unused", "debug", peer=str(ask.identity), group=str(ask.group_id))
            return turn.effects()
        sa, half = waiting.sa, waiting.half
        if half is not None:
            self._init.table.remove(half, now)
            self._keeper.establish(turn, sa, waiting.method, waiting.initial_contact, now)
        if verdict.refusal is None and self._is_anothers(ask):
            verdict = Verdict(Refusal.NOT_AUTHORIZED, detail="a member with a key has this name")
        payloads = self._registrar.decide(turn, ask, waiting, verdict, now)
        self._keeper.reply(turn, sa, waiting.exchange, [*waiting.proof, *payloads], waiting.path, now)
        return self._keeper.finish(turn)

    def _is_anothers(self, ask: Ask) -> bool:
        """Whether the name of a password is in the group as that of somebody who has a key: above all as a
        sender's, whose SA would end.
        """
        policy = self._directory.policy_of(ask.group_id) if ask.proof is Proof.PASSWORD else None
        if policy is None:
            return False
        return any(
            proof_of(sa.grounds) is Proof.CONFIGURED and policy.name in self._directory.groups_over(sa.spi_r)
            for sa in self._keeper.table.of_peer(ask.identity)
        )

    # --- requests on an established SA ------------------------------------------------------------

    def _on_registration(
        self, turn: Turn, sa: IkeSa, payloads: list[Payload], path: Path, now: float
    ) -> None:
        request = read_registration_request(payloads)
        if request.leaving is None:
            self._registrar.ask(turn, Waiting(sa, request, ExchangeType.GSA_REGISTRATION, path, [], None))
            return
        # RFC 9838 2.3.2: the member is removed from the group that IDg names, and gets an empty reply.
        assert sa.peer is not None
        policy = self._directory.policy_of(request.group_id)
        turn.tell(
            "member-left",
            peer=str(sa.peer),
            group=policy.name if policy else str(request.group_id),
            reason=request.leaving.name,
        )
        mine = self._keeper.of_same_peer(sa)
        if policy is not None and any(policy.name in self._directory.groups_over(one.spi_r) for one in mine):
            self._keeper.left(turn, self._directory.leave(request.group_id, sa.peer, now), now)
        self._keeper.reply(turn, sa, ExchangeType.GSA_REGISTRATION, [], path, now)

    def _on_informational(
        self, turn: Turn, sa: IkeSa, payloads: list[Payload], path: Path, now: float
    ) -> None:
        keeper = self._keeper
        fatal = fatal_of(payloads)
        if any(body.protocol == ProtocolId.IKE for body in each(payloads, PayloadType.DELETE)):
            # RFC 7296 1.4.1: the reply to the Delete of an IKE SA is empty.
            keeper.end(turn, sa, "deleted by the peer", now, linger=True)
        elif fatal:
            # RFC 7296 2.21.2: the peer did not accept our AUTH, or what we sent; the SA goes without a
            # Delete.
            keeper.end(turn, sa, f"given up by the peer: {fatal}", now, linger=True)
        keeper.reply(turn, sa, ExchangeType.INFORMATIONAL, [], path, now)

    def _on_create_child(
        self, turn: Turn, sa: IkeSa, payloads: list[Payload], path: Path, now: float
    ) -> None:
        # RFC 9838 2.3: no Child SAs here; RFC 7296 1.3: this is how a minimal responder says so.
        notice = error_notify(NotifyType.NO_ADDITIONAL_SAS)
        self._keeper.reply(turn, sa, ExchangeType.CREATE_CHILD_SA, [notice], path, now)

    def _on_late_registration(
        self, turn: Turn, sa: IkeSa, payloads: list[Payload], path: Path, now: float
    ) -> None:
        # RFC 7296 2.25: our Delete is on its way; the peer may try again on another SA.
        notice = error_notify(NotifyType.TEMPORARY_FAILURE)
        self._keeper.reply(turn, sa, ExchangeType.GSA_REGISTRATION, [notice], path, now)

    # --- replies ----------------------------------------------------------------------------------

    def _on_reply(
        self, sa: IkeSa, data: bytes, header: Header, sealed: Encrypted, now: float
    ) -> list[Effect]:
        if not sa.window.awaits(header.message_id, header.exchange) or sa.state is SaState.GONE:
            raise WireError("unexpected-reply", f"{header.message_id}")
        plaintext = sa.unseal_untrusted(data, sealed)
        turn = Turn()
        sa.heard = now
        try:
            payloads = parse_inner(header.exchange, True, sealed.first, plaintext)
        except WireError as error:
            # RFC 7296 2.21: an error in a reply is not answered, and the SA is cleaned up.
            self._end(turn, sa, f"malformed reply: {error}", now)
            return self._keeper.finish(turn)
        handler = _ON_REPLY.get((sa.state, header.exchange))
        if handler is None:
            self._end(turn, sa, "unexpected reply", now)
        else:
            handler(self, turn, sa, payloads, now)
        return self._keeper.finish(turn)

    def _on_acknowledged(self, turn: Turn, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        fatal = fatal_of(payloads)
        if fatal:
            self._end(turn, sa, f"given up by the peer: {fatal}", now)
            return
        error = error_of(payloads)
        if error is not None:
            turn.tell("request-declined", "warning", peer=sa.peer_text, reason=name_of_notify(error))
        self._keeper.answered(turn, sa, now)

    def _on_deleted(self, turn: Turn, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        if sa.queue:
            self._keeper.answered(turn, sa, now)  # it was an earlier request's; the Delete comes next
        else:
            self._end(turn, sa, sa.reason, now)

    def _end(self, turn: Turn, sa: IkeSa, reason: str, now: float) -> None:
        self._registrar.forget(sa)
        self._keeper.end(turn, sa, reason, now)

    # --- command ----------------------------------------------------------------------------------

    def command(self, command: Command, now: float) -> list[Effect]:
        """Carry out an operator's command. LocalError says what is wrong with it; then nothing has
        changed.
        """
        turn = Turn()
        match command:
            case gcks_settings.Rekey(group):
                self._send_orders(turn, self._directory.rekey(group, now), now)
            case gcks_settings.RemoveMember():
                self._remove_member(turn, command, now)
            case gcks_settings.Shutdown(delete_ike_sas):
                # By default members are kept: a server that comes back goes on where it was.
                for sa in self._keeper.table if delete_ike_sas else ():
                    self._registrar.forget(sa)
                    self._keeper.close(turn, sa, [DELETE_IKE_SA], "server shuts down", now)
            case gcks_settings.Reload(policies, credentials):
                try:
                    left = self._directory.reload(policies, now)
                except ValueError as error:
                    raise LocalError(str(error)) from None
                self._keeper.left(turn, left, now)
                if credentials is not None:
                    authenticator = Authenticator(credentials, self._directory.doorkeeper)
                    self._authenticator = authenticator
                    self._init.use(authenticator)
                    self._auth.use(authenticator)
                    self._withdrawal.of_credentials(turn, self._authenticator, now)
            case gcks_settings.Apply(left, disowned):
                self._keeper.left(turn, left, now)
                self._withdrawal.of_identities(turn, disowned, left.changes, now)
        return self._keeper.finish(turn, answers=True)

    def _remove_member(self, turn: Turn, command: gcks_settings.RemoveMember, now: float) -> None:
        directory, identity = self._directory, canonical(command.identity)
        member = next((m for m in directory.members(command.group) if m.identity == identity), None)
        if member is None:
            raise LocalError(f"{command.identity} is not a member of {command.group!r}")
        policy, sas = directory.policy(command.group), directory.sas(command.group)
        others = any(
            other.ike_spi == member.ike_spi and other.group != member.group
            for status in directory.groups()
            for other in directory.members(status.policy.name)
        )
        self._keeper.left(turn, directory.leave(policy.group_id, identity, now), now)
        turn.tell("member-removed", peer=str(identity), group=command.group)
        sa = self._keeper.table.get(member.ike_spi)
        if sa is not None and sa.state is SaState.ESTABLISHED:
            payloads = deletion_of(sas.data_sas, sas.rekey_sas, only_group=not others)
            self._keeper.request(turn, sa, ExchangeType.GSA_INBAND_REKEY, payloads, now)

    def _send_orders(self, turn: Turn, orders: Sequence[RekeyOrder], now: float) -> None:
        self._keeper.left(turn, Left((), tuple(orders)), now)

    # --- done, tick, deadline ---------------------------------------------------------------------

    def done(self, effect: Effect, result: Exception | None, now: float) -> list[Effect]:
        """What became of an effect; only those that were to be journalled matter here."""
        self._keeper.done(effect, result is not None)
        return []

    def tick(self, now: float) -> list[Effect]:
        """All that is due."""
        turn = Turn()
        for duty in self._directory.tick(now):
            if isinstance(duty, RekeyOrder):
                send_orders(turn, self._directory, (duty,), self._rng, now)
            else:
                send_repeat(turn, duty)
        for half in self._init.table.expired(now):
            self._init.table.remove(half, now)
            if half.sa is not None and half.sa.peer is not None:
                self._registrar.forget(half.sa)
                turn.tells.append(half.sa.move(SaState.GONE, "no verdict in time"))
            turn.tell("ike-sa-failed", "debug", reason="half-open for too long", path=str(half.path))
        self._keeper.tick(turn, now)
        return self._keeper.finish(turn)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; a time that has passed means at once."""
        times = (self._directory.deadline(), self._init.table.deadline(), self._keeper.deadline())
        return min((at for at in times if at is not None), default=None)


_OnRequest: TypeAlias = Callable[[Gcks, Turn, IkeSa, list[Payload], Path, float], None]
_OnReply: TypeAlias = Callable[[Gcks, Turn, IkeSa, list[Payload], float], None]

# A half-open SA takes GSA_AUTH alone, before it is here; one whose Ask is open takes nothing (window of one).
_ON_REQUEST: Final[dict[tuple[SaState, int], _OnRequest]] = {
    (SaState.ESTABLISHED, ExchangeType.GSA_REGISTRATION): Gcks._on_registration,
    (SaState.ESTABLISHED, ExchangeType.INFORMATIONAL): Gcks._on_informational,
    (SaState.ESTABLISHED, ExchangeType.CREATE_CHILD_SA): Gcks._on_create_child,
    (SaState.CLOSING, ExchangeType.GSA_REGISTRATION): Gcks._on_late_registration,
    (SaState.CLOSING, ExchangeType.INFORMATIONAL): Gcks._on_informational,
    (SaState.CLOSING, ExchangeType.CREATE_CHILD_SA): Gcks._on_create_child,
}
_ON_REPLY: Final[dict[tuple[SaState, int], _OnReply]] = {
    (SaState.ESTABLISHED, ExchangeType.INFORMATIONAL): Gcks._on_acknowledged,
    (SaState.ESTABLISHED, ExchangeType.GSA_INBAND_REKEY): Gcks._on_acknowledged,
    (SaState.CLOSING, ExchangeType.INFORMATIONAL): Gcks._on_deleted,
    (SaState.CLOSING, ExchangeType.GSA_INBAND_REKEY): Gcks._on_deleted,
}
