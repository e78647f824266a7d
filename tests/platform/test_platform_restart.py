"""Two daemons do the same; one is started anew again and again. Nobody can tell them apart."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from platform_rig import OPERATOR, PASSWORD, Rig

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.group.platform.outcome import Caller, Failed
from gkmd.group.platform.records import AuditLine

LOGINS = st.sampled_from(["ann", "bob", "cat"])
CALLERS = st.integers(-1, 5)  # of the tokens that were given so far; -1 the operator's socket
STEPS = st.one_of(
    st.tuples(st.just("user-add"), LOGINS, CALLERS),
    st.tuples(st.just("sign-in"), LOGINS, CALLERS),
    st.tuples(st.just("user-forget"), LOGINS, CALLERS),
    st.tuples(st.just("disable"), LOGINS, CALLERS),
    st.tuples(st.just("enable"), LOGINS, CALLERS),
    st.tuples(st.just("promote"), LOGINS, CALLERS),
    st.tuples(
        st.sampled_from(
            ["me", "sign-out", "sessions-end", "session-list", "token-list", "token-create", "user-list",
             "audit", "audit-verify", "password-change"]
        ),
        LOGINS,
        CALLERS,
    ),
    st.tuples(st.just("wait"), LOGINS, CALLERS),
)  # fmt: skip

REQUESTS: dict[str, Any] = {
    "token-create": q.CreateToken("x", ("read", "tickets")),
    "user-list": q.ListUsers(),
    "audit": q.ListAudit(),
    "password-change": q.ChangePassword(PASSWORD, PASSWORD + "!"),
}


class Half:
    """One of the two, with the tokens that it has given."""

    def __init__(self) -> None:
        self.rig = Rig(seed="twins")
        self.callers: list[Caller] = []

    def step(self, what: str, login: str, number: int) -> object:
        caller = self.callers[number] if 0 <= number < len(self.callers) else OPERATOR
        if what == "wait":
            self.rig.pass_time(1700.0)
            return None
        operation, request = what, REQUESTS.get(what, q.Nothing())
        if what == "user-add":
            request = q.AddUser(login, PASSWORD, roles=("receiver", "sender"))
        elif what == "sign-in":
            request, caller = q.SignIn(login, PASSWORD), Caller(origin="192.0.2.1")
        elif what == "user-forget":
            request = q.ByLogin(login)
        elif what in ("disable", "enable"):
            operation, request = "user-change", q.ChangeUser(login, disabled=what == "disable")
        elif what == "promote":
            operation, request = "user-change", q.ChangeUser(login, roles=("operator",))
        outcome = self.rig.outcome_of(operation, request, caller)
        if isinstance(outcome, Failed):
            return outcome.problem.as_json()
        if isinstance(outcome.result, r.SignedIn | r.NewToken):
            self.callers.append(Caller(token=outcome.result.token, origin="192.0.2.1"))
        return outcome.result


@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=25))
@settings(max_examples=40, deadline=None)
def test_a_daemon_that_is_started_anew_goes_on_as_if_nothing_had_happened(
    steps: list[tuple[tuple[str, str, int], bool]],
) -> None:
    one, other = Half(), Half()
    for step, again in steps:
        if again:
            # Failed sign-ins are forgiven by a restart, so there are too few of them here to be locked out.
            other.rig.restart()
        assert one.step(*step) == other.step(*step)
    assert one.rig.journal == other.rig.journal
    lines = [line for line in one.rig.journal.values() if isinstance(line, AuditLine)]
    assert sorted(line.number for line in lines) == list(range(1, len(lines) + 1))
