"""What a message costs: an IKE_SA_INIT request by hand-written ``struct``, by ``wire`` and by construct.

All three make the same records or containers from the same octets and make the same checks on the way, the
hand-written one as well; construct's interpreter is given the same definitions that ``wire`` compiles. Rounds
are interleaved, so that a disturbance hits all alike, and medians are returned. Microseconds per message.
"""

from __future__ import annotations

import gc
import statistics
import struct
import time
from collections.abc import Callable
from typing import Any

import construct

from wire.attributes import Attribute
from wire.chain import BINDINGS
from wire.header import HEADER_BOX, Header
from wire.ikev2 import Ke, Nonce, Notify, Proposal, Sa, Transform, Vendor
from wire.message import Message, Payload, build_message, parse_untrusted
from wire.registry import FLAG_INITIATOR, AttributeType, ExchangeType, NotifyType, PayloadType, TransformType
from wire.vocabulary import sized

SPI = bytes.fromhex("8f1d3a6c52e94b07")


def request_payloads(mark: int = 0) -> list[Payload]:
    """A request as gkmd sends it: AEAD and CBC proposals with a key wrap algorithm, X25519, NAT detection.

    ``mark`` goes into values of the SA and the nonce, so that no two messages of a round are the same.
    """

    def transform(kind: int, number: int, key_bits: int | None = None) -> Transform:
        return Transform(kind, number, [Attribute(AttributeType.KEY_LENGTH, key_bits)] if key_bits else [])

    common = [transform(TransformType.KE, 31), transform(TransformType.KWA, 3)]
    aead = [transform(TransformType.ENCR, 20, 256), transform(TransformType.ENCR, 20, 128)]
    cbc = [transform(TransformType.ENCR, 12, 256), transform(TransformType.INTEG, 12)]
    prf = transform(TransformType.PRF, 5 + mark)
    return [
        Payload(
            PayloadType.SA,
            Sa([Proposal(1, 1, b"", [*aead, prf, *common]), Proposal(2, 1, b"", [*cbc, prf, *common])]),
        ),
        Payload(PayloadType.KE, Ke(31, bytes(range(32)))),
        Payload(PayloadType.NONCE, Nonce(bytes(range(100, 130)) + mark.to_bytes(2, "big"))),
        Payload(PayloadType.NOTIFY, Notify(0, b"", NotifyType.NAT_DETECTION_SOURCE_IP, bytes(range(20)))),
        Payload(
            PayloadType.NOTIFY, Notify(0, b"", NotifyType.NAT_DETECTION_DESTINATION_IP, bytes(range(20)))
        ),
        Payload(
            PayloadType.NOTIFY, Notify(0, b"", NotifyType.SIGNATURE_HASH_ALGORITHMS, b"\0\2\0\3\0\4\0\5")
        ),
    ]


def build_request(payloads: list[Payload]) -> bytes:
    """The request's octets, built by ``wire``."""
    return build_message(SPI, bytes(8), ExchangeType.IKE_SA_INIT, FLAG_INITIATOR, 0, payloads)


class Refused(ValueError):
    """The hand-written codec's error."""


_header = struct.Struct("!8s8sBBBBII")
_generic = struct.Struct("!BBH")
_proposal = struct.Struct("!BxHBBBB")
_transform = struct.Struct("!BxHBxH")
_word = struct.Struct("!HH")
_notify = struct.Struct("!BBH")
_SPI_OCTETS = {1: 8, 2: 4, 3: 4, 6: 16}
_NO_SPI = bytes(8)


def hand_parse(data: bytes) -> Message:
    """IKE_SA_INIT requests parsed by hand, with every check that ``wire`` makes of them."""
    octets = len(data)
    if octets < 28 or octets > 65535:
        raise Refused("size")
    spi_i, spi_r, kind, version, exchange, flags, message_id, length = _header.unpack_from(data)
    if version >> 4 != 2 or length != octets:
        raise Refused("header")
    if exchange != 34 or flags & 0x28 != 0x08 or spi_i == _NO_SPI or spi_r != _NO_SPI or message_id:
        raise Refused("header")
    header = Header(spi_i, spi_r, kind, version, exchange, flags, message_id, length)
    payloads: list[Payload] = []
    counts: dict[int, int] = {}
    offset = 28
    while kind:
        if len(payloads) == 64 or offset + 4 > octets:
            raise Refused("chain")
        following, bits, length = _generic.unpack_from(data, offset)
        end = offset + length
        if length < 4 or end > octets:
            raise Refused("chain")
        body: Any
        if kind == 41:
            body = _hand_notify(data, offset + 4, end)
        elif kind == 33:
            body = _hand_sa(data, offset + 4, end)
        elif kind == 34:
            if length < 8:
                raise Refused("KE")
            body = Ke((data[offset + 4] << 8) | data[offset + 5], data[offset + 8 : end])
        elif kind == 40:
            if not 20 <= length <= 260:
                raise Refused("nonce")
            body = Nonce(data[offset + 4 : end])
        elif kind == 43:
            body = Vendor(data[offset + 4 : end])
        else:
            raise Refused("payload type")
        counts[kind] = counts.get(kind, 0) + 1
        payloads.append(Payload(kind, body, bits >= 0x80))
        offset = end
        kind = following
    if offset != octets:
        raise Refused("trailing")
    if counts.get(33) != 1 or counts.get(34) != 1 or counts.get(40) != 1:
        raise Refused("rules")
    return Message(header, payloads)


