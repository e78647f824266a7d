"""A member's endpoint of G-IKEv2: one IKE SA to a key server, many groups on it (RFC 9838 2.3.3; RFC 7296 1
and 2).

    connecting     initiator      IKE_SA_INIT, GSA_AUTH with the first group; the servers in turn, with
    back-off ESTABLISHED                   GSA_REGISTRATION for the others, liveness, the server's requests
    CLOSING                       groups are left one by one, then the IKE SA is deleted, in bounded time

Pure, with the same five verbs as the key server. What a group does with its keys is ``group_member``'s;
multicast rekeys are passed to the one that holds their SPI. A server that has not proved its identity is
told nothing but our own, and nothing that it says takes effect.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gkmd.core.address import Path
from gkmd.core.effect import Ask, Effect, InstallPolicy, InstallSa, Send
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import Rng
from gkmd.group.model import Verdict
from gkmd.ike import member_settings
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.connector import Connector
from gkmd.ike.credentials import Credentials
from gkmd.ike.dropped import dropped
from gkmd.ike.enrolment import Enrolment, Outcome, jittered
from gkmd.ike.errand import Errand, evidence, farewell, registration
from gkmd.ike.group_join import GroupJoin, GroupSettings
from gkmd.ike.group_member import GroupMember, State
from gkmd.ike.member_settings import Command, MemberSettings, Server
from gkmd.ike.notices import error_notify, fatal_of
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.removal import DELETE_IKE_SA
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.server_requests import ON_REQUEST
from gkmd.ike.turn import Turn
from gkmd.ike.window import Admission
from wire.errors import WireError
from wire.header import Header, peek_untrusted
from wire.ikev2 import Encrypted
from wire.message import Payload, first, parse_inner, parse_untrusted
from wire.registry import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType, PayloadType

_REKEY_SPI_OCTETS: Final = 16


class MemberEndpoint:
    """``servers`` are tried in this order; ``joins`` are the groups. Raises LocalError without a server.

    ``reqids`` counts the process's XFRM reqids, where several endpoints share one kernel.
    """

    def __init__(
        self,
        credentials: Credentials,
        policy: IkePolicy,
        servers: Sequence[Server],
        joins: Iterable[GroupJoin],
        rng: Rng,
        settings: MemberSettings | None = None,
        group_settings: GroupSettings | None = None,
        reqids: Callable[[], int] | None = None,
    ) -> None:
        if not servers:
            raise LocalError("a member needs a key server")
        self._rng: Final = rng
        self._settings: Final = settings or MemberSettings()
        self._group_settings: Final = group_settings or GroupSettings()
        self._reqids: Final[Callable[[], int]] = reqids or itertools.count(1).__next__
        self._joins: Final = {join.name: join for join in joins}
        self._enrolments = {name: self._enrol(join) for name, join in self._joins.items()}
        authenticator = Authenticator(credentials)
        self._logs_in: Final = credentials.password is not None
        self._connector: Final = Connector(authenticator, policy, servers, self._settings, rng)
        self._sa: IkeSa | None = None
        self._last: IkeSa | None = None  # ended by the server: its Delete may be repeated
        self._errand: Errand | None = None  # whose reply is awaited
        self._errands: deque[Errand] = deque()
        self._stop_by: float | None = None
        self._stopped = False

    def _enrol(self, join: GroupJoin) -> Enrolment:
        member = GroupMember(join, self._rng, self._group_settings, self._reqids)
        return Enrolment(member, self._settings, self._rng)

    @property
    def stopped(self) -> bool:
        """After Stop: everything has been taken down, and the server told or given up on."""
        return self._stopped

    @property
    def sa(self) -> IkeSa | None:
        """The IKE SA to the current server, for the control socket."""
        return self._sa

    @property
    def groups(self) -> dict[str, GroupMember]:
        """The groups by name, for the control socket."""
        return {name: enrolment.member for name, enrolment in self._enrolments.items()}

    def due(self, group: str) -> float | None:
        """When a group is registered next, as far as is known; a time that has passed means now."""
        enrolment = self._enrolments.get(group)
        due = None if enrolment is None else enrolment.due
        if due is None or self._sa is not None:
            return due
        return max(due, self._connector.ready_at)

    @property
    def spis(self) -> tuple[bytes, ...]:
        """By what a datagram for this endpoint is known: our SPIs (8 octets) and those of Rekey SAs (16)."""
        own = [self._connector.spi_i]
        own += [sa.spi_i for sa in (self._sa, self._last) if sa is not None]
        rekeys = [spi for enrolment in self._enrolments.values() for spi in enrolment.member.rekey_spis]
        return (*filter(None, own), *rekeys)

    # --- verbs ------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Once, before the other verbs: connect."""
        return self._settle(Turn(), now)

    def receive(self, data: bytes, path: Path, now: float) -> list[Effect]:
        """One datagram, unicast or multicast, without the non-ESP marker."""
        turn = Turn()
        try:
            header = peek_untrusted(data)
            if header.exchange == ExchangeType.GSA_REKEY:
                self._on_rekey_untrusted(turn, data, now)
            elif header.exchange == ExchangeType.IKE_SA_INIT:
                self._on_init_untrusted(turn, data, header, now)
            else:
                self._on_sealed_untrusted(turn, data, header, path, now)
        except WireError as error:
            turn.tells.append(dropped(error.reason, path, str(error)))
            return turn.effects()
        except CryptoError as error:
            turn.tells.append(dropped("not-authentic", path, str(error)))
            return turn.effects()
        return self._settle(turn, now)

    def answer(self, ask: Ask, verdict: Verdict, now: float) -> list[Effect]:
        """A member asks nothing."""
        return []

    def done(self, effect: Effect, result: Exception | None, now: float) -> list[Effect]:
        """The kernel's word. A group whose SA or policy was refused is registered anew, after a while."""
        turn = Turn()
        if result is not None and isinstance(effect, InstallSa | InstallPolicy):
            name = effect.sa.group if isinstance(effect, InstallSa) else effect.policy.group
            enrolment = self._enrolments.get(name)
            if enrolment is not None:
                enrolment.member.not_installed(effect)
            if enrolment is not None and self._stop_by is None:
                enrolment.again(enrolment.refused(NotifyType.REGISTRATION_FAILED, now))
        return self._settle(turn, now)

    def command(self, command: Command, now: float) -> list[Effect]:
        """Carry out an operator's command. LocalError says what is wrong with it; then nothing has
        changed.
        """
        turn = Turn()
        match command:
            case member_settings.Stop():
                self._stop(turn, now)
            case member_settings.Leave(group):
                self._leave(turn, self._named(group), now)
            case member_settings.Register(group, patient):
                before = self._named(group)
                if before.member.state is State.LEFT:
                    # What was left is left for good; this is a new membership.
                    self._enrolments[group] = self._enrol(self._joins[group])
                    if patient:
                        self._enrolments[group].wished(before)
                if patient:
                    self._connector.wished()
                else:
                    self._enrolments[group].now()
                    self._connector.hurry()
        return self._settle(turn, now)

    def tick(self, now: float) -> list[Effect]:
        """All that is due."""
        turn = Turn()
        for enrolment in self._enrolments.values():
            at = enrolment.member.deadline()
            if at is not None and at <= now:
                turn.extend(enrolment.member.tick(now))
        if self._stop_by is not None and self._stop_by <= now:
            self._finish_stop(turn, "out of time")
        self._connector.tick(turn, now)
        if self._sa is not None:
            self._retransmit(turn, self._sa, now)
        return self._settle(turn, now)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; a time that has passed means at once."""
        times = [enrolment.member.deadline() for enrolment in self._enrolments.values()]
        if self._stopped:
            return min((at for at in times if at is not None), default=None)
        times.append(self._stop_by)
        sa = self._sa
        if self._connector.busy:
            times.append(self._connector.deadline())
        elif sa is None:
            due = self._due()
            times.append(None if due is None else max(due, self._connector.ready_at))
        elif sa.window.pending is not None:
            times.append(sa.window.pending.next_at)
        else:
            times += [self._due(), self._liveness_at(sa)]
        return min((at for at in times if at is not None), default=None)

    # --- what to do next --------------------------------------------------------------------------

    def _due(self) -> float | None:
        return min((e.due for e in self._enrolments.values() if e.due is not None), default=None)

    def _most_due(self, now: float) -> Enrolment | None:
        due = [(e.due, name, e) for name, e in self._enrolments.items() if e.due is not None and e.due <= now]
        return min(due)[2] if due else None

    def _liveness_at(self, sa: IkeSa) -> float | None:
        idle = self._settings.liveness_idle
        return sa.heard + idle if idle > 0 else None

    def _settle(self, turn: Turn, now: float) -> list[Effect]:
        """After every event: send what is to be sent next."""
        sa = self._sa
        if sa is not None:
            if sa.window.pending is None:
                self._next_errand(turn, sa, now)
        elif not self._connector.busy and self._stop_by is None and self._connector.ready_at <= now:
            enrolment = self._most_due(now)
            if enrolment is not None:
                asked = registration(enrolment, proved=False)
                self._connector.begin(turn, enrolment, asked, evidence(enrolment), now)
        return turn.effects()

    def _next_errand(self, turn: Turn, sa: IkeSa, now: float) -> None:
        errand = self._errands.popleft() if self._errands else None
        if errand is None and self._stop_by is None:
            enrolment = self._most_due(now)
            at = self._liveness_at(sa)
            if enrolment is not None:
                errand = Errand(
                    ExchangeType.GSA_REGISTRATION, registration(enrolment), enrolment, registers=True
                )
            elif at is not None and at <= now:
                errand = Errand(ExchangeType.INFORMATIONAL, [])  # RFC 7296 2.4
        if errand is not None:
            self._errand = errand
            datagram = sa.request(errand.exchange, errand.payloads, now + self._settings.backoff.wait(1))
            turn.sends.append(Send(datagram, sa.path))

    def _retransmit(self, turn: Turn, sa: IkeSa, now: float) -> None:
        pending, backoff = sa.window.pending, self._settings.backoff
        if pending is None or pending.next_at > now:
            return
        if pending.copies >= backoff.tries:
            self._sa_gone(turn, f"no reply to {backoff.tries} copies of a request", now, lost=True)
            return
        pending.copies += 1
        pending.next_at = now + backoff.wait(pending.copies)
        turn.sends.append(Send(pending.datagram, sa.path))

    # --- connecting -------------------------------------------------------------------------------

    def _on_init_untrusted(self, turn: Turn, data: bytes, header: Header, now: float) -> None:
        if not header.flags & FLAG_RESPONSE:
            raise WireError("unexpected-exchange", "IKE_SA_INIT")
        self._connector.receive_init_untrusted(turn, data, parse_untrusted(data, header), now)

    def _on_auth_untrusted(self, turn: Turn, data: bytes, header: Header, now: float) -> None:
        connected = self._connector.receive_auth_untrusted(turn, data, header, _sealed(data, header), now)
        if connected is None:
            return
        self._sa, enrolment, payloads = connected
        self._errand = None
        turn.tells.append(self._sa.move(SaState.ESTABLISHED, f"{self._sa.peer} authenticated"))
        # Our INITIAL_CONTACT has ended what the server knew of us: every other group is to be told again.
        for other in self._enrolments.values():
            if other is not enrolment and other.over is not None:
                other.again(now)
        # What a password went before has come after it, and so has the evidence.
        held_back = not self._logs_in and bool(evidence(enrolment))
        self._registered(turn, self._sa, enrolment, payloads, now, held_back=held_back)

    # --- registration -----------------------------------------------------------------------------

    def _registered(
        self,
        turn: Turn,
        sa: IkeSa,
        enrolment: Enrolment,
        payloads: list[Payload],
        now: float,
        *,
        held_back: bool = False,
    ) -> None:
        if enrolment.member.state is State.LEFT:
            # We left while the server was admitting us, and it has not been told yet.
            told = self._stop_by is not None or any(one.enrolment is enrolment for one in self._errands)
            if not told and first(payloads, PayloadType.GSA) is not None:
                self._errands.append(farewell(enrolment, NotifyType.REGISTRATION_FAILED))
            return
        if enrolment.take(turn, sa, payloads, now, held_back=held_back) is Outcome.DECLINED:
            self._errands.append(farewell(enrolment, NotifyType.NO_PROPOSAL_CHOSEN))

    def _leave(self, turn: Turn, enrolment: Enrolment, now: float) -> None:
        known = enrolment.over is not None
        turn.extend(enrolment.member.leave(now))
        enrolment.over = None
        if known and self._sa is not None and self._sa.state is SaState.ESTABLISHED:
            self._errands.append(farewell(enrolment, NotifyType.REGISTRATION_FAILED))

    def _stop(self, turn: Turn, now: float) -> None:
        if self._stop_by is not None:
            return
        self._stop_by = now + self._settings.stop_within
        for enrolment in self._enrolments.values():
            self._leave(turn, enrolment, now)
        if self._sa is None:
            self._finish_stop(turn, "no IKE SA")
        else:
            turn.tells.append(self._sa.move(SaState.CLOSING, "we stop"))
            self._errands.append(Errand(ExchangeType.INFORMATIONAL, [DELETE_IKE_SA]))

    def _finish_stop(self, turn: Turn, reason: str) -> None:
        if self._sa is not None:
            turn.tells.append(self._sa.move(SaState.GONE, reason))
        self._connector.abandon()
        self._sa = self._errand = None
        self._errands.clear()
        if not self._stopped:
            self._stopped = True
            turn.tell("member-stopped", reason=reason)

    def _named(self, group: str) -> Enrolment:
        enrolment = self._enrolments.get(group)
        if enrolment is None:
            raise LocalError(f"there is no group {group!r}")
        return enrolment

    # --- messages on the SA -----------------------------------------------------------------------

    def _on_rekey_untrusted(self, turn: Turn, data: bytes, now: float) -> None:
        """RFC 9838 2.4.1: found by the SPI of 16 octets in the header; nobody is answered."""
        spi = data[:_REKEY_SPI_OCTETS]
        for enrolment in self._enrolments.values():
            if spi in enrolment.member.rekey_spis:
                turn.extend(enrolment.member.receive_rekey_untrusted(data, now))
                return
        raise WireError("unknown-spi", "GSA_REKEY")

    def _on_sealed_untrusted(self, turn: Turn, data: bytes, header: Header, path: Path, now: float) -> None:
        if header.flags & FLAG_INITIATOR:
            raise WireError("flags", "we are the initiator of our IKE SA")
        if header.exchange == ExchangeType.GSA_AUTH:
            if not header.flags & FLAG_RESPONSE:
                raise WireError("unexpected-exchange", "GSA_AUTH")
            self._on_auth_untrusted(turn, data, header, now)
            return
        sa = self._sa if self._sa is not None and self._sa.spi_r == header.spi_r else self._last
        if sa is None or header.spi_r != sa.spi_r or header.spi_i != sa.spi_i:
            raise WireError("unknown-spi")
        sealed = _sealed(data, header)
        if header.flags & FLAG_RESPONSE:
            if sa.state is SaState.GONE or not sa.window.awaits(header.message_id, header.exchange):
                raise WireError("unexpected-reply", f"{header.message_id}")
            self._on_reply(turn, sa, header, sealed.first, sa.unseal_untrusted(data, sealed), now)
            return
        admission = sa.window.admit(header.message_id)
        if admission is Admission.OUTSIDE or (admission is Admission.NEW and sa.state is SaState.GONE):
            raise WireError("message-id", f"{header.message_id}")
        plaintext = sa.unseal_untrusted(data, sealed)
        if admission is Admission.REPEATED:
            turn.sends.append(Send(sa.window.last_reply, path))
            return
        self._on_request(turn, sa, header, sealed.first, plaintext, path, now)

    def _on_request(
        self, turn: Turn, sa: IkeSa, header: Header, inner: int, plaintext: bytes, path: Path, now: float
    ) -> None:
        sa.heard = now
        try:
            payloads = parse_inner(header.exchange, False, inner, plaintext)
            handler = ON_REQUEST.get((sa.state, header.exchange))
            if handler is None:
                raise WireError("unexpected-exchange", f"{header.exchange} in state {sa.state.value}")
        except WireError as error:
            kind, detail = NotifyType.INVALID_SYNTAX, b""
            if error.reason == "unknown-critical":
                kind, detail = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((error.payload_type or 0,))
            turn.sends.append(Send(sa.reply(header.exchange, [error_notify(kind, detail)]), path))
            if kind is NotifyType.INVALID_SYNTAX:
                # RFC 7296 2.21.3: fatal for both sides, without a Delete.
                self._sa_gone(turn, f"malformed request: {error}", now, lost=True)
            return
        over = sa.spi_i + sa.spi_r
        here = [e.member for e in self._enrolments.values() if e.member.registered and e.over == over]
        answer = handler(turn, sa, here, payloads, now)
        turn.sends.append(Send(sa.reply(header.exchange, answer.payloads), path))
        if answer.ends:
            self._sa_gone(turn, answer.ends, now, lost=False)

    def _on_reply(
        self, turn: Turn, sa: IkeSa, header: Header, inner: int, plaintext: bytes, now: float
    ) -> None:
        sa.heard = now
        sa.window.answered()
        errand, self._errand = self._errand, None
        try:
            payloads = parse_inner(header.exchange, True, inner, plaintext)
        except WireError as error:
            self._sa_gone(turn, f"malformed reply: {error}", now, lost=True)
            return
        fatal = fatal_of(payloads)
        if fatal:
            self._sa_gone(turn, f"given up by the server: {fatal}", now, lost=True)
        elif errand is not None and errand.registers and errand.enrolment is not None:
            self._registered(turn, sa, errand.enrolment, payloads, now)
        elif sa.state is SaState.CLOSING and not self._errands:
            self._finish_stop(turn, "IKE SA deleted")

    def _sa_gone(self, turn: Turn, reason: str, now: float, *, lost: bool) -> None:
        """The IKE SA has ended. RFC 9838 2.3.3: groups with a Rekey SA go on, others are excluded.

        ``lost``: the server may have forgotten us, so we come back soon; after its Delete only when a group
        needs it.
        """
        sa = self._sa
        if sa is None:
            return
        turn.tells.append(sa.move(SaState.GONE, reason))
        self._sa, self._last, self._errand = None, sa, None
        self._errands.clear()
        if self._stop_by is not None:
            self._finish_stop(turn, reason)
            return
        if lost:
            self._connector.next_server(now)
        for enrolment in self._enrolments.values():
            member = enrolment.member
            if member.registered and not member.rekey_spis:
                turn.extend(member.excluded(f"IKE SA: {reason}", now))
            elif member.registered and lost:
                enrolment.again(now + jittered(self._settings.retry_first, self._rng))


def _sealed(data: bytes, header: Header) -> Encrypted:
    sealed = first(parse_untrusted(data, header).payloads, PayloadType.SK)
    if sealed is None:
        raise WireError("fragment", "IKE fragmentation was not agreed on")
    return sealed
