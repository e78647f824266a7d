"""Signing in: what is right opens a session, what is wrong tells nothing and is counted."""

from __future__ import annotations

import pyotp
import pytest
from platform_rig import NOW, OPERATOR, PASSWORD, STRANGER, Rig, code_of

from gkmd.api import requests as q
from gkmd.crypto.passwords import NOBODY
from gkmd.group.platform import sessions
from gkmd.group.platform.lock_out import LONGEST_WAIT
from gkmd.group.platform.outcome import Caller, Done, Failed, Verify
from gkmd.group.platform.records import Account, Session
from gkmd.group.platform.settings import PlatformSettings

ELSEWHERE = "198.51.100.7"


def wrong(rig: Rig, login: str = "eve", password: str = "wrong", origin: str = ELSEWHERE) -> str:
    return code_of(lambda: rig.sign_in(login, password, origin=origin))


def test_a_session_opens_what_it_may() -> None:
    rig = Rig()
    rig.user("rx")
    caller = rig.sign_in("rx")
    assert rig.do("me", caller=caller).login == "rx"
    (session,) = rig.facts(Session)
    assert caller.token not in str(rig.journal)
    assert session.via == "password"
    assert rig.audit_lines("sign-in")[-1].actor == session.account


@pytest.mark.parametrize("typed", ["RX", " rx ", "ｒｘ"])
def test_a_login_is_found_however_it_is_typed(typed: str) -> None:
    rig = Rig()
    rig.user("rx")
    assert rig.do("me", caller=rig.sign_in(typed)).login == "rx"


def test_an_unknown_login_costs_and_says_the_same_as_a_wrong_password() -> None:
    rig = Rig()
    rig.user("known")
    rig.do("user-add", q.AddUser(login="without-password"))
    problems = []
    for login in ("known", "unknown", "without-password", "t-abc", "\x00", "ünknown", "x" * 64):
        outcome = rig.begin("sign-in", q.SignIn(login, "wrong"), Caller(origin=ELSEWHERE))
        assert isinstance(outcome, Verify)
        assert (outcome.verifier == NOBODY) == (login != "known")
        failed = rig.step(outcome)
        assert isinstance(failed, Failed)
        problems.append(failed.problem.as_json())
    assert all(problem == problems[0] for problem in problems)


def test_nobodys_verifier_opens_no_account_even_if_it_matched() -> None:
    rig = Rig()
    rig.do("user-add", q.AddUser(login="without-password"))
    for login in ("without-password", "unknown"):
        outcome = rig.begin("sign-in", q.SignIn(login, "x"), STRANGER)
        assert isinstance(outcome, Verify)
        assert isinstance(outcome.resume(True, rig.now), Failed)
    assert not rig.facts(Session)


def test_a_refusal_leaves_a_line_without_the_login_and_nothing_else() -> None:
    rig = Rig()
    before = dict(rig.journal)
    assert wrong(rig, "my password typed in the wrong field") == "sign-in-failed"
    new = {key: fact for key, fact in rig.journal.items() if key not in before}
    assert [kind for kind, _ in new] == ["audit"]
    assert "typed" not in str(new)


def test_unknown_logins_are_locked_out_like_known_ones() -> None:
    codes = []
    for login in ("known", "unknown"):
        rig = Rig()
        rig.user("known")
        codes.append([wrong(rig, login) for _ in range(8)])
    assert codes[0] == codes[1]
    assert codes[0] == ["sign-in-failed"] * 5 + ["locked-out"] * 3


def test_a_password_tried_a_thousand_times_takes_days() -> None:
    rig = Rig()
    rig.user("eve")
    compared = 0
    waits: list[float] = []
    for number in range(1000):
        origin = f"203.0.{number // 250}.{number % 250}"  # each from another address
        problem = rig.refused("sign-in", q.SignIn("eve", "wrong"), Caller(origin=origin))
        if problem.code == "locked-out":
            assert problem.come_back is not None
            waits.append(problem.come_back - rig.now)
            rig.now = problem.come_back
        else:
            compared += 1
    assert max(waits) == LONGEST_WAIT
    assert rig.now - NOW > 400 * LONGEST_WAIT
    assert compared < 510
    assert waits[:6] == [1, 2, 4, 8, 16, 32]
    # And then the right one is as good as ever.
    rig.now += LONGEST_WAIT
    assert rig.do("me", caller=rig.sign_in("eve")).login == "eve"


def test_many_attempts_at_once_are_counted_before_they_are_compared() -> None:
    rig = Rig()
    rig.user("eve")
    outcomes = [rig.begin("sign-in", q.SignIn("eve", "wrong"), STRANGER) for _ in range(20)]
    assert sum(isinstance(outcome, Verify) for outcome in outcomes) == 5


