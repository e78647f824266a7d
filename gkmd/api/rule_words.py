"""A rule of admission as people say it."""

from __future__ import annotations

from gkmd.api.nouns import Rule
from gkmd.core.identity import shown
from gkmd.core.money import Money


def rule_words(rule: Rule) -> str:
    """``names on the list, or who pays 2.50 EUR``."""
    if rule.any:
        return ", or ".join(_nested(part) for part in rule.any)
    if rule.all:
        return ", and ".join(_nested(part) for part in rule.all)
    if rule.open:
        return "everybody"
    if rule.names:
        return "names on the list"
    if rule.vouchers:
        return "who has a voucher"
    if rule.price is not None:
        return f"who pays {Money(rule.price.currency, rule.price.amount)}"
    if rule.classes:
        return f"subscribers of {', '.join(rule.classes)}"
    return ", ".join(map(shown, rule.identities)) or "nobody"


def _nested(rule: Rule) -> str:
    return f"({rule_words(rule)})" if rule.any or rule.all else rule_words(rule)
