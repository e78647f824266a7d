"""How a fault in our own code is told: one line with the place in it, the traceback only at level debug."""

from __future__ import annotations

import traceback

from gkmd.core.effect import Tell


def fault(verb: str, error: Exception, source: str) -> list[Tell]:
    """``source`` is whose message or request it was, or the timer."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    fields = {
        "verb": verb,
        "error": f"{type(error).__name__}: {error}",
        "at": f"{frame.filename.rpartition('/')[2]}:{frame.lineno}",
        "from": source,
    }
    detail = {"traceback": "".join(traceback.format_exception(error))}
    return [Tell("internal-fault", "error", fields), Tell("internal-fault-detail", "debug", detail)]
