"""Turns definitions into straight-line parsers and builders, once, at import.

construct's interpreter costs about fifty times ``struct``, and its own compiler drops the bounds checks. This
one keeps them: runs of fixed fields become one ``unpack_from`` behind one check, every length is compared
with its surroundings before it is used, every region is consumed exactly, and lists end by their bounds and
limits rather than by an exception. The interpreter stays the oracle of what this makes
(tests/wire/test_differential.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from wire.builder_writer import BuilderWriter
from wire.codegen import Source
from wire.parser_writer import ParserWriter
from wire.vocabulary import Binding

R = TypeVar("R")


class Codec(Generic[R]):
    """``parse(data, start, end) -> record`` and ``build(record) -> octets``, with the source that does it."""

    __slots__ = ("binding", "build", "parse", "source")

    def __init__(self, binding: Binding[R]) -> None:
        writer = Source()
        ParserWriter(writer, binding).function("parse", binding)
        BuilderWriter(writer, binding).function("build", binding)
        self.binding = binding
        self.source = "\n".join(writer.lines) + "\n"
        code = compile(self.source, f"<wire {binding.record.__name__}>", "exec")
        exec(code, writer.names)  # noqa: S102  the text comes from the definitions in this package alone
        self.parse: Callable[[bytes, int, int], R] = writer.names["parse"]
        self.build: Callable[[R], bytes] = writer.names["build"]
