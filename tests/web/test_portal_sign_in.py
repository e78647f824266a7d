"""Signing in and out, and one's account: what a browser without scripts sees, and what its cookies are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyotp
import pytest
from portal_rig import NOW, ORIGIN, PASSWORD, SETTINGS, Site, portal_config

from gkmd.web.pages_sign_in import Pending
from gkmd.web.visit import local_path


def test_the_session_is_in_one_cookie_and_nowhere_else(site: Site) -> None:
    site.rig.user("alice")
    browser = site.browser()
    answer = browser.submit("/sign-in", login="Alice", password=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if "session" in c]
    assert cookie.startswith("__Host-gkmd-session=")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part.lower() in cookie.lower()
    assert "domain" not in cookie.lower()
    token = browser.http.cookies["__Host-gkmd-session"]
    page = browser.get("/account")
    assert "alice" in page.text
    assert token not in page.text
    assert page.headers["cache-control"] == "no-store"


def test_without_tls_the_cookie_has_no_prefix(make_site: Callable[..., Site]) -> None:
    site = make_site(portal_config(origin="http://127.0.0.1:8080"))
    cookie = site.browser().get("/sign-in").headers["set-cookie"]
    assert cookie.startswith("gkmd-visit=")
    assert "secure" not in cookie.lower()


def test_a_wrong_password_is_told_beside_the_form_and_the_login_is_kept(site: Site) -> None:
    site.rig.user("alice")
    answer = site.browser().submit("/sign-in", login="alice", password="not-this-one-7")
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert 'value="alice"' in answer.text
    assert "not-this-one-7" not in answer.text


def test_a_password_tried_again_and_again_locks_out(site: Site) -> None:
    site.rig.user("alice")
    browser = site.browser()
    codes = [browser.submit("/sign-in", login="alice", password="x").status_code for _ in range(15)]
    assert 429 in codes
    assert browser.submit("/sign-in", login="alice", password=PASSWORD).status_code == 429


def test_sign_out_ends_the_session_of_the_platform(site: Site) -> None:
    browser = site.user("alice")
    token = browser.http.cookies["__Host-gkmd-session"]
    answer = browser.submit("/account", "/sign-out")
    assert answer.status_code == 303
    assert "__Host-gkmd-session" not in browser.http.cookies
    browser.http.cookies.set("__Host-gkmd-session", token)
    assert browser.get("/account").headers["location"].startswith("/sign-in?next=")


def test_one_time_codes(site: Site) -> None:
    browser = site.user("alice")
    page = browser.submit("/account", "/account/totp")
    assert "<svg" in page.text
    secret = page.text.split('name="secret" value="')[1].split('"')[0]
    site.rig.now = NOW + 60
    form = {"csrf": page.text.split('name="csrf" value="')[1].split('"')[0], "secret": secret, "uri": ""}
    wrong = browser.post("/account/totp/confirm", {**form, "code": "000000"})
    assert wrong.status_code in (401, 422)
    assert secret in wrong.text
    right = browser.post("/account/totp/confirm", {**form, "code": pyotp.TOTP(secret).at(int(NOW + 60))})
    assert right.headers["location"] == "/account?done=totp"
    other = site.browser()
    asked = other.submit("/sign-in?next=/tickets", "/sign-in", login="alice", password=PASSWORD)
    assert asked.status_code == 200
    assert PASSWORD not in asked.text
    site.rig.now = NOW + 120
    data = {
        name: asked.text.split(f'name="{name}" value="')[-1].split('"')[0] for name in ("csrf", "key", "next")
    }
    stranger = site.browser()
    stolen = {**data, "csrf": stranger.form("/sign-in")["csrf"]}
    code = pyotp.TOTP(secret).at(int(NOW + 120))
    assert stranger.post("/sign-in/code", {**stolen, "code": code}).status_code == 401
    assert other.post("/sign-in/code", {**data, "code": "123456"}).status_code == 401
    done = other.post("/sign-in/code", {**data, "code": code})
    assert (done.status_code, done.headers["location"]) == (303, "/tickets")
    removed = other.submit("/account", "/account/totp/remove", totp_password=PASSWORD)
    assert removed.headers["location"] == "/account?done=totp-removed"


def test_one_account_does_not_take_the_place_of_all_who_are_asked_for_a_code() -> None:
    pending = Pending()
    alice = pending.keep("alice", "her password", "her browser", 0.0)
    keys = [pending.keep("mallory", "x", f"browser {number}", 1.0) for number in range(2000)]
    assert pending.find(alice, "her browser", 2.0) == ("alice", "her password")
    found = [pending.find(key, f"browser {number}", 2.0) for number, key in enumerate(keys)]
    assert found.count(None) >= 1990
    assert pending.find(keys[-1], "browser 1999", 2.0) == ("mallory", "x")


def test_sign_up_makes_an_account_once_and_signs_in(site: Site) -> None:
    browser = site.browser()
    short = browser.submit("/sign-up", login="bob", password="short")
    assert short.status_code == 422
    assert 'aria-describedby="h-password e-password" aria-invalid="true"' in short.text
    form = browser.form("/sign-up") | {"login": "bob", "password": "long enough to be one"}
    answers = [browser.post("/sign-up", form) for _ in range(2)]
    assert [one.status_code for one in answers] == [303, 403]  # the session is another one by then
    assert "bob" in browser.get("/").text


def test_sign_up_says_so_when_the_operator_forbids_it(make_site: Callable[..., Site]) -> None:
    site = make_site(settings=replace(SETTINGS, sign_up=False))
    answer = site.browser().submit("/sign-up", login="bob", password="long enough to be one")
    assert answer.status_code == 403


def test_password_change_and_ending_other_sessions(site: Site) -> None:
    browser, other = site.user("alice"), site.browser()
    other.submit("/sign-in", login="alice", password=PASSWORD)
    different = browser.submit("/account", "/account/password", old=PASSWORD, new="n" * 12, again="m" * 12)
    assert "is not the same" in different.text
    done = browser.submit("/account", "/account/password", old=PASSWORD, new="n" * 12, again="n" * 12)
    assert done.headers["location"] == "/account?done=password"
    assert other.get("/account").status_code == 303
    other.submit("/sign-in", login="alice", password="n" * 12)
    browser.submit("/account", "/account/sessions/end")
    assert other.get("/account").status_code == 303
    assert browser.get("/account").status_code == 200


def test_who_changes_the_password_is_told_what_a_thief_may_have_left(site: Site) -> None:
    alice = site.user("alice")
    alice.submit("/account", "/account/tokens", name="not hers", scopes=["read"])
    new = {"old": PASSWORD, "new": "another quiet harbour", "again": "another quiet harbour"}
    page = alice.follow(alice.submit("/account", "/account/password", **new)).text
    assert "API tokens stay: remove those that are not yours" in page
    assert "not hers" in page


def test_an_api_token_is_shown_once_and_works(site: Site) -> None:
    browser = site.user("alice")
    assert browser.submit("/account", "/account/tokens", name="mine").status_code == 422
    form = browser.form("/account", "/account/tokens") | {"name": "mine", "scopes": ["read"], "days": "30"}
    page = browser.post("/account/tokens", form)
    token = page.text.split('<code class="secret">')[1].split("<")[0]
    again = browser.post("/account/tokens", form)
    assert again.text == page.text  # a second click shows the same, and makes nothing
    assert token not in browser.get("/account").text
    headers = {"Authorization": f"Bearer {token}"}
    assert site.browser().get("/api/v1/me", headers=headers).json()["login"] == "alice"
    assert len(site.browser().get("/api/v1/me", headers=headers).json()["passkeys"]) == 0
    identifier = browser.get("/account").text.split("/account/tokens/")[1].split("/revoke")[0]
    browser.submit("/account", f"/account/tokens/{identifier}/revoke")
    assert site.browser().get("/api/v1/me", headers=headers).status_code == 401


def test_passkeys_are_begun_by_the_page_s_own_script_only(site: Site) -> None:
    browser = site.user("alice")
    word = browser.form("/account", "/account/password")["csrf"]
    path = "/account/passkeys/challenge"
    assert browser.post(path, json={}).status_code == 403
    begun = browser.post(path, json={}, headers={"X-CSRF-Token": word})
    assert begun.json()["challenge"]
    headers = {"X-CSRF-Token": word, "Sec-Fetch-Site": "cross-site"}
    assert browser.post(path, json={}, headers=headers).status_code == 403
    bad = {"challenge": begun.json()["challenge"], "credential": {"id": "x"}, "name": "mine"}
    refused = browser.post("/account/passkeys", json=bad, headers={"X-CSRF-Token": word})
    assert refused.headers["content-type"] == "application/problem+json"
    assert 400 <= refused.status_code < 500
    origins = [r["origin"] for name, r, _ in site.daemon.calls if name == "passkey-begin"]
    assert origins == [ORIGIN]


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\r\nSet-Cookie: x=y",
        "",
        "evil",
        "/" + "a" * 600,
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(site: Site, text: str) -> None:
    site.rig.user("alice")
    browser = site.browser()
    assert local_path(text) == "/"
    answer = browser.submit("/sign-in", login="alice", password=PASSWORD, next=text)
    assert answer.headers["location"] == "/"


def test_where_one_was_going_is_kept(site: Site) -> None:
    browser = site.browser()
    sent = browser.get("/tickets?after=x")
    assert sent.headers["location"] == "/sign-in?next=%2Ftickets%3Fafter%3Dx"
    assert 'name="next" value="/tickets?after=x"' in browser.follow(sent).text
