"""Facts and their indexes: a model of plain dictionaries says what must be found after every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gkmd.core.change import Drop, Put
from gkmd.group.platform.facts import Facts


@dataclass(frozen=True, slots=True)
class Thing:
    KIND: ClassVar[str] = "thing"
    key: str
    colour: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    KIND: ClassVar[str] = "entry"
    key: str


def letters(thing: Thing) -> tuple[str, ...]:
    """Several values of one fact, or none."""
    return () if thing.colour is None else (thing.colour[0], thing.colour[1:])


KEYS = st.sampled_from("abcdef")
COLOURS = st.sampled_from(["red", "green", None])


class FactsModel(RuleBasedStateMachine):
    """``journal`` is what the commits have told; memory after a rollback must be the same."""

    @initialize(things=st.dictionaries(KEYS, COLOURS))
    def begin(self, things: dict[str, str | None]) -> None:
        self.now = {key: Thing(key, colour) for key, colour in things.items()}
        self.journal = dict(self.now)
        self.entries: list[Entry] = []
        self.committed_entries: list[Entry] = []
        self.facts = Facts(self.now.values(), (Entry,))
        self.early = self.facts.index(Thing, lambda thing: thing.colour)
        self.letters = self.facts.counted(Thing, letters)
        self.late = None

    @rule(key=KEYS, colour=COLOURS)
    def put(self, key: str, colour: str | None) -> None:
        self.facts.put(Thing(key, colour))
        self.now[key] = Thing(key, colour)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        thing = self.now.pop(key, None) or Thing(key, None)
        self.facts.drop(thing)

    @rule()
    def put_archived(self) -> None:
        entry = Entry(f"{len(self.entries):04d}")
        self.entries.append(entry)
        self.facts.put(entry)

    @rule()
    def commit(self) -> None:
        for change in self.facts.commit():
            if isinstance(change, Drop):
                assert change.kind == Thing.KIND
                self.journal.pop(change.key, None)
            else:
                assert isinstance(change, Put)
                if isinstance(change.fact, Thing):
                    self.journal[change.fact.key] = change.fact
                else:
                    assert isinstance(change.fact, Entry)
                    self.committed_entries.append(change.fact)
        assert self.journal == self.now
        assert self.committed_entries == self.entries
        assert not self.facts.changed
        assert self.facts.commit() == ()

    @rule()
    def rollback(self) -> None:
        self.facts.rollback()
        self.now = dict(self.journal)
        self.entries = list(self.committed_entries)
        assert not self.facts.changed

    @rule()
    def index_late(self) -> None:
        self.late = self.facts.index(Thing, lambda thing: thing.key)

    @invariant()
    def all_is_found(self) -> None:
        if not hasattr(self, "facts"):
            return
        assert {thing.key: thing for thing in self.facts.all(Thing)} == self.now
        assert self.facts.count(Thing) == len(self.now)
        for key in "abcdef":
            assert self.facts.get(Thing, key) == self.now.get(key)
            if self.late is not None:
                assert set(self.late.find(key)) == {key} & set(self.now)
        for colour in ("red", "green"):
            wanted = {key: thing for key, thing in self.now.items() if thing.colour == colour}
            assert dict(self.early.find(colour)) == wanted
            assert self.letters.of(colour[0]) == self.letters.of(colour[1:]) == len(wanted)
        assert not self.early.find(None)
        assert self.facts.newest(Entry) == (self.entries[-1] if self.entries else None)
        assert self.facts.get(Entry, "0000") is None


TestFacts = FactsModel.TestCase
TestFacts.settings = TestFacts.settings.__class__(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_fact_that_changed_twice_is_told_once_and_as_it_is() -> None:
    facts = Facts()
    facts.put(Thing("a", "red"))
    facts.put(Thing("a", "green"))
    facts.put(Thing("b", "red"))
    facts.drop(Thing("b", "red"))
    assert facts.commit() == (Put(Thing("a", "green")), Drop("thing", "b"))


def test_what_was_resumed_is_newest_after_a_rollback() -> None:
    facts = Facts((), (Entry,))
    facts.resume(Entry("0007"))
    facts.put(Entry("0008"))
    facts.rollback()
    assert facts.newest(Entry) == Entry("0007")
