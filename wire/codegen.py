"""What the two writers of ``wire.compile`` share: the growing source, and the fields of a record by name."""

from __future__ import annotations

import struct
from typing import Any

import construct

from wire.errors import WireError
from wire.vocabulary import Binding, DefinitionError, binding_of, references, unwrap


class Source:
    """Lines of Python and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "WireError": WireError,
            "error": struct.error,
            "new": object.__new__,
            "join": b"".join,
        }
        self._count = 0

    def unique(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def unpack(self, codes: str) -> str:
        """The name of ``unpack_from`` for these struct codes."""
        return self.name_as(f"unpack_{codes}", struct.Struct("!" + codes).unpack_from)

    def pack(self, codes: str) -> str:
        """The name of ``pack`` for these struct codes."""
        return self.name_as(f"pack_{codes}", struct.Struct("!" + codes).pack)

    def name_as(self, name: str, value: Any) -> str:
        self.names.setdefault(name, value)
        return name

    def name(self, stem: str, value: Any) -> str:
        for known, other in self.names.items():
            if other is value:
                return known
        name = self.unique(stem)
        self.names[name] = value
        return name


class Scope:
    """The fields of one record while its code is written: name on the wire -> Python text."""

    def __init__(self, binding: Binding[Any], parent: Scope | None, prefix: str) -> None:
        self.binding = binding
        self.parent = parent
        self.prefix = prefix
        self.texts: dict[str, str] = {}
        self.wanted = references(binding.definition)

    def resolve(self, name: str) -> str:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.texts:
                return scope.texts[name]
            scope = scope.parent
        raise DefinitionError(f"{self.binding.record.__name__}: expression names unknown field {name!r}")

    def declare(self, name: str, text: str) -> str:
        if name in self.texts:
            raise DefinitionError(f"{self.binding.record.__name__}: two fields are called {name!r}")
        self.texts[name] = text
        return text


def lends_fields(subcon: Any) -> bool:
    """Whether a nested Struct is bound to nothing, so that its fields are those of the record around it."""
    _, subcon = unwrap(subcon)
    return isinstance(subcon, construct.Struct) and binding_of(subcon) is None


def limit_of(scope: Scope, target: str) -> int:
    name = target.removeprefix(scope.prefix)
    try:
        return scope.binding.limits[name]
    except KeyError:
        raise DefinitionError(f"{scope.binding.record.__name__}: the list {name!r} has no limit") from None
