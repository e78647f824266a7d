"""The Working Key Path (RFC 9838 3.3, appendix A): from the keys that a member holds to an SA's keying
material.

``X{Y}`` is key Y wrapped under key X. A message is a bag of such edges; a path from any key held to an SA_KEY
opens it. The search goes breadth-first from the keys held, so that a loop, a missing key or a chain of a
thousand keys costs no more than one look at each edge. The same key may be wrapped several times (figure 27
wraps key 15 under 6 and under 16), hence edges by the wrapping key are lists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gkmd.core.change import WrapKey
from gkmd.core.errors import CryptoError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keywrap import unwrap
from wire.gikev2 import WrappedKey

DEFAULT_KEY = 0  # KWK ID of GSK_w; Key ID of SA keying material (RFC 9838 4.5.4)


@dataclass(frozen=True, slots=True)
class Opened:
    """The SA's keying material, and the working key path from now on (nearest to the SA first, own leaf
    last).
    """

    key: SecretBytes
    working: tuple[WrapKey, ...]


def open_sa_key(
    sa_keys: Sequence[WrappedKey],
    wrap_keys: Sequence[WrappedKey],
    default: SecretBytes,
    working: tuple[WrapKey, ...],
) -> Opened | None:
    """Find a path to one of ``sa_keys``; None when there is none: the member is excluded (RFC 9838 3.3).

    ``default`` is GSK_w of the SA that carries the message, ``working`` the member's path before it. Raises
    CryptoError when a wrapped key on the only way does not unwrap, or an id is where it must not be: such a
    message is broken, which is not the same as an exclusion.
    """
    if any(wrapped.key_id != DEFAULT_KEY for wrapped in sa_keys):
        raise CryptoError("an SA_KEY has a Key ID")  # RFC 9838 4.5.2.1: always zero
    if any(wrapped.key_id == DEFAULT_KEY for wrapped in wrap_keys):
        raise CryptoError("a WRAP_KEY has Key ID zero")  # RFC 9838 4.5.3.1
    edges: dict[int, list[WrappedKey]] = {}
    # SA keys first in each list: of several ways the one with the fewest new keys is found first.
    for wrapped in (*sa_keys, *wrap_keys):
        edges.setdefault(wrapped.kwk_id, []).append(wrapped)

    keys = {key.key_id: key.key for key in working}
    keys[DEFAULT_KEY] = default
    opened_by: dict[int, int] = {}  # Key ID learnt from this message -> KWK ID that opened it
    # The nearest to the root is tried first, GSK_w last: a path that ends in a working key replaces least.
    queue = deque([*(key.key_id for key in working), DEFAULT_KEY])
    broken = False
    while queue:
        kwk_id = queue.popleft()
        for wrapped in edges.pop(kwk_id, ()):
            if wrapped.key_id in keys and wrapped.key_id != DEFAULT_KEY:
                continue  # known already: an id names one key for ever
            try:
                key = unwrap(keys[kwk_id], wrapped.data)
            except CryptoError:
                broken = True  # another copy of this key may open
                continue
            if wrapped.key_id == DEFAULT_KEY:
                return Opened(key, _new_working(kwk_id, opened_by, keys, working))
            if len(key) != len(default):
                raise CryptoError("a WRAP_KEY has the wrong size")  # RFC 9838 4.5.3.1
            keys[wrapped.key_id] = key
            opened_by[wrapped.key_id] = kwk_id
            queue.append(wrapped.key_id)
    if broken:
        raise CryptoError("a wrapped key does not unwrap")
    return None


def _new_working(
    last: int, opened_by: dict[int, int], keys: dict[int, SecretBytes], working: tuple[WrapKey, ...]
) -> tuple[WrapKey, ...]:
    """RFC 9838 3.3, the three cases: ``last`` is the id of the key that opened the SA_KEY."""
    path: list[WrapKey] = []
    while last in opened_by:
        path.append(WrapKey(last, keys[last]))
        last = opened_by[last]
    if not path:
        return working  # nothing new was needed
    if last == DEFAULT_KEY:
        # At registration, when there is no path yet, this is the whole one, own leaf last. In a rekey
        # everybody who holds the Rekey SA could read such keys, and the member's own leaf must not be lost
        # for them.
        return working or tuple(path)
    index = next(i for i, key in enumerate(working) if key.key_id == last)
    return (*path, *working[index:])
