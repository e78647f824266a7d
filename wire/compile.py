"""Turns definitions into straight-line parsers and builders, once, at import.

construct's interpreter costs about fifty times ``struct``, and its own compiler drops the bounds checks. This one keeps
them: runs of fixed fields become one ``unpack_from`` behind one check, every length is compared with its surroundings
before it is used, every region is consumed exactly, and lists end by their bounds and limits rather than by an
exception. The interpreter stays the oracle of what this makes (tests/wire/test_differential.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import construct

from wire.errors import WireError
from wire.vocabulary import (
    Binding,
    DefinitionError,
    binding_of,
    fixed_code,
    least_octets,
    references,
    translate,
    union_arms,
    unwrap,
)

R = TypeVar("R")


class Codec(Generic[R]):
    """``parse(data, start, end) -> record`` and ``build(record) -> octets``, with the source that does it."""

    __slots__ = ("binding", "build", "parse", "source")

    def __init__(self, binding: Binding[R]) -> None:
        writer = _Source()
        _ParserWriter(writer, binding).function("parse", binding)
        _BuilderWriter(writer, binding).function("build", binding)
        self.binding = binding
        self.source = "\n".join(writer.lines) + "\n"
        code = compile(self.source, f"<wire {binding.record.__name__}>", "exec")
        exec(code, writer.names)  # noqa: S102  the text comes from the definitions in this package alone
        self.parse: Callable[[bytes, int, int], R] = writer.names["parse"]
        self.build: Callable[[R], bytes] = writer.names["build"]


class _Source:
    """Lines of Python and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"WireError": WireError, "new": object.__new__, "join": b"".join}
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


class _Scope:
    """The fields of one record while its code is written: name on the wire -> Python text."""

    def __init__(self, binding: Binding[Any], parent: _Scope | None, prefix: str) -> None:
        self.binding = binding
        self.parent = parent
        self.prefix = prefix
        self.texts: dict[str, str] = {}
        self.wanted = references(binding.definition)

    def resolve(self, name: str) -> str:
        scope: _Scope | None = self
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


