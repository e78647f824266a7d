"""The tables of the journal, and their statements compiled once.

The key columns are what a row is found by; of facts that are not archived the key is a MAC of itself
(``Journal``). Everything else is one sealed record: nothing but the server reads
it, and it is always written as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

metadata: Final = sa.MetaData()

meta: Final = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
groups: Final = sa.Table(
    "groups",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
members: Final = sa.Table(
    "members",
    metadata,
    sa.Column("group_name", sa.Text, primary_key=True),
    sa.Column("identity_kind", sa.Integer, primary_key=True),
    sa.Column("identity", sa.LargeBinary, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
ike_sas: Final = sa.Table(
    "ike_sas",
    metadata,
    sa.Column("spi_r", sa.LargeBinary, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
facts: Final = sa.Table(
    "facts",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,  # one tree in the order of the keys: archives are read along it
)

_DIALECT: Final = sqlite.dialect(paramstyle="qmark")


@dataclass(frozen=True, slots=True)
class Statements:
    """The texts for one table. Parameters are the key columns in order, and the sealed record after them."""

    put: str
    drop: str
    read: str

    @classmethod
    def of(cls, table: sa.Table) -> Statements:
        keys = list(table.primary_key.columns)
        insert = sqlite.insert(table)
        value = next(column.name for column in table.columns if not column.primary_key)
        put = insert.on_conflict_do_update(index_elements=keys, set_={value: insert.excluded[value]})
        drop = sa.delete(table).where(*(column == sa.bindparam(column.name) for column in keys))
        return cls(*(str(statement.compile(dialect=_DIALECT)) for statement in (put, drop, sa.select(table))))


STATEMENTS: Final = {table.name: Statements.of(table) for table in (meta, groups, members, ike_sas, facts)}


@dataclass(frozen=True, slots=True)
class FactStatements:
    """Reading facts of one kind. ``all`` takes the kind; ``first`` the kind and a number of rows; ``after``
    the kind, a key and a number of rows.
    """

    all: str
    first: str
    after: str

    @classmethod
    def of(cls, descending: bool) -> FactStatements:
        key = facts.c.key
        everything = sa.select(facts).where(facts.c.kind == sa.bindparam("kind"))
        everything = everything.order_by(key.desc() if descending else key)
        beyond = key < sa.bindparam("after") if descending else key > sa.bindparam("after")
        found = (everything, everything, everything.where(beyond))
        # SQLAlchemy would give LIMIT an OFFSET with a parameter of its own.
        whole, first, after = (str(statement.compile(dialect=_DIALECT)) for statement in found)
        return cls(whole, f"{first} LIMIT ?", f"{after} LIMIT ?")


ASCENDING: Final = FactStatements.of(descending=False)
DESCENDING: Final = FactStatements.of(descending=True)
# Takes a kind and gives the one that follows, so that only the index's edges are read, not all facts.
NEXT_KIND: Final = "SELECT min(kind) FROM facts WHERE kind > ?"
