"""What becomes of a datagram that is not ours, not whole or not authentic: one line at debug level, and a
count.
"""

from __future__ import annotations

from gkmd.core.address import Path
from gkmd.core.effect import Tell


def dropped(reason: str, path: Path, detail: str = "") -> Tell:
    """``reason`` is a short slug for counting; ``detail`` never quotes the datagram."""
    fields = {"reason": reason, "from": str(path)}
    if detail:
        fields["detail"] = detail
    return Tell("datagram-dropped", "debug", fields)
