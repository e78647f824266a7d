"""Every group of the server: the one place where group state changes.

Changes that a method returns are journalled before anything else is done about them. Those of orders come
with ``sealed``: a server that dies before has never used what the order contained, and makes another one when
it is back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gkmd.core.address import IpAddress
from gkmd.core.alarms import Alarms
from gkmd.core.change import Change, DropGroup, DropMember, Journalled, MemberRecord
from gkmd.core.effect import Ask
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import Rng
from gkmd.group.doorkeeper import Doorkeeper
from gkmd.group.group import Group
from gkmd.group.material import Material
from gkmd.group.model import (
    Duty,
    GroupPolicy,
    GroupStatus,
    Joined,
    Left,
    Refusal,
    Refused,
    RekeyOrder,
    SasOfGroup,
    Verdict,
)
from gkmd.group.registrations import Registrations
from gkmd.group.terms import check


class Directory:
    """All groups with their members and SAs. Raises ValueError when a policy cannot work or two share a name
    or id.

    With ``conceal`` a stranger to a group is told the same whether the group exists or not.

    ``policies`` are those of the configuration and of the reservations whose groups live
    (``Doorkeeper.knows`` tells them apart): what the journal holds of others is dropped. Later the
    configuration's change by ``reload`` and the reservations' one by one, by ``establish``, ``amend`` and
    ``end``.
    """

    def __init__(
        self,
        policies: Iterable[GroupPolicy],
        rng: Rng,
        now: float,
        journalled: Journalled | None = None,
        *,
        conceal: bool = False,
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        journalled = journalled or Journalled()
        self._conceal: Final = conceal
        self._doorkeeper: Final = doorkeeper
        self._material: Final = Material(rng)
        self._registrations: Final = Registrations()
        self._groups: dict[str, Group] = {}
        self._by_id: dict[Identity, Group] = {}
        self._alarms: Final[Alarms[str]] = Alarms()
        policies = _checked(policies)
        records = {record.name: record for record in journalled.groups}
        members: dict[str, list[MemberRecord]] = {}
        for member in journalled.members:
            members.setdefault(member.group, []).append(member)
        for policy in policies:
            name = policy.name
            record = records.pop(name, None)
            keeper = doorkeeper if doorkeeper is not None and doorkeeper.knows(name) else None
            group = Group(policy, self._material, self._registrations, record, members.pop(name, ()), keeper)
            if record is None:
                group.wake(now)
            else:
                group.restore(now)
            self._groups[name] = self._by_id[policy.group_id] = group
            self._arm(group)
        # What remains belongs to groups that are no longer configured.
        self._start: tuple[Change, ...] = (
            *(DropMember(name, member.identity) for name, gone in members.items() for member in gone),
            *(DropGroup(name) for name in records),
            *(change for group in self._groups.values() for change in group.flush(now)),
        )

    @property
    def doorkeeper(self) -> Doorkeeper | None:
        """Who knows the reservations, None without a platform."""
        return self._doorkeeper

    def start_changes(self) -> tuple[Change, ...]:
        """What construction has changed: first SAs of new groups, ends of those that are no more. Once."""
        changes, self._start = self._start, ()
        return changes

    # Members

    def decide(self, ask: Ask, now: float) -> Verdict:
        """The policy's answer; changes nothing."""
        group = self._by_id.get(ask.group_id)
        verdict = self._of_none(ask, now) if group is None else group.decide(ask, now)
        return Verdict(Refusal.NOT_AUTHORIZED) if verdict.hidden and self._conceal else verdict

    def _of_none(self, ask: Ask, now: float) -> Verdict:
        past = None if self._doorkeeper is None else self._doorkeeper.policy_of(ask.group_id)
        if self._doorkeeper is None or past is None:
            return Verdict(Refusal.NOT_AUTHORIZED if self._conceal else Refusal.UNKNOWN_GROUP)
        verdict = self._doorkeeper.decide(ask, past, now)
        return verdict if verdict.refusal is not None else replace(verdict, refusal=Refusal.CLOSED)

    def join(self, ask: Ask, verdict: Verdict, ike_spi: bytes, now: float) -> Joined:
        """Register a member, for the first time or again. Raises Refused, and then nothing has changed.

        The orders are sealed, journalled and sent before the member's reply, so that receivers know a new
        sender's SA first. Each registration of a sender has fresh Sender-IDs and, with an AEAD cipher, a
        fresh SA.
        """
        group = self._by_id.get(ask.group_id)
        if group is None:
            raise Refused(verdict.refusal or Refusal.UNKNOWN_GROUP)
        group.check(ask, verdict, now)
        admitted = self._admitted(group, ask, verdict, now)
        try:
            joined = group.take(ask, verdict, ike_spi, now)
        except Exception:
            # A fault of ours: what was charged is given back, and both are journalled with the next change.
            group.owe((*admitted, *self.undone(ask, now)))
            raise
        if len(joined.changes) > 1:  # more than the member itself
            self._arm(group)
        return Joined(joined.view, joined.changes + admitted, joined.orders) if admitted else joined

    def _admitted(self, group: Group, ask: Ask, verdict: Verdict, now: float) -> tuple[Change, ...]:
        if self._doorkeeper is None or not group.reserved:
            return ()
        return self._doorkeeper.admitted(ask, verdict, group.policy, now)

    def undone(self, ask: Ask, now: float) -> tuple[Change, ...]:
        """A join in this turn comes to nothing by a fault of ours: what it has charged is given back."""
        group = self._by_id.get(ask.group_id)
        if self._doorkeeper is None or group is None or not group.reserved:
            return ()
        return self._doorkeeper.undone(ask, group.policy, now)

    def refused(self, ask: Ask, verdict: Verdict, now: float) -> tuple[Change, ...]:
        """A refusal is told: statistics and audit of the reservation. ``verdict`` has the refusal, be it of
        ``decide`` or of ``join``.
        """
        if self._doorkeeper is None:
            return ()
        group = self._by_id.get(ask.group_id)
        reserved = self._doorkeeper.policy_of(ask.group_id) is not None if group is None else group.reserved
        return self._doorkeeper.refused(ask, verdict, now) if reserved else ()

    def drop_member(self, name: str, identity: Identity, now: float, *, exclude: bool = False) -> Left:
        """The member of this group is no more; with ``exclude`` as ``exclude`` says. An unknown member or
        group is an empty Left.
        """
        group = self._groups.get(name)
        if group is None or identity not in group.members:
            return Left((), ())
        left = self._leave(group, (identity,), now)
        if not exclude:
            return left
        excluded = self.exclude(name, now)
        return Left(left.changes + excluded.changes, left.orders + excluded.orders)

    def exclude(self, name: str, now: float) -> Left:
        """Everybody is excluded and registers again, under keys that nobody has seen: a receiver knows the
        Rekey SA, and would follow the keys to the end of the group, as a member or after it has left. A group
        that is not there, or not open, is an empty Left.
        """
        group = self._groups.get(name)
        if group is None:
            return Left((), ())
        left = group.exclude(now, "evicted")
        self._arm(group)
        return left

    def leave(self, group_id: Identity, identity: Identity, now: float) -> Left:
        """The member is no more; an unknown one is an empty Left."""
        group = self._by_id.get(group_id)
        return Left((), ()) if group is None else self._leave(group, (identity,), now)

    def groups_over(self, ike_spi: bytes) -> tuple[str, ...]:
        """The groups that somebody registered with over this IKE SA."""
        return tuple(self._registrations.over(ike_spi))

    @property
    def ike_sas(self) -> int:
        """Over how many IKE SAs somebody is registered."""
        return len(self._registrations)

    def ike_sa_gone(self, ike_spi: bytes, now: float) -> Left:
        """Drop every member that registered over this IKE SA and not over another since."""
        changes: tuple[Change, ...] = ()
        orders: tuple[RekeyOrder, ...] = ()
        for name, identities in self._registrations.over(ike_spi).items():
            left = self._leave(self._groups[name], identities, now)
            changes, orders = changes + left.changes, orders + left.orders
        return Left(changes, orders)

    def _leave(self, group: Group, identities: Iterable[Identity], now: float) -> Left:
        left = group.leave(identities, now)
        if left.orders:
            self._arm(group)
        return left

    # Keys

    def rekey(self, name: str, now: float) -> tuple[RekeyOrder, ...]:
        """Replace every key of a group now; none when it is not open. LocalError when there is no such
        group.
        """
        group = self._named(name)
        orders = group.rekey(now)
        self._arm(group)
        return orders

    def tick(self, now: float) -> tuple[Duty, ...]:
        """All that is due. No order is handed out twice, sealed or not."""
        duties: list[Duty] = []
        while (name := self._alarms.due(now)) is not None:
            group = self._groups[name]
            duties += group.tick(now)
            self._arm(group, after=now)
        return tuple(duties)

    def sealed(self, order: RekeyOrder, datagram: bytes, now: float) -> tuple[Change, ...]:
        """The order's message as it will be sent. The changes go to the journal BEFORE it is: with them its
        message id is used up for ever, and its copies survive a crash."""
        group = self._named(order.policy.name)
        changes = group.sealed(order, datagram, now)
        self._arm(group)
        return changes

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; a time that has passed means at once."""
        return self._alarms.first()

    def _arm(self, group: Group, after: float | None = None) -> None:
        name, time = group.policy.name, group.deadline()
        if time is None:
            self._alarms.drop(name)
            return
        if after is not None and time <= after:
            # Its tick has just run: whatever is left to do has only become due by it.
            time = after + _LEAST_WAIT
        self._alarms.set(name, time)

    # Policy

    def reload(self, policies: Iterable[GroupPolicy], now: float) -> Left:
        """Go on by these policies: new groups open, missing ones close, changed ones adapt.

        ValueError leaves everything as it was. A group whose terms change begins anew: its members are
        excluded and register again; other durations rekey it; admission only drops members that are no longer
        allowed. Groups of reservations go on.
        """
        policies = _checked(policies)
        for policy in policies:
            self._check_free(policy, reserved=False)
        changes: tuple[Change, ...] = ()
        orders: tuple[RekeyOrder, ...] = ()
        wanted = {policy.name for policy in policies}
        for name, group in self._groups.items():
            if name not in wanted and not group.reserved and not group.keys.record.closed:
                left = group.close(now, "removed")
                changes, orders = changes + left.changes, orders + left.orders
        self._by_id = {group.policy.group_id: group for group in self._groups.values() if group.reserved}
        for policy in policies:
            found = self._groups.get(policy.name)
            if found is None:
                found = self._groups[policy.name] = Group(policy, self._material, self._registrations)
                found.wake(now)
                changes += found.flush(now)
            elif found.policy != policy or found.keys.record.closed:
                left = found.adopt(policy, now)
                changes, orders = changes + left.changes, orders + left.orders
            self._by_id[policy.group_id] = found
        for group in self._groups.values():
            self._arm(group)
        return Left(changes, orders)

    def _check_free(self, policy: GroupPolicy, *, reserved: bool) -> None:
        """ValueError when a group of the other kind has this name or id."""
        for found in (self._groups.get(policy.name), self._by_id.get(policy.group_id)):
            if found is not None and (found.reserved is not reserved or found.policy.name != policy.name):
                raise ValueError(
                    f"group {policy.name!r}: its name or its id {policy.group_id} is that of "
                    f"{'a reservation' if found.reserved else 'another group'}"
                )

    # Reservations

    def establish(self, policy: GroupPolicy, now: float) -> Left:
        """A reservation's group; one that is there already goes on by this policy. It opens at its start by
        itself. ValueError when no group can be run by the policy, or its name or id is taken.
        """
        check(policy)
        self._check_free(policy, reserved=True)
        group = self._groups.get(policy.name)
        if group is not None:
            return self.amend(policy, now)
        group = Group(policy, self._material, self._registrations, doorkeeper=self._doorkeeper)
        group.wake(now)
        self._groups[policy.name] = self._by_id[policy.group_id] = group
        self._arm(group)
        return Left(group.flush(now), ())

    def amend(self, policy: GroupPolicy, now: float) -> Left:
        """A reservation's group goes on by another policy, as in ``reload``. A group that is not there is an
        empty Left; ValueError leaves everything as it was.
        """
        check(policy)
        self._check_free(policy, reserved=True)
        group = self._groups.get(policy.name)
        if group is None:
            return Left((), ())
        left = group.adopt(policy, now)
        self._arm(group)
        return left

    def end(self, name: str, now: float, reason: str) -> Left:
        """A reservation's group ends: its members are told by one last rekey. Called again when the copies of
        that are out, it forgets the group (``holds``).
        """
        group = self._groups.get(name)
        if group is None or not group.reserved:
            return Left((), ())
        # One that closed by itself may still owe the journal something.
        over = group.keys.record.closed
        left = Left(group.flush(now), ()) if over else group.close(now, reason)
        if not left.orders and group.idle(now):
            del self._groups[name], self._by_id[group.policy.group_id]
            self._alarms.drop(name)
            group.forget()
            return Left((*left.changes, DropGroup(name)), ())
        self._arm(group)
        return left

    def holds(self, name: str) -> bool:
        """Whether there is a group of this name, be it closed."""
        return name in self._groups

    def configured_addresses(self) -> frozenset[IpAddress]:
        """Of the data and the rekeys of all groups that stem from the configuration and are not closed."""
        return frozenset(
            address
            for group in self._groups.values()
            if not (group.reserved or group.keys.record.closed)
            for address in (group.policy.address, group.policy.rekey_address)
        )

    def status(self, name: str) -> GroupStatus | None:
        """One line about a group, None when there is none."""
        group = self._groups.get(name)
        return None if group is None else group.status()

    # Views for the control socket

    def groups(self) -> tuple[GroupStatus, ...]:
        return tuple(group.status() for group in self._groups.values())

    def members(self, name: str) -> tuple[MemberRecord, ...]:
        """LocalError when there is no such group."""
        return tuple(self._named(name).members.values())

    def sas(self, name: str) -> SasOfGroup:
        """The SAs that live, those that are on their way out included. LocalError when there is no such
        group.
        """
        record = self._named(name).keys.record
        return SasOfGroup(record.data_sas, record.rekey_sas)

    def policy_of(self, group_id: Identity) -> GroupPolicy | None:
        """The policy of the group with this id, None when there is none."""
        group = self._by_id.get(group_id)
        return None if group is None else group.policy

    def policy(self, name: str) -> GroupPolicy:
        return self._named(name).policy

    def _named(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            raise LocalError(f"there is no group {name!r}")
        return group


_LEAST_WAIT: Final = 0.001


def _checked(policies: Iterable[GroupPolicy]) -> tuple[GroupPolicy, ...]:
    policies = tuple(policies)
    names: set[str] = set()
    ids: set[Identity] = set()
    for policy in policies:
        try:
            check(policy)
        except ValueError as error:
            raise ValueError(f"group {policy.name!r}: {error}") from None
        if policy.name in names or policy.group_id in ids:
            raise ValueError(f"group {policy.name!r}: its name or its id {policy.group_id} is given twice")
        names.add(policy.name)
        ids.add(policy.group_id)
    return policies
