"""The main paths without JavaScript, as on an old phone or in a careful browser."""

from __future__ import annotations

import csv
import io
import re
import time
from pathlib import Path

from believable import Made
from portal_world import PASSWORD, PortalWorld, wait_for
from windows import Desk, Person


def sign_in(person: Person, login: str, password: str = PASSWORD) -> None:
    person.open("/sign-in")
    person.enter("login", login)
    person.enter("password", password)
    person.button("Sign in")


def start(ahead: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + ahead))


def test_a_sender_from_reservation_to_cancellation(desk: Desk, world: PortalWorld) -> None:
    person = desk.window(script=False)
    sign_in(person, "concerts")
    person.open("/reservations/new")
    assert not [one.is_checked() for one in person.page.locator("[name=ways]").all() if one.is_checked()]
    person.enter("title", "Organ at noon")
    person.enter("start", start(7200))
    person.enter("duration", "45m")
    person.enter("lead", "3h")
    person.tick("ways", "open", True)
    person.tick("ways", "price", True)
    person.enter("price", "2.50")
    person.button("Reserve")
    # Whoever forgets to take "Everybody" out would give it away for nothing.
    assert "everybody is admitted" in person.text("#e-ways")
    person.tick("ways", "open", False)
    person.tick("ways", "names", True)
    person.tick("ways", "vouchers", True)
    person.button("Reserve")
    assert "It is reserved." in person.text()
    assert "names on the list, or who pays 2.50 EUR, or who has a voucher" in person.text()
    id = person.page.url.rpartition("/")[2].partition("?")[0]

    person.open(f"/reservations/{id}/names")
    person.page.locator("#f-file").set_input_files(
        {"name": "list.csv", "mimeType": "text/csv", "buffer": "name,password\nGréta,a word\nOve,\n".encode()}
    )
    person.button("Import")
    wait_for("the list", lambda: "All 2 names are on the list" in _again(person))
    person.press("To the list", "main")
    assert "gréta" in person.text()
    assert "ove (without a password)" in person.text()

    person.open(f"/reservations/{id}/vouchers")
    person.enter("count", "3")
    person.button("Make them")
    codes = person.page.locator("#f-codes").input_value().split()
    assert len(set(codes)) == 3
    with person.page.expect_download() as waiting:
        person.page.get_by_role("button", name="Download").click()
    assert Path(waiting.value.path()).read_text().split()[-3:] == codes

    receiver = desk.window(script=False, phone=True)
    sign_in(receiver, "deniz")
    receiver.open(f"/transmissions/{id}")
    receiver.enter("voucher", codes[0])
    receiver.button("Get a ticket")
    assert "Here is your ticket." in receiver.text()
    with receiver.page.expect_download() as waiting:
        receiver.page.get_by_role("link", name="Download the ticket file").click()
    assert world.register(Path(waiting.value.path()).read_text())
    receiver.open("/tickets")
    assert "admitted" in receiver.text(".cards li:has-text('Organ at noon')")

    person.open(f"/reservations/{id}/receivers")
    assert "deniz" in person.text("tbody")
    person.open(f"/reservations/{id}/statement")
    with person.page.expect_download() as waiting:
        person.page.get_by_role("link", name="CSV").click()
    rows = list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert rows[0][:3] == ["time", "kind", "receiver"]  # and nothing else: a voucher costs nothing
    assert len(rows) == 1

    person.open(f"/reservations/{id}")
    person.press("Cancel it", "main")
    person.enter("reason", "The organ is broken.")
    person.button("Cancel the reservation")
    assert "The reservation is cancelled" in person.text()
    receiver.open(f"/transmissions/{id}")
    assert "Get a ticket" not in receiver.text()

    person.press("Sign out", "header")
    assert "You are signed out." in person.text()


def _again(person: Person) -> str:
    """The page, as its refresh header has it loaded again."""
    person.page.reload()
    return person.text()


def test_a_receiver_redeems_pays_in_and_sees_the_money(desk: Desk, made: Made) -> None:
    person = desk.window("emil", script=False)
    person.open("/balance")
    before = cents(person)
    person.enter("code", made.worth[0].lower().replace("-", " "))
    person.button("Redeem")
    assert "The voucher's worth is on your balance." in person.text()
    assert cents(person) == before + 1000
    person.enter("code", made.worth[0])
    person.button("Redeem")
    assert person.page.locator("#trouble").count() == 1
    assert cents(person) == before + 1000

    person.enter("amount", "7.25")
    person.button("Go to the payment page")
    assert person.heading() == "Example Pay"
    person.button("Pay")
    wait_for("the payment", lambda: "It was paid and is on your balance" in _again(person))
    person.open("/balance")
    assert cents(person) == before + 1725


def cents(person: Person) -> int:
    found = re.search(r"On the balance\s+(\d+)\.(\d\d) EUR", person.text())
    assert found
    return int(found[1] + found[2])


def test_after_signing_out_nothing_is_left(desk: Desk, world: PortalWorld) -> None:
    person = desk.window(script=False)
    sign_in(person, "bert")
    person.open("/balance")
    assert "Movements" in person.text()
    (cookie,) = [one for one in person.context.cookies() if one["name"] == "__Host-gkmd-session"]
    assert cookie["httpOnly"]
    assert cookie["secure"]
    person.press("Sign out", "header")
    assert not [one for one in person.context.cookies() if "session" in one["name"]]
    person.page.go_back()
    assert "Movements" not in person.text("body")
    assert person.heading() == "Sign in"

    other = desk.window("bert", token=cookie["value"])
    other.open("/balance")
    assert other.heading() == "Sign in"
    assert "Movements" not in other.text("body")
