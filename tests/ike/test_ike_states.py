"""Every state of an IKE SA with every exchange, request and reply, at both roles: the tables say what
happens.
"""

from __future__ import annotations

import itertools

import pytest
from endpoint_rig import World, established, id_payloads, inside, join, note, notes, policy, seal, turned

from gkmd.core.effect import Tell
from gkmd.ike import gikev2_gcks, gikev2_member, server_requests
from gkmd.ike.registration_request import build_registration_request, id_g
from gkmd.ike.removal import DELETE_IKE_SA
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.window import Pending
from wire.ikev2 import Ke, Nonce, Proposal, Sa, Transform
from wire.message import Payload
from wire.registry import ExchangeType, NotifyType, PayloadType, ProtocolId

GROUP = policy().group_id
REKEY_IKE_SA = [
    Payload(PayloadType.SA, Sa([Proposal(1, ProtocolId.IKE, bytes(8), [Transform(1, 20)])])),
    Payload(PayloadType.NONCE, Nonce(bytes(32))),
    Payload(PayloadType.KE, Ke(31, bytes(32))),
]
# Well-formed content of every exchange, request and reply.
CONTENT: dict[tuple[ExchangeType, bool], list[Payload]] = {
    (ExchangeType.GSA_AUTH, False): [],  # made in place
    (ExchangeType.GSA_AUTH, True): [note(NotifyType.AUTHENTICATION_FAILED)],
    (ExchangeType.GSA_REGISTRATION, False): build_registration_request(GROUP, None, None),
    (ExchangeType.GSA_REGISTRATION, True): [note(NotifyType.REGISTRATION_FAILED)],
    (ExchangeType.INFORMATIONAL, False): [],
    (ExchangeType.INFORMATIONAL, True): [],
    (ExchangeType.GSA_INBAND_REKEY, False): [Payload(PayloadType.DELETE, DELETE_IKE_SA.body)],
    (ExchangeType.GSA_INBAND_REKEY, True): [],
    (ExchangeType.CREATE_CHILD_SA, False): REKEY_IKE_SA,
    (ExchangeType.CREATE_CHILD_SA, True): [note(NotifyType.NO_ADDITIONAL_SAS)],
    (ExchangeType.IKE_AUTH, False): [],
    (ExchangeType.IKE_AUTH, True): [],
    (ExchangeType.IKE_INTERMEDIATE, False): [],
    (ExchangeType.IKE_INTERMEDIATE, True): [],
}
PAIRS = sorted(CONTENT, key=lambda pair: (pair[0], pair[1]))


def named(pair: object) -> str:
    if isinstance(pair, tuple):
        return f"{pair[0].name}-{'reply' if pair[1] else 'request'}"
    return str(pair.value) if isinstance(pair, SaState) else str(pair)


def server_world(state: SaState) -> tuple[World, IkeSa, IkeSa]:
    """A world whose member has an SA in this state at the server: (world, the member's end, the server's)."""
    world = World(fate=lambda _: [])
    world.decides = False
    host = world.add(0)
    back = turned(host.path)
    world.to_server(world.sent[-1].data, back)
    world.to_member(host, world.sent[-1].data, host.path)
    ours = host.endpoint._connector._attempt._candidates[0].sa  # type: ignore[union-attr]
    (half,) = world.server._init.table._by_spi.values()
    if state is SaState.HALF_OPEN:
        return world, ours, half.keyed(world.rng, world.now)
    world.to_server(world.sent[-1].data, back)
    if state is SaState.AUTHENTICATED:
        assert half.sa is not None
        return world, ours, half.sa
    world.decide(world.asks[-1])
    world.to_member(host, world.sent[-1].data, host.path)
    _, theirs = established(world)
    if state is SaState.CLOSING:
        world.do(world.server.command(gikev2_gcks.gcks_settings.Shutdown(delete_ike_sas=True), world.now))
    elif state is SaState.GONE:
        world.to_server(seal(ours, ExchangeType.INFORMATIONAL, 2, [DELETE_IKE_SA]), back)
    return world, ours, theirs


