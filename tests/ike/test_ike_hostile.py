"""Every truncation and every single-bit flip of every message kind at every state of both roles, and worse.

No exception leaves a machine, nothing changes, and nobody is answered before it is authenticated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from endpoint_rig import Datagram, Host, World, arrows, established, exchange_of, join, policy, turned
from state_digest import digest

from gkmd.core.address import Path
from gkmd.core.algorithms import AES_CBC_256
from gkmd.core.effect import Effect, Send, Tell
from gkmd.ike import gcks_settings, member_settings
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.proposal import IkePolicy
from wire.registry import ExchangeType

CBC = IkePolicy(ciphers=(AES_CBC_256,))


def truncations(data: bytes) -> Iterator[bytes]:
    for end in range(len(data)):
        yield data[:end]


def flips(data: bytes, step: int = 1) -> Iterator[bytes]:
    for bit in range(0, 8 * len(data), step):
        changed = bytearray(data)
        changed[bit // 8] ^= 0x80 >> bit % 8
        yield bytes(changed)


class Stage:
    """A world whose wire is held: the test decides what arrives."""

    def __init__(self, ike: IkePolicy | None = None) -> None:
        self.held: list[Datagram] = []
        settings = GcksSettings(liveness_idle=0.0)
        self.world = World([policy(), policy("sport")], seed="hostile", ike=ike, settings=settings)
        self.world.put = self.held.append  # type: ignore[method-assign]
        self.host = self.world.add(0, [join(), join("sport")])
        self.recorded: list[Datagram] = []

    def next(self) -> Datagram:
        return self.held[0]

    def deliver(self) -> None:
        datagram = self.held.pop(0)
        self.recorded.append(datagram)
        self.world.now += 0.01
        self.world.deliver(datagram)

    def effects(self, datagram: Datagram, data: bytes) -> list[Effect]:
        if datagram.to_server:
            return self.world.server.receive(data, datagram.path, self.world.now)
        return self.host.endpoint.receive(data, datagram.path, self.world.now)

    def digest(self) -> str:
        world = self.world
        return digest(
            world.server, world.directory, self.host.endpoint, world.book.ike_sas, world.book.members
        )


def attack(stage: Stage) -> int:
    """Everything that is close to the datagram that comes next, and samples around all that came before."""
    before = stage.digest()
    count = 0
    target = stage.next() if stage.held else stage.recorded[-1]
    tries: list[tuple[Datagram, Iterator[bytes]]] = [
        (target, truncations(target.data)),
        (target, flips(target.data)),
    ]
    tries += [(old, flips(old.data, 13)) for old in stage.recorded]
    for datagram, variants in tries:
        if exchange_of(datagram).startswith("IKE_SA_INIT"):
            continue  # it is not authenticated, and has tests of its own
        for data in variants:
            count += 1
            effects = stage.effects(datagram, data)
            assert all(type(e) is Tell for e in effects), (exchange_of(datagram), effects)
    assert stage.digest() == before
    return count


def script(stage: Stage) -> Iterator[str]:
    """The life of a member, one datagram at a time; yields before each and in each state between."""
    world, host = stage.world, stage.host

    def all_held() -> Iterator[str]:
        while stage.held:
            yield exchange_of(stage.next())
            stage.deliver()

    world.decides = False
    for name in ("IKE_SA_INIT ->", "IKE_SA_INIT <-", "GSA_AUTH ->"):
        yield name
        stage.deliver()
    yield "asked, GSA_AUTH"
    world.decide(world.asks[-1])
    for name in ("GSA_AUTH <-", "GSA_REGISTRATION ->"):
        yield name
        stage.deliver()
    yield "asked, GSA_REGISTRATION"
    world.decide(world.asks[-1])
    world.decides = True
    yield from all_held()
    yield "established"
    # Liveness of both sides; the server's and the member's request are on their way at once.
    _, theirs = established(world)
    from gkmd.ike.turn import Turn

    turn = Turn()
    world.server._keeper.request(turn, theirs, ExchangeType.INFORMATIONAL, [], world.now)
    world.do(world.server._keeper.finish(turn))
    host.endpoint.sa.heard -= 1000  # type: ignore[union-attr]
    world.do_member(host, host.endpoint.tick(world.now))
    yield from all_held()
    world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    yield from all_held()
    world.do(world.server.command(gcks_settings.RemoveMember("sport", host.identity), world.now))
    yield from all_held()
    world.do_member(host, host.endpoint.command(member_settings.Leave("news"), world.now))
    yield from all_held()
    world.do_member(host, host.endpoint.command(member_settings.Stop(), world.now))
    yield from all_held()
    yield "gone"


@pytest.mark.parametrize("ike", [None, CBC], ids=["gcm", "cbc"])
def test_truncations_and_flips_at_every_state(ike: IkePolicy | None) -> None:
    stage = Stage(ike)
    names = []
    count = 0
    for name in script(stage):
        names.append(name)
        count += attack(stage)
    kinds = {name.split()[0] for name in names}
    assert kinds >= {"GSA_AUTH", "GSA_REGISTRATION", "INFORMATIONAL", "GSA_INBAND_REKEY", "GSA_REKEY"}
    assert stage.host.endpoint.stopped
    assert not stage.world.server._keeper.table
    assert count > 50_000


def test_truncations_and_flips_while_the_server_closes() -> None:
    stage = Stage()
    while stage.held:
        stage.deliver()
    stage.world.do(stage.world.server.command(gcks_settings.Shutdown(delete_ike_sas=True), stage.world.now))
    while stage.held:
        attack(stage)
        stage.deliver()
    attack(stage)
    assert stage.host.endpoint.sa is None


def test_flips_of_a_refusal_and_of_a_failed_authentication() -> None:
    for joins, secret in (([join("nothing")], True), ([join()], False)):
        stage = Stage()
        stage.held.clear()
        number = 1 if secret else 25  # the server knows no key of number 25
        stage.host = stage.world.add(number, joins)
        while stage.held and not stage.host.tells[-1].event.startswith(
            ("registration-refused", "connect-failed")
        ):
            attack(stage)
            stage.deliver()
        attack(stage)
        assert stage.host.tells[-1].event in ("registration-refused", "connect-failed")


# --- IKE_SA_INIT, which nothing protects ----------------------------------------------------------


def test_init_requests_that_are_damaged_get_an_init_reply_or_nothing() -> None:
    stage = Stage()
    world = stage.world
    genuine = stage.next()
    stage.deliver()
    established_before = digest(world.directory, world.server._keeper, world.server._registrar)
    answered = 0
    for data in [*truncations(genuine.data), *flips(genuine.data)]:
        effects = stage.effects(genuine, data)
        sends = [e for e in effects if type(e) is Send]
        assert all(type(e) in (Send, Tell) for e in effects)
        assert len(sends) <= 1
        for send in sends:
            answered += 1
            assert send.datagram[18] == ExchangeType.IKE_SA_INIT
            assert send.datagram[19] == 0x20
            assert len(send.datagram) <= 2 * len(data)  # no amplifier
    assert answered
    assert digest(world.directory, world.server._keeper, world.server._registrar) == established_before
    assert len(world.server._init.table) <= world.settings.cookie_threshold
    # The genuine one goes on as if nothing had been.
    while stage.held:
        stage.deliver()
    assert stage.host.endpoint.groups["news"].registered


@pytest.mark.parametrize("kind", ["reply", "cookie", "group"])
def test_init_replies_that_are_damaged_never_stop_a_member(kind: str) -> None:
    def begin() -> tuple[Stage, Host]:
        stage = Stage()
        if kind == "cookie":
            stage.world.server._init._settings = GcksSettings(cookie_threshold=0)  # type: ignore[misc]
        elif kind == "group":
            exchanges = IkePolicy().key_exchanges[1:]
            stage.world.server._init._policy = IkePolicy(key_exchanges=exchanges)  # type: ignore[misc]
        stage.deliver()
        return stage, stage.host

    stage, host = begin()
    genuine = stage.next()
    attempt = host.endpoint._connector._attempt
    assert attempt is not None
    clean = {name: getattr(attempt, name) for name in ("_cookie", "_cookies", "_request", "_pair")}
    for data in [*truncations(genuine.data), *flips(genuine.data)]:
        effects = stage.effects(genuine, data)
        assert all(type(e) in (Send, Tell) for e in effects)
        assert sum(type(e) is Send for e in effects) <= 1
        assert host.endpoint.sa is None
        attempt._candidates.clear()
        attempt._tried = {31}
        for name, value in clean.items():
            setattr(attempt, name, value)
    while stage.held:
        stage.deliver()
    assert host.endpoint.groups["news"].registered
    # One damaged answer before the genuine one does no harm.
    for data in flips(genuine.data, 37):
        stage, host = begin()
        assert stage.next().data == genuine.data
        stage.world.do_member(host, stage.effects(genuine, data))
        for _ in range(200):
            if host.endpoint.groups["news"].registered:
                break
            if stage.held:
                stage.deliver()
            else:
                stage.world.now = max(stage.world.now, host.endpoint.deadline() or 0.0)
                stage.world.do_member(host, host.endpoint.tick(stage.world.now))
        assert host.endpoint.groups["news"].registered


# --- mutations and garbage ------------------------------------------------------------------------


def mutate(dice: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(changed)) if changed else 0
        match dice.randrange(5):
            case 0 if changed:
                changed[at] = dice.randrange(256)
            case 1:
                changed[at:at] = dice.randbytes(dice.randint(1, 9))
            case 2:
                del changed[at : at + dice.randint(1, 9)]
            case 3 if len(changed) > 30:
                changed[24:28] = len(changed).to_bytes(4, "big")  # the length is right again
            case _:
                changed += dice.randbytes(dice.randint(1, 40))
    return bytes(changed)


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_mutations_leave_both_machines_as_they_were(seed: int) -> None:
    stage = Stage()
    while stage.held:
        stage.deliver()
    stage.world.do(stage.world.server.command(gcks_settings.Rekey("news"), stage.world.now))
    while stage.held:
        stage.deliver()
    sealed = [d for d in stage.recorded if not exchange_of(d).startswith("IKE_SA_INIT")]
    before = stage.digest()
    dice = random.Random(seed)
    for _ in range(3000):
        datagram = dice.choice(sealed)
        data = mutate(dice, datagram.data)
        if data != datagram.data:
            effects = stage.effects(datagram, data)
            assert all(type(e) is Tell for e in effects)
    assert stage.digest() == before


@pytest.mark.parametrize("make", [lambda d: d.randbytes(d.randint(0, 200)), None], ids=["noise", "headed"])
def test_garbage_is_dropped_and_counted(make: Callable[[random.Random], bytes] | None) -> None:
    stage = Stage()
    while stage.held:
        stage.deliver()
    before = stage.digest()
    dice = random.Random(9)
    sa = stage.host.endpoint.sa
    assert sa is not None
    for _ in range(2000):
        if make is not None:
            data = make(dice)
        else:
            body = dice.randbytes(dice.randint(0, 60))
            kind, flags = dice.choice([35, 36, 37, 39, 40, 41, 42, 43]), dice.choice([0, 8, 0x20, 0x28])
            head = (
                sa.spi_i + sa.spi_r + bytes((46, 0x20, kind, flags)) + dice.randint(0, 4).to_bytes(4, "big")
            )
            data = head + (28 + len(body)).to_bytes(4, "big") + body
        for to_server in (True, False):
            effects = stage.effects(Datagram(data, to_server, 0, turned(stage.host.path)), data)
            assert [type(e) for e in effects] == [Tell]
            assert effects[0].event == "datagram-dropped"  # type: ignore[union-attr]
            assert effects[0].level == "debug"  # type: ignore[union-attr]
    assert stage.digest() == before


@pytest.mark.parametrize("version", [0x00, 0x10, 0x11, 0x30, 0xF0])
def test_other_versions_are_dropped(version: int) -> None:
    stage = Stage()
    data = bytearray(stage.next().data)
    data[17] = version
    effects = stage.effects(stage.next(), bytes(data))
    assert [type(e) for e in effects] == [Tell]
    reason = effects[0].fields["reason"]  # type: ignore[union-attr]
    assert reason == ("isakmp-1" if version == 0x10 else "version")


def test_messages_are_not_reflected() -> None:
    # What one side sent comes back to it, and what one direction sealed goes the other way.
    stage = Stage()
    while stage.held:
        stage.deliver()
    before = stage.digest()
    for datagram in stage.recorded:
        if exchange_of(datagram).startswith("IKE_SA_INIT"):
            continue
        back = Datagram(datagram.data, not datagram.to_server, 0, turned(datagram.path))
        assert all(type(e) is Tell for e in stage.effects(back, datagram.data))
        for flag in (0x08, 0x20, 0x28):
            data = bytearray(datagram.data)
            data[19] ^= flag
            assert all(type(e) is Tell for e in stage.effects(back, bytes(data)))
    assert stage.digest() == before
    assert arrows(stage.world) == []
    assert Path("a", 1, "b", 2) != stage.host.path


def test_the_fingerprint_sees_every_genuine_step() -> None:
    stage = Stage()
    fingerprints = []
    for _ in script(stage):
        fingerprints.append(stage.digest())
    assert len(set(fingerprints)) == len(fingerprints)
