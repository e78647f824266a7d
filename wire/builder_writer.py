"""Writes builders: definitions in, straight-line Python out."""

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
    references,
    translate,
    union_arms,
    unwrap,
)


class BuilderWriter:
    """Writes ``build(r)``.

    Variable parts become octets first; then lengths are sums, and each run is packed once.
    """

    def __init__(self, source: Source, binding: Binding[Any]) -> None:
        self.source = source
        self.indent = 1
        self.owner = binding.record.__name__

    def line(self, text: str) -> None:
        self.source.lines.append("    " * self.indent + text)

    def refuse(self, condition: str, reason: str) -> None:
        self.line(f"if {condition}: raise WireError({reason!r}, {self.owner!r})")

    def function(self, name: str, binding: Binding[Any]) -> None:
        self.source.lines.append(f"def {name}(r):")
        self.line("try:")
        self.indent += 1
        self.line(f"return {self.record(binding, 'r', None)}")
        self.indent -= 1
        # A number that does not fit its field, or a value of the wrong kind.
        self.line("except (error, TypeError) as reason:")
        self.line(f"    raise WireError('build', f'{self.owner}: {{reason}}') from reason")

    def record(
        self, binding: Binding[Any], variable: str, parent: Scope | None, last: str | None = None
    ) -> str:
        """Text of an expression with the octets of one record, after the lines that it needs."""
        scope = Scope(binding, parent, variable + ".")
        owner, self.owner = self.owner, binding.record.__name__
        for name in binding.fields:
            scope.declare(name, f"{variable}.{name}")
        if last is not None:
            scope.declare("last", last)
        parts = self.struct(binding.definition, scope)
        self.owner = owner
        return self.expression(parts)

    def struct(self, definition: Any, scope: Scope) -> list[tuple[str, str]]:
        """The parts of a Struct in order: ("", octets) or (struct code, value)."""
        parts: list[tuple[str, str]] = []
        for subcon in definition.subcons:
            name, inner = unwrap(subcon)
            self.item(name, inner, scope, parts)
        return parts

    def item(self, name: str | None, subcon: Any, scope: Scope, parts: list[tuple[str, str]]) -> None:
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
            parts.append((code, scope.texts.get(str(name)) or scope.declare(str(name), repr(subcon.value))))
        elif fixed_code(subcon) is not None:
            parts.append((str(fixed_code(subcon)), self.source_of(name, scope)))
            if fixed_code(subcon).endswith("s"):  # type: ignore[union-attr]
                self.refuse(f"len({self.source_of(name, scope)}) != {subcon.length}", "length")
        elif isinstance(subcon, construct.Prefixed) and lends_fields(subcon.subcon):
            at = len(parts)
            parts.extend(self.struct(unwrap(subcon.subcon)[1], scope))
            covered = _octets_of(parts[at:], subcon.lengthfield.header_octets)
            parts.insert(at, ("H", covered))
        elif name is not None and name in binding.fields:
            parts.append(("", self.value(subcon, scope.resolve(name), name, scope)))
        else:
            raise DefinitionError(f"{self.owner}: nothing says what to build for {name!r}")

    def source_of(self, name: str | None, scope: Scope) -> str:
        """Where a plain fixed field comes from: the record, or the function that derives it."""
        if name in scope.texts:
            return scope.texts[name]
        if name is not None and name in scope.binding.derive:
            variable = self.source.unique(name)
            function = self.source.name("derive", scope.binding.derive[name])
            self.line(f"{variable} = {function}({scope.prefix[:-1]})")
            return scope.declare(name, variable)
        raise DefinitionError(f"{self.owner}: nothing says what to build for {name!r}")

    def value(self, subcon: Any, source: str, name: str, scope: Scope) -> str:
        """Variable with the octets of one value."""
        _, subcon = unwrap(subcon)
        target = self.source.unique("v")
        binding, arms = binding_of(subcon), union_arms(subcon)
        if isinstance(subcon, construct.FormatField):
            self.line(f"{target} = {self.source.pack(str(fixed_code(subcon)))}({source})")
        elif isinstance(subcon, construct.Bytes):
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
        else:
            # A list: the parser's writer comes first, and has refused what is not in the vocabulary.
            self.items(subcon, source, name, target, scope)
        return target

    def union(self, choice: Any, source: str, target: str, scope: Scope) -> None:
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

    def items(self, subcon: Any, source: str, name: str, target: str, scope: Scope) -> None:
        inner = unwrap(subcon.subcon)[1]
        binding = binding_of(inner)
        items, element = self.source.unique("l"), self.source.unique("x")
        self.refuse(f"len({source}) > {limit_of(scope, name)}", "too-many")
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


def _octets_of(parts: list[tuple[str, str]], header: int) -> str:
    fixed = header + sum(struct.calcsize("!" + code) for code, _ in parts if code)
    return " + ".join([str(fixed)] + [f"len({text})" for code, text in parts if not code])
