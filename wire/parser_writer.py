"""Writes parsers: definitions in, straight-line Python out."""

from __future__ import annotations

import struct
from typing import Any

import construct

from wire.codegen import Scope, Source, lends_fields, limit_of
from wire.vocabulary import (
    Binding,
    DefinitionError,
    binding_of,
    fixed_code,
    least_octets,
    translate,
    union_arms,
    unwrap,
)


class ParserWriter:
    """Writes ``parse(b, o, e)``: octets b, offset o, end e."""

    def __init__(self, source: Source, binding: Binding[Any]) -> None:
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
        record, _ = self.record(binding, None)
        if not self.at_end:
            self.refuse("o != e", "trailing")
        self.line(f"return {record}")

    def record(
        self, binding: Binding[Any], parent: Scope | None, wanted: frozenset[str] = frozenset()
    ) -> tuple[str, Scope]:
        """Parse one bound Struct in line; returns the variable that holds the record, and its fields."""
        scope = Scope(binding, parent, self.source.unique(binding.record.__name__.lower()) + "_")
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

    def struct(self, definition: Any, scope: Scope) -> None:
        for subcon in definition.subcons:
            name, inner = unwrap(subcon)
            self.item(name, inner, scope)

    def flush(self) -> None:
        """Write the pending run of fixed fields: one check, one unpack, then the regions that begin in it."""
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

    def item(self, name: str | None, subcon: Any, scope: Scope) -> None:
        """Write one field of a Struct; a field that nothing asks for is skipped over without a variable."""
        kept = name is not None and (name in scope.binding.fields or name in scope.wanted)
        variable = scope.declare(name, scope.prefix + name) if name is not None and kept else None
        if isinstance(subcon, construct.Rebuild | construct.Default):
            _, subcon = unwrap(subcon.subcon)
        code = fixed_code(subcon)
        if code is not None:
            self.fixed(code, variable)
        elif isinstance(subcon, construct.Prefixed) and lends_fields(subcon.subcon):
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

    def region(self, subcon: Any, scope: Scope) -> None:
        """A length that counts its header, then fields that must fill it exactly."""
        length = self.source.unique("n")
        self.fixed("H", length)
        end, outer = self.source.unique("e"), self.end
        # When the run is flushed o stands `run so far` beyond the length field, which `header` octets lie
        # before.
        self.regions.append((length, subcon.lengthfield.header_octets - self.run_octets, end, outer))
        require_terminated(subcon.subcon, self.owner)
        self.end = end
        self.struct(unwrap(subcon.subcon)[1], scope)
        self.flush()
        self.end = outer
        self.at_end = False

    def value(self, subcon: Any, target: str, scope: Scope) -> None:
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

    def union(self, arms: tuple[str, Any, Any], target: str, scope: Scope) -> None:
        """A record chosen by the octet that it begins with."""
        name, _, choice = arms
        octet = self.source.unique(name)
        self.refuse(f"{self.end} - o < 1", "truncated")
        self.line(f"{octet} = b[o]")
        self.branch(translate(choice.condfunc, lambda _: octet), choice, target, scope)

    def branch(self, condition: str, choice: Any, target: str, scope: Scope) -> None:
        for head, arm in ((f"if {condition}:", choice.thensubcon), ("else:", choice.elsesubcon)):
            self.line(head)
            self.indent += 1
            self.value(arm, target, scope)
            self.indent -= 1
        self.at_end = False

    def items(self, subcon: Any, target: str, scope: Scope) -> None:
        """A list: counted, to the end of its region, or until an element says that it is the last."""
        limit = limit_of(scope, target)
        self.line(f"{target} = []")
        element = self.source.unique("x")
        inner = unwrap(subcon.subcon)[1]
        binding = binding_of(inner)
        if isinstance(subcon, construct.Array):
            if type(subcon.count).__name__ != "Path":
                raise DefinitionError(f"{self.owner}: the count of {target} is a field, and so not negative")
            count = translate(subcon.count, scope.resolve)
            self.refuse(f"{count} > {limit}", "too-many")
            self.line(f"for _ in range({count}):")
        else:
            if least_octets(inner) < 1:
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


def require_terminated(subcon: Any, owner: str) -> None:
    """A region has to say that it ends: the interpreter ignores what is left over otherwise."""
    last = unwrap(unwrap(subcon)[1].subcons[-1])[1]
    if last is not construct.Terminated and last is not construct.GreedyBytes:
        raise DefinitionError(f"{owner}: a region ends with Terminated or GreedyBytes")
