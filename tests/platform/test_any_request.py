"""Whatever is asked for by whomever: it is done or refused, never a fault, and the books stay balanced."""

from __future__ import annotations

import os

import pytest
from any_request import requests_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from platform_rig import OPERATOR, PASSWORD, STRANGER, Rig
from test_platform import SETTINGS, join, paid_transmission

from gkmd.api import requests as q
from gkmd.api.operations import OPERATIONS
from gkmd.group.platform.outcome import Caller, Failed
from gkmd.group.platform.records import Account, ApiToken, Payment, Reservation, Ticket, VoucherBatch

EXAMPLES = int(os.environ.get("GKMD_EXAMPLES", "6"))  # of each operation
NAMES = sorted(OPERATIONS.keys() - {"health", "metrics"})


@pytest.fixture(scope="module")
def rig() -> Rig:
    """With something of everything; it changes from example to example, as a daemon does."""
    rig = Rig(SETTINGS)
    id, sender, _, ticket = paid_transmission(rig)
    rig.user("boss", "operator")
    rig.pass_time(700)
    join(rig, id, ticket)
    rig.token(sender, "read", "reserve")
    return rig


def callers(rig: Rig) -> list[Caller]:
    """Sessions end while the platform is used: new ones are made of who may still sign in."""
    found = [OPERATOR, STRANGER]
    rig.now += 400  # nobody stays locked out
    for login, role in (("tx", "sender"), ("rx", "receiver"), ("boss", "operator")):
        if rig.platform.accounts.by_login(login) is None:
            rig.user(login, role)
        outcome = rig.outcome_of("sign-in", q.SignIn(login, PASSWORD), Caller(origin="192.0.2.1"))
        if not isinstance(outcome, Failed):
            found.append(Caller(token=outcome.result.token, origin="192.0.2.1"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_any_request_is_done_or_refused(name: str, rig: Rig) -> None:
    kinds = (Reservation, Account, ApiToken, Payment, Ticket, VoucherBatch)
    known = [one.id for kind in kinds for one in rig.facts(kind)[:5]]
    people = callers(rig)

    @given(requests_of(OPERATIONS[name], known), st.sampled_from(people))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def run(request: object, caller: Caller) -> None:
        rig.now += 0.5
        outcome = rig.outcome_of(name, request, caller)
        if isinstance(outcome, Failed):
            assert outcome.problem.code != "internal"
            assert outcome.problem.detail
            for problem in outcome.problem.fields:
                assert problem.text
        assert not rig.platform.facts.changed

    run()
    rig.tick()
    assert rig.platform.ledger.balanced()


def test_the_log_and_the_journal_are_whole_after_all_that(rig: Rig) -> None:
    assert rig.do("audit-verify").broken is None
    looks = [rig.do("ledger"), rig.do("members", q.MembersOf())]
    rig.restart()
    assert [rig.do("ledger"), rig.do("members", q.MembersOf())] == looks