class _ParserWriter:
    """Writes ``parse(b, o, e)``: octets b, offset o, end e."""

    def __init__(self, source: _Source, binding: Binding[Any]) -> None:
        self.source = source
        self.indent = 1
        self.end = "e"
        self.at_end = False
        self.run: list[tuple[str, str | None]] = []
        self.run_octets = 0
        self.regions: list[tuple[str, int, str, str]] = []
        self.owner = binding.record.__name__

    def line(self, text: str) -> None:
        self.source.lines.append("    " * self.indent + text)

    def refuse(self, condition: str, reason: str) -> None:
        self.line(f"if {condition}: raise WireError({reason!r}, {self.owner!r})")

    def function(self, name: str, binding: Binding[Any]) -> None:
        self.source.lines.append(f"def {name}(b, o, e):")
        self.line(f"return {self.record(binding, None)[0]}")

    def record(
        self, binding: Binding[Any], parent: _Scope | None, wanted: frozenset[str] = frozenset()
    ) -> tuple[str, _Scope]:
        """Parse one bound Struct in line; returns the variable that holds the record, and its fields."""
        scope = _Scope(binding, parent, self.source.unique(binding.record.__name__.lower()) + "_")
        scope.wanted |= wanted
        owner, self.owner = self.owner, binding.record.__name__
        self.struct(binding.definition, scope)
        self.flush()
        target = scope.prefix + "r"
        self.line(f"{target} = new({self.source.name('R', binding.record)})")
        for name in binding.fields:
            self.line(f"{target}.{name} = {'0' if name in binding.given else scope.resolve(name)}")
        if binding.check is not None:
            self.line(f"{self.source.name('check', binding.check)}({target})")
        self.owner = owner
        return target, scope

    def struct(self, definition: Any, scope: _Scope) -> None:
        for subcon in definition.subcons:
            name, inner = unwrap(subcon)
            self.item(name, inner, scope)

    def flush(self) -> None:
        """Write the pending run of fixed fields: one check, one unpack, then the regions that began inside it."""
        if not self.run:
            return
        size = self.run_octets
        whole = self.regions[0][3] if self.regions else self.end
        self.refuse(f"{whole} - o < {size}", "truncated")
        variables = [name for _, name in self.run if name is not None]
        codes = "".join(code if name else f"{struct.calcsize('!' + code)}x" for code, name in self.run)
        if codes == "B":
            self.line(f"{variables[0]} = b[o]")
        elif variables:
            self.line(f"{', '.join(variables)}, = {self.source.unpack(codes)}(b, o)")
        self.line(f"o += {size}")
        self.run, self.run_octets = [], 0
        for length, after, end, outer in self.regions:
            self.line(f"{end} = o + {length} - {after + size}")
            self.refuse(f"{end} < o or {end} > {outer}", "length")
        self.regions = []
        self.at_end = False

    def fixed(self, code: str, variable: str | None) -> None:
        self.run.append((code, variable))
        self.run_octets += struct.calcsize("!" + code)

    def item(self, name: str | None, subcon: Any, scope: _Scope) -> None:
        """Write one field of a Struct; a field that nothing asks for is skipped over without a variable."""
        kept = name is not None and (name in scope.binding.fields or name in scope.wanted)
        variable = scope.declare(name, scope.prefix + name) if name is not None and kept else None
        if isinstance(subcon, construct.Rebuild | construct.Default):
            _, subcon = unwrap(subcon.subcon)
        code = fixed_code(subcon)
        if code is not None:
            self.fixed(code, variable)
        elif isinstance(subcon, construct.Prefixed) and _lends_fields(subcon.subcon):
            self.region(subcon, scope)
        elif isinstance(subcon, construct.Check):
            self.flush()
            self.refuse(f"not {translate(subcon.func, scope.resolve)}", str(name))
        elif subcon is construct.Terminated:
            self.flush()
            if not self.at_end:
                self.refuse(f"o != {self.end}", "trailing")
                self.at_end = True
        else:
            self.value(subcon, variable or self.source.unique("unused"), scope)

    def region(self, subcon: Any, scope: _Scope) -> None:
        """A length that counts its header, then fields that must fill it exactly."""
        length = self.source.unique("n")
        self.fixed("H", length)
        end, outer = self.source.unique("e"), self.end
        # When the run is flushed o stands `run so far` beyond the length field, which `header` octets lie before.
        self.regions.append((length, subcon.lengthfield.header_octets - self.run_octets, end, outer))
        _require_terminated(subcon.subcon, self.owner)
        self.end = end
        self.struct(unwrap(subcon.subcon)[1], scope)
        self.flush()
        self.end = outer
        self.at_end = False

    def value(self, subcon: Any, target: str, scope: _Scope) -> None:
        """Write code that leaves one value in ``target``."""
        _, subcon = unwrap(subcon)
        self.flush()
        binding = binding_of(subcon)
        arms = union_arms(subcon)
        if (code := fixed_code(subcon)) is not None:
            self.fixed(code, target)
            self.flush()
        elif isinstance(subcon, construct.Bytes):
            self.take(f"o + {translate(subcon.length, scope.resolve)}", target)
        elif subcon is construct.GreedyBytes:
            self.line(f"{target} = b[o:{self.end}]")
            self.line(f"o = {self.end}")
            self.at_end = True
        elif isinstance(subcon, construct.Computed):
            self.line(f"{target} = {translate(subcon.func, scope.resolve)}")
        elif binding is not None:
            self.line(f"{target} = {self.record(binding, scope)[0]}")
        elif arms is not None:
            self.union(arms, target, scope)
        elif isinstance(subcon, construct.IfThenElse):
            self.branch(translate(subcon.condfunc, scope.resolve), subcon, target, scope)
        elif isinstance(subcon, construct.Array | construct.GreedyRange | construct.RepeatUntil):
            self.items(subcon, target, scope)
        else:
            raise DefinitionError(f"{self.owner}: {type(subcon).__name__} is not in the vocabulary")

    def take(self, stop: str, target: str) -> None:
        """Octets up to an offset that comes from the wire."""
        mark = self.source.unique("t")
        self.line(f"{mark} = {stop}")
        self.refuse(f"{mark} < o or {mark} > {self.end}", "truncated")
        self.line(f"{target} = b[o:{mark}]")
        self.line(f"o = {mark}")
        self.at_end = False

    def union(self, arms: tuple[str, Any, Any], target: str, scope: _Scope) -> None:
        """A record chosen by the octet that it begins with."""
        name, _, choice = arms
        octet = self.source.unique(name)
        self.refuse(f"{self.end} - o < 1", "truncated")
        self.line(f"{octet} = b[o]")
        self.branch(translate(choice.condfunc, lambda _: octet), choice, target, scope)

    def branch(self, condition: str, choice: Any, target: str, scope: _Scope) -> None:
        for head, arm in ((f"if {condition}:", choice.thensubcon), ("else:", choice.elsesubcon)):
            self.line(head)
            self.indent += 1
            self.value(arm, target, scope)
            self.indent -= 1
        self.at_end = False

    def items(self, subcon: Any, target: str, scope: _Scope) -> None:
        """A list: counted, to the end of its region, or until an element says that it is the last."""
        limit = _limit(scope, target)
        self.line(f"{target} = []")
        element = self.source.unique("x")
        inner = unwrap(subcon.subcon)[1]
        binding = binding_of(inner)
        if isinstance(subcon, construct.Array):
            count = translate(subcon.count, scope.resolve)
            self.refuse(f"{count} > {limit}", "too-many")
            self.line(f"for _ in range({count}):")
        else:
            if least_octets(inner) < 1 and union_arms(inner) is None:
                raise DefinitionError(
                    f"{self.owner}: an element of {target} could be empty, and the list endless"
                )
            self.line(
                f"while o < {self.end}:" if isinstance(subcon, construct.GreedyRange) else "while True:"
            )
        self.indent += 1
        if not isinstance(subcon, construct.Array):
            self.refuse(f"len({target}) == {limit}", "too-many")
        if isinstance(subcon, construct.RepeatUntil):
            if binding is None:
                raise DefinitionError(f"{self.owner}: only records repeat until the last")
            record, fields = self.record(binding, scope, frozenset(["last"]))
            self.line(f"{target}.append({record})")
            self.line(f"if {translate(subcon.predicate, fields.resolve)}: break")
        else:
            self.value(inner, element, scope)
            self.line(f"{target}.append({element})")
        self.indent -= 1
        self.at_end = isinstance(subcon, construct.GreedyRange)