@pytest.mark.parametrize("pair", PAIRS, ids=named)
@pytest.mark.parametrize("state", list(SaState), ids=named)
def test_the_server(state: SaState, pair: tuple[ExchangeType, bool]) -> None:
    exchange, is_reply = pair
    world, ours, theirs = server_world(state)
    assert theirs.state is state
    payloads = CONTENT[pair]
    if pair == (ExchangeType.GSA_AUTH, False):
        payloads = id_payloads(world.hosts[0], GROUP)
    message_id = theirs.window.expected_request_id
    if is_reply:
        message_id = theirs.window.next_request_id - 1 if theirs.window.pending else 0
        if theirs.window.pending is None and state is SaState.ESTABLISHED:
            theirs.window.pending = Pending(0, exchange, b"", 1, world.now + 1)
    world.sent.clear()
    world.tells.clear()
    asks = len(world.asks)
    world.to_server(
        seal(ours, exchange, message_id, payloads, response=is_reply), turned(world.hosts[0].path)
    )
    replies = [inside(ours, d.data) for d in world.sent]
    if is_reply:
        assert not replies  # RFC 7296 2.21: nobody answers a reply
        known = (state, exchange) in gikev2_gcks._ON_REPLY
        awaited = state is SaState.ESTABLISHED or (
            state is SaState.CLOSING and exchange is ExchangeType.INFORMATIONAL
        )
        if awaited and not known:
            assert theirs.state is SaState.GONE
        elif awaited and state is SaState.CLOSING:
            assert theirs.state is SaState.GONE
            assert "shuts down" in theirs.reason
        else:
            assert theirs.state is state
    elif state is SaState.HALF_OPEN:
        if exchange is ExchangeType.GSA_AUTH:
            # AUTH is missing its truth: one notification, no SA.
            assert [notes(r) for r in replies] == [[NotifyType.AUTHENTICATION_FAILED]]
            assert theirs.state is SaState.GONE
        else:
            assert not replies
            assert theirs.state is state
    elif state in (SaState.AUTHENTICATED, SaState.GONE):
        assert not replies
        assert theirs.state is state
        assert [t.event for t in world.tells] == ["datagram-dropped"]
    elif (state, exchange) in gikev2_gcks._ON_REQUEST:
        assert theirs.state is state
        if exchange is ExchangeType.GSA_REGISTRATION and state is SaState.ESTABLISHED:
            assert len(world.asks) == asks + 1
        else:
            assert len(replies) == 1
            assert NotifyType.INVALID_SYNTAX not in notes(replies[0])
    else:
        assert [notes(r) for r in replies] == [[NotifyType.INVALID_SYNTAX]]
        assert theirs.state is SaState.GONE


@pytest.mark.parametrize("pair", PAIRS, ids=named)
@pytest.mark.parametrize(
    "state", [SaState.HALF_OPEN, SaState.ESTABLISHED, SaState.CLOSING, SaState.GONE], ids=named
)
def test_the_member(state: SaState, pair: tuple[ExchangeType, bool]) -> None:
    exchange, is_reply = pair
    world, ours, theirs = server_world(
        SaState.HALF_OPEN if state is SaState.HALF_OPEN else SaState.ESTABLISHED
    )
    host = world.hosts[0]
    if state is SaState.CLOSING:
        stop = gikev2_member.member_settings.Stop()
        world.do_member(host, host.endpoint.command(stop, world.now))
        while host.endpoint._errands:  # the groups are left first
            pending = ours.window.pending
            assert pending is not None
            reply = seal(theirs, pending.exchange, pending.message_id, [], response=True)
            world.to_member(host, reply, host.path)
    elif state is SaState.GONE:
        world.to_member(host, seal(theirs, ExchangeType.INFORMATIONAL, 0, [DELETE_IKE_SA]), host.path)
    assert ours.state is state
    message_id = ours.window.expected_request_id
    if is_reply:
        if state is SaState.ESTABLISHED:
            ours.window.pending = Pending(9, exchange, b"", 1, world.now + 1)
        message_id = ours.window.pending.message_id if ours.window.pending else 0
    world.sent.clear()
    host.tells.clear()
    payloads = CONTENT[pair]
    if pair == (ExchangeType.GSA_AUTH, False):
        payloads = id_payloads(host, GROUP)
    world.to_member(host, seal(theirs, exchange, message_id, payloads, response=is_reply), host.path)
    replies = [inside(theirs, d.data) for d in world.sent if d.data[19] & 0x20]
    if is_reply:
        assert not replies
        if state is SaState.HALF_OPEN and exchange is ExchangeType.GSA_AUTH:
            assert host.endpoint._connector._attempt is None  # refused: the attempt is over
        elif state is SaState.CLOSING and exchange is ExchangeType.INFORMATIONAL:
            assert host.endpoint.stopped
        elif state is SaState.ESTABLISHED and exchange is ExchangeType.GSA_AUTH:
            assert ours.state is state  # long answered
        else:
            assert ours.state is state
    elif state in (SaState.HALF_OPEN, SaState.GONE) or exchange is ExchangeType.GSA_AUTH:
        assert not replies  # the server has not authenticated itself, or is no longer known
        assert ours.state is state
    elif (state, exchange) in server_requests.ON_REQUEST:
        assert len(replies) == 1
        assert NotifyType.INVALID_SYNTAX not in notes(replies[0])
    else:
        assert [notes(r) for r in replies] == [[NotifyType.INVALID_SYNTAX]]
        assert ours.state is SaState.GONE


def test_the_tables_name_only_states_that_exist() -> None:
    pairs = itertools.chain(gikev2_gcks._ON_REQUEST, gikev2_gcks._ON_REPLY, server_requests.ON_REQUEST)
    for state, exchange in pairs:
        assert state in (SaState.ESTABLISHED, SaState.CLOSING)
        assert ExchangeType(exchange)
    assert id_g(GROUP).type == PayloadType.ID_G
    assert isinstance(join(), object)
    assert Tell is not None
