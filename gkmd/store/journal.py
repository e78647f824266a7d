"""The journal: one SQLite file, one connection, one writer thread, many submissions per commit.

WAL with synchronous=FULL: what ``done`` was told is on the disk. One connection owns all writes and
checkpoints; nothing else may open the file while the server runs (SQLite before 3.51.3 may damage a WAL that
two write to).
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from gkmd.core.change import Change, Fact, GroupRecord, IkeSaRecord, Journalled, MemberRecord
from gkmd.core.errors import CryptoError, StoreError
from gkmd.core.rng import Rng
from gkmd.crypto.seal_at_rest import MasterKey
from gkmd.group.platform.records import ARCHIVED, LOADED
from gkmd.store import schema
from gkmd.store.failures import store_error
from gkmd.store.files import Lock, prepare
from gkmd.store.records import encode, reader
from gkmd.store.tables import ASCENDING, DESCENDING, NEXT_KIND, STATEMENTS
from gkmd.store.writes import Row, write_of

MOST_PER_COMMIT: Final = 1024  # submissions
_JOURNAL_ID_OCTETS: Final = 16
# Not a backup: an older journal uses message ids, and so IVs, again with other content.
_OTHERWISE: Final = "move the journal away and let all members register again"
_PROOF: Final = b"this journal opens with this master key"
_PRAGMAS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",  # before WAL: then no shared memory file is needed
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA cache_size = -65536",
    "PRAGMA journal_size_limit = 67108864",
)

Done: TypeAlias = Callable[[StoreError | None], None]

_read_group: Final = reader(GroupRecord)
_read_member: Final = reader(MemberRecord)
_read_ike_sa: Final = reader(IkeSaRecord)

_FACT_READERS: Final = {kind.KIND: reader(kind) for kind in (*LOADED, *ARCHIVED)}
_ARCHIVES: Final = frozenset(kind.KIND for kind in ARCHIVED)


class Journal:
    """Made by ``open``. ``submit``, ``read`` and ``close`` may be called from any thread."""

    def __init__(
        self, path: Path, lock: Lock, connection: sa.Connection, master_key: MasterKey, journal_id: bytes
    ) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._master_key = master_key
        self._journal_id = journal_id
        self._using = threading.Lock()  # the connection
        self._queue: queue.SimpleQueue[tuple[tuple[Change, ...], Done] | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._run, name="journal", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: Path, master_key: MasterKey, rng: Rng) -> Journal:
        """Open or make the journal, bring it to this gkmd's schema, and check it.

        StoreError, in one line, when it is held by another process, readable by others, damaged, of a newer
        gkmd, or sealed with another master key.
        """
        path = Path(path)
        prepare(path)
        lock = Lock(path)
        engine = _engine(path)
        try:
            connection = engine.connect()
            try:
                journal_id = _ready(connection, path, master_key, rng)
            except BaseException:
                connection.close()
                raise
            return cls(path, lock, connection, master_key, journal_id)
        except BaseException as error:
            engine.dispose()
            lock.release()
            if isinstance(error, sa.exc.SQLAlchemyError | OSError):
                raise store_error(path, error) from None
            raise

    def load(self) -> Journalled:
        """All that is kept in memory: of archived facts the last of each kind only. StoreError when a row was
        damaged, altered or moved, or is of a kind that this gkmd does not know.
        """
        try:
            with self._using, self._connection.begin():
                return Journalled(
                    groups=tuple(_read_group(octets) for octets in self._rows("groups")),
                    members=tuple(_read_member(octets) for octets in self._rows("members")),
                    ike_sas=tuple(_read_ike_sa(octets) for octets in self._rows("ike_sas")),
                    facts=self._facts(),
                )
        except sa.exc.SQLAlchemyError as error:
            raise store_error(self._path, error) from None

    def read(self, kind: str, after: str, limit: int, descending: bool = False) -> tuple[Fact, ...]:
        """At most ``limit`` facts of an archived kind in the order of their keys, from ``after`` (exclusive)
        on; "" begins at the end where reading starts. Waits for the disk and for a commit under way: not for
        an event loop's thread. StoreError as ``load``.
        """
        if kind not in _ARCHIVES:
            raise StoreError(f"there is no archive of the kind {kind!r}")
        statements = DESCENDING if descending else ASCENDING
        query = statements.after if after else statements.first
        values = (kind, after, limit) if after else (kind, limit)
        try:
            with self._using:
                if self._closed:
                    raise StoreError(f"journal {self._path} is closed")
                with self._connection.begin():
                    rows = self._connection.exec_driver_sql(query, values).all()
            return tuple(self._fact(*row) for row in rows)
        except sa.exc.SQLAlchemyError as error:
            raise store_error(self._path, error) from None

    def submit(self, changes: tuple[Change, ...], done: Done) -> None:
        """Write the changes as one transaction, possibly together with others; all of them or none.

        ``done`` is called in the writer's thread once they are on the disk, or with the reason why they are
        not; it must be quick and must not raise.
        """
        if self._closed:
            done(StoreError(f"journal {self._path} is closed"))
            return
        self._queue.put((changes, done))

    def close(self) -> None:
        """Write what was submitted, and give the journal free."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        with self._using:
            self._connection.close()
        self._connection.engine.dispose()
        self._lock.release()

    # The writer

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < MOST_PER_COMMIT:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            going = None not in batch
            submissions = [item for item in batch if item is not None]
            if submissions:
                self._commit(submissions)

    def _commit(self, submissions: list[tuple[tuple[Change, ...], Done]]) -> None:
        error: StoreError | None = None
        try:
            # Only the last state of a row within the batch is encoded, sealed and written.
            rows: dict[tuple[str, Row], object] = {}
            for changes, _ in submissions:
                for change in changes:
                    table, key, record = write_of(change)
                    rows[table, key] = record
            puts, drops = self._sealed(rows)
            with self._using, self._connection.begin():
                for table, values in puts.items():
                    self._connection.exec_driver_sql(STATEMENTS[table].put, values)
                for table, values in drops.items():
                    self._connection.exec_driver_sql(STATEMENTS[table].drop, values)
        except StoreError as failed:
            error = failed
        except Exception as failed:  # whatever it was, it is not on the disk, and the thread has to live
            error = store_error(self._path, failed)
        for _, done in submissions:
            try:
                done(error)
            except Exception:
                sys.excepthook(*sys.exc_info())

    def _sealed(
        self, rows: dict[tuple[str, Row], object]
    ) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
        """The parameters of the statements, by table: of what is put, and of what is dropped."""
        puts: dict[str, list[Row]] = {}
        drops: dict[str, list[Row]] = {}
        seal, journal_id = self._master_key.seal, self._journal_id
        for (table, key), record in rows.items():
            if table == "facts":
                key = self._found_by(*key)
            if record is None:
                drops.setdefault(table, []).append(key)
            else:
                sealed = seal(encode(record), _context(journal_id, table, key))
                puts.setdefault(table, []).append((*key, sealed))
        return puts, drops

    def _found_by(self, kind: str, key: str) -> Row:
        """The columns of a fact. Keys hold names of people and references: only those along which archives
        are read, which are numbers, are written as they are.
        """
        if kind in _ARCHIVES:
            return kind, key
        return kind, self._master_key.name(self._journal_id + f"{kind}\0{key}".encode()).hex()

    def _rows(self, table: str) -> list[bytes]:
        rows = self._connection.exec_driver_sql(STATEMENTS[table].read)
        return [self._open(table, tuple(key), sealed) for *key, sealed in rows]

    def _facts(self) -> tuple[Fact, ...]:
        self._check_kinds()
        found: list[Fact] = []
        for kept in LOADED:
            rows = self._connection.exec_driver_sql(ASCENDING.all, (kept.KIND,))
            found += sorted((self._fact(*row) for row in rows), key=_key)
        for archived in ARCHIVED:
            rows = self._connection.exec_driver_sql(DESCENDING.first, (archived.KIND, 1))
            found += [self._fact(*row) for row in rows]
        return tuple(found)

    def _check_kinds(self) -> None:
        """What is not read must not be there: it may be somebody's money."""
        kind: str | None = ""
        while (kind := self._connection.exec_driver_sql(NEXT_KIND, (kind,)).scalar()) is not None:
            if kind not in _FACT_READERS:
                what = (
                    f"journal {self._path} has facts of the kind {kind[:40]!r}, which this gkmd does not know"
                )
                raise StoreError(f"{what}: go on with the gkmd that wrote it, or begin with a new state")

    def _fact(self, kind: str, key: str, sealed: bytes) -> Fact:
        read = _FACT_READERS[kind]
        return cast(Fact, read(self._open("facts", (kind, key), sealed)))

    def _open(self, table: str, key: Row, sealed: bytes) -> bytes:
        try:
            return self._master_key.open(sealed, _context(self._journal_id, table, key))
        except CryptoError:
            raise StoreError(
                f"journal {self._path}: a row of {table} was damaged, altered or moved: {_OTHERWISE}"
            ) from None