def _hand_notify(data: bytes, offset: int, end: int) -> Notify:
    if end - offset < 4:
        raise Refused("notify")
    protocol, size, kind = _notify.unpack_from(data, offset)
    split = offset + 4 + size
    if split > end:
        raise Refused("notify")
    return Notify(protocol, data[offset + 4 : split], kind, data[split:end])


def _hand_sa(data: bytes, offset: int, end: int) -> Sa:
    proposals: list[Proposal] = []
    more = 2
    while more:
        if len(proposals) == 32 or end - offset < 8:
            raise Refused("proposal")
        more, length, number, protocol, size, count = _proposal.unpack_from(data, offset)
        stop = offset + length
        if (
            more not in (0, 2)
            or length < 8
            or stop > end
            or (size and _SPI_OCTETS.get(protocol, size) != size)
        ):
            raise Refused("proposal")
        start = offset + 8 + size
        if start > stop:
            raise Refused("proposal")
        spi = data[offset + 8 : start]
        transforms: list[Transform] = []
        again = 3
        while again:
            if len(transforms) == 128 or stop - start < 8:
                raise Refused("transform")
            again, length, kind, number_id = _transform.unpack_from(data, start)
            limit = start + length
            if again not in (0, 3) or length < 8 or limit > stop:
                raise Refused("transform")
            attributes: list[Attribute] = []
            start += 8
            while start < limit:
                if len(attributes) == 16 or limit - start < 4:
                    raise Refused("attribute")
                form, word = _word.unpack_from(data, start)
                start += 4
                value: int | bytes = word
                if not form & 0x8000:
                    if start + word > limit:
                        raise Refused("attribute")
                    value = data[start : start + word]
                    start += word
                form &= 0x7FFF
                if (form == 14 and isinstance(value, bytes)) or (form == 18 and isinstance(value, int)):
                    raise Refused("attribute")
                for earlier in attributes:
                    if earlier.type == form:
                        raise Refused("attribute")
                attributes.append(Attribute(form, value))
            transforms.append(Transform(kind, number_id, attributes))
        if len(transforms) != count or start != stop:
            raise Refused("proposal")
        proposals.append(Proposal(number, protocol, spi, transforms))
        offset = stop
    if offset != end:
        raise Refused("SA")
    return Sa(proposals)


_RANK = {33: 0, 34: 1, 40: 2, 41: 3, 43: 4}


def _rank(payload: Payload) -> int:
    body: Any = payload.body
    return -1 if payload.type == 41 and body.type == 16390 else _RANK[payload.type]


def hand_build(payloads: list[Payload]) -> bytes:
    """IKE_SA_INIT requests built by hand, sorted, with the lengths that the records have."""
    ordered = sorted(payloads, key=_rank)
    pieces: list[bytes] = [b""]
    kinds = [p.type for p in ordered]
    kinds.append(0)
    total = 28
    for place, payload in enumerate(ordered, 1):
        body: Any = payload.body
        kind = payload.type
        if kind == 41:
            octets = _notify.pack(body.protocol, len(body.spi), body.type) + body.spi + body.data
        elif kind == 33:
            octets = _hand_build_sa(body)
        elif kind == 34:
            octets = _word.pack(body.group, 0) + body.data
        else:
            octets = body.data
        length = len(octets) + 4
        total += length
        pieces.append(_generic.pack(kinds[place], 0x80 if payload.critical else 0, length))
        pieces.append(octets)
    if total > 65535:
        raise Refused("size")
    pieces[0] = _header.pack(SPI, _NO_SPI, kinds[0], 0x20, 34, 8, 0, total)
    return b"".join(pieces)


