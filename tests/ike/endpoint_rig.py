"""A world of pure machines: one key server with a journal, members, and a wire between them that a test can
bend.
"""

from __future__ import annotations

import functools
import heapq
import ipaddress
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from porter import Porter

from gkmd.core.address import Path
from gkmd.core.change import (
    Change,
    DropGroup,
    DropIkeSa,
    DropMember,
    GroupRecord,
    IkeSaRecord,
    Journalled,
    MemberRecord,
    PutGroup,
    PutIkeSa,
    PutMember,
)
from gkmd.core.effect import Ask, AskPassword, Effect, Persist, Send, SendMulticast, Tell
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, SenderRule
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.gikev2_gcks import Gcks
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_join import GroupJoin, GroupSettings
from gkmd.ike.member_settings import MemberSettings, Server
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.sa import IkeSa
from wire.chain import build_payloads
from wire.header import peek_untrusted
from wire.ikev2 import Auth, Encrypted, Id, Notify
from wire.message import Payload, build_sealed_head, parse_inner, parse_untrusted
from wire.registry import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, PayloadType

T0 = 1_800_000_000.0
SERVER_ID = Identity.parse("fqdn:gkms.example")
SERVER_ADDRESS = "10.0.0.1"
NEWS = Identity.parse("keyid:news")


