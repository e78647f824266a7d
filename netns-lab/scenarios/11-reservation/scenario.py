"""A reserved transmission: browser, list, voucher, balance, start, live page, end, statement."""

from __future__ import annotations

import functools
import math
import re
import secrets
import sys
import time
from pathlib import Path

from lab.browser import Browser, Window
from lab.keying import DATA_PORT
from lab.platform import PlatformServer, Portal, Viewer, save
from lab.scenario import Lab

SECONDS = 2400
MEMORY = "3G"
# Seconds. Where three users take longer than SIGN_IN to sign in and to pay, the other times are longer, too.
SIGN_IN = 90
AHEAD = 120  # from the reservation to the start
LASTS = 75
LEAD = 25
PRICE, FEE = 250, 13  # 2.50 EUR; 5 per cent, rounded half up
RATE = 50
BANK_PORT = 8700
ADMITTED = ("listed", "voucher", "balance")
REFUSED = ("unlisted", "wrongword")
USERS = dict.fromkeys(("voucher", "balance", "unlisted"), "receiver")
USERS |= {"operator": "operator", "sender": "sender"}
WORDS = {name: secrets.token_urlsafe(12) for name in (*USERS, "listed")}


def scenario(lab: Lab) -> None:
    lab.step("A key server with a platform, its portal, a payment provider, a desk with a browser")
    net = lab.network("gcks", "bank", "desk", "sender", *ADMITTED, *REFUSED)
    lab.watch_keys(net["sender"], *(net[name] for name in ADMITTED))
    server, portal = PlatformServer(lab, net["gcks"]), None
    secret, order_secret = (
        save(net["gcks"].run / name, secrets.token_hex(32).encode())
        for name in ("bank.secret", "order.secret")
    )
    server.configure_platform(
        {"pools": ["239.77.11.0/24"], "fee": "5"},
        [{"name": "bank", "kind": "webhook", "secret_file": secret}],
    )
    server.start()
    portal = Portal(lab, server)
    bank = f"http://{net['bank'].ipv4}:{BANK_PORT}"
    payments = {"name": "bank", "kind": "webhook", "url": f"{bank}/payments", "secret_file": order_secret}
    portal.configure([payments])
    portal.start()
    provider = lab.repo / "tests" / "platform" / "provider_process.py"
    listen = f"{net['bank'].ipv4}:{BANK_PORT}"
    bank_process = net["bank"].start(
        "bank",
        [
            sys.executable,
            str(provider),
            "--secret-file",
            secret,
            "--order-secret-file",
            order_secret,
            "--listen",
            listen,
            "--ca",
            portal.authority,
        ],
    )
    for name, role in USERS.items():
        server.call("user-add", login=name, password=WORDS[name], roles=[role], name=f"The {name}")

    viewers = {name: Viewer(lab, net[name]) for name in ("sender", *ADMITTED, *REFUSED)}
    by_ticket = ("sender", "voucher", "balance")
    for name in by_ticket:  # they wait for a ticket file to appear in their folder
        viewers[name].configure_tickets(when="always")
        viewers[name].start(wait=False)
    began = time.monotonic()
    with Browser(net["desk"], lab.artefacts / "pictures") as browser:
        lab.step("A receiver pays into a balance at the provider's page; the sender and another one sign in")
        # One sees it by night, one on a phone without JavaScript.
        sender, operator = browser.window(portal.url), browser.window(portal.url)
        payer = browser.window(portal.url, dark=True)
        phone = browser.window(portal.url, script=False, phone=True)
        for window, name in ((sender, "sender"), (payer, "balance"), (phone, "voucher")):
            sign_in(window, name)
        pay_in(lab, payer)
        for name in by_ticket:
            viewers[name].wait_ready()
        slower = min(max(1.0, (time.monotonic() - began) / SIGN_IN), 5.0)
        ahead, lasts, lead = (math.ceil(slower * seconds) for seconds in (AHEAD, LASTS, LEAD))

        lab.step(f"The sender reserves a transmission that begins in {ahead} seconds")
        id, starts = reserve(lab, sender, server, ahead, lasts, lead)
        view = server.call("reservation-show", id=id)
        group, ends = view["address"], starts + lasts

        lab.step("A list with a name and a password; vouchers; three tickets; and two who will be refused")
        codes = make_lists(lab, sender, id)
        viewers["sender"].take(sender_ticket(sender, id))
        viewers["voucher"].take(by_voucher(phone, codes[0]))
        viewers["balance"].take(by_consent(payer, id))
        join = {"name": id, "address": group, "port": DATA_PORT}
        viewers["listed"].configure_name(server, "listed@lab", WORDS["listed"], join)
        viewers["wrongword"].configure_name(server, "listed@lab", "not that word", join)
        viewers["unlisted"].configure_name(server, "unlisted", WORDS["unlisted"], join)
        (wire,) = lab.capture(net.switch)
        for name in ("listed", *REFUSED):
            viewers[name].start(wait=False)
        early = lab.wait_for(
            "an early one is told when to come back",
            lambda: viewers["voucher"].events("registration-refused"),
        )
        lab.check("too early: the reason", "not-yet-open", early[0].get("why"))
        # It says so in tenths of seconds, after it has read the answer.
        back = early[0]["time"] + early[0]["again_in"] - (starts - lead)
        lab.check("too early: comes back within 10 seconds of the opening", True, -0.1 <= back <= 10 or back)

        lab.step("The start")
        receivers = {name: lab.receive(net[name], group, DATA_PORT) for name in (*ADMITTED, *REFUSED)}
        net.wait_for_members(group, list(receivers))
        for name in ("sender", *ADMITTED):
            viewers[name].wait_joined(id, within=max(60.0, starts - time.time() + 30))
        # Who was in before the sender has its SA by a rekey.
        lab.wait_for("an SA that the sender sends on", lambda: viewers["sender"].sending_on(id))
        for name in ADMITTED:
            lab.wait_for(f"the sender's SA at {name}", lambda name=name: data_sas(viewers[name], id))  # type: ignore[misc]
        lab.at_least("registered before the start, seconds", 0, starts - time.time())
        wait_until(lab, starts)
        stream = lab.send(net["sender"], group, DATA_PORT, rate=RATE)
        lab.wait_for("packets at all three", lambda: all(receivers[n].total() > 20 for n in ADMITTED))

        lab.step("The sender looks at its page")
        sender.open(f"/reservations/{id}/live")
        shown = lab.wait_for(
            "three receivers on the live page",
            lambda: figures(sender).get("receivers now") == "3" and figures(sender),
        )
        sender.picture("live")
        lab.check("the live page: receivers in all", "3", shown["in all"])
        lab.check("the live page: collected", "2.50 EUR", shown["collected"])
        for name, wanted in zip(REFUSED, ("payment-required", "login refused: wrong-password"), strict=True):
            told = functools.partial(reasons, viewers[name])
            lab.check_soon(
                f"{name}: told why", True, lambda told=told, wanted=wanted: wanted in told() or told()
            )  # type: ignore[misc]
        while_it_lasts = stream.sent
        pictures(sender, operator, id)

        lab.step("The end")
        if time.time() < ends - 10:
            wait_until(lab, ends - 10)
            while_it_lasts = stream.sent
        wait_until(lab, ends)
        lab.check_soon("state", "over", lambda: server.call("reservation-show", id=id)["state"])
        for name in ADMITTED:
            lab.check_soon(
                f"{name}: SAs after the end", "", lambda name=name: net[name].ip("xfrm state").strip()
            )  # type: ignore[misc]
        before = {name: receivers[name].total() for name in ADMITTED}
        time.sleep(3)
        lab.check("datagrams after the end", before, {name: receivers[name].total() for name in ADMITTED})
        final = stream.stop()
        for receiver in receivers.values():
            receiver.stop()
        for name in ADMITTED:
            account = receivers[name].account(stream.stream)
            lab.check(f"{name}: first packet", 0, account["first"])
            lab.at_least(f"{name}: last packet", while_it_lasts - 1, account["last"])
            lab.check(f"{name}: lost in between", [], account["missing"])
            lab.check(f"{name}: duplicated", 0, account["duplicated"])
        for name in REFUSED:
            lab.check(f"{name}: datagrams", 0, receivers[name].total())
            lab.check(f"{name}: SAs in its kernel", "", net[name].ip("xfrm state").strip())
        found = lab.judge_wire(wire, [DATA_PORT], what="the wire")
        # The sender may hear of the end a moment after a receiver.
        lab.at_least("the wire: ESP packets, of those received", receivers["listed"].total(), found.esp)
        lab.at_most("the wire: ESP packets, of those sent", final["sent"], found.esp)
        lab.figures(
            "The stream", ["sent", *ADMITTED], [[final["sent"], *(receivers[n].total() for n in ADMITTED)]]
        )

        lab.step("The statement, the books, the audit log")
        statement = server.gkmd("statement", id)
        (total,) = statement["totals"]
        lab.check("statement: receivers", 3, statement["receivers"])
        lab.check(
            "statement: gross, fees, net",
            (PRICE, FEE, PRICE - FEE),
            (total["gross"], total["fees"], total["net"]),
        )
        ledger = server.gkmd("ledger", "accounts")
        lab.check("the ledger balances", True, ledger["balanced"])
        balances = {row["account"].partition(":")[0]: row["balance"] for row in ledger["accounts"]}
        lab.check(
            "the ledger: bank, balance, earned, fees",
            (1000, PRICE - 1000, FEE - PRICE, -FEE),
            tuple(balances.get(name) for name in ("provider", "balance", "earned", "fees")),
        )
        lab.check("the audit log's chain", None, server.gkmd("audit", "verify")["broken"])
        actions = [line["action"] for line in server.gkmd("audit", "log", "-n", "500")]
        lab.at_least("audit: admissions", 3, sum(one in ("admit", "admitted") for one in actions))
        sender.open(f"/reservations/{id}/statement")
        sender.picture("statement")
        lab.check("errors in the browser", [], sender.errors + operator.errors)

    lab.step("Everybody ends")
    for viewer in viewers.values():
        viewer.stop()
    portal.stop()
    server.stop()
    bank_process.kill()


