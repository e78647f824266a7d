"""Admission patterns, indexed: the cost of a decision does not grow with the number of patterns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gkmd.core.distinguished_name import STAR
from gkmd.core.identity import Identity, IdentityKind, IdentityPattern
from gkmd.group.model import GroupPolicy, SenderRule


class PatternIndex:
    """Finds the first of many patterns that matches, as ``IdentityPattern.matches`` would in a loop."""

    __slots__ = ("_any", "_exact", "_names", "_tails")

    def __init__(self, patterns: Iterable[IdentityPattern]) -> None:
        self._any: int | None = None
        self._exact: dict[str, int] = {}
        self._tails: dict[str, int] = {}
        self._names: dict[str, int] = {}  # distinguished names as people write them
        for number, pattern in enumerate(patterns):
            text = pattern.text
            if text == "any":
                self._any = number if self._any is None else self._any
            elif text.startswith(("fqdn:*.", "email:*@")):
                self._tails.setdefault(text.lower(), number)
            elif text.startswith("dn:") and "=" in text:
                self._names.setdefault(text, number)
            else:
                self._exact.setdefault(_folded(text), number)

    def first(self, identity: Identity) -> int | None:
        """The number of the first pattern that matches, None when none does."""
        found = [] if self._any is None else [self._any]
        name = str(identity)
        if self._names and identity.kind == IdentityKind.DN:
            found += self._under_names(identity)
        exact = self._exact.get(_folded(name))
        if exact is not None:
            found.append(exact)
        if self._tails:
            found += self._under_tails(name)
        return min(found, default=None)

    def _under_names(self, identity: Identity) -> list[int]:
        parts = identity.distinguished_name() or ()
        texts = ["dn:" + ",".join(parts)]
        # The star stands for one part at least.
        texts += ["dn:" + ",".join((STAR, *parts[place:])) for place in range(1, len(parts))]
        return [self._names[text] for text in texts if text in self._names]

    def _under_tails(self, name: str) -> list[int]:
        for prefix, mark in (("fqdn:", "."), ("email:", "@")):
            if name.startswith(prefix):
                lower = name.lower()
                # The part under the star is not empty.
                at = lower.find(mark, len(prefix) + 1)
                found = []
                while at != -1:
                    number = self._tails.get(f"{prefix}*{lower[at:]}")
                    if number is not None:
                        found.append(number)
                    at = lower.find(mark, at + 1)
                return found
        return []


def _folded(text: str) -> str:
    """Names compare without case (RFC 4343), everything else octet by octet."""
    return text.lower() if text.startswith(("fqdn:", "email:")) else text


class Admission:
    """Who may receive and who may send in one group."""

    __slots__ = ("_receivers", "_rules", "_senders")

    def __init__(self, policy: GroupPolicy) -> None:
        self._receivers: Final = PatternIndex(policy.receivers)
        self._rules: Final = policy.senders
        self._senders: Final = PatternIndex(rule.who for rule in policy.senders)

    def may_receive(self, identity: Identity) -> bool:
        return self._receivers.first(identity) is not None

    def sender_rule(self, identity: Identity) -> SenderRule | None:
        """The first rule that lets it send, None when it may not."""
        number = self._senders.first(identity)
        return None if number is None else self._rules[number]
