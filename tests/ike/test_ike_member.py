"""The member's endpoint by itself: fail-over, hints, waits, the loss of its server, many groups."""

from __future__ import annotations

import itertools

import pytest
from endpoint_rig import (
    SERVER_ID,
    T0,
    World,
    arrows,
    established,
    init_of,
    join,
    member_name,
    member_path,
    note,
    policy,
    psk,
    seal,
    turned,
)

from gkmd.core.address import Path
from gkmd.core.effect import InstallSa, Send
from gkmd.core.errors import DataplaneError, LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.ike import gcks_settings, member_settings
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.member_settings import MemberSettings, Server
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.sa import SaState
from gkmd.ike.window import Backoff
from wire.header import peek_untrusted
from wire.message import build_message
from wire.registry import ExchangeType, NotifyType

QUICK = Backoff(0.2, 1.5, 1.0, 3)


def alone(servers: int = 1, **kwargs: object) -> MemberEndpoint:
    """A member whose servers are all silent."""
    paths = [Path("10.0.1.1", 500, f"10.9.0.{n}", 500) for n in range(servers)]
    return MemberEndpoint(
        Credentials(member_name(0), {SERVER_ID: psk("x")}),
        IkePolicy(),
        [Server(SERVER_ID, path) for path in paths],
        [join()],
        SeededRng(1),
        MemberSettings(connect_backoff=QUICK, **kwargs),  # type: ignore[arg-type]
    )


def run(endpoint: MemberEndpoint, seconds: float) -> list[tuple[float, str, int]]:
    """What it sends in that time: when, to whom, which exchange."""
    out: list[tuple[float, str, int]] = []

    def note_down(effects: list[object], at: float) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                out.append((at - T0, effect.path.remote, effect.datagram[18]))

    now = T0
    note_down(list(endpoint.start(now)), now)
    while True:
        deadline = endpoint.deadline()
        if deadline is None or deadline > T0 + seconds:
            return out
        now = max(now, deadline)
        note_down(list(endpoint.tick(now)), now)


def test_servers_are_tried_in_turn_and_then_again_after_a_wait() -> None:
    sent = run(alone(3), 60)
    order = [remote for _, remote, _ in sent]
    assert order[:9] == ["10.9.0.0"] * 3 + ["10.9.0.1"] * 3 + ["10.9.0.2"] * 3
    # Fail-over is at once, a new round is not.
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(sent)]
    assert gaps[8] > max(gaps[:8])
    # Retries do not become a storm: the waits double up to the ceiling.
    assert len(sent) < 80


def test_waits_between_rounds_grow_and_differ_between_members() -> None:
    sent = run(alone(1, retry_first=1.0, retry_ceiling=8.0), 300)
    starts = [at for n, (at, _, _) in enumerate(sent) if n % 3 == 0]
    waits = [b - a for a, b in itertools.pairwise(starts)]
    assert waits[-1] < 8.0 * 1.5 + QUICK.patience + 0.01
    assert max(waits) > 4 * min(waits[:2]) * 0.5


def test_a_member_needs_a_server() -> None:
    with pytest.raises(LocalError):
        MemberEndpoint(Credentials(member_name(0)), IkePolicy(), [], [join()], SeededRng(1))


def test_a_member_without_groups_rests() -> None:
    endpoint = MemberEndpoint(
        Credentials(member_name(0)), IkePolicy(), [Server(SERVER_ID, member_path(0))], [], SeededRng(1)
    )
    assert endpoint.start(T0) == []
    assert endpoint.deadline() is None


def test_a_member_that_cannot_prove_itself_says_so() -> None:
    world = World()
    host = world.add(
        0, credentials=Credentials(member_name(0)), settings=MemberSettings(connect_backoff=QUICK)
    )
    world.run(2)
    failed = [t for t in host.tells if t.event == "connect-failed"]
    assert "nothing to authenticate ourselves" in str(failed[0].fields["reason"])
    assert not world.server._keeper.table


