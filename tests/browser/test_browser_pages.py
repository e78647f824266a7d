"""Every page of every role: no error in the console, nothing serious by axe, no sideways scrolling."""

from __future__ import annotations

import pytest
from believable import Made
from windows import Desk, Person

ANYBODY = (
    "/",
    "/transmissions",
    "/transmissions?search=zither",
    "/transmissions/{concert}",
    "/sign-in",
    "/sign-up",
)
RECEIVER = (
    "/?done=ticket", "/transmissions/{final}", "/transmissions/{concert}", "/tickets", "/tickets/{ticket}",
    "/tickets/{ticket}/revoke", "/balance", "/account",
)  # fmt: skip
SENDER = (
    "/reservations", "/reservations/new", "/reservations/{concert}", "/reservations/{concert}/change",
    "/reservations/{concert}/cancel", "/reservations/{concert}/live", "/reservations/{concert}/receivers",
    "/reservations/{concert}/names", "/reservations/{concert}/vouchers", "/reservations/{concert}/statement",
    "/reservations/{over}", "/reservations/{over}/live", "/reservations/{over}/receivers",
    "/reservations/{over}/statement", "/reservations/{over}/vouchers", "/reservations/{cancelled}",
    "/reservations/{late}/names", "/reservations/{late}/receivers",
)  # fmt: skip
OPERATOR = (
    "/", "/reservations", "/reservations/new", "/reservations/{council}", "/operator/users",
    "/operator/users/new", "/operator/users/anna", "/operator/users/emil/forget", "/operator/vouchers",
    "/operator/members", "/operator/ledger", "/operator/ledger/entries", "/operator/audit",
    "/operator/audit?actor=nobody", "/operator/health",
)  # fmt: skip
PAGES = [("", path) for path in ANYBODY]
PAGES += [("anna", path) for path in RECEIVER] + [
    ("carla", "/transmissions/{concert}"),
    ("deniz", "/tickets"),
]
PAGES += [("concerts", path) for path in SENDER] + [("olga", path) for path in OPERATOR]
PROBLEMS = [
    ("", "/nowhere", 404),
    ("", "/transmissions/none", 404),
    ("anna", "/reservations", 403),
    ("concerts", "/operator/users", 403),
    ("council", "/reservations/{concert}", 404),
    ("anna", "/transmissions/{board}", 404),
]


@pytest.fixture(scope="module")
def people(browser: Desk) -> dict[str, Person]:
    """One window of each, for all pages."""
    return {login: browser.window(login) for login in dict(PAGES)}


def where(path: str, made: Made) -> str:
    return path.format(**made.ids, ticket=made.ticket)


@pytest.mark.parametrize(("login", "path"), PAGES)
def test_a_page(people: dict[str, Person], made: Made, login: str, path: str) -> None:
    person = people[login]
    person.open(where(path, made))
    assert person.status == 200
    assert person.faults() == []


def test_what_is_wrong_with_a_page_is_found(desk: Desk) -> None:
    person = desk.window()
    person.open("/sign-in")
    person.page.evaluate("""() => {
      const main = document.querySelector("main");
      main.append(document.createElement("img"), document.createElement("input"));
      main.insertAdjacentHTML("beforeend", "<p style='color: red'>inline</p>");
      document.querySelector("h1").style.cssText = "width: 600px; color: #888; background: #777";
    }""")
    found = person.faults()
    wanted = ["light: image-alt", "light: label", "light: color-contrast", "dark: color-contrast"]
    for fault in ["error: ", *wanted, "phone: image-alt", "phone: the page is"]:
        assert any(one.startswith(fault) for one in found), (fault, found)


@pytest.mark.parametrize(("login", "path", "status"), PROBLEMS)
def test_a_page_that_is_refused(desk: Desk, made: Made, login: str, path: str, status: int) -> None:
    person = desk.window(login)
    person.open(where(path, made))
    assert person.status == status
    assert person.faults() == []
    assert "Evening concert" not in person.text("body")
