"""Files that are not ours, not whole, of another key, of a later gkmd: one clear line, and nothing is
touched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import alembic.autogenerate
import msgspec
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from store_records import (
    ACCOUNT,
    GROUP,
    IKE_SA,
    MEMBER,
    RESERVATION,
    entry,
    listed,
    member,
    open_journal,
    pragma,
    write,
)

import gkmd.store
from gkmd.core.change import Journalled, Put, PutGroup, PutIkeSa, PutMember
from gkmd.core.errors import StoreError
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.records import Reference
from gkmd.store import records, schema
from gkmd.store.tables import metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def written(path: Path) -> Path:
    """A journal with a group, members and an IKE SA, closed."""
    journal = open_journal(path)
    changes = (PutMember(member(number)) for number in range(50))
    write(journal, PutGroup(GROUP), PutMember(MEMBER), PutIkeSa(IKE_SA), *changes)
    journal.close()
    return path


def refusal(path: Path, octet: int = 1) -> str:
    with pytest.raises(StoreError) as refused:
        open_journal(path, octet)
    (line,) = str(refused.value).splitlines()
    return line


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def test_files_are_for_our_eyes_only(path: Path) -> None:
    before = os.umask(0)
    try:
        journal = open_journal(path)
        write(journal, PutMember(MEMBER))
    finally:
        os.umask(before)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert {file.name for file in path.parent.iterdir()} >= {"state.db", "state.db-wal"}
    journal.close()


def test_readable_by_others(written: Path) -> None:
    written.chmod(0o640)
    assert "`chmod 0600 " in refusal(written)


@pytest.mark.parametrize(
    ("mode", "advice"),
    [(0o720, "chmod go-w"), (0o702, "chmod go-w"), (0o1777, "a folder of its own")],
)
def test_folder_that_others_can_write(path: Path, mode: int, advice: str) -> None:
    path.parent.chmod(mode)
    try:
        line = refusal(path)
        assert "writable by others" in line
        assert advice in line
        assert not list(path.parent.iterdir())
    finally:
        path.parent.chmod(0o700)


def test_folder_of_another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner can put a write-ahead log beside the journal."""
    if os.geteuid() == 0:
        os.chown(path.parent, 4242, -1)
        assert "belongs to user 4242, not to gkmd's user 0 or root: `chown 0 " in refusal(path)
    else:
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
        assert f"belongs to user {own}, not to gkmd's user 4242 or root: `chown 4242 " in refusal(path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", ".lock"])
def test_what_was_put_beside_the_journal(
    written: Path, tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()
    planted = written.with_name(written.name + end)
    planted.unlink(missing_ok=True)
    planted.symlink_to(tmp_path / "elsewhere")
    assert f"{planted} is no regular file of gkmd's user" in refusal(written)
    planted.unlink()
    if os.geteuid() == 0:
        planted.touch(0o600)
        os.chown(planted, 4242, -1)
        assert f"{planted} is no regular file of gkmd's user 0" in refusal(written)
        planted.unlink()
    assert written.read_bytes() == before
    assert not (tmp_path / "elsewhere").exists()
    open_journal(written).close()


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "no" / "state.db")


def test_symbolic_link(written: Path) -> None:
    link = written.with_name("link.db")
    link.symlink_to(written)
    assert "link.db" in refusal(link)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    assert "Is a directory" in refusal(tmp_path / "state.db")


def test_pipe_in_place_of_a_file(path: Path) -> None:
    os.mkfifo(path, 0o600)
    assert "no regular file" in refusal(path)


def test_file_of_another_user(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert "not to gkmd's user 4242" in refusal(written)


def test_lock_that_cannot_be_made(path: Path) -> None:
    path.with_name("state.db.lock").mkdir()
    assert "state.db.lock is no regular file of gkmd's user" in refusal(path)


def test_lock_that_cannot_be_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert "No locks available" in refusal(path)


def test_loading_that_fails(written: Path) -> None:
    journal = open_journal(written)
    with journal._using, journal._connection.begin():
        journal._connection.exec_driver_sql("DROP TABLE members")
    with pytest.raises(StoreError, match="no such table: members"):
        journal.load()
    journal.close()


def test_one_process_only(path: Path) -> None:
    journal = open_journal(path)
    assert f"is in use by process {os.getpid()}" in refusal(path)
    journal.close()
    open_journal(path).close()


def test_another_master_key(written: Path) -> None:
    assert "sealed with another master key" in refusal(written, octet=2)
    journal = open_journal(written)
    assert len(journal.load().members) == 51
    journal.close()


def test_schema_of_a_newer_gkmd(written: Path) -> None:
    edit(written, "UPDATE alembic_version SET version_num = 'v9999'")
    before = written.read_bytes()
    assert "written by a newer gkmd" in refusal(written)
    assert written.read_bytes() == before


def test_database_of_another_program(path: Path) -> None:
    edit(path, "CREATE TABLE theirs (x)")
    path.chmod(0o600)
    assert "no journal of gkmd" in refusal(path)
    edit(path, "PRAGMA application_id = 5", "DROP TABLE theirs")
    assert "no journal of gkmd" in refusal(path)


def test_no_database(path: Path) -> None:
    path.write_bytes(b"group,member\nnews,rx\n" * 100)
    path.chmod(0o600)
    assert "no database or is damaged" in refusal(path)


def read_all(path: Path) -> None:
    journal = open_journal(path)
    try:
        journal.load()
    finally:
        journal.close()


@pytest.mark.parametrize("page", [1, 3, 5, 8])
def test_damaged_pages_never_pass(written: Path, page: int) -> None:
    """Whatever page is overwritten: either opening or loading says so."""
    with written.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xa5" * 4096)
    with pytest.raises(StoreError) as refused:
        read_all(written)
    assert "damaged" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def swapped(written: Path) -> Path:
    """Two members whose sealed records changed places."""
    edit(
        written,
        "CREATE TEMP TABLE two AS SELECT rowid AS r, sealed FROM members LIMIT 2",
        "UPDATE members SET sealed = (SELECT sealed FROM two WHERE r != members.rowid) "
        "WHERE rowid IN (SELECT r FROM two)",
    )
    return written


def test_rows_cannot_be_swapped(swapped: Path) -> None:
    journal = open_journal(swapped)
    with pytest.raises(StoreError, match="a row of members was damaged, altered or moved"):
        journal.load()
    journal.close()


def test_rows_cannot_come_from_another_journal_under_the_same_key(written: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    open_journal(other).close()
    edit(other, f"ATTACH '{written}' AS theirs", "INSERT INTO groups SELECT * FROM theirs.groups")
    journal = open_journal(other)
    with pytest.raises(StoreError, match="a row of groups"):
        journal.load()
    journal.close()


def test_no_key_is_legible_in_the_files(path: Path) -> None:
    """No window of eight octets of any key, in the database or in the WAL."""
    journal = open_journal(path)
    write(journal, PutGroup(GROUP), PutMember(MEMBER), PutIkeSa(IKE_SA))
    wal = b"".join(file.read_bytes() for file in path.parent.iterdir())
    journal.close()
    everything = wal + b"".join(file.read_bytes() for file in path.parent.iterdir())
    keys = [sa.key for sa in GROUP.data_sas] + [key.key for key in MEMBER.key_path] + [IKE_SA.keys]
    keys += [sa.key for sa in GROUP.rekey_sas] + [sa.signing_key for sa in GROUP.rekey_sas if sa.signing_key]
    keys.append(SecretBytes(bytes([1]) * 32))  # the master key
    assert len(everything) > 8192
    for key in keys:
        octets = key.reveal()
        assert not any(octets[at : at + 8] in everything for at in range(len(octets) - 7))


def test_full_durability_is_configured(path: Path) -> None:
    journal = open_journal(path)
    assert pragma(journal, "journal_mode") == "wal"
    assert pragma(journal, "synchronous") == 2
    assert pragma(journal, "locking_mode") == "exclusive"
    journal.close()


# Schema and records


def test_migrations_lead_to_the_tables() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection, connection.begin():
        schema.upgrade(connection, Path("memory"))
        difference = alembic.autogenerate.compare_metadata(MigrationContext.configure(connection), metadata)
        assert difference == []
        schema.upgrade(connection, Path("memory"))
    engine.dispose()


def test_known_revisions_are_those_of_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(gkmd.store.__path__[0], "migrations")))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    assert tuple(script.revision for script in scripts)[::-1] == schema.REVISIONS


FIRST_SCHEMA = (
    "CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE groups (name TEXT NOT NULL PRIMARY KEY, sealed BLOB NOT NULL)",
    "CREATE TABLE members (group_name TEXT NOT NULL, identity_kind INTEGER NOT NULL, identity BLOB NOT NULL,"
    " sealed BLOB NOT NULL, PRIMARY KEY (group_name, identity_kind, identity))",
    "CREATE TABLE ike_sas (spi_r BLOB NOT NULL PRIMARY KEY, sealed BLOB NOT NULL)",
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('v0001')",
)


def test_a_journal_of_the_first_schema_goes_on(written: Path, tmp_path: Path) -> None:
    """Sealed rows are bound to the journal's id, which moves with them: this is what gkmd 0.2 left behind."""
    old = tmp_path / "old.db"
    tables = ("meta", "groups", "members", "ike_sas")
    edit(
        old,
        *FIRST_SCHEMA,
        f"PRAGMA application_id = {schema.APPLICATION_ID}",
        f"ATTACH '{written}' AS new",
        *(f"INSERT INTO main.{table} SELECT * FROM new.{table}" for table in tables),
    )
    old.chmod(0o600)
    journal = open_journal(old)
    held = journal.load()
    assert (held.groups, held.ike_sas, len(held.members), held.facts) == ((GROUP,), (IKE_SA,), 51, ())
    write(journal, Put(ACCOUNT))
    journal.close()
    journal = open_journal(old)
    assert journal.load().facts == (ACCOUNT,)
    journal.close()


def test_a_backup_goes_on_without_its_keys(path: Path) -> None:
    """What docs/operations.md says of a platform's state that is put back."""
    journal = open_journal(path)
    write(journal, PutGroup(GROUP), PutMember(MEMBER), PutIkeSa(IKE_SA), Put(ACCOUNT), Put(listed(1)))
    journal.close()
    edit(path, "DELETE FROM groups", "DELETE FROM members", "DELETE FROM ike_sas")
    journal = open_journal(path)
    assert journal.load() == Journalled(facts=(ACCOUNT, listed(1)))
    journal.close()


def test_facts_cannot_be_swapped(path: Path) -> None:
    journal = open_journal(path)
    write(journal, Put(listed(1)), Put(listed(2, "$argon2id$")), Put(entry(1)), Put(entry(2)))
    journal.close()
    for kind in ("listed", "entry"):
        first = f"(SELECT sealed FROM facts WHERE kind = '{kind}' ORDER BY key LIMIT 1)"
        edit(path, f"UPDATE facts SET sealed = {first} WHERE kind = '{kind}'")
    journal = open_journal(path)
    with pytest.raises(StoreError, match="a row of facts was damaged, altered or moved"):
        journal.load()
    with pytest.raises(StoreError, match="a row of facts was damaged, altered or moved"):
        journal.read("entry", "", 5)
    journal.close()


def test_facts_that_nobody_reads_are_not_passed_over(path: Path) -> None:
    journal = open_journal(path)
    write(journal, Put(listed(1)), Put(entry(1)))
    journal.close()
    edit(path, "INSERT INTO facts VALUES ('charge', 'x', x'00')")
    journal = open_journal(path)
    with pytest.raises(StoreError, match="facts of the kind 'charge', which this gkmd does not know"):
        journal.load()
    journal.close()
    edit(path, "DELETE FROM facts WHERE kind = 'charge'")
    journal = open_journal(path)
    assert journal.load().facts == (listed(1), entry(1))
    journal.close()


def test_keys_of_facts_name_nobody(path: Path) -> None:
    """Nor can who has the file, or another journal of the same master key, compare them with a guess."""
    journal = open_journal(path)
    reference = Reference("deposit:bob@example.net", 1, "EUR", 250)
    facts = (listed(1), listed(2), ACCOUNT, RESERVATION, reference)
    write(journal, *(Put(fact) for fact in facts), Put(entry(7)))
    journal.close()
    names = (b"name00000", b"example", ACCOUNT.id.encode(), RESERVATION.id.encode(), b"bob")
    held = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert [name for name in names if name in held] == []
    assert held.count(b"entry" + entry(7).key.encode()) >= 1  # an archive is read along its numbers

    other = open_journal(path.with_name("other.db"))
    write(other, *(Put(fact) for fact in facts))
    other.close()
    assert keys(path).isdisjoint(keys(path.with_name("other.db")))


def keys(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {key for (key,) in database.execute("SELECT key FROM facts")}


def test_fields_added_since_take_their_defaults_and_unknown_ones_are_left_out() -> None:
    octets = records.encode(GROUP)
    values = msgspec.msgpack.decode(octets)
    assert set(values) == {"name", "epoch", "data_sas", "rekey_sas", "next_sender_id", "next_key_id"} | {
        "pending",
        "closed",
        "terms",
    }
    del values["terms"]
    values["later"] = 1
    read = records.reader(type(GROUP))
    assert read(msgspec.msgpack.encode(values)) == type(GROUP)(
        **{name: getattr(GROUP, name) for name in values if name != "later"}
    )


@pytest.mark.parametrize(
    "octets", [b"", b"\xc1", b"\x80", b"\x90", b"\x01", b"\xc7\x01\x09\x00", b"\x81\xa4name\x01"]
)
def test_records_that_do_not_fit(octets: bytes) -> None:
    with pytest.raises(StoreError):
        records.reader(type(GROUP))(octets)


def test_values_that_cannot_be_kept() -> None:
    with pytest.raises(StoreError, match="object"):
        records.encode(object())
