"""Requests checked against the types of the operations: all wrong fields are named, not only the first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gkmd.api.operations import Operation
from gkmd.api.problem import FieldProblem, Problem

_AT: Final = " - at `"
_LONGEST_TEXT: Final = 300  # a refusal does not give back all that was sent
_MOST_FIELDS: Final = 50
_INDEX: Final = re.compile(r"\[(\d+|\.\.\.)\]")
_SIMPLE: Final = (
    (re.compile(r"Expected `(?:str|array|object)` of length >= (\d+)"), r"is needed, at least \1 long"),
    (re.compile(r"Expected `(?:str|array|object)` of length <= (\d+)"), r"is too long; at most \1"),
    (re.compile(r"Expected `(?:int|float)` >= (\S+)"), r"must be at least \1"),
    (re.compile(r"Expected `(?:int|float)` <= (\S+)"), r"must be at most \1"),
    (
        re.compile(r"Expected `str` matching regex '(.*)'", re.DOTALL),
        r"has characters that do not do: \1",
    ),
    (re.compile(r"Invalid enum value (.*)", re.DOTALL), r"\1 is none of the values that are possible"),
    (re.compile(r"Expected `int`, got `(\w+)`"), r"must be a whole number"),
    (re.compile(r"Expected `float`, got `(\w+)`"), r"must be a number"),
)


def check(operation: Operation, data: Mapping[str, Any], strict: bool = True) -> dict[str, Any]:
    """``data`` as plain data of the request's type. ``strict`` False: from a query, numbers are text there.

    Problem("invalid") with every field that does not do.
    """
    try:
        found = msgspec.convert(dict(data), operation.request, strict=strict)
    except RecursionError:
        raise Problem("bad-request", "What was sent is nested too deeply.") from None
    except msgspec.ValidationError as error:
        fields = problems_of(operation.request, data, strict) or (_problem(str(error), ""),)
        raise Problem("invalid", told(fields), fields) from None
    try:
        plain = msgspec.to_builtins(found)
    except RecursionError:
        raise Problem("bad-request", "What was sent is nested too deeply.") from None
    assert isinstance(plain, dict)
    # What was not given is not sent: the daemon has the same defaults.
    return {name: plain[name] for name in plain if name in data}


def problems_of(kind: type[Any], data: Mapping[str, Any], strict: bool = True) -> tuple[FieldProblem, ...]:
    """What is wrong with each field of ``data`` by itself."""
    found = []
    known = {one.encode_name: one for one in msgspec.structs.fields(kind)}
    for name, one in known.items():
        if name not in data:
            if one.required:
                found.append(FieldProblem(name, "is needed"))
            continue
        try:
            msgspec.convert(data[name], one.type, strict=strict)
        except msgspec.ValidationError as error:
            found.append(_problem(str(error), name))
    found += [FieldProblem(str(name)[:100], "is not known here") for name in data if name not in known]
    return tuple(found[:_MOST_FIELDS])


def told(fields: tuple[FieldProblem, ...]) -> str:
    return "; ".join(f"{one.field} {one.text}".strip() for one in fields[:5])


def _problem(message: str, name: str) -> FieldProblem:
    text, at, where = message.rpartition(_AT)
    where = where.removeprefix("key in ")
    if at and where.startswith("$") and where.endswith("`"):
        where = where[1:-1]
    else:  # what looks like a path is of the value
        text, where = message, ""
    text, where = text[:_LONGEST_TEXT], where[:_LONGEST_TEXT]
    path = _INDEX.sub(r".\1", where).strip(".")
    for pattern, simple in _SIMPLE:
        if pattern.fullmatch(text):
            text = pattern.sub(simple, text)
            break
    return FieldProblem(".".join(part for part in (name, path) if part), text.replace("`", ""))