def test_it_fails_over_to_the_server_that_answers() -> None:
    world = World()
    identity = member_name(0)
    dead = Path("10.0.1.1", 500, "10.9.9.9", 500)
    host = world.add(0, settings=MemberSettings(connect_backoff=QUICK), start=False)
    host.endpoint = MemberEndpoint(
        Credentials(identity, {SERVER_ID: psk(identity)}),
        IkePolicy(),
        [Server(SERVER_ID, dead), Server(SERVER_ID, member_path(0))],
        [join()],
        SeededRng(3),
        MemberSettings(connect_backoff=QUICK),
    )
    world.fate = lambda d: [] if d.to_server and d.path.local == "10.9.9.9" else [0.001]
    world.do_member(host, host.endpoint.start(world.now))
    world.run(5)
    assert world.registered() == [host]


@pytest.mark.parametrize("kind", [NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.INVALID_SYNTAX, 8192])
def test_an_unprotected_error_is_a_hint_and_no_more(kind: int) -> None:
    # A stranger on the wire says no before the server says yes (RFC 7296 2.21.1).
    world = World()
    host = world.add(0)
    header = peek_untrusted(init_of(world))
    forged = build_message(header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0, [note(kind)])
    for _ in range(3):
        world.to_member(host, forged, host.path)
    world.run(1)
    assert world.registered() == [host]


