"""Users as operators see them, and what is left of one who is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from platform_rig import OPERATOR, PASSWORD, STRANGER, Rig, code_of

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.group.platform.outcome import Failed, Hash
from gkmd.group.platform.records import Account, ApiToken, AuditLine, Balance, Payment, Session
from gkmd.group.platform.settings import PlatformSettings


def test_users_are_listed_by_login_in_pages_and_found() -> None:
    rig = Rig()
    for number in range(5):
        rig.user(f"user{number}", name="Zoë" if number == 3 else "")
    first = rig.do("user-list", q.ListUsers(limit=2))
    assert [one.login for one in first.accounts] == ["user0", "user1"]
    rest = rig.do("user-list", q.ListUsers(limit=3, after=first.after))
    assert [one.login for one in rest.accounts] == ["user2", "user3", "user4"]
    assert rest.after == ""
    assert [one.login for one in rig.do("user-list", q.ListUsers(search="zoë")).accounts] == ["user3"]
    assert rig.do("user-show", q.ByLogin("user3")).name == "Zoë"
    assert rig.refused("user-show", q.ByLogin("nobody")).code == "not-found"


def test_what_is_not_given_stays() -> None:
    rig = Rig()
    before = rig.user("eve", "sender", classes=("news",), credit_limit=Amount(500, "EUR"))
    after = rig.do("user-change", q.ChangeUser("eve", name="Eve"))
    assert after == rig.do("user-show", q.ByLogin("eve"))
    assert (after.name, after.roles, after.classes) == ("Eve", before.roles, before.classes)
    assert after.credit_limit == Amount(500, "EUR")
    cleared = rig.do("user-change", q.ChangeUser("eve", credit_limit=None, classes=()))
    assert (cleared.credit_limit, cleared.classes) == (None, ())
    lines = len(rig.audit_lines())
    rig.do("user-change", q.ChangeUser("eve", name="Eve"))
    assert len(rig.audit_lines()) == lines


@pytest.mark.parametrize(
    "request_",
    [
        q.AddUser("eve", password="short"),
        q.AddUser("eve", roles=()),
        q.AddUser("eve", roles=("king",)),  # type: ignore[arg-type]
        q.AddUser("eve", classes=("a\nb",)),
        q.AddUser("eve", classes=("",)),
        q.AddUser("t-eve"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(request_: q.AddUser) -> None:
    rig = Rig()
    problem = rig.refused("user-add", request_)
    assert problem.code == "invalid"
    assert problem.fields
    assert not rig.facts(Account)
    assert not rig.platform.facts.changed


def test_a_login_is_taken_once() -> None:
    rig = Rig()
    rig.user("eve")
    assert rig.refused("user-add", q.AddUser("eve")).code == "conflict"


def test_the_last_operator_stays_one() -> None:
    rig = Rig()
    rig.user("boss", "operator")
    attempts = [
        ("user-change", q.ChangeUser("boss", roles=("sender",))),
        ("user-change", q.ChangeUser("boss", disabled=True)),
        ("user-forget", q.ByLogin("boss")),
    ]
    for operation, request in attempts:
        assert rig.refused(operation, request).code == "conflict"
    rig.user("deputy", "operator")
    rig.do("user-change", q.ChangeUser("deputy", disabled=True))
    for operation, request in attempts:
        assert rig.refused(operation, request).code == "conflict"
    rig.do("user-change", q.ChangeUser("deputy", disabled=False))
    rig.do("user-change", q.ChangeUser("boss", roles=("sender",)))


def test_two_operators_who_disable_each_other_at_once_leave_one() -> None:
    rig = Rig()
    first, second = rig.caller("first", "operator"), rig.caller("second", "operator")
    one = rig.begin("user-change", q.ChangeUser("second", disabled=True, password=PASSWORD + "x"), first)
    two = rig.begin("user-change", q.ChangeUser("first", disabled=True, password=PASSWORD + "x"), second)
    assert isinstance(one, Hash)
    assert isinstance(two, Hash)
    rig.end(rig.step(one))  # type: ignore[arg-type]
    assert isinstance(rig.end(rig.step(two)), Failed)  # type: ignore[arg-type]
    assert sum(not account.disabled for account in rig.facts(Account)) == 1


def test_a_new_password_from_the_operator_ends_sessions() -> None:
    rig = Rig()
    caller = rig.caller("eve")
    rig.do("user-change", q.ChangeUser("eve", password="a long new password"))
    assert rig.refused("me", caller=caller).code == "sign-in-required"
    assert code_of(lambda: rig.sign_in("eve")) == "sign-in-failed"
    rig.sign_in("eve", "a long new password")
    rig.do("user-change", q.ChangeUser("eve", password=""))
    assert code_of(lambda: rig.sign_in("eve", "a long new password")) == "sign-in-failed"


def test_reset_factors_lets_in_by_the_password_alone() -> None:
    rig = Rig()
    caller = rig.caller("eve")
    account = rig.facts(Account)[0]
    rig.do("totp-begin", caller=caller)
    rig.platform.facts.put(replace(account, totp=account.password))
    rig.write(rig.platform.facts.commit())
    assert code_of(lambda: rig.sign_in("eve")) == "code-required"
    rig.do("user-change", q.ChangeUser("eve", reset_factors=True))
    rig.sign_in("eve")


def test_a_refusal_rolls_back_all_of_it() -> None:
    rig = Rig()
    rig.user("eve")
    facts = {key: fact for key, fact in rig.journal.items() if key[0] != AuditLine.KIND}
    rig.refused("user-change", q.ChangeUser("eve", name="x", roles=()))
    rig.refused("user-add", q.AddUser("eve", name="y"))
    assert {key: fact for key, fact in rig.journal.items() if key[0] != AuditLine.KIND} == facts
    assert rig.do("user-show", q.ByLogin("eve")).name == ""


# Forgetting


def test_who_is_forgotten_is_nowhere_in_the_journal() -> None:
    rig = Rig()
    user = rig.user("eve-the-login", name="Eve The Name")
    caller = rig.sign_in("eve-the-login")
    rig.token(caller, "read")
    forgotten = rig.do("user-forget", q.ByLogin("eve-the-login"))
    assert any("1 sessions and 1 API tokens" in text for text in forgotten.removed)
    assert any(user.id in text for text in forgotten.kept)
    assert not rig.facts(Account) + rig.facts(Session) + rig.facts(ApiToken)
    assert "the-login" not in repr(rig.journal)
    assert "The Name" not in repr(rig.journal)
    assert rig.refused("me", caller=caller).code == "sign-in-required"
    again = rig.user("eve-the-login")
    assert again.id != user.id
    lines = rig.do("audit", q.ListAudit(subject=user.id)).lines
    assert {line.subject_name for line in lines} == {""}


@pytest.mark.parametrize(
    ("ledger", "text"), [("balance", "balance of 2.50 EUR"), ("invoice", "invoice of 2.50 EUR")]
)
def test_who_owes_or_is_owed_is_not_forgotten(ledger: str, text: str) -> None:
    rig = Rig()
    user = rig.user("eve")
    balance = Balance(f"{ledger}:{user.id}", "EUR", 250 if ledger == "invoice" else -250, 1)
    rig.platform.facts.put(balance)
    problem = rig.refused("user-forget", q.ByLogin("eve"))
    assert problem.code == "conflict"
    rig.platform.facts.put(balance)
    rig.write(rig.platform.facts.commit())
    problem = rig.refused("user-forget", q.ByLogin("eve"))
    assert text in problem.detail
    rig.platform.facts.put(replace(balance, amount=0))
    rig.write(rig.platform.facts.commit())
    rig.do("user-forget", q.ByLogin("eve"))


def test_a_payment_under_way_is_waited_for() -> None:
    rig = Rig()
    user = rig.user("eve")
    payment = Payment("y-1", user.id, "bank", 100, "EUR", "begun", "", rig.now, rig.now)
    rig.platform.facts.put(payment)
    rig.write(rig.platform.facts.commit())
    assert rig.refused("user-forget", q.ByLogin("eve")).code == "conflict"
    rig.now += 86_400
    kept = rig.do("user-forget", q.ByLogin("eve"), OPERATOR).kept
    assert any("1 payments" in text for text in kept)


def test_an_operator_s_socket_has_no_account() -> None:
    rig = Rig()
    for operation in ("me", "token-list", "session-list", "sign-out", "totp-begin"):
        assert rig.refused(operation).code == "forbidden"


@pytest.mark.parametrize("name", ["\x1b[2J", "Ann\nBob", "gpj.\u202enna", "a\x00b"])
def test_a_name_can_be_shown(name: str) -> None:
    rig = Rig(PlatformSettings(sign_up=True))
    rig.user("eve")
    for problem in (
        rig.refused("sign-up", q.SignUp("ann", PASSWORD, name), STRANGER),
        rig.refused("user-add", q.AddUser("ann", name=name)),
        rig.refused("user-change", q.ChangeUser("eve", name=name)),
    ):
        assert (problem.code, [field.field for field in problem.fields]) == ("invalid", ["name"])
