"""The member's machine of one group: how it ends, comes back, grows old; inband rekeys; what it tells."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_driving import admitted, do, events, host, kinds, reasons, receive, spis
from group_fixtures import (
    BOTH,
    GROUP_ADDRESS,
    GSK_W,
    IMPLICIT,
    POLICY,
    RECEIVER,
    SENDER,
    SHARED,
    T0,
    TUNNEL,
    TX,
    TX2,
    Server,
    member,
    through_wire,
)

from gkmd.core.effect import InstallPolicy, InstallSa
from gkmd.core.errors import PeerError
from gkmd.core.esp import Mode
from gkmd.core.secret import SecretBytes
from gkmd.ike.group_join import GroupJoin, GroupSettings
from gkmd.ike.group_member import State
from gkmd.ike.rekey_message import seal_rekey
from gkmd.ike.render_gikev2 import render_registration
from wire.gikev2 import GroupSaPolicy, MemberKeyBag
from wire.ikev2 import Delete, TrafficSelector
from wire.message import Payload, first
from wire.registry import PayloadType

# --- exclusion, the end, leaving -------------------------------------------------------------------------


@pytest.mark.parametrize("join", [RECEIVER, SENDER, BOTH])
def test_excluded_by_a_zero_spi(join: GroupJoin) -> None:
    """RFC 9838 2.4.3: re-register after a random time. A sender stops at once, a receiver after the delay."""
    server, on = admitted(join)
    order = replace(server.order(T0, close=True), exclude=True)
    effects = receive(on, seal_rekey(order, server.rng), T0 + 100)
    assert ("RemoveSa" in kinds(effects)) is join.sends
    assert (on.member.state, on.member.registered) == (State.EXCLUDED, False)
    assert on.member.rekey_spis == ()
    assert not any(port for _, port, _ in on.listening)
    due = on.member.registration_due
    assert due is not None
    assert T0 + 100 <= due <= T0 + 105
    do(on, on.member.tick(T0 + 110))
    assert not spis(on)
    assert on.kernel.policies
    assert on.member.registration_due == due
    # And back again.
    server.kek = server.new_kek(T0 + 110)
    do(on, on.member.admit(server.grant(join, T0 + 110), T0 + 110, TX))
    assert on.member.registered
    assert on.member.registration_due is not None
    assert on.member.registration_due > T0 + 500


def test_excluded_members_come_back_one_by_one() -> None:
    server = Server()
    server.new_tek(T0, TX)
    datagram = seal_rekey(replace(server.order(T0, close=True), exclude=True), server.rng)
    server.kek = replace(server.kek, next_message_id=0)
    due = set()
    for n in range(50):
        one = member(seed=f"m{n}")
        one.admit(server.grant(RECEIVER, T0), T0)
        one.receive_rekey_untrusted(datagram, T0)
        due.add(one.registration_due)
    assert len(due) == 50
    assert min(due, key=lambda d: d or 0.0) != max(due, key=lambda d: d or 0.0)


def test_back_before_the_deactivation_delay_is_over() -> None:
    """What is granted again stays as it is: receivers lose nothing by the exclusion."""
    server, on = admitted(RECEIVER)
    receive(on, seal_rekey(replace(server.order(T0, close=True), exclude=True), server.rng), T0 + 100)
    effects = do(on, on.member.admit(server.grant(RECEIVER, T0 + 103), T0 + 103))
    assert "InstallSa" not in kinds(effects)
    do(on, on.member.tick(T0 + 111))
    assert spis(on)
    assert on.member.deadline() == T0 + 600


def test_the_end_of_a_group() -> None:
    """RFC 9838 4.6. Members stop; they do not all come back to ask."""
    server, on = admitted(BOTH)
    datagram = seal_rekey(server.order(T0, close=True), server.rng)
    receive(on, datagram, T0 + 100)
    assert on.member.state is State.CLOSED
    assert not spis(on)  # its own SA; it was the only one
    assert on.kernel.policies
    due = on.member.registration_due
    assert due is not None
    assert T0 + 400 <= due <= T0 + 700
    # Copies of the last message are still known for what they are.
    assert events(receive(on, datagram, T0 + 101)) == ["rekey-duplicate"]
    assert on.member.deadline() is None


def test_the_end_for_good() -> None:
    server, on = admitted(RECEIVER, settings=GroupSettings(closed_retry=None))
    receive(on, seal_rekey(server.order(T0, close=True), server.rng), T0 + 100)
    assert on.member.registration_due is None
    assert spis(on)
    do(on, on.member.tick(T0 + 110))
    assert not spis(on)
    assert on.member.registration_due is None


def test_all_data_sas_deleted() -> None:
    """RFC 9838 2.4.3: an SPI of zero is all of them; what comes in the same message is not meant."""
    server, on = admitted(RECEIVER)
    new = server.new_tek(T0 + 1, TX2)
    payloads = render_registration(server.view(T0 + 1), GSK_W)
    gsa = first(payloads, PayloadType.GSA)
    kd = first(payloads, PayloadType.KD)
    assert gsa is not None
    assert kd is not None
    gone = server.new_tek(T0 + 1, TX2)
    do(on, on.member.admit(server.grant(RECEIVER, T0 + 1), T0 + 1))
    again = next(iter(server.teks))
    wanted = {spi.to_bytes(4, "big") for spi in (new.spi, again)}
    gsa.policies = [p for p in gsa.policies if isinstance(p, GroupSaPolicy) and p.spi in wanted]
    kd.bags = [b for b in kd.bags if not isinstance(b, MemberKeyBag) and b.spi in wanted]
    payloads.append(Payload(PayloadType.DELETE, Delete(3, 4, [bytes(4)])))
    do(on, on.member.inband(payloads, GSK_W, T0 + 1))
    assert gone.spi in spis(on)
    do(on, on.member.tick(T0 + 11))
    assert spis(on) == {new.spi, again}


def test_leaving_leaves_nothing() -> None:
    for join in (RECEIVER, SENDER, BOTH):
        for policy in (POLICY, SHARED):
            server, on = admitted(join, policy)
            receive(on, server.rekey(T0 + 100, kek=True), T0 + 100)
            effects = do(on, on.member.leave(T0 + 101))
            order = kinds(effects)
            # Out of the groups, then SAs, then policies.
            assert order == sorted(order, key=["LeaveMulticast", "RemoveSa", "RemovePolicy"].index)
            assert on.empty
            assert (on.member.deadline(), on.member.registration_due) == (None, None)
            assert on.member.rekey_spis == ()
            assert do(on, on.member.excluded("too late", T0 + 102)) == []
            assert do(on, on.member.leave(T0 + 102)) == []


def test_the_ike_sa_is_gone_and_there_is_no_rekey_sa() -> None:
    """RFC 9838 2.3.3: the member is excluded, and stops to use the group."""
    server = Server()
    server.new_tek(T0, TX)
    grant = replace(server.grant(RECEIVER, T0), rekey=None, authentication=None)
    grant = replace(grant, data=tuple(replace(d, lifetime=None) for d in grant.data))
    on = host(RECEIVER)
    do(on, on.member.admit(grant, T0))
    assert on.member.rekey_spis == ()
    assert on.member.deadline() is None
    assert on.member.registration_due is None
    ((_, installed),) = on.kernel.sas.items()
    assert installed.lifetime > 86400
    effects = do(on, on.member.excluded("the IKE SA is gone", T0 + 50))
    assert kinds(effects) == ["RemoveSa"]
    assert not on.member.registered
    assert on.member.registration_due is not None


# --- registering again -----------------------------------------------------------------------------------


def test_registering_again_keeps_what_is_the_same() -> None:
    server, on = admitted(BOTH)
    before = dict(on.kernel.sas)
    effects = do(on, on.member.admit(server.grant(BOTH, T0 + 5), T0 + 5, TX))
    assert kinds(effects) == []
    assert on.kernel.sas == before


def test_registering_again_replaces_without_a_gap() -> None:
    server, on = admitted(SENDER)
    (old,) = spis(on)
    server.teks.clear()
    new = server.new_tek(T0 + 5, TX)
    effects = do(on, on.member.admit(server.grant(SENDER, T0 + 5), T0 + 5))
    assert kinds(effects) == ["InstallSa", "SwitchOutput", "RemoveSa"]
    assert reasons(effects, "data-sa-removed") == ["replaced"]
    assert spis(on) == {new.spi} != {old}


def test_a_sender_that_registers_again_waits_before_it_switches() -> None:
    """The key server made it a new SA and deletes the old one: it goes on with the old one for the delay."""
    server, on = admitted(SENDER)
    (old,) = spis(on)
    server.order(T0 + 5, (server.new_tek(T0 + 5, TX),), (old,))
    effects = do(on, on.member.admit(server.grant(SENDER, T0 + 5), T0 + 5))
    assert kinds(effects) == ["InstallSa"]
    assert kinds(do(on, on.member.tick(T0 + 9))) == ["SwitchOutput"]
    assert kinds(do(on, on.member.tick(T0 + 15))) == ["RemoveSa"]


def test_a_sender_that_starts_anew_never_takes_up_an_old_sa() -> None:
    """Its sequence numbers would begin anew: receivers would take its packets for replays."""
    server = Server()
    old, new = server.new_tek(T0, TX, lifetime=300), server.new_tek(T0, TX)
    on = host(BOTH)
    do(on, on.member.admit(server.grant(BOTH, T0), T0))
    assert spis(on) == {new.spi}
    assert old.spi not in spis(on)
    assert on.member.deadline() == T0 + 600


def test_a_late_sender_of_a_shared_sa_begins_on_the_older_one() -> None:
    """Not every receiver may have the newer one yet."""
    server = Server(SHARED)
    old = server.new_tek(T0)
    server.rekey(T0 + 100)
    on = host(SENDER)
    do(on, on.member.admit(server.grant(SENDER, T0 + 101), T0 + 101))
    sending = on.sends_on(GROUP_ADDRESS)
    assert sending is not None
    assert sending.spi == old.spi
    assert on.member.deadline() == T0 + 105
    assert kinds(do(on, on.member.tick(T0 + 105))) == ["SwitchOutput"]
    # When the older one is nearly over, the newer one it is at once.
    late = host(SENDER)
    do(late, late.member.admit(server.grant(SENDER, T0 + 107), T0 + 107))
    sending = late.sends_on(GROUP_ADDRESS)
    assert sending is not None
    assert sending.spi != old.spi


def test_another_mode_needs_other_policies() -> None:
    server, on = admitted(BOTH)
    server.policy = TUNNEL
    effects = do(on, on.member.admit(server.grant(BOTH, T0 + 5), T0 + 5))
    assert {p.mode for p in on.kernel.policies.values()} == {Mode.TUNNEL}
    assert {sa.mode for sa in on.kernel.sas.values()} == {Mode.TUNNEL}
    assert kinds(effects)[:2] == ["RemoveSa", "RemovePolicy"]
    server.policy = POLICY
    do(on, on.member.admit(server.grant(BOTH, T0 + 6), T0 + 6))
    assert {p.mode for p in on.kernel.policies.values()} == {Mode.TRANSPORT}
    assert on.sends_on(GROUP_ADDRESS) is not None


def test_the_same_spi_with_another_key() -> None:
    """A key server that lost its memory. The kernel cannot change a key: out and in again."""
    server, on = admitted(RECEIVER)
    (spi,) = spis(on)
    server.teks[spi] = replace(server.teks[spi], key=SecretBytes(bytes(36)))
    server.kek = server.new_kek(T0)
    effects = do(on, on.member.admit(server.grant(RECEIVER, T0 + 5), T0 + 5))
    assert kinds(effects) == ["RemoveSa", "InstallSa"]
    # The Rekey SA likewise.
    server.kek = replace(server.kek, key=SecretBytes(bytes(68)))
    do(on, on.member.admit(server.grant(RECEIVER, T0 + 5), T0 + 5))
    assert on.member.rekey_spis == (server.kek.spi,)
    # In a rekey it is a fault of the message.
    clash = replace(server.teks[spi], key=SecretBytes(b"\x01" * 36))
    effects = receive(on, seal_rekey(server.order(T0 + 6, (clash,)), server.rng), T0 + 6)
    assert events(effects) == ["rekey-refused"]
    same_spi = replace(server.kek, key=SecretBytes(b"\x01" * 68))
    effects = receive(on, seal_rekey(server.order(T0 + 6, (), (), same_spi), server.rng), T0 + 6)
    assert events(effects) == ["rekey-refused"]


def test_a_rekey_that_names_the_current_rekey_sa_again() -> None:
    """RFC 9838 2.4.1: GSA has the current policy. Nothing begins anew by it, message ids least of all."""
    server, on = admitted(RECEIVER)
    prolonged = replace(server.kek, expires=T0 + 50000, next_message_id=0)
    receive(on, seal_rekey(server.order(T0, (server.new_tek(T0, TX2),), (), prolonged), server.rng), T0 + 1)
    status = on.member.status(T0 + 1)["rekey_sas"]
    assert isinstance(status, list)
    assert [(r["next_message_id"], r["seconds_left"]) for r in status] == [(1, 3599)]


def test_an_answer_that_a_rekey_has_overtaken() -> None:
    """RFC 9838 2.3.3: a stale Message ID must be ignored; and with it what was true before it."""
    server, on = admitted(RECEIVER)
    stale = server.grant(RECEIVER, T0 + 5)
    receive(on, server.rekey(T0 + 5), T0 + 5.1)
    held = spis(on)
    effects = do(on, on.member.admit(stale, T0 + 5.2))
    assert (kinds(effects), events(effects)) == ([], ["grant-outdated"])
    assert spis(on) == held
    # The same with a Rekey SA that has been replaced since.
    stale = server.grant(RECEIVER, T0 + 6)
    receive(on, server.rekey(T0 + 6, kek=True), T0 + 6.1)
    assert events(do(on, on.member.admit(stale, T0 + 6.2))) == ["grant-outdated"]
    # What is up to date counts.
    assert events(do(on, on.member.admit(server.grant(RECEIVER, T0 + 7), T0 + 7))) != ["grant-outdated"]


def test_a_registration_ends_all_older_rekey_sas() -> None:
    server, on = admitted(RECEIVER)
    receive(on, server.rekey(T0 + 5, kek=True), T0 + 5)
    assert len(on.member.rekey_spis) == 2
    do(on, on.member.admit(server.grant(RECEIVER, T0 + 6), T0 + 6))
    assert on.member.rekey_spis == (server.kek.spi,)


def test_lifetimes_are_not_prolonged_by_registering_again() -> None:
    server, on = admitted(RECEIVER)
    (spi,) = spis(on)
    server.teks[spi] = replace(server.teks[spi], expires=T0 + 5000)
    server.kek = replace(server.kek, expires=T0 + 50000)
    do(on, on.member.admit(server.grant(RECEIVER, T0 + 5), T0 + 5))
    assert on.member.deadline() == T0 + 600


def test_message_ids_do_not_go_back_by_registering_again() -> None:
    server, on = admitted(RECEIVER)
    before = replace(server.kek)
    datagram = seal_rekey(server.order(T0, (server.new_tek(T0, TX2),)), server.rng)
    receive(on, datagram, T0 + 1)
    do(on, on.member.admit(server.grant(RECEIVER, T0 + 2), T0 + 2))
    again = replace(server.order(T0, (server.new_tek(T0, TX2),)), message_id=before.next_message_id)
    effects = receive(on, seal_rekey(again, server.rng), T0 + 3)
    assert reasons(effects, "rekey-dropped") == ["old-message-id"]


# --- growing old -----------------------------------------------------------------------------------------


def test_an_unreplaced_sa_calls_for_a_registration_before_its_end() -> None:
    """RFC 9838 2.4.1.4, with jitter, and not before a healthy key server would have replaced it."""
    due = []
    for n in range(30):
        server = Server()
        server.new_tek(T0, TX)
        one = member(seed=f"m{n}")
        one.admit(server.grant(RECEIVER, T0), T0)
        due.append(one.registration_due or 0.0)
    assert all(T0 + 590 <= at <= T0 + 595 for at in due)  # 600 less the deactivation delay of 10, first half
    assert len(set(due)) == 30


def test_the_rekey_sa_calls_too() -> None:
    server, on = admitted(RECEIVER, replace(POLICY, kek_lifetime=300.0))
    assert on.member.registration_due is not None
    assert T0 + 290 <= on.member.registration_due <= T0 + 295
    receive(on, server.rekey(T0 + 200, kek=True), T0 + 200)
    assert T0 + 490 <= on.member.registration_due <= T0 + 495


def test_a_late_joiner_does_not_call_at_once() -> None:
    """With less left than the deactivation delay there is a pause: no registration causes the next."""
    server = Server()
    server.new_tek(T0, TX)
    one = member()
    one.admit(server.grant(RECEIVER, T0 + 596), T0 + 596)
    assert one.registration_due is not None
    assert one.registration_due >= T0 + 598


def test_an_end_without_replacement() -> None:
    _, on = admitted(RECEIVER)
    effects = do(on, on.member.tick(T0 + 600))
    assert reasons(effects, "data-sa-removed") == ["expired"]
    assert "sa-ended-unreplaced" in events(effects)
    assert on.member.registration_due == T0 + 600
    assert on.kernel.policies
    do(on, on.member.tick(T0 + 3600))
    assert on.member.rekey_spis == ()
    # An expired Rekey SA opens nothing, even if the timer comes late.
    server2, on2 = admitted(RECEIVER)
    datagram = seal_rekey(server2.order(T0 + 3601, (server2.new_tek(T0 + 3601, TX),)), server2.rng)
    effects = receive(on2, datagram, T0 + 3601)
    assert reasons(effects, "rekey-dropped") == ["unknown-spi"]


# --- a kernel that refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("join", [RECEIVER, SENDER, BOTH])
def test_what_the_kernel_refused_is_asked_for_again(join: GroupJoin) -> None:
    server, on = Server(), host(join)
    server.new_tek(T0, TX)
    first_effects = on.member.admit(server.grant(join, T0), T0)
    for effect in first_effects:
        if isinstance(effect, InstallSa | InstallPolicy):
            on.member.not_installed(effect)
        else:
            do(on, [effect])
    assert on.member.deadline() == T0 + 3600  # the Rekey SA's end
    effects = do(on, on.member.admit(server.grant(join, T0 + 1), T0 + 1))
    again = [k for k in kinds(first_effects) if not k.startswith("Join")]
    assert kinds(effects) == again
    # A refused policy brings all that stands under it down; a refused SA only itself.
    (sa, *_) = [e for e in effects if isinstance(e, InstallSa)]
    on.member.not_installed(sa)
    on.kernel.sas.clear()
    on.plane._sas.clear()
    effects = do(on, on.member.admit(server.grant(join, T0 + 2), T0 + 2))
    assert kinds(effects) == (["InstallSa", "SwitchOutput"] if join.sends else ["InstallSa"])
    assert not join.sends or on.sends_on(GROUP_ADDRESS) is not None
    on.member.not_installed(sa)  # what has been replaced since is not touched
    do(on, on.member.leave(T0 + 3))
    assert not on.kernel.sas
    assert not on.kernel.policies


# --- inband ----------------------------------------------------------------------------------------------


def test_an_inband_rekey_and_which_group_it_is_for() -> None:
    server, on = admitted(RECEIVER)
    new = server.new_tek(T0 + 1, TX2)
    payloads = render_registration(server.view(T0 + 1), GSK_W)
    gsa, kd = first(payloads, PayloadType.GSA), first(payloads, PayloadType.KD)
    assert gsa is not None
    assert kd is not None
    assert on.member.concerned(payloads)
    with pytest.raises(PeerError):
        on.member.inband(payloads, GSK_W, T0 + 1)  # with GCAUTH and a member key bag
    gsa.policies = [p for p in gsa.policies if not isinstance(p, GroupSaPolicy) or p.protocol == 3]
    kd.bags = [b for b in kd.bags if not isinstance(b, MemberKeyBag) and b.protocol == 3]
    effects = do(on, on.member.inband(payloads, GSK_W, T0 + 1))
    assert kinds(effects) == ["InstallSa"]
    assert new.spi in spis(on)
    other = Server(replace(POLICY, address=ip_address("239.7.7.7"), rekey_address=ip_address("239.7.7.8")))
    other.new_tek(T0, TX)
    assert not on.member.concerned(render_registration(other.view(T0), GSK_W))
    payloads = through_wire(render_registration(server.view(T0 + 2), GSK_W))
    gsa = first(payloads, PayloadType.GSA)
    assert gsa is not None
    for policy in gsa.policies:
        if isinstance(policy, GroupSaPolicy):
            policy.destination = TrafficSelector(
                7, 17, 1, 2, bytes(4), bytes(4)
            )  # nothing that we could match
    assert not on.member.concerned(payloads)
    for protocol, spi, ours in (
        (3, new.spi.to_bytes(4, "big"), True),
        (3, b"\0\0\x99\x99", False),
        (6, server.kek.spi, True),
        (6, bytes(range(16)), False),
    ):
        delete = Payload(PayloadType.DELETE, Delete(protocol, len(spi), [spi]))
        assert on.member.concerned([delete]) is ours


# --- telling ---------------------------------------------------------------------------------------------


def test_status_says_what_is_held_and_no_key() -> None:
    server, on = admitted(BOTH)
    receive(on, server.rekey(T0 + 100, kek=True), T0 + 100)
    status = on.member.status(T0 + 101)
    assert status["state"] == "member"
    data = status["data_sas"]
    assert isinstance(data, list)
    assert [(d["sending"], d["seconds_left"]) for d in data] == [(True, 9), (False, 599)]
    rekeys = status["rekey_sas"]
    assert isinstance(rekeys, list)
    assert [r["next_message_id"] for r in rekeys] == [1, 0]
    text = repr(status) + "".join(repr(t) for t in on.told) + repr(on.member.__dict__)
    secrets = [t.key for t in server.teks.values()] + [server.kek.key]
    for secret in secrets:
        octets = secret.reveal()
        assert octets.hex()[:16] not in text
        assert repr(octets[:8])[2:-1] not in text


def test_implicit_groups_work_the_same_way() -> None:
    server, on = admitted(RECEIVER, IMPLICIT)
    assert kinds(receive(on, server.rekey(T0 + 1, kek=True), T0 + 1)) == ["InstallSa"]


def test_the_kernel_never_gets_a_lifetime_that_it_cannot_count() -> None:
    server = Server()
    server.new_tek(T0, TX, lifetime=2.0**32 - 1)
    on = host(RECEIVER)
    do(on, on.member.admit(server.grant(RECEIVER, T0), T0))
    ((_, installed),) = on.kernel.sas.items()
    assert installed.lifetime == 2**32 - 1
