"""GKMD_REASON: why a member is refused, for its software, and reading it back (docs/protocol.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gkmd.core.money import Money
from gkmd.group.model import Refusal
from gkmd.ike.evidence import money_octets, read_money
from wire.errors import WireError
from wire.ikev2 import Notify
from wire.message import Payload, each
from wire.private import Item, ReasonItem, build_private, parse_private_untrusted
from wire.registry import NotifyType, PayloadType

_CODE: Final = re.compile(rb"[a-z][a-z0-9-]{0,31}")
_MOST_TEXT_OCTETS: Final = 200
_TIME_OCTETS: Final = 8
_LAST_SECOND: Final = 1 << 40  # ours: some 30,000 years, and exact as a float


@dataclass(frozen=True, slots=True)
class Reason:
    """``code`` is a value of ``Refusal``, or one that a later gkmd has. ``come_back``: Unix seconds."""

    code: str
    come_back: float | None = None
    price: Money | None = None
    text: str = ""

    def plain(self) -> dict[str, object]:
        """For the log and for the control socket."""
        return {
            "reason": self.code,
            **({"come_back": self.come_back} if self.come_back is not None else {}),
            **({"price": str(self.price)} if self.price is not None else {}),
            **({"text": self.text} if self.text else {}),
        }


def reason_of(refusal: Refusal, come_back: float | None, price: Money | None = None) -> Reason:
    """What a member is told of a refusal; no detail of ours, which may speak of others."""
    return Reason(refusal.value, come_back, price)


def build_reason(reason: Reason) -> Payload:
    """The notification. Instants are rounded up: who comes then is not too early."""
    items = [Item(ReasonItem.CODE, reason.code.encode("ascii"))]
    if reason.come_back is not None and 0 <= reason.come_back < _LAST_SECOND:
        items.append(Item(ReasonItem.COME_BACK, (-int(-reason.come_back // 1)).to_bytes(_TIME_OCTETS, "big")))
    if reason.price is not None and reason.price.amount >= 0:
        items.append(Item(ReasonItem.PRICE, money_octets(reason.price)))
    if reason.text:
        items.append(Item(ReasonItem.TEXT, _cut(reason.text)))
    return Payload(PayloadType.NOTIFY, Notify(0, b"", NotifyType.GKMD_REASON, build_private(items)))


def _cut(text: str) -> bytes:
    """At most 200 octets of it, and no half of a character."""
    return text.encode()[:_MOST_TEXT_OCTETS].decode(errors="ignore").encode()


def read_reason(payloads: Iterable[Payload]) -> Reason | None:
    """What the key server says, None when it says nothing that we understand: the error notification beside
    it is enough to go by.
    """
    for notify in each(payloads, PayloadType.NOTIFY):
        if notify.type != NotifyType.GKMD_REASON:
            continue
        try:
            items = parse_private_untrusted(notify.data)
            if items is not None:
                return _reason(items)
        except ValueError:
            return None
    return None


def _reason(items: list[Item]) -> Reason:
    code, come_back, price, text = "", None, None, ""
    for item in items:
        value = item.value
        if item.type == ReasonItem.CODE:
            if _CODE.fullmatch(value) is None:
                raise WireError("reason", "no token")
            code = value.decode("ascii")
        elif item.type == ReasonItem.COME_BACK:
            if len(value) != _TIME_OCTETS or int.from_bytes(value, "big") >= _LAST_SECOND:
                raise WireError("come-back", "no instant")
            come_back = float(int.from_bytes(value, "big"))
        elif item.type == ReasonItem.PRICE:
            price = read_money(value)
        elif item.type == ReasonItem.TEXT:
            if len(value) > _MOST_TEXT_OCTETS or not value.decode().isprintable():
                raise WireError("text", "too long, or not printable")
            text = value.decode()
    if not code:
        raise WireError("reason", "no code")
    return Reason(code, come_back, price, text)
