"""What a rule comes to: the cheapest way that holds, never a charge where there is a free one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.api.nouns import Amount, Rule
from gkmd.core.identity import Identity
from gkmd.core.money import Money
from gkmd.group.model import Refusal
from gkmd.group.platform.entitlement import Denial, Entitlement, Entry, Standing

OPEN, NAMES, VOUCHERS = Rule(open=True), Rule(names=True), Rule(vouchers=True)
GOLD = Rule(classes=("gold",))
EXAMPLE = Rule(identities=("fqdn:*.example",))
RICH = Standing(account=True, consents=(Money("EUR", 10**6),), available=lambda currency: 10**6)


def euro(amount: int, currency: str = "EUR") -> Rule:
    return Rule(price=Amount(amount, currency))


def entitled(rule: Rule, standing: Standing) -> Entitlement:
    found = Entry(rule).entitle(standing)
    assert isinstance(found, Entitlement), found
    return found


def denied(rule: Rule, standing: Standing) -> Denial:
    found = Entry(rule).entitle(standing)
    assert isinstance(found, Denial), found
    return found


@pytest.mark.parametrize(
    ("rule", "standing", "by"),
    [
        (OPEN, Standing(), "open"),
        (NAMES, Standing(listed=True), "names"),
        (GOLD, Standing(classes=("silver", "gold")), "classes"),
        (EXAMPLE, Standing(identity=Identity.parse("fqdn:rx.example")), "identities"),
        (Rule(identities=("any",)), Standing(), "identities"),
        (VOUCHERS, Standing(voucher="d1"), "vouchers"),
        (euro(250), RICH, "price"),
    ],
)
def test_each_part_admits_who_fulfils_it(rule: Rule, standing: Standing, by: str) -> None:
    assert entitled(rule, standing).by == by


@pytest.mark.parametrize(
    ("rule", "standing", "refusal"),
    [
        (Rule(), RICH, Refusal.NOT_AUTHORIZED),
        (NAMES, RICH, Refusal.NOT_ON_LIST),
        (GOLD, RICH, Refusal.NOT_AUTHORIZED),
        (EXAMPLE, Standing(identity=Identity.parse("fqdn:rx.test")), Refusal.NOT_AUTHORIZED),
        (VOUCHERS, Standing(), Refusal.VOUCHER_INVALID),
        (VOUCHERS, Standing(voucher_shown=True), Refusal.VOUCHER_INVALID),
        (Rule(any=(NAMES, VOUCHERS)), Standing(), Refusal.NOT_ON_LIST),
        (Rule(any=(NAMES, VOUCHERS)), Standing(voucher_shown=True), Refusal.VOUCHER_INVALID),
        (Rule(all=(NAMES, VOUCHERS)), Standing(listed=True), Refusal.VOUCHER_INVALID),
        (Rule(all=(GOLD, euro(250))), RICH, Refusal.NOT_AUTHORIZED),
        (Rule(all=(euro(1), euro(1, "USD"))), RICH, Refusal.NOT_AUTHORIZED),
    ],
)
def test_who_does_not_learns_what_is_missing(rule: Rule, standing: Standing, refusal: Refusal) -> None:
    found = denied(rule, standing)
    assert (found.refusal, found.price) == (refusal, None)


@pytest.mark.parametrize(
    ("standing", "refusal"),
    [
        (Standing(), Refusal.PAYMENT_REQUIRED),
        (replace(RICH, consents=()), Refusal.PAYMENT_REQUIRED),
        (replace(RICH, consents=(Money("EUR", 249),)), Refusal.PRICE_TOO_HIGH),
        (replace(RICH, consents=(Money("USD", 10**6),)), Refusal.PRICE_TOO_HIGH),
        (replace(RICH, available=lambda currency: 249), Refusal.PAYMENT_REQUIRED),
        (replace(RICH, voucher_shown=True, consents=()), Refusal.VOUCHER_INVALID),
    ],
)
def test_who_could_pay_learns_the_price(standing: Standing, refusal: Refusal) -> None:
    found = denied(Rule(any=(NAMES, VOUCHERS, euro(300), euro(250))), standing)
    assert (found.refusal, found.price) == (refusal, Money("EUR", 250))


def test_a_voucher_goes_before_a_price_and_nothing_before_a_voucher() -> None:
    shown = replace(RICH, voucher="d1", voucher_shown=True)
    rule = Rule(any=(euro(1), VOUCHERS, NAMES))
    assert entitled(rule, shown) == Entitlement(("vouchers",), None, "d1")
    assert entitled(rule, replace(shown, listed=True)) == Entitlement(("names",), None, "")
    assert entitled(rule, RICH).price == Money("EUR", 1)


def test_of_all_prices_add_up_and_a_voucher_is_used_once() -> None:
    both = Rule(all=(euro(200), Rule(all=(VOUCHERS, euro(50))), VOUCHERS))
    found = entitled(both, replace(RICH, voucher="d1"))
    assert (found.price, found.voucher, found.by) == (Money("EUR", 250), "d1", "price+vouchers")
    poor = replace(RICH, voucher="d1", available=lambda currency: 249)
    assert denied(both, poor).price == Money("EUR", 250)


def test_a_way_in_one_currency_is_found_behind_one_that_cannot_be_combined() -> None:
    rule = Rule(all=(euro(300), Rule(any=(euro(2, "USD"), euro(100)))))
    assert entitled(rule, RICH).price == Money("EUR", 400)


def test_a_rule_with_several_members_wants_all_of_them() -> None:
    assert denied(Rule(open=True, names=True), RICH).refusal is Refusal.NOT_ON_LIST


# Properties

_LEAVES = st.sampled_from([OPEN, NAMES, VOUCHERS, GOLD, EXAMPLE, euro(1), euro(7), euro(30), euro(7, "USD")])
_RULES = st.recursive(
    _LEAVES,
    lambda rules: st.lists(rules, min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from([Rule(any=tuple(parts)), Rule(all=tuple(parts))])
    ),
    max_leaves=8,
)


@st.composite
def _standings(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "listed": draw(st.booleans()),
        "identity": draw(st.sampled_from([None, Identity.parse("fqdn:rx.example")])),
        "classes": draw(st.sampled_from([(), ("gold",)])),
        "voucher": draw(st.sampled_from(["", "d1"])),
        "most": draw(st.sampled_from([0, 5, 10, 100])),
        "has": draw(st.sampled_from([0, 5, 10, 100])),
    }


def _standing(facts: dict[str, Any]) -> Standing:
    return Standing(
        facts["listed"],
        facts["identity"],
        facts["classes"],
        facts["voucher"],
        facts["voucher"] != "",
        (Money("EUR", facts["most"]), Money("USD", facts["most"])) if facts["most"] else (),
        True,
        lambda currency: facts["has"],
    )


@settings(max_examples=50, deadline=None)
@given(_RULES, _standings(), _standings())
def test_more_evidence_never_refuses(rule: Rule, one: dict[str, Any], other: dict[str, Any]) -> None:
    more = {
        "listed": one["listed"] or other["listed"],
        "identity": one["identity"] or other["identity"],
        "classes": one["classes"] or other["classes"],
        "voucher": one["voucher"] or other["voucher"],
        "most": max(one["most"], other["most"]),
        "has": max(one["has"], other["has"]),
    }
    less = Entry(rule).entitle(_standing(one))
    found = Entry(rule).entitle(_standing(more))
    if isinstance(less, Entitlement):
        assert isinstance(found, Entitlement)
        if less.price is None:
            assert found.price is None


def _free(rule: Rule, facts: dict[str, Any], voucher: bool) -> bool:
    """Whether it is fulfilled without money, by its definition."""
    if rule.any:
        return any(_free(part, facts, voucher) for part in rule.any)
    if rule.all:
        return all(_free(part, facts, voucher) for part in rule.all)
    return bool(
        rule.open
        or (rule.names and facts["listed"])
        or (rule.vouchers and voucher)
        or (rule.classes and facts["classes"])
        or (rule.identities and facts["identity"])
    )


@settings(max_examples=50, deadline=None)
@given(_RULES, _standings())
def test_nobody_is_charged_where_there_is_a_free_way(rule: Rule, facts: dict[str, Any]) -> None:
    found = Entry(rule).entitle(_standing(facts))
    if _free(rule, facts, voucher=False):
        assert isinstance(found, Entitlement)
        assert (found.price, found.voucher) == (None, "")
    elif _free(rule, facts, voucher=facts["voucher"] != ""):
        assert isinstance(found, Entitlement)
        assert (found.price, found.voucher) == (None, facts["voucher"])


@settings(max_examples=50, deadline=None)
@given(_RULES, _standings())
def test_a_charge_is_agreed_to_and_there(rule: Rule, facts: dict[str, Any]) -> None:
    found = Entry(rule).entitle(_standing(facts))
    if isinstance(found, Entitlement) and found.price is not None:
        assert 0 < found.price.amount <= min(facts["most"], facts["has"])


@settings(max_examples=50, deadline=None)
@given(_RULES, _standings())
def test_the_same_question_has_the_same_answer(rule: Rule, facts: dict[str, Any]) -> None:
    again = msgspec.convert(msgspec.to_builtins(rule), Rule)
    assert Entry(rule).entitle(_standing(facts)) == Entry(again).entitle(_standing(facts))
