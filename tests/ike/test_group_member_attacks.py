"""What RFC 9838 section 8 promises, tried out on a member: forged, replayed, reordered and broken rekeys.

Neither the kernel nor the member's state may change by anything that is not authentic, new and acceptable.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from group_by_hand import (
    bag_by_hand,
    policy_by_hand,
    seal_by_hand,
    selector,
    tlv,
    transforms_by_hand,
    tv,
    wrapped_by_hand,
)
from group_driving import admitted, do, events, host, kinds, reasons, receive, spis
from group_fixtures import (
    BOTH,
    CBC_REKEY,
    GSK_W,
    IMPLICIT,
    POLICY,
    RECEIVER,
    REKEY_ADDRESS,
    SENDER,
    T0,
    TX,
    TX2,
    Server,
)
from group_world import Host
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.algorithms import KW_5649_256
from gkmd.core.change import WrapKey
from gkmd.core.errors import PeerError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keymat import split_rekey
from gkmd.crypto.sealing import Sealer
from gkmd.group.model import GroupPolicy
from gkmd.ike.grant import Grant
from gkmd.ike.group_member import State
from gkmd.ike.read_gikev2 import read_registration
from gkmd.ike.rekey_message import seal_rekey
from gkmd.ike.render_gikev2 import render_registration
from wire.errors import WireError
from wire.message import build_chain, parse_inner
from wire.registry import ExchangeType


def snapshot(on: Host, now: float) -> tuple[object, ...]:
    """All that a rekey could change."""
    m = on.member
    return (
        m.status(now),
        m.deadline(),
        m.registration_due,
        m.rekey_spis,
        m.state,
        repr(m._authentication),
        m._key_path,
        m._delays,
        dict(on.kernel.sas),
        dict(on.kernel.policies),
        set(on.listening),
    )


# --- not authentic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [POLICY, CBC_REKEY, IMPLICIT], ids=["gcm", "cbc", "implicit"])
def test_every_flipped_bit_and_every_truncation(policy: GroupPolicy) -> None:
    server, on = admitted(BOTH, policy)
    receive(on, server.rekey(T0 + 1, kek=True), T0 + 1)
    datagram = server.rekey(T0 + 2, kek=True)
    before = snapshot(on, T0 + 2)
    mutations = [datagram[:n] for n in range(len(datagram))] + [datagram + b"\0"]
    for n in range(len(datagram)):
        for bit in range(8):
            mutated = bytearray(datagram)
            mutated[n] ^= 1 << bit
            mutations.append(bytes(mutated))
    for mutated_datagram in mutations:
        assert events(receive(on, mutated_datagram, T0 + 2)) == ["rekey-dropped"]
    assert snapshot(on, T0 + 2) == before
    assert "InstallSa" in kinds(receive(on, datagram, T0 + 2))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), head=st.booleans())
def test_any_octets(data: bytes, head: bool) -> None:
    server, on = admitted(RECEIVER)
    if head:
        data = (
            server.kek.spi + bytes((46, 0x20, 41, 8)) + bytes(4) + (28 + len(data)).to_bytes(4, "big") + data
        )
    before = snapshot(on, T0 + 1)
    assert events(receive(on, data, T0 + 1)) == ["rekey-dropped"]
    assert snapshot(on, T0 + 1) == before


def test_a_member_that_forges_what_only_the_key_server_may_say() -> None:
    """It knows the Rekey SA as all members do, but not the signature key (RFC 9838 8.2.1)."""
    server, on = admitted(RECEIVER)
    evil = SecretBytes(b"\x66" * 32)
    tek = server.new_tek(T0, TX2)
    before = snapshot(on, T0 + 1)
    for order in (
        replace(server.order(T0, close=True), exclude=True),
        server.order(T0, close=True),
        server.order(T0, (tek,)),
        server.order(T0, (), (next(iter(server.teks)),)),
    ):
        forged = replace(order, under=replace(order.under, signing_key=evil))
        assert reasons(receive(on, seal_rekey(forged, server.rng), T0 + 1), "rekey-dropped") == [
            "not-authentic"
        ]
        unsigned = replace(order, policy=IMPLICIT)
        assert reasons(receive(on, seal_rekey(unsigned, server.rng), T0 + 1), "rekey-dropped") == [
            "not-authentic"
        ]
    assert snapshot(on, T0 + 1) == before


def test_a_signature_where_none_is_expected() -> None:
    server, on = admitted(RECEIVER, IMPLICIT)
    order = server.order(T0, close=True)
    signed = replace(order, policy=POLICY, under=replace(order.under, signing_key=SecretBytes(bytes(32))))
    assert reasons(receive(on, seal_rekey(signed, server.rng), T0 + 1), "rekey-dropped") == ["not-authentic"]
    assert on.member.registered


def test_a_signature_of_another_message() -> None:
    """Signed is what the header says, too: a signature cannot be moved to another Message ID."""
    server, on = admitted(RECEIVER)
    keymat = server.kek.key
    datagram = seal_rekey(server.order(T0, close=True), server.rng)
    gsk_e, _, _ = split_rekey(keymat, POLICY.rekey_cipher, None, POLICY.key_wrap)
    sealer = Sealer(POLICY.rekey_cipher, None, gsk_e, None)
    inner = sealer.open(datagram[:32], datagram[32:])
    head = datagram[:20] + (9).to_bytes(4, "big") + datagram[24:32]
    moved = head + sealer.seal(head, inner, (9).to_bytes(8, "big"))
    assert reasons(receive(on, moved, T0 + 1), "rekey-dropped") == ["not-authentic"]
    assert events(receive(on, datagram, T0 + 1))[0] == "rekey-received"


# --- replays and order -----------------------------------------------------------------------------------


def test_copies_replays_and_stragglers() -> None:
    """RFC 9838 2.4.1.4, 8.2.4: a Message ID has to be greater than the last; copies are counted as such."""
    server, on = admitted(RECEIVER)
    datagrams = [seal_rekey(server.order(T0, (server.new_tek(T0, TX2),)), server.rng) for _ in range(4)]
    assert "InstallSa" in kinds(receive(on, datagrams[0], T0 + 1))
    assert "InstallSa" in kinds(receive(on, datagrams[3], T0 + 1))  # a gap is no fault
    before = snapshot(on, T0 + 1)
    assert events(receive(on, datagrams[0], T0 + 1)) == ["rekey-duplicate"]
    for late in datagrams[1:3]:
        assert reasons(receive(on, late, T0 + 1), "rekey-dropped") == ["old-message-id"]
    assert events(receive(on, datagrams[3], T0 + 1)) == ["rekey-duplicate"]
    assert snapshot(on, T0 + 1) == before


def test_replays_that_are_no_longer_remembered() -> None:
    server, on = admitted(RECEIVER)
    datagrams = [seal_rekey(server.order(T0, (server.new_tek(T0, TX2),)), server.rng) for _ in range(40)]
    for datagram in datagrams:
        receive(on, datagram, T0 + 1)
    before = snapshot(on, T0 + 1)
    told = [events(receive(on, datagram, T0 + 1))[0] for datagram in datagrams]
    assert set(told) == {"rekey-dropped", "rekey-duplicate"}
    assert snapshot(on, T0 + 1) == before


def test_what_was_said_before_a_member_joined() -> None:
    """GSA_INITIAL_MESSAGE_ID: rekeys before it are not for this member."""
    server = Server()
    server.new_tek(T0, TX)
    earlier = seal_rekey(server.order(T0, (server.new_tek(T0, TX2),)), server.rng)
    on = host(RECEIVER)
    do(on, on.member.admit(server.grant(RECEIVER, T0), T0))
    assert reasons(receive(on, earlier, T0 + 1), "rekey-dropped") == ["old-message-id"]
    assert "InstallSa" in kinds(receive(on, server.rekey(T0 + 2), T0 + 2))


def test_the_old_rekey_sa_after_its_time() -> None:
    server, on = admitted(RECEIVER)
    old = server.kek
    receive(on, server.rekey(T0 + 1, kek=True), T0 + 1)
    order = server.order(T0 + 5, (server.new_tek(T0 + 5, TX2),))
    under_old = replace(order, under=old, message_id=1)
    assert "InstallSa" in kinds(receive(on, seal_rekey(under_old, server.rng), T0 + 5))
    again = replace(server.order(T0 + 12, (server.new_tek(T0, TX2),)), under=old, message_id=2)
    assert reasons(receive(on, seal_rekey(again, server.rng), T0 + 12), "rekey-dropped") == ["unknown-spi"]


# --- authentic and not acceptable ------------------------------------------------------------------------


def rekey_by_hand(server: Server, mid: int, *bags: bytes, sn: int = 0, spi: int = 0xABCD) -> bytes:
    """A good rekey for a new TEK, with further key bags and another sequence number transform."""
    assert server.signing_key is not None
    keymat = server.kek.key.reveal()
    address = POLICY.address.packed
    policy = policy_by_hand(
        3,
        spi.to_bytes(4, "big"),
        selector(17, 0, 65535, TX2.packed, TX2.packed),
        selector(17, 5000, 5000, address, address),
        transforms_by_hand((1, 20, tv(14, 256)), (5, sn, b"")) + tlv(1, (600).to_bytes(4, "big")),
    )
    key = bag_by_hand(3, spi.to_bytes(4, "big"), tlv(1, wrapped_by_hand(keymat[36:], bytes(36))))
    notify = bytes((0, 0)) + (16391).to_bytes(2, "big")
    payloads = [(51, policy), (52, key + b"".join(bags)), (41, notify)]
    return seal_by_hand(server.kek.spi, mid, keymat, payloads, server.signing_key.reveal())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"sn": 1}, "extended sequence"),
        ({"bags": (b"\0\0\0\x0c" + tlv(3, bytes(4)),)}, "Sender-IDs in a rekey"),
        ({"spi": 99}, "reserved"),
    ],
    ids=["esn", "sender-id", "spi"],
)
def test_one_bad_part_refuses_the_whole_message(bad: dict[str, object], reason: str) -> None:
    """Its Message ID is not consumed, a copy is a duplicate, and the member asks for the policy once more."""
    server, on = admitted(RECEIVER)
    bags = bad.pop("bags", ())
    datagram = rekey_by_hand(server, 0, *bags, **bad)  # type: ignore[arg-type, misc]
    due_before = on.member.registration_due
    before = snapshot(on, T0 + 1)
    effects = receive(on, datagram, T0 + 1)
    assert events(effects) == ["rekey-refused"]
    assert reason in str(reasons(effects, "rekey-refused")[0])
    due = on.member.registration_due
    assert due is not None
    assert due_before is not None
    assert T0 + 1 <= due <= T0 + 6 < due_before
    assert events(receive(on, datagram, T0 + 1)) == ["rekey-duplicate"]
    after = snapshot(on, T0 + 1)
    assert after[3:] == before[3:]
    assert on.member.deadline() == before[1]
    assert "InstallSa" in kinds(receive(on, rekey_by_hand(server, 0), T0 + 1))


def test_a_sender_without_sender_id() -> None:
    """RFC 9838 2.4.1.4: it must not install the SA and must register again."""
    server = Server()
    on = host(SENDER)
    grant = server.grant(SENDER, T0, ())
    do(on, on.member.admit(grant, T0))
    order = server.order(T0, (server.new_tek(T0, TX),))
    assert events(receive(on, seal_rekey(order, server.rng), T0 + 1)) == ["rekey-refused"]
    assert not on.kernel.sas
    assert on.member.registration_due is not None
    assert on.member.registration_due <= T0 + 6


def inner_of(server: Server, datagram: bytes) -> tuple[int, bytes]:
    gsk_e, _, _ = split_rekey(server.kek.key, POLICY.rekey_cipher, None, POLICY.key_wrap)
    return datagram[28], Sealer(POLICY.rekey_cipher, None, gsk_e, None).open(datagram[:32], datagram[32:])


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_key_server_that_speaks_nonsense(data: st.DataObject) -> None:
    """Authentic octets of any shape; implicit, so that they need not be signed anew."""
    server, on = admitted(BOTH, IMPLICIT)
    receive(on, server.rekey(T0 + 1, kek=True), T0 + 1)
    kek = server.kek
    new = server.new_tek(T0 + 2, TX2)
    order = replace(server.order(T0 + 2, (new,), tuple(server.teks)[:1]), new_rekey_sa=server.new_kek(T0))
    first, inner = inner_of(server, seal_rekey(order, server.rng))
    mutated = bytearray(inner)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        how = data.draw(st.sampled_from(["flip", "set", "cut", "repeat"]))
        if how == "flip":
            mutated[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "set":
            mutated[at] = data.draw(st.sampled_from([0, 1, 2, 3, 6, 0x7F, 0x80, 0xFF]))
        elif how == "cut" and len(mutated) > 40:
            del mutated[at : at + data.draw(st.integers(1, 40))]
        else:
            mutated[at:at] = mutated[at : at + data.draw(st.integers(1, 40))]
    gsk_e, _, _ = split_rekey(kek.key, POLICY.rekey_cipher, None, POLICY.key_wrap)
    sealer = Sealer(POLICY.rekey_cipher, None, gsk_e, None)
    octets = 4 + sealer.sealed_octets(len(mutated))
    head = kek.spi + bytes((46, 0x20, 41, 8)) + bytes(4) + (28 + octets).to_bytes(4, "big")
    head += bytes((first, 0)) + octets.to_bytes(2, "big")
    before = snapshot(on, T0 + 2)
    effects = receive(on, head + sealer.seal(head, bytes(mutated), bytes(8)), T0 + 2)
    if events(effects) == ["rekey-dropped"]:
        assert snapshot(on, T0 + 2) == before
    elif events(effects) == ["rekey-refused"]:
        assert snapshot(on, T0 + 2)[3:] == before[3:]
    else:
        assert events(effects)[0] == "rekey-received"
    do(on, on.member.leave(T0 + 3))
    assert on.empty


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_registration_of_nonsense(data: st.DataObject) -> None:
    """Only WireError or PeerError comes out of it, or a grant that the kernel takes."""
    server = Server()
    server.new_tek(T0, TX)
    server.new_tek(T0, TX2)
    kind, octets = build_chain(render_registration(server.view(T0, (7,)), GSK_W))
    mutated = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    grant: Grant | None = None
    try:
        payloads = parse_inner(ExchangeType.GSA_REGISTRATION, True, kind, bytes(mutated))
        grant = read_registration(payloads, GSK_W, KW_5649_256, BOTH)
    except (WireError, PeerError):
        return
    on = host(BOTH)
    do(on, on.member.admit(grant, T0))
    do(on, on.member.leave(T0 + 1))
    assert on.empty


# --- key trees -------------------------------------------------------------------------------------------


def tree_key(number: int) -> SecretBytes:
    return SecretBytes(hashlib.sha256(b"tree %d" % number).digest())


def with_path(grant: Grant, *numbers: int) -> Grant:
    return replace(grant, key_path=tuple(WrapKey(n, tree_key(n)) for n in numbers))


def kek_by_hand(server: Server, mid: int, sa_keys: dict[int, bytes], wraps: list[tuple[int, int]]) -> bytes:
    """Figure 27 as a message: the new Rekey SA's key under several keys, and wrapped keys in a member bag."""
    assert server.signing_key is not None
    keymat = server.kek.key.reveal()
    new_spi = bytes(range(100, 116))
    address = REKEY_ADDRESS.packed
    policy = policy_by_hand(
        6,
        new_spi,
        selector(17, 0, 65535, bytes(4), b"\xff" * 4),
        selector(17, 848, 848, address, address),
        transforms_by_hand((1, 20, tv(14, 256)), (13, 3, b"")) + tlv(1, (3600).to_bytes(4, "big")),
    )
    attributes = b"".join(
        tlv(1, wrapped_by_hand(tree_key(kwk).reveal(), key, 0, kwk)) for kwk, key in sa_keys.items()
    )
    wrapped = b"".join(
        tlv(1, wrapped_by_hand(tree_key(kwk).reveal(), tree_key(key).reveal(), key, kwk))
        for kwk, key in wraps
    )
    member_bag = b"\0\0" + (4 + len(wrapped)).to_bytes(2, "big") + wrapped
    kd = bag_by_hand(6, new_spi, attributes) + member_bag
    return seal_by_hand(server.kek.spi, mid, keymat, [(51, policy), (52, kd)], server.signing_key.reveal())


