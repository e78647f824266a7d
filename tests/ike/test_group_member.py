"""The member's machine of one group: registrations and rollovers, and what it asks of kernel and network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_driving import admitted, do, events, host, kinds, reasons, receive, spis
from group_fixtures import (
    BOTH,
    GROUP_ADDRESS,
    GSK_W,
    POLICY,
    RECEIVER,
    REKEY_ADDRESS,
    SENDER,
    SERVER,
    SHARED,
    T0,
    TX,
    TX2,
    Server,
    member,
)

from gkmd.core.address import IpAddress
from gkmd.core.effect import (
    InstallPolicy,
    InstallSa,
    JoinMulticast,
)
from gkmd.core.esp import Direction, EspPolicy, Mode
from gkmd.core.secret import SecretBytes
from gkmd.ike.group_join import GroupJoin, GroupSettings
from gkmd.ike.group_member import State
from gkmd.ike.rekey_message import seal_rekey
from wire.ikev2 import Delete
from wire.message import Payload
from wire.registry import PayloadType

IN = EspPolicy("news", None, GROUP_ADDRESS, 17, 5000, Mode.TRANSPORT, Direction.IN, 0)


# --- registration ----------------------------------------------------------------------------------------


def test_before_it_registers() -> None:
    new = member()
    assert (new.state, new.registered, new.registration_due) == (State.NEW, False, 0.0)
    assert (new.deadline(), new.rekey_spis, new.sender_ids) == (None, (), ())
    assert new.tick(T0) == []
    assert events(new.receive_rekey_untrusted(b"", T0)) == ["rekey-dropped"]


def test_a_receiver() -> None:
    server, on = Server(), host(RECEIVER)
    tek = server.new_tek(T0, TX)
    effects = do(on, on.member.admit(server.grant(RECEIVER, T0), T0))
    assert kinds(effects) == ["InstallPolicy", "InstallSa", "JoinMulticast", "JoinMulticast"]
    assert effects[0] == InstallPolicy(IN)
    (installed,) = [e.sa for e in effects if isinstance(e, InstallSa)]
    assert (installed.spi, installed.key, installed.direction) == (tek.spi, tek.key, Direction.IN)
    assert (installed.source, installed.destination) == (TX, GROUP_ADDRESS)
    assert installed.replay_window == RECEIVER.replay_window
    assert installed.lifetime == 600 + GroupSettings().kernel_margin  # the kernel is the backstop
    assert [e for e in effects if isinstance(e, JoinMulticast)] == [
        JoinMulticast("news", REKEY_ADDRESS, 848, "eth0"),
        JoinMulticast("news", GROUP_ADDRESS, 0, "eth0"),
    ]
    assert on.member.registered
    assert on.member.rekey_spis == (server.kek.spi,)
    assert on.member.deadline() == T0 + 600


def test_a_sender_that_does_not_receive() -> None:
    """RFC 9838 2.3.3: outbound only. Other senders' SAs are none of its business."""
    server, on = Server(), host(SENDER)
    own, _ = server.new_tek(T0, TX), server.new_tek(T0, TX2)
    effects = do(on, on.member.admit(server.grant(SENDER, T0), T0))
    assert kinds(effects) == ["InstallPolicy", "InstallSa", "JoinMulticast"]
    (policy,) = [e.policy for e in effects if isinstance(e, InstallPolicy)]
    (installed,) = [e.sa for e in effects if isinstance(e, InstallSa)]
    assert installed.spi == own.spi
    # Active at once, and whatever this host sends to the group from another address is stopped.
    assert policy == replace(IN, direction=Direction.OUT, reqid=installed.reqid)
    assert on.member.sender_ids == (7,)
    assert on.sends_on(GROUP_ADDRESS) == installed


