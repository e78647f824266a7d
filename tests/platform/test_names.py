"""Lists of names: imported as a whole or not at all, found at once, bounded."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from platform_rig import CHEAP, NOW, OPERATOR, PASSWORD, Rig
from reservation_requests import HOUR, reserve

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import hash_password
from gkmd.group.platform import names as lists
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.records import ListedName

VERIFIER = hash_password(SecretBytes(PASSWORD.encode()), SeededRng(1), CHEAP)


class Sender:
    """Anna, who has a reservation and imports lists."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.caller: Caller = self.rig.caller("anna", "sender")
        self.id = reserve(self.rig, self.caller).id

    def begin(self) -> str:
        found: r.Import = self.rig.do("names-begin", q.ById(self.id), self.caller)
        return found.import_id

    def add(self, into: str, *names: str, verifier: str = "") -> r.Import:
        entries = tuple(q.NameEntry(name, verifier) for name in names)
        found: r.Import = self.rig.do("names-add", q.NamesAdd(self.id, into, entries), self.caller)
        return found

    def commit(self, which: str, expected: int, mode: str = "replace") -> r.Import:
        request = q.NamesCommit(self.id, which, expected, mode)  # type: ignore[arg-type]
        found: r.Import = self.rig.do("names-commit", request, self.caller)
        return found

    def bring(self, *names: str, mode: str = "replace", verifier: str = "") -> None:
        which = self.begin()
        self.add(which, *names, verifier=verifier)
        self.commit(which, len(names), mode)

    def names(self) -> list[str]:
        found: r.Names = self.rig.do("names-list", q.NamesOf(id=self.id), self.caller)
        assert found.count == len(found.names)
        return [one.name for one in found.names]

    def refused(self, operation: str, request: object) -> tuple[str, list[str]]:
        problem = self.rig.refused(operation, request, self.caller)
        return problem.code, [one.field for one in problem.fields]


def entries(*names: str, verifier: str = "") -> tuple[q.NameEntry, ...]:
    return tuple(q.NameEntry(name, verifier) for name in names)


def test_replaced_and_added_to() -> None:
    anna = Sender()
    anna.bring("Bert", "carla@club.example")
    assert anna.names() == ["bert", "carla@club.example"]
    anna.bring("dora", "BERT", mode="append", verifier=VERIFIER)
    assert anna.names() == ["bert", "carla@club.example", "dora"]
    entry = anna.rig.platform.names.entry(anna.id, "  bERT ")
    assert entry is not None
    assert entry.verifier == VERIFIER
    anna.bring("emil")
    assert anna.names() == ["emil"]
    anna.rig.restart()
    assert anna.names() == ["emil"]
    anna.rig.do("name-remove", q.NameRemove(anna.id, "Emil"), anna.caller)
    assert anna.names() == []
    assert anna.refused("name-remove", q.NameRemove(anna.id, "emil"))[0] == "not-found"
    # Who is on the list is nobody's business in the audit log.
    assert not any("emil" in str(line.detail) for line in anna.rig.audit_lines())


@pytest.mark.parametrize(
    ("typed", "asked"),
    [("Ｂert", "bert"), ("STRASSE", "straße"), (" bert ", "bert"), ("ΣΊΣΥΦΟΣ", "σίσυφος")],
)
def test_names_are_the_same_however_they_are_typed(typed: str, asked: str) -> None:
    anna = Sender()
    anna.bring(typed)
    assert anna.rig.platform.names.entry(anna.id, asked) is not None
    code, fields = anna.refused("names-add", q.NamesAdd(anna.id, anna.begin(), entries(typed, asked)))
    assert (code, fields) == ("invalid", ["entries.1.name"])


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (q.NameEntry(" "), "name"),
        (q.NameEntry("a/b"), "name"),
        (q.NameEntry("a\x00b"), "name"),
        (q.NameEntry("a\u202eb"), "name"),
        (q.NameEntry("line\nbreak"), "name"),
        (q.NameEntry("T-abc"), "name"),
        (q.NameEntry("\ufdfa" * 200), "name"),  # one letter that becomes eighteen
        (q.NameEntry("bert", "secret"), "verifier"),
        (q.NameEntry("bert", "$argon2id$v=19$m=4194304,t=99,p=1$c2FsdHNhbHQ$AAAA"), "verifier"),
        (q.NameEntry("bert", VERIFIER[:-40]), "verifier"),
    ],
)
def test_one_broken_entry_and_none_of_its_request_is_added(entry: q.NameEntry, field: str) -> None:
    anna = Sender()
    which = anna.begin()
    anna.add(which, "first")
    request = q.NamesAdd(anna.id, which, (*entries("second"), entry))
    assert anna.refused("names-add", request) == ("invalid", [f"entries.1.{field}"])
    assert anna.add(which, "second").count == 2
    assert anna.names() == []


