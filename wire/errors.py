"""The one exception that leaves ``wire``."""

from __future__ import annotations


class WireError(ValueError):
    """The octets are not a message that we accept, or the records cannot be built.

    ``reason`` is a short slug for counting; ``str()`` says more. ``payload_type`` is set with reason
    ``unknown-critical``, so that an authenticated response can name it (RFC 7296 2.5).
    Reasons of the framing: truncated, trailing, length, looping, too-long, too-many, too-many-payloads,
    isakmp-1, version, spi, flags, message-id, unknown-critical. Of the rules: rule-missing, rule-forbidden,
    rule-repeated. Of records that do not fit the wire: build. Others are the names of the checks that the
    definitions make, such as spi-size, ts-type or attribute-form.
    """

    def __init__(self, reason: str, detail: str = "", payload_type: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.payload_type = payload_type