def test_a_member_that_sends_and_receives() -> None:
    server, on = Server(), host(BOTH)
    own, other = server.new_tek(T0, TX), server.new_tek(T0, TX2)
    do(on, on.member.admit(server.grant(BOTH, T0), T0))
    directions = {sa.spi: sa.direction for sa in on.kernel.sas.values()}
    assert directions == {own.spi: Direction.OUT, other.spi: Direction.IN}
    assert {p.direction for p in on.kernel.policies.values()} == {Direction.IN, Direction.OUT}


@pytest.mark.parametrize("join", [SENDER, BOTH])
def test_an_sa_that_senders_share(join: GroupJoin) -> None:
    """One kernel state serves both ways, and cannot check for replays: senders count each for themselves."""
    server, on = Server(SHARED), host(join)
    tek = server.new_tek(T0)
    do(on, on.member.admit(server.grant(join, T0), T0))
    ((_, installed),) = on.kernel.sas.items()
    assert (installed.spi, installed.direction, installed.replay_window) == (tek.spi, Direction.OUT, 0)
    assert installed.source is None
    assert ((GROUP_ADDRESS, 0, None) in on.listening) is join.receives


def test_a_shared_tunnel_takes_its_source_from_the_member() -> None:
    """RFC 5374 3.1: addresses are preserved; the kernel takes the outer source from the SA."""
    server, on = Server(replace(SHARED, mode=Mode.TUNNEL)), host(BOTH)
    server.new_tek(T0)
    do(on, on.member.admit(server.grant(BOTH, T0), T0))
    ((_, installed),) = on.kernel.sas.items()
    assert (installed.source, installed.mode) == (TX, Mode.TUNNEL)
    out = next(p for p in on.kernel.policies.values() if p.direction is Direction.OUT)
    assert out.source == TX


@pytest.mark.parametrize(("local", "sends"), [(TX, True), (TX2, False), (None, False)])
def test_the_sender_s_address_is_that_of_its_path(local: IpAddress | None, sends: bool) -> None:
    server, join = Server(), replace(BOTH, source=None)
    server.new_tek(T0, TX)
    on = host(join)
    effects = do(on, on.member.admit(server.grant(join, T0), T0, local))
    assert any(p.direction is Direction.OUT for p in on.kernel.policies.values()) is sends
    assert ("no-sa-to-send-on" in events(effects)) is not sends


def test_no_data_sa_yet() -> None:
    """A group without senders: the rekey that brings the first SA brings policy, SA and membership."""
    server, on = Server(), host(RECEIVER)
    effects = do(on, on.member.admit(server.grant(RECEIVER, T0), T0))
    assert kinds(effects) == ["JoinMulticast"]
    effects = receive(on, seal_rekey(server.order(T0, (server.new_tek(T0, TX),)), server.rng), T0 + 1)
    assert kinds(effects) == ["InstallPolicy", "InstallSa", "JoinMulticast"]


def test_source_specific_groups_are_joined_by_source() -> None:
    ssm = replace(POLICY, address=ip_address("232.1.1.1"), rekey_address=ip_address("232.1.1.2"))
    server, on = Server(ssm), host(RECEIVER)
    server.new_tek(T0, TX)
    server.new_tek(T0, TX2)
    do(on, on.member.admit(server.grant(RECEIVER, T0), T0))
    assert on.listening == {
        (ssm.rekey_address, 848, SERVER),
        (ssm.address, 0, TX),
        (ssm.address, 0, TX2),
    }


def test_a_grant_after_leaving_is_of_no_use() -> None:
    server, on = admitted(RECEIVER)
    do(on, on.member.leave(T0 + 1))
    assert kinds(on.member.admit(server.grant(RECEIVER, T0 + 1), T0 + 1)) == []
    assert on.member.state is State.LEFT


# --- rekeys ----------------------------------------------------------------------------------------------


