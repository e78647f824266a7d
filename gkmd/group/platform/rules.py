"""Admission rules: read, checked, and what a receiver may know of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gkmd.api.nouns import Amount, Rule
from gkmd.api.problem import FieldProblem
from gkmd.core.identity import IdentityPattern
from gkmd.core.money import MOST, places

WAYS: Final = ("open", "names", "identities", "classes", "price", "vouchers")
DEEPEST: Final = 5
MOST_NODES: Final = 50
MOST_PATTERNS: Final = 1000  # identities and classes in the whole rule
_LONGEST: Final = 200  # characters of a pattern; a DN in hex takes more
_LONGEST_DN: Final = 2000


def parse(data: dict[str, Any]) -> Rule:
    """The rule of a reservation's plain data; msgspec.ValidationError when it is none."""
    return msgspec.convert(data, Rule)


def plain(rule: Rule) -> dict[str, Any]:
    """As a reservation keeps it: JSON's types only, without what is not given."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(rule))
    return data


def check(rule: Rule, field: str = "admission") -> tuple[FieldProblem, ...]:
    """All that is wrong with it; of a rule that is too large that alone."""
    patterns = 0
    for nodes, (depth, _, node) in enumerate(_walk(rule, field), 1):
        patterns += len(node.identities) + len(node.classes)
        if depth > DEEPEST:
            return (FieldProblem(field, f"it is nested deeper than {DEEPEST} levels"),)
        if nodes > MOST_NODES:
            return (FieldProblem(field, f"it has more than {MOST_NODES} parts"),)
    if patterns > MOST_PATTERNS:
        return (FieldProblem(field, f"it has {patterns} patterns and classes; at most {MOST_PATTERNS}"),)
    wrong = tuple(problem for _, where, node in _walk(rule, field) for problem in _check_node(node, where))
    if not wrong and _costs(rule) == (False, {}):
        return (FieldProblem(field, "nobody can fulfil it: one charge cannot be in two currencies"),)
    return wrong


def _walk(rule: Rule, field: str) -> Iterator[tuple[int, str, Rule]]:
    """Depth from 1 on, field and rule of every part, the whole first. Deeper than may be it stops."""
    left = [(1, field, rule)]
    while left:
        depth, where, node = left.pop()
        yield depth, where, node
        if depth > DEEPEST:
            return
        for name, parts in (("any", node.any), ("all", node.all)):
            left += [(depth + 1, f"{where}.{name}.{place}", part) for place, part in enumerate(parts)]


def _given(rule: Rule) -> list[str]:
    return [name for name in (*WAYS, "any", "all") if getattr(rule, name) not in (False, (), None)]


def _check_node(rule: Rule, field: str) -> Iterator[FieldProblem]:
    given = _given(rule)
    if len(given) != 1:
        found = "nothing is given" if not given else f"{', '.join(given)} are given together"
        yield FieldProblem(field, f"{found}; one of {', '.join(WAYS)}, any, all is needed")
    for place, text in enumerate(rule.identities):
        try:
            if len(text) > (_LONGEST_DN if text.startswith("dn:") else _LONGEST):
                raise ValueError(f"a pattern of {len(text)} characters")
            IdentityPattern.parse(text)
        except ValueError as error:
            yield FieldProblem(f"{field}.identities.{place}", str(error))
    free = [_admits_everybody(part) for part in rule.any]
    if any(free) and not all(free):
        yield FieldProblem(
            field,
            "everybody is admitted, so the other ways ask for nothing; choose `open` alone, or the others",
        )
    if rule.price is not None:
        try:
            places(rule.price.currency)
            if not 1 <= rule.price.amount <= MOST:
                raise ValueError(f"a price of {rule.price.amount}; `open` costs nothing")
        except ValueError as error:
            yield FieldProblem(f"{field}.price", str(error))


def _admits_everybody(rule: Rule) -> bool:
    if rule.any:
        return any(map(_admits_everybody, rule.any))
    return rule.open or (bool(rule.all) and all(map(_admits_everybody, rule.all)))


def ways(rule: Rule) -> tuple[str, ...]:
    """The kinds of its parts, each once."""
    found = {name for _, _, node in _walk(rule, "") for name in _given(node)}
    return tuple(name for name in WAYS if name in found)


def price(rule: Rule) -> Amount | None:
    """The cheapest way in by paying: of two currencies that which the rule names first. None without one."""
    _, costs = _costs(rule)
    return next((Amount(amount, currency) for currency, amount in costs.items()), None)


def _costs(rule: Rule) -> tuple[bool, dict[str, int]]:
    """Whether there is a way without paying, and the least that paying costs, by currency."""
    if rule.price is not None:
        return False, {rule.price.currency: rule.price.amount}
    if rule.any:
        free, least = False, dict[str, int]()
        for part in rule.any:
            without, costs = _costs(part)
            free = free or without
            for currency, amount in costs.items():
                least[currency] = min(amount, least.get(currency, amount))
        return free, least
    free, sums = True, dict[str, int]()
    for part in rule.all:
        without, costs = _costs(part)
        combined: dict[str, int] = {}
        for currency in (*sums, *costs):
            ways = []
            if currency in sums and currency in costs:
                ways.append(sums[currency] + costs[currency])
            if currency in sums and without:
                ways.append(sums[currency])
            if currency in costs and free:
                ways.append(costs[currency])
            if ways and min(ways) <= MOST:
                combined[currency] = min(ways)
        free, sums = free and without, combined
    return free, sums