def test_others_cannot_keep_somebody_out_of_where_she_has_signed_in_before() -> None:
    rig = Rig()
    rig.user("eve")
    rig.sign_in("eve", origin="192.0.2.1")
    while wrong(rig) == "sign-in-failed":
        pass
    assert wrong(rig, password=PASSWORD) == "locked-out"
    rig.sign_in("eve", origin="192.0.2.1")
    # From there it is not endless either.
    codes = [wrong(rig, origin="192.0.2.1") for _ in range(7)]
    assert codes[-1] == "locked-out"


def test_an_address_that_tries_many_names_waits_for_all_and_its_own_account_does_not_help() -> None:
    rig = Rig()
    rig.user("mine")
    codes = []
    for number in range(26):
        codes.append(wrong(rig, f"victim-{number}"))
        if number % 5 == 4 and codes[-1] == "sign-in-failed" and number < 15:
            rig.sign_in("mine", origin=ELSEWHERE)
    assert codes[-1] in ("locked-out", "too-many-requests")
    assert codes.count("sign-in-failed") <= 20
    rig.sign_in("mine", origin="192.0.2.99")


def test_who_finds_the_server_busy_has_not_failed() -> None:
    rig = Rig()
    rig.user("eve")
    for _ in range(10):
        outcome = rig.begin("sign-in", q.SignIn("eve", PASSWORD), STRANGER)
        assert isinstance(outcome, Verify)
        outcome.abandoned()
    assert not rig.platform.facts.changed
    rig.sign_in("eve")


def test_requests_of_strangers_are_limited_by_address() -> None:
    rig = Rig()
    codes = [
        rig.refused("sign-in", q.SignIn(f"u{number}", "x"), Caller(origin=f"2001:db8::{number:x}")).code
        for number in range(60)
    ]
    assert "too-many-requests" in codes
    assert (
        rig.refused("sign-in", q.SignIn("u", "x"), Caller(origin="2001:db8:0:1::1")).code == "sign-in-failed"
    )


# One-time codes


def with_codes(rig: Rig, login: str = "eve") -> tuple[Caller, pyotp.TOTP]:
    caller = rig.caller(login)
    secret = rig.do("totp-begin", caller=caller).secret
    totp = pyotp.TOTP(secret)
    rig.do("totp-confirm", q.ConfirmCode(totp.at(rig.now)), caller)
    return caller, totp


def test_a_code_is_asked_for_only_after_the_right_password() -> None:
    rig = Rig()
    with_codes(rig)
    rig.now += 60
    assert wrong(rig, password="wrong") == "sign-in-failed"
    assert wrong(rig, password=PASSWORD) == "code-required"


def test_a_code_is_good_once_and_only_around_its_time() -> None:
    rig = Rig()
    _, totp = with_codes(rig)
    assert code_of(lambda: rig.sign_in("eve", code=totp.at(rig.now))) == "sign-in-failed"  # it confirmed
    rig.now += 300
    code = totp.at(rig.now)
    assert code_of(lambda: rig.sign_in("eve", code=totp.at(rig.now - 90))) == "sign-in-failed"
    assert code_of(lambda: rig.sign_in("eve", code=totp.at(rig.now + 90))) == "sign-in-failed"
    rig.sign_in("eve", code=code)
    assert rig.facts(Session)[-1].via in ("password", "password+totp")
    assert {session.via for session in rig.facts(Session)} == {"password", "password+totp"}
    assert code_of(lambda: rig.sign_in("eve", code=code)) == "sign-in-failed"
    rig.restart()
    assert code_of(lambda: rig.sign_in("eve", code=code)) == "sign-in-failed"
    assert code_of(lambda: rig.sign_in("eve", code=totp.at(rig.now - 30))) == "sign-in-failed"
    rig.sign_in("eve", code=totp.at(rig.now + 30))


def test_codes_cannot_be_guessed_without_end_by_who_knows_the_password() -> None:
    rig = Rig()
    with_codes(rig)
    rig.now += 300
    codes = []
    for number in range(8):
        wrong(rig, password=PASSWORD)
        codes.append(code_of(lambda number=number: rig.sign_in("eve", code=f"{number:06}", origin=ELSEWHERE)))  # type: ignore[misc]
    assert codes[-1] == "locked-out"


def test_one_time_codes_go_by_the_password_only() -> None:
    rig = Rig()
    caller, _ = with_codes(rig)
    assert rig.refused("totp-begin", caller=caller).code == "conflict"
    assert rig.refused("totp-remove", q.ConfirmPassword("wrong"), caller).code == "sign-in-failed"
    rig.do("totp-remove", q.ConfirmPassword(PASSWORD), caller)
    rig.sign_in("eve")


