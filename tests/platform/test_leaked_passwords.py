"""A list's password that many know lets in one of them, in whatever order they come, go and are put out."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from door_rig import NAMES, VERIFIER, DoorRig
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gkmd.api import requests as q
from gkmd.api.problem import Problem
from gkmd.group.model import Refusal
from gkmd.group.platform.records import ListedName
from gkmd.group.platform.work import Work

WORD = "correct horse"
MANY = ("ra", "rb", "rc")


@pytest.fixture
def rig() -> DoorRig:
    return listing()


def listing() -> DoorRig:
    """A transmission for ``anna``, whose password everybody knows."""
    rig = DoorRig()
    rig.user("tx", roles=("sender",))
    for login in MANY:
        rig.user(login, confirmed=False)
    rig.reserve(NAMES)
    rig.listed("anna")
    return rig


def issue(rig: DoorRig, by: str, password: str = WORD) -> Any:
    return rig.do("ticket-issue", q.IssueTicket("talk", listed="anna", password=password), by)


def taken(rig: DoorRig, by: str) -> str:
    with pytest.raises(Problem, match="somebody else") as raised:
        issue(rig, by)
    return raised.value.code


def revoke(rig: DoorRig, id: str, by: str) -> None:
    rig.do("ticket-revoke", q.ById(id), by)


def evict(rig: DoorRig, party: str) -> None:
    rig.do("receiver-evict", q.Evict("talk", party), "tx")


def admitted(rig: DoorRig) -> set[str]:
    """Who may come at any time, by whatever it has."""
    return {one.party for one in rig.admissions() if one.evicted is None and one.refunded is None}


def test_who_was_admitted_and_gives_its_ticket_back_passes_the_name_on_to_nobody(rig: DoorRig) -> None:
    ticket = issue(rig, "ra").id
    assert rig.register(rig.by_ticket(ticket)).refusal is None
    revoke(rig, ticket, "ra")
    assert taken(rig, "rb") == "conflict"
    # It was admitted, and is still.
    again = rig.do("ticket-issue", q.IssueTicket("talk"), "ra").id
    assert rig.register(rig.by_ticket(again)).refusal is None
    assert admitted(rig) == {"a-ra"}


def test_a_ticket_that_was_never_used_leaves_the_name_to_the_next(rig: DoorRig) -> None:
    first = issue(rig, "ra").id
    assert taken(rig, "rb") == "conflict"
    revoke(rig, first, "tx")
    second = issue(rig, "rb").id
    assert rig.register(rig.by_ticket(second)).refusal is None
    assert taken(rig, "ra") == "conflict"


def test_who_was_evicted_does_not_come_back_under_another_account(rig: DoorRig) -> None:
    assert rig.register(rig.by_ticket(issue(rig, "ra").id)).refusal is None
    evict(rig, "a-ra")
    assert taken(rig, "rb") == "conflict"
    assert rig.register(rig.by_password("anna")).refusal is Refusal.NOT_ON_LIST


def test_nor_when_it_was_forgotten(rig: DoorRig) -> None:
    assert rig.register(rig.by_ticket(issue(rig, "ra").id)).refusal is None
    evict(rig, "a-ra")
    rig.tickets.forget(rig.account("ra"), Work(rig.who(), rig.now))
    rig.facts.drop(rig.account("ra"))
    rig.write(rig.facts.commit())
    assert taken(rig, "rb") == "conflict"
    assert rig.register(rig.by_password("anna")).refusal is Refusal.NOT_ON_LIST


def test_who_was_evicted_as_the_name_does_not_come_back_by_a_ticket(rig: DoorRig) -> None:
    assert rig.register(rig.by_password("anna")).refusal is None
    (party,) = admitted(rig)
    evict(rig, party)
    assert taken(rig, "ra") == "conflict"
    assert rig.register(rig.by_password("anna")).refusal is Refusal.REVOKED


def test_a_name_that_is_listed_anew_is_anybodys_who_knows_its_password(rig: DoorRig) -> None:
    unused = issue(rig, "ra").id
    rig.facts.drop(ListedName("talk", "anna", VERIFIER))
    rig.write(rig.facts.commit())
    rig.listed("anna")
    assert rig.register(rig.by_ticket(unused)).refusal is Refusal.NOT_ON_LIST
    assert rig.register(rig.by_ticket(issue(rig, "rb").id)).refusal is None
    assert taken(rig, "ra") == "conflict"


def test_who_may_change_the_name_gives_the_one_before_free(rig: DoorRig) -> None:
    rig.listed("bert")
    issue(rig, "ra")
    rig.do("ticket-issue", q.IssueTicket("talk", listed="bert", password=WORD), "ra")
    assert issue(rig, "rb").id


def test_also_after_a_restart(rig: DoorRig) -> None:
    ticket = issue(rig, "ra").id
    assert rig.register(rig.by_ticket(ticket)).refusal is None
    revoke(rig, ticket, "ra")
    rig.restart()
    assert taken(rig, "rb") == "conflict"


class Leaked(RuleBasedStateMachine):
    """Accounts that know one password do what they like, and the sender puts some of them out."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = listing()
        self.tickets: dict[str, str] = {}
        self.evicted = False

    @rule(who=st.sampled_from(MANY))
    def get(self, who: str, shown: bool = False) -> None:
        request = q.IssueTicket("talk", listed="anna", password=WORD) if shown else q.IssueTicket("talk")
        with contextlib.suppress(Problem):
            self.tickets[who] = self.rig.do("ticket-issue", request, who).id

    @rule(who=st.sampled_from(MANY), by=st.sampled_from(("", "tx")))
    def give_back(self, who: str, by: str) -> None:
        if who in self.tickets:
            revoke(self.rig, self.tickets[who], by or who)

    @rule(who=st.sampled_from(MANY))
    def get_and_come(self, who: str) -> None:
        self.get(who, True)
        if who in self.tickets:
            self.rig.register(self.rig.by_ticket(self.tickets[who]))

    @rule()
    def come_by_eap(self) -> None:
        self.rig.register(self.rig.by_password("anna"))

    @precondition(lambda self: bool(admitted(self.rig)))
    @rule()
    def put_out_everybody(self) -> None:
        for party in admitted(self.rig):
            evict(self.rig, party)
        self.evicted = True

    @rule()
    def restart(self) -> None:
        self.rig.restart()

    @invariant()
    def one_account_and_one_who_logs_in(self) -> None:
        parties = [one.party for one in self.rig.admissions()]
        assert sum(party.startswith("a-") for party in parties) <= 1
        assert sum(party.startswith("p-") for party in parties) <= 1

    @invariant()
    def who_is_out_stays_out(self) -> None:
        if self.evicted:
            assert all(one.evicted is not None for one in self.rig.admissions())


Leaked.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestLeaked = Leaked.TestCase
