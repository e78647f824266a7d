"""Rules of admission in words, on pages and on the command line."""

from __future__ import annotations

import pytest

from gkmd.api.nouns import Amount, Rule
from gkmd.api.rule_words import rule_words

PRICE = Rule(price=Amount(250, "EUR"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(open=True), "everybody"),
        (Rule(), "nobody"),
        (Rule(identities=("fqdn:*.example", "any")), "fqdn:*.example, any"),
        (
            Rule(any=(Rule(names=True), Rule(vouchers=True), PRICE)),
            "names on the list, or who has a voucher, or who pays 2.50 EUR",
        ),
        (
            Rule(any=(Rule(names=True), Rule(all=(Rule(classes=("gold", "silver")), PRICE)))),
            "names on the list, or (subscribers of gold, silver, and who pays 2.50 EUR)",
        ),
    ],
)
def test_words(rule: Rule, words: str) -> None:
    assert rule_words(rule) == words