def test_a_receiver_s_rollover() -> None:
    server, on = admitted(RECEIVER)
    ((_, old),) = on.kernel.sas.items()
    kek = server.kek
    effects = receive(on, server.rekey(T0 + 100, kek=True), T0 + 100)
    assert kinds(effects) == ["InstallSa"]
    assert on.member.rekey_spis == (kek.spi, server.kek.spi)
    assert on.member.deadline() == T0 + 110
    assert kinds(do(on, on.member.tick(T0 + 109.999))) == []
    effects = do(on, on.member.tick(T0 + 110))
    assert kinds(effects) == ["RemoveSa"]
    assert reasons(effects, "data-sa-removed") == ["deleted"]
    assert "rekey-sa-removed" in events(effects)
    assert old.spi not in spis(on)
    assert on.member.rekey_spis == (server.kek.spi,)


def test_a_sender_s_rollover() -> None:
    server, on = admitted(SENDER)
    ((_, old),) = on.kernel.sas.items()
    effects = receive(on, server.rekey(T0 + 100), T0 + 100)
    assert kinds(effects) == ["InstallSa"]
    (new,) = [e.sa for e in effects if isinstance(e, InstallSa)]
    assert new.reqid != old.reqid
    assert on.sends_on(GROUP_ADDRESS) == old
    assert on.member.deadline() == T0 + 104
    effects = do(on, on.member.tick(T0 + 104))
    assert kinds(effects) == ["SwitchOutput"]
    assert on.sends_on(GROUP_ADDRESS) == new
    assert on.member.deadline() == T0 + 110
    assert kinds(do(on, on.member.tick(T0 + 110))) == ["RemoveSa"]
    assert on.sends_on(GROUP_ADDRESS) == new


def test_without_delays_everything_happens_at_once_and_in_order() -> None:
    server, on = admitted(SENDER, replace(POLICY, activation_delay=0, deactivation_delay=0))
    effects = receive(on, server.rekey(T0 + 100), T0 + 100)
    assert kinds(effects) == ["InstallSa", "SwitchOutput", "RemoveSa"]


def test_an_old_sa_that_goes_before_the_activation_delay_is_over() -> None:
    """RFC 9838 4.4.3.1.1 wants DTD longer than ATD; else the switch comes with the removal, not after it."""
    server, on = admitted(SENDER, replace(POLICY, activation_delay=10, deactivation_delay=3))
    receive(on, server.rekey(T0 + 100), T0 + 100)
    assert on.member.deadline() == T0 + 103
    assert kinds(do(on, on.member.tick(T0 + 103))) == ["SwitchOutput", "RemoveSa"]


def test_an_old_sa_that_expires_before_the_activation_delay_is_over() -> None:
    server, on = admitted(SENDER)
    receive(on, server.rekey(T0 + 598), T0 + 598)
    effects = do(on, on.member.tick(T0 + 600))
    assert kinds(effects) == ["SwitchOutput", "RemoveSa"]
    assert reasons(effects, "data-sa-removed") == ["expired"]
    assert "sa-ended-unreplaced" not in events(effects)


def test_a_data_sa_without_delete_lives_to_its_end() -> None:
    """RFC 9838 2.4.1.4: only a Rekey SA dies by its replacement."""
    server, on = admitted(RECEIVER)
    receive(on, seal_rekey(server.order(T0 + 100, (server.new_tek(T0 + 100, TX),)), server.rng), T0 + 100)
    do(on, on.member.tick(T0 + 599))
    assert len(spis(on)) == 2
    do(on, on.member.tick(T0 + 600))
    assert len(spis(on)) == 1


def test_a_second_rekey_before_the_first_is_active() -> None:
    server, on = admitted(SENDER)
    receive(on, server.rekey(T0 + 100), T0 + 100)
    receive(on, server.rekey(T0 + 102), T0 + 102)
    assert kinds(do(on, on.member.tick(T0 + 104))) == ["SwitchOutput"]
    assert kinds(do(on, on.member.tick(T0 + 106))) == ["SwitchOutput"]
    assert kinds(do(on, on.member.tick(T0 + 200))) == ["RemoveSa", "RemoveSa"]
    newest = max(spis(on))
    sending = on.sends_on(GROUP_ADDRESS)
    assert sending is not None
    assert sending.spi == newest


