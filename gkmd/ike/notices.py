"""Notify payloads that say what went wrong (RFC 7296 3.10.1, RFC 9838 4.7): making them, and finding them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wire.ikev2 import Notify
from wire.message import Payload, each
from wire.registry import FIRST_STATUS_NOTIFY, NotifyType, PayloadType

# RFC 7296 2.21.2, 2.21.3: the IKE SA ends with them, without a Delete.
_FATAL: Final = (NotifyType.INVALID_SYNTAX, NotifyType.AUTHENTICATION_FAILED)


def error_notify(kind: int, data: bytes = b"") -> Payload:
    """An error without SPI: protocol and SPI size are zero."""
    return Payload(PayloadType.NOTIFY, Notify(0, b"", kind, data))


def error_of(payloads: Iterable[Payload]) -> int | None:
    """The first error notification, None when there is none."""
    for body in each(payloads, PayloadType.NOTIFY):
        if body.type < FIRST_STATUS_NOTIFY:
            return body.type
    return None


def fatal_of(payloads: Iterable[Payload]) -> str:
    """The name of the first notification that ends an IKE SA, "" when there is none."""
    for body in each(payloads, PayloadType.NOTIFY):
        if body.type in _FATAL:
            return NotifyType(body.type).name
    return ""


def name_of_notify(kind: int) -> str:
    """The name of a notification for people."""
    try:
        return NotifyType(kind).name
    except ValueError:
        return f"notification {kind}"
