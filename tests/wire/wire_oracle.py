"""The slow truth: the same definitions run by construct's interpreter, put into the same records.

Nothing of ``wire``'s compiled code is used here: the chain is walked with interpreted headers, and what the
interpreter returns is poured into records by the declared bindings.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import construct

from wire.chain import BINDINGS, MAX_PAYLOADS
from wire.errors import WireError
from wire.header import HEADER_BOX, Header
from wire.ikev2 import Unknown
from wire.message import Message, Payload
from wire.registry import PayloadType
from wire.rules import check_clear, check_encrypted
from wire.vocabulary import Binding, binding_of, union_arms, unwrap

GENERIC = construct.Struct(
    "next" / construct.Int8ub, "flags" / construct.Int8ub, "length" / construct.Int16ub
)
_SEALED = (PayloadType.SK, PayloadType.SKF)
_WHOLE = {
    int(kind): (binding, construct.Struct("body" / binding.definition, construct.Terminated))
    for kind, binding in BINDINGS.items()
}


def record(binding: Binding[Any], container: Any) -> Any:
    """A bound Struct's container as its record, with the limits and the check that go with it."""
    values: dict[str, Any] = {}
    _collect(binding.definition, container, values)
    made = binding.record(**{n: 0 if n in binding.given else values[n] for n in binding.fields})
    for name, limit in binding.limits.items():
        if len(values[name]) > limit:
            raise WireError("too-many", name)
    if binding.check is not None:
        binding.check(made)
    return made


def _collect(definition: Any, container: Any, values: dict[str, Any]) -> None:
    for subcon in definition.subcons:
        name, inner = unwrap(subcon)
        if name is None:
            continue
        nested = unwrap(inner.subcon)[1] if isinstance(inner, construct.Prefixed) else None
        if isinstance(nested, construct.Struct) and binding_of(nested) is None:
            _collect(nested, container[name], values)
        else:
            values[name] = value(inner, container[name])


def value(subcon: Any, parsed: Any) -> Any:
    _, subcon = unwrap(subcon)
    binding, arms = binding_of(subcon), union_arms(subcon)
    if binding is not None:
        return record(binding, parsed)
    if arms is not None:
        octet, _, choice = arms
        arm = choice.thensubcon if choice.condfunc(parsed) else choice.elsesubcon
        other = next(name for name in parsed if name not in (octet, "_io"))
        return value(arm, parsed[other])
    if isinstance(subcon, construct.Array | construct.GreedyRange | construct.RepeatUntil):
        return [value(subcon.subcon, item) for item in parsed]
    return parsed


@functools.cache
def body(kind: int, octets: bytes) -> Any:
    """One body by the interpreter, or the exception that it raised."""
    binding, whole = _WHOLE[kind]
    try:
        return record(binding, whole.parse(octets).body)
    except (construct.ConstructError, WireError) as error:
        return error


@functools.cache
def generic(octets: bytes) -> Any:
    return GENERIC.parse(octets)


def chain(data: bytes, offset: int, kind: int) -> list[Payload]:
    payloads: list[Payload] = []
    while kind:
        if len(data) - offset < 4:
            raise WireError("truncated")
        header = generic(data[offset : offset + 4])
        if header.length < 4 or offset + header.length > len(data) or len(payloads) == MAX_PAYLOADS:
            raise WireError("length")
        octets = data[offset + 4 : offset + header.length]
        critical = header.flags >= 128
        offset += header.length
        if kind not in BINDINGS:
            if critical:
                raise WireError("unknown-critical")
            payloads.append(Payload(kind, Unknown(octets)))
        else:
            made = body(kind, octets)
            if isinstance(made, Exception):
                raise made
            if kind in _SEALED:
                made = dataclasses.replace(made, first=header.next)
            payloads.append(Payload(kind, made, critical))
            if kind in _SEALED:
                break
        kind = header.next
    if offset != len(data):
        raise WireError("trailing")
    return payloads


def message(data: bytes) -> Message:
    """What ``parse_untrusted`` has to return; raises when it has to raise."""
    if not 28 <= len(data) <= 65535:
        raise WireError("size")
    parsed = HEADER_BOX.parse(data)
    header = Header(**{n: parsed[n] for n in Header.__dataclass_fields__})
    if header.version >> 4 != 2 or header.length != len(data):
        raise WireError("header")
    response = bool(header.flags & 0x20)
    payloads = chain(data, 28, header.next_payload)
    check_clear(header.exchange, response, payloads)
    if header.exchange == 41 and response:
        raise WireError("flags")
    if header.exchange != 41 and not any(header.spi_i):
        raise WireError("spi")
    if header.exchange == 34:
        if header.message_id or (not response and any(header.spi_r)):
            raise WireError("header")
        if bool(header.flags & 0x08) == response:
            raise WireError("flags")
    return Message(header, payloads)


def inner(exchange: int, response: bool, first: int, plaintext: bytes) -> list[Payload]:
    """What ``parse_inner`` has to return; raises when it has to raise."""
    payloads = chain(plaintext, 0, first)
    check_encrypted(exchange, response, payloads)
    return payloads


def outcome(call: Any, *arguments: Any) -> Any:
    """A result, or None for a refusal; every other exception escapes and fails the test."""
    try:
        return call(*arguments)
    except (WireError, construct.ConstructError):
        return None


def verdict(call: Any, *arguments: Any) -> Any:
    """As ``outcome``, for the code under test: only WireError is a refusal."""
    try:
        return call(*arguments)
    except WireError:
        return None
