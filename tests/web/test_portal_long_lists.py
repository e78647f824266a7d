"""Lists that are longer than a page: on pages, as files, by the REST API and by the command line."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from portal_rig import Browser, Site

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.money import Money
from gkmd.group.platform.records import Admission

PEOPLE = 1203  # more than two pages of 500
ORDERS = ("newest", "oldest")
PRICE = {"price": {"amount": 250, "currency": "EUR"}}
DER = bytes.fromhex("30283126302406035504030c1d") + "Ünal \u202e <b>Broadcasting</b>".encode()


@pytest.fixture(scope="module")
def crowd() -> Any:
    """A transmission for money with many receivers; every tenth has the money back."""
    site = Site()
    rig, platform = site.rig, site.rig.platform
    site.user("studio", "sender")
    id = site.reserve("studio", admission=PRICE).id
    reservation = platform.reservations.get(id)
    assert reservation is not None
    for number in range(PEOPLE):
        credit = Amount(10_000, "EUR")
        account = rig.do("user-add", q.AddUser(login=f"rx{number:05}", credit_limit=credit))
        rig.now += 0.25
        billing = platform.billing
        admission = billing.admit(reservation, account.id, "price", Money("EUR", 250), rig.now)
        if number % 10 == 0:
            billing.refund(reservation, admission, "evicted", rig.now)
        rig.write(platform.facts.commit())
    yield site, id
    site.close()


@pytest.fixture
def sender(crowd: tuple[Site, str]) -> Browser:
    browser = crowd[0].browser()
    assert browser.submit("/sign-in", login="studio", password="correct horse battery").status_code == 303
    return browser


def rows_of(page: str) -> list[str]:
    return re.findall(r"<tr><th scope=\"row\".*?</tr>", page, re.S)


def next_of(page: str) -> str:
    found = re.search(r'rel="next" href="([^"]+)"', page)
    return "" if found is None else found[1].replace("&amp;", "&")


def walk(browser: Browser, path: str, table: str) -> list[list[str]]:
    """The rows of the table of that name on all pages from ``path`` on."""
    found = []
    while path:
        page = browser.get(path)
        assert page.status_code == 200
        assert ("First page" in page.text) == bool(found)
        assert len(page.content) < 200_000
        found.append(rows_of(page.text.partition(f'aria-label="{table}"')[2]))
        path = next_of(page.text)
    return found


def test_a_statement_has_pages_and_the_totals_of_the_whole(crowd: tuple[Site, str], sender: Browser) -> None:
    path = f"/reservations/{crowd[1]}/statement"
    lines = PEOPLE + (PEOPLE + 9) // 10
    pages = walk(sender, path, "Charges and refunds")
    assert [len(one) for one in pages] == [100] * (lines // 100) + [lines % 100]
    assert len({row for one in pages for row in one}) == lines
    first, last = sender.get(path).text, sender.get(path + "?after=0000000000999999").text
    for text in (first, last):
        assert f"{PEOPLE} receivers" in text
        assert f"{Money('EUR', 250 * (2 * PEOPLE - lines))}" in text
    assert "First page" in last


def test_the_files_of_a_statement_are_whole(crowd: tuple[Site, str], sender: Browser) -> None:
    lines = PEOPLE + (PEOPLE + 9) // 10
    answer = sender.get(f"/reservations/{crowd[1]}/statement.csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["cache-control"] == "no-store"
    _, *rows, total = csv.reader(io.StringIO(answer.text, newline=""))
    assert (len(rows), total[1]) == (lines, "total")
    for column in (4, 5, 6):
        assert sum(Decimal(row[column]) for row in rows) == Decimal(total[column])
    whole = sender.get(f"/reservations/{crowd[1]}/statement.json").json()
    assert len(whole["lines"]) == lines
    assert whole["totals"][0]["gross"] == sum(one["gross"] for one in whole["lines"])
    assert whole["receivers"] == PEOPLE
    assert "after" not in whole


def test_a_file_that_breaks_off_has_no_totals(crowd: tuple[Site, str], sender: Browser) -> None:
    site = crowd[0]
    asked: list[str] = []

    def gone(operation: str) -> None:
        asked.append(operation)
        site.daemon.gone = asked.count("statement") > 1

    site.daemon.on_call = gone
    try:
        with pytest.raises(BaseException):  # noqa: B017, PT011  the server hangs up
            sender.get(f"/reservations/{crowd[1]}/statement.csv")
    finally:
        site.daemon.on_call, site.daemon.gone = lambda operation: None, False
    assert asked.count("statement") == 2


def test_an_empty_statement(site: Site) -> None:
    sender = site.user("studio", "sender")
    id = site.reserve("studio").id
    assert "Nobody was charged" in sender.get(f"/reservations/{id}/statement").text
    assert sender.get(f"/reservations/{id}/statement.csv").text.count("\r\n") == 1
    assert sender.get(f"/reservations/{id}/statement.json").json()["lines"] == []


def test_receivers_and_accounts_are_searched(crowd: tuple[Site, str], sender: Browser) -> None:
    site, id = crowd
    path = f"/reservations/{id}/receivers"
    assert len(rows_of(sender.get(f"{path}?search=rx0070").text)) == 10
    nobody = sender.get(f"{path}?search=%22%3E%3Cb%3E")
    assert "Nobody was found" in nobody.text
    assert "<b>" not in nobody.text
    site.rig.user("root", "operator")
    root = site.browser()
    root.submit("/sign-in", login="root", password="correct horse battery")
    account = site.rig.do("user-show", q.ByLogin("rx00077")).id
    page = root.get(f"/operator/ledger?search={account}")
    assert len(rows_of(page.text)) == 1
    assert "balanced" in page.text
    pages = walk(root, "/operator/ledger", "Accounts")
    assert [len(one) for one in pages[:-1]] == [100] * (len(pages) - 1)
    assert sum(map(len, pages)) == PEOPLE + 2  # what each owes, what was earned, and fees
    newest, oldest = (
        root.get(f"/operator/ledger/entries?order={order}").text for order in ("newest", "oldest")
    )
    assert ">1</th>" in rows_of(oldest)[0]
    assert ">1</th>" not in newest
    narrowed = walk(root, f"/operator/ledger/entries?account=invoice:{account}", "Entries")
    assert sum(map(len, narrowed)) == 1


def test_the_api_links_to_the_next_page(crowd: tuple[Site, str]) -> None:
    site, id = crowd
    token = site.rig.token(site.rig.sign_in("studio"), "read").token
    browser, headers = site.browser(), {"Authorization": f"Bearer {token}"}
    path, lines = f"/api/v1/reservations/{id}/statement?limit=400", []
    for left in (3, 2, 1, 0):
        answer = browser.get(path, headers=headers)
        assert answer.status_code == 200
        lines += answer.json()["lines"]
        assert answer.json()["totals"][0]["charges"] == PEOPLE
        assert bool(answer.json()["after"]) == ("next" in answer.links) == (left > 0)
        path = answer.links.get("next", {}).get("url", "")
    assert len({msgspec.json.encode(one) for one in lines}) == len(lines) == PEOPLE + (PEOPLE + 9) // 10
    found = browser.get(f"/api/v1/reservations/{id}/receivers?search=rx0&limit=7", headers=headers)
    further = browser.get(found.links["next"]["url"], headers=headers)
    assert "search=rx0" in str(further.request.url)
    assert further.json()["receivers"][0]["party"] > found.json()["receivers"][-1]["party"]
    assert browser.get(f"/api/v1/reservations/{id}/statement?limit=501", headers=headers).status_code == 422


def test_a_link_is_one_line_whatever_the_place_is_called(site: Site) -> None:
    sender = site.user("studio", "sender")
    id = site.reserve("studio", admission={"names": True}).id
    caller = site.rig.sign_in("studio")
    entries = tuple(q.NameEntry(name) for name in ('"x>; rel="', "é, <", "٣"))
    job = site.rig.do("names-begin", q.ById(id), caller).import_id
    site.rig.do("names-add", q.NamesAdd(id=id, import_id=job, entries=entries), caller)
    site.rig.do("names-commit", q.NamesCommit(id=id, import_id=job, expected=3), caller)
    token = site.rig.token(caller, "read").token
    answer = sender.get(
        f"/api/v1/reservations/{id}/names?limit=1", headers={"Authorization": f"Bearer {token}"}
    )
    assert re.fullmatch(r'</api/v1/[\w./-]+\?limit=1&after=[\w.%+-]+>; rel="next"', answer.headers["link"])


def test_a_receiver_is_shown_by_the_name_of_its_certificate(site: Site) -> None:
    sender = site.user("studio", "sender")
    id = site.reserve("studio", admission={"open": True}).id
    facts = site.rig.platform.facts
    party = site.rig.platform.parties.make("", str(Identity(IdentityKind.DN, DER)), site.rig.now)
    facts.put(Admission(id, party, site.rig.now, "open", 0, "", None, None))
    site.rig.write(facts.commit())
    shown = r"dn:CN=Ünal \e2\80\ae \&lt;b\&gt;Broadcasting\&lt;/b\&gt;"
    for search in ("", "?search=ünal", "?search=cn%3D"):
        page = sender.get(f"/reservations/{id}/receivers{search}").text
        assert shown in page
        assert "\u202e" not in page
        assert "dn:0x" not in page
    assert "Nobody was found" in sender.get(f"/reservations/{id}/receivers?search=0x30").text