def _hand_build_sa(sa: Sa) -> bytes:
    built: list[bytes] = []
    left = len(sa.proposals)
    for proposal in sa.proposals:
        left -= 1
        parts: list[bytes] = []
        length = 8 + len(proposal.spi)
        remaining = len(proposal.transforms)
        for transform in proposal.transforms:
            remaining -= 1
            attributes = b""
            for attribute in transform.attributes:
                value = attribute.value
                if isinstance(value, int):
                    attributes += _word.pack(attribute.type | 0x8000, value)
                else:
                    attributes += _word.pack(attribute.type, len(value)) + value
            size = 8 + len(attributes)
            length += size
            parts.append(
                _transform.pack(3 if remaining else 0, size, transform.type, transform.id) + attributes
            )
        head = _proposal.pack(
            2 if left else 0, length, proposal.number, proposal.protocol, len(proposal.spi), len(parts)
        )
        built.append(head + proposal.spi + b"".join(parts))
    return b"".join(built)


GENERIC_BOX = construct.Struct(
    "next" / construct.Int8ub, "flags" / construct.Int8ub, "body" / sized(2, construct.GreedyBytes)
)


def interpreted_parse(data: bytes) -> tuple[Any, list[Any]]:
    """The header and the bodies by construct's interpreter."""
    header = HEADER_BOX.parse(data)
    kind, offset = header.next_payload, 28
    bodies = []
    while kind:
        generic = GENERIC_BOX.parse(data[offset:])
        bodies.append((kind, BINDINGS[kind].definition.parse(generic.body)))
        offset += 4 + len(generic.body)
        kind = generic.next
    return header, bodies


def interpreted_build(message: tuple[Any, list[Any]]) -> bytes:
    """The octets of what ``interpreted_parse`` made."""
    header, bodies = message
    chain = b""
    kinds = [kind for kind, _ in bodies[1:]] + [0]
    for following, (kind, body) in zip(kinds, bodies, strict=True):
        octets = BINDINGS[kind].definition.build(body)
        chain += bytes(GENERIC_BOX.build({"next": following, "flags": 0, "body": octets}))
    return bytes(HEADER_BOX.build({**header, "length": 28 + len(chain)})) + chain


def _microseconds(call: Callable[[Any], object], arguments: list[Any]) -> float:
    started = time.perf_counter()
    for argument in arguments:
        call(argument)
    return (time.perf_counter() - started) / len(arguments) * 1e6


def run(rounds: int = 25, messages: int = 200) -> dict[str, float]:
    """Measure, print a table, return medians in microseconds and the ratios to the hand-written codec.

    Each round goes over ``messages`` different messages, so that nothing can be known from the last one.
    """
    records = [request_payloads(mark) for mark in range(messages)]
    datagrams = [build_request(payloads) for payloads in records]
    few = max(1, messages // 40)
    containers = [interpreted_parse(data) for data in datagrams[:few]]
    for payloads, data in zip(records, datagrams, strict=True):
        if hand_parse(data) != parse_untrusted(data) or hand_build(payloads) != data:
            raise AssertionError("the codecs disagree")
    if [interpreted_build(container) for container in containers] != datagrams[:few]:
        raise AssertionError("the codecs disagree")
    cases: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
        "parse_struct_us": (hand_parse, datagrams),
        "parse_wire_us": (parse_untrusted, datagrams),
        "parse_construct_us": (interpreted_parse, datagrams[:few]),
        "build_struct_us": (hand_build, records),
        "build_wire_us": (build_request, records),
        "build_construct_us": (interpreted_build, containers),
    }
    samples: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()  # as timeit does: a collection would be paid by whoever comes at the wrong moment
    try:
        for _ in range(rounds):
            for name, (call, arguments) in cases.items():
                samples[name].append(_microseconds(call, arguments))
    finally:
        gc.enable()
    result = {name: statistics.median(values) for name, values in samples.items()}
    for verb in ("parse", "build"):
        base = result[f"{verb}_struct_us"]
        result[f"{verb}_wire_ratio"] = result[f"{verb}_wire_us"] / base
        result[f"{verb}_construct_ratio"] = result[f"{verb}_construct_us"] / base
        print(
            f"codec {verb}, IKE_SA_INIT of {len(datagrams[0])} octets: struct by hand {base:.1f} us, "
            f"wire {result[f'{verb}_wire_us']:.1f} us ({result[f'{verb}_wire_ratio']:.2f}x), "
            f"construct {result[f'{verb}_construct_us']:.0f} us ({result[f'{verb}_construct_ratio']:.0f}x)"
        )
    result["octets"] = float(len(datagrams[0]))
    return result


if __name__ == "__main__":
    run()
