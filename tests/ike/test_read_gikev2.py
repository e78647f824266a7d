"""What a member refuses: each case is a good message with one thing wrong (RFC 9838 4.4, 4.5, 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import TypeAlias

import pytest
from group_fixtures import (
    BOTH,
    GROUP_ADDRESS,
    GSK_W,
    IMPLICIT,
    IPV6,
    POLICY,
    RECEIVER,
    SENDER,
    SHARED,
    T0,
    TX,
    TX2,
    Server,
    through_wire,
)

from gkmd.core.algorithms import (
    AES_GCM_16_128,
    KW_5649_128,
    KW_5649_256,
    RekeyAuth,
)
from gkmd.core.change import WrapKey
from gkmd.core.errors import PeerError
from gkmd.core.esp import Mode
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import ED25519_IDENTIFIER, SigningKey
from gkmd.crypto.keymat import split_rekey
from gkmd.crypto.keywrap import wrap
from gkmd.group.model import GroupPolicy
from gkmd.ike.grant import Delays, Deletion, RekeyAuthentication, Update
from gkmd.ike.group_join import GroupJoin, GroupOffer, allowed, source_specific
from gkmd.ike.read_gikev2 import Known, read_deletion, read_inband, read_registration, read_rekey
from gkmd.ike.render_gikev2 import render_rekey
from gkmd.ike.selectors import build_selector
from wire.attributes import Attribute
from wire.gikev2 import (
    GroupKeyBag,
    GroupSaPolicy,
    GroupWidePolicy,
    Gsa,
    Kd,
    MemberKeyBag,
    build_wrapped_key,
)
from wire.ikev2 import Delete, Transform
from wire.message import Payload, first
from wire.registry import ExchangeType, NotifyType, PayloadType

Payloads: TypeAlias = list[Payload]
Change: TypeAlias = Callable[[Payloads], object]


def gsa(payloads: Payloads) -> Gsa:
    found = first(payloads, PayloadType.GSA)
    assert found is not None
    return found


def kd(payloads: Payloads) -> Kd:
    found = first(payloads, PayloadType.KD)
    assert found is not None
    return found


def sa(payloads: Payloads, n: int) -> GroupSaPolicy:
    """0: the Rekey SA; 1: the first data SA."""
    return [p for p in gsa(payloads).policies if isinstance(p, GroupSaPolicy)][n]


def wide(payloads: Payloads) -> GroupWidePolicy:
    return next(p for p in gsa(payloads).policies if isinstance(p, GroupWidePolicy))


def bag(payloads: Payloads, n: int) -> GroupKeyBag:
    return [b for b in kd(payloads).bags if isinstance(b, GroupKeyBag)][n]


def member_bag(payloads: Payloads) -> MemberKeyBag:
    return next(b for b in kd(payloads).bags if isinstance(b, MemberKeyBag))


def set_transform(n: int, kind: int, number: int | None, *attributes: Attribute) -> Change:
    """Replace a transform, add it, or take it away (None)."""

    def change(payloads: Payloads) -> None:
        policy = sa(payloads, n)
        policy.transforms = [t for t in policy.transforms if t.type != kind]
        if number is not None:
            policy.transforms.append(Transform(kind, number, list(attributes)))

    return change


def twice(n: int, kind: int) -> Change:
    return lambda p: sa(p, n).transforms.append(next(t for t in sa(p, n).transforms if t.type == kind))


def set_attribute(where: Callable[[Payloads], object], kind: int, value: int | bytes | None) -> Change:
    def change(payloads: Payloads) -> None:
        holder = where(payloads)
        kept = [a for a in holder.attributes if a.type != kind]  # type: ignore[attr-defined]
        holder.attributes = kept + ([] if value is None else [Attribute(kind, value)])  # type: ignore[attr-defined]

    return change


def add_attribute(where: Callable[[Payloads], object], kind: int, value: int | bytes) -> Change:
    return lambda p: where(p).attributes.append(Attribute(kind, value))  # type: ignore[attr-defined]


def select(n: int, end: str, *selection: object) -> Change:
    return lambda p: setattr(sa(p, n), end, build_selector(*selection))  # type: ignore[arg-type]


def set_key(n: int, key: bytes, key_id: int = 0, kwk_id: int = 0) -> Change:
    value = build_wrapped_key(key_id, kwk_id, wrap(GSK_W, SecretBytes(key)))
    return lambda p: setattr(bag(p, n), "attributes", [Attribute(1, value)])


def keep(kind: PayloadType) -> Change:
    return lambda p: p.__setitem__(slice(None), [x for x in p if x.type != kind])


def together(*changes: Change) -> Change:
    return lambda p: [change(p) for change in changes]


def add_ah(payloads: Payloads) -> None:
    """The same traffic as the ESP policy, as 4.4.2 forbids."""
    esp = sa(payloads, 1)
    gsa(payloads).policies.append(
        GroupSaPolicy(
            2,
            b"\0\0\x50\0",
            esp.source,
            esp.destination,
            [Transform(3, 12, []), Transform(5, 0, [])],
            esp.attributes,
        )
    )
    kd(payloads).bags.append(GroupKeyBag(2, b"\0\0\x50\0", bag(payloads, 1).attributes))


def add_second_kek(payloads: Payloads) -> None:
    kek = sa(payloads, 0)
    gsa(payloads).policies.append(replace(kek, spi=bytes(range(16))))
    kd(payloads).bags.append(GroupKeyBag(6, bytes(range(16)), bag(payloads, 0).attributes))


def only_wide(payloads: Payloads) -> None:
    gsa(payloads).policies = [wide(payloads)]
    kd(payloads).bags = []


AES256 = Attribute(14, 256)
ED25519 = Attribute(18, ED25519_IDENTIFIER)
ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
UNICAST = TX

POLICY_FAULTS: dict[str, tuple[Change, str]] = {
    # RFC 9838 4.4.2.1: exactly one of each mandatory type, nothing else.
    "esn": (set_transform(1, 5, 1), "extended sequence"),
    "no-sn": (set_transform(1, 5, None), "no sequence number"),
    "unknown-sn": (set_transform(1, 5, 3), "sequence number transform 3"),
    "sn-attribute": (set_transform(1, 5, 0, AES256), "no sequence number"),
    "sn-twice": (twice(1, 5), "twice"),
    "encr-twice": (twice(1, 1), "twice"),
    "implicit-iv-esp": (set_transform(1, 1, 30, AES256), "implicit IV"),
    "implicit-iv-rekey": (set_transform(0, 1, 30, AES256), "implicit IV"),
    "no-encr": (set_transform(1, 1, None), "no cipher"),
    "unknown-encr": (set_transform(1, 1, 999), "cipher 999"),
    "null-encr": (set_transform(1, 1, 11), "cipher 11"),
    "no-key-length": (set_transform(1, 1, 20), "None bits"),
    "odd-key-length": (set_transform(1, 1, 20, Attribute(14, 192)), "192 bits"),
    "encr-attribute": (set_transform(1, 1, 20, AES256, Attribute(99, 1)), "unknown attribute 99"),
    "aead-with-integ": (set_transform(1, 3, 12), "with an integrity"),
    "cbc-without-integ": (set_transform(1, 1, 12, AES256), "without an accepted integrity"),
    "cbc-integ-none": (
        together(set_transform(1, 1, 12, AES256), set_transform(1, 3, 0)),
        "without an accepted integrity",
    ),
    "integ-attribute": (
        together(set_transform(1, 1, 12, AES256), set_transform(1, 3, 12, AES256)),
        "integrity transform has an attribute",
    ),
    "prf-in-esp": (set_transform(1, 2, 5), "type 2 does not belong"),
    "prf-in-rekey": (set_transform(0, 2, 5), "type 2 does not belong"),
    "unknown-type": (set_transform(1, 77, 1), "type 77 does not belong"),
    "gcauth-in-esp": (set_transform(1, 14, 1), "type 14 does not belong"),
    "no-kwa": (set_transform(0, 13, None), "no accepted key wrap"),
    "kw-arx": (set_transform(0, 13, 4), "no accepted key wrap"),
    "kwa-attribute": (set_transform(0, 13, 3, AES256), "no accepted key wrap"),
    # Flows: RFC 9838 4.4.2, RFC 5374 4.1.3.4.
    "ah-beside-esp": (add_ah, "AH is not supported"),
    "unicast": (select(1, "destination", 4, UNICAST, 17, 5000), "not one multicast"),
    "any-destination": (select(1, "destination", 4, None, 17, 5000), "not one multicast"),
    "source-port": (select(1, "source", 4, TX, 17, 5000), "narrower"),
    "source-protocol": (select(1, "source", 4, TX, 6, 0), "narrower"),
    "multicast-source": (select(1, "source", 4, GROUP_ADDRESS, 17, 0), "no source address"),
    "two-versions": (select(1, "source", 6, None, 17, 0), "different IP versions"),
    "rekey-unicast": (select(0, "destination", 4, UNICAST, 17, 848), "destination of rekeys is not one mul"),
    "rekey-any-port": (select(0, "destination", 4, GROUP_ADDRESS, 17, 0), "not one UDP port"),
    "rekey-tcp": (select(0, "destination", 4, GROUP_ADDRESS, 6, 848), "not one UDP port"),
    # SPIs, lifetimes, sets.
    "reserved-spi": (
        together(
            lambda p: setattr(sa(p, 1), "spi", b"\0\0\0\xff"),
            lambda p: setattr(bag(p, 1), "spi", b"\0\0\0\xff"),
        ),
        "reserved",
    ),
    "zero-rekey-spi": (
        together(
            lambda p: setattr(sa(p, 0), "spi", bytes(16)), lambda p: setattr(bag(p, 0), "spi", bytes(16))
        ),
        "SPI of a Rekey SA is zero",
    ),
    "no-lifetime": (set_attribute(lambda p: sa(p, 1), 1, None), "data SA has no lifetime"),
    "zero-lifetime": (set_attribute(lambda p: sa(p, 1), 1, bytes(4)), "data SA has no lifetime"),
    "no-rekey-lifetime": (set_attribute(lambda p: sa(p, 0), 1, None), "Rekey SA has no lifetime"),
    "zero-rekey-lifetime": (set_attribute(lambda p: sa(p, 0), 1, bytes(4)), "Rekey SA has no lifetime"),
    "two-keks": (add_second_kek, "does not allow"),
    "only-group-wide": (only_wide, "does not allow"),
    "two-group-wide": (lambda p: gsa(p).policies.append(wide(p)), "does not allow"),
    "no-bag": (lambda p: kd(p).bags.remove(bag(p, 1)), "do not belong together"),
    "stray-bag": (lambda p: gsa(p).policies.remove(sa(p, 1)), "do not belong together"),
    "two-bags": (lambda p: kd(p).bags.append(bag(p, 1)), "two key bags"),
    "one-spi-twice": (lambda p: gsa(p).policies.append(sa(p, 1)), "do not belong together"),
    # Keys: RFC 9838 4.5.2.1, 3.3.
    "short-key": (set_key(1, bytes(35)), "key of 35 octets"),
    "long-key": (set_key(1, bytes(40)), "key of 40 octets"),
    "short-rekey-key": (set_key(0, bytes(67)), "key of 67 octets"),
    "data-key-id": (set_key(1, bytes(36), key_id=1), "default key once"),
    "data-kwk-id": (set_key(1, bytes(36), kwk_id=1), "default key once"),
    "two-data-keys": (lambda p: bag(p, 1).attributes.append(bag(p, 1).attributes[0]), "default key once"),
    "two-rekey-keys": (lambda p: bag(p, 0).attributes.append(bag(p, 0).attributes[0]), "several keys"),
    "not-wrapped": (
        set_attribute(lambda p: bag(p, 1), 1, bytes(8) + bytes(48)),
        "does not unwrap",
    ),
    "rekey-not-wrapped": (set_attribute(lambda p: bag(p, 0), 1, bytes(8) + bytes(80)), "does not unwrap"),
    "wrapped-too-short": (set_attribute(lambda p: bag(p, 1), 1, bytes(7)), "wrapped key"),
    "no-path": (set_key(0, bytes(68), kwk_id=9), "no key path"),
    "rekey-key-id": (set_key(0, bytes(68), key_id=9), "Key ID"),
    # Authentication of rekeys: RFC 9838 4.4.2.1.1, 4.5.3.2.
    "no-gcauth": (set_transform(0, 14, None), "no authentication method"),
    "unknown-gcauth": (set_transform(0, 14, 3), "method 3"),
    "no-algorithm": (set_transform(0, 14, 2), "does not go with"),
    "algorithm-under-implicit": (set_transform(0, 14, 1, ED25519), "does not go with"),
    "gcauth-attribute": (set_transform(0, 14, 2, ED25519, AES256), "unknown attribute 14"),
    "another-algorithm": (set_transform(0, 14, 2, Attribute(18, ECDSA)), "does not fit"),
    "unknown-algorithm": (set_transform(0, 14, 2, Attribute(18, b"\x30\x00")), "not one that we accept"),
    "no-auth-key": (set_attribute(member_bag, 2, None), "0 signature keys"),
    "two-auth-keys": (lambda p: member_bag(p).attributes.append(member_bag(p).attributes[0]), "2 signature"),
    "auth-key-under-implicit": (set_transform(0, 14, 1), "key under implicit"),
    "broken-auth-key": (set_attribute(member_bag, 2, b"\x30\x03\x02\x01\x00"), "not a public key"),
    # Payloads.
    "no-gsa": (keep(PayloadType.GSA), "keys without a policy"),
    "no-kd": (keep(PayloadType.KD), "policy without keys"),
    "nothing": (together(keep(PayloadType.GSA), keep(PayloadType.KD)), "no group policy"),
    # Sender-IDs for one that does not send.
    "sender-id": (add_attribute(member_bag, 3, bytes(4)), "does not send"),
    "sender-id-bits": (add_attribute(wide, 3, 8), "does not send"),
}


def registration(join: GroupJoin, policy: GroupPolicy = POLICY) -> Payloads:
    server = Server(policy)
    server.new_tek(T0, None if policy.shared_sa else TX)
    return server.registration(join, T0)


def refusal(payloads: Payloads, join: GroupJoin) -> PeerError:
    with pytest.raises(PeerError) as caught:
        read_registration(payloads, GSK_W, KW_5649_256, join)
    return caught.value


@pytest.mark.parametrize("name", POLICY_FAULTS)
def test_a_registration_with_one_fault(name: str) -> None:
    change, match = POLICY_FAULTS[name]
    payloads = registration(RECEIVER)
    assert read_registration(payloads, GSK_W, KW_5649_256, RECEIVER)
    change(payloads)
    error = refusal(payloads, RECEIVER)
    assert match in str(error)
    assert error.notify in (NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.INVALID_SYNTAX)


def test_keys_under_another_wrap_key() -> None:
    with pytest.raises(PeerError, match="does not unwrap"):
        read_registration(registration(RECEIVER), SecretBytes(bytes(32)), KW_5649_256, RECEIVER)


# --- what this member accepts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"ciphers": (AES_GCM_16_128,)}, "not accepted for a data SA"),
        ({"rekey_ciphers": (AES_GCM_16_128,)}, "not accepted for a rekey SA"),
        ({"key_wraps": (KW_5649_128,)}, "no accepted key wrap"),
        ({"rekey_auths": (RekeyAuth.IMPLICIT,)}, "signature authentication are not accepted"),
    ],
)
def test_algorithms_that_the_member_does_not_want(limits: dict[str, object], match: str) -> None:
    join = replace(RECEIVER, offer=GroupOffer(**limits))  # type: ignore[arg-type]
    assert match in str(refusal(registration(RECEIVER), join))


def test_implicit_authentication_has_to_be_asked_for() -> None:
    cautious = replace(RECEIVER, offer=GroupOffer())
    assert "implicit authentication" in str(refusal(registration(RECEIVER, IMPLICIT), cautious))
    grant = read_registration(registration(RECEIVER, IMPLICIT), GSK_W, KW_5649_256, RECEIVER)
    assert grant.authentication == RekeyAuthentication(RekeyAuth.IMPLICIT)


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        ({"data_addresses": (ip_network("239.2.0.0/16"),)}, "data to 239.1.1.1"),
        ({"data_addresses": (ip_network("ff00::/8"),)}, "data to 239.1.1.1"),
        ({"rekey_addresses": (ip_network("239.1.1.1/32"),)}, "rekeys to 239.1.1.2"),
        ({"data_sources": (ip_network("10.0.0.12/32"),)}, "data from 10.0.0.11"),
    ],
)
def test_flows_outside_of_the_peer_authorization_database(lists: dict[str, object], match: str) -> None:
    """GPAD: RFC 5374 4.1.3.4."""
    assert match in str(refusal(registration(RECEIVER), replace(RECEIVER, **lists)))  # type: ignore[arg-type]


def test_flows_inside_of_the_peer_authorization_database() -> None:
    join = replace(
        RECEIVER,
        data_addresses=(ip_network("ff00::/8"), ip_network("239.1.1.0/24")),
        rekey_addresses=(ip_network("239.1.1.0/24"),),
        data_sources=(ip_network("10.0.0.0/24"),),
    )
    assert read_registration(registration(RECEIVER), GSK_W, KW_5649_256, join)
    # Any source is more than a list of sources.
    assert "any source" in str(refusal(registration(RECEIVER, SHARED), join))


def test_allow_lists_and_source_specific_groups() -> None:
    assert allowed(TX, ())
    assert not allowed(TX, (ip_network("fd00::/8"),))
    for address, specific in (
        ("232.1.2.3", True),
        ("239.1.1.1", False),
        ("ff3e::1", True),
        ("ff3e:40::1", False),
        ("ff15::1", False),
    ):
        assert source_specific(ip_network(address).network_address) is specific


# --- Sender-IDs ------------------------------------------------------------------------------------------


SENDER_FAULTS: dict[str, tuple[Change, str]] = {
    "none": (set_attribute(member_bag, 3, None), "no Sender-IDs"),
    "no-bits": (set_attribute(wide, 3, None), "no Sender-IDs"),
    "too-large": (set_attribute(member_bag, 3, (256).to_bytes(4, "big")), "does not fit"),
    "no-bits-at-all": (set_attribute(wide, 3, 0), "does not fit"),
    "too-many": (add_attribute(member_bag, 3, bytes(4)), "more Sender-IDs than asked"),
    "twice": (add_attribute(member_bag, 3, (7).to_bytes(4, "big")), "twice"),
}


@pytest.mark.parametrize("name", SENDER_FAULTS)
def test_a_sender_with_one_fault(name: str) -> None:
    change, match = SENDER_FAULTS[name]
    payloads = registration(SENDER)
    assert read_registration(payloads, GSK_W, KW_5649_256, SENDER).sender_ids == (7,)
    change(payloads)
    assert match in str(refusal(payloads, SENDER))


@pytest.mark.parametrize("octets", [b"\xff", b"\0\xff", b"\0\0\0\xff", bytes(11) + b"\xff"])
def test_sender_ids_of_any_length(octets: bytes) -> None:
    """RFC 9838 4.5.3.3 gives none."""
    payloads = registration(SENDER)
    set_attribute(member_bag, 3, octets)(payloads)
    assert read_registration(payloads, GSK_W, KW_5649_256, SENDER).sender_ids == (255,)


def test_several_sender_ids() -> None:
    server = Server()
    server.new_tek(T0, TX)
    join = replace(SENDER, sender_ids=3)
    assert server.grant(join, T0, (1, 2)).sender_ids == (1, 2)  # fewer than asked is allowed


def test_counter_mode_on_an_sa_that_senders_share() -> None:
    """RFC 6054 cannot be kept: the kernel chooses IVs by itself. Receivers do not mind."""
    for change in (set_transform(1, 5, 2), select(1, "source", 4, None, 17, 0)):
        payloads = registration(SENDER)
        change(payloads)
        assert "senders share" in str(refusal(payloads, BOTH))
        payloads = registration(RECEIVER)
        change(payloads)
        assert read_registration(payloads, GSK_W, KW_5649_256, RECEIVER)


def test_sender_ids_where_there_is_no_counter_mode() -> None:
    payloads = registration(SENDER, SHARED)
    add_attribute(wide, 3, 8)(payloads)
    assert "without a counter mode" in str(refusal(payloads, SENDER))


# --- forms that are fine ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        set_transform(1, 3, 0),  # NONE beside an AEAD cipher
        set_transform(0, 3, 0),
        select(0, "destination", 4, GROUP_ADDRESS, 0, 0),
        add_attribute(lambda p: sa(p, 1), 99, b"later"),
        add_attribute(wide, 99, 1),
        add_attribute(member_bag, 99, 1),
        add_attribute(member_bag, 98, b"later"),
        add_attribute(lambda p: sa(p, 1), 3, b"\0\0\x60\0"),  # GSA_NEXT_SPI: a hint
        lambda p: gsa(p).policies.reverse(),
        lambda p: kd(p).bags.reverse(),
    ],
)
def test_other_forms(change: Change) -> None:
    payloads = registration(RECEIVER)
    change(payloads)
    if sa(payloads, 0).destination.protocol == 0:
        # Protocol any and one port is no port at all: what "assumed to be UDP" cannot mean.
        assert "UDP port" in str(refusal(payloads, RECEIVER))
    else:
        assert read_registration(payloads, GSK_W, KW_5649_256, RECEIVER)


def test_without_group_wide_policy_there_are_no_delays() -> None:
    payloads = registration(RECEIVER)
    gsa(payloads).policies.remove(wide(payloads))
    assert read_registration(payloads, GSK_W, KW_5649_256, RECEIVER).delays == Delays(0, 0)
    payloads = registration(RECEIVER)
    wide(payloads).attributes = []
    assert read_registration(payloads, GSK_W, KW_5649_256, RECEIVER).delays == Delays(0, 0)


def test_without_a_rekey_sa_nothing_of_multicast_rekeys_is_there() -> None:
    """RFC 9838 table 10: rekeys come inband; lifetimes may be missing."""

    def inband() -> Payloads:
        payloads = registration(RECEIVER)
        gsa(payloads).policies.remove(sa(payloads, 0))
        kd(payloads).bags.remove(bag(payloads, 0))
        set_attribute(lambda p: sa(p, 0), 1, None)(payloads)
        return payloads

    payloads = inband()
    assert "without a Rekey SA" in str(refusal(payloads, RECEIVER))
    kd(payloads).bags.remove(member_bag(payloads))
    grant = read_registration(payloads, GSK_W, KW_5649_256, RECEIVER)
    assert (grant.rekey, grant.authentication) == (None, None)
    assert [g.lifetime for g in grant.data] == [None]


def test_a_key_tree_at_registration() -> None:
    """Figure 23, and one key wrap algorithm for the IKE SA and the Rekey SA of a key tree."""
    server = Server()
    leaf, node = SecretBytes(b"\x07" * 32), SecretBytes(b"\x01" * 32)
    payloads = server.registration(RECEIVER, T0)
    root = build_wrapped_key(0, 1, wrap(node, server.kek.key))
    bag(payloads, 0).attributes = [Attribute(1, root)]
    member_bag(payloads).attributes += [
        Attribute(1, build_wrapped_key(1, 7, wrap(leaf, node))),
        Attribute(1, build_wrapped_key(7, 0, wrap(GSK_W, leaf))),
    ]
    grant = read_registration(payloads, GSK_W, KW_5649_256, RECEIVER)
    assert grant.key_path == (WrapKey(1, node), WrapKey(7, leaf))
    with pytest.raises(PeerError, match="two key wrap"):
        read_registration(payloads, GSK_W, KW_5649_128, RECEIVER)


# --- rekeys ----------------------------------------------------------------------------------------------


def known(server: Server, **how: object) -> Known:
    policy = server.policy
    *_, gsk_w = split_rekey(server.kek.key, policy.rekey_cipher, policy.rekey_integrity, policy.key_wrap)
    authentication = RekeyAuthentication(RekeyAuth.IMPLICIT)
    if server.signing_key is not None:
        public = SigningKey.from_seed(server.signing_key).spki_der
        authentication = RekeyAuthentication(RekeyAuth.SIGNATURE, ED25519_IDENTIFIER, public)
    base = Known(gsk_w, policy.key_wrap, authentication, policy.mode, TX, (7,), ())
    return replace(base, **how)  # type: ignore[arg-type]


def rekey_payloads(server: Server) -> Payloads:
    old, new = server.new_tek(T0, TX), server.new_tek(T0, TX)
    order = server.order(T0, (new,), (old.spi,))
    order = replace(order, new_rekey_sa=server.new_kek(T0))
    return through_wire(render_rekey(order), ExchangeType.GSA_REKEY, response=False)


def with_member_bag(kind: int, value: bytes) -> Change:
    return lambda p: kd(p).bags.append(MemberKeyBag([Attribute(kind, value)]))


REKEY_FAULTS: dict[str, tuple[Change, str]] = {
    "gcauth": (set_transform(0, 14, 2, ED25519), "type 14 does not belong"),
    "key-wrap": (set_transform(0, 13, 1), "changes the key wrap"),
    "sender-id": (with_member_bag(3, bytes(4)), "Sender-IDs in a rekey"),
    "sender-id-bits": (add_attribute(wide, 3, 8), "Sender-IDs in a rekey"),
    "mode": (keep(PayloadType.NOTIFY), "changes the mode"),
    "auth-key": (with_member_bag(2, b"nonsense"), "not a public key"),
    "two-auth-keys": (together(with_member_bag(2, b"1"), with_member_bag(2, b"2")), "2 signature keys"),
    "no-lifetime": (set_attribute(lambda p: sa(p, 1), 1, None), "data SA has no lifetime"),
    "esn": (set_transform(1, 5, 1), "extended sequence"),
    "only-group-wide": (only_wide, "does not allow"),
    "two-keks": (add_second_kek, "does not allow"),
    "ah": (add_ah, "AH is not supported"),
    "ike-delete": (lambda p: p.append(Payload(PayloadType.DELETE, Delete(1, 0, []))), "Delete of protocol 1"),
}


@pytest.mark.parametrize("name", REKEY_FAULTS)
def test_a_rekey_with_one_fault(name: str) -> None:
    change, match = REKEY_FAULTS[name]
    server = Server()
    payloads, before = rekey_payloads(server), known(server)
    assert read_rekey(payloads, before, RECEIVER).rekey is not None
    change(payloads)
    with pytest.raises(PeerError, match=match):
        read_rekey(payloads, before, RECEIVER)


def test_a_sender_without_sender_id_does_not_take_a_counter_mode_sa() -> None:
    """RFC 9838 2.4.1.4. It is another matter for receivers, and for the SAs of other senders."""
    server = Server()
    payloads = rekey_payloads(server)
    with pytest.raises(PeerError, match="no Sender-ID"):
        read_rekey(payloads, known(server, sender_ids=()), BOTH)
    assert read_rekey(payloads, known(server, sender_ids=(), own=TX2), BOTH)
    assert read_rekey(payloads, known(server, sender_ids=()), RECEIVER)


def test_an_auth_key_under_implicit_authentication() -> None:
    server = Server(IMPLICIT)
    payloads = rekey_payloads(server)
    with_member_bag(2, SigningKey.from_seed(SecretBytes(bytes(32))).spki_der)(payloads)
    with pytest.raises(PeerError, match="under implicit"):
        read_rekey(payloads, known(server), RECEIVER)


def test_a_new_auth_key_in_a_member_bag() -> None:
    """RFC 9838 4.5.3 forbids member key bags in rekeys and 2.4.1 needs one: ADR 8."""
    server = Server()
    payloads = rekey_payloads(server)
    public = SigningKey.from_seed(SecretBytes(bytes(32))).spki_der
    with_member_bag(2, public)(payloads)
    assert read_rekey(payloads, known(server), RECEIVER).auth_key == public


def test_delays_stay_in_force_until_others_come() -> None:
    server = Server()
    payloads = rekey_payloads(server)
    assert read_rekey(payloads, known(server), RECEIVER).delays == Delays(4, 10)
    gsa(payloads).policies.remove(wide(payloads))
    assert read_rekey(payloads, known(server), RECEIVER).delays is None
    delete_only = [Payload(PayloadType.DELETE, Delete(3, 4, [b"\0\0\x10\0"]))]
    update = read_rekey(delete_only, known(server), RECEIVER)
    assert update == Update(deletion=Deletion(data_spis=(0x1000,)))


def test_several_keys_for_the_rekey_sa_and_none_of_them_ours() -> None:
    """RFC 9838 3.3: no key path means excluded, which is no fault of the message."""
    server = Server()
    payloads, before = rekey_payloads(server), known(server)
    value = bag(payloads, 0).attributes[0].value
    assert isinstance(value, bytes)
    ours = Attribute(1, value)
    theirs = Attribute(1, build_wrapped_key(0, 77, wrap(SecretBytes(bytes(32)), SecretBytes(bytes(68)))))
    bag(payloads, 0).attributes = [theirs, ours]
    update = read_rekey(payloads, before, RECEIVER)
    assert update.rekey is not None
    assert not update.unreachable
    bag(payloads, 0).attributes = [theirs, theirs]
    update = read_rekey(payloads, before, RECEIVER)
    assert update.unreachable
    assert update.rekey is None


@pytest.mark.parametrize(
    ("deletes", "expected"),
    [
        ([Delete(0, 0, [])], Deletion(closed=True)),
        ([Delete(0, 0, [b""])], Deletion(closed=True)),
        ([Delete(0, 4, [bytes(4)])], Deletion(closed=True)),
        ([Delete(3, 4, [bytes(4)])], Deletion(all_data=True)),
        ([Delete(3, 0, [])], Deletion(all_data=True)),
        ([Delete(2, 4, [bytes(4)])], Deletion(all_data=True)),
        ([Delete(2, 4, [b"\0\0\x10\0"])], Deletion()),
        ([Delete(6, 16, [bytes(16)])], Deletion(excluded=True)),
        ([Delete(6, 0, [])], Deletion(excluded=True)),
        ([Delete(6, 16, [b"0123456789abcdef"])], Deletion(rekey_spis=(b"0123456789abcdef",))),
        ([Delete(3, 4, [b"\0\0\x10\0", b"\0\0\x20\0"])], Deletion(data_spis=(0x1000, 0x2000))),
        ([Delete(3, 4, [bytes(4)]), Delete(6, 16, [bytes(16)])], Deletion(all_data=True, excluded=True)),
        ([], Deletion()),
    ],
)
def test_deletes(deletes: list[Delete], expected: Deletion) -> None:
    """RFC 9838 2.4.3, 4.6; sizes that it leaves open are taken either way."""
    assert read_deletion([Payload(PayloadType.DELETE, d) for d in deletes]) == expected


# --- inband ----------------------------------------------------------------------------------------------


def test_an_inband_rekey() -> None:
    server = Server()
    server.new_tek(T0, TX)
    payloads = registration(RECEIVER)
    set_transform(0, 14, None)(payloads)  # the method does not change
    kd(payloads).bags.remove(member_bag(payloads))
    before = known(server, gsk_w=GSK_W)
    update = read_inband(payloads, before, RECEIVER)
    assert update.rekey is not None
    assert len(update.data) == 1
    with pytest.raises(PeerError, match="no authentication method known"):
        read_inband(payloads, replace(before, authentication=None), RECEIVER)
    with pytest.raises(PeerError, match="changes the key wrap"):
        read_inband(payloads, replace(before, key_wrap=KW_5649_128), RECEIVER)
    with pytest.raises(PeerError, match="changes the mode"):
        read_inband(payloads, replace(before, mode=Mode.TUNNEL), RECEIVER)
    set_key(0, bytes(68), kwk_id=5)(payloads)
    with pytest.raises(PeerError, match="no key for the Rekey SA"):
        read_inband(payloads, before, RECEIVER)


def test_inband_rekeys_have_no_member_bag() -> None:
    """RFC 9838 table 10."""
    for kind, value in ((2, b"key"), (1, build_wrapped_key(1, 0, bytes(40))), (3, bytes(4))):
        payloads = registration(RECEIVER)
        set_transform(0, 14, None)(payloads)
        member_bag(payloads).attributes = [Attribute(kind, value)]
        with pytest.raises(PeerError, match=r"member key bag|Sender-IDs"):
            read_inband(payloads, known(Server(), gsk_w=GSK_W), RECEIVER)


def test_an_inband_delete() -> None:
    payloads = [Payload(PayloadType.DELETE, Delete(3, 4, [bytes(4)]))]
    assert read_inband(payloads, known(Server()), RECEIVER).deletion.all_data


def test_ipv6_goes_the_same_way() -> None:
    server = Server(IPV6)
    server.new_tek(T0, IPV6.rekey_source)
    assert server.grant(RECEIVER, T0).data[0].source == IPV6.rekey_source
