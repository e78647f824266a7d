"""A fingerprint of everything that a machine remembers, secrets included: equal before and after means no
change.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
from collections import deque
from collections.abc import Iterator

from gkmd.core.secret import SecretBytes
from gkmd.ike.half_open import HalfOpen

# Caches of what can be worked out again, and randomness: no decision depends on what is in them.
IGNORED = frozenset(
    (
        "_choices",
        "_templates",
        "_judged",
        "_rng",
        "_key_wrap_key",
        "_packed",
        "_peer_text",
        "hint",  # a line for the log
        "_heap",  # of alarms: stale entries come and go
        "_order",
    )
)


def _slots(thing: object) -> Iterator[str]:
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots
    yield from getattr(thing, "__dict__", ())


def _walk(thing: object, seen: set[int], out: list[str]) -> None:
    if thing is None or isinstance(thing, bool | int | float | str | bytes | enum.Enum):
        out.append(repr(thing))
        return
    if isinstance(thing, SecretBytes):
        out.append(thing.reveal().hex())
        return
    if isinstance(thing, ipaddress.IPv4Address | ipaddress.IPv6Address):
        out.append(str(thing))
        return
    if callable(thing) and not dataclasses.is_dataclass(thing):
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, dict):
        for key, value in thing.items():
            _walk(key, seen, out)
            out.append(":")
            _walk(value, seen, out)
    elif isinstance(thing, list | tuple | deque):
        out.append(f"[{len(thing)}")
        for each in thing:
            _walk(each, seen, out)
    elif isinstance(thing, set | frozenset):
        inner = []
        for each in thing:
            part: list[str] = []
            _walk(each, set(), part)
            inner.append("".join(part))
        out.append(str(sorted(inner)))
    else:
        out.append(type(thing).__name__)
        for name in _slots(thing):
            # The keys of a half-open SA are derived with the first datagram, whoever sent it.
            if name == "sa" and isinstance(thing, HalfOpen) and (thing.sa is None or thing.sa.peer is None):
                continue
            if name not in IGNORED and not name.startswith("__") and hasattr(thing, name):
                out.append(name)
                _walk(getattr(thing, name), seen, out)


def digest(*things: object) -> str:
    """All of it as text, one thing a line, so that a difference can be read; two equal states have the
    same.
    """
    out: list[str] = []
    seen: set[int] = set()
    for thing in things:
        _walk(thing, seen, out)
    return "\n".join(out)