def test_an_unprotected_error_in_answer_to_gsa_auth_is_dropped() -> None:
    world = World(fate=lambda _: [])
    host = world.add(0)
    world.to_server(init_of(world), turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    header = peek_untrusted(world.sent[-1].data)
    for exchange in (ExchangeType.GSA_AUTH, ExchangeType.INFORMATIONAL):
        forged = build_message(
            header.spi_i, header.spi_r, exchange, 0x20, 1, [note(NotifyType.AUTHENTICATION_FAILED)]
        )
        world.to_member(host, forged, host.path)
    auth = next(d.data for d in reversed(world.sent) if d.to_server)
    world.to_server(auth, turned(host.path))
    world.to_member(host, world.sent[-1].data, host.path)
    assert world.registered() == [host]


def test_a_lost_server_is_looked_for_and_the_groups_go_on_meanwhile() -> None:
    settings = MemberSettings(liveness_idle=10.0, backoff=QUICK, connect_backoff=QUICK)
    world = World([policy(), policy("sport")])
    host = world.add(0, [join(), join("sport", sends=True)], settings=settings)
    world.run(2)
    installed = [e.sa.spi for e in host.kernel if isinstance(e, InstallSa)]
    world.fate = lambda _: []
    world.run(40)
    # Dead peer: no IKE SA, but a Rekey SA for each group, so both go on (RFC 9838 2.3.3).
    assert host.endpoint.sa is None
    assert len(world.registered("news")) == len(world.registered("sport")) == 1
    world.fate = lambda _: [0.001]
    world.run(90)
    # It found the server again and told it of every group: INITIAL_CONTACT had ended what was known of it.
    assert host.endpoint.sa is not None
    spi = host.endpoint.sa.spi_r
    for name in ("news", "sport"):
        (member,) = world.directory.members(name)
        assert member.ike_spi == spi
    assert len(world.server._keeper.table) == 1
    assert installed


def test_a_server_that_has_forgotten_everything_is_registered_with_again() -> None:
    settings = MemberSettings(liveness_idle=10.0, backoff=QUICK, connect_backoff=QUICK)
    world = World()
    hosts = [world.add(number, settings=settings) for number in range(5)]
    world.run(2)
    world.book = type(world.book)()  # the disk is gone
    world.boot()
    world.run(120)
    assert world.registered() == hosts
    assert len(world.directory.members("news")) == 5
    rekey = world.directory.sas("news").rekey_sas[-1].spi
    assert all(h.endpoint.groups["news"].rekey_spis == (rekey,) for h in hosts)


def test_a_kernel_that_refuses_brings_a_new_registration_after_a_while() -> None:
    world = World()
    world.add(9, [join(sends=True)])
    world.run(1)
    host = world.add(0)
    world.run(1)
    sa = next(e for e in host.kernel if isinstance(e, InstallSa))
    world.sent.clear()
    world.do_member(host, host.endpoint.done(sa, DataplaneError("no ESP", 93), world.now))
    assert not world.sent
    world.run(5)
    assert "GSA_REGISTRATION 2 ->" in arrows(world)


def test_temporary_failure_is_asked_again_soon() -> None:
    world = World(members=1)
    world.run(1)
    host = world.hosts[0]
    world.fate = lambda _: []
    world.do_member(host, host.endpoint.command(member_settings.Register("news"), world.now))
    ours, theirs = established(world)
    refusal = seal(
        theirs, ExchangeType.GSA_REGISTRATION, 2, [note(NotifyType.TEMPORARY_FAILURE)], response=True
    )
    world.to_member(host, refusal, host.path)
    again = host.endpoint.deadline()
    assert again is not None
    assert 0.4 < again - world.now < 1.6
    assert ours.state is SaState.ESTABLISHED


def test_a_reply_that_ends_the_sa() -> None:
    world = World(members=1)
    world.run(1)
    host = world.hosts[0]
    world.do_member(host, host.endpoint.command(member_settings.Register("news"), world.now))
    ours, theirs = established(world)
    refusal = seal(theirs, ExchangeType.GSA_REGISTRATION, 2, [note(NotifyType.INVALID_SYNTAX)], response=True)
    world.to_member(host, refusal, host.path)
    assert ours.state is SaState.GONE
    world.run(10)
    assert world.registered() == [host]
    assert host.endpoint.sa is not ours
    assert theirs.state is SaState.GONE  # by INITIAL_CONTACT


def test_stop_in_the_middle_of_everything() -> None:
    for steps in range(12):
        world = World([policy(), policy("sport")], settings=GcksSettings(cookie_threshold=0))
        host = world.add(0, [join(), join("sport")])
        held: list[object] = []
        put = world.put
        world.put = lambda d, put=put: put(d)  # type: ignore[misc]
        for _ in range(steps):
            if world._queue:
                world.now += 0.01
                world.deliver(world._queue.pop(0)[2])
        world.do_member(host, host.endpoint.command(member_settings.Stop(), world.now))
        world.do_member(host, host.endpoint.command(member_settings.Stop(), world.now))
        world.run(20)
        assert host.endpoint.stopped
        assert host.endpoint.deadline() is None
        assert not held
        # Nothing more comes of late datagrams.
        for datagram in list(world.sent):
            if not datagram.to_server:
                world.to_member(host, datagram.data, datagram.path)
        assert host.endpoint.sa is None
        assert not any(m.registered for m in host.endpoint.groups.values())


def test_the_same_identity_on_two_hosts_fights_but_does_not_multiply() -> None:
    world = World()
    for number in (0, 1):
        world.add(number, identity=member_name(0))
        world.run(1)
    world.run(600)
    assert len(world.directory.members("news")) == 1
    assert len(world.server._keeper.table) <= 1
    inits = [a for a in arrows(world) if a == "IKE_SA_INIT 0 ->"]
    assert len(inits) < 60


def test_a_rekey_for_nobody_is_dropped() -> None:
    world = World(members=1)
    world.run(1)
    host = world.hosts[0]
    world.do(world.server.command(gcks_settings.Rekey("news"), world.now))
    rekey = next(
        d.data for d in reversed(world.sent) if peek_untrusted(d.data).exchange == ExchangeType.GSA_REKEY
    )
    effects = host.endpoint.receive(b"\x01" * 16 + rekey[16:], host.path, world.now)
    assert [e.event for e in effects] == ["datagram-dropped"]  # type: ignore[union-attr]
    assert Identity.parse("fqdn:a") != host.identity
