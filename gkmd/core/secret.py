"""SecretBytes: key material that can be used but not printed."""

from __future__ import annotations

import hmac
from typing import Final


class SecretBytes:
    """Octets that never appear in ``repr``, ``str``, logs or tracebacks.

    ``reveal()`` is the only way out and is greppable. Comparison takes constant time.
    """

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets: Final = bytes(octets)

    def reveal(self) -> bytes:
        """The octets themselves; call it only where they enter an algorithm, the wire or the sealed store."""
        return self._octets

    def __len__(self) -> int:
        return len(self._octets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self._octets, other._octets)

    def __hash__(self) -> int:
        return hash(self._octets)

    def __repr__(self) -> str:
        return f"<secret: {len(self._octets)} octets>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("SecretBytes is not pickled: seal it in the store instead")
