"""Who may call what, for every operation of the table."""

from __future__ import annotations

import typing
from dataclasses import replace

import msgspec
import pytest
from platform_rig import OPERATOR, Rig

from gkmd.api import requests as q
from gkmd.api.nouns import Scope
from gkmd.api.operations import OPERATIONS, Operation
from gkmd.group.platform.outcome import Call, Caller, Failed

SCOPES = typing.get_args(Scope)
ALL = sorted(OPERATIONS.values(), key=lambda operation: operation.name)
DENIED = ("sign-in-required", "forbidden")


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig()


@pytest.fixture(scope="module")
def people(rig: Rig) -> dict[str, Caller]:
    found = {role: rig.caller(role, role) for role in ("receiver", "sender", "operator")}
    rig.user("other-operator", "operator")
    return found


def denial(rig: Rig, operation: Operation, caller: Caller) -> str:
    """The code by which the caller is refused before anything else is looked at; "" when it is not."""
    who = rig.platform.access.who(caller, rig.now)
    try:
        rig.platform.access.check(operation, caller, who)
    except Exception as problem:
        return str(getattr(problem, "code", problem))
    return ""


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_roles(operation: Operation, rig: Rig, people: dict[str, Caller]) -> None:
    stranger = Caller(origin="192.0.2.9")
    assert denial(rig, operation, stranger) == ("" if operation.access == "anyone" else "sign-in-required")
    wanted = {
        "anyone": {"receiver", "sender", "operator"},
        "signed-in": {"receiver", "sender", "operator"},
        "sender": {"sender", "operator"},
        "operator": {"operator"},
    }[operation.access]
    for role, caller in people.items():
        assert denial(rig, operation, caller) == ("" if role in wanted else "forbidden"), role
    assert denial(rig, operation, OPERATOR) == ""


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_scopes(operation: Operation, rig: Rig, people: dict[str, Caller]) -> None:
    """A token opens what its scopes say, an operator's too; none opens what takes a session."""
    others = tuple(scope for scope in SCOPES if scope != operation.scope)
    with_all, without = rig.token(people["operator"], *SCOPES), rig.token(people["operator"], *others)
    assert denial(rig, operation, with_all) == ("" if operation.scope else "forbidden")
    assert denial(rig, operation, without) == "forbidden"
    if operation.access in ("sender", "operator") and operation.scope not in (None, "operate"):
        # Without the scope of operators an operator's token is no operator's.
        only = rig.token(people["operator"], str(operation.scope))
        assert denial(rig, operation, only) == "forbidden"
    tokens = rig.do("token-list", caller=people["operator"]).tokens
    for token in tokens:
        rig.do("token-revoke", q.ById(token.id), people["operator"])
    assert denial(rig, operation, with_all) == "sign-in-required"


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_a_stranger_gets_no_further_than_the_table_says_and_changes_nothing(
    operation: Operation, rig: Rig
) -> None:
    if operation.access == "anyone":
        return
    try:
        request = msgspec.convert(minimal(operation), operation.request)
    except msgspec.ValidationError:
        pytest.fail(f"no minimal request of {operation.name}")
    outcome = rig.platform.execute(
        Call(operation.name, request, Caller(origin=f"192.0.2.{ALL.index(operation)}")), rig.now
    )
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "sign-in-required"
    assert outcome.left.changes == ()


def minimal(operation: Operation) -> dict[str, object]:
    """Values for the fields of a request that have no default."""
    samples: dict[str, object] = {
        "id": "x", "login": "xx", "code": "123456", "password": "x" * 12, "old": "x", "new": "x" * 12,
        "origin": "https://portal.example", "challenge": "00", "credential": {}, "name": "x",
        "scopes": ["read"], "title": "x", "start": "2030-01-01T00:00", "duration": 60, "label": "x",
        "import_id": "x", "entries": [{"name": "x"}], "expected": 1, "count": 1, "batch": "x", "party": "x",
        "amount": {"amount": 1, "currency": "EUR"}, "reference": "x", "provider": "x", "external": "x",
        "body": "{}", "admission": {"open": True},
    }  # fmt: skip
    needed = [field.name for field in msgspec.structs.fields(operation.request) if field.required]
    if operation.name == "voucher-redeem":
        samples["code"] = "0000-0000-0000-0000"
    return {name: samples[name] for name in needed}


def test_a_token_of_nobody_is_told_apart_from_no_token() -> None:
    rig = Rig()
    problem = rig.refused("catalogue", q.Catalogue(), Caller(token="gkmd_" + "x" * 43))
    assert problem.code == "sign-in-required"


def test_a_request_of_another_type_is_refused() -> None:
    rig = Rig()
    assert rig.refused("user-add", {"login": "x"}).code == "bad-request"
    assert rig.refused("no-such-operation", {}).code == "not-found"


def test_forbidden_attempts_are_audited_and_bounded() -> None:
    rig = Rig()
    caller = rig.caller("rx")
    for _ in range(150):
        assert rig.refused("ledger", caller=caller).code == "forbidden"
    lines = rig.audit_lines("ledger")
    assert 90 <= len(lines) <= 100
    assert lines[0].detail["refused"] == "forbidden"
    rig.pass_time(600)
    (more,) = rig.audit_lines("refused-more")
    assert (more.actor, more.detail["omitted"]) == (lines[0].actor, {"ledger": 150 - len(lines)})
    assert rig.platform.audit.deadline() is None


def test_a_disabled_account_has_neither_sessions_nor_tokens() -> None:
    rig = Rig()
    session = rig.caller("rx")
    token = rig.token(session, "read")
    rig.do("me", caller=token)
    rig.do("user-change", q.ChangeUser("rx", disabled=True))
    for caller in (session, token):
        assert rig.refused("me", caller=caller).code in DENIED
    rig.do("user-change", q.ChangeUser("rx", disabled=False))
    for caller in (session, token):
        assert rig.refused("me", caller=caller).code in DENIED


def test_a_session_of_a_disabled_account_opens_nothing_though_it_is_there() -> None:
    rig = Rig()
    caller = rig.caller("rx")
    account = rig.platform.accounts.by_login("rx")
    assert account is not None
    rig.platform.facts.put(replace(account, disabled=True))
    rig.write(rig.platform.facts.commit())
    assert rig.refused("me", caller=caller).code == "sign-in-required"


def test_tokens_expire_are_revoked_and_are_one_s_own() -> None:
    rig = Rig()
    mine, other = rig.caller("mine"), rig.caller("other")
    token = rig.token(mine, "read", expires=rig.now + 100)
    (view,) = rig.do("token-list", caller=mine).tokens
    assert rig.refused("token-revoke", q.ById(view.id), other).code == "not-found"
    assert rig.do("token-list", caller=other).tokens == ()
    rig.do("me", caller=token)
    rig.now += 100
    assert rig.refused("me", caller=token).code == "sign-in-required"
    for expires in (rig.now, float("inf"), float("nan")):
        assert rig.refused("token-create", q.CreateToken("x", ("read",), expires), mine).code == "invalid"
    assert rig.refused("token-create", q.CreateToken("x", ("operate",)), mine).code == "invalid"
    assert token.token not in str(rig.journal)


def test_a_token_does_not_outgrow_its_account() -> None:
    rig = Rig()
    rig.user("other", "operator")
    token = rig.token(rig.caller("boss", "operator"), "operate")
    rig.do("user-list", q.ListUsers(), token)
    rig.do("user-change", q.ChangeUser("boss", roles=("receiver",)))
    assert rig.refused("user-list", q.ListUsers(), token).code == "forbidden"