def test_a_secret_waits_for_its_code_for_a_while_and_only_for_a_right_one() -> None:
    rig = Rig()
    caller = rig.caller("eve")
    secret = rig.do("totp-begin", caller=caller).secret
    assert rig.refused("totp-confirm", q.ConfirmCode("000000"), caller).code == "invalid"
    rig.now += 1000
    code = pyotp.TOTP(secret).at(rig.now)
    assert rig.refused("totp-confirm", q.ConfirmCode(code), caller).code == "conflict"
    assert rig.facts(Account)[0].totp is None


# Sessions


def test_sessions_end_when_idle_and_after_their_longest_life() -> None:
    rig = Rig(PlatformSettings(session_idle=1000, session_longest=5000))
    caller, idle = rig.caller("eve"), rig.sign_in("eve")
    for _ in range(9):
        rig.now += 500
        rig.do("me", caller=caller)
    assert rig.refused("me", caller=idle).code == "sign-in-required"
    rig.now += 501
    assert rig.refused("me", caller=caller).code == "sign-in-required"
    rig.carry_out(rig.platform.tick(rig.now))
    assert not rig.facts(Session)


def test_a_session_goes_on_after_a_restart_and_not_for_longer() -> None:
    rig = Rig(PlatformSettings(session_idle=1000, session_longest=5000))
    caller = rig.caller("eve")
    rig.now += 900
    rig.restart()
    rig.do("me", caller=caller)
    rig.now += 900
    rig.restart()
    rig.do("me", caller=caller)
    rig.now += 1001
    rig.restart()
    assert rig.refused("me", caller=caller).code == "sign-in-required"


def test_shorter_lives_hold_for_sessions_that_are_there() -> None:
    rig = Rig()
    caller = rig.caller("eve")
    rig.now += 700
    rig.platform.adopt(PlatformSettings(session_longest=600))
    assert rig.refused("me", caller=caller).code == "sign-in-required"


def test_sign_out_ends_this_session_and_sessions_end_the_others() -> None:
    rig = Rig()
    mine, other, third = rig.caller("eve"), rig.sign_in("eve"), rig.sign_in("eve")
    assert len(rig.do("session-list", caller=mine).sessions) == 3
    rig.do("sign-out", caller=third)
    rig.do("sessions-end", caller=mine)
    (session,) = rig.do("session-list", caller=mine).sessions
    assert session.current
    for gone in (other, third):
        assert rig.refused("me", caller=gone).code == "sign-in-required"


def test_sessions_of_an_account_are_bounded() -> None:
    rig = Rig()
    first = rig.caller("eve")
    for number in range(sessions.MOST_OF_ONE):
        rig.now += 5
        rig.sign_in("eve", origin=f"192.0.2.{number}")
    assert len(rig.facts(Session)) == sessions.MOST_OF_ONE
    assert rig.refused("me", caller=first).code == "sign-in-required"


def test_a_stolen_session_ends_with_a_change_of_the_password() -> None:
    rig = Rig()
    owner = rig.caller("eve")
    thief = rig.sign_in("eve", origin=ELSEWHERE)
    new = "another long password"
    assert rig.refused("password-change", q.ChangePassword("guess", new), thief).code == "sign-in-failed"
    rig.do("password-change", q.ChangePassword(PASSWORD, new), owner)
    assert rig.refused("me", caller=thief).code == "sign-in-required"
    rig.do("me", caller=owner)
    assert wrong(rig, password=PASSWORD, origin="192.0.2.9") == "sign-in-failed"
    rig.sign_in("eve", new)


def test_who_finds_an_old_session_cannot_open_the_account_for_longer() -> None:
    rig = Rig()
    caller = rig.caller("eve")
    lasting = [
        ("token-create", q.CreateToken("x", ("read",))),
        ("totp-begin", q.Nothing()),
        ("passkey-begin", q.PasskeyBegin("https://portal.example")),
    ]
    for operation, request in lasting:
        rig.do(operation, request, caller)
    rig.now += 3600
    for operation, request in lasting:
        problem = rig.refused(operation, request, caller)
        assert (problem.code, problem.reason) == ("sign-in-required", "sign-in-again")
    rig.do("me", caller=caller)
    rig.do("token-create", q.CreateToken("x", ("read",)), rig.sign_in("eve"))


def test_who_holds_a_session_cannot_guess_the_password_without_end() -> None:
    rig = Rig()
    thief = rig.caller("eve")
    codes = [
        rig.refused("password-change", q.ChangePassword(f"guess {number}", "x" * 12), thief).code
        for number in range(7)
    ]
    assert codes == ["sign-in-failed"] * 5 + ["locked-out"] * 2