def test_an_evicted_member_cannot_follow_and_the_others_can() -> None:
    """RFC 9838 A.4, 3.2.1: message 1 brings the new Rekey SA by the key tree, message 2 the TEKs."""
    server = Server()
    server.new_tek(T0, TX)
    paths = {"A": (1, 3, 7), "E": (2, 5, 11), "F": (2, 5, 12), "G": (2, 6, 13)}
    hosts = {}
    for name, path in paths.items():
        hosts[name] = host(RECEIVER)
        do(hosts[name], hosts[name].member.admit(with_path(server.grant(RECEIVER, T0), *path), T0))
    new_key = bytes(range(68))
    one = kek_by_hand(server, 0, {1: new_key, 15: new_key}, [(6, 15), (16, 15), (11, 16)])
    for name, on in hosts.items():
        effects = receive(on, one, T0 + 1)
        assert ("rekey-sa-installed" in events(effects)) is (name != "F")
    evicted = hosts["F"].member
    assert (evicted.state, evicted.rekey_spis) == (State.EXCLUDED, ())
    assert evicted.registration_due is not None
    assert hosts["F"].kernel.sas
    assert {n: [k.key_id for k in h.member._key_path] for n, h in hosts.items() if n != "F"} == {
        "A": [1, 3, 7],
        "E": [15, 16, 11],
        "G": [15, 6, 13],
    }
    new_spi = bytes(range(100, 116))
    server.kek = replace(server.kek, spi=new_spi, key=SecretBytes(new_key), next_message_id=0)
    tek = server.new_tek(T0 + 2, TX)
    two = seal_rekey(server.order(T0 + 2, (tek,), (next(iter(server.teks)),)), server.rng)
    for name, on in hosts.items():
        effects = receive(on, two, T0 + 2)
        assert (tek.spi in spis(on)) is (name != "F")
        if name == "F":
            assert reasons(effects, "rekey-dropped") == ["unknown-spi"]
            # The old TEK goes with the deactivation delay, and with it the last that it could read.
            do(on, on.member.tick(T0 + 11))
            assert not on.kernel.sas


def test_key_trees_that_make_no_sense() -> None:
    """Loops, the same id twice, a thousand keys: refused or followed, never a crash."""
    key = bytes(range(68))
    chain = [(n + 1, n) for n in range(100, 400)]
    for sa_keys, wraps, state in (
        ({5: key}, [(5, 5), (6, 5), (5, 6)], State.EXCLUDED),
        ({5: key}, chain, State.EXCLUDED),
        ({100: key}, [*chain, (1, 400), (400, 1)], State.MEMBER),
        ({1: bytes(67)}, [], State.MEMBER),  # refused: a key of the wrong length
        ({1: key}, [(1, 0)], State.MEMBER),  # refused: key id zero
    ):
        server, on = Server(), host(RECEIVER)
        server.new_tek(T0, TX)
        do(on, on.member.admit(with_path(server.grant(RECEIVER, T0), 1, 3, 7), T0))
        receive(on, kek_by_hand(server, 0, sa_keys, wraps), T0 + 1)
        assert on.member.state is state
