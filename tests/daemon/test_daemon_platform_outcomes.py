"""Outcomes of operations: durable before told, passwords and archives on the way, faults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from platform_stage import CHANGED, TICKET, Stage, client, code_of, play

from gkmd.api import results as r
from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.core.errors import StoreError
from gkmd.core.secret import SecretBytes
from gkmd.daemon.password_pool import PasswordPool
from gkmd.daemon.platform_service import MOST_READ, PlatformService
from gkmd.group.platform.outcome import Call, Caller, Done, Failed, Hash, Outcome, Read, Verify
from gkmd.group.platform.records import Entry


def test_results_are_told_when_they_are_durable(tmp_path: Path) -> None:
    told = ("reservation-made", {"reservation": "opera"})
    stage = Stage(outcome=lambda call: Done(r.Import("i", 3), CHANGED, (TICKET,), (told,)))

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert operator.call("names-begin", {"id": "opera"}) == {"import_id": "i", "count": 3}

    play(tmp_path, stage, work)
    assert stage.applied == [(CHANGED.changes, (TICKET,))]
    assert stage.events.counts["reservation-made"] == 1


@pytest.mark.parametrize("refused", [False, True])
def test_a_journal_that_fails_lets_nothing_be_told(tmp_path: Path, refused: bool) -> None:
    def outcome(call: Call) -> Outcome:
        if refused:
            return Failed(Problem("conflict", "there is one"), CHANGED, tells=(("told", {}),))
        return Done(r.Import("i", 3), CHANGED, tells=(("told", {}),))

    stage = Stage(outcome=outcome, error=Problem("journal-failed", "the disk is full"))

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("names-begin", {"id": "opera"})) == "journal-failed"

    play(tmp_path, stage, work)
    assert stage.events.counts["told"] == 0


def test_what_only_looks_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    stage = Stage(error=Problem("journal-failed", "the disk is full"))

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert operator.call("me", {}) == {}
            # A change that was made already: it may not be on the disk.
            assert code_of(lambda: operator.call("sign-out", {})) == "journal-failed"

    play(tmp_path, stage, work)


def test_refusals_are_problems_and_what_remains_of_them_is_journalled(tmp_path: Path) -> None:
    def outcome(call: Call) -> Outcome:
        if call.operation == "me":
            return Failed(Problem("sign-in-required", "nobody"))
        return Failed(Problem("sign-in-failed", "no", come_back=7.5), CHANGED)

    stage = Stage(outcome=outcome)

    def work(folder: Path) -> None:
        with client(folder, "portal") as portal:
            assert code_of(lambda: portal.call("me", {})) == "sign-in-required"
            with pytest.raises(Problem) as refused:
                portal.call("sign-in", {"login": "rx", "password": "x"})
            assert (refused.value.code, refused.value.come_back) == ("sign-in-failed", 7.5)

    play(tmp_path, stage, work)
    assert stage.applied == [(CHANGED.changes, ())]


def password_outcome(call: Call) -> Outcome:
    def hashed(text: str, now: float) -> Outcome:
        return Done(r.AuditVerified(1, text, None, ""))

    def compared(right: bool, now: float) -> Outcome:
        return Hash(SecretBytes(b"new"), hashed) if right else Failed(Problem("sign-in-failed", "no"))

    password = SecretBytes(call.request.password.encode())
    return Verify("slow" if call.request.login == "slow" else "quick", password, compared)


def test_passwords_are_compared_and_hashed_on_the_way(tmp_path: Path) -> None:
    stage = Stage(outcome=password_outcome)

    def work(folder: Path) -> None:
        with client(folder, "portal") as portal:
            assert portal.call("sign-in", {"login": "rx", "password": "right"})["head"] == "$hash"
            wrong = {"login": "rx", "password": "wrong"}
            assert code_of(lambda: portal.call("sign-in", wrong)) == "sign-in-failed"

    play(tmp_path, stage, work)


def test_a_slow_password_holds_nobody_up_and_too_many_are_told(tmp_path: Path) -> None:
    def outcome(call: Call) -> Outcome:
        return password_outcome(call) if call.operation == "sign-in" else Done(r.Nothing())

    stage = Stage(outcome=outcome)
    results: list[object] = []

    def sign_in(folder: Path) -> None:
        with client(folder, "portal") as portal:
            results.append(portal.call("sign-in", {"login": "slow", "password": "right"}))

    def work(folder: Path) -> None:
        slow = [threading.Thread(target=sign_in, args=(folder,)) for _ in range(3)]
        for thread in slow:
            thread.start()
        with client(folder, "portal") as portal:
            while len(stage.calls) < 3:
                portal.call("me", {})
                stage.calls[:] = [call for call in stage.calls if call.operation == "sign-in"]
            with pytest.raises(Problem) as busy:
                portal.call("sign-in", {"login": "quick", "password": "right"})
            assert busy.value.code == "busy"
            assert busy.value.come_back == 4.0
        assert results == []
        stage.go.set()
        for thread in slow:
            thread.join(60)
        assert len(results) == 3

    play(tmp_path, stage, work)


def test_archives_are_read_off_the_loop_and_in_bounds(tmp_path: Path) -> None:
    def outcome(call: Call) -> Outcome:
        return Read(Entry.KIND, "5", 10**9, lambda found, now: Done(r.Metrics(found[0])), descending=True)

    stage = Stage(outcome=outcome)

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert operator.call("ledger-entries", {}) == {"text": "fact"}

    play(tmp_path, stage, work)
    before, (*asked, thread) = stage.reads
    assert before == "settled"  # what was told is on the disk first
    assert asked == ["entry", "5", MOST_READ, True]
    assert str(thread).startswith("archive")


@pytest.mark.parametrize("where", ["execute", "resume", "read", "apply"])
def test_faults_are_told_as_such_and_the_service_goes_on(tmp_path: Path, where: str) -> None:
    def broken(*_: object) -> Any:
        raise ZeroDivisionError

    def outcome(call: Call) -> Outcome:
        if where == "execute":
            return broken()  # type: ignore[no-any-return]
        if where == "apply":
            return Done(r.Nothing(), CHANGED)
        return Read("entry", "", 1, broken)

    stage = Stage(outcome=outcome)
    stage.error = ZeroDivisionError() if where == "apply" else None
    if where == "read":
        stage.read = broken  # type: ignore[method-assign]

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("sign-out", {})) == "internal"
            assert operator.request("status") == {"fine": True}

    play(tmp_path, stage, work)
    assert stage.faults == ["platform sign-out ZeroDivisionError"]
    # What the facts have changed by is written all the same.
    assert stage.applied == ([(CHANGED.changes, ())] if where == "apply" else [])


def test_an_archive_that_cannot_be_read(tmp_path: Path) -> None:
    stage = Stage(outcome=lambda call: Read("entry", "", 1, lambda found, now: Done(r.Nothing())))

    def unreadable(*_: object) -> Any:
        raise StoreError("journal: a row of facts was damaged")

    stage.read = unreadable  # type: ignore[method-assign]

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("ledger-entries", {})) == "journal-failed"

    play(tmp_path, stage, work)


def test_the_end_is_told() -> None:
    async def run() -> None:
        stage = Stage(outcome=lambda call: Read("entry", "", 1, lambda found, now: Done(r.Nothing())))
        pool = PasswordPool(1, 2)
        service = PlatformService(
            stage, stage, stage, pool, stage.events, lambda: 1.0, lambda left, gone: (left.changes, gone)
        )
        await service.call(OPERATIONS["audit"], {}, Caller())
        service.close()
        pool.close()
        with pytest.raises(Problem, match="stopping") as refused:
            await service.call(OPERATIONS["audit"], {}, Caller())
        assert refused.value.code == "unavailable"
        assert stage.faults == []

    asyncio.run(run())


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    left = [thread for thread in threading.enumerate() if thread.name.startswith("archive")]
    assert left == []
