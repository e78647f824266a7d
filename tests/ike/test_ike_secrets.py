"""No key shows in anything that the machines say: no window of eight octets of any secret, raw or in hex."""

from __future__ import annotations

from collections.abc import Iterator

from endpoint_rig import SERVER_ID, World, established, init_of, join, member_name, policy, psk, turned
from state_digest import _slots
from test_ike_suites import by_certificate

from gkmd.core.change import IkeSaRecord
from gkmd.core.effect import InstallSa
from gkmd.core.secret import SecretBytes
from gkmd.ike import gcks_settings, member_settings
from gkmd.ike.credentials import Credentials
from gkmd.ike.proposal import IkePolicy


def secrets_of(thing: object, seen: set[int]) -> Iterator[bytes]:
    """Every SecretBytes that can be reached from an object."""
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | None):
        return
    seen.add(id(thing))
    if isinstance(thing, SecretBytes):
        yield thing.reveal()
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from secrets_of(key, seen)
            yield from secrets_of(value, seen)
    elif isinstance(thing, list | tuple | set | frozenset):
        for each in thing:
            yield from secrets_of(each, seen)
    else:
        for name in _slots(thing):
            if not name.startswith("__") and hasattr(thing, name):
                yield from secrets_of(getattr(thing, name), seen)


def windows(secrets: set[bytes]) -> set[str]:
    found = set()
    for secret in secrets:
        for at in range(len(secret) - 7):
            found.add(secret[at : at + 8].hex())
            found.add(repr(secret[at : at + 8])[2:-1])
    return found


def said(world: World) -> str:
    lines = [f"{t.event} {t.level} {dict(t.fields)!r} {t!r}" for t in world.tells]
    for host in world.hosts.values():
        lines += [f"{t.event} {t.level} {dict(t.fields)!r} {t!r}" for t in host.tells]
        lines += [repr(e) for e in host.kernel]
    return "\n".join(lines)


def check(world: World, text: str, more: set[bytes]) -> int:
    things = [world.server, world.directory, world.book, world.hosts, world.credentials]
    secrets = set(more)
    for thing in things:
        secrets.update(secrets_of(thing, set()))
    needles = windows({s for s in secrets if len(s) >= 8})
    hexed = text.encode().hex()
    for needle in needles:
        assert needle not in text
        assert needle.encode().hex() not in hexed
    return len(needles)


def test_a_whole_life_says_no_secret() -> None:
    world = World([policy(), policy("sport")])
    world.add(0, [join(), join("sport", sends=True)])
    world.add(1, credentials=Credentials(member_name(1), {SERVER_ID: SecretBytes(bytes(range(200, 232)))}))
    world.add(2, [join("nothing")])
    collected: set[bytes] = set()
    for _ in range(5):
        world.run(2)
        collected.update(
            s for t in (world.server, world.directory, world.hosts) for s in secrets_of(t, set())
        )
        world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    world.to_server(b"junk", turned(world.hosts[0].path))
    world.do(world.server.command(gcks_settings.RemoveMember("sport", world.hosts[0].identity), world.now))
    world.run(20)
    host = world.hosts[0]
    world.do_member(host, host.endpoint.command(member_settings.Stop(), world.now))
    world.run(5)
    assert any(isinstance(e, InstallSa) for e in host.kernel)
    assert check(world, said(world), collected) > 1000


def test_nothing_prints_a_key() -> None:
    world = World(credentials=by_certificate("ed25519", SERVER_ID), fate=lambda _: [])
    host = world.add(0, credentials=by_certificate("ed25519", member_name(0)), identity=member_name(0))
    world.to_server(init_of(world), turned(host.path))
    (half,) = world.server._init.table._by_spi.values()
    texts = [repr(half), repr(half.keyed(world.rng, world.now)), repr(world.credentials)]
    world.to_member(host, world.sent[-1].data, host.path)
    world.to_server(world.sent[-1].data, turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    ours, theirs = established(world)
    record = theirs.record()
    assert isinstance(record, IkeSaRecord)
    texts += [
        repr(thing) for thing in (ours, theirs, record, world.asks, world.server, host.endpoint, IkePolicy())
    ]
    texts += [repr(s) for s in (world.server._keeper, world.book.load(), world.server._registrar)]
    assert check(world, "\n".join(texts), {psk(member_name(0)).reveal()}) > 500


def test_the_search_would_find_one() -> None:
    world = World(members=1)
    world.run(1)
    ours, _ = established(world)
    leak = ours.gsk_w.reveal()[3:11].hex()
    try:
        check(world, f"oops {leak}", set())
    except AssertionError:
        return
    raise RuntimeError("the search is blind")
