"""What one stranger, or one member with good credentials and bad intentions, can keep a key server busy
with.
"""

from __future__ import annotations

import pytest
from endpoint_rig import SERVER_ADDRESS, World

from gkmd.core.address import Path
from gkmd.core.effect import Effect, Send, Tell
from gkmd.core.rng import SeededRng
from gkmd.crypto.exchange import generate
from gkmd.ike import initial
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.proposal import offer
from wire.ikev2 import Ke, Notify, Vendor
from wire.message import Payload, build_message, parse_untrusted
from wire.registry import ExchangeType, PayloadType


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


def test_a_long_init_is_not_kept() -> None:
    world = World()
    stranger = Stranger(world)
    padding = Payload(PayloadType.VENDOR, Vendor(bytes(4096)))
    assert reasons(stranger.ask("10.9.9.9", [padding])) == ["too-long"]
    assert len(world.server._init.table) == 0
    # Nor one whose octets are of no use at all.
    empty = build_message(b"\1" * 8, bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, [padding] * 3)
    assert reasons(stranger._say(empty, "10.9.9.9")) == ["too-long"]