def wait_until(lab: Lab, instant: float) -> None:
    while (left := instant - time.time()) > 0:
        lab.progress(f"{left:.0f} seconds to go")
        time.sleep(min(left, 15))


def sign_in(window: Window, name: str) -> None:
    window.open("/sign-in")
    window.enter("login", name)
    window.enter("password", WORDS[name])
    window.press("Sign in", "main")


def data_sas(viewer: Viewer, id: str) -> list[object]:
    return [row for row in viewer.ask("sas", group=id) if row["kind"] == "esp"]


def reasons(viewer: Viewer) -> list[str]:
    """Why it was refused, each time."""
    told = viewer.events("registration-refused") + viewer.events("connect-failed")
    return [str(event.get("why") or event["reason"]) for event in told]


def reserve(
    lab: Lab, window: Window, server: PlatformServer, ahead: int, lasts: int, lead: int
) -> tuple[str, float]:
    """The reservation's id and start."""
    window.open("/reservations/new")
    starts = float(int(time.time()) + ahead)
    window.enter("title", "Evening concert")
    window.enter("description", "Live from the lab.")
    window.enter("start", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(starts)))
    window.enter("time_zone", "UTC")
    window.enter("duration", f"{lasts}s")
    window.enter("lead", f"{lead}s")
    window.enter("port", str(DATA_PORT))
    window.enter("senders", "studio")
    for way, wanted in (("open", False), ("names", True), ("price", True), ("vouchers", True)):
        window.tick("ways", way, wanted)
    window.enter("price", "2.50")
    window.picture("reserve")
    window.press("Reserve", "main")
    window.picture("reservation")
    (only,) = server.call("reservation-list")["reservations"]
    lab.check("reserved: title, state", ("Evening concert", "coming"), (only["title"], only["state"]))
    lab.check("reserved: start", starts, only["starts"])
    return str(only["id"]), starts


