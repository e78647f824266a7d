"""The compiler: what it writes checks every length, and it refuses definitions that would not be safe."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import construct
import pytest
from construct import (
    Array,
    Bytes,
    Check,
    Default,
    GreedyBytes,
    GreedyRange,
    IfThenElse,
    Int8ub,
    Int16ub,
    Peek,
    Rebuild,
    RepeatUntil,
    Struct,
    Terminated,
    len_,
    obj_,
    this,
)

from wire import chain, header
from wire.compile import Codec
from wire.errors import WireError
from wire.gikev2 import WRAPPED_KEY
from wire.vocabulary import DefinitionError, bind, sized

SOURCES = {
    **{c.binding.record.__name__: c.source for c in chain.CODECS.values()},
    "WrappedKey": Codec(WRAPPED_KEY).source,
    "Header": Codec(header.HEADER).source,
}


def parser_lines(source: str) -> list[str]:
    return source[: source.index("def build")].splitlines()


@pytest.mark.parametrize("name", SOURCES)
def test_each_read_stands_behind_its_check(name: str) -> None:
    lines = [line.strip() for line in parser_lines(SOURCES[name])]
    for number, line in enumerate(lines):
        before = lines[number - 1]
        if "unpack_" in line or re.search(r"= b\[o\]$", line):
            assert re.match(r"if \w+ - o < \d+: raise WireError\('truncated'", before), line
        slice_of = re.search(r"= b\[o:(\w+)\]", line)
        if slice_of and slice_of[1].startswith("t"):
            assert before.startswith(f"if {slice_of[1]} < o or {slice_of[1]} > e"), line
        elif slice_of:
            assert re.fullmatch(r"e\d*", slice_of[1]), line  # to the end of a region that was checked
        assert "b[" not in line or slice_of or line.endswith("= b[o]"), line
        region = re.match(r"(e\d+) = o \+ (n\d+) - \d+$", line)
        if region:
            assert lines[number + 1].startswith(f"if {region[1]} < o or {region[1]} > e"), line


@pytest.mark.parametrize("name", SOURCES)
def test_every_length_and_loop_is_bounded(name: str) -> None:
    lines = [line.strip() for line in parser_lines(SOURCES[name])]
    text = "\n".join(lines)
    for length in re.findall(r"\b(n\d+)\b(?=[,\w ]* = |, )", text):
        assert re.search(rf"= o \+ {length} - ", text), f"{length} is read and not used"
    for number, line in enumerate(lines):
        if line.startswith("while"):
            assert re.match(r"if len\(\w+\) == \d+: raise WireError\('too-many'", lines[number + 1])
        if line.startswith("for"):
            assert re.match(r"if \w+ > \d+: raise WireError\('too-many'", lines[number - 1])
    for end in re.findall(r"(e\d+) = o \+", text):
        exact = f"if o != {end}: raise WireError('trailing'" in text
        assert exact or f"while o < {end}:" in text or f"o = {end}" in text, f"{end} is not consumed exactly"


def test_the_definitions_use_neither_lambdas_nor_constructs_own_compiler() -> None:
    for source in SOURCES.values():
        assert "lambda" not in source
    for codec in chain.CODECS.values():
        assert not isinstance(codec.binding.definition, construct.Compiled)


@dataclass(slots=True)
class Pair:
    left: int = 0
    right: bytes = b""


@dataclass(slots=True)
class Listed:
    items: list[int] = field(default_factory=list)


@pytest.mark.parametrize(
    ("record", "definition", "message"),
    [
        (Pair, Struct("left" / Int8ub), "unknown field 'right'"),
        (Pair, Struct("left" / Int8ub, "right" / Bytes(lambda this: 3)), "operators only"),
        (Pair, Struct("left" / Int8ub, "right" / construct.Prefixed(Int8ub, GreedyBytes)), "vocabulary"),
        (Pair, Struct("left" / construct.Int16ul, "right" / GreedyBytes), "big-endian"),
        (Pair, Struct("left" / Int8ub, "left" / Int8ub, "right" / GreedyBytes), "two fields"),
        (
            Pair,
            Struct("left" / Int8ub, "other" / Int8ub, "right" / GreedyBytes),
            "nothing says what to build",
        ),
        (Pair, Struct("left" / Int8ub, "right" / Bytes(this.other)), "unknown field 'other'"),
        (Pair, Struct("left" / Int8ub, "_" / sized(2, Struct("right" / Bytes(2)))), "ends with Terminated"),
        (Listed, Struct("items" / GreedyRange(Int8ub)), "no limit"),
        (
            Pair,
            Struct("left" / Int8ub, "x" / Bytes(this.left), "right" / GreedyBytes),
            "what to build for 'x'",
        ),
        (Pair, Struct("left" / Int8ub, "right" / Struct("a" / Int8ub, "b" / Int8ub)), "vocabulary"),
    ],
)
def test_definitions_that_are_refused(record: type, definition: object, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Codec(bind(record, definition))


def test_lists_of_nothing_are_refused() -> None:
    definition = Struct("size" / Default(Int8ub, 0), "items" / GreedyRange(Bytes(this.size)))
    with pytest.raises(DefinitionError, match="endless"):
        Codec(bind(Listed, definition, limits={"items": 3}))


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (RepeatUntil(obj_ == 0, Int8ub), "only records repeat"),
        (
            GreedyRange(Struct("first" / Peek(Int8ub), "_" / IfThenElse(this.first == 0, Int8ub, Int16ub))),
            "arms",
        ),
    ],
)
def test_lists_of_other_things_than_records(element: object, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Codec(bind(Listed, Struct("items" / element), limits={"items": 3}))


def test_fields_that_nobody_asks_for_are_checked_and_skipped() -> None:
    codec = Codec(
        bind(Pair, Struct("_" / Default(Bytes(3), bytes(3)), "right" / GreedyBytes), given=("left",))
    )
    assert codec.parse(b"abcde", 0, 5) == Pair(0, b"de")
    assert codec.build(Pair(9, b"de")) == b"\0\0\0de"
    with pytest.raises(WireError, match="truncated"):
        codec.parse(b"ab", 0, 2)


def test_counts_that_could_be_negative_are_refused() -> None:
    definition = Struct("size" / Default(Int8ub, 0), "items" / Array(this.size - 8, Int8ub))
    with pytest.raises(DefinitionError, match="count of"):
        Codec(bind(Listed, definition, limits={"items": 3}))


def test_a_codec_of_simple_parts() -> None:
    """Fixed octets, a choice, a count, a default other than zero: words that the payloads use little."""

    @dataclass(slots=True)
    class Small:
        tag: bytes
        kind: int
        number: int
        bits: list[int]

    definition = Struct(
        "tag" / Bytes(2),
        "mark" / Default(Int8ub, 7),
        "kind" / Int8ub,
        "number" / IfThenElse(this.kind > 3, Int16ub, Int8ub),
        "count" / Rebuild(Int8ub, len_(this.bits)),
        "bits" / Array(this.count, Int8ub),
        "seven" / Check(this.mark == 7),
        Terminated,
    )
    codec = Codec(bind(Small, definition, limits={"bits": 4}))
    for record in (Small(b"ab", 1, 2, []), Small(b"ab", 4, 513, [1, 2, 3])):
        octets = codec.build(record)
        container = definition.parse(octets)
        assert codec.parse(octets, 0, len(octets)) == record
        assert (container.number, list(container.bits)) == (record.number, record.bits)
        for cut in range(len(octets)):
            with pytest.raises(WireError):
                codec.parse(octets[:cut], 0, cut)
    assert codec.build(Small(b"ab", 4, 513, [1])) == b"ab\x07\x04\x02\x01\x01\x01"
    for wrong in (Small(b"abc", 1, 2, []), Small(b"ab", 1, 256, []), Small(b"ab", 1, 1, [1] * 5)):
        with pytest.raises(WireError):
            codec.build(wrong)
    with pytest.raises(WireError, match="seven"):
        codec.parse(b"ab\x08\x01\x01\x00", 0, 6)