class _BuilderWriter:
    """Writes ``build(r)``. Variable parts become octets first; then lengths are sums, and each run is packed once."""

    def __init__(self, source: _Source, binding: Binding[Any]) -> None:
        self.source = source
        self.indent = 1
        self.owner = binding.record.__name__

    def line(self, text: str) -> None:
        self.source.lines.append("    " * self.indent + text)

    def refuse(self, condition: str, reason: str) -> None:
        self.line(f"if {condition}: raise WireError({reason!r}, {self.owner!r})")

    def function(self, name: str, binding: Binding[Any]) -> None:
        self.source.lines.append(f"def {name}(r):")
        self.line(f"return {self.record(binding, 'r', None)}")

    def record(
        self, binding: Binding[Any], variable: str, parent: _Scope | None, last: str | None = None
    ) -> str:
        """Text of an expression with the octets of one record, after the lines that it needs."""
        scope = _Scope(binding, parent, variable + ".")
        owner, self.owner = self.owner, binding.record.__name__
        for name in binding.fields:
            scope.declare(name, f"{variable}.{name}")
        if last is not None:
            scope.declare("last", last)
        parts = self.struct(binding.definition, scope)
        self.owner = owner
        return self.expression(parts)

    def struct(self, definition: Any, scope: _Scope) -> list[tuple[str, str]]:
        """The parts of a Struct in order: ("", octets) or (struct code, value)."""
        parts: list[tuple[str, str]] = []
        for subcon in definition.subcons:
            name, inner = unwrap(subcon)
            self.item(name, inner, scope, parts)
        return parts

    def item(self, name: str | None, subcon: Any, scope: _Scope, parts: list[tuple[str, str]]) -> None:
        binding = scope.binding
        code = fixed_code(unwrap(getattr(subcon, "subcon", subcon))[1])
        if isinstance(subcon, construct.Check):
            # Which element is the last is derived, never given, and so is right.
            if "last" not in references(subcon):
                condition = translate(subcon.func, scope.resolve)
                left, equals, right = condition[1:-1].partition(" == ")
                if not equals or left != right:
                    self.refuse(f"not {condition}", str(name))
        elif isinstance(subcon, construct.Computed) or subcon is construct.Terminated:
            pass
        elif isinstance(subcon, construct.Rebuild) and code is not None:
            text = translate(subcon.func, scope.resolve)
            parts.append((code, scope.declare(str(name), text) if name not in scope.texts else text))
        elif isinstance(subcon, construct.Default) and code is not None:
            parts.append((code, scope.texts[name] if name in scope.texts else repr(subcon.value)))
        elif fixed_code(subcon) is not None:
            parts.append((str(fixed_code(subcon)), self.source_of(name, scope)))
            if fixed_code(subcon).endswith("s"):  # type: ignore[union-attr]
                self.refuse(f"len({self.source_of(name, scope)}) != {subcon.length}", "length")
        elif isinstance(subcon, construct.Prefixed) and _lends_fields(subcon.subcon):
            at = len(parts)
            parts.extend(self.struct(unwrap(subcon.subcon)[1], scope))
            covered = _octets_of(parts[at:], subcon.lengthfield.header_octets)
            parts.insert(at, ("H", covered))
        elif name is not None and name in binding.fields:
            parts.append(("", self.value(subcon, scope.resolve(name), name, scope)))
        else:
            raise DefinitionError(f"{self.owner}: nothing says what to build for {name!r}")

    def source_of(self, name: str | None, scope: _Scope) -> str:
        """Where a plain fixed field comes from: the record, or the function that derives it."""
        if name in scope.texts:
            return scope.texts[name]
        if name is not None and name in scope.binding.derive:
            variable = self.source.unique(name)
            function = self.source.name("derive", scope.binding.derive[name])
            self.line(f"{variable} = {function}({scope.prefix[:-1]})")
            return scope.declare(name, variable)
        raise DefinitionError(f"{self.owner}: nothing says what to build for {name!r}")

    def value(self, subcon: Any, source: str, name: str, scope: _Scope) -> str:
        """Variable with the octets of one value."""
        _, subcon = unwrap(subcon)
        target = self.source.unique("v")
        binding, arms = binding_of(subcon), union_arms(subcon)
        if isinstance(subcon, construct.Bytes):
            self.line(f"{target} = {source}")
            expected = translate(subcon.length, scope.resolve)
            if expected != f"len({source})":
                self.refuse(f"len({target}) != {expected}", "length")
        elif subcon is construct.GreedyBytes:
            self.line(f"{target} = {source}")
        elif isinstance(subcon, construct.Computed):
            self.line(f'{target} = b""')
        elif binding is not None:
            inner = self.source.unique("r")
            self.line(f"{inner} = {source}")
            self.line(f"{target} = {self.record(binding, inner, scope)}")
        elif arms is not None:
            self.union(arms[2], source, target, scope)
        elif isinstance(subcon, construct.IfThenElse):
            condition = translate(subcon.condfunc, scope.resolve)
            for head, arm in ((f"if {condition}:", subcon.thensubcon), ("else:", subcon.elsesubcon)):
                self.line(head)
                self.indent += 1
                self.line(f"{target} = {self.value(arm, source, name, scope)}")
                self.indent -= 1
        elif isinstance(subcon, construct.Array | construct.GreedyRange | construct.RepeatUntil):
            self.items(subcon, source, name, target, scope)
        else:
            raise DefinitionError(f"{self.owner}: {type(subcon).__name__} is not in the vocabulary")
        return target

    def union(self, choice: Any, source: str, target: str, scope: _Scope) -> None:
        """The record's class says which arm it is."""
        inner = self.source.unique("r")
        self.line(f"{inner} = {source}")
        for head, arm in (("if", choice.thensubcon), ("elif", choice.elsesubcon)):
            binding = binding_of(unwrap(arm)[1])
            if binding is None:
                raise DefinitionError(f"{self.owner}: the arms of a choice are records")
            self.line(f"{head} {inner}.__class__ is {self.source.name('R', binding.record)}:")
            self.indent += 1
            self.line(f"{target} = {self.record(binding, inner, scope)}")
            self.indent -= 1
        self.line(f"else: raise WireError('build', {self.owner!r})")

    def items(self, subcon: Any, source: str, name: str, target: str, scope: _Scope) -> None:
        inner = unwrap(subcon.subcon)[1]
        binding = binding_of(inner)
        items, element = self.source.unique("l"), self.source.unique("x")
        self.refuse(f"len({source}) > {_limit(scope, name)}", "too-many")
        repeat = isinstance(subcon, construct.RepeatUntil)
        last = self.source.unique("last") if repeat else None
        if repeat:
            self.refuse(f"not {source}", "build")
            left = self.source.unique("left")
            self.line(f"{left} = len({source})")
        else:
            self.line(f'{target} = b""')
            self.line(f"if {source}:")
            self.indent += 1
        self.line(f"{items} = []")
        self.line(f"for {element} in {source}:")
        self.indent += 1
        if repeat:
            more = next(unwrap(c)[1].value for c in inner.subcons if unwrap(c)[0] == "last")
            self.line(f"{left} -= 1")
            self.line(f"{last} = {more} if {left} else 0")
        if binding is not None:
            text = self.record(binding, element, scope, last)
        else:
            text = self.value(inner, element, name, scope)
        self.line(f"{items}.append({text})")
        self.indent -= 1
        self.line(f"{target} = join({items})")
        if not repeat:
            self.indent -= 1

    def expression(self, parts: list[tuple[str, str]]) -> str:
        """Parts put together: each run of fixed fields is one pack."""
        pieces: list[str] = []
        run: list[tuple[str, str]] = []

        def pack() -> None:
            if run:
                codes = "".join(f"{struct.calcsize('!' + c)}x" if _zero(v) else c for c, v in run)
                values = ", ".join(v for _, v in run if not _zero(v))
                pieces.append(f"{self.source.pack(codes)}({values})")
                run.clear()

        for code, text in parts:
            if code:
                run.append((code, text))
            else:
                pack()
                pieces.append(text)
        pack()
        if len(pieces) > 3:
            return f"join(({', '.join(pieces)}))"
        return " + ".join(pieces) or 'b""'


