"""Where a change is written, and what."""

from __future__ import annotations

from typing import Any, TypeAlias

from gkmd.core.change import (
    Change,
    Drop,
    DropGroup,
    DropIkeSa,
    DropMember,
    Put,
    PutGroup,
    PutIkeSa,
    PutMember,
)

Row: TypeAlias = tuple[Any, ...]  # the columns of a primary key
Write: TypeAlias = tuple[str, Row, object]  # table, key, record or None to drop it


def write_of(change: Change) -> Write:
    """The record is complete: a later write of the same key replaces it, and the earlier is never encoded."""
    if isinstance(change, Put):  # most are
        fact = change.fact
        return "facts", (fact.KIND, fact.key), fact
    match change:
        case PutMember(record):
            identity = record.identity
            return "members", (record.group, int(identity.kind), identity.data), record
        case PutIkeSa(sa_record):
            return "ike_sas", (sa_record.spi_r,), sa_record
        case Drop(kind, key):
            return "facts", (kind, key), None
        case PutGroup(group_record):
            return "groups", (group_record.name,), group_record
        case DropMember(group, identity):
            return "members", (group, int(identity.kind), identity.data), None
        case DropIkeSa(spi_r):
            return "ike_sas", (spi_r,), None
        case DropGroup(name):
            return "groups", (name,), None
