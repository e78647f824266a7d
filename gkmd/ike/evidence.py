"""GKMD_EVIDENCE: what a member shows beside its identity, and reading it back (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gkmd.core.evidence import Evidence
from gkmd.core.money import Money
from wire.errors import WireError
from wire.ikev2 import Notify
from wire.message import Payload, each
from wire.private import EvidenceItem, Item, build_private, parse_private_untrusted
from wire.registry import NotifyType, PayloadType

VOUCHER_OCTETS: Final = range(4, 65)
MONEY_OCTETS: Final = 11  # currency and 64 bits
_CURRENCY_OCTETS: Final = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """``follows``: there is evidence that is shown later. ``problem``: why there is none, "" when that is as
    the member wanted it.
    """

    evidence: Evidence | None = None
    follows: bool = False
    problem: str = ""


NOTHING: Final = Shown()


def build_evidence(evidence: Evidence) -> list[Payload]:
    """The notification; none when there is nothing to show. ValueError for a voucher of an impossible
    length, or a negative amount.
    """
    items = []
    if evidence.voucher:
        voucher = evidence.voucher.encode()
        if len(voucher) not in VOUCHER_OCTETS:
            raise ValueError(f"a voucher of {len(voucher)} octets: 4 to 64 are possible")
        items.append(Item(EvidenceItem.VOUCHER, voucher))
    if evidence.most is not None:
        items.append(Item(EvidenceItem.MOST, money_octets(evidence.most)))
    return [_notify(items)] if items else []


def build_follows() -> list[Payload]:
    """There is evidence, for a key server that has proved itself."""
    return [_notify([Item(EvidenceItem.FOLLOWS, b"")])]


def _notify(items: list[Item]) -> Payload:
    return Payload(PayloadType.NOTIFY, Notify(0, b"", NotifyType.GKMD_EVIDENCE, build_private(items)))


def read_evidence(payloads: Iterable[Payload]) -> Shown:
    """What an authenticated member shows. The first notification of ours counts.

    One that is malformed is no evidence, and no more: what a member may not show it has not shown, and
    whether that matters is for the admission to say.
    """
    for notify in each(payloads, PayloadType.NOTIFY):
        if notify.type != NotifyType.GKMD_EVIDENCE:
            continue
        try:
            items = parse_private_untrusted(notify.data)
            if items is not None:
                return _shown(items)
        except ValueError as error:  # WireError, UnicodeDecodeError, and what Money says
            return Shown(problem=f"malformed evidence: {_kind_of(error)}")
    return NOTHING


def _kind_of(error: ValueError) -> str:
    # The text of others may quote what it complains of, and that may be a voucher.
    return str(error) if isinstance(error, WireError) else "an item"


def _shown(items: list[Item]) -> Shown:
    voucher, most, follows = "", None, False
    for item in items:
        if item.type == EvidenceItem.VOUCHER:
            if len(item.value) not in VOUCHER_OCTETS:
                raise WireError("voucher", f"{len(item.value)} octets")
            voucher = item.value.decode()
            if not voucher.isprintable():
                raise WireError("voucher", "not printable")
        elif item.type == EvidenceItem.MOST:
            most = read_money(item.value)
        elif item.type == EvidenceItem.FOLLOWS:
            follows = True
    return Shown(Evidence(voucher, most) if voucher or most is not None else None, follows)


def money_octets(money: Money) -> bytes:
    """Currency and minor units. ValueError when the amount is negative."""
    if money.amount < 0:
        raise ValueError(f"{money}: an amount below zero has no form on the wire")
    return money.currency.encode() + money.amount.to_bytes(8, "big")


def read_money(octets: bytes) -> Money:
    """Currency and minor units. ValueError unless that is an amount that we deal with."""
    if len(octets) != MONEY_OCTETS:
        raise WireError("money", f"{len(octets)} octets")
    return Money(octets[:_CURRENCY_OCTETS].decode("ascii"), int.from_bytes(octets[_CURRENCY_OCTETS:], "big"))
