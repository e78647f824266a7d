"""The key server's keeper of established IKE SAs: replies and requests, liveness, ends, and their journal.

Every change of an SA passes here, so that each datagram that uses a message id is preceded by the record of
it, and every SA ends with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gkmd.core.address import Path
from gkmd.core.change import DropIkeSa, IkeSaRecord, PutIkeSa
from gkmd.core.effect import Effect, Persist, Proof, Send
from gkmd.core.rng import Rng
from gkmd.group.directory import Directory
from gkmd.group.model import Left
from gkmd.ike.dropped import dropped
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.grounds import proof_of, whose
from gkmd.ike.ledger import Ledger
from gkmd.ike.rekey_sender import send_orders
from gkmd.ike.removal import DELETE_IKE_SA
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.sa_table import SaTable
from gkmd.ike.turn import Turn
from wire.message import Payload
from wire.registry import ExchangeType

_IN_FLIGHT_WAIT: Final = 0.1  # until the journal has answered
_LINGERING_LIMIT: Final = 4096
_MOST_REPEATS: Final = 32  # of one reply: more than anybody asks for who waits longer each time
_LOOKS: Final = 8  # at older IKE SAs, for each new one
_WORN_OUT: Final = "message ids used up"  # RFC 7296 2.2: they must not wrap


class SaKeeper:
    """``table`` holds the established SAs; those that ended linger for a while, to repeat their last
    reply.
    """

    __slots__ = ("_directory", "_lingering", "_rng", "_settings", "_strangers", "ledger", "table")

    def __init__(self, directory: Directory, settings: GcksSettings, rng: Rng) -> None:
        self._directory: Final = directory
        self._settings: Final = settings
        self._rng: Final = rng
        self.table: Final = SaTable()
        self.ledger: Final = Ledger()
        self._lingering: dict[bytes, tuple[IkeSa, float]] = {}
        self._strangers: dict[bytes, None] = {}  # by ticket or password; longest not looked at first

    def restore(self, records: Sequence[IkeSaRecord], now: float) -> None:
        """Go on with the SAs of the journal. Their idle time begins anew; pending requests are due at
        once.
        """
        for record in records:
            sa = IkeSa.restore(record, self._rng, now)
            self.table.add(sa)
            if proof_of(sa.grounds) is not Proof.CONFIGURED:
                self._strangers[sa.spi_r] = None
            self._arm(sa)

    def finish(self, turn: Turn, *, answers: bool = False) -> list[Effect]:
        """The turn's effects, with what earlier writes have lost in front when anything is to be sent.
        ``answers``: somebody is told otherwise that all is on the disk.
        """
        if turn.changes or ((turn.sends or answers) and self.ledger.behind):
            persist = self.ledger.persist(turn.changes)
            turn.changes = []
            effects = turn.effects()
            return [persist, *effects] if persist is not None else effects
        return turn.effects()

    # --- messages ---------------------------------------------------------------------------------

    def reply(
        self, turn: Turn, sa: IkeSa, exchange: int, payloads: Sequence[Payload], path: Path, now: float
    ) -> None:
        """Answer the expected request, to where it came from."""
        turn.sends.append(Send(sa.reply(exchange, payloads), path))
        if sa.state is SaState.GONE:
            return
        if sa.window.exhausted:
            self.end(turn, sa, _WORN_OUT, now)
        else:
            turn.changes.append(PutIkeSa(sa.record()))

    def repeat_reply(self, turn: Turn, sa: IkeSa, path: Path) -> None:
        """RFC 7296 2.1: a retransmitted request gets the same reply; but none that is not journalled yet."""
        if self.ledger.in_flight(sa.spi_r):
            turn.tells.append(dropped("repeated-early", path))
        elif sa.window.repeats >= _MOST_REPEATS:
            # A request is short and its reply may be long: whoever has seen one could have the reply sent to
            # any address for ever.
            turn.tells.append(dropped("repeated-often", path))
        else:
            sa.window.repeats += 1
            turn.sends.append(Send(sa.window.last_reply, path))

    def request(
        self, turn: Turn, sa: IkeSa, exchange: ExchangeType, payloads: Sequence[Payload], now: float
    ) -> None:
        """Send our request, or line it up behind the one that is pending (RFC 7296 2.3: window of one)."""
        if sa.window.pending is not None:
            sa.queue.append((exchange, payloads))
            return
        datagram = sa.request(exchange, payloads, now + self._settings.backoff.wait(1))
        turn.sends.append(Send(datagram, sa.path))
        if sa.window.exhausted:
            self.end(turn, sa, _WORN_OUT, now)
        else:
            turn.changes.append(PutIkeSa(sa.record()))
            self._arm(sa)

    def answered(self, turn: Turn, sa: IkeSa, now: float) -> None:
        """The pending request has its reply; the next in line goes out."""
        sa.window.answered()
        if sa.queue:
            self.request(turn, sa, *sa.queue.pop(0), now)
        else:
            turn.changes.append(PutIkeSa(sa.record()))
            self._arm(sa)

    # --- beginnings and ends ----------------------------------------------------------------------

    def establish(self, turn: Turn, sa: IkeSa, reason: str, initial_contact: bool, now: float) -> None:
        """The peer is authenticated and the SA is kept. RFC 7296 2.4: INITIAL_CONTACT ends its older ones."""
        assert sa.peer is not None
        turn.tells.append(sa.move(SaState.ESTABLISHED, reason))
        older = self.of_same_peer(sa)
        keep = 0 if initial_contact else max(0, self._settings.sas_per_peer - 1)
        for other in older[: max(0, len(older) - keep)]:
            self.end(turn, other, "replaced by a newer IKE SA of the same peer", now)
        self.table.add(sa)
        self._arm(sa)
        if proof_of(sa.grounds) is not Proof.CONFIGURED:
            self._strangers[sa.spi_r] = None
            self._make_room(turn, now)

    def _make_room(self, turn: Turn, now: float) -> None:
        """Anybody may sign up, and has as many names as tickets: so what serves nothing is bounded for all
        together. Who is only too early comes again by another IKE SA.
        """
        for _ in range(_LOOKS):
            if len(self._strangers) <= self._settings.unused_sas + self._directory.ike_sas:
                return
            spi_r = next(iter(self._strangers))
            sa = self.table.get(spi_r)
            del self._strangers[spi_r]
            if sa is None:
                continue
            if self._directory.groups_over(spi_r):
                self._strangers[spi_r] = None
                continue
            if sa.window.pending is None:
                # Told once. Whoever does not answer must not have it kept for that.
                turn.sends.append(Send(sa.request(ExchangeType.INFORMATIONAL, [DELETE_IKE_SA], now), sa.path))
            self.end(turn, sa, "nobody is registered over it, and there are too many", now)

    def of_same_peer(self, sa: IkeSa) -> tuple[IkeSa, ...]:
        """The SAs of the peer that this one is with, oldest first; not those of others by the same name."""
        if sa.peer is None:
            return ()
        mine = whose(sa.grounds)
        return tuple(other for other in self.table.of_peer(sa.peer) if whose(other.grounds) == mine)

    def end(self, turn: Turn, sa: IkeSa, reason: str, now: float, *, linger: bool = False) -> None:
        """The SA goes, and with it the members that registered over it. ``linger``: its last reply may be
        lost.
        """
        turn.tells.append(sa.move(SaState.GONE, reason))
        self.table.remove(sa)
        self._strangers.pop(sa.spi_r, None)
        sa.queue.clear()
        turn.changes.append(DropIkeSa(sa.spi_r))
        self.left(turn, self._directory.ike_sa_gone(sa.spi_r, now), now)
        if linger:
            self.linger(sa, now)

    def linger(self, sa: IkeSa, now: float) -> None:
        """Keep an ended SA long enough to answer retransmissions of its last request."""
        self._lingering[sa.spi_r] = (sa, now + self._settings.half_open_lifetime)
        if len(self._lingering) > _LINGERING_LIMIT:
            del self._lingering[next(iter(self._lingering))]

    def lingering(self, spi_r: bytes) -> IkeSa | None:
        found = self._lingering.get(spi_r)
        return found[0] if found else None

    def left(self, turn: Turn, left: Left, now: float) -> None:
        """Journal and announce what the leaving of members changed."""
        turn.changes += left.changes
        send_orders(turn, self._directory, left.orders, self._rng, now)

    def close(
        self,
        turn: Turn,
        sa: IkeSa,
        delete: Sequence[Payload],
        reason: str,
        now: float,
        *,
        exclude: Sequence[Sequence[Payload]] = (),
    ) -> None:
        """Delete the SA; it goes when the peer has answered (RFC 7296 1.4.1). ``exclude`` goes before, in
        messages of GSA_INBAND_REKEY.
        """
        if sa.state is not SaState.CLOSING:
            turn.tells.append(sa.move(SaState.CLOSING, reason))
            sa.queue.clear()
            for payloads in exclude:
                self.request(turn, sa, ExchangeType.GSA_INBAND_REKEY, payloads, now)
            self.request(turn, sa, ExchangeType.INFORMATIONAL, delete, now)

    # --- time -------------------------------------------------------------------------------------

    def _arm(self, sa: IkeSa) -> None:
        at = self._due(sa)
        if at is not None:
            self.table.arm(sa, at)

    def _due(self, sa: IkeSa) -> float | None:
        if sa.window.pending is not None:
            return sa.window.pending.next_at
        idle = self._settings.liveness_idle
        # After a restart all SAs would be due at once: the SPI, which is random, spreads them over the last
        # quarter.
        return sa.heard + idle * (0.75 + sa.spi_r[0] / 1024) if idle > 0 else None

    def deadline(self) -> float | None:
        times = [at for at in (self.table.deadline(), self._lingering_until()) if at is not None]
        return min(times, default=None)

    def _lingering_until(self) -> float | None:
        for _, until in self._lingering.values():
            return until
        return None

    def tick(self, turn: Turn, now: float) -> None:
        """Retransmit, give up, ask whether silent peers live."""
        for spi_r, (_, until) in list(self._lingering.items()):
            if until > now:
                break
            del self._lingering[spi_r]
        for sa in self.table.due(now):
            due = self._due(sa)
            if due is None or due > now:
                self._arm(sa)  # something was heard since the timer was armed
            elif sa.window.pending is not None:
                self._retransmit(turn, sa, now)
            else:
                # RFC 7296 2.4: an empty INFORMATIONAL request, which needs an answer.
                self.request(turn, sa, ExchangeType.INFORMATIONAL, [], now)

    def _retransmit(self, turn: Turn, sa: IkeSa, now: float) -> None:
        pending, backoff = sa.window.pending, self._settings.backoff
        assert pending is not None
        if self.ledger.in_flight(sa.spi_r):
            pending.next_at = now + _IN_FLIGHT_WAIT
        elif pending.copies >= backoff.tries:
            self.end(turn, sa, f"no reply to {backoff.tries} copies of a request", now)
            return
        else:
            pending.copies += 1
            pending.next_at = now + backoff.wait(pending.copies)
            turn.sends.append(Send(pending.datagram, sa.path))
        self._arm(sa)

    def done(self, effect: Effect, failed: bool) -> None:
        """The driver's word on a Persist."""
        if isinstance(effect, Persist):
            self.ledger.done(effect, failed)
