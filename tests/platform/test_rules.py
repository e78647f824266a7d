"""Admission rules: exactly one member, bounded, and what a receiver may know of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkmd.api.nouns import Amount, Rule
from gkmd.group.platform import rules

OPEN, NAMES = Rule(open=True), Rule(names=True)


def euro(amount: int) -> Rule:
    return Rule(price=Amount(amount, "EUR"))


def nested(depth: int) -> Rule:
    rule = OPEN
    for _ in range(depth - 1):
        rule = Rule(any=(rule,))
    return rule


@pytest.mark.parametrize(
    ("rule", "field", "why"),
    [
        (Rule(), "admission", "nothing is given"),
        (Rule(open=True, names=True), "admission", "open, names are given together"),
        (Rule(any=(OPEN,), all=(OPEN,)), "admission", "any, all are given"),
        (Rule(all=(OPEN, Rule())), "admission.all.1", "nothing"),
        (Rule(any=(Rule(all=(Rule(),)),)), "admission.any.0.all.0", "nothing"),
        (Rule(identities=("fqdn:*.example", "nonsense")), "admission.identities.1", "KIND:VALUE"),
        (Rule(identities=("fqdn:" + "a" * 200,)), "admission.identities.0", "205 characters"),
        (euro(0), "admission.price", "a price of 0"),
        (nested(6), "admission", "deeper than 5"),
        (Rule(any=(OPEN,) * 50), "admission", "more than 50 parts"),
        (Rule(any=(nested(5),)), "admission", "deeper"),
        (Rule(classes=("c",) * 1001), "admission", "1001 patterns"),
        (Rule(any=(OPEN, euro(5))), "admission", "everybody is admitted"),
        (Rule(all=(NAMES, Rule(any=(NAMES, nested(3))))), "admission.all.1", "everybody is admitted"),
        (Rule(any=(Rule(all=(OPEN, OPEN)), NAMES)), "admission", "everybody is admitted"),
        (
            Rule(all=(euro(5), Rule(price=Amount(5, "USD")))),
            "admission",
            "nobody can fulfil it",
        ),
    ],
)
def test_what_is_wrong_is_told_where(rule: Rule, field: str, why: str) -> None:
    problems = rules.check(rule)
    assert [(one.field, why in one.text) for one in problems] == [(field, True)]


@pytest.mark.parametrize(
    "rule",
    [
        OPEN,
        Rule(identities=("dn:0x30" + "ab" * 300, "any", "email:*@club.example")),
        nested(5),
        Rule(any=(OPEN,) * 49),
        Rule(all=(OPEN, euro(5))),
        Rule(any=(Rule(all=(OPEN, NAMES)), euro(5))),
        Rule(any=(euro(5), Rule(price=Amount(6, "USD")))),
    ],
)
def test_what_is_right(rule: Rule) -> None:
    assert rules.check(rule) == ()
    assert rules.parse(rules.plain(rule)) == rule


def test_a_rule_as_deep_as_a_hostile_caller_likes_is_refused_at_once() -> None:
    assert "deeper" in rules.check(nested(900))[0].text


@pytest.mark.parametrize(
    ("rule", "ways", "price"),
    [
        (OPEN, ("open",), None),
        (euro(250), ("price",), 250),
        (Rule(any=(NAMES, Rule(vouchers=True), euro(250))), ("names", "price", "vouchers"), 250),
        (Rule(any=(euro(300), Rule(all=(NAMES, euro(100))))), ("names", "price"), 100),
        (Rule(all=(euro(300), euro(100))), ("price",), 400),
        (Rule(all=(Rule(any=(euro(3), NAMES)), Rule(any=(euro(5), NAMES)))), ("names", "price"), 3),
    ],
)
def test_what_a_receiver_may_know(rule: Rule, ways: tuple[str, ...], price: int | None) -> None:
    assert rules.ways(rule) == ways
    assert rules.price(rule) == (None if price is None else Amount(price, "EUR"))


leaves = st.one_of(
    st.just(OPEN),
    st.just(NAMES),
    st.builds(
        lambda amount, of: Rule(price=Amount(amount, of)), st.integers(1, 9), st.sampled_from(["EUR", "USD"])
    ),
)
trees = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda found: Rule(any=tuple(found))),
        st.lists(parts, min_size=1, max_size=3).map(lambda found: Rule(all=tuple(found))),
    ),
    max_leaves=8,
)


def costs(rule: Rule) -> set[tuple[str, int]]:
    """Every way to fulfil it, by what it costs; slowly."""
    if rule.price is not None:
        return {(rule.price.currency, rule.price.amount)}
    if rule.any:
        return set().union(*map(costs, rule.any))
    if not rule.all:
        return {("", 0)}
    found = {("", 0)}
    for part in rule.all:
        found = {
            (one or other, much + more)
            for one, much in found
            for other, more in costs(part)
            if not (one and other and one != other)
        }
    return found


@given(trees)
def test_the_price_is_that_of_the_cheapest_way_that_costs_anything(rule: Rule) -> None:
    found = costs(rule)
    shown = rules.price(rule)
    assert (shown is not None) == any(currency for currency, _ in found)
    if shown is not None:
        assert shown.amount == min(much for currency, much in found if currency == shown.currency)
