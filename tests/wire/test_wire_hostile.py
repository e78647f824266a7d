"""What strangers send: endless chains, lying lengths, floods of empty things, other protocols."""

from __future__ import annotations

import random
import struct
import time

import pytest
from wire_samples import SPI_I, SPI_R, clear_octets, inner_octets, ipv4, note

from wire.chain import MAX_PAYLOADS, MAX_REMEMBERED, MAX_REMEMBERED_OCTETS, Payload
from wire.errors import WireError
from wire.ikev2 import Delete, Encrypted, Id, Ke, Nonce, Notify, Proposal, Sa, Transform, Unknown
from wire.message import build_chain, build_message, parse_inner, parse_untrusted, peek_untrusted
from wire.registry import ExchangeType, PayloadType


def framed(first: int, chain: bytes, exchange: int = 34, flags: int = 8, spi_r: bytes = bytes(8)) -> bytes:
    head = struct.pack("!8s8sBBBBII", SPI_I, spi_r, first, 0x20, exchange, flags, 0, 28 + len(chain))
    return head + chain


def generic(following: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("!BBH", following, flags, len(body) + 4) + body


def reason(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        parse_untrusted(data)
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


def inner_reason(first: int, octets: bytes, exchange: int = 37) -> str:
    with pytest.raises(WireError) as caught:
        parse_inner(exchange, False, first, octets)
    return caught.value.reason


def test_headers() -> None:
    data = clear_octets("init-request")
    assert reason(b"") == "truncated"
    assert reason(data[:27]) == "truncated"
    assert reason(data + b"\0") == "trailing"
    assert reason(data[:-1]) == "truncated"
    assert reason(data[:24] + struct.pack("!I", 27) + data[28:]) == "length"
    assert reason(bytes(65_536)) == "too-long"


@pytest.mark.parametrize(
    ("version", "expected"), [(0x10, "isakmp-1"), (0x11, "version"), (0x00, "version"), (0x30, "version")]
)
def test_other_protocols_are_told_apart(version: int, expected: str) -> None:
    data = clear_octets("init-request")
    assert reason(data[:17] + bytes([version]) + data[18:]) == expected
    with pytest.raises(WireError, match=expected):
        peek_untrusted(data[:17] + bytes([version]) + data[18:])


def test_an_isakmp_message_is_recognised_before_its_length_is_believed() -> None:
    head = struct.pack("!8s8sBBBBII", SPI_I, bytes(8), 1, 0x10, 2, 0, 0, 9999)
    assert reason(head + bytes(100)) == "isakmp-1"


def test_ike_sa_init_headers() -> None:
    data = clear_octets("init-request")
    assert reason(bytes(8) + data[8:]) == "spi"
    assert reason(data[:8] + SPI_R + data[16:]) == "spi"
    assert reason(data[:19] + b"\x00" + data[20:]) == "flags"
    assert reason(data[:23] + b"\x01" + data[24:]) == "message-id"
    answer = clear_octets("init-response")
    assert reason(answer[:19] + b"\x28" + answer[20:]) == "flags"


def test_a_rekey_spi_may_begin_with_zeros() -> None:
    """RFC 9838 2.4.1: the two SPIs of GSA_REKEY are one of sixteen octets."""
    data = bytes(8) + clear_octets("rekey")[8:]
    assert parse_untrusted(data).header.spi_i == bytes(8)
    assert reason(bytes(8) + clear_octets("sealed")[8:]) == "spi"


def test_a_payload_of_length_zero_does_not_loop() -> None:
    for length in range(4):
        assert reason(framed(41, struct.pack("!BBH", 41, 0, length))) == "looping"
        assert inner_reason(41, struct.pack("!BBH", 41, 0, length)) == "looping"


def test_chains_that_lie() -> None:
    nonce = generic(0, bytes(32))
    assert reason(framed(40, nonce[:3])) == "truncated"
    assert reason(framed(40, struct.pack("!BBH", 0, 0, 37) + bytes(32))) == "truncated"
    assert reason(framed(40, nonce + b"\0")) == "trailing"
    assert reason(framed(40, generic(40, bytes(32)))) == "truncated"
    assert reason(framed(0, nonce)) == "trailing"
    assert inner_reason(0, b"\0") == "trailing"
    assert parse_inner(37, False, 0, b"") == []


def test_floods_of_empty_payloads_end_early() -> None:
    count = (65_535 - 28) // 4
    for kind in (43, 200):
        flood = framed(kind, struct.pack("!BBH", kind, 0, 4) * count)
        best = min(_seconds(flood, "too-many-payloads") for _ in range(5))
        assert best < 0.01


def _seconds(data: bytes, expected: str) -> float:
    started = time.perf_counter()
    assert reason(data) == expected
    return time.perf_counter() - started


@pytest.mark.parametrize(
    ("kind", "element"),
    [
        (33, struct.pack("!BBHBBBB", 2, 0, 8, 1, 1, 0, 0)),  # proposals without transforms
        (33, struct.pack("!BBHBBBBBBHBBH", 2, 0, 16, 1, 1, 0, 1, 0, 0, 8, 1, 0, 20)),  # proposals
        (51, struct.pack("!BBH", 0, 0, 4)),  # empty group-wide policies
        (52, struct.pack("!BBH", 0, 0, 4)),  # empty member bags
        (52, struct.pack("!BBHHH", 0, 0, 8, 0x8063, 0)),
    ],
)
def test_floods_of_substructures_end_early(kind: int, element: bytes) -> None:
    flood = generic(0, element * (65_000 // len(element)))

    def seconds() -> float:
        started = time.perf_counter()
        with pytest.raises(WireError):
            parse_inner(ExchangeType.IKE_AUTH, False, kind, flood)
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.1


def test_floods_of_transforms_and_attributes_end_early() -> None:
    transform = struct.pack("!BBHBBH", 3, 0, 8, 1, 0, 20)
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + 8 * 200, 1, 1, 0, 200)
    assert inner_reason(33, generic(0, proposal + transform * 200)) == "too-many"
    attributes = struct.pack("!HH", 0x8063, 1) * 17
    transform = struct.pack("!BBHBBH", 0, 0, 8 + len(attributes), 1, 0, 20) + attributes
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1)
    assert inner_reason(33, generic(0, proposal + transform)) == "too-many"


def test_a_delete_of_empty_spis_is_no_flood() -> None:
    assert inner_reason(42, generic(0, struct.pack("!BBH", 0, 0, 65_535))) == "spi-count"
    one = parse_inner(37, False, 42, generic(0, struct.pack("!BBH", 0, 0, 1)))
    assert one[0].body == Delete(0, 0, [b""])
    assert inner_reason(42, generic(0, struct.pack("!BBH", 3, 1, 5000) + bytes(5000))) == "too-many"
    assert inner_reason(42, generic(0, struct.pack("!BBH", 3, 8, 1) + bytes(8))) == "spi-size"
    assert inner_reason(42, generic(0, struct.pack("!BBH", 1, 8, 1) + bytes(8))) == "spi-size"
    assert inner_reason(42, generic(0, struct.pack("!BBH", 3, 4, 1) + bytes(5))) == "trailing"


def test_payload_count_is_bounded_exactly() -> None:
    _, most = build_chain([note(16384)] * MAX_PAYLOADS)
    assert len(parse_inner(37, False, 41, most)) == MAX_PAYLOADS
    _, more = build_chain([note(16384)] * (MAX_PAYLOADS + 1))
    assert inner_reason(41, more) == "too-many-payloads"


def test_unknown_payloads() -> None:
    chain = generic(40, b"private") + generic(0, bytes(32))
    payloads = parse_inner(ExchangeType.IKE_AUTH, False, 200, chain)
    assert payloads == [Payload(200, Unknown(b"private")), Payload(40, Nonce(bytes(32)))]
    # RFC 7296 2.5: an unknown payload with the critical bit rejects the message, and the answer names it.
    with pytest.raises(WireError) as caught:
        parse_inner(37, False, 200, generic(0, b"", flags=0x80))
    assert caught.value.reason == "unknown-critical"
    assert caught.value.payload_type == 200
    # Configuration is the standard's own, and so never unknown.
    assert parse_inner(ExchangeType.IKE_AUTH, False, 47, generic(0, b"x", flags=0x80))[0].critical


def test_unknown_payloads_do_not_count_for_the_rules() -> None:
    data = clear_octets("init-request")
    extra = framed(200, generic(data[16], b"") + data[28:])
    assert len(parse_untrusted(extra).payloads) == len(parse_untrusted(data).payloads) + 1


@pytest.mark.parametrize("octets", [0, 15, 257])
def test_nonces_have_16_to_256_octets(octets: int) -> None:
    assert inner_reason(40, generic(0, bytes(octets)), ExchangeType.IKE_AUTH) == "nonce-length"


def test_fragment_numbers() -> None:
    for number, total in ((0, 1), (2, 1), (0, 0)):
        data = framed(53, generic(0, struct.pack("!HH", number, total) + bytes(30)), 39, 8, SPI_R)
        assert reason(data) == "fragment-number"


def test_substructures_that_lie() -> None:
    def sa(proposal: bytes) -> str:
        return inner_reason(33, generic(0, proposal), ExchangeType.IKE_AUTH)

    transform = struct.pack("!BBHBBH", 0, 0, 8, 1, 0, 20)

    def proposal(last: int = 0, length: int = 16, protocol: int = 1, size: int = 0, count: int = 1) -> bytes:
        return struct.pack("!BBHBBBB", last, 0, length, 1, protocol, size, count)

    assert sa(proposal() + transform[:7]) == "length"
    assert sa(proposal(length=15) + transform) == "truncated"
    assert sa(proposal(length=7) + transform) == "length"
    assert sa(proposal(length=17) + transform + b"\0") == "trailing"
    assert sa(proposal(count=2) + transform) == "transform-count"
    assert sa(proposal(last=2) + transform) == "truncated"
    assert sa(proposal(last=1) + transform + proposal() + transform) == "last-proposal"
    assert sa(proposal() + b"\x02" + transform[1:]) == "last-transform"
    assert sa(proposal(length=20, protocol=3, size=4) + bytes(4) + transform[:-1] + b"\0\0") == "trailing"
    assert sa(proposal(length=18, protocol=3, size=2) + bytes(2) + transform) == "spi-size"
    assert sa(proposal() + transform + b"\0") == "trailing"
    assert sa(b"") == "truncated"


def test_selectors_that_lie() -> None:
    def ts(selector: bytes, count: int = 1) -> str:
        return inner_reason(44, generic(0, struct.pack("!B3x", count) + selector), ExchangeType.IKE_AUTH)

    assert ts(struct.pack("!BBHHH", 7, 0, 16, 0, 0) + bytes(8), 2) == "truncated"
    assert ts(struct.pack("!BBHHH", 7, 0, 15, 0, 0) + bytes(8)) == "truncated"
    assert ts(struct.pack("!BBHHH", 7, 0, 40, 0, 0) + bytes(32)) == "trailing"
    assert ts(struct.pack("!BBHHH", 8, 0, 16, 0, 0) + bytes(8)) == "truncated"
    assert ts(struct.pack("!BBHHH", 9, 0, 16, 0, 0) + bytes(8)) == "ts-type"
    assert ts(struct.pack("!BBHHH", 7, 0, 7, 0, 0) + bytes(8)) == "length"


def test_group_policies_that_lie() -> None:
    sample = inner_octets("registration-response")
    octets = bytearray(sample.octets)
    octets[4 + 1] = 16  # the SPI size of an ESP policy
    with pytest.raises(WireError):
        parse_inner(sample.exchange, True, sample.first, bytes(octets))
    for protocol in (1, 4, 7):
        octets = bytearray(sample.octets)
        octets[4] = protocol
        with pytest.raises(WireError, match="spi-size"):
            parse_inner(sample.exchange, True, sample.first, bytes(octets))


def test_what_fragments_add_up_to_is_bounded() -> None:
    vendor = struct.pack("!BBH", 43, 0, 65_535) + bytes(65_531)
    long = vendor + struct.pack("!BBH", 0, 0, 65_535) + bytes(65_531)
    assert len(parse_inner(ExchangeType.GSA_REKEY + 194, False, 43, long)) == 2
    assert inner_reason(43, long + bytes(3)) == "too-long"


def test_random_octets_are_refused() -> None:
    rng = random.Random("wire: noise")
    for _ in range(2000):
        data = rng.randbytes(rng.randint(1, 256))
        with pytest.raises(WireError):
            parse_untrusted(data)
        with pytest.raises(WireError):
            parse_untrusted(framed(33, data))


def test_sealed_bodies_are_not_looked_into() -> None:
    sealed = build_message(
        SPI_I, SPI_R, ExchangeType.INFORMATIONAL, 0x28, 7, [Payload(46, Encrypted(0, b""))]
    )
    assert parse_untrusted(sealed).payloads == [Payload(PayloadType.SK, Encrypted(0, b""))]


def test_records_hold_what_they_are_given() -> None:
    assert Notify(0, b"", 16384).data == b""
    assert Ke(31, b"x") != Id(31, b"x")
    assert ipv4("0.0.0.0", "255.255.255.255").end == b"\xff" * 4


def test_remembered_proposals_are_those_of_the_same_octets_and_few() -> None:
    """``chain`` parses the SA of many equal requests once; a stranger cannot make it hold much."""

    def parsed(mark: int, transforms: int = 1) -> object:
        body = Sa([Proposal(1, 1, b"", [Transform(1, mark)] * transforms)])
        _, octets = build_chain([Payload(33, body)])
        payload = parse_inner(ExchangeType.IKE_AUTH, False, 33, octets)[0]
        assert payload.body == body
        return payload.body

    first = parsed(0)
    assert parsed(0) is first
    for mark in range(1, MAX_REMEMBERED + 1):
        parsed(mark)
    assert parsed(0) is not first
    # 8 octets of proposal and 8 of each transform: one that is just too long to be kept.
    many = MAX_REMEMBERED_OCTETS // 8
    assert parsed(1, many) is not parsed(1, many)
    assert parsed(1, many - 1) is parsed(1, many - 1)
