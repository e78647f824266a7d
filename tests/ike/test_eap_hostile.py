"""Every truncation and every single-bit flip of every message of a login, at every state of both machines."""

from __future__ import annotations

import random

from eap_rig import ANN, PASSWORD, Ladder, doorkeeper, eap, login_world, porter
from endpoint_rig import Datagram, exchange_of, seal_raw, turned
from state_digest import digest
from test_ike_hostile import flips, truncations

from gkmd.core.effect import Effect, Tell
from wire.chain import build_payloads
from wire.eap import EapCode, EapType, build_eap
from wire.message import Payload
from wire.registry import ExchangeType


def state(ladder: Ladder) -> str:
    world = ladder.world
    return digest(
        world.server, world.directory, ladder.host.endpoint, world.book.ike_sas, doorkeeper(world).told
    )


def effects(ladder: Ladder, datagram: Datagram, data: bytes) -> list[Effect]:
    if datagram.to_server:
        return ladder.world.server.receive(data, datagram.path, ladder.world.now)
    return ladder.host.endpoint.receive(data, datagram.path, ladder.world.now)


def attack(ladder: Ladder) -> int:
    """Everything close to the datagram that comes next, and samples around all that came before."""
    before, count = state(ladder), 0
    target = ladder.held[0] if ladder.held else ladder.past[-1]
    tries = [(target, [*truncations(target.data), *flips(target.data)])]
    tries += [(old, list(flips(old.data, 29))) for old in ladder.past]
    for datagram, variants in tries:
        if exchange_of(datagram).startswith("IKE_SA_INIT"):
            continue  # it is not authenticated, and has tests of its own
        for data in variants:
            count += 1
            assert all(type(e) is Tell for e in effects(ladder, datagram, data)), exchange_of(datagram)
    assert state(ladder) == before
    return count


def test_truncations_and_flips_at_every_state_of_a_login() -> None:
    ladder = Ladder()
    world = ladder.world
    world.compares = world.decides = False
    count, names = 0, []
    while True:
        if ladder.held:
            names.append(exchange_of(ladder.held[0]))
        count += attack(ladder)
        if ladder.held:
            ladder.step()
        elif world.password_asks and not doorkeeper(world).told:
            names.append("a password is looked at")
            world.compare(world.password_asks[0])
        elif world.asks and not world.directory.members("news"):
            names.append("admission is asked for")
            world.decide(world.asks[0])
        else:
            break
    assert ladder.host.endpoint.groups["news"].registered
    assert names == [
        *("IKE_SA_INIT 0 ->", "IKE_SA_INIT 0 <-", "GSA_AUTH 1 ->", "GSA_AUTH 1 <-", "GSA_AUTH 2 ->"),
        *("a password is looked at", "GSA_AUTH 2 <-", "GSA_AUTH 3 ->", "admission is asked for"),
        "GSA_AUTH 3 <-",
    ]
    assert count > 20_000


def broken(payloads: list[Payload], rng: random.Random) -> tuple[int, bytes]:
    """The same payloads, sealed after one to three octets were changed, cut or put in."""
    first, octets = build_payloads(payloads)
    out = bytearray(octets)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out))
        kind = rng.randrange(3)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randint(1, 4)]
        else:
            out[at:at] = rng.randbytes(rng.randint(1, 4))
    return first, bytes(out)


def test_a_member_that_seals_rubbish_gets_an_end_or_nothing() -> None:
    """With its own keys it may say anything at each step: no fault, no admission without the password."""
    rng = random.Random("eap: sealed rubbish")
    for turn in range(240):
        steps = (2, 4, 6)[turn % 3]
        ladder = Ladder(login_world(seed=turn))
        ladder.step(steps)
        (waiting,) = ladder.held
        payloads = ladder.read(waiting)
        ours, _ = ladder.sas
        first, octets = broken(payloads, rng)
        data = seal_raw(ours, ExchangeType.GSA_AUTH, steps // 2, first, octets)
        ladder.held.clear()
        ladder.world.to_server(data, turned(ladder.host.path))
        assert not ladder.world.events("fault")
        assert len(ladder.held) <= 1
        if steps < 6:
            assert not ladder.world.directory.members("news")


def test_a_server_that_seals_rubbish_gets_no_password_and_gives_no_keys() -> None:
    rng = random.Random("eap: rubbish of a server")
    for turn in range(240):
        steps = (3, 5)[turn % 2]
        ladder = Ladder(login_world(seed=turn))
        ladder.step(steps)
        (waiting,) = ladder.held
        payloads = ladder.read(waiting)
        _, theirs = ladder.sas
        first, octets = broken(payloads, rng)
        ladder.held.clear()
        data = seal_raw(theirs, ExchangeType.GSA_AUTH, steps // 2, first, octets, response=True)
        ladder.world.to_member(ladder.host, data, ladder.host.path)
        assert not ladder.host.endpoint.groups["news"].registered
        assert len(ladder.held) <= 1


def test_any_password_and_any_name_are_only_octets() -> None:
    rng = random.Random("eap: octets")
    for turn in range(60):
        password = rng.randbytes(rng.randint(1, 256))
        ladder = Ladder(login_world(seed=turn, doorkeeper=porter()))
        ladder.step(4)
        ladder.ask([eap(build_eap(EapCode.RESPONSE, 1, EapType.GTC, password))], 2)
        (question,) = ladder.world.password_asks
        assert question.password.reveal() == password != PASSWORD
        assert not ladder.world.asks
        assert ladder.world.password_asks[0].identity == ANN