def _key(fact: Fact) -> str:
    return fact.key


def _context(journal_id: bytes, table: str, key: Row) -> bytes:
    """What a sealed record is bound to: neither into another row nor into another journal can it be moved."""
    return encode(("gkmd journal", journal_id, table, key))


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 0, "isolation_level": None},
    )

    # The driver is told to leave transactions alone, so that schema changes are part of them, too.
    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma).close()

    return engine


def _ready(connection: sa.Connection, path: Path, master_key: MasterKey, rng: Rng) -> bytes:
    """Check the file, migrate it, and prove the master key; the journal's id."""
    with connection.begin():
        checked = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if checked != "ok":
            raise StoreError(f"journal {path} is damaged: {_OTHERWISE}")
        schema.upgrade(connection, path)
        facts = {row[0]: bytes(row[1]) for row in connection.exec_driver_sql(STATEMENTS["meta"].read)}
        if "journal-id" not in facts or "proof" not in facts:
            journal_id = rng(_JOURNAL_ID_OCTETS)
            proof = master_key.seal(_PROOF, _context(journal_id, "meta", ("proof",)))
            connection.exec_driver_sql(STATEMENTS["meta"].put, [("journal-id", journal_id), ("proof", proof)])
            return journal_id
        journal_id = facts["journal-id"]
        try:
            master_key.open(facts["proof"], _context(journal_id, "meta", ("proof",)))
        except CryptoError:
            raise StoreError(
                f"journal {path} is sealed with another master key: give that key, or {_OTHERWISE}"
            ) from None
        return journal_id
