"""Whoever may sign up is not trusted with more of the journal, or of the password threads, than one needs."""

from __future__ import annotations

from platform_rig import PASSWORD, STRANGER, Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Rule
from gkmd.api.problem import Problem
from gkmd.group.platform.outcome import Caller, Failed, Hash
from gkmd.group.platform.settings import PlatformSettings

OPEN = PlatformSettings(sign_up=True)


def sign_up(rig: Rig, number: int, caller: Caller) -> Problem | None:
    begun = rig.begin("sign-up", q.SignUp(f"flood{number}", PASSWORD), caller)
    if isinstance(begun, Failed):
        return begun.problem
    assert isinstance(begun, Hash)
    return None


def test_a_session_does_not_make_accounts_without_end() -> None:
    rig = Rig(OPEN)
    rig.do("sign-up", q.SignUp("eve", PASSWORD), STRANGER)
    eve = rig.sign_in("eve", origin="198.51.100.7")
    found = [sign_up(rig, number, eve) for number in range(40)]
    assert sum(problem is None for problem in found) <= 10
    assert {problem.code for problem in found if problem is not None} == {"too-many-requests"}


def test_many_addresses_do_not_either() -> None:
    """A subscriber of IPv6 has thousands of networks; a portal that has turned bad says what it likes."""
    rig = Rig(OPEN)
    taken = sum(
        sign_up(rig, number, Caller(origin=f"2001:db8:0:{number:x}::1")) is None for number in range(1000)
    )
    assert taken <= 200
    rig.pass_time(60)
    assert sign_up(rig, 5000, Caller(origin="2001:db8:1::1")) is None


def test_who_searches_all_the_time_waits_and_others_do_not() -> None:
    """A search reads every text of the catalogue, on the core that the keys come from."""
    rig = Rig()
    receiver, sender = rig.caller("rx"), rig.caller("tx", "sender")
    search = q.Catalogue(search="opera")
    for caller in (Caller(origin="198.51.100.7"), Caller(receiver.token, None, "198.51.100.8")):
        outcomes = [rig.outcome_of("catalogue", search, caller) for _ in range(100)]
        assert sum(isinstance(one, Failed) for one in outcomes) == 50
        assert rig.refused("catalogue", search, caller).code == "too-many-requests"
        rig.do("catalogue", q.Catalogue(), caller)  # to look at it is no search
    rig.do("catalogue", search, STRANGER)
    for _ in range(100):
        rig.do("catalogue", search, sender)
    rig.pass_time(1)
    rig.do("catalogue", search, receiver)


def test_a_receiver_does_not_fill_the_journal() -> None:
    rig = Rig()
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    request = q.Reserve("A talk", "2026-12-24T18:00", 3600, admission=Rule(open=True))
    id = rig.do("reserve", request, sender).id
    written = len(rig.journal)
    refused = 0
    for _ in range(400):
        issued = rig.outcome_of("ticket-issue", q.IssueTicket(id), receiver)
        if isinstance(issued, Failed):
            refused += 1
            continue
        rig.outcome_of("ticket-revoke", q.ById(issued.result.id), receiver)
    assert refused > 200
    assert len(rig.journal) < written + 2 * 320
    assert rig.refused("ticket-issue", q.IssueTicket(id), receiver).come_back is not None
    rig.pass_time(60)
    rig.do("ticket-issue", q.IssueTicket(id), receiver)
    # Senders import lists of 100,000 names, 200 at a time.
    for _ in range(1000):
        rig.do("reservation-change", q.ChangeReservation(id, title="A talk"), sender)
