"""The words in which messages are declared, and what a declaration is bound to.

Definitions use these words of construct and no others: fixed big-endian integers, ``Bytes``, ``GreedyBytes``,
``Struct``, ``Array``, ``GreedyRange``, ``RepeatUntil``, ``Prefixed``, ``IfThenElse``, ``Peek``, ``Computed``,
``Rebuild``, ``Default``, ``Check``, ``Terminated`` and expressions over ``this``, ``obj_`` and ``len_``. No
lambdas, no bit fields, no recursion: so a definition can be read as a box of the RFC, run by construct's
interpreter, and compiled.

A ``Struct`` is bound to a record (a slotted dataclass). A nested ``Struct`` that is bound to nothing lends
its fields to the record around it. Fields that the record does not name exist on the wire only, and are
derived when building.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import construct
from construct import ExprAdapter, Int16ub, obj_

R = TypeVar("R")


class DefinitionError(TypeError):
    """A definition uses a word outside the vocabulary or leaves a field without a source.

    Raised at import only.
    """


@dataclass(slots=True, eq=False)
class Binding(Generic[R]):
    """A construct definition, the record that it fills, and what construct cannot say.

    ``limits``: the most elements that each list may have. ``derive``: wire-only fields computed from the
    record. ``check``: called with each parsed record, raises WireError. ``given``: record fields that the
    caller supplies.
    """

    record: type[R]
    definition: Any
    limits: Mapping[str, int] = field(default_factory=dict)
    derive: Mapping[str, Callable[[R], int]] = field(default_factory=dict)
    check: Callable[[R], None] | None = None
    given: frozenset[str] = frozenset()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the record's fields, in order."""
        return tuple(self.record.__dataclass_fields__)  # type: ignore[attr-defined]


_BINDINGS: dict[int, Binding[Any]] = {}


def bind(
    record: type[R],
    definition: Any,
    *,
    limits: Mapping[str, int] | None = None,
    derive: Mapping[str, Callable[[R], int]] | None = None,
    check: Callable[[R], None] | None = None,
    given: tuple[str, ...] = (),
) -> Binding[R]:
    """Bind a construct Struct to a record, so that definitions which contain it make that record."""
    binding = Binding(record, definition, limits or {}, derive or {}, check, frozenset(given))
    _BINDINGS[id(definition)] = binding
    return binding


def binding_of(definition: Any) -> Binding[Any] | None:
    """The binding of a Struct, None when it is bound to nothing."""
    return _BINDINGS.get(id(definition))


def sized(octets_before: int, subcon: Any) -> Any:
    """A 16-bit length that counts itself and ``octets_before`` octets in front of it, then what it covers.

    With 2: the shape of every payload header and substructure header of RFC 7296 (type, flag or number,
    length).
    """
    header = octets_before + 2
    length = ExprAdapter(Int16ub, obj_ - header, obj_ + header)
    length.header_octets = header
    return construct.Prefixed(length, subcon)


def unwrap(subcon: Any) -> tuple[str | None, Any]:
    """A field's name and its definition without the name."""
    name = None
    while isinstance(subcon, construct.Renamed):
        name = name or subcon.name
        subcon = subcon.subcon
    return name, subcon


def fixed_code(subcon: Any) -> str | None:
    """The ``struct`` code of a field whose size is constant, None for others."""
    if isinstance(subcon, construct.FormatField):
        if subcon.fmtstr[0] != ">":
            raise DefinitionError(f"integers are big-endian on the wire: {subcon.fmtstr}")
        return str(subcon.fmtstr[1])
    if isinstance(subcon, construct.Bytes) and isinstance(subcon.length, int):
        return f"{subcon.length}s"
    return None


def union_arms(definition: Any) -> tuple[str, Any, Any] | None:
    """The parts of ``Struct(Peek(Int8ub), IfThenElse(...))``, the choice between two records by an octet."""
    if not isinstance(definition, construct.Struct) or len(definition.subcons) != 2:
        return None
    name, peek = unwrap(definition.subcons[0])
    _, choice = unwrap(definition.subcons[1])
    if isinstance(peek, construct.Peek) and isinstance(choice, construct.IfThenElse) and name is not None:
        return name, peek, choice
    return None


def translate(expression: Any, resolve: Callable[[str], str]) -> str:
    """A construct expression as Python text; ``resolve`` gives the text of a field by its name."""
    if isinstance(expression, int | bytes):
        return repr(expression)
    kind = type(expression).__name__
    if kind == "BinExpr":
        left, right = translate(expression.lhs, resolve), translate(expression.rhs, resolve)
        sign = construct.expr.opnames[expression.op]
        if sign in "&|" and _truth(expression.lhs) and _truth(expression.rhs):
            # Between truths the word means the same as the bit operation and stops early.
            sign = "and" if sign == "&" else "or"
        return f"({left} {sign} {right})"
    if kind == "Path":
        return resolve(expression.__getfield__())
    if kind == "FuncPath" and repr(expression).startswith("len_("):
        return f"len({translate(expression._FuncPath__operand, resolve)})"
    raise DefinitionError(f"expressions use this, obj_, len_ and operators only: {expression!r}")


def _truth(expression: Any) -> bool:
    """Whether an expression is a comparison, or comparisons joined."""
    if type(expression).__name__ != "BinExpr":
        return False
    sign = construct.expr.opnames[expression.op]
    return sign in _COMPARISONS or (sign in "&|" and _truth(expression.lhs) and _truth(expression.rhs))


_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def references(definition: Any) -> set[str]:
    """The names of all fields that expressions inside a definition speak of."""
    found: set[str] = set()

    def note(name: str) -> str:
        found.add(name)
        return name

    def walk(subcon: Any) -> None:
        _, subcon = unwrap(subcon)
        for attribute in ("length", "count", "predicate", "condfunc", "func", "value"):
            expression = getattr(subcon, attribute, None)
            if callable(expression):
                translate(expression, note)
        for attribute in ("subcon", "thensubcon", "elsesubcon"):
            inner = getattr(subcon, attribute, None)
            if inner is not None:
                walk(inner)
        for inner in getattr(subcon, "subcons", ()):
            walk(inner)

    walk(definition)
    return found


def least_octets(subcon: Any) -> int:
    """The fewest octets that a definition can occupy."""
    _, subcon = unwrap(subcon)
    code = fixed_code(subcon)
    if code is not None:
        return int(subcon.sizeof())
    if isinstance(subcon, construct.Struct):
        return sum(least_octets(inner) for inner in subcon.subcons)
    if isinstance(subcon, construct.Prefixed):
        return 2 + least_octets(subcon.subcon)
    if isinstance(subcon, construct.IfThenElse):
        return min(least_octets(subcon.thensubcon), least_octets(subcon.elsesubcon))
    if isinstance(subcon, construct.RepeatUntil):
        return least_octets(subcon.subcon)
    if isinstance(subcon, construct.Rebuild | construct.Default):
        return least_octets(subcon.subcon)
    return 0
