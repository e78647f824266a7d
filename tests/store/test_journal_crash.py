"""The journal in trouble: SIGKILL in the middle of commits, a disk without room, a read-only one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import journal_child
import pytest
from store_records import GROUP, MEMBER, charge, entry, listed, member, open_journal, pragma, write

from gkmd.core.change import Change, Put, PutGroup, PutMember
from gkmd.core.errors import StoreError
from gkmd.group.platform.records import Admission, AuditLine, Balance, Entry
from gkmd.store.journal import Journal

CHILD = [sys.executable, journal_child.__file__]
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("seconds", [0.02, 0.15, 0.3])
def test_killed_in_the_middle_of_commits(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "state.db"
    with subprocess.Popen([*CHILD, path, "stream"], stdout=subprocess.PIPE, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        # From here on the pipe's reader must not hold the child up, or it would be killed while it waits.
        heard: list[bytes] = [first]
        reader = threading.Thread(target=lambda: heard.extend(child.stdout or ()))
        reader.start()
        end = time.monotonic() + 60
        while len(heard) <= 20 and time.monotonic() < end:  # however slow the disk is
            time.sleep(0.005)
        time.sleep(seconds)
        child.kill()
        reader.join()
    lines = b"".join(heard).splitlines(keepends=True)
    acknowledged = [int(line) for line in lines if line.endswith(b"\n")]
    journal = open_journal(path)
    held = journal.load()
    entries = journal.read("entry", "", 1_000_000)
    audit = journal.read("audit", "", 1_000_000)
    journal.close()
    assert len(acknowledged) > 20
    assert acknowledged == list(range(len(acknowledged)))
    # All that was acknowledged, in order, and perhaps some that nobody was told of; never half of one.
    numbers = sorted(int(record.joined) for record in held.members)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= len(acknowledged)
    assert sorted(int.from_bytes(ike_sa.spi_r, "big") for ike_sa in held.ike_sas) == numbers
    assert [group.epoch for group in held.groups] == numbers[-1:]
    assert all(record == member(int(record.joined)) for record in held.members)
    # No admission without its entry, no entry without its admission, and the balance is their sum.
    admissions = [fact for fact in held.facts if isinstance(fact, Admission)]
    assert [int(admission.at) for admission in admissions] == numbers
    assert [found.number for found in entries if isinstance(found, Entry)] == numbers
    assert [line.number for line in audit if isinstance(line, AuditLine)] == numbers
    (balance,) = (fact for fact in held.facts if isinstance(fact, Balance))
    assert (balance.amount, balance.entries) == (-250 * len(numbers), len(numbers))


def test_no_room_is_said_clearly_and_writing_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    child = subprocess.run(
        [*CHILD, path, "limit", "400000"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
        check=True,
    )
    assert child.stderr == ""
    written, first, second = child.stdout.splitlines()
    for line in (first, second):
        assert str(path) in line
        assert "limit of file sizes" in line or "disk is full" in line
    journal = open_journal(path)
    held = journal.load()
    journal.close()
    numbers = sorted(int(record.joined) for record in held.members)
    assert numbers == [*range(int(written)), 20_000_000]
    assert len(held.ike_sas) == len(numbers)


def test_full_disk_is_said_clearly(tmp_path: Path) -> None:
    """SQLite's own limit on pages gives the same error as a full file system."""
    journal = open_journal(tmp_path / "state.db")
    pages = pragma(journal, "page_count")
    assert isinstance(pages, int)
    pragma(journal, f"max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="the disk is full: free some space"):
        write(journal, *(PutMember(member(number)) for number in range(100)))
    assert journal.load().members == ()
    pragma(journal, "max_page_count = 100000")
    write(journal, PutMember(MEMBER))
    assert journal.load().members == (MEMBER,)
    journal.close()


def test_read_only_is_said_clearly(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "state.db")
    pragma(journal, "query_only = ON")
    with pytest.raises(StoreError, match="read-only: make it writable"):
        write(journal, PutMember(MEMBER))
    journal.close()


def fill(journal: Journal) -> None:
    for hundred in range(0, 10_000, 100):
        write(journal, *(PutMember(member(hundred + more)) for more in range(100)))


@pytest.mark.root
def test_full_file_system(tmp_path: Path) -> None:
    """A real one, of 1 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "gkmd-test", tmp_path], check=True)
    try:
        journal = open_journal(tmp_path / "state.db")
        with pytest.raises(StoreError, match="the disk is full"):
            fill(journal)
        held = len(journal.load().members)
        assert held % 100 == 0
        journal.close()
        journal = open_journal(tmp_path / "state.db")
        assert len(journal.load().members) == held
        journal.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# The writer


def test_submissions_are_answered_in_order_and_share_commits(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "state.db")
    commits = 0
    commit = journal._commit

    def counted(submissions: list[tuple[tuple[Change, ...], object]]) -> None:
        nonlocal commits
        commits += 1
        commit(submissions)  # type: ignore[arg-type]

    journal._commit = counted  # type: ignore[method-assign,assignment]
    answers: list[int] = []
    submitted, last = threading.Event(), threading.Event()
    for number in range(500):

        def done(error: StoreError | None, number: int = number) -> None:
            assert error is None
            answers.append(number)
            if number == 0:
                assert submitted.wait(60)  # the others come while the writer is busy
            if number == 499:
                last.set()

        journal.submit((PutGroup(replace(GROUP, epoch=number)),), done)
    submitted.set()
    assert last.wait(60)
    assert answers == list(range(500))
    assert commits < 250
    assert journal.load().groups[0].epoch == 499
    journal.close()


def test_an_archive_is_read_while_writes_go_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "state.db")
    write(journal, Put(entry(0)))
    errors: list[StoreError | None] = []
    for number in range(1, 400):
        journal.submit((Put(entry(number)), *map(Put, charge(number)[:1])), errors.append)
        if number % 20 == 0:
            upwards = journal.read("entry", "", 1000)
            downwards = journal.read("entry", "", 3, True)
            seen = [int(found.key) for found in upwards]
            assert seen == list(range(len(seen)))
            assert len(seen) - 1 <= int(downwards[0].key) <= number
    journal.close()
    assert errors == [None] * 399


def test_a_long_list_is_written_as_one(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "state.db")
    write(journal, *(Put(listed(number, "v" * 97)) for number in range(20_000)))
    journal.close()
    journal = open_journal(tmp_path / "state.db")
    facts = journal.load().facts
    assert (len(facts), facts[0], facts[-1]) == (20_000, listed(0, "v" * 97), listed(19_999, "v" * 97))
    journal.close()


def test_what_was_submitted_before_close_is_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "state.db")
    answers: list[StoreError | None] = []
    for number in range(100):
        journal.submit((PutMember(member(number)),), answers.append)
    journal.close()
    assert answers == [None] * 100
    journal = open_journal(tmp_path / "state.db")
    assert len(journal.load().members) == 100
    journal.close()


def test_a_fault_in_one_answer_does_not_stop_the_writer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = open_journal(tmp_path / "state.db")

    def faulty(error: StoreError | None) -> None:
        raise RuntimeError("fault in an answer")

    journal.submit((PutMember(MEMBER),), faulty)
    write(journal, PutMember(member(1)))
    assert "fault in an answer" in capsys.readouterr().err
    assert len(journal.load().members) == 2
    journal.close()


def test_a_record_that_cannot_be_kept_fails_its_transaction(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "state.db")
    bad = replace(MEMBER, address=object())  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="cannot keep"):
        write(journal, PutMember(member(1)), PutMember(bad))
    assert journal.load().members == ()
    write(journal, PutMember(MEMBER))
    journal.close()


def test_failed_opening_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    open_journal(path).close()
    for _ in range(2):
        with pytest.raises(StoreError, match="another master key"):
            open_journal(path, octet=3)
    journal = open_journal(path)
    assert isinstance(journal, Journal)
    journal.close()
