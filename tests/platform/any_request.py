"""Requests of any operation, as odd as their types allow."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from gkmd.api.operations import Operation

# Where a pattern is asked for: words that somebody may have, among others.
WORDS = [
    "rx",
    "tx",
    "boss",
    "x",
    "t-abcdefghij",
    "a-aaaa",
    "EUR",
    "JPY",
    "XXX",
    "udp",
    "0",
    "cash",
    "webhook",
]
TEXTS = [
    "", " ", "\x00", "2026-12-24T18:00", "2026-03-29T02:30:00", "9999-12-31T23:59:59Z", "UTC", "1e400",
    "Europe/Berlin", "239.192.0.1", "232.1.1.1", "ff15::1", "192.0.2.1", "::", "fqdn:*.example", "keyid:x",
    "email:*@example", "dn:0x30", "https://portal.example", "aes-gcm-16-256", "hmac-sha2-256-128", "ＲＸ",
    "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "AAAA-AAAA-AAAA-AAAA", "00" * 36,
    "é" * 50, "../../x", "{}",
]  # fmt: skip


def requests_of(operation: Operation, ids: list[str]) -> st.SearchStrategy[Any]:
    """Requests that the type takes. ``ids`` are names of what there is."""
    return _of(inspect.type_info(operation.request), tuple(ids)).map(
        functools.partial(msgspec.convert, type=operation.request)
    )


def _of(kind: inspect.Type, ids: tuple[str, ...], depth: int = 0) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.StrType():
            return _text(kind, ids)
        case inspect.IntType():
            low = kind.ge if kind.ge is not None else -(2**63)
            high = kind.le if kind.le is not None else 2**63 - 1
            return st.sampled_from([low, high]) | st.integers(low, min(high, low + 700))
        case inspect.FloatType():
            low, high = kind.ge, kind.le
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.LiteralType():
            return st.sampled_from(sorted(kind.values))
        case inspect.UnionType():
            return st.one_of([_of(one, ids, depth) for one in kind.types])
        case inspect.VarTupleType():
            most = 0 if depth > 2 else min(kind.max_length or 3, 3)
            least = min(kind.min_length or 0, most)
            return st.lists(_of(kind.item_type, ids, depth + 1), min_size=least, max_size=most)
        case inspect.DictType():
            return st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5), max_size=3)
        case inspect.StructType():
            fields = {field.encode_name: field for field in kind.fields}
            needed = {
                name: _of(field.type, ids, depth + 1) for name, field in fields.items() if field.required
            }
            others = {
                name: _of(field.type, ids, depth + 1)
                for name, field in fields.items()
                if not field.required and depth < 4
            }
            return st.fixed_dictionaries(needed, optional=others)
        case _:
            raise NotImplementedError(kind)


def _text(kind: inspect.StrType, ids: tuple[str, ...]) -> st.SearchStrategy[str]:
    least, most = kind.min_length or 0, min(kind.max_length or 300, 300)
    texts = st.sampled_from([*ids, *WORDS, *TEXTS]) | st.text(min_size=least, max_size=min(most, 40))
    if kind.pattern and kind.max_length == 100 and ids:
        texts = st.sampled_from(ids) | texts  # an id: half of them are of something
    if kind.pattern:
        texts |= st.from_regex(kind.pattern, fullmatch=True)
    fitting = msgspec.Meta(min_length=least, max_length=kind.max_length, pattern=kind.pattern)

    def fits(text: str) -> bool:
        try:
            msgspec.convert(text, _annotated(fitting))
        except msgspec.ValidationError:
            return False
        return True

    return texts.filter(fits)


@functools.cache
def _annotated(meta: msgspec.Meta) -> Any:
    return Annotated[str, meta]