def policy(name: str = "news", **changes: object) -> GroupPolicy:
    """A group of AES-GCM with signed rekeys; everybody under .example may receive, tx*.example may send."""
    number = sum(name.encode()) % 200 + 1
    base = GroupPolicy(
        name=name,
        group_id=Identity.parse(f"keyid:{name}"),
        address=ipaddress.ip_address(f"239.1.1.{number}"),
        port=5000,
        rekey_address=ipaddress.ip_address(f"239.1.2.{number}"),
        rekey_source=ipaddress.ip_address(SERVER_ADDRESS),
        senders=(SenderRule(IdentityPattern.parse("fqdn:*.tx.example")),),
        receivers=(IdentityPattern.parse("fqdn:*.example"),),
        kek_lifetime=7200.0,
        activation_delay=1,
        deactivation_delay=2,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def join(name: str = "news", **changes: object) -> GroupJoin:
    base = GroupJoin(
        name=name, group_id=Identity.parse(f"keyid:{name}"), receives=True, sends=False, interface="eth0"
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def psk(identity: Identity | str) -> SecretBytes:
    """The pre-shared key of a member and the server."""
    return SecretBytes(SeededRng(f"psk of {identity}")(32))


def member_name(number: int) -> Identity:
    return Identity.parse(f"fqdn:rx{number}.example")


def sender_name(number: int) -> Identity:
    return Identity.parse(f"fqdn:tx{number}.tx.example")


def member_path(number: int) -> Path:
    """The path of member ``number`` to the server, as the member sees it."""
    address = f"10.0.{1 + number // 250}.{1 + number % 250}"
    return Path(address, 500, SERVER_ADDRESS, 500)


def turned(path: Path) -> Path:
    """The same path as the other end sees it."""
    return Path(path.remote, path.remote_port, path.local, path.local_port, path.marker)


@functools.cache
def secrets(members: int) -> dict[Identity, SecretBytes]:
    """What the server knows of this many members in each role."""
    names = [f(number) for number in range(members) for f in (member_name, sender_name)]
    return {name: psk(name) for name in names}


class Book:
    """A journal in memory: complete records, replaced and dropped."""

    def __init__(self) -> None:
        self.groups: dict[str, GroupRecord] = {}
        self.members: dict[tuple[str, Identity], MemberRecord] = {}
        self.ike_sas: dict[bytes, IkeSaRecord] = {}
        self.commits = 0

    def write(self, changes: Iterable[Change]) -> None:
        self.commits += 1
        for change in changes:
            match change:
                case PutGroup(record):
                    self.groups[record.name] = record
                case DropGroup(name):
                    self.groups.pop(name, None)
                case PutMember(record):
                    self.members[record.group, record.identity] = record
                case DropMember(group, identity):
                    self.members.pop((group, identity), None)
                case PutIkeSa(record):
                    self.ike_sas[record.spi_r] = record
                case DropIkeSa(spi_r):
                    self.ike_sas.pop(spi_r, None)

    def load(self) -> Journalled:
        return Journalled(
            tuple(self.groups.values()), tuple(self.members.values()), tuple(self.ike_sas.values())
        )


@dataclass
class Datagram:
    """One datagram on its way; ``to_server`` or to the member with this number, or to all (multicast:
    None).
    """

    data: bytes
    to_server: bool
    member: int | None
    path: Path  # as the receiver sees it


@dataclass
class Host:
    """A member with what its effects did to the world."""

    number: int
    identity: Identity
    endpoint: MemberEndpoint
    path: Path
    kernel: list[Effect] = field(default_factory=list)
    tells: list[Tell] = field(default_factory=list)


Fate = Callable[[Datagram], list[float]]
"""What becomes of a datagram: the delays of its copies; none when it is lost."""


def promptly(_: Datagram) -> list[float]:
    return [0.001]


def terrible(seed: int, loss: float = 0.1, twice: float = 0.1, late: float = 0.1) -> Fate:
    """Loss, duplication and delay, decided by a seed."""
    dice = random.Random(seed)

    def fate(_: Datagram) -> list[float]:
        if dice.random() < loss:
            return []
        copies = 2 if dice.random() < twice else 1
        return [
            dice.uniform(0.5, 4.0) if dice.random() < late else dice.uniform(0.001, 0.01)
            for _ in range(copies)
        ]

    return fate


class World:
    """Runs server and members in simulated time. ``decides``: whether Asks are answered at once by the
    directory.
    """

    def __init__(
        self,
        policies: Iterable[GroupPolicy] = (),
        *,
        seed: int | str = 1,
        ike: IkePolicy | None = None,
        settings: GcksSettings | None = None,
        credentials: Credentials | None = None,
        members: int = 0,
        fate: Fate = promptly,
        doorkeeper: Porter | None = None,
    ) -> None:
        self.now = T0
        self.policies = tuple(policies) or (policy(),)
        self.seed = seed
        self.rng = SeededRng(f"world {seed}")
        self.ike = ike or IkePolicy()
        self.settings = settings or GcksSettings()
        self.book = Book()
        self.credentials = credentials or Credentials(SERVER_ID, secrets(max(20, members)))
        self.tells: list[Tell] = []
        self.sent: list[Datagram] = []  # everything that was put on the wire, in order
        self.decides = True
        self.asks: list[Ask] = []
        self.doorkeeper = doorkeeper
        self.compares = True  # whether passwords are looked at at once
        self.password_asks: list[AskPassword] = []
        self.disk_full = False
        self.fate = fate
        self.hosts: dict[int, Host] = {}
        self._by_address: dict[str, int] = {}
        self._queue: list[tuple[float, int, Datagram]] = []
        self._order = itertools.count()
        self._armed: dict[int, float] = {}
        self._alarms: list[tuple[float, int]] = []
        self._generation = 0
        self.boot()
        for number in range(members):
            self.add(number)

    # --- server -----------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the server from its journal, as after kill -9."""
        self._generation += 1
        rng = SeededRng(f"server {self.seed} {self._generation}")
        journalled = self.book.load()
        self.directory = Directory(self.policies, rng, self.now, journalled, doorkeeper=self.doorkeeper)
        self.server = Gcks(self.credentials, self.ike, self.directory, rng, self.settings, journalled)
        self.do(self.server.start(self.now))

    def do(self, effects: list[Effect]) -> None:
        """Carry out the server's effects by the order law."""
        failed = False
        for effect in effects:
            match effect:
                case Persist(changes):
                    failed = self.disk_full
                    if not failed:
                        self.book.write(changes)
                    error = StoreError("no space left") if failed else None
                    self.do(self.server.done(effect, error, self.now))
                case _ if failed:
                    continue
                case Send(datagram, path):
                    number = self._by_address.get(path.remote, -1)
                    self.put(Datagram(datagram, False, number, turned(path)))
                case SendMulticast(datagram, address, port):
                    path = Path(str(address), port, SERVER_ADDRESS, 848)
                    for number in self.hosts:
                        self.put(Datagram(datagram, False, number, path))
                    self.sent.append(Datagram(datagram, False, None, path))
                case Ask():
                    self.asks.append(effect)
                    if self.decides:
                        self.decide(effect)
                case AskPassword():
                    self.password_asks.append(effect)
                    if self.compares:
                        self.compare(effect)
                case Tell():
                    self.tells.append(effect)
                case _:
                    raise AssertionError(f"a key server does not {type(effect).__name__}")

    def decide(self, ask: Ask) -> None:
        verdict = self.directory.decide(ask, self.now)
        self.do(self.server.answer(ask, verdict, self.now))

    def compare(self, ask: AskPassword) -> None:
        assert self.doorkeeper is not None
        self.do(self.server.answer(ask, self.doorkeeper.judged(ask), self.now))

    def to_server(self, data: bytes, path: Path) -> None:
        """A datagram arrives at the server; ``path`` as the server sees it."""
        self.do(self.server.receive(data, path, self.now))

    # --- members ----------------------------------------------------------------------------------

    def add(
        self,
        number: int,
        joins: Iterable[GroupJoin] = (),
        *,
        identity: Identity | None = None,
        ike: IkePolicy | None = None,
        settings: MemberSettings | None = None,
        credentials: Credentials | None = None,
        server_identity: Identity = SERVER_ID,
        start: bool = True,
        joins_news: bool = True,
    ) -> Host:
        """A member with a pre-shared key of its own unless ``credentials`` say otherwise."""
        joins = tuple(joins) or ((join(),) if joins_news else ())
        if identity is None:
            identity = sender_name(number) if any(j.sends for j in joins) else member_name(number)
        if credentials is None:
            credentials = Credentials(identity, {server_identity: psk(identity)})
        path = member_path(number)
        endpoint = MemberEndpoint(
            credentials,
            ike or self.ike,
            [Server(server_identity, path)],
            joins,
            SeededRng(f"member {number} {self.seed}"),
            settings or MemberSettings(),
            GroupSettings(),
        )
        host = Host(number, identity, endpoint, path)
        self.hosts[number] = host
        self._by_address[path.local] = number
        if start:
            self.do_member(host, endpoint.start(self.now))
        return host

    def do_member(self, host: Host, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(datagram, path):
                    self.put(Datagram(datagram, True, host.number, turned(path)))
                case Tell():
                    host.tells.append(effect)
                case Ask() | Persist() | SendMulticast():
                    raise AssertionError(f"a member does not {type(effect).__name__}")
                case _:
                    host.kernel.append(effect)
                    self.do_member(host, host.endpoint.done(effect, None, self.now))

    def to_member(self, host: Host, data: bytes, path: Path) -> None:
        self.do_member(host, host.endpoint.receive(data, path, self.now))

    # --- the wire and time ------------------------------------------------------------------------

    def put(self, datagram: Datagram) -> None:
        if datagram.member is not None or datagram.to_server:
            self.sent.append(datagram)
            for delay in self.fate(datagram):
                heapq.heappush(self._queue, (self.now + delay, next(self._order), datagram))

    def deliver(self, datagram: Datagram) -> None:
        if datagram.to_server:
            self.to_server(datagram.data, datagram.path)
        elif datagram.member in self.hosts:
            host = self.hosts[datagram.member]
            self.to_member(host, datagram.data, datagram.path)

    def _rearm(self, host: Host) -> None:
        at = host.endpoint.deadline()
        if self._armed.get(host.number) != at:
            if at is None:
                del self._armed[host.number]
            else:
                self._armed[host.number] = at
                heapq.heappush(self._alarms, (at, host.number))

    def _alarm(self) -> tuple[float, int] | None:
        """The member whose time comes first."""
        alarms = self._alarms
        while alarms and (self._armed.get(alarms[0][1]) != alarms[0][0] or alarms[0][1] not in self.hosts):
            heapq.heappop(alarms)
        return alarms[0] if alarms else None

    def run(self, until: float = 10.0, done: Callable[[], bool] | None = None) -> None:
        """Let ``until`` seconds pass, or less when ``done`` (asked after every instant)."""
        end = self.now + until
        for host in self.hosts.values():
            self._rearm(host)
        while not (done is not None and done()):
            alarm, deadline = self._alarm(), self.server.deadline()
            times = [self._queue[0][0]] if self._queue else []
            times += [alarm[0]] if alarm else []
            times += [deadline] if deadline is not None else []
            soonest = max(self.now, min(times, default=end))
            if soonest > end or not times:
                self.now = end
                return
            self.now = soonest
            while self._queue and self._queue[0][0] <= self.now:
                datagram = heapq.heappop(self._queue)[2]
                self.deliver(datagram)
                if datagram.member in self.hosts and not datagram.to_server:
                    self._rearm(self.hosts[datagram.member])
            if deadline is not None and deadline <= self.now:
                self.do(self.server.tick(self.now))
            alarm = self._alarm()
            if alarm is not None and alarm[0] <= self.now:
                host = self.hosts[alarm[1]]
                heapq.heappop(self._alarms)
                del self._armed[host.number]
                self.do_member(host, host.endpoint.tick(self.now))
                self._rearm(host)

    # --- questions --------------------------------------------------------------------------------

    def events(self, name: str) -> list[Tell]:
        return [tell for tell in self.tells if tell.event == name]

    def registered(self, group: str = "news") -> list[Host]:
        return [
            host
            for host in self.hosts.values()
            if group in host.endpoint.groups and host.endpoint.groups[group].registered
        ]


# --- forging and dissecting -----------------------------------------------------------------------


def seal_raw(
    sa: IkeSa, exchange: int, message_id: int, first: int, plaintext: bytes, *, response: bool = False
) -> bytes:
    """A datagram that ``sa`` seals with any content, past every check and every counter."""
    flags = (FLAG_INITIATOR if sa.initiator else 0) | (FLAG_RESPONSE if response else 0)
    out = sa._out
    head = build_sealed_head(
        sa.spi_i, sa.spi_r, exchange, flags, message_id, first, out.sealed_octets(len(plaintext))
    )
    iv = b"\xee" * sa.cipher.iv_octets
    return head + out.seal(head, plaintext, iv)


def seal(
    sa: IkeSa, exchange: int, message_id: int, payloads: list[Payload], *, response: bool = False
) -> bytes:
    """Like ``seal_raw`` with payloads."""
    first, plaintext = build_payloads(payloads)
    return seal_raw(sa, exchange, message_id, first, plaintext, response=response)


def inside(sa: IkeSa, data: bytes) -> list[Payload]:
    """What a datagram that was sent to ``sa`` says."""
    header = peek_untrusted(data)
    sealed = parse_untrusted(data).payloads[0].body
    assert isinstance(sealed, Encrypted)
    plaintext = sa.unseal_untrusted(data, sealed)
    return parse_inner(header.exchange, bool(header.flags & FLAG_RESPONSE), sealed.first, plaintext)


def note(kind: int, data: bytes = b"") -> Payload:
    return Payload(PayloadType.NOTIFY, Notify(0, b"", kind, data))


def notes(payloads: Iterable[Payload]) -> list[int]:
    """The notifications among payloads."""
    return [p.body.type for p in payloads if isinstance(p.body, Notify)]


def exchange_of(datagram: Datagram) -> str:
    """``GSA_AUTH 1 ->``: what a datagram on the wire is, for narrated tests."""
    header = peek_untrusted(datagram.data)
    name = ExchangeType(header.exchange).name
    return f"{name} {header.message_id} {'->' if datagram.to_server else '<-'}"


def arrows(world: World) -> list[str]:
    return [exchange_of(d) for d in world.sent if d.to_server or d.member is not None]


def established(world: World, number: int = 0) -> tuple[IkeSa, IkeSa]:
    """Both ends of a member's IKE SA: its own, the server's."""
    ours = world.hosts[number].endpoint.sa
    assert ours is not None
    theirs = world.server._keeper.table.get(ours.spi_r)
    assert theirs is not None
    return ours, theirs


def ask(world: World, payloads: list[Payload], exchange: int, number: int = 0) -> list[Payload]:
    """Let a member's SA send one request of any content, and read the reply."""
    ours, _ = established(world, number)
    sent = len(world.sent)
    message_id = ours.window.next_request_id
    ours.window.next_request_id += 1
    world.to_server(seal(ours, exchange, message_id, payloads), turned(world.hosts[number].path))
    (reply,) = world.sent[sent:]
    assert peek_untrusted(reply.data).message_id == message_id
    return inside(ours, reply.data)


def init_of(world: World, number: int = 0) -> bytes:
    """The IKE_SA_INIT of a member that sends nothing by itself."""
    return world.hosts[number].endpoint._connector._attempt.datagrams[0]  # type: ignore[union-attr]


def id_payloads(host: Host, group: Identity) -> list[Payload]:
    """A well-formed GSA_AUTH request whose AUTH proves nothing."""
    return [
        Payload(PayloadType.ID_I, Id(host.identity.kind, host.identity.data)),
        Payload(PayloadType.AUTH, Auth(2, bytes(32))),
        Payload(PayloadType.ID_G, Id(group.kind, group.data)),
    ]
