"""What a journal promises, kept by the one on disk and by its twin in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_records import (
    ACCOUNT,
    GROUP,
    IKE_SA,
    MEMBER,
    RESERVATION,
    RX,
    TALLY,
    AnyJournal,
    as_sets,
    charge,
    entry,
    listed,
    member,
    open_journal,
    secret,
    write,
)

from gkmd.core.change import (
    Change,
    Drop,
    DropGroup,
    DropIkeSa,
    DropMember,
    Journalled,
    Put,
    PutGroup,
    PutIkeSa,
    PutMember,
)
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity
from gkmd.store.memory import MemoryJournal


class OnDisk:
    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self) -> AnyJournal:
        return open_journal(self.path)

    def restart(self, journal: AnyJournal) -> AnyJournal:
        journal.close()
        return open_journal(self.path)


class InMemory:
    def start(self) -> AnyJournal:
        return MemoryJournal()

    def restart(self, journal: AnyJournal) -> AnyJournal:
        journal.close()
        return MemoryJournal(journal.load())


@pytest.fixture(params=["disk", "memory"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> OnDisk | InMemory:
    return OnDisk(tmp_path / "state.db") if request.param == "disk" else InMemory()


@pytest.fixture
def journal(kind: OnDisk | InMemory) -> Iterator[AnyJournal]:
    opened = kind.start()
    yield opened
    opened.close()


def test_new_journal_is_empty(journal: AnyJournal) -> None:
    assert journal.load() == Journalled()


def test_every_field_comes_back(kind: OnDisk | InMemory) -> None:
    journal = kind.start()
    write(journal, PutGroup(GROUP), PutMember(MEMBER), PutIkeSa(IKE_SA))
    expected = Journalled((GROUP,), (MEMBER,), (IKE_SA,))
    assert journal.load() == expected
    journal = kind.restart(journal)
    held = journal.load()
    assert held == expected
    assert held.members[0].key_path[0].key.reveal() == MEMBER.key_path[0].key.reveal()
    assert type(held.groups[0].data_sas[2].source) is type(GROUP.data_sas[2].source)
    journal.close()


def test_a_record_replaces_the_one_before(journal: AnyJournal) -> None:
    write(journal, PutGroup(GROUP), PutMember(MEMBER), PutIkeSa(IKE_SA))
    group, again = replace(GROUP, epoch=8, data_sas=()), replace(MEMBER, sends=False)
    ike_sa = replace(IKE_SA, keys=secret(168), pending_request=b"request")
    write(journal, PutGroup(group), PutMember(again), PutIkeSa(ike_sa))
    assert journal.load() == Journalled((group,), (again,), (ike_sa,))


def test_drops(journal: AnyJournal) -> None:
    write(journal, PutGroup(GROUP), PutMember(MEMBER), PutMember(member(1)), PutIkeSa(IKE_SA))
    write(journal, DropMember("news", RX), DropIkeSa(IKE_SA.spi_r), DropGroup("news"))
    assert journal.load() == Journalled((), (member(1),), ())
    write(journal, DropMember("news", RX), DropIkeSa(IKE_SA.spi_r), DropGroup("news"))
    assert journal.load() == Journalled((), (member(1),), ())


def test_the_last_change_of_a_transaction_counts(journal: AnyJournal) -> None:
    write(journal, PutMember(MEMBER), DropMember("news", RX), DropGroup("news"), PutGroup(GROUP))
    assert journal.load() == Journalled((GROUP,), (), ())


def test_members_of_two_groups_and_kinds_of_identity_do_not_meet(journal: AnyJournal) -> None:
    records = [
        replace(MEMBER, group=group, identity=Identity(kind, b"same"))
        for group in ("news", "chat", "")
        for kind in (2, 3, 11)
    ]
    write(journal, *(PutMember(record) for record in records))
    assert as_sets(journal.load())[1] == set(records)
    write(journal, DropMember("news", Identity(2, b"same")))
    assert len(journal.load().members) == 8


def test_closed_journal_says_so(journal: AnyJournal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        write(journal, PutMember(MEMBER))


def test_facts_come_back_whole(kind: OnDisk | InMemory) -> None:
    facts = (ACCOUNT, RESERVATION, listed(1, "$argon2id$"), TALLY)
    journal = kind.start()
    write(journal, *(Put(fact) for fact in facts), PutMember(MEMBER))
    journal = kind.restart(journal)
    held = journal.load()
    assert held == Journalled(members=(MEMBER,), facts=facts)
    account, reservation, *_ = held.facts
    assert account.totp.reveal() == ACCOUNT.totp.reveal()  # type: ignore[attr-defined,union-attr]
    assert type(reservation.senders[0].source) is type(RESERVATION.senders[0].source)  # type: ignore[attr-defined]
    journal.close()


def test_facts_are_replaced_and_dropped_by_kind_and_key(journal: AnyJournal) -> None:
    write(journal, Put(listed(1)), Put(listed(2)), Put(TALLY), Put(RESERVATION))
    write(journal, Put(listed(2, "new")), Drop("listed", listed(1).key), Drop("listed", "no/body"))
    assert journal.load().facts == (RESERVATION, listed(2, "new"), TALLY)
    write(journal, Drop("tally", RESERVATION.id), Put(listed(1)), Drop("listed", listed(1).key))
    assert journal.load().facts == (RESERVATION, listed(2, "new"))


def test_of_an_archive_the_last_is_loaded(kind: OnDisk | InMemory) -> None:
    journal = kind.start()
    for number in range(12):
        write(journal, *(Put(fact) for fact in charge(number)))
    journal = kind.restart(journal)
    facts = journal.load().facts
    assert [fact for fact in facts if fact.KIND in ("entry", "audit")] == [charge(11)[1], charge(11)[3]]
    assert [fact.key for fact in facts if fact.KIND == "admission"] == [charge(n)[0].key for n in range(12)]
    assert [fact for fact in facts if fact.KIND == "balance"] == [charge(11)[2]]
    journal.close()


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_an_archive_is_read_in_pages_both_ways(journal: AnyJournal, limit: int) -> None:
    write(journal, *(Put(entry(number)) for number in (*range(9), 10**9)), Put(TALLY), Put(ACCOUNT))
    expected = [entry(number) for number in (*range(9), 10**9)]
    for descending in (False, True):
        found, after = [], ""
        while page := journal.read("entry", after, limit, descending):
            assert len(page) <= limit
            found += page
            after = page[-1].key
        assert found == (expected[::-1] if descending else expected)
    assert journal.read("entry", entry(3).key, 2) == (entry(4), entry(5))
    assert journal.read("entry", entry(3).key, 2, True) == (entry(2), entry(1))
    assert journal.read("audit", "", 5) == ()
    with pytest.raises(StoreError, match="no archive of the kind 'tally'"):
        journal.read("tally", "", 5)


def test_reading_a_closed_journal(journal: AnyJournal) -> None:
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.read("entry", "", 5)


CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(lambda n, flag: PutMember(replace(member(n), sends=flag)), st.integers(0, 3), st.booleans()),
    st.builds(lambda n: DropMember("news", member(n).identity), st.integers(0, 3)),
    st.builds(lambda epoch: PutGroup(replace(GROUP, epoch=epoch)), st.integers(0, 5)),
    st.just(DropGroup("news")),
    st.builds(lambda n: PutIkeSa(replace(IKE_SA, spi_r=bytes([n]) * 8)), st.integers(0, 3)),
    st.builds(lambda n: DropIkeSa(bytes([n]) * 8), st.integers(0, 3)),
    st.builds(lambda n, v: Put(listed(n, v)), st.integers(0, 3), st.sampled_from(("", "v"))),
    st.builds(lambda n: Drop("listed", listed(n).key), st.integers(0, 3)),
    st.builds(lambda n: Put(entry(n)), st.integers(0, 3)),
)


@pytest.fixture(scope="module")
def reopened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[list[Change]]], Journalled]:
    folder = tmp_path_factory.mktemp("journals")
    count = 0

    def run(transactions: list[list[Change]]) -> Journalled:
        nonlocal count
        count += 1
        path = folder / f"{count}.db"
        journal = open_journal(path)
        for changes in transactions:
            write(journal, *changes)
        journal.close()
        journal = open_journal(path)
        held = journal.load()
        journal.close()
        return held

    return run


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(CHANGES, max_size=6), max_size=5))
def test_disk_and_memory_agree(
    reopened: Callable[[list[list[Change]]], Journalled], transactions: list[list[Change]]
) -> None:
    twin = MemoryJournal()
    for changes in transactions:
        write(twin, *changes)
    assert as_sets(reopened(transactions)) == as_sets(twin.load())


def test_failing_twin_keeps_nothing() -> None:
    journal = MemoryJournal()
    journal.failing = StoreError("the disk is full")
    with pytest.raises(StoreError, match="full"):
        write(journal, PutMember(MEMBER))
    assert journal.load() == Journalled()
