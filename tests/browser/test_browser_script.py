"""What JavaScript adds: checks while a form is filled in, progress, the live page, help for the keyboard."""

from __future__ import annotations

import re

from believable import Made
from portal_world import PortalWorld, wait_for
from test_browser_plain import start
from windows import Desk, Person

_INK = """() => {
  const chart = document.querySelector("#chart canvas");
  if (!chart) return 0;
  const data = chart.getContext("2d").getImageData(0, 0, chart.width, chart.height).data;
  return data.filter((value, at) => at % 4 === 3 && value > 0).length;
}"""
_FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one), place = one.getBoundingClientRect();
  return [one.textContent.trim() || one.name || one.id, parseFloat(style.outlineWidth) || 0,
    place.width > 0 && place.height > 0 && place.right > 0 && place.bottom > 0];
}"""


def begin(person: Person, title: str, **more: str) -> None:
    person.open("/reservations/new")
    person.enter("title", title)
    person.enter("start", start(86_400))
    person.tick("ways", "open", True)
    for name, value in more.items():
        person.enter(name, value)


def test_conflicts_are_shown_while_the_form_is_filled_in(desk: Desk) -> None:
    person = desk.window("concerts")
    begin(person, "The first", address="239.192.88.1")
    person.button("Reserve")
    begin(person, "The second", address="239.192.88.1")
    place = person.page.locator("#check")
    person.page.locator("[name=port]").focus()
    place.get_by_role("link", name="address").wait_for()
    person.enter("address", "239.192.88.2")
    person.page.locator("[name=port]").focus()
    place.get_by_text("It can be reserved at 239.192.88.2").wait_for()
    assert person.page.url.endswith("/reservations/new")
    assert person.faults() == []


def test_a_double_click_reserves_once(desk: Desk, world: PortalWorld) -> None:
    person = desk.window("concerts")
    begin(person, "Twice clicked")
    with person.page.expect_navigation(url=re.compile("done=reserved")):
        person.page.locator("main").get_by_role("button", name="Reserve").dblclick(no_wait_after=True)
    # The second click's answer may come after the first one's page.
    person.page.wait_for_load_state("networkidle")
    assert titles(world).count("Twice clicked") == 1
    # Back, and sent again: still the one, and its page.
    where = person.page.url
    person.page.go_back()
    person.button("Reserve")
    assert person.page.url == where
    assert titles(world).count("Twice clicked") == 1
    # What was changed is another one.
    person.page.wait_for_load_state("networkidle")
    person.page.go_back()
    person.enter("title", "Another")
    person.button("Reserve")
    assert titles(world).count("Another") == 1


def titles(world: PortalWorld) -> list[str]:
    return [one["title"] for one in world.call("reservation-list", limit=500)["reservations"]]


def test_the_progress_of_an_import(desk: Desk, made: Made) -> None:
    person = desk.window("concerts")
    person.open(f"/reservations/{made['final']}/names")
    person.enter("lines", "\n".join(f"guest {number},word {number}" for number in range(40)))
    person.button("Import")
    loads: list[str] = []
    person.page.on("framenavigated", lambda frame: loads.append(frame.url))
    person.page.get_by_text("All 40 names are on the list").wait_for()
    assert loads == []  # the part of the page, not the page
    assert person.faults() == []
    person.press("To the list", "main")
    assert "40 names" in person.text()

    person.enter("lines", "fine,word\n,nameless")
    person.button("Import")
    person.page.get_by_text("Nothing was imported").wait_for()
    assert "line 2" in person.text()
    assert person.faults() == []


def test_the_live_page_lives(desk: Desk, world: PortalWorld, made: Made) -> None:
    person = desk.window("concerts")
    person.open(f"/reservations/{made['concert']}/live")
    now, total = (int(person.text(f"[data-live={name}]")) for name in ("now", "total"))
    wait_for("the chart", lambda: person.page.evaluate(_INK) > 100)
    before = person.page.evaluate("performance.timeOrigin")
    assert world.register(made.late)
    wait_for("one more", lambda: int(person.text("[data-live=total]")) == total + 1)
    assert int(person.text("[data-live=now]")) == now + 1
    assert person.page.evaluate("performance.timeOrigin") == before
    assert "4.50 EUR" in person.text("[data-live=money]")
    person.page.get_by_text("The joins as a table").click()
    cells = person.page.locator("#joins td").all_inner_texts()
    assert sum(map(int, cells)) == total + 1
    assert person.page.evaluate(_INK) > 100
    assert person.faults() == []


def test_by_keyboard(desk: Desk) -> None:
    person = desk.window("concerts")
    person.open("/reservations/new")
    page = person.page
    page.keyboard.press("Tab")
    assert page.evaluate(_FOCUS)[0] == "Skip to the content"
    assert page.evaluate(_FOCUS)[2]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    stops = []
    for _ in range(12):
        page.keyboard.press("Tab")
        name, outline, seen = page.evaluate(_FOCUS)
        assert outline >= 2, name
        assert seen, name
        stops.append(name)
    assert stops[:3] == ["title", "description", "start"]

    person.enter("title", "Wrong")
    person.enter("duration", "soon")
    page.locator("[name=duration]").press("Enter")
    page.locator("#trouble:focus").wait_for()
    assert "is no duration" in person.text("#trouble")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for("the way to the field", lambda: page.evaluate("location.hash") == "#f-duration")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") in ("duration", "lead")
    assert person.faults() == []


def test_forms_with_errors(desk: Desk, made: Made) -> None:
    person = desk.window("carla")
    person.open(f"/transmissions/{made['concert']}")
    person.enter("voucher", "XXXX-XXXX-XXXX-XXXX")
    person.button("Get a ticket")
    assert person.heading() == "Evening concert"
    assert person.page.locator("#trouble").count() == 1
    assert person.faults() == []
    person.open("/account")
    for name in ("old", "new", "again"):
        person.enter(name, "not the password")
    person.button("Change the password")
    assert person.page.locator("#trouble").count() == 1
    assert person.faults() == []

    operator = desk.window("olga")
    operator.open("/operator/users/bert")
    operator.enter("amount", "a lot")
    operator.button("Book")
    assert operator.page.locator("#trouble").count() == 1
    assert operator.faults() == []
    operator.open("/operator/audit")
    operator.button("Verify the chain")
    assert "fit together" in operator.text()
    assert operator.faults() == []


def test_pages_that_only_forms_lead_to(desk: Desk, made: Made) -> None:
    sender = desk.window("concerts")
    sender.open(f"/reservations/{made['concert']}")
    sender.button("Ticket for studio")
    assert "gkmd member --ticket" in sender.text()
    assert sender.faults() == []
    sender.open("/account")
    sender.enter("name", "archive")
    sender.tick("scopes", "read", True)
    sender.button("Make the token")
    assert sender.heading() == "New API token"
    assert sender.faults() == []
    operator = desk.window("olga")
    operator.open("/operator/vouchers")
    operator.enter("amount", "5")
    operator.enter("count", "4")
    operator.button("Make them")
    assert operator.heading() == "4 vouchers"
    assert operator.faults() == []


def test_the_clock_of_the_page_is_not_needed(desk: Desk, made: Made) -> None:
    """Times are written in the transmission's own zone, whatever the browser's is."""
    person = desk.window("anna")
    person.open(f"/transmissions/{made['concert']}")
    shown = person.page.locator("dl.facts time").first
    local, exact = shown.inner_text(), shown.get_attribute("datetime")
    assert exact is not None
    assert local.rsplit(" ", 1)[1] in ("CET", "CEST")
    hours = 2 if local.endswith("CEST") else 1
    assert (int(local.split()[1][:2]) - int(exact[11:13])) % 24 == hours
