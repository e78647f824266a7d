"""What one stranger, or one member with good credentials and bad intentions, can keep a key server busy
with.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from endpoint_rig import NEWS, SERVER_ADDRESS, World, join, turned

from gkmd.core.address import Path
from gkmd.core.effect import Effect, Send, Tell
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.rng import SeededRng
from gkmd.crypto.exchange import generate
from gkmd.daemon.logs import render_json
from gkmd.ike import initial
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.proposal import offer
from gkmd.ike.registration_request import build_registration_request
from gkmd.ike.rollover import Rollover
from wire.ikev2 import Ke, Notify, Proposal, Sa, Transform, Vendor
from wire.message import Payload, build_message, build_sealed_head, parse_untrusted
from wire.registry import ExchangeType, PayloadType, ProtocolId


class Stranger:
    """Sends IKE_SA_INIT from any address, and brings back the cookie that it is given."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = SeededRng("stranger")
        self._pair = generate(world.ike.key_exchanges[0], self._rng)

    def _say(self, data: bytes, address: str) -> list[Effect]:
        path = Path(SERVER_ADDRESS, 848, address, 500)
        return self._world.server.receive(data, path, self._world.now)

    def ask(self, address: str, extra: list[Payload] | None = None) -> list[Effect]:
        ke = Ke(self._pair.alg.transform_id, self._pair.public)
        spi, nonce, offered = self._rng(8), self._rng(32), offer(self._world.ike)
        effects = self._say(initial.build_request(spi, offered, ke, nonce, None, extra or []), address)
        reply = effects[0]
        if isinstance(reply, Send):
            payloads = parse_untrusted(reply.datagram).payloads
            if isinstance(payloads[0].body, Notify):
                cookie = payloads[0].body.data
                again = initial.build_request(spi, offered, ke, nonce, cookie, extra or [])
                return self._say(again, address)
        return effects


def reasons(effects: list[Effect]) -> list[object]:
    return [each.fields.get("reason") for each in effects if isinstance(each, Tell)]


def flooded() -> tuple[World, Stranger]:
    settings = GcksSettings(cookie_threshold=4, half_open_per_source=6, half_open_limit=12)
    world = World(settings=settings)
    return world, Stranger(world)


@pytest.mark.parametrize(
    ("own", "others"),
    [
        (["10.9.9.9"], ["10.9.9.8"]),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:3"], ["2001:db8:0:1::1"]),
    ],
)
def test_one_address_cannot_keep_the_others_out(own: list[str], others: list[str]) -> None:
    world, stranger = flooded()
    table = world.server._init.table
    for number in range(40):
        effects = stranger.ask(own[number % len(own)])
    assert len(table) == 6
    assert reasons(effects) == ["half-open-source-limit"]
    assert isinstance(stranger.ask(others[0])[0], Send)
    assert len(table) == 7
    # What has expired no longer counts.
    world.run(40)
    assert len(table) == 0
    assert not table._by_source
    assert isinstance(stranger.ask(own[0])[0], Send)


def test_below_the_threshold_an_address_may_have_as_many_as_there_is_room_for() -> None:
    world = World(settings=GcksSettings(half_open_per_source=2))
    stranger = Stranger(world)
    for _ in range(20):
        assert isinstance(stranger.ask("10.9.9.9")[0], Send)
    assert len(world.server._init.table) == 20


def test_an_address_gets_only_so_many_key_exchanges_a_second() -> None:
    world = World(settings=GcksSettings(init_rate=2, init_burst=5))
    stranger, table = Stranger(world), world.server._init.table
    effects = [effect for _ in range(9) for effect in stranger.ask("10.9.9.9")]
    assert len(table) == 5
    assert reasons(effects) == ["init-rate"] * 4
    # Others are not touched by it; a second later there are two more.
    assert isinstance(stranger.ask("10.9.9.8")[0], Send)
    world.run(1)
    effects = [effect for _ in range(9) for effect in stranger.ask("10.9.9.9")]
    assert reasons(effects) == ["init-rate"] * 7
    assert len(table) == 8


def test_repeating_a_request_does_not_count_as_another_key_exchange() -> None:
    world = World(settings=GcksSettings(init_rate=1, init_burst=2))
    stranger = Stranger(world)
    rng = SeededRng("repeated")
    ke = Ke(31, stranger._pair.public)
    request = initial.build_request(rng(8), offer(world.ike), ke, rng(32), None, [])
    replies = [stranger._say(request, "10.9.9.9") for _ in range(20)]
    assert all(reply == replies[0] for reply in replies)
    assert isinstance(stranger.ask("10.9.9.9")[0], Send)
    # Nor does one that costs none: it is refused by its proposals, not by its rate.
    weak = Sa([Proposal(1, ProtocolId.IKE, b"", [Transform(1, 3, [])])])
    refused = initial.build_request(rng(8), weak, Ke(31, bytes(32)), rng(32), None, [])
    assert reasons(stranger._say(refused, "10.9.9.9")) == [None]
    assert reasons(stranger.ask("10.9.9.9")) == ["init-rate"]


