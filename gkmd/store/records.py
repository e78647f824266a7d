"""Records as octets: MessagePack maps by field name, so that a later gkmd may add fields with defaults.

Secrets and addresses are extension types. What is read was sealed by a server under the same master key, so a
record that does not fit is a fault of ours, not an attack; it raises StoreError all the same.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import types
import typing
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from gkmd.core.address import IpAddress
from gkmd.core.errors import StoreError
from gkmd.core.secret import SecretBytes

_SECRET: Final = 1
_ADDRESS: Final = 2
_R = TypeVar("_R")


def _encode_leaf(value: object) -> msgspec.msgpack.Ext:
    if isinstance(value, SecretBytes):
        return msgspec.msgpack.Ext(_SECRET, value.reveal())
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return msgspec.msgpack.Ext(_ADDRESS, value.packed)
    raise StoreError(f"a record holds {type(value).__name__}, which the journal cannot keep")


def _decode_leaf(code: int, octets: memoryview) -> SecretBytes | IpAddress:
    if code == _SECRET:
        return SecretBytes(bytes(octets))
    if code == _ADDRESS:
        return ipaddress.ip_address(bytes(octets))
    raise StoreError(f"a record holds a value of unknown kind {code}")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_encode_leaf)
_DECODER: Final = msgspec.msgpack.Decoder(ext_hook=_decode_leaf)

encode: Final[Callable[[object], bytes]] = _ENCODER.encode


def reader(record_type: type[_R]) -> Callable[[bytes], _R]:
    """A function from octets to records of this type; it raises StoreError."""
    build = _builder(record_type)

    def read(octets: bytes) -> _R:
        try:
            return typing.cast(_R, build(_DECODER.decode(octets)))
        except (msgspec.MsgspecError, TypeError, KeyError, AttributeError, ValueError) as error:
            raise StoreError(f"a {record_type.__name__} cannot be read: {error}") from None

    return read


def _builder(hint: Any) -> Callable[[Any], Any] | Any:
    """How a decoded value of the annotated type becomes the object; the value itself where nothing is to be
    done.
    """
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_builder(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        inner = _builder(arguments[0])
        return lambda items: tuple(inner(item) for item in items)
    if origin in (types.UnionType, typing.Union):
        inner_types = [argument for argument in arguments if argument is not type(None)]
        if len(inner_types) == 1:
            inner = _builder(inner_types[0])
            return lambda value: None if value is None else inner(value)
    return _same


def _same(value: Any) -> Any:
    return value


def _dataclass_builder(record_type: type[Any]) -> Callable[[dict[str, Any]], Any]:
    hints = typing.get_type_hints(record_type)
    builders = {field.name: _builder(hints[field.name]) for field in dataclasses.fields(record_type)}
    nested = {name: build for name, build in builders.items() if build is not _same}

    def build(values: dict[str, Any]) -> Any:
        known = {name: value for name, value in values.items() if name in builders}
        for name, inner in nested.items():
            if name in known:
                known[name] = inner(known[name])
        return record_type(**known)

    return build
