"""Programs that want a group, and want it again and again: no storm at the key server, no lock-out."""

from __future__ import annotations

from eap_rig import ANN, doorkeeper, login, login_world
from endpoint_rig import T0, Host, World, arrows, policy

from gkmd.ike.member_settings import Leave, Register


def flap(world: World, host: Host, seconds: float, every: float = 6.0) -> None:
    """A program that joins and goes, as fast as the member's linger lets its wishes through."""
    end = world.now + seconds
    while world.now < end:
        world.do_member(host, host.endpoint.command(Leave("news"), world.now))
        world.do_member(host, host.endpoint.command(Register("news", patient=True), world.now))
        world.run(every)


def asked(world: World) -> int:
    return sum(a.startswith("GSA_REGISTRATION") and a.endswith("->") for a in arrows(world))


def test_a_program_cannot_make_the_member_show_a_wrong_password_again_and_again() -> None:
    world = login_world()
    host = world.add(0, credentials=login(password=b"guess"), identity=ANN)
    flap(world, host, 1000)
    assert 1 <= len(world.password_asks) <= 7  # every 150 to 450 seconds, as without the program
    # An operator who has put it right need not wait.
    doorkeeper(world).passwords[ANN] = b"guess"
    world.do_member(host, host.endpoint.command(Register("news"), world.now))
    world.run(1)
    assert world.registered()


def test_a_program_does_not_wait_as_long_as_nobody_and_brings_no_storm() -> None:
    world = World([policy(receivers=())], members=1)
    flap(world, world.hosts[0], 600)
    assert 10 <= asked(world) <= 21  # every 30 seconds
    assert world.hosts[0].endpoint.groups["news"].status(world.now)["refused"] is not None


def test_a_program_that_comes_late_is_served_at_once() -> None:
    """Who was refused, pays, and starts the player again."""
    world = World([policy(capacity=1)], members=2)
    world.run(60)
    (out,) = [host for host in world.hosts.values() if not host.endpoint.groups["news"].registered]
    (inside,) = [host for host in world.hosts.values() if host is not out]
    world.do_member(out, out.endpoint.command(Leave("news"), world.now))
    world.do_member(inside, inside.endpoint.command(Leave("news"), world.now))
    world.run(40)
    world.do_member(out, out.endpoint.command(Register("news", patient=True), world.now))
    world.run(0.5)
    assert out.endpoint.groups["news"].registered


def test_a_program_whose_transmission_is_tomorrow() -> None:
    world = World([policy(starts=T0 + 80_000)], members=1)
    flap(world, world.hosts[0], 600)
    assert asked(world) <= 21
    world.run(80_000)
    assert world.registered()


def test_a_server_that_is_away_is_not_stormed() -> None:
    world = World(members=1, fate=lambda datagram: [])
    flap(world, world.hosts[0], 600)
    attempts = {datagram.data[:8] for datagram in world.sent if datagram.to_server}
    assert len(attempts) <= 25
    world.fate = lambda datagram: [0.001]
    world.run(95)
    assert world.registered()