def make_lists(lab: Lab, window: Window, id: str) -> list[str]:
    """A list of one name with a password, and three vouchers; their codes."""
    window.open(f"/reservations/{id}/names")
    window.enter("lines", f"listed@lab,{WORDS['listed']}\nsomebody@lab,{secrets.token_urlsafe(9)}")
    window.picture("names-import")
    window.press("Import", "main")
    lab.wait_for("the list", lambda: "All 2 names are on the list" in window.text())
    window.picture("names-imported")
    window.open(f"/reservations/{id}/vouchers")
    window.enter("count", "3")
    window.press("Make them", "main")
    codes = window.page.locator("#f-codes").input_value().split()
    lab.check("vouchers", 3, len(codes))
    window.picture("vouchers")
    return codes


def sender_ticket(window: Window, id: str) -> str:
    window.open(f"/reservations/{id}")
    window.press("Ticket for studio", "main")
    window.picture("sender-ticket")
    return window.page.locator("pre.secret").inner_text()


def pay_in(lab: Lab, window: Window) -> None:
    """Ten euro, at the provider's own page."""
    window.open("/balance")
    window.enter("amount", "10.00")
    window.picture("balance")
    window.press("Go to the payment page", "main")
    window.picture("provider")
    window.press("Pay", "main")
    lab.wait_for("the payment", lambda: "It was paid" in window.text())
    window.picture("paid")


def by_voucher(window: Window, code: str) -> str:
    """The ticket file of who has a voucher."""
    window.open("/transmissions")
    window.picture("catalogue")
    window.press("Evening concert", "main")
    window.enter("voucher", code)
    window.picture("transmission")
    window.press("Get a ticket", "main")
    window.picture("ticket")
    return download(window)


def by_consent(window: Window, id: str) -> str:
    """The ticket file of who agrees to pay."""
    window.open(f"/transmissions/{id}")
    window.tick("pay", "on", True)
    window.picture("transmission-dark")
    window.press("Get a ticket", "main")
    return download(window)


def download(window: Window) -> str:
    with window.page.expect_download() as waiting:
        window.page.get_by_role("link", name="Download the ticket file").click()
    return Path(waiting.value.path()).read_text()


def figures(window: Window) -> dict[str, str]:
    """What stands in large figures on the live page."""
    items = window.page.locator("ul.figures li").all_inner_texts()
    found = [
        re.match(r"\s*(.*?)\s+(receivers now|at the peak|in all|senders|rekeys|collected)\s*$", one, re.S)
        for one in items
    ]
    return {one[2]: one[1] for one in found if one}


def pictures(sender: Window, operator: Window, id: str) -> None:
    """Some other pages, as their users see them in the middle of a transmission."""
    for name, path in (
        ("reservation-on", f"/reservations/{id}"),
        ("receivers", f"/reservations/{id}/receivers"),
    ):
        sender.open(path)
        sender.picture(name)
    sign_in(operator, "operator")
    for name in ("members", "ledger"):
        operator.open(f"/operator/{name}")
        operator.picture(f"operator-{name}")
