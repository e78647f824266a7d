"""Passkeys: the ceremonies of a browser, and all that is not quite one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from platform_rig import STRANGER, Rig, code_of
from software_authenticator import PRESENT, VERIFIED, Authenticator, url64

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.crypto.passkeys import party_of
from gkmd.group.platform import challenges
from gkmd.group.platform.challenges import Challenges
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.records import Session

PORTAL = "https://portal.example"


def register(rig: Rig, caller: Caller, key: Authenticator, origin: str = PORTAL) -> r.PasskeyView:
    options = rig.do("passkey-begin", q.PasskeyBegin(origin), caller)
    credential = key.create(options.options)
    view: r.PasskeyView = rig.do(
        "passkey-add", q.PasskeyAdd(origin, options.challenge, credential, "my phone"), caller
    )
    return view


def sign_in(rig: Rig, key: Authenticator, origin: str = PORTAL) -> Caller:
    options = rig.do("passkey-sign-in-begin", q.PasskeySignInBegin(origin), STRANGER)
    credential = key.get(options.options)
    signed = rig.do("passkey-sign-in", q.PasskeySignIn(origin, options.challenge, credential), STRANGER)
    return Caller(token=signed.token, origin="192.0.2.1")


def with_passkey() -> tuple[Rig, Caller, Authenticator]:
    rig, key = Rig(), Authenticator()
    caller = rig.caller("eve")
    register(rig, caller, key)
    return rig, caller, key


def test_a_passkey_signs_in_without_login_and_password() -> None:
    rig, caller, key = with_passkey()
    (view,) = rig.do("me", caller=caller).passkeys
    assert view.name == "my phone"
    assert rig.do("me", caller=sign_in(rig, key)).login == "eve"
    assert {session.via for session in rig.facts(Session)} == {"password", "passkey"}
    rig.restart()
    assert rig.do("me", caller=sign_in(rig, key)).login == "eve"


def test_a_passkey_that_was_removed_or_reset_opens_nothing() -> None:
    rig, caller, key = with_passkey()
    (view,) = rig.do("me", caller=caller).passkeys
    assert rig.refused("passkey-remove", q.ById("pk-other"), caller).code == "not-found"
    rig.do("passkey-remove", q.ById(view.id), caller)
    assert code_of(lambda: sign_in(rig, key)) == "sign-in-failed"
    register(rig, caller, key)
    rig.do("user-change", q.ChangeUser("eve", reset_factors=True))
    assert code_of(lambda: sign_in(rig, key)) == "sign-in-failed"


def test_the_only_way_to_sign_in_is_not_removed() -> None:
    rig, caller, _ = with_passkey()
    (view,) = rig.do("me", caller=caller).passkeys
    rig.do("user-change", q.ChangeUser("eve", password=""))
    caller = sign_in(rig, _)
    assert rig.refused("passkey-remove", q.ById(view.id), caller).code == "conflict"


def test_a_disabled_account_s_passkey_opens_nothing() -> None:
    rig, _, key = with_passkey()
    rig.do("user-change", q.ChangeUser("eve", disabled=True))
    assert code_of(lambda: sign_in(rig, key)) == "forbidden"


WRONG: dict[str, Callable[[Authenticator], Authenticator]] = {
    "another page": lambda key: replace(key, origin="https://evil.example"),
    "another party": lambda key: replace(key, party="evil.example"),
    "user not verified": lambda key: replace(key, flags=PRESENT),
    "user not present": lambda key: replace(key, flags=VERIFIED),
    "another key": lambda key: replace(key, key=ec.generate_private_key(ec.SECP256R1())),
    "a copy whose counter is behind": lambda key: replace(key, counter=0),
    "another user": lambda key: replace(key, user=b"a-somebody"),
    "no user": lambda key: replace(key, user=b""),
    "another passkey": lambda key: replace(key, id=b"\x02" * 32),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_quite_the_passkey_opens_nothing(wrong: str) -> None:
    rig, _, key = with_passkey()
    sign_in(rig, key)
    sign_in(rig, key)
    before = len(rig.facts(Session))
    assert code_of(lambda: sign_in(rig, WRONG[wrong](key))) == "sign-in-failed"
    assert len(rig.facts(Session)) == before
    assert rig.audit_lines()[-1].detail["refused"] == "sign-in-failed"
    sign_in(rig, key)


@pytest.mark.parametrize("wrong", ["another page", "another party", "user not verified", "user not present"])
def test_what_is_not_quite_a_registration_is_none(wrong: str) -> None:
    rig = Rig()
    caller = rig.caller("eve")
    assert code_of(lambda: register(rig, caller, WRONG[wrong](Authenticator()))) == "invalid"
    assert rig.do("me", caller=caller).passkeys == ()


def test_a_challenge_is_good_once_for_a_while_and_for_who_asked() -> None:
    rig, caller, key = with_passkey()
    begin = rig.do("passkey-sign-in-begin", q.PasskeySignInBegin(PORTAL), STRANGER)
    request = q.PasskeySignIn(PORTAL, begin.challenge, key.get(begin.options))
    rig.do("passkey-sign-in", request, STRANGER)
    assert rig.refused("passkey-sign-in", request, STRANGER).code == "sign-in-failed"

    begin = rig.do("passkey-sign-in-begin", q.PasskeySignInBegin(PORTAL), STRANGER)
    rig.now += 301
    request = q.PasskeySignIn(PORTAL, begin.challenge, key.get(begin.options))
    assert rig.refused("passkey-sign-in", request, STRANGER).code == "sign-in-failed"

    other = rig.caller("mallory")
    options = rig.do("passkey-begin", q.PasskeyBegin(PORTAL), caller)
    new = Authenticator(id=b"\x03" * 16)
    request_ = q.PasskeyAdd(PORTAL, options.challenge, new.create(options.options), "x")
    assert rig.refused("passkey-add", request_, other).code == "conflict"
    # A registration's challenge signs nobody in.
    options = rig.do("passkey-begin", q.PasskeyBegin(PORTAL), caller)
    request = q.PasskeySignIn(PORTAL, options.challenge, key.get(options.options))
    assert rig.refused("passkey-sign-in", request, STRANGER).code == "sign-in-failed"


def test_a_passkey_belongs_to_one_account_and_is_registered_once() -> None:
    rig, caller, key = with_passkey()
    assert code_of(lambda: register(rig, caller, key)) == "conflict"
    assert code_of(lambda: register(rig, rig.caller("mallory"), key)) == "conflict"


@pytest.mark.parametrize(
    "origin",
    ["http://portal.example", "portal.example", "https://portal.example/", "https://portal.example/a",
     "https://user@portal.example", "https://", "https://portal.example:x", "javascript:1", "https://PORTAL.example",
     "https://[::1]", "https://portal.example#x", "https://portal.example:99999"],
)  # fmt: skip
def test_what_is_no_origin_of_a_portal_is_refused(origin: str) -> None:
    rig = Rig()
    assert rig.refused("passkey-sign-in-begin", q.PasskeySignInBegin(origin), STRANGER).code == "invalid"
    with pytest.raises(ValueError, match="origin"):
        party_of(origin)


@pytest.mark.parametrize(
    ("origin", "party"),
    [("https://portal.example:8443", "portal.example"), ("http://localhost:8000", "localhost")],
)
def test_the_party_is_the_origin_s_host(origin: str, party: str) -> None:
    rig, key = Rig(), Authenticator(origin=origin, party=party)
    register(rig, rig.caller("eve"), key, origin)
    sign_in(rig, key, origin)


RUBBISH: list[dict[str, Any]] = [
    {},
    {"rawId": 1},
    {"rawId": "AA", "id": "AA", "type": "public-key", "response": 1},
    {"rawId": "AA", "id": "AA", "type": "public-key", "response": {"userHandle": 5}},
    {"rawId": "é", "response": {}},
    {"rawId": "A" * 5000, "response": {}},
    {"rawId": url64(b"\x01" * 32), "response": {"userHandle": "x" * 5000}},
    {"rawId": url64(b"\x01" * 32), "response": {"clientDataJSON": "x" * 100_000}},
]


@pytest.mark.parametrize("credential", RUBBISH)
def test_rubbish_is_refused_and_not_a_fault(credential: dict[str, Any]) -> None:
    rig, caller, key = with_passkey()
    begin = rig.do("passkey-sign-in-begin", q.PasskeySignInBegin(PORTAL), STRANGER)
    with_user = dict(credential)
    response = with_user.get("response")
    if isinstance(response, dict) and "userHandle" not in response:
        with_user["response"] = {**response, "userHandle": url64(key.user)}
    request = q.PasskeySignIn(PORTAL, begin.challenge, with_user)
    assert rig.refused("passkey-sign-in", request, STRANGER).code == "sign-in-failed"
    begin = rig.do("passkey-begin", q.PasskeyBegin(PORTAL), caller)
    request_ = q.PasskeyAdd(PORTAL, begin.challenge, credential, "x")
    assert rig.refused("passkey-add", request_, caller).code == "invalid"


def test_challenges_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenges, "_MOST", 10)
    made = Challenges(Rig().rng)
    names = [made.make("", PORTAL, 1000.0 + number).octets.hex() for number in range(20)]
    assert len(made) == 10
    assert made.take(names[0], "", PORTAL, 1020.0) is None
    assert made.take(names[19], "", PORTAL, 1020.0) is not None
    assert made.take(names[19], "", PORTAL, 1020.0) is None
    assert made.take(names[18], "a-1", PORTAL, 1020.0) is None
    made.make("", PORTAL, 5000.0)
    assert len(made) == 1
