"""One group: its members, and its SAs in a Keyring. Commands in, changes to journal and orders to rekey
out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gkmd.core.address import IpAddress
from gkmd.core.change import Change, DropMember, GroupRecord, MemberRecord, PutGroup, PutMember
from gkmd.core.effect import Ask, Proof
from gkmd.core.identity import Identity
from gkmd.group.admission import Admission
from gkmd.group.doorkeeper import Doorkeeper
from gkmd.group.keyring import Keyring
from gkmd.group.material import Material
from gkmd.group.model import (
    Duty,
    GroupPolicy,
    GroupStatus,
    GroupView,
    Joined,
    Left,
    Refusal,
    Refused,
    RekeyOrder,
    Repeat,
    SenderRule,
    Verdict,
)
from gkmd.group.pace import Pace
from gkmd.group.registrations import Registrations
from gkmd.group.terms import terms

_SENDER_BURST: Final = (
    8  # registrations of one sender at once; then one in the time that its old SA takes to go
)
_LONGEST_PACE: Final = 60.0
# A registration tells a receiver the SAs of all senders, and twice as many while keys change; a datagram
# has room for 340 of them (IPv6: 184 octets each).
MOST_SENDERS: Final = 150


class Group:
    """State changes here and nowhere else. What the journal does not know yet waits in ``_owed`` and
    ``keys.dirty`` and goes along with the next changes that are handed out. A group with a doorkeeper stems
    from a reservation: who may receive or send is not decided by its own patterns.
    """

    __slots__ = (
        "_admission",
        "_doorkeeper",
        "_former",
        "_gone",
        "_material",
        "_owed",
        "_pace",
        "_registrations",
        "keys",
        "members",
        "peak",
        "policy",
        "receivers",
    )

    def __init__(
        self,
        policy: GroupPolicy,
        material: Material,
        registrations: Registrations,
        record: GroupRecord | None = None,
        members: Iterable[MemberRecord] = (),
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        self.policy = policy
        self._doorkeeper: Final = doorkeeper
        self._material: Final = material
        self._registrations: Final = registrations
        self._admission = Admission(policy)
        self._owed: list[Change] = []
        self._gone: list[Identity] = []  # members that the doorkeeper has not been told about
        self.receivers = 0  # members that do not send
        self.peak = 0  # most receivers at once since the start of the server
        self._former: dict[
            bytes, GroupPolicy
        ] = {}  # under which the rekeys of an earlier Rekey SA are repeated
        self._pace: Final = Pace(_SENDER_BURST)
        self.keys = Keyring(policy, material, record)
        self.members: dict[Identity, MemberRecord] = {}
        for member in members:
            self._put(member)

    # Life

    def restore(self, now: float) -> None:
        """Go on from the journal after any time."""
        if self.keys.record.terms != terms(self.policy):
            # Nobody can be told: the old terms are not known any more. Members notice by their soft
            # lifetimes.
            record = replace(self.keys.record, data_sas=(), rekey_sas=(), pending=())
            self.keys = Keyring(self.policy, self._material, record)
            self._drop_all()
            self.keys.dirty = True
            self.keys.restart_sender_ids()
        else:
            self.keys.restore(now)
            # Nobody is told: the SAs of those that may not send any more run out by themselves.
            for member in [member for member in self.members.values() if not self._fits(member)]:
                self._drop(member)
                self.keys.senders.pop(member.identity, None)
        if self.keys.record.closed and not self._is_over(now):
            self.keys.reopen()
        self.wake(now)

    def wake(self, now: float) -> None:
        """Open when it is time; begin anew when the Rekey SA has expired, for then nobody can be told
        anything.
        """
        keys = self.keys
        keys.prune(now)
        if keys.record.closed or keys.alive(now) or self._state_refusal(now):
            return
        if keys.running:
            self._drop_all()  # members that are out of reach register again by themselves (RFC 9838 2.4.1.4)
        keys.begin(now)

    def _state_refusal(self, now: float) -> Refusal | None:
        if self.keys.record.closed or self._is_over(now):
            return Refusal.CLOSED
        if self.policy.starts is not None and now < self.policy.starts:
            return Refusal.NOT_YET_OPEN
        return None

    def _is_over(self, now: float) -> bool:
        return self.policy.ends is not None and self.policy.ends <= now

    def close(self, now: float, reason: str) -> Left:
        """The group ends; its members are told by one last rekey."""
        orders = self.keys.close(now, reason)
        self._drop_all()
        return Left(self.flush(now), orders)

    def idle(self, now: float) -> bool:
        """It has ended, and no copy of its last rekey is still to come."""
        self.keys.prune(now)
        return self.keys.record.closed and not self.keys.record.pending

    def forget(self) -> None:
        """What is left of its SPIs is free."""
        self.keys.release()

    @property
    def reserved(self) -> bool:
        return self._doorkeeper is not None

    def _restart(self, now: float, reason: str) -> tuple[RekeyOrder, ...]:
        """Exclude everybody and begin with SAs, Sender-IDs and members of which nothing is old (RFC 9838
        2.4.3).
        """
        orders = self.keys.close(now, reason, exclude=True)
        self._drop_all()
        self.keys.restart_sender_ids()
        self.keys.begin(now, keep_data=False)
        return orders

    def adopt(self, policy: GroupPolicy, now: float) -> Left:
        """Go on by another policy: of other terms the group begins anew, and of other durations all keys
        change.

        Members that the new policy does not admit are dropped; their knowledge of the keys ends with the
        keys.
        """
        before, self.policy, self._admission = self.policy, policy, Admission(policy)
        orders: tuple[RekeyOrder, ...] = ()
        alive = self.keys.alive(now)
        if terms(policy) != terms(before):
            former = {sa.spi: before for sa in self.keys.record.rekey_sas}
            orders = self.keys.close(now, "policy", exclude=True)
            self._drop_all()
            self._former.update(former)
            self._use(policy)
            self.keys.restart_sender_ids()
        else:
            self._use(policy)
            unfit = [member.identity for member in self.members.values() if not self._fits(member)]
            orders = self._remove(unfit, now)
            # RFC 9838 3.2.1: policy changes together with the Rekey SA.
            if alive and _durations(policy) != _durations(before):
                orders += self.keys.roll(now, "policy", everything=True)
        if self.keys.record.closed and not self._is_over(now):
            self.keys.reopen()
        self.wake(now)
        return Left(self.flush(now), orders)

    def exclude(self, now: float, reason: str) -> Left:
        """Everybody is excluded and registers again, under keys that nobody has seen: who is not admitted any
        more is out at once.
        """
        orders = self._restart(now, reason) if self.keys.alive(now) else ()
        return Left(self.flush(now), orders)

    def _use(self, policy: GroupPolicy) -> None:
        self.keys.adopt(policy)
        for identity in self.keys.senders:
            self.keys.senders[identity] = self._source(identity, self.members[identity].address)

    def _fits(self, member: MemberRecord) -> bool:
        if member.sends:
            if self._sender_rule(member.identity) is None:
                return False
            if not (self.policy.shared_sa or self._reaches(self._source(member.identity, member.address))):
                return False
        if self._doorkeeper is not None:
            return True  # whose admission ends is dropped by name
        return not member.receives or self._admission.may_receive(member.identity)

    def _sender_rule(self, identity: Identity) -> SenderRule | None:
        if self._doorkeeper is not None:
            return self._doorkeeper.sender(self.policy.name, identity)
        return self._admission.sender_rule(identity)

    def _reaches(self, source: IpAddress) -> bool:
        """Whether data can come from there: a member may register over the other version of IP."""
        return source.version == self.policy.address.version

    # Members

    def decide(self, ask: Ask, now: float) -> Verdict:
        """Roles by the policy's patterns, or as the doorkeeper says; only who is allowed learns whether the
        group is open or full.
        """
        if self._doorkeeper is not None:
            return self._with_state(self._doorkeeper.decide(ask, self.policy, now), ask, now)
        if ask.proof is not Proof.CONFIGURED:
            # Who signs up chooses a name: it may be like one of these patterns, and "any" means any of ours.
            return Verdict(Refusal.NOT_AUTHORIZED, detail="tickets and passwords are for reservations")
        receives = self._admission.may_receive(ask.identity)
        if ask.wants_to_send and self._admission.sender_rule(ask.identity) is None:
            return Verdict(Refusal.NOT_AUTHORIZED, detail="may not send")
        if not (receives or ask.wants_to_send):
            return Verdict(Refusal.NOT_AUTHORIZED, detail="may not receive")
        return self._with_state(Verdict(None, receives=receives, sends=ask.wants_to_send), ask, now)

    def _with_state(self, verdict: Verdict, ask: Ask, now: float) -> Verdict:
        refusal = verdict.refusal or self._state_refusal(now) or self._full(ask.identity, verdict)
        if verdict.refusal is not None or refusal is None:
            return verdict
        opening = self.policy.starts if refusal is Refusal.NOT_YET_OPEN else None
        return replace(verdict, refusal=refusal, come_back=opening)

    def _full(self, identity: Identity, verdict: Verdict) -> Refusal | None:
        """Of a reservation's group the capacity is for receivers: its senders always find room."""
        capacity = self.policy.capacity
        taken = self.receivers if self.reserved else len(self.members)
        full = 0 < capacity <= taken and identity not in self.members
        if self.reserved and verdict.sends:
            return None
        return Refusal.FULL if full else None

    def check(self, ask: Ask, verdict: Verdict, now: float) -> None:
        """Raise Refused when this member cannot be taken; nothing has changed."""
        refusal = verdict.refusal or self._state_refusal(now) or self._full(ask.identity, verdict)
        if refusal is not None:
            raise Refused(refusal, verdict.detail)
        if verdict.sends and not self.policy.shared_sa:
            self._check_sender(ask, now)

    def take(self, ask: Ask, verdict: Verdict, ike_spi: bytes, now: float) -> Joined:
        """Take a member that was checked, or take it anew."""
        self.wake(now)
        orders: tuple[RekeyOrder, ...] = ()
        sender_ids: tuple[int, ...] = ()
        if verdict.sends:
            source = self._source(ask.identity, ask.address)
            try:
                sender_ids, orders = self.keys.add_sender(ask.identity, source, ask.sender_ids, now)
            except Refused as exhausted:
                # RFC 9838 2.5.1: all GMs are excluded before any new Sender-ID is given out.
                orders = self._restart(now, exhausted.refusal.value)
                sender_ids, _ = self.keys.add_sender(
                    ask.identity, source, ask.sender_ids, now, announce=False
                )
        else:
            orders = self.keys.remove_senders((ask.identity,), now)
        member = MemberRecord(
            group=self.policy.name,
            identity=ask.identity,
            receives=verdict.receives,
            sends=verdict.sends,
            address=ask.address,
            sender_ids=sender_ids,
            joined=now,
            ike_spi=ike_spi,
        )
        self._put(member)
        return Joined(self._view(member, now), (*self.flush(now), PutMember(member)), orders)

    def _check_sender(self, ask: Ask, now: float) -> None:
        """A sender's SA is its own, and each registration brings another, told to everybody."""
        source = self._source(ask.identity, ask.address)
        if not self._reaches(source):
            raise Refused(Refusal.NOT_AUTHORIZED, f"{source} cannot send to {self.policy.address}")
        if self.policy.supplied is not None:
            self._check_supplied(ask, source)
        if ask.identity not in self.keys.senders and len(self.keys.senders) >= MOST_SENDERS:
            raise Refused(Refusal.FULL, f"{MOST_SENDERS} senders have an SA of their own; CBC shares one")
        # RFC 9838 2.3.3: members know whose an SA is by its source; two senders on one key would count the
        # same sequence numbers, and the one that begins anew is taken for a replay.
        for other, its_source in self.keys.senders.items():
            if its_source == source and other != ask.identity:
                raise Refused(Refusal.ADDRESS_TAKEN, f"{other} sends from {source}")
        hold = self.keys.timeline.span + self.policy.deactivation_delay
        if not self._pace.take(ask.identity, max(1.0, min(hold, _LONGEST_PACE)), now):
            raise Refused(Refusal.TOO_OFTEN, "this sender registers again and again")

    def _check_supplied(self, ask: Ask, source: IpAddress) -> None:
        """RFC 6054: with a counter mode cipher one sender alone may use a key, and no IV twice."""
        if any(other != ask.identity for other in self.keys.senders):
            raise Refused(Refusal.FULL, "one sender alone may use the supplied key")
        bound = self.keys.supplied_source()
        if bound is not None and bound != source:
            raise Refused(Refusal.ADDRESS_TAKEN, f"the supplied SA is sent from {bound}, not from {source}")
        if self.keys.record.next_sender_id >= 1 << self.policy.sender_id_bits:
            raise Refused(Refusal.SENDER_IDS_EXHAUSTED, "a supplied key is not replaced")

    def _view(self, member: MemberRecord, now: float) -> GroupView:
        record = self.keys.record
        data = record.data_sas
        if not member.receives:
            # One that only sends is told what it sends on.
            data = tuple(sa for sa in data if sa.sender in (None, member.identity))
        return GroupView(self.policy, now, data, self.keys.current, member.sender_ids)

    def _source(self, identity: Identity, address: IpAddress) -> IpAddress:
        rule = self._sender_rule(identity)
        return rule.source if rule is not None and rule.source is not None else address

    def leave(self, identities: Iterable[Identity], now: float) -> Left:
        """Drop members; those that are unknown are left out."""
        orders = self._remove(identities, now)
        return Left(self.flush(now), orders)

    def _remove(self, identities: Iterable[Identity], now: float) -> tuple[RekeyOrder, ...]:
        gone = [identity for identity in identities if identity in self.members]
        for identity in gone:
            self._drop(self.members[identity])
        return self.keys.remove_senders(gone, now)

    def _put(self, member: MemberRecord) -> None:
        previous = self.members.get(member.identity)
        if previous is not None:
            self._registrations.remove(previous)
            self.receivers -= not previous.sends
        self.receivers += not member.sends
        self.peak = max(self.peak, self.receivers)
        self.members[member.identity] = member
        self._registrations.add(member)
        if member.sends and member.identity not in self.keys.senders:
            self.keys.senders[member.identity] = self._source(member.identity, member.address)

    def _drop(self, member: MemberRecord) -> None:
        del self.members[member.identity]
        self.receivers -= not member.sends
        self._gone.append(member.identity)
        self._registrations.remove(member)
        self._owed.append(DropMember(self.policy.name, member.identity))

    def _drop_all(self) -> None:
        for member in list(self.members.values()):
            self._drop(member)
        self.keys.senders.clear()

    # Time

    def tick(self, now: float) -> tuple[Duty, ...]:
        """What is due: copies of earlier rekeys first, for members take rekeys in their order only."""
        keys = self.keys
        changes = (*self.flush(now), PutGroup(keys.record)) if keys.repeat_due(now) else ()
        copies = keys.repeat(now)
        duties: list[Duty] = [
            Repeat(self._former.get(copy.under, self.policy), copy.datagram, changes) for copy in copies
        ]
        if self._former and not keys.record.pending:
            self._former.clear()
        if not keys.record.closed and self._state_refusal(now) is Refusal.CLOSED:
            duties += keys.close(now, "end")
            self._drop_all()
        self.wake(now)
        if keys.alive(now):
            duties += keys.roll(now)
        return tuple(duties)

    def rekey(self, now: float) -> tuple[RekeyOrder, ...]:
        """Replace every key now."""
        self.wake(now)
        return self.keys.roll(now, "operator", everything=True) if self.keys.alive(now) else ()

    def sealed(self, order: RekeyOrder, datagram: bytes, now: float) -> tuple[Change, ...]:
        """The order has become this datagram; the changes are journalled before it is sent."""
        self.keys.sealed(order, datagram, now)
        if self._doorkeeper is not None and not order.close:
            self._doorkeeper.rekeyed(self.policy.name, now)
        return self.flush(now)

    def deadline(self) -> float | None:
        """When ``tick`` next has something to do."""
        times = [self.keys.deadline()]
        if not self.keys.record.closed:
            times.append(self.policy.ends)
            if not self.keys.running:
                times.append(self.policy.starts)
        return min((time for time in times if time is not None), default=None)

    def owe(self, changes: Iterable[Change]) -> None:
        """They go along with the next changes that are handed out."""
        self._owed += changes

    def flush(self, now: float) -> tuple[Change, ...]:
        """All that the journal has not been told yet."""
        changes = tuple(self._owed)
        self._owed.clear()
        if self._doorkeeper is not None and self._gone:
            gone = [identity for identity in self._gone if identity not in self.members]
            changes += self._doorkeeper.gone(self.policy.name, gone, now)
        self._gone.clear()
        if self.keys.dirty:
            self.keys.dirty = False
            changes += (PutGroup(self.keys.record),)
        return changes

    def status(self) -> GroupStatus:
        record = self.keys.record
        return GroupStatus(
            policy=self.policy,
            epoch=record.epoch,
            opened=self.keys.running,
            closed=record.closed,
            members=len(self.members),
            senders=len(self.keys.senders),
            data_sas=len(record.data_sas),
            next_rekey=self.keys.next_rekey(),
            receivers=self.receivers,
            peak=self.peak,
        )


def _durations(policy: GroupPolicy) -> tuple[object, ...]:
    return policy.tek_lifetime, policy.kek_lifetime, policy.activation_delay, policy.deactivation_delay
