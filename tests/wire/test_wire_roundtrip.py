"""Records to octets and back: random records of every kind, and octets that the documents spell out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_samples import INNER, clear_octets, inner_octets

from wire.attributes import Attribute
from wire.chain import CODECS
from wire.errors import WireError
from wire.gikev2 import (
    GroupKeyBag,
    GroupSaPolicy,
    GroupWidePolicy,
    Gsa,
    Kd,
    MemberKeyBag,
    WrappedKey,
    build_wrapped_key,
    parse_wrapped_key_untrusted,
)
from wire.header import Header, build_header
from wire.ikev2 import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Eap,
    Id,
    Ke,
    Nonce,
    Notify,
    Proposal,
    Sa,
    TrafficSelector,
    Transform,
    Ts,
    Vendor,
)
from wire.message import (
    Payload,
    build_chain,
    build_message,
    build_sealed_head,
    each,
    first,
    notify,
    parse_inner,
    parse_untrusted,
)
from wire.registry import ExchangeType, NotifyType, PayloadType

U8 = st.integers(0, 255)
U16 = st.integers(0, 65535)
DATA = st.binary(max_size=80)
UNKNOWN_ATTRIBUTES = st.builds(Attribute, st.integers(32, 0x7FFF), U16 | DATA)
KEY_LENGTH = st.lists(st.builds(Attribute, st.just(14), U16), max_size=1)
TRANSFORMS = st.lists(st.builds(Transform, U8, U16, KEY_LENGTH), min_size=1, max_size=5)
SELECTORS = st.sampled_from([(7, 4), (8, 16)]).flatmap(
    lambda kind: st.builds(
        TrafficSelector, st.just(kind[0]), U8, U16, U16, *[st.binary(min_size=kind[1], max_size=kind[1])] * 2
    )
)
LIFETIME = st.builds(Attribute, st.just(1), st.binary(min_size=4, max_size=4))
SPIS = st.sampled_from([(6, 16), (2, 4), (3, 4)])


def sized(kind: tuple[int, int]) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=kind[1], max_size=kind[1])


POLICY = SPIS.flatmap(
    lambda kind: st.builds(
        GroupSaPolicy,
        st.just(kind[0]),
        sized(kind),
        SELECTORS,
        SELECTORS,
        TRANSFORMS,
        st.tuples(LIFETIME, UNKNOWN_ATTRIBUTES).map(list),
    )
)
WIDE = st.builds(GroupWidePolicy, st.lists(UNKNOWN_ATTRIBUTES, max_size=3))
SA_KEYS = st.builds(Attribute, st.just(1), st.binary(min_size=9, max_size=40))
GROUP_BAG = SPIS.flatmap(
    lambda kind: st.builds(GroupKeyBag, st.just(kind[0]), sized(kind), SA_KEYS.map(lambda key: [key]))
)
MEMBER_BAG = st.builds(MemberKeyBag, st.lists(SA_KEYS, max_size=4))

BODIES: dict[int, st.SearchStrategy[Any]] = {
    33: st.builds(
        Sa,
        st.lists(
            st.sampled_from([(1, 8), (2, 4), (3, 4), (6, 16), (1, 0)]).flatmap(
                lambda kind: st.builds(Proposal, U8, st.just(kind[0]), sized(kind), TRANSFORMS)
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    34: st.builds(Ke, U16, DATA),
    35: st.builds(Id, U8, DATA),
    37: st.builds(Cert, U8, DATA),
    38: st.builds(CertReq, U8, DATA),
    39: st.builds(Auth, U8, DATA),
    40: st.builds(Nonce, st.binary(min_size=16, max_size=256)),
    41: st.builds(Notify, U8, st.binary(max_size=16), U16, DATA),
    42: SPIS.flatmap(
        lambda kind: st.builds(Delete, st.just(kind[0]), st.just(kind[1]), st.lists(sized(kind), max_size=4))
    ),
    43: st.builds(Vendor, DATA),
    44: st.builds(Ts, st.lists(SELECTORS, max_size=4)),
    48: st.builds(Eap, DATA),
    51: st.builds(Gsa, st.tuples(POLICY, WIDE).map(list)),
    52: st.builds(Kd, st.lists(GROUP_BAG | MEMBER_BAG, max_size=4)),
}


@pytest.mark.parametrize("kind", BODIES)
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_records_survive_the_wire(kind: int, data: st.DataObject) -> None:
    body = data.draw(BODIES[kind])
    codec = CODECS[kind]
    octets = codec.build(body)
    assert codec.parse(octets, 0, len(octets)) == body
    around = b"\xff" * 3 + octets + b"\xff" * 5
    assert codec.parse(around, 3, 3 + len(octets)) == body


def test_every_payload_type_has_a_strategy_or_a_sample() -> None:
    sampled = {p.type for _, _, payloads in INNER.values() for p in payloads}
    assert set(CODECS) - set(BODIES) - sampled == {PayloadType.SK, PayloadType.SKF, PayloadType.CP}


def test_group_sa_policy_octets_by_hand() -> None:
    """RFC 9838 figure 15: bare selectors, transforms to the last, attributes to the length."""
    policy = (
        "03 04 004c 10203040"
        "07 00 0010 0000 ffff 00000000 ffffffff"
        "07 11 0010 1388 1388 e9fc0001 e9fc0001"
        "03 00 000c 01 00 0014 800e 0100"
        "00 00 0008 05 00 0000"
        "0001 0004 00000e10"
        "0003 0004 10203041"
    )
    wide = "00 ff 000c 8001 0002 8002 0004"  # the reserved octet is ignored
    octets = bytes.fromhex(policy + wide)
    gsa = CODECS[51].parse(octets, 0, len(octets))
    assert gsa.policies == [
        GroupSaPolicy(
            3,
            b"\x10\x20\x30\x40",
            TrafficSelector(7, 0, 0, 65535, bytes(4), b"\xff" * 4),
            TrafficSelector(7, 17, 5000, 5000, b"\xe9\xfc\0\1", b"\xe9\xfc\0\1"),
            [Transform(1, 20, [Attribute(14, 256)]), Transform(5, 0)],
            [Attribute(1, b"\0\0\x0e\x10"), Attribute(3, b"\x10\x20\x30\x41")],
        ),
        GroupWidePolicy([Attribute(1, 2), Attribute(2, 4)]),
    ]
    assert CODECS[51].build(gsa) == bytes.fromhex(policy + wide.replace("ff", "00"))


def test_key_bag_octets_by_hand() -> None:
    """RFC 9838 figures 18 to 20."""
    wrapped = "00000000 00000007" + "aa" * 16
    octets = bytes.fromhex("03 04 0024 10203040 0001 0018" + wrapped + "00 00 000c 0003 0004 00000001")
    kd = CODECS[52].parse(octets, 0, len(octets))
    assert kd.bags == [
        GroupKeyBag(3, b"\x10\x20\x30\x40", [Attribute(1, bytes.fromhex(wrapped))]),
        MemberKeyBag([Attribute(3, b"\0\0\0\1")]),
    ]
    assert CODECS[52].build(kd) == octets
    assert parse_wrapped_key_untrusted(kd.bags[0].attributes[0].value) == WrappedKey(0, 7, b"\xaa" * 16)


def test_wrapped_key() -> None:
    octets = build_wrapped_key(5, 0xFFFFFFFF, b"x")
    assert octets == b"\0\0\0\x05\xff\xff\xff\xffx"
    assert parse_wrapped_key_untrusted(octets) == WrappedKey(5, 0xFFFFFFFF, b"x")
    for cut in range(len(octets)):
        with pytest.raises(WireError):
            parse_wrapped_key_untrusted(octets[:cut])
    for wrong in ((1 << 32, 0, b"x"), (0, -1, b"x"), (0, 0, b""), (0, 0, "x")):
        with pytest.raises(WireError):
            build_wrapped_key(*wrong)  # type: ignore[arg-type]


def test_sealed_head_is_the_associated_data() -> None:
    sealed = bytes(range(77))
    head = build_sealed_head(
        b"i" * 8, b"r" * 8, ExchangeType.GSA_AUTH, 0x08, 1, PayloadType.ID_I, len(sealed)
    )
    data = head + sealed
    message = parse_untrusted(data)
    body = first(message.payloads, PayloadType.SK)
    assert body is not None
    assert body.first == PayloadType.ID_I
    assert body.data == sealed
    assert data[: len(data) - len(body.data)] == head
    assert len(head) == 32
    with pytest.raises(WireError, match="datagram"):
        build_sealed_head(b"i" * 8, b"r" * 8, 39, 8, 1, 35, 65_536)


def test_header_that_was_peeked_is_not_read_again() -> None:
    data = clear_octets("init-request")
    header = parse_untrusted(data).header
    assert parse_untrusted(data, header).header is header
    assert build_header(header) == data[:28]


def test_reserved_bits_are_ignored() -> None:
    data = bytearray(clear_octets("init-request"))
    expected = parse_untrusted(bytes(data)).payloads
    data[19] |= 0b1100_0111 | 0x10  # unassigned flags, and the version flag
    data[17] |= 0x0F  # minor version
    data[29] |= 0x7F  # reserved bits of the SA payload's header
    data[33] = 0xFF  # reserved octet of the first proposal
    data[41] = 0xFF  # reserved octet of its first transform
    message = parse_untrusted(bytes(data))
    assert message.payloads == expected


def test_critical_bit_of_a_known_payload_is_kept_and_ignored() -> None:
    data = bytearray(clear_octets("init-request"))
    data[29] |= 0x80
    assert parse_untrusted(bytes(data)).payloads[0].critical
    _, octets = build_chain([Payload(41, Notify(0, b"", 16384), critical=True)])
    assert octets[1] == 0x80


def test_lookup() -> None:
    sample = inner_octets("auth-request")
    payloads = parse_inner(sample.exchange, sample.response, sample.first, sample.octets)
    group = first(payloads, PayloadType.ID_G)
    assert group is not None
    assert group.data == b"channel-1"
    assert first(payloads, PayloadType.KD) is None
    assert len(each(payloads, PayloadType.CERT)) == 2
    assert each(payloads, PayloadType.DELETE) == []
    sender = notify(payloads, NotifyType.GROUP_SENDER)
    assert sender is not None
    assert sender.data == b"\0\0\0\1"
    assert notify(payloads, NotifyType.COOKIE) is None


@pytest.mark.parametrize(
    "payload",
    [
        Payload(34, Nonce(bytes(16))),
        Payload(200, Nonce(bytes(16))),
        Payload(40, Nonce(bytes(15))),
        Payload(40, Nonce("text" * 5)),  # type: ignore[arg-type]
        Payload(34, Ke(65536, b"")),
        Payload(34, Ke(31, bytes(65535))),
        Payload(33, Sa([])),
        Payload(33, Sa([Proposal(1, 1, b"", [])])),
        Payload(33, Sa([Proposal(1, 1, b"", [Transform(1, 20, [Attribute(0x8001, b"")])])])),
        Payload(33, Sa([Proposal(1, 1, b"", [Transform(1, 20, [Attribute(14, 65536)])])])),
        Payload(42, Delete(3, 4, [b"\0\0\0"])),
        Payload(44, Ts([TrafficSelector(7, 0, 0, 0, bytes(4), bytes(16))])),
        Payload(44, Ts([TrafficSelector(9, 0, 0, 0, bytes(4), bytes(4))])),
        Payload(51, Gsa([Nonce(b"")])),  # type: ignore[list-item]
        Payload(51, Gsa([GroupWidePolicy([Attribute(40, i) for i in range(65)])])),
        Payload(52, Kd([GroupKeyBag(3, bytes(3), [])])),
    ],
)
def test_records_that_do_not_fit_are_refused(payload: Payload) -> None:
    with pytest.raises(WireError):
        build_chain([payload])


def test_messages_that_do_not_fit_are_refused() -> None:
    vendor = Payload(43, Vendor(bytes(60_000)))
    with pytest.raises(WireError, match="datagram"):
        build_message(bytes(8), bytes(8), 34, 8, 0, [vendor, vendor])
    with pytest.raises(WireError, match="length"):
        build_message(bytes(7), bytes(8), 34, 8, 0, [])
    with pytest.raises(WireError, match="build"):
        build_message(bytes(8), bytes(8), 34, 256, 0, [])


def test_header_record_names_its_fields() -> None:
    header = parse_untrusted(clear_octets("init-cookie")).header
    assert header == Header(header.spi_i, bytes(8), 41, 0x20, 34, 0x20, 0, 28 + 8 + 24)
