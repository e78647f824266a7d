"""Content that is properly sealed and nonetheless damaged: what a peer with keys, but without manners,
could send.

No exception leaves a machine. It answers, or it ends the SA with a reason; it never goes on with half of a
message.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from endpoint_rig import Datagram, World, established, exchange_of, inside, join, policy, seal_raw, turned
from test_ike_hostile import Stage, flips, truncations

from gkmd.core.effect import Ask, Persist, Send, Tell
from gkmd.core.identity import Identity
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.window import Pending
from wire.header import peek_untrusted
from wire.ikev2 import Encrypted, Id
from wire.message import Payload, parse_untrusted
from wire.registry import ExchangeType, PayloadType


def plaintext_of(sa: IkeSa, data: bytes) -> tuple[int, bytes]:
    body = parse_untrusted(data).payloads[0].body
    assert isinstance(body, Encrypted)
    return body.first, sa.unseal_untrusted(data, body)


def damaged(data: bytes, seed: int, most: int = 400) -> Iterator[bytes]:
    """Truncations and flips, thinned out to ``most`` of each."""
    dice = random.Random(seed)
    cuts = list(truncations(data))
    yield from dice.sample(cuts, min(len(cuts), most))
    bits = range(8 * len(data))
    for bit in sorted(dice.sample(bits, min(len(bits), most))):
        changed = bytearray(data)
        changed[bit // 8] ^= 0x80 >> bit % 8
        yield bytes(changed)


def until(stage: Stage, name: str) -> Datagram:
    while exchange_of(stage.next()) != name:
        stage.deliver()
    return stage.next()


def test_gsa_auth_requests() -> None:
    stage = Stage()
    world = stage.world
    datagram = until(stage, "GSA_AUTH 1 ->")
    (half,) = world.server._init.table._by_spi.values()
    theirs = half.keyed(world.rng, world.now)
    ours = stage.host.endpoint._connector._attempt._candidates[0].sa  # type: ignore[union-attr]
    first, plaintext = plaintext_of(theirs, datagram.data)
    outcomes = set()
    for changed in damaged(plaintext, 1):
        half.sa = None
        for known in world.server._keeper.table:
            world.server._keeper.table.remove(known)
        world.server._init.table._settled.clear()
        world.server._init.table.add(half)
        data = seal_raw(ours, ExchangeType.GSA_AUTH, 1, first, changed)
        effects = world.server.receive(data, datagram.path, world.now)
        kinds = [type(e) for e in effects]
        assert Persist not in kinds
        asks = [e for e in effects if isinstance(e, Ask)]
        sends = [e for e in effects if isinstance(e, Send)]
        assert len(asks) + len(sends) == 1
        if asks:
            # What was damaged is not covered by AUTH: the identity is as it was.
            assert asks[0].identity == stage.host.identity
            world.do(world.server.answer(asks[0], world.directory.decide(asks[0], world.now), world.now))
            outcomes.add("asked")
        else:
            assert half.spi_r not in world.server._init.table
            (notice,) = inside(ours, sends[0].datagram)
            outcomes.add(str(notice.body.type))  # type: ignore[union-attr]
    assert outcomes >= {"asked", "7", "24"}


@pytest.mark.parametrize("name", ["GSA_REGISTRATION 2 ->", "INFORMATIONAL"])
def test_requests_on_an_established_sa(name: str) -> None:
    stage = Stage()
    world = stage.world
    if name == "INFORMATIONAL":
        while stage.held:
            stage.deliver()
        ours, theirs = established(world)
        first, plaintext = PayloadType.DELETE, b"\x29\0\0\x08\1\0\0\0" + b"\0\0\0\x08\0\0\x40\x04"
        exchange, message_id = ExchangeType.INFORMATIONAL, theirs.window.expected_request_id
        path = turned(stage.host.path)
    else:
        datagram = until(stage, name)
        ours, theirs = established(world)
        first, plaintext = plaintext_of(theirs, datagram.data)  # type: ignore[assignment]
        exchange, message_id, path = ExchangeType.GSA_REGISTRATION, 2, datagram.path
    record = theirs.record()
    outcomes = set()
    for changed in damaged(plaintext, 2):
        before = world.server._keeper.table.get(record.spi_r)
        if before is not None:
            world.server._keeper.table.remove(before)
        world.server._keeper._lingering.clear()
        fresh = IkeSa.restore(record, world.rng, world.now)
        world.server._keeper.table.add(fresh)
        world.book.write([])
        sent = len(stage.held)
        world.to_server(seal_raw(ours, exchange, message_id, first, changed), path)
        (reply,) = stage.held[sent:]
        payloads = inside(ours, reply.data)
        assert fresh.state in (SaState.ESTABLISHED, SaState.GONE)
        outcomes.add((fresh.state.value, payloads[0].type if payloads else 0))
        if fresh.state is SaState.GONE:
            assert fresh.reason
        stage.held.clear()
    assert len(outcomes) >= 2


def test_replies_of_a_server() -> None:
    stage = Stage()
    world, endpoint = stage.world, stage.host.endpoint
    datagram = until(stage, "GSA_AUTH 1 <-")
    (theirs,) = list(world.server._keeper.table)
    connector = endpoint._connector
    attempt, enrolment = connector._attempt, connector._enrolment
    assert attempt is not None
    assert enrolment is not None
    (candidate,) = attempt._candidates
    pending = candidate.sa.window.pending
    assert pending is not None
    first, plaintext = plaintext_of(candidate.sa, datagram.data)
    outcomes = set()
    for changed in damaged(plaintext, 3, 250):
        connector._attempt, connector._enrolment, endpoint._sa = attempt, enrolment, None
        endpoint._errands.clear()
        attempt._candidates[:] = [candidate]
        candidate.sa.window.pending = Pending(1, ExchangeType.GSA_AUTH, pending.datagram, 1, world.now + 1)
        candidate.sa.window.next_request_id = 2
        data = seal_raw(theirs, ExchangeType.GSA_AUTH, 1, first, changed, response=True)
        effects = endpoint.receive(data, datagram.path, world.now)
        events = {e.event for e in effects if isinstance(e, Tell)}
        kernel = [e for e in effects if not isinstance(e, Tell | Send)]
        if endpoint.sa is None:
            assert "connect-failed" in events
            assert not kernel
            outcomes.add("not believed")
        elif "registered" in events:
            outcomes.add("registered")
        else:
            assert events & {"policy-refused", "registration-refused"}
            assert not kernel
            outcomes.add("declined")
    assert outcomes == {"not believed", "registered", "declined"}


@pytest.mark.parametrize("inband", [False, True])
def test_requests_of_a_server(inband: bool) -> None:
    stage = Stage()
    world, endpoint = stage.world, stage.host.endpoint
    while stage.held:
        stage.deliver()
    ours, theirs = established(world)
    host = stage.host
    if inband:
        members = {sa.spi for sa in world.directory.sas("news").rekey_sas}
        exchange: int = ExchangeType.GSA_INBAND_REKEY
        first, plaintext = PayloadType.DELETE, b"\0\0\0\x18\6\x10\0\1" + next(iter(members))
    else:
        exchange = ExchangeType.INFORMATIONAL
        first, plaintext = PayloadType.NOTIFY, b"\x2a\0\0\x08\0\0\x40\x04" + b"\0\0\0\x08\1\0\0\0"
    for changed in damaged(plaintext, 4):
        ours.window.expected_request_id = 0
        if ours.state is SaState.GONE:
            ours.move(SaState.ESTABLISHED, "test")
        endpoint._sa, endpoint._last = ours, None
        ours.window.pending = None
        effects = endpoint.receive(seal_raw(theirs, exchange, 0, first, changed), host.path, world.now)
        replies = [e for e in effects if isinstance(e, Send) and peek_untrusted(e.datagram).flags & 0x20]
        assert len(replies) == 1
        inside(theirs, replies[0].datagram)


@pytest.mark.parametrize(
    "identity",
    [
        Identity(1, b"\x0a\0"),
        Identity(2, b"\xff\xfe"),
        Identity(9, b""),
        Identity(13, b""),
        Identity(200, b"x" * 300),
    ],
    ids=str,
)
def test_odd_identities_are_no_trouble(identity: Identity) -> None:
    stage = Stage()
    world = stage.world
    datagram = until(stage, "GSA_AUTH 1 ->")
    ours = stage.host.endpoint._connector._attempt._candidates[0].sa  # type: ignore[union-attr]
    (half,) = world.server._init.table._by_spi.values()
    payloads = inside(half.keyed(world.rng, world.now), datagram.data)
    changed = [
        Payload(p.type, Id(identity.kind, identity.data))
        if p.type in (PayloadType.ID_I, PayloadType.ID_G)
        else p
        for p in payloads
    ]
    from endpoint_rig import seal

    world.to_server(seal(ours, ExchangeType.GSA_AUTH, 1, changed), datagram.path)
    assert not world.asks
    assert [t.event for t in world.tells if t.level == "warning"] == ["authentication-failed"]


def test_groups_that_share_an_ike_sa_are_told_apart() -> None:
    world = World([policy(), policy("sport")])
    world.add(0, [join(), join("sport")])
    world.run(1)
    members = world.hosts[0].endpoint.groups
    assert members["news"].rekey_spis != members["sport"].rekey_spis
    assert next(iter(flips(b"\0"))) == b"\x80"