def test_what_a_rekey_says_again_is_not_done_again() -> None:
    server, on = admitted(SENDER)
    old = next(iter(server.teks.values()))
    new = server.new_tek(T0 + 100, TX)
    order = server.order(T0 + 100, (new,), (old.spi,))
    receive(on, seal_rekey(order, server.rng), T0 + 100)
    again = server.order(T0 + 103, (new,), (old.spi,))
    effects = receive(on, seal_rekey(again, server.rng), T0 + 103)
    assert kinds(effects) == []
    assert on.member.deadline() == T0 + 104  # the delays count from the first time
    do(on, on.member.tick(T0 + 110))
    assert spis(on) == {new.spi}


def test_deletes_of_what_is_not_there() -> None:
    server, on = admitted(RECEIVER)
    server.teks[0x7777] = server.new_tek(T0, TX2)
    effects = receive(on, seal_rekey(server.order(T0, (), (0x7777,)), server.rng), T0 + 1)
    assert kinds(effects) == []
    assert events(effects) == ["rekey-received"]


def test_a_delete_alone_uses_the_delays_known() -> None:
    server, on = admitted(RECEIVER)
    (old,) = spis(on)
    assert on.member.registration_due is not None
    assert on.member.registration_due < T0 + 600
    receive(on, seal_rekey(server.order(T0 + 5, (), (old,)), server.rng), T0 + 5)
    assert on.member.registration_due > T0 + 3000
    assert on.member.deadline() == T0 + 15
    effects = do(on, on.member.tick(T0 + 15))
    assert reasons(effects, "data-sa-removed") == ["deleted"]
    # Nobody calls for a replacement of what was deleted: the Rekey SA alone is looked after.
    assert "sa-ended-unreplaced" not in events(effects)
    assert on.kernel.policies  # nothing passes in clear


def test_a_rekey_address_that_changes() -> None:
    server, on = admitted(RECEIVER)
    moved = replace(POLICY, rekey_address=ip_address("239.9.9.9"))
    order = replace(server.order(T0, (), (), server.new_kek(T0)), policy=moved)
    effects = receive(on, seal_rekey(order, server.rng), T0 + 1)
    assert kinds(effects) == ["JoinMulticast"]
    assert kinds(do(on, on.member.tick(T0 + 11))) == ["LeaveMulticast"]
    assert (moved.rekey_address, 848, None) in on.listening
    assert (REKEY_ADDRESS, 848, None) not in on.listening


def test_a_delete_that_names_the_rekey_sa() -> None:
    server, on = admitted(RECEIVER)
    payload = Payload(PayloadType.DELETE, Delete(6, 16, [server.kek.spi]))
    do(on, on.member.inband([payload], GSK_W, T0 + 1))
    effects = do(on, on.member.tick(T0 + 11))
    assert "sa-ended-unreplaced" in events(effects)
    assert on.member.rekey_spis == ()
    assert on.member.registration_due == T0 + 11
    # Its SAs are good as long as they live.
    assert spis(on)


def test_a_signature_key_that_changes() -> None:
    """It is the old key that signs the message with the new one; then only the new one counts."""
    server, on = admitted(RECEIVER)
    old_key = server.signing_key
    server.signing_key = SecretBytes(b"\x0a" * 32)
    order = server.order(T0, (), (), server.new_kek(T0))
    datagram = seal_rekey(order, server.rng)
    assert "rekey-sa-installed" in events(receive(on, datagram, T0 + 1))
    assert events(receive(on, datagram, T0 + 2)) == ["rekey-duplicate"]
    good = server.order(T0, (server.new_tek(T0, TX2),))
    forged = replace(good, under=replace(good.under, signing_key=old_key))
    assert events(receive(on, seal_rekey(forged, server.rng), T0 + 3)) == ["rekey-dropped"]
    assert kinds(receive(on, seal_rekey(good, server.rng), T0 + 4)) == ["InstallSa"]