def _zero(text: str) -> bool:
    return text == "0" or (text.startswith("b'") and not text[2:-1].replace("\\x00", ""))


def _lends_fields(subcon: Any) -> bool:
    """Whether a nested Struct is bound to nothing, so that its fields are those of the record around it."""
    _, subcon = unwrap(subcon)
    return isinstance(subcon, construct.Struct) and binding_of(subcon) is None


def _require_terminated(subcon: Any, owner: str) -> None:
    """The interpreter ignores what is left in a region unless the definition says Terminated, so it has to say so."""
    last = unwrap(unwrap(subcon)[1].subcons[-1])[1]
    if last is not construct.Terminated and last is not construct.GreedyBytes:
        raise DefinitionError(f"{owner}: a region ends with Terminated or GreedyBytes")


def _octets_of(parts: list[tuple[str, str]], header: int) -> str:
    fixed = header + sum(struct.calcsize("!" + code) for code, _ in parts if code)
    return " + ".join([str(fixed)] + [f"len({text})" for code, text in parts if not code])


def _limit(scope: _Scope, target: str) -> int:
    name = target.removeprefix(scope.prefix)
    try:
        return scope.binding.limits[name]
    except KeyError:
        raise DefinitionError(f"{scope.binding.record.__name__}: the list {name!r} has no limit") from None
