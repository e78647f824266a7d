"""A key server reduced to its groups: a Directory, a journal without disk, and what went out by multicast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from zlib import crc32

from gkmd.core.algorithms import AES_CBC_256, HMAC_SHA2_256_128
from gkmd.core.change import Change
from gkmd.core.effect import Ask
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.rng import Rng, SeededRng
from gkmd.group.directory import Directory
from gkmd.group.doorkeeper import Doorkeeper
from gkmd.group.model import Duty, GroupPolicy, GroupView, Left, RekeyOrder, Repeat, SenderRule
from gkmd.store.memory import MemoryJournal

T0 = 1_000_000.0
NEWS = GroupPolicy(
    name="news",
    group_id=Identity.parse("keyid:news"),
    address=ip_address("239.1.1.1"),
    port=5000,
    rekey_address=ip_address("239.1.1.2"),
    rekey_ttl=8,
    senders=(SenderRule(IdentityPattern.parse("fqdn:*.tx.example")),),
    receivers=(IdentityPattern.parse("fqdn:*.example"),),
    tek_lifetime=60.0,
    kek_lifetime=200.0,
)
SHARED = replace(NEWS, cipher=AES_CBC_256, integrity=HMAC_SHA2_256_128)
CHAT = replace(NEWS, name="chat", group_id=Identity.parse("keyid:chat"), address=ip_address("239.1.1.3"))


class Died(Exception):
    """The server was killed; what it had in memory is gone."""


def fqdn(name: str) -> Identity:
    return Identity.parse(f"fqdn:{name}.example")


def ask_for(
    name: str, policy: GroupPolicy = NEWS, *, sends: bool = False, ids: int = 0, address: str = ""
) -> Ask:
    """A receiver is asked for by its name, a sender by ``sends``; senders' names end in ``.tx``.

    Every name has an address of its own.
    """
    own = ip_address(address) if address else ip_address((10 << 24) + crc32(name.encode()) % (1 << 24))
    return Ask(1, fqdn(name), policy.group_id, own, sends, ids)


@dataclass(frozen=True)
class Sent:
    """One datagram on the wire. ``order`` is what its octets contain; ``copy`` counts from 0."""

    time: float
    datagram: bytes
    order: RekeyOrder
    copy: int


class Server:
    """``die_in`` counts journalled steps down: at 0 the server dies before the write, at 0.5 after it and
    before anything is sent.
    """

    def __init__(
        self,
        policies: Sequence[GroupPolicy] = (NEWS,),
        now: float = T0,
        rng: Rng | None = None,
        journal: MemoryJournal | None = None,
        conceal: bool = False,
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        self.doorkeeper = doorkeeper
        self.policies = tuple(policies)
        self.rng = rng or SeededRng("group")
        self.journal = journal or MemoryJournal()
        self.conceal = conceal
        self.sent: list[Sent] = []
        self.contents: dict[bytes, RekeyOrder] = {}
        self.copies: dict[bytes, int] = {}
        self.sender_ids: list[tuple[str, int]] = []
        self.die_in: float = float("inf")
        self.clock = now
        self.start(now)

    def start(self, now: float) -> None:
        """Begin, or begin again after a death, with what the journal holds."""
        self.clock = now
        self.directory = Directory(
            self.policies,
            self.rng,
            now,
            self.journal.load(),
            conceal=self.conceal,
            doorkeeper=self.doorkeeper,
        )
        self._persist(self.directory.start_changes())

    def join(
        self,
        name: str,
        now: float,
        policy: GroupPolicy = NEWS,
        *,
        sends: bool = False,
        ids: int = 0,
        spi: bytes = b"",
        address: str = "",
    ) -> GroupView:
        ask = ask_for(name, policy, sends=sends, ids=ids, address=address)
        self.clock = now
        joined = self.directory.join(
            ask, self.directory.decide(ask, now), spi or name.encode().ljust(8, b"\0")[:8], now
        )
        self._carry_out(joined.changes, joined.orders, now)
        self.sender_ids += [(policy.name, sender_id) for sender_id in joined.view.sender_ids]
        return joined.view

    def leave(self, name: str, now: float, policy: GroupPolicy = NEWS) -> Left:
        left = self.directory.leave(policy.group_id, fqdn(name), now)
        self._carry_out(left.changes, left.orders, now)
        return left

    def ike_sa_gone(self, spi: bytes, now: float) -> Left:
        left = self.directory.ike_sa_gone(spi, now)
        self._carry_out(left.changes, left.orders, now)
        return left

    def rekey(self, now: float, name: str = "news") -> tuple[RekeyOrder, ...]:
        orders = self.directory.rekey(name, now)
        self._carry_out((), orders, now)
        return orders

    def reload(self, policies: Sequence[GroupPolicy], now: float) -> Left:
        left = self.directory.reload(policies, now)
        self.policies = tuple(policies)
        self._carry_out(left.changes, left.orders, now)
        return left

    def establish(self, policy: GroupPolicy, now: float) -> Left:
        return self._left(self.directory.establish(policy, now), now)

    def amend(self, policy: GroupPolicy, now: float) -> Left:
        return self._left(self.directory.amend(policy, now), now)

    def end(self, name: str, now: float, reason: str = "end") -> Left:
        return self._left(self.directory.end(name, now, reason), now)

    def drop_member(self, group: str, identity: Identity, now: float, *, exclude: bool = False) -> Left:
        return self._left(self.directory.drop_member(group, identity, now, exclude=exclude), now)

    def _left(self, left: Left, now: float) -> Left:
        self.clock = now
        self._carry_out(left.changes, left.orders, now)
        return left

    def tick(self, now: float) -> tuple[Duty, ...]:
        self.clock = now
        duties = self.directory.tick(now)
        for duty in duties:
            if isinstance(duty, Repeat):
                self._persist(duty.changes)
                self._send(duty.datagram, now)
            else:
                self._carry_out((), (duty,), now)
        return duties

    def run(self, until: float, late: float = 0.0) -> list[Duty]:
        """Tick at every deadline up to a time."""
        duties: list[Duty] = []
        while (deadline := self.directory.deadline()) is not None and deadline + late <= until:
            duties += self.tick(max(deadline + late, self.clock))
        return duties

    def _carry_out(self, changes: tuple[Change, ...], orders: Sequence[RekeyOrder], now: float) -> None:
        datagrams = []
        for order in orders:
            datagram = order.under.spi + order.message_id.to_bytes(4, "big") + self.rng(8)
            self.contents[datagram] = order
            changes += self.directory.sealed(order, datagram, now)
            datagrams.append(datagram)
        self._persist(changes)
        for datagram in datagrams:
            self._send(datagram, now)

    def _persist(self, changes: tuple[Change, ...]) -> None:
        if not changes:
            return
        self.die_in -= 1
        if self.die_in == -1:
            raise Died
        self.journal.submit(changes, _no_error)
        if self.die_in == -0.5:
            raise Died

    def _send(self, datagram: bytes, now: float) -> None:
        copy = self.copies.get(datagram, 0)
        self.copies[datagram] = copy + 1
        self.sent.append(Sent(now, datagram, self.contents[datagram], copy))


def _no_error(error: StoreError | None) -> None:
    assert error is None