def test_every_broken_entry_is_told() -> None:
    anna = Sender()
    request = q.NamesAdd(anna.id, anna.begin(), entries("a/b", "bert", "t-x", "bert"))
    expected = ["entries.0.name", "entries.2.name", "entries.3.name"]
    assert anna.refused("names-add", request) == ("invalid", expected)


def test_nothing_half_imported() -> None:
    anna = Sender()
    anna.bring("bert")
    which = anna.begin()
    anna.add(which, "carla", "dora")
    # Another number than was sent: a request got lost.
    assert anna.refused("names-commit", q.NamesCommit(anna.id, which, 3))[0] == "conflict"
    assert anna.names() == ["bert"]
    assert anna.rig.do("names-abort", q.NamesImport(anna.id, which, 7), anna.caller) == r.Nothing()
    (line,) = anna.rig.audit_lines("names-abort")
    assert (line.subject, line.detail) == (anna.id, {"broken": 7})
    assert anna.refused("names-commit", q.NamesCommit(anna.id, which, 2))[0] == "not-found"
    which = anna.begin()
    anna.add(which, "carla")
    anna.rig.restart()  # what is staged is in memory only
    assert anna.refused("names-commit", q.NamesCommit(anna.id, which, 1))[0] == "not-found"
    assert anna.names() == ["bert"]


def test_an_empty_import_empties_the_list() -> None:
    anna = Sender()
    anna.bring("bert")
    anna.commit(anna.begin(), 0)
    assert anna.names() == []


def test_imports_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    anna = Sender()
    monkeypatch.setattr(lists, "MOST_NAMES", 3)
    monkeypatch.setattr(lists, "MOST_STAGED", 5)
    monkeypatch.setattr(lists, "MOST_IMPORTS", 2)
    which = anna.begin()
    assert anna.refused("names-add", q.NamesAdd(anna.id, which, entries(*"abcd")))[0] == "invalid"
    anna.add(which, *"abc")
    others = [reserve(anna.rig, anna.caller, NOW + 2 * HOUR) for _ in range(2)]
    second: r.Import = anna.rig.do("names-begin", q.ById(others[0].id), anna.caller)
    assert anna.refused("names-begin", q.ById(others[1].id))[0] == "busy"
    request = q.NamesAdd(others[0].id, second.import_id, entries(*"abc"))
    assert anna.refused("names-add", request)[0] == "busy"
    # An import of another reservation is none of this one.
    assert anna.refused("names-add", q.NamesAdd(others[1].id, which, entries("z")))[0] == "not-found"
    anna.commit(which, 3)
    anna.rig.do("names-add", request, anna.caller)
    # Whoever begins anew gives up the import before; after an hour it is given up anyway.
    third: r.Import = anna.rig.do("names-begin", q.ById(others[0].id), anna.caller)
    assert anna.refused("names-add", request)[0] == "not-found"
    anna.rig.now += lists.IMPORT_LASTS
    request = q.NamesAdd(others[0].id, third.import_id, entries("a"))
    assert anna.refused("names-add", request)[0] == "not-found"