def test_a_session_that_ends_while_its_password_is_looked_at_changes_nothing() -> None:
    rig = Rig()
    caller = rig.caller("eve")
    outcome = rig.begin("password-change", q.ChangePassword(PASSWORD, "x" * 12), caller)
    rig.do("user-change", q.ChangeUser("eve", disabled=True))
    assert isinstance(outcome, Verify)
    failed = rig.step(outcome)
    assert isinstance(failed, Failed)
    assert failed.problem.code == "sign-in-required"


def test_who_is_disabled_while_the_password_is_looked_at_is_not_let_in() -> None:
    rig = Rig()
    rig.user("eve")
    outcome = rig.begin("sign-in", q.SignIn("eve", PASSWORD), STRANGER)
    rig.do("user-change", q.ChangeUser("eve", disabled=True))
    assert isinstance(outcome, Verify)
    failed = rig.end(rig.step(outcome))  # type: ignore[arg-type]
    assert isinstance(failed, Failed)
    assert failed.problem.code == "forbidden"
    assert not rig.facts(Session)


def test_of_two_changes_of_a_password_at_once_one_counts() -> None:
    rig = Rig()
    caller = rig.caller("eve")
    steps = [
        rig.step(rig.begin("password-change", q.ChangePassword(PASSWORD, new), caller))  # type: ignore[arg-type]
        for new in ("first long password", "second long password")
    ]
    ends = [rig.end(rig.step(step)) for step in steps]  # type: ignore[arg-type]
    assert isinstance(ends[0], Done)
    assert isinstance(ends[1], Failed)
    rig.sign_in("eve", "first long password")


def test_a_password_that_is_changed_meanwhile_does_not_open() -> None:
    rig = Rig()
    rig.user("eve")
    outcome = rig.begin("sign-in", q.SignIn("eve", PASSWORD), STRANGER)
    rig.do("user-change", q.ChangeUser("eve", password="another long password"))
    assert isinstance(outcome, Verify)
    assert isinstance(outcome.resume(True, rig.now), Failed)


def test_who_shows_an_old_session_may_sign_in_again() -> None:
    rig = Rig()
    rig.user("eve")
    stale = Caller(token="x" * 43, origin="192.0.2.1")
    assert isinstance(rig.outcome_of("sign-in", q.SignIn("eve", PASSWORD), stale), Done)


# Signing up


def test_sign_up_is_for_where_the_operator_allows_it() -> None:
    rig = Rig()
    request = q.SignUp("newcomer", "a long password")
    assert rig.refused("sign-up", request, STRANGER).code == "forbidden"
    rig.platform.adopt(PlatformSettings(sign_up=True))
    view = rig.do("sign-up", request, STRANGER)
    assert (view.roles, view.confirmed) == (("receiver",), False)
    rig.sign_in("newcomer", "a long password")
    assert rig.refused("sign-up", request, STRANGER).code == "conflict"
    assert rig.audit_lines("sign-up")[-1].subject == view.id
    assert "newcomer" not in str(rig.audit_lines())


@pytest.mark.parametrize("login", ["t-ticket", "a\nb", "Ünï", "x", "-x", "a" * 65, "a b", "", "a\x00b"])
def test_what_is_no_login_is_refused(login: str) -> None:
    rig = Rig(PlatformSettings(sign_up=True))
    assert rig.refused("sign-up", q.SignUp(login, "a long password"), STRANGER).code == "invalid"
    assert rig.refused("user-add", q.AddUser(login), OPERATOR).code == "invalid"


def test_two_who_sign_up_for_a_login_at_once_make_one_account() -> None:
    rig = Rig(PlatformSettings(sign_up=True))
    first = rig.begin("sign-up", q.SignUp("eve", "a long password"), STRANGER)
    second = rig.begin("sign-up", q.SignUp("eve", "another long one"), STRANGER)
    assert isinstance(rig.end(rig.step(first)), Done)  # type: ignore[arg-type]
    assert isinstance(rig.end(rig.step(second)), Failed)  # type: ignore[arg-type]
    assert len(rig.facts(Account)) == 1


def test_an_address_cannot_sign_up_without_end() -> None:
    rig = Rig(PlatformSettings(sign_up=True))
    codes = [
        code_of(lambda n=n: rig.do("sign-up", q.SignUp(f"user{n}", "a long password"), STRANGER))  # type: ignore[misc]
        for n in range(12)
    ]
    assert codes == [""] * 10 + ["too-many-requests"] * 2
