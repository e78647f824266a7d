"""What a rule comes to for one receiver: what lets it in and what that costs, or why it stays outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gkmd.api.nouns import Rule
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.money import MOST, Money
from gkmd.group.admission import PatternIndex
from gkmd.group.model import Refusal


@dataclass(slots=True)
class Standing:
    """What is known about a receiver. ``voucher``: digest of one that it may use, "" for none;
    ``voucher_shown``: it has shown some code, good or not. ``consents``: each the most that it will pay in
    that currency. ``available``: minor units that its account has, by currency.
    """

    listed: bool = False
    identity: Identity | None = None
    classes: Iterable[str] = ()
    voucher: str = ""
    voucher_shown: bool = False
    consents: tuple[Money, ...] = ()
    account: bool = False
    available: Callable[[str], int] = lambda currency: 0


@dataclass(frozen=True, slots=True)
class Entitlement:
    """``ways``: the parts of the rule that let it in; empty for who was admitted before."""

    ways: tuple[str, ...]
    price: Money | None = None
    voucher: str = ""

    @property
    def by(self) -> str:
        return "+".join(self.ways)


@dataclass(frozen=True, slots=True)
class Denial:
    """``price``: what it costs, when paying is all that is missing."""

    refusal: Refusal
    detail: str = ""
    price: Money | None = None


@dataclass(slots=True)
class _Option:
    """A way that holds. ``currency`` "" costs nothing."""

    currency: str
    amount: int
    voucher: bool
    ways: tuple[str, ...]

    def better(self, other: _Option) -> bool:
        """Nothing before a voucher before a price; of prices in one currency the smallest."""
        if self.currency and other.currency:
            mine, its = (self.amount, self.voucher), (other.amount, other.voucher)
            return self.currency == other.currency and mine < its
        return (self.currency != "", self.voucher) < (other.currency != "", other.voucher)


_Options: TypeAlias = tuple[_Option, ...]
_BAD_VOUCHER: Final = "the voucher does not admit to this transmission"
_NOBODY: Final = Identity(0, b"")  # matches the pattern "any" alone


class _Part:
    """A part of a rule that stands alone. ``kind`` as in ``Rule``."""

    __slots__ = ("_free", "_patterns", "_rule", "kind")

    def __init__(self, kind: str, rule: Rule) -> None:
        self.kind: Final = kind
        self._rule: Final = rule
        self._free: Final = (_Option("", 0, kind == "vouchers", (kind,)),)
        self._patterns: Final = PatternIndex(IdentityPattern.parse(text) for text in rule.identities)

    def options(self, standing: Standing) -> _Options:
        kind, rule = self.kind, self._rule
        if kind == "price":
            assert rule.price is not None
            price = rule.price
            return (_Option(price.currency, price.amount, False, ("price",)),) if price.amount else self._free
        if kind == "names":
            holds = standing.listed
        elif kind == "vouchers":
            holds = standing.voucher != ""
        elif kind == "classes":
            holds = not frozenset(rule.classes).isdisjoint(standing.classes)
        elif kind == "identities":
            holds = self._patterns.first(standing.identity or _NOBODY) is not None
        else:
            holds = True
        return self._free if holds else ()

    def missing(self, standing: Standing) -> set[str]:
        return set() if self.options(standing) else {self.kind}


class _Any:
    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[_Node, ...]) -> None:
        self._parts: Final = parts

    def options(self, standing: Standing) -> _Options:
        return _least(option for part in self._parts for option in part.options(standing))

    def missing(self, standing: Standing) -> set[str]:
        if self.options(standing):
            return set()
        return {kind for part in self._parts for kind in part.missing(standing)}


class _All:
    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[_Node, ...]) -> None:
        self._parts: Final = parts

    def options(self, standing: Standing) -> _Options:
        sums = self._parts[0].options(standing)
        for part in self._parts[1:]:
            more = part.options(standing)
            sums = _least(
                _Option(
                    one.currency or another.currency,
                    one.amount + another.amount,
                    one.voucher or another.voucher,
                    (*one.ways, *(way for way in another.ways if way not in one.ways)),
                )
                for one in sums
                for another in more
                if not (one.currency and another.currency and one.currency != another.currency)
                and one.amount + another.amount <= MOST
            )
        return sums

    def missing(self, standing: Standing) -> set[str]:
        return {kind for part in self._parts for kind in part.missing(standing)}


_Node: TypeAlias = _Part | _Any | _All


def _least(options: Iterable[_Option]) -> _Options:
    """Of options that differ in their amount only the smallest, of equal ones the first."""
    least: dict[tuple[str, bool], _Option] = {}
    for option in options:
        key = (option.currency, option.voucher)
        known = least.get(key)
        if known is None or option.amount < known.amount:
            least[key] = option
    return tuple(least.values())


def _compiled(rule: Rule) -> _Node:
    parts: list[_Node] = [
        _Part(kind, rule)
        for kind in ("open", "names", "identities", "classes", "price", "vouchers")
        if getattr(rule, kind) not in (False, (), None)
    ]
    if rule.any:
        parts.append(_Any(tuple(map(_compiled, rule.any))))
    if rule.all:
        parts.append(_All(tuple(map(_compiled, rule.all))))
    # A rule has exactly one member. One without any lets nobody in, one with several asks for all of them.
    return parts[0] if len(parts) == 1 else _All(tuple(parts)) if parts else _Any(())


class Entry:
    """A rule, made ready to be asked often."""

    __slots__ = ("_root",)

    def __init__(self, rule: Rule) -> None:
        self._root: Final = _compiled(rule)

    def entitle(self, standing: Standing) -> Entitlement | Denial:
        """The cheapest way that holds: nothing, else a voucher, else the smallest price that the receiver
        agreed to and has. Of prices in several currencies the one that the rule names first.
        """
        options = self._root.options(standing)
        best: _Option | None = None
        for option in options:
            if (best is None or option.better(best)) and _unpaid(option, standing) is None:
                best = option
        if best is None:
            return self._denied(options, standing)
        return Entitlement(
            best.ways,
            Money(best.currency, best.amount) if best.currency else None,
            standing.voucher if best.voucher else "",
        )

    def _denied(self, options: _Options, standing: Standing) -> Denial:
        if options:
            cheapest = options[0]
            for option in options[1:]:
                if option.better(cheapest):
                    cheapest = option
            price = Money(cheapest.currency, cheapest.amount)
            if standing.voucher_shown and not standing.voucher:
                return Denial(Refusal.VOUCHER_INVALID, _BAD_VOUCHER, price)
            unpaid = _unpaid(cheapest, standing)
            assert unpaid is not None
            return Denial(unpaid[0], unpaid[1], price)
        missing = self._root.missing(standing)
        if "vouchers" in missing and standing.voucher_shown:
            return Denial(Refusal.VOUCHER_INVALID, _BAD_VOUCHER)
        if "names" in missing:
            return Denial(Refusal.NOT_ON_LIST, "this receiver is not on the list")
        if "vouchers" in missing:
            return Denial(Refusal.VOUCHER_INVALID, "a voucher is needed")
        if "classes" in missing:
            return Denial(Refusal.NOT_AUTHORIZED, "this receiver is not pre-approved for the class")
        return Denial(Refusal.NOT_AUTHORIZED, "the admission rule does not let this receiver in")


def _unpaid(option: _Option, standing: Standing) -> tuple[Refusal, str] | None:
    """Why the price is not paid, None when it is or there is none."""
    currency, amount = option.currency, option.amount
    if not currency:
        return None
    if not standing.account:
        return Refusal.PAYMENT_REQUIRED, "this receiver has no account that could be charged"
    if not standing.consents:
        return Refusal.PAYMENT_REQUIRED, "it costs more than nothing, and the receiver did not agree to pay"
    if not any(most.currency == currency and most.amount >= amount for most in standing.consents):
        return Refusal.PRICE_TOO_HIGH, "it costs more than the receiver agreed to pay"
    if standing.available(currency) < amount:
        return Refusal.PAYMENT_REQUIRED, "the balance is lower than the price"
    return None
