"""The key server's registrar: questions of admission that wait for a verdict, and what becomes of it (RFC
9838 2.3.4).

Authentication has succeeded when a request comes here. The group changes in ``answer`` only, so that
nothing is allotted to anybody who is not who it says (RFC 9838 2.5.1).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from gkmd.core.address import Path
from gkmd.core.effect import Ask
from gkmd.core.errors import PeerError
from gkmd.core.fault import fault
from gkmd.core.rng import Rng
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, Refused, Verdict
from gkmd.ike.grounds import proof_of, whose_password
from gkmd.ike.half_open import HalfOpen
from gkmd.ike.notices import error_notify
from gkmd.ike.reason import build_reason, reason_of
from gkmd.ike.registration_request import RegistrationRequest, refusal_notify
from gkmd.ike.rekey_sender import send_orders
from gkmd.ike.render_gikev2 import acceptable, render_registration
from gkmd.ike.sa import IkeSa
from gkmd.ike.turn import Turn
from wire.chain import GENERIC_OCTETS, Body, Payload, build_payloads
from wire.ikev2 import Sa, Unknown
from wire.registry import ExchangeType, NotifyType

_MOST_JUDGED: Final = 64


@dataclass(slots=True)
class Waiting:
    """A request whose Ask is open."""

    sa: IkeSa
    request: RegistrationRequest
    exchange: ExchangeType
    path: Path
    proof: list[Payload]  # IDr, [CERT], AUTH of the GSA_AUTH reply; empty later
    half: HalfOpen | None  # with GSA_AUTH
    initial_contact: bool = False
    method: str = ""


class Registrar:
    """Asks, and turns verdicts into payloads."""

    __slots__ = ("_directory", "_judged", "_number", "_octets", "_rng", "_waiting")

    def __init__(self, directory: Directory, rng: Rng) -> None:
        self._directory: Final = directory
        self._rng: Final = rng
        self._number = 0
        self._waiting: dict[int, Waiting] = {}
        self._judged: dict[tuple[int, int], tuple[Sa, GroupPolicy, bool]] = {}
        self._octets: dict[int, tuple[Body, Payload]] = {}

    def ask(self, turn: Turn, waiting: Waiting) -> None:
        """Put the question to the shell; the SA remembers that it is open."""
        sa, request = waiting.sa, waiting.request
        assert sa.peer is not None
        sa.ask = number = self.next_number()
        self._waiting[number] = waiting
        address = ipaddress.ip_address(waiting.path.remote.partition("%")[0])
        if request.shown.problem:
            turn.tell("evidence-ignored", "warning", peer=sa.peer_text, reason=request.shown.problem)
        turn.asks.append(
            Ask(
                number,
                sa.peer,
                request.group_id,
                address,
                request.wants_to_send,
                request.sender_ids,
                proof_of(sa.grounds),
                request.shown.evidence,
                whose_password(sa.grounds),
            )
        )

    def next_number(self) -> int:
        """Of a question: no two have the same, whatever they ask."""
        self._number += 1
        return self._number

    def take(self, number: int) -> Waiting | None:
        """The request that an Ask stands for; it is no longer waiting."""
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.sa.ask = None
        return waiting

    def forget(self, sa: IkeSa) -> None:
        """The SA has ended: a verdict that still comes is of no use."""
        if sa.ask is not None:
            self._waiting.pop(sa.ask, None)
            sa.ask = None

    def decide(self, turn: Turn, ask: Ask, waiting: Waiting, verdict: Verdict, now: float) -> list[Payload]:
        """GSA, KD and what belongs to them, or the refusal. Rekeys that the join makes necessary go out
        first.
        """
        told: list[Payload] = []
        try:
            return self._admit(turn, ask, waiting, verdict, now)
        except Refused as refused:
            kind, reason = refusal_notify(refused.refusal), str(refused)
            if verdict.refusal is not refused.refusal:
                # The group's own word, after a verdict that let the member in.
                verdict = Verdict(refused.refusal)
            told = [build_reason(reason_of(refused.refusal, verdict.come_back, verdict.price))]
            # Who has more to show comes at once with all of it: that is what counts.
            if not (waiting.request.shown.follows and kind == NotifyType.AUTHORIZATION_FAILED):
                turn.changes += self._directory.refused(ask, verdict, now)
        except PeerError as error:
            kind, reason = NotifyType(error.notify), str(error)
        turn.tell(
            "registration-refused",
            "warning",
            peer=str(ask.identity),
            group=str(ask.group_id),
            reason=reason,
        )
        return [error_notify(kind), *told]

    def _admit(self, turn: Turn, ask: Ask, waiting: Waiting, verdict: Verdict, now: float) -> list[Payload]:
        if verdict.refusal is not None:
            raise Refused(verdict.refusal, verdict.detail)
        policy, sag = self._directory.policy_of(ask.group_id), waiting.request.acceptable
        # RFC 9838 2.3.4: a member that cannot live with the policy is told so; nobody's keys change for it.
        if policy is not None and sag is not None and not self._acceptable(sag, policy):
            raise PeerError(
                NotifyType.NO_PROPOSAL_CHOSEN, "the member does not support the group's algorithms"
            )
        joined = self._directory.join(ask, verdict, waiting.sa.spi_r, now)
        turn.changes += joined.changes
        view = joined.view
        try:
            send_orders(turn, self._directory, joined.orders, self._rng, now)
            gsa, *others = render_registration(view, waiting.sa.gsk_w)
            payloads = [self._built(gsa), *(_octets_of(payload) for payload in others)]
        except Exception as error:
            self._withdraw(turn, ask, error, now)
            raise PeerError(NotifyType.REGISTRATION_FAILED, "internal fault") from error
        turn.tell(
            "member-joined",
            peer=waiting.sa.peer_text,
            group=view.policy.name,
            receives=verdict.receives,
            sends=verdict.sends,
            address=waiting.path.remote,
        )
        return payloads

    def _withdraw(self, turn: Turn, ask: Ask, error: Exception, now: float) -> None:
        """A fault of ours, when the group has changed already. The turn goes on to its end, so that what has
        changed is journalled; and who cannot be given the keys is no member.
        """
        source = str(ask.identity)
        turn.tells += fault("answer", error, source)
        turn.changes += self._directory.undone(ask, now)
        left = self._directory.leave(ask.group_id, ask.identity, now)
        turn.changes += left.changes
        try:
            send_orders(turn, self._directory, left.orders, self._rng, now)
        except Exception as another:
            turn.tells += fault("answer", another, source)

    def _built(self, gsa: Payload) -> Payload:
        """The same GSA goes to every member that comes within a second: its octets are made once."""
        key = id(gsa.body)
        known = self._octets.get(key)
        if known is None:
            if len(self._octets) >= _MOST_JUDGED:
                self._octets.clear()
            known = self._octets[key] = (gsa.body, _octets_of(gsa))
        return known[1]

    def _acceptable(self, sag: Sa, policy: GroupPolicy) -> bool:
        # The codec gives the same record for the same octets; it is held here, so no other has its id.
        key = (id(sag), id(policy))
        known = self._judged.get(key)
        if known is None:
            if len(self._judged) >= _MOST_JUDGED:
                self._judged.clear()
            known = self._judged[key] = (sag, policy, acceptable(sag, policy))
        return known[2]


def _octets_of(payload: Payload) -> Payload:
    """The same payload, built: what cannot be built is found out here, not when the reply is sealed."""
    _, chain = build_payloads([payload])
    return Payload(payload.type, Unknown(chain[GENERIC_OCTETS:]))
