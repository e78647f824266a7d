"""The SAs of one group: a GroupRecord and the ways in which it changes. Members are known here only as
senders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gkmd.core.address import IpAddress
from gkmd.core.change import DataSa, GroupRecord, PendingRekey, RekeySa
from gkmd.core.identity import Identity
from gkmd.group.material import Material
from gkmd.group.model import GroupPolicy, RekeyOrder, gone_at
from gkmd.group.sender_ids import allot
from gkmd.group.terms import terms
from gkmd.group.timeline import Timeline

MOST_SAS_PER_ORDER: Final = 32  # some 150 octets each: a rekey stays far below 64 KiB, and mostly below 6


class Keyring:
    """Every change replaces ``record`` and sets ``dirty``, except that an SA goes when its time is over: a
    reader of the journal sees that by itself."""

    __slots__ = ("_material", "_next_gone", "dirty", "policy", "record", "senders", "timeline")

    def __init__(self, policy: GroupPolicy, material: Material, record: GroupRecord | None = None) -> None:
        self.policy = policy
        self.timeline = Timeline.of(policy)
        self._material: Final = material
        self.senders: dict[Identity, IpAddress | None] = {}  # with the source of their data
        self.dirty = record is None
        self._next_gone = 0.0
        self.record = record or GroupRecord(policy.name, 0, (), (), 0, 1, (), False, terms(policy))

    def _change(self, **fields: object) -> None:
        self.record = replace(self.record, **fields)  # type: ignore[arg-type]  # names are checked by replace
        self.dirty = True
        self._next_gone = 0.0

    # The SAs that there are

    @property
    def current(self) -> RekeySa:
        return self.record.rekey_sas[-1]

    @property
    def running(self) -> bool:
        """The group has begun and not ended; its current Rekey SA may have expired all the same."""
        record = self.record
        return not record.closed and bool(record.rekey_sas) and record.rekey_sas[-1].removed_at is None

    def alive(self, now: float) -> bool:
        """There is a Rekey SA that members can be told by."""
        return self.running and self.current.expires > now

    def prune(self, now: float) -> None:
        """Forget what has expired or was removed long enough ago."""
        if now < self._next_gone:
            return
        record = self.record
        pending = tuple(p for p in record.pending if p.repeats_left or p.next_at > now)
        if pending != record.pending:
            record = self.record = replace(record, pending=pending)
        rekey = tuple(sa for sa in record.rekey_sas if self._rekey_sa_ends(sa) > now)
        data = tuple(sa for sa in record.data_sas if gone_at(sa) > now)
        for spi in _spis(record.data_sas, record.rekey_sas) - _spis(data, rekey):
            self._material.spis.release(spi)
        if len(data) < len(record.data_sas) or len(rekey) < len(record.rekey_sas):
            self.record = replace(record, data_sas=data, rekey_sas=rekey)
        ends = [gone_at(sa) for sa in data] + [self._rekey_sa_ends(sa) for sa in rekey]
        ends += [p.next_at for p in pending if not p.repeats_left]
        self._next_gone = min(ends, default=float("inf"))

    def _rekey_sa_ends(self, sa: RekeySa) -> float:
        """RFC 9838 2.4.1.4 lets an old Rekey SA die by itself; one whose rekey still repeats is needed by
        members that have missed it so far. The current one stays until it is replaced, be it expired."""
        record = self.record
        if sa is record.rekey_sas[-1] and self.running:
            return float("inf")
        return sa.expires if any(p.under == sa.spi for p in record.pending) else gone_at(sa)

    def deadline(self) -> float | None:
        """When ``repeat``, ``roll`` or ``prune`` has something to do; 0 for at once."""
        record, times = self.record, [p.next_at for p in self.record.pending]
        if self.running and self._missing():
            return 0.0
        for sa in record.data_sas:
            times.append(sa.expires - self.timeline.data_lead if self._lives_on(sa) else gone_at(sa))
        times += [self._rekey_sa_ends(sa) for sa in record.rekey_sas]
        if self.running:
            times.append(self.current.expires - self.timeline.rekey_lead)
        return min(times, default=None)

    def next_rekey(self) -> float | None:
        """When the timeline next replaces a key."""
        if not self.running:
            return None
        data = [sa.expires - self.timeline.data_lead for sa in self.record.data_sas if self._lives_on(sa)]
        return min([self.current.expires - self.timeline.rekey_lead, *data])

    def _lives_on(self, sa: DataSa) -> bool:
        """It is to be replaced when its time comes; others end without a successor."""
        if self._is_supplied(sa):
            return False
        return sa.removed_at is None and (sa.sender in self.senders if sa.sender is not None else True)

    def _is_supplied(self, sa: DataSa) -> bool:
        return self.policy.supplied is not None and sa.spi == self.policy.supplied.spi

    def _missing(self) -> list[Identity | None]:
        """Senders without an SA (None: all of them): one expired while the server was down."""
        if self.policy.supplied is not None:
            return []  # its time is over, or its sender has not come: nothing takes its place
        have = {sa.sender for sa in self.record.data_sas if sa.removed_at is None}
        wanted: Iterable[Identity | None] = (None,) if self.policy.shared_sa else self.senders
        return [sender for sender in wanted if sender not in have]

    # Beginnings and ends

    def begin(self, now: float, *, keep_data: bool = True) -> None:
        """A new Rekey SA that nobody knows yet; data SAs that still live are kept, for they are still in
        use.
        """
        data = self.record.data_sas if keep_data else ()
        if self.policy.shared_sa:
            if self.policy.supplied is not None:
                data = (*data, *self._supplied(data, None, None, now))
            elif not any(self._lives_on(sa) for sa in data):
                data = (*data, self._material.data_sa(self.policy, None, None, now))
        self._change(
            epoch=self.record.epoch + 1,
            data_sas=data,
            rekey_sas=(*self.record.rekey_sas, self._material.rekey_sa(self.policy, now)),
            closed=False,
            terms=terms(self.policy),
        )
        self.prune(now)

    def _supplied(
        self, data: Iterable[DataSa], sender: Identity | None, source: IpAddress | None, now: float
    ) -> tuple[DataSa, ...]:
        """The sender's own SA if it is not there and its time is not over."""
        supplied = self.policy.supplied
        if supplied is None or any(self._is_supplied(sa) for sa in data):
            return ()
        opened = now if self.policy.starts is None else self.policy.starts
        expires = opened + supplied.lifetime
        if expires <= now:
            return ()
        self._material.spis.adopt(supplied.spi)
        return (DataSa(supplied.spi, sender, source, supplied.key, now, expires),)

    def reopen(self) -> None:
        """A group that had ended is wanted again; ``begin`` follows when it is time."""
        self._change(closed=False)

    def adopt(self, policy: GroupPolicy) -> None:
        """SAs made from now on follow this policy."""
        self.policy, self.timeline = policy, Timeline.of(policy)

    def close(self, now: float, reason: str, *, exclude: bool = False) -> tuple[RekeyOrder, ...]:
        """End every SA at once. Members are told if there is a Rekey SA to tell them by."""
        orders: tuple[RekeyOrder, ...] = ()
        if self.alive(now):
            orders = (self._order(now, reason, (), (), close=True, exclude=exclude),)
        ended = tuple(replace(sa, removed_at=min(gone_at(sa), now)) for sa in self.record.rekey_sas)
        self._change(data_sas=(), rekey_sas=ended, closed=True)
        self.senders.clear()
        return orders

    def restore(self, now: float) -> None:
        """Take up what the journal knew. Only the time that has passed is new."""
        record = self.record
        for spi in _spis(record.data_sas, record.rekey_sas):
            self._material.spis.adopt(spi)
        # The crash may have come before any copy was sent: each goes out once more, and so the time that
        # members were given to remove old SAs begins anew.
        alive = {sa.spi for sa in record.rekey_sas if sa.expires > now}
        pending = tuple(
            replace(p, repeats_left=max(1, p.repeats_left), next_at=now)
            for p in record.pending
            if p.under in alive
        )
        again = {spi for p in pending for spi in p.deleted_spis}
        removal = now + self.policy.deactivation_delay
        data = tuple(
            replace(sa, removed_at=removal) if sa.spi in again and sa.removed_at is not None else sa
            for sa in record.data_sas
        )
        self.record = replace(record, pending=pending, data_sas=data)
        self.prune(now)

    def release(self) -> None:
        """The SPIs of a group that is forgotten are free."""
        for spi in _spis(self.record.data_sas, self.record.rekey_sas):
            self._material.spis.release(spi)

    # Orders

    def _order(
        self,
        now: float,
        reason: str,
        added: tuple[DataSa, ...],
        deleted: tuple[int, ...],
        new_rekey: RekeySa | None = None,
        close: bool = False,
        exclude: bool = False,
    ) -> RekeyOrder:
        """Put ``added`` and ``new_rekey`` in force, start the end of ``deleted``, and use up one message
        id.
        """
        under = self.current
        # RFC 9838 2.4.1.4 knows no reordering: a member that gets this rekey refuses later copies of those
        # before it. So this one says again what they said, as long as they are repeated.
        said, unsaid = ((), ()) if close else self._being_said()
        said = tuple(sa for sa in said if sa.spi not in deleted)
        carry = len(said) + len(added) <= MOST_SAS_PER_ORDER
        order = RekeyOrder(
            policy=self.policy,
            now=now,
            reason=reason,
            under=under,
            message_id=under.next_message_id,
            new_rekey_sa=new_rekey,
            data_sas=(*said, *added) if carry else added,
            deleted_spis=(*unsaid, *deleted) if carry else deleted,
            close=close,
            exclude=exclude,
        )
        removal = now + self.policy.deactivation_delay
        gone = set(deleted)
        used = replace(under, next_message_id=under.next_message_id + 1)
        rekey = (*self.record.rekey_sas[:-1], used)
        if new_rekey is not None:
            rekey = (*rekey[:-1], replace(used, removed_at=removal), new_rekey)
        data = tuple(replace(sa, removed_at=removal) if sa.spi in gone else sa for sa in self.record.data_sas)
        if removal <= now:
            data = tuple(sa for sa in data if sa.spi not in gone)
            for spi in deleted:
                self._material.spis.release(spi)
        self._change(epoch=self.record.epoch + 1, data_sas=(*data, *added), rekey_sas=rekey)
        return order

    def _being_said(self) -> tuple[tuple[DataSa, ...], tuple[int, ...]]:
        """What rekeys under the current Rekey SA announced of which copies are still to come."""
        under = self.current.spi
        repeated = [p for p in self.record.pending if p.repeats_left and p.under == under]
        spis = {spi for pending in repeated for spi in pending.data_spis}
        added = tuple(sa for sa in self.record.data_sas if sa.removed_at is None and sa.spi in spis)
        return added, tuple(spi for pending in repeated for spi in pending.deleted_spis)

    def add_sender(
        self, identity: Identity, source: IpAddress | None, asked: int, now: float, *, announce: bool = True
    ) -> tuple[tuple[int, ...], tuple[RekeyOrder, ...]]:
        """Its Sender-IDs, and the order that announces its SA. Raises Refused before anything changes.

        One that registers again gets a new SA: with the old key its kernel would count sequence numbers anew,
        which receivers drop as replays. Without ``announce`` there is nobody yet to tell.
        """
        if self.policy.shared_sa:
            self.senders[identity] = source
            return (), ()
        bits, most = self.policy.sender_id_bits, self.policy.most_sender_ids
        ids, next_id = allot(self.record.next_sender_id, asked, bits, most)
        if self.policy.supplied is not None:
            return ids, self._add_supplied(identity, source, next_id, now)
        old = self._spis_of(identity)
        self.senders[identity] = source
        added = self._material.data_sa(self.policy, identity, source, now)
        self._change(next_sender_id=next_id)
        if announce:
            return ids, (self._order(now, "sender-joined", (added,), old),)
        self._change(data_sas=(*self.record.data_sas, added))
        return ids, ()

    def _add_supplied(
        self, identity: Identity, source: IpAddress | None, next_id: int, now: float
    ) -> tuple[RekeyOrder, ...]:
        """Tell everybody the one SA of the one sender; when it registers again it goes on with that."""
        self.senders[identity] = source
        # A new ticket is another identity of the same host.
        data = tuple(
            replace(sa, sender=identity) if self._is_supplied(sa) else sa for sa in self.record.data_sas
        )
        self._change(next_sender_id=next_id, data_sas=data)
        added = self._supplied(data, identity, source, now)
        return (self._order(now, "sender-joined", added, ()),) if added else ()

    def supplied_source(self) -> IpAddress | None:
        """The source of the supplied SA, None when it is not there or has none."""
        return next((sa.source for sa in self.record.data_sas if self._is_supplied(sa)), None)

    def remove_senders(self, identities: Iterable[Identity], now: float) -> tuple[RekeyOrder, ...]:
        """Their own SAs go after the deactivation delay."""
        spis: tuple[int, ...] = ()
        for identity in identities:
            known = self.senders.pop(identity, False) is not False
            if known and not self.policy.shared_sa and self.policy.supplied is None:
                spis += self._spis_of(identity)
        return (self._order(now, "sender-left", (), spis),) if spis and self.alive(now) else ()

    def _spis_of(self, identity: Identity) -> tuple[int, ...]:
        return tuple(sa.spi for sa in self.record.data_sas if sa.sender == identity and sa.removed_at is None)

    def restart_sender_ids(self) -> None:
        """Count from 0 again: every SA that an earlier ID was used with has gone (RFC 9838 2.5.1)."""
        self._change(next_sender_id=0)

    def roll(
        self, now: float, reason: str = "lifetime", *, everything: bool = False
    ) -> tuple[RekeyOrder, ...]:
        """Replace what is due by now, or everything."""
        lead, early = self.timeline.data_lead, self.timeline.data_early
        live = [sa for sa in self.record.data_sas if self._lives_on(sa)]
        rekey_due = self.current.expires - self.timeline.rekey_lead
        missing = self._missing()
        if not (everything or missing or rekey_due <= now or any(sa.expires - lead <= now for sa in live)):
            return ()
        old = [sa for sa in live if everything or sa.expires - lead - early <= now]
        with_rekey = everything or rekey_due - self.timeline.rekey_early <= now
        pairs: list[tuple[int | None, Identity | None]] = [(None, sender) for sender in missing]
        pairs += [(sa.spi, sa.sender) for sa in old]
        orders = []
        under = self.current
        for start in range(0, max(1, len(pairs)), MOST_SAS_PER_ORDER):
            part = pairs[start : start + MOST_SAS_PER_ORDER]
            # RFC 9838 2.4.1.4: what follows a new Rekey SA is sent under it, so it comes in the last message.
            last = start + MOST_SAS_PER_ORDER >= len(pairs)
            added = tuple(
                self._material.data_sa(self.policy, sender, self.senders.get(sender) if sender else None, now)
                for _, sender in part
            )
            deleted = tuple(spi for spi, _ in part if spi is not None)
            new_rekey = self._material.rekey_sa(self.policy, now, under) if with_rekey and last else None
            orders.append(self._order(now, reason, added, deleted, new_rekey))
        return tuple(orders)

    # Copies

    def sealed(self, order: RekeyOrder, datagram: bytes, now: float) -> None:
        """Keep the octets of a rekey: its copies are the same, bit for bit (RFC 9838 2.4.1.3)."""
        under = order.under.spi
        # After the end nobody needs what came before it.
        kept = tuple(p for p in self.record.pending if not (order.close and p.under == under))
        said = {spi for p in kept if p.under == under for spi in (*p.data_spis, *p.deleted_spis)}
        # Without repeats it is kept for a while all the same: after a crash nobody knows whether it was sent.
        wait = self.policy.rekey_interval if self.policy.rekey_repeats else self.policy.deactivation_delay
        # Who misses the first copies of a new Rekey SA cannot open what follows under it, so that takes
        # longer.
        earlier = max((p.repeats_left for p in kept if p.under != under), default=0)
        new = PendingRekey(
            datagram=datagram,
            repeats_left=self.policy.rekey_repeats + earlier,
            next_at=now + wait,
            under=under,
            data_spis=tuple(sa.spi for sa in order.data_sas if sa.spi not in said),
            deleted_spis=tuple(spi for spi in order.deleted_spis if spi not in said),
        )
        self._change(pending=(*kept, new))

    def repeat_due(self, now: float) -> bool:
        return any(p.repeats_left and p.next_at <= now for p in self.record.pending)

    def repeat(self, now: float) -> tuple[PendingRekey, ...]:
        """The rekeys whose next copy is due; counted as sent.

        The journal hears of that with the next change only: after a crash one copy too many is harmless.
        """
        due: list[PendingRekey] = []
        kept: list[PendingRekey] = []
        for pending in self.record.pending:
            if not pending.repeats_left or pending.next_at > now:
                kept.append(pending)
                continue
            due.append(pending)
            if pending.repeats_left > 1:
                # Late ticks do not add up, or the last copy would come later than the delays allow for.
                interval = self.policy.rekey_interval
                next_at = max(pending.next_at + interval, now + interval / 2)
                kept.append(replace(pending, repeats_left=pending.repeats_left - 1, next_at=next_at))
        if due:
            self.record = replace(self.record, pending=tuple(kept))
            self._next_gone = 0.0
        return tuple(due)


def _spis(data: Iterable[DataSa], rekey: Iterable[RekeySa]) -> set[int | bytes]:
    return {sa.spi for sa in data} | {sa.spi for sa in rekey}
