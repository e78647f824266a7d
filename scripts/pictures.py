"""scripts/pictures.py: make docs/images/*.png anew, pictures of the portal's pages, in Debian's Chromium.

The programs are the real ones, on loopback; their clocks stand at an evening in October 2026, so that the
pictures tell the same whenever they are made. Needs what `make venv` and `make system` install.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
import time
import zoneinfo
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO / part) for part in ("tests/browser", "tests/platform", "netns-lab")]

from believable import ZONE, Made, fill  # noqa: E402
from portal_world import PortalWorld, portal_world, wait_for  # noqa: E402
from windows import Desk, Person  # noqa: E402

IMAGES = REPO / "docs" / "images"
EVENING = datetime.datetime(2026, 10, 8, 20, 12, tzinfo=zoneinfo.ZoneInfo(ZONE))
CAME = (21.0, 14.0, 11.0, 10.0, 6.0)  # minutes before the picture, when receivers came
OF_SENDER = ("reservations", "reservation", "live", "receivers", "names", "vouchers")
OF_OPERATOR = ("users", "members", "ledger", "audit", "health", "vouchers")
TALLEST = 1150  # pixels of an operator's page: long lists go on as they began


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    for old in IMAGES.glob("*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory() as name:
        ahead = EVENING.timestamp() - time.time()
        with portal_world(Path(name), ahead) as world:
            made = fill(world, CAME, lambda: time.sleep(1.5))
            world.start()
            with Desk(world, IMAGES) as desk:
                strangers(desk, made)
                receivers(desk, world, made)
                sender(desk, made)
                operator(desk, made)
    for file in sorted(IMAGES.glob("*.png")):
        print(f"{file.stat().st_size / 1024:6.0f} KiB  {file.name}")


def take(person: Person, name: str, path: str = "") -> None:
    if path:
        person.open(path)
    page = person.page
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    wide, tall = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    most = TALLEST if path.startswith("/operator") else tall
    clip = {"x": 0, "y": 0, "width": wide, "height": min(tall, most)}
    page.screenshot(path=str(IMAGES / f"{name}.png"), full_page=True, clip=clip)


def strangers(desk: Desk, made: Made) -> None:
    person = desk.window()
    take(person, "on-now", "/")
    take(person, "sign-in", "/sign-in")
    take(person, "sign-up", "/sign-up")
    take(person, "not-found", "/transmissions/nothing-here")
    phone = desk.window(phone=True)
    take(phone, "phone-on-now", "/")


def receivers(desk: Desk, world: PortalWorld, made: Made) -> None:
    anna = desk.window("anna")
    take(anna, "transmissions", "/transmissions")
    take(anna, "transmission", f"/transmissions/{made['final']}")
    take(anna, "tickets", "/tickets")
    take(anna, "ticket", f"/tickets/{made.ticket}")
    anna.open("/balance")
    anna.enter("amount", "10.00")
    anna.button("Go to the payment page")
    anna.button("Pay")

    def paid() -> bool:
        anna.page.reload()
        return "It was paid" in anna.text()

    wait_for("the payment", paid)
    take(anna, "payment")
    take(anna, "balance", "/balance")
    take(anna, "ticket-revoke", f"/tickets/{made.ticket}/revoke")
    anna.open("/account")
    anna.button("Set up one-time codes")
    take(anna, "one-time-codes")
    dark = desk.window("anna", dark=True)
    take(dark, "dark-transmission", f"/transmissions/{made['final']}")
    phone = desk.window("gina", phone=True)
    phone.open(f"/transmissions/{made['concert']}")
    phone.enter("voucher", "XXXX-XXXX-XXXX-XXXX")
    take(phone, "phone-transmission")
    phone = desk.window("anna", phone=True)
    take(phone, "phone-ticket", f"/tickets/{made.ticket}")
    take(phone, "phone-balance", "/balance")
    take(anna, "account", "/account")
    anna.enter("name", "member at home")
    anna.tick("scopes", "tickets", True)
    anna.button("Make the token")
    take(anna, "token")


def sender(desk: Desk, made: Made) -> None:
    person = desk.window("concerts")
    concert = f"/reservations/{made['concert']}"
    places = ("/reservations", concert, *(f"{concert}/{part}" for part in OF_SENDER[2:]))
    for name, path in zip(OF_SENDER, places, strict=True):
        take(person, name, path)
    take(person, "statement", f"/reservations/{made['over']}/statement")
    person.open("/reservations/new")
    person.enter("title", "Organ at noon")
    person.enter("start", "2026-10-10T12:00")
    person.enter("time_zone", ZONE)
    person.enter("duration", "45m")
    for way in ("names", "price", "vouchers"):
        person.tick("ways", way, True)
    person.enter("price", "2.50")
    person.page.locator("#check").get_by_text("It can be reserved").wait_for()
    take(person, "reserve")
    person.tick("ways", "open", True)
    person.enter("duration", "soon")
    person.button("Reserve")
    person.page.set_viewport_size({"width": 1100, "height": 620})
    person.page.screenshot(path=str(IMAGES / "reserve-trouble.png"))
    person.page.set_viewport_size({"width": 1100, "height": 800})
    person.open(concert)
    person.button("Ticket for studio")
    take(person, "sender-ticket")
    take(person, "change", f"{concert}/change")
    take(person, "cancel", f"{concert}/cancel")
    person.open(f"{concert}/vouchers")
    person.enter("count", "5")
    person.button("Make them")
    take(person, "voucher-codes")
    person.open(f"{concert}/names")
    person.enter("lines", "nora@harbour.example,a good password\n,nobody")
    person.button("Import")
    wait_for("the broken line", lambda: "line 2" in person.text())
    take(person, "import-trouble")
    dark = desk.window("concerts", dark=True)
    take(dark, "dark-live", f"{concert}/live")
    phone = desk.window("concerts", phone=True)
    take(phone, "phone-live", f"{concert}/live")
    take(phone, "phone-receivers", f"{concert}/receivers")


def operator(desk: Desk, made: Made) -> None:
    person = desk.window("olga")
    for name in OF_OPERATOR:
        take(person, f"operator-{name}", f"/operator/{name}")
    take(person, "operator-user", "/operator/users/carla")
    take(person, "operator-ledger-entries", "/operator/ledger/entries")
    take(person, "operator-user-new", "/operator/users/new")
    take(person, "operator-forget", "/operator/users/carla/forget")
    take(person, "operator-reservations", "/reservations")
    phone = desk.window("olga", phone=True)
    take(phone, "phone-users", "/operator/users")


if __name__ == "__main__":
    main()