def test_a_long_init_is_not_kept() -> None:
    world = World()
    stranger = Stranger(world)
    padding = Payload(PayloadType.VENDOR, Vendor(bytes(4096)))
    assert reasons(stranger.ask("10.9.9.9", [padding])) == ["too-long"]
    assert len(world.server._init.table) == 0
    # Nor one whose octets are of no use at all.
    empty = build_message(b"\1" * 8, bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, [padding] * 3)
    assert reasons(stranger._say(empty, "10.9.9.9")) == ["too-long"]


def test_a_captured_request_is_no_weapon_against_others() -> None:
    world = World(members=1)
    world.run(2)
    for number in range(1, 9):
        world.add(number, [join(sends=True)])
    world.run(10)
    host = world.hosts[0]
    sa = host.endpoint.sa
    assert sa is not None
    registration = build_registration_request(NEWS, None, None)
    request = sa.request(ExchangeType.GSA_REGISTRATION, registration, world.now)
    world.to_server(request, turned(host.path))
    victim = Path(SERVER_ADDRESS, 848, "198.51.100.7", 53)
    effects = [effect for _ in range(1000) for effect in world.server.receive(request, victim, world.now)]
    sends = [effect for effect in effects if isinstance(effect, Send)]
    assert len(sends[0].datagram) > 5 * len(request)
    assert len(sends) == 32
    assert set(reasons(effects)) == {"repeated-often"}
    # The next request is answered, and its reply repeated, as ever.
    sa.window.answered()
    request = sa.request(ExchangeType.GSA_REGISTRATION, registration, world.now)
    sent = len(world.sent)
    for _ in range(3):
        world.to_server(request, turned(host.path))
    assert len({each.data for each in world.sent[sent:]}) == 1
    assert len(world.sent) == sent + 3


@pytest.mark.parametrize("kind", [IdentityKind.FQDN, IdentityKind.KEY_ID, 77])
def test_a_strangers_long_name_does_not_fill_the_log(kind: int) -> None:
    world = World()
    name = Identity(kind, b"\xff" * 15_000)
    world.add(1, identity=name)
    world.run(1)
    failed, *_ = world.events("authentication-failed")
    assert failed.fields["reason"] == "an identity of 15000 octets"
    assert max(len(render_json(world.now, t.level, t.event, t.fields)) for t in world.tells) < 1000


def test_a_members_long_name_for_a_group_does_not_fill_the_log() -> None:
    world = World()
    world.add(1, [replace(join(), group_id=Identity(IdentityKind.KEY_ID, b"\xff" * 15_000))])
    world.run(1)
    failed, *_ = world.events("authentication-failed")
    assert "group-id: 15000 octets" in str(failed.fields["reason"])


def test_forged_rekeys_do_not_make_a_member_look_at_all_its_sas(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    host = world.add(1)
    for number in range(2, 8):
        world.add(number, [join(sends=True)])
    world.run(10)
    member = host.endpoint.groups["news"]
    looks: list[Rollover] = []
    newest = Rollover._newest
    monkeypatch.setattr(Rollover, "_newest", lambda self: looks.append(self) or newest(self))
    # The SPI of a Rekey SA is on the wire for all to see.
    head = build_sealed_head(
        member.rekey_spis[0][:8], member.rekey_spis[0][8:], ExchangeType.GSA_REKEY, 8, 99, 51, 64
    )
    due = member.registration_due
    for number in range(100):
        effects = host.endpoint.receive(head + bytes(60) + number.to_bytes(4, "big"), host.path, world.now)
        assert reasons(effects) == ["not-authentic"]
    assert len(looks) <= 1
    member._data._soft_known = False
    assert member.registration_due == due


def test_refused_proposals_do_not_fill_the_log() -> None:
    world, rng = World(), SeededRng("refused")
    weak = Sa([Proposal(1, ProtocolId.IKE, b"", [Transform(1, 3, [])])])
    levels = []
    for number in range(300):
        request = initial.build_request(rng(8), weak, Ke(31, bytes(32)), rng(32), None, [])
        path = Path(SERVER_ADDRESS, 848, f"10.9.{number % 7}.9", 500)
        effects = world.server.receive(request, path, world.now + number / 100)
        levels += [effect.level for effect in effects if isinstance(effect, Tell)]
    assert levels.count("info") == 3
    assert levels.count("debug") == 297
