"""What attackers try: forged forms, foreign sites, scripts in every text, floods, proxies that are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from portal_rig import START, Browser, Site, portal_config

import gkmd.web
from gkmd.api import requests as q
from gkmd.api.operations import OPERATIONS
from gkmd.web.rates import Rates, bucket_of

WEB = Path(gkmd.web.__file__).parent
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{1234567*7}}"


def posts(site: Site) -> list[str]:
    """All paths that take a form without something in the path."""
    paths = []
    for route in site.app.routes:
        path, methods = getattr(route, "path", ""), getattr(route, "methods", None) or set()
        if "POST" in methods and not path.startswith("/api/"):
            paths.append(path)
    return paths


def test_no_form_is_taken_without_the_word_of_its_session(site: Site) -> None:
    mine, other = site.user("root", "operator", "sender", "receiver"), site.user("mallory", "operator")
    foreign = other.form("/account", "/account/password")["csrf"]
    tried = 0
    for path in posts(site):
        path = path.replace("{id}", "x").replace("{login}", "root").replace("{job}", "x")
        path = path.replace("{party}", "x").replace("{batch}", "x")
        for word in ("", foreign, "x"):
            before = len(site.daemon.calls)
            if path.startswith(("/sign-in/passkey", "/account/passkeys")) and "remove" not in path:
                answer = mine.post(path, json={}, headers={"X-CSRF-Token": word})
            elif path.endswith("/names"):
                answer = mine.post(path, {"csrf": word}, files={"file": ("a", b"x")})
            else:
                answer = mine.post(path, {"csrf": word})
            assert answer.status_code in (403, 404), (path, word, answer.status_code)
            asked = [name for name, _, _ in site.daemon.calls[before:]]
            assert set(asked) <= {"me", "reservation-show", "names-list", "refusal-report"}, (path, asked)
            if path != "/reservations/check":  # asked again and again, and changes nothing
                ((operation, code),) = [
                    (request["operation"], request["code"])
                    for name, request, _ in site.daemon.calls[before:]
                    if name == "refusal-report"
                ]
                assert operation in OPERATIONS, path
                assert code == ("forbidden" if answer.status_code == 403 else "not-found")
            tried += 1
    assert tried > 80
    assert mine.get("/account").status_code == 200


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "https://portal.example"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://portal.example"}, False),
        ({}, True),
    ],
)
def test_forms_come_from_pages_of_ours(site: Site, headers: dict[str, str], good: bool) -> None:
    browser = site.browser()
    form = browser.form("/sign-in") | {"login": "nobody", "password": "x"}
    assert browser.post("/sign-in", form, headers=headers).status_code == (401 if good else 403)


PAGES = (
    "/",
    "/sign-in",
    "/transmissions",
    "/nothing",
    "/api/v1/openapi.json",
    "/api/v1/nothing",
    "/static/portal.css",
    "/metrics",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_has_the_headers(site: Site, path: str) -> None:
    headers = site.browser().get(path).headers
    policy = headers["content-security-policy"]
    for part in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "script-src 'self'"):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["strict-transport-security"].startswith("max-age=")
    assert "server" not in headers
    cache = "public" if path.startswith("/static") else "no-store"
    assert cache in headers["cache-control"]


def test_without_tls_there_is_no_hsts(make_site: Callable[..., Site]) -> None:
    site = make_site(portal_config(origin="http://127.0.0.1:8080"))
    assert "strict-transport-security" not in site.browser().get("/").headers


def test_no_page_has_a_script_or_style_of_its_own() -> None:
    for file in (WEB / "templates").glob("*.html"):
        text = file.read_text()
        assert "|safe" not in text.replace(" ", ""), file.name
        assert not re.search(r"<[^%>]*\son\w+=", text), file.name
        assert not re.search(r"\sstyle=", text), file.name
        assert not re.search(r"<style\b", text), file.name
        assert all("src=" in tag for tag in re.findall(r"<script\b[^>]*>", text)), file.name


def test_scripts_in_texts_stay_texts(site: Site) -> None:
    sender = site.user("studio", "sender", name=SCRIPT)
    operator = site.user("root", "operator")
    form = sender.form("/reservations/new", "/reservations")
    form |= {
        "title": SCRIPT,
        "description": SCRIPT,
        "start": START,
        "ways": ["names"],
        "visibility": "public",
    }
    made = sender.post("/reservations", form)
    assert made.status_code == 303, made.text
    path = made.headers["location"].partition("?")[0]
    identifier = path.rpartition("/")[2]
    site.rig.do("reservation-cancel", q.CancelReservation(site.reserve(title="b").id, SCRIPT[:200]))
    pages: list[httpx.Response] = [
        *(sender.get(path + tab) for tab in ("", "/change", "/cancel", "/names", "/live", "/statement")),
        *(site.browser().get(one) for one in ("/", "/transmissions", f"/transmissions/{identifier}")),
        site.browser().get("/transmissions", params={"search": SCRIPT}),
        site.browser().get("/sign-in", params={"next": "/" + SCRIPT}),
        site.browser().get("/", params={"done": SCRIPT}),
        operator.get("/operator/users", params={"search": SCRIPT}),
        operator.get("/operator/audit", params={"subject": SCRIPT[:100], "actor": SCRIPT[:100]}),
        operator.get("/operator/audit"),
        operator.get("/operator/members", params={"group": SCRIPT}),
        operator.get("/operator/ledger/entries", params={"account": SCRIPT}),
        operator.get("/reservations", params={"owner": SCRIPT[:60], "state": SCRIPT}),
        operator.get("/operator/users/studio"),
        site.browser().get(f"/nothing/{SCRIPT}"),
        sender.submit("/account", "/account/tokens", name=SCRIPT, scopes=["read"]),
        sender.get("/account"),
        sender.post(f"{path}/extend", {"csrf": form["csrf"], "duration": SCRIPT, "version": SCRIPT}),
        sender.post("/reservations", form | {name: SCRIPT for name in form if name != "csrf"}),
        sender.post("/reservations/check", form | {name: SCRIPT for name in form if name != "csrf"}),
        site.browser().submit("/sign-in", login=SCRIPT, password=SCRIPT, next="/" + SCRIPT),
        site.browser().submit("/sign-up", login=SCRIPT, password=SCRIPT, name=SCRIPT),
    ]
    shown = 0
    for page in pages:
        shown += "&lt;script&gt;" in page.text
        assert "<script>" not in page.text, page.url
        assert "<img" not in page.text, page.url
        assert "8641969" not in page.text, page.url
    assert shown > 10


def test_names_of_lists_are_texts_too(site: Site) -> None:
    sender = site.user("studio", "sender")
    one = site.reserve(owner="studio", admission=q.Rule(names=True))
    begun = site.rig.do("names-begin", q.ById(one.id))
    entries = (q.NameEntry("<b>x"),)
    site.rig.do("names-add", q.NamesAdd(one.id, begun.import_id, entries))
    site.rig.do("names-commit", q.NamesCommit(one.id, begun.import_id, 1))
    page = sender.get(f"/reservations/{one.id}/names").text
    assert "&lt;b&gt;x" in page
    assert "<b>x" not in page


def test_a_flood_from_one_address_is_slowed_and_others_are_served(make_site: Callable[..., Site]) -> None:
    site = make_site(portal_config(rate=1, burst=10))
    noisy, other = site.browser("192.0.2.1"), site.browser("192.0.2.2")
    answers = [noisy.get("/sign-in") for _ in range(12)]
    assert [one.status_code for one in answers] == [200] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[-1].json()["code"] == "too-many-requests"
    assert noisy.get("/static/portal.css").status_code == 200
    assert other.get("/sign-in").status_code == 200


def test_the_table_of_addresses_is_bounded_and_a_network_counts_as_one() -> None:
    rates = Rates(1.0, 2.0, addresses=100)
    for number in range(1000):
        assert rates.wait(f"198.51.{number // 256}.{number % 256}", 0.0) == 0.0
    assert len(rates) == 100
    assert bucket_of("2001:db8::1") == bucket_of("2001:db8::ffff:1") != bucket_of("2001:db8:0:1::1")
    assert bucket_of("::ffff:192.0.2.1") == bucket_of("192.0.2.1")
    assert bucket_of("nonsense") == "nonsense"


def origins(site: Site, browser: Browser, header: str | list[str]) -> str:
    values = [header] if isinstance(header, str) else header
    browser.get("/transmissions", headers=[("X-Forwarded-For", one) for one in values])
    return site.daemon.calls[-1][2].origin


def test_the_client_s_address_is_the_peer_s_unless_a_proxy_is_trusted(make_site: Callable[..., Site]) -> None:
    site = make_site()
    assert origins(site, site.browser("192.0.2.7"), "203.0.113.5") == "192.0.2.7"
    site = make_site(portal_config(trusted_proxies=(ip_network("192.0.2.0/24"),)))
    proxy = site.browser("192.0.2.7")
    assert origins(site, proxy, "203.0.113.5") == "203.0.113.5"
    assert origins(site, proxy, "10.0.0.1, 203.0.113.5, 192.0.2.8") == "203.0.113.5"
    assert origins(site, proxy, ["1.2.3.4", "203.0.113.5"]) == "203.0.113.5"
    assert origins(site, proxy, "203.0.113.5, rubbish") == "192.0.2.7"
    # A socket of IPv6 names IPv4 peers like this: it was believed to be no proxy, and all had its one rate.
    assert origins(site, site.browser("::ffff:192.0.2.7"), "203.0.113.5") == "203.0.113.5"
    assert origins(site, site.browser("198.51.100.1"), "203.0.113.5") == "198.51.100.1"


def test_bodies_are_bounded(site: Site) -> None:
    browser = site.browser()
    big = b"a" * 1_000_000
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert browser.post("/sign-in", content=big, headers=form).status_code == 413

    async def parts() -> object:
        for _ in range(1000):
            yield b"a" * 1000

    assert browser.post("/sign-in", content=parts(), headers=form).status_code == 413
    many = "&".join("a=b" for _ in range(5000)).encode()
    assert browser.post("/sign-in", content=many, headers=form).status_code == 400
    assert browser.post("/sign-in", content=b"\xff\xfe=\xff", headers=form).status_code == 400
    assert browser.post("/sign-in", json={}).status_code == 400


def test_a_list_that_is_too_large_is_refused(make_site: Callable[..., Site]) -> None:
    site = make_site(portal_config(list_octets=2000))
    sender = site.user("studio", "sender")
    path = f"/reservations/{site.reserve(owner='studio').id}/names"
    data = sender.form(path)
    assert sender.post(path, data, files={"file": ("a.csv", b"x\n" * 2000)}).status_code == 413
    two = [("file", ("a", b"x")), ("file", ("b", b"y"))]
    assert sender.post(path, data, files=two).status_code == 400
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert sender.post(path, content=b"rubbish", headers=kind).status_code in (400, 403)


def test_the_daemon_away_is_a_clear_page(site: Site) -> None:
    browser = site.user("alice")
    site.daemon.gone = True
    for path in ("/", "/account", "/transmissions"):
        answer = browser.get(path)
        assert answer.status_code == 503
        assert "The key server is not reachable." in answer.text
    assert "__Host-gkmd-session" in browser.http.cookies  # the session is not lost by it
    site.daemon.gone = False
    assert browser.get("/account").status_code == 200


def test_a_fault_shows_nothing_of_itself(site: Site) -> None:
    def fail(operation: str) -> None:
        raise ValueError("secret detail")

    site.daemon.on_call = fail
    browser = site.browser()
    browser.http._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
    for path in ("/transmissions", "/api/v1/transmissions"):
        answer = browser.get(path)
        assert answer.status_code == 500
        assert "secret detail" not in answer.text


def test_methods_and_paths_that_are_not_there(site: Site) -> None:
    browser = site.browser()
    assert browser.send("PUT", "/sign-in").status_code == 405
    assert browser.get("/static/../portal.toml").status_code == 404
    assert browser.get("/static/%2e%2e/config.py").status_code == 404
    assert browser.get("/alive").status_code == 204