def test_a_list_does_not_grow_beyond_its_bound_by_adding(monkeypatch: pytest.MonkeyPatch) -> None:
    anna = Sender()
    anna.bring("a", "b")
    monkeypatch.setattr(lists, "MOST_NAMES", 3)
    which = anna.begin()
    anna.add(which, "b", "c", "d")
    assert anna.refused("names-commit", q.NamesCommit(anna.id, which, 3, "append"))[0] == "invalid"
    monkeypatch.setattr(lists, "MOST_NAMES", 4)
    monkeypatch.setattr(lists, "MOST_NAMES_IN_ALL", 3)
    assert anna.refused("names-commit", q.NamesCommit(anna.id, which, 3, "append"))[0] == "busy"
    assert anna.names() == ["a", "b"]


def test_another_senders_list_is_not_found() -> None:
    anna = Sender()
    which = anna.begin()
    other = anna.rig.caller("otto", "sender")
    for operation, request in (
        ("names-list", q.NamesOf(id=anna.id)),
        ("names-begin", q.ById(anna.id)),
        ("names-add", q.NamesAdd(anna.id, which, entries("otto"))),
        ("names-commit", q.NamesCommit(anna.id, which, 0)),
        ("names-abort", q.NamesImport(anna.id, which)),
        ("name-remove", q.NameRemove(anna.id, "bert")),
    ):
        assert anna.rig.refused(operation, request, other).code == "not-found"
    assert anna.rig.do("names-list", q.NamesOf(id=anna.id), OPERATOR).count == 0


def test_pages_of_a_list_add_up_to_it() -> None:
    anna = Sender()
    everybody = sorted(f"name{number}" for number in range(25))
    anna.bring(*everybody)
    found, after = [], ""
    while True:
        page: r.Names = anna.rig.do("names-list", q.NamesOf(id=anna.id, after=after, limit=10), anna.caller)
        found += [one.name for one in page.names]
        after = page.after
        if not after:
            break
    assert found == everybody


def in_parts(names: list[str], size: int = 200) -> Iterable[list[str]]:
    return (names[place : place + size] for place in range(0, len(names), size))


def test_a_hundred_thousand_names_in_a_moment_and_found_as_quickly_as_ten() -> None:
    anna = Sender()
    small = reserve(anna.rig, anna.caller, NOW + 3 * HOUR).id
    everybody = [f"receiver{number}@club.example" for number in range(100_000)]
    which = anna.begin()
    for part in in_parts(everybody):
        anna.add(which, *part)
    began = time.process_time()
    assert anna.commit(which, 100_000).count == 100_000
    assert time.process_time() - began < 20.0  # a second on a quiet machine
    begin: r.Import = anna.rig.do("names-begin", q.ById(small), anna.caller)
    anna.rig.do("names-add", q.NamesAdd(small, begin.import_id, entries(*everybody[:10])), anna.caller)
    anna.rig.do("names-commit", q.NamesCommit(small, begin.import_id, 10), anna.caller)
    assert len(anna.rig.facts(ListedName)) == 100_010

    def look_up(reservation: str, found: bool) -> float:
        entry, began = anna.rig.platform.names.entry, time.process_time()
        for name in everybody[:10] * 200:
            assert (entry(reservation, name) is not None) == found
        return time.process_time() - began

    alone = min(look_up(small, True) for _ in range(5))
    assert min(look_up(anna.id, True) for _ in range(5)) < 20 * alone  # and not ten thousand times


def test_one_sender_does_not_keep_the_others_from_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_NAMES", 10)
    monkeypatch.setattr(lists, "MOST_STAGED", 20)
    anna = Sender()
    more = [reserve(anna.rig, anna.caller).id for _ in range(lists.MOST_IMPORTS)]
    begun = {id: anna.rig.do("names-begin", q.ById(id), anna.caller).import_id for id in more}
    took = 0
    for id, into in begun.items():
        request = q.NamesAdd(id, into, entries("a", "b", "c", "d"))
        if anna.rig.outcome_of("names-add", request, anna.caller).__class__.__name__ == "Done":
            took += 1
    assert took == 2
    bert = anna.rig.caller("bert", "sender")
    id = reserve(anna.rig, bert).id
    into = anna.rig.do("names-begin", q.ById(id), bert).import_id
    assert anna.rig.do("names-add", q.NamesAdd(id, into, entries(*"abcdefghij")), bert).count == 10
