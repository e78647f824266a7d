"""Forms as they were filled in, and what is wrong with them: a page is shown again with both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from gkmd.api.problem import FieldProblem, Problem
from gkmd.core.duration import seconds_of
from gkmd.core.money import Money

_FIELDS: Final = 1000
_PARTS: Final = re.compile(r"\.(any|all)\.\d+")


class Form:
    """Values by the names of the inputs. ``places`` says which input shows a field of the request."""

    def __init__(
        self,
        values: Mapping[str, Sequence[str]] | None = None,
        problem: Problem | None = None,
        places: Mapping[str, str] | None = None,
    ) -> None:
        self.values = dict(values or {})
        self.problem = problem
        self.errors: dict[str, str] = {}
        self.others: list[str] = []
        if problem is not None:
            self._place(problem, places or {})

    @classmethod
    def of(cls, **values: str | Sequence[str]) -> Form:
        """A form with these values to begin with."""
        return cls({name: [one] if isinstance(one, str) else list(one) for name, one in values.items()})

    @classmethod
    def parse(cls, body: bytes) -> Form:
        """``application/x-www-form-urlencoded``. Problem when it is none."""
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS)
        except ValueError:
            raise Problem("bad-request", "What was sent is no form.") from None
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        return cls(values)

    def again(self, problem: Problem, places: Mapping[str, str] | None = None) -> Form:
        """The same values, with what is wrong."""
        return Form(self.values, problem, places)

    def value(self, name: str, default: str = "") -> str:
        found = self.values.get(name)
        return found[0] if found else default

    def text(self, name: str) -> str:
        return self.value(name).strip()

    def all(self, name: str) -> list[str]:
        return list(self.values.get(name, ()))

    def has(self, name: str) -> bool:
        return name in self.values

    def ticked(self, name: str, value: str = "on") -> bool:
        return value in self.values.get(name, ())

    def error(self, name: str) -> str:
        return self.errors.get(name, "")

    def _place(self, problem: Problem, places: Mapping[str, str]) -> None:
        for one in problem.fields:
            place = _place_of(one.field, places)
            self.errors[place] = f"{self.errors[place]}; {one.text}" if place in self.errors else one.text
        if not problem.fields:
            self.others.append(problem.detail)


def _place_of(field: str, places: Mapping[str, str]) -> str:
    """The input of the longest beginning of ``field`` that has one; parts of a rule count as the rule."""
    parts = _PARTS.sub("", field).split(".")
    for length in range(len(parts), 0, -1):
        found = places.get(".".join(parts[:length]))
        if found is not None:
            return found
    return parts[0]


class Faults:
    """Collects what is wrong with the inputs of a form, then says all of it at once."""

    def __init__(self) -> None:
        self._found: list[FieldProblem] = []

    def add(self, field: str, text: str) -> None:
        self._found.append(FieldProblem(field, text))

    def end(self) -> None:
        """Problem("invalid") when there was anything."""
        if self._found:
            raise Problem("invalid", "Some fields need another look.", tuple(self._found))

    def money(self, field: str, text: str, currency: str) -> dict[str, object] | None:
        """``2.50`` or ``2.50 EUR`` as an Amount; None and a note when it is none."""
        try:
            found = Money.parse(text.strip().replace(",", "."), currency)
        except ValueError as error:
            self.add(field, str(error))
            return None
        return {"amount": found.amount, "currency": found.currency}

    def duration(self, field: str, text: str) -> int | None:
        """Seconds of ``1h30m``, ``90s``, ``1:30`` (hours and minutes); a number needs its unit."""
        try:
            return seconds_of(text)
        except ValueError as error:
            self.add(field, str(error))
            return None

    def whole(self, field: str, text: str, default: int | None = None) -> int | None:
        text = text.strip()
        if not text and default is not None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            self.add(field, "a whole number is needed")
            return None
        return int(text)

    def number(self, field: str, text: str) -> float | None:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text.strip()):
            self.add(field, "a number is needed")
            return None
        return float(text)


def words(text: str) -> list[str]:
    """What is separated by commas or new lines."""
    return [one for one in (part.strip() for part in re.split(r"[,\n]", text)) if one]
