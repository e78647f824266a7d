"""What is on Harbour Television: users, transmissions of every state, receivers, money. ``fill`` makes it."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Callable, Sequence
from typing import Any

from portal_world import PASSWORD, PortalWorld

from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import Cost, hash_password

ZONE = "Europe/Berlin"
DAY = 86_400.0
CREDIT = {"credit_limit": {"amount": 5000, "currency": "EUR"}}
PEOPLE: dict[str, dict[str, Any]] = {
    "olga": {"name": "Olga Brandt", "roles": ["operator"]},
    "concerts": {"name": "City Concert Hall", "roles": ["sender", "receiver"]},
    "council": {"name": "Council press office", "roles": ["sender"]},
    "anna": {"name": "Anna Lindqvist", "classes": ["season"]},
    "bert": {"name": "Bert Okafor", "classes": ["season", "press"]},
    "carla": {"name": "Carla Moreau", **CREDIT},
    "deniz": {"name": "Deniz Aydın"},
    "emil": {"name": ""},
    "gina": {"name": "Gina Rossi"},
    "hanna.vogt": {"name": "Hanna Vogt", **CREDIT},
    "ivan": {"name": "Ivan Petrov", **CREDIT},
    "jonas": {"name": "Jonas Weber", **CREDIT},
    "kirsten": {"name": "Kirsten Dahl", **CREDIT},
    "liam": {"name": "Liam Byrne", **CREDIT},
    "maria.s": {"name": "Maria Silva", **CREDIT},
    "noor": {"name": "Noor Haddad", **CREDIT},
}
CROWD = ("hanna.vogt", "ivan", "jonas", "kirsten", "liam", "maria.s", "noor")
HOSTS = [{"label": "studio"}, {"label": "backup", "identity": "fqdn:tx2.hall.example"}]
NAMES = ("ingrid.holm@harbour.example", "season-ticket-0417", "Müller, Jörg", "press box 3")
LONG_TITLE = (
    "Regional council, 14th public session: budget of the coming year, questions of the citizens, "
    "and the plan of the new tram line along the harbour"
)


class Made:
    """Ids of the reservations, by short names; ``codes`` of vouchers; ``late``: a receiver's ticket file."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.codes: list[str] = []
        self.worth: list[str] = []
        self.ticket = ""
        self.late = ""

    def __getitem__(self, name: str) -> str:
        return self.ids[name]


def hour(instant: float, more: float = 0.0) -> str:
    """The full hour before ``instant``, and ``more`` seconds, as local time with its offset: an hour that
    comes twice is good, too.
    """
    at = instant - instant % 3600 + more
    return datetime.datetime.fromtimestamp(at, zoneinfo.ZoneInfo(ZONE)).isoformat(timespec="minutes")


def euro(amount: int) -> dict[str, Any]:
    return {"price": {"amount": amount, "currency": "EUR"}}


def fill(world: PortalWorld, minutes: Sequence[float] = (), settle: Callable[[], object] = bool) -> Made:
    """Everything, beginning the day before. ``minutes``: before now, when receivers came to what is on; after
    each ``settle`` waits for the statistics, which are journalled once in a second.
    """
    made, now = Made(), world.now
    world.at(-DAY)
    # Where nobody looks at the pictures, fewer will do.
    people = {login: more for login, more in PEOPLE.items() if minutes or login not in CROWD}
    for login, more in people.items():
        world.call("user-add", login=login, password=PASSWORD, **more)
        if login != "emil":
            world.call("user-change", login=login, confirmed=True)
    for login, amount in (("anna", 4250), ("bert", 1800), ("deniz", 2000), ("gina", 1500)):
        received = {"amount": amount, "currency": "EUR"}
        booking = {"reference": f"cash desk {login}", "memo": "cash desk"}
        world.call("user-credit", login=login, amount=received, **booking)
    _reserve(world, made, now)
    _yesterday(world, made)
    _invite(world, made)
    world.tokens.clear()  # the night was long
    arrivals = ["anna", "bert", "carla", *CROWD]
    for number, before in enumerate(sorted(minutes, reverse=True)):
        world.at(-before * 60)
        for login in arrivals[number :: len(minutes)]:
            _admit(world, made, login)
        settle()
    world.at(0)
    if not minutes:
        for login in arrivals[:2]:
            _admit(world, made, login)
    sender = world.call("sender-ticket", "concerts", id=made["concert"], label="studio")
    assert world.register(sender["configuration"])
    # Deniz has agreed to the price, but has his money back by now.
    refused = world.ticket("deniz", made["concert"], most={"amount": 450, "currency": "EUR"})
    back = {"amount": {"amount": 2000, "currency": "EUR"}, "memo": "by transfer, as he wished"}
    world.call("user-pay-back", login="deniz", reference="transfer 2231", **back)
    assert not world.register(refused["configuration"], 0.6)
    made.late = str(world.ticket("emil", made["concert"], voucher=made.codes[0])["configuration"])
    made.ticket = str(world.call("ticket-list", "anna")["tickets"][0]["id"])
    return made


def _admit(world: PortalWorld, made: Made, login: str) -> None:
    agreed = {"amount": 450, "currency": "EUR"}
    ticket = world.ticket(login, made["concert"], most=agreed)
    assert world.register(ticket["configuration"])


def _reserve(world: PortalWorld, made: Made, now: float) -> None:
    def reserve(name: str, owner: str, start: str, hours: float, title: str, **more: Any) -> None:
        request = {"title": title, "start": start, "duration": int(hours * 3600), "time_zone": ZONE}
        made.ids[name] = world.call("reserve", owner=owner, **request, **more)["id"]

    reserve(
        "over", "concerts", hour(now, 3600 - DAY), 1.5, "Matinee: Haydn quartets",
        description="String quartets opus 76.", lead=7200, admission=euro(300), senders=[{"label": "hall"}],
    )  # fmt: skip
    reserve(
        "concert", "concerts", hour(now), 4, "Evening concert",
        description="Harbour Philharmonic, live from the City Concert Hall.\nWith an interval.",
        lead=900, capacity=500, senders=HOSTS,
        admission={"any": [{"names": True}, {"vouchers": True}, {"classes": ["press"]}, euro(450)]},
    )  # fmt: skip
    reserve(
        "late", "concerts", hour(now, 3600), 2, "Late show: jazz from the cellar",
        description="The house band and guests.", lead=7200, admission={"open": True},
    )  # fmt: skip
    reserve(
        "council", "council", hour(now, DAY - 36_000), 6, LONG_TITLE,
        description="Free for all.", lead=600, admission={"open": True}, senders=[{"label": "chamber"}],
    )  # fmt: skip
    reserve(
        "final", "concerts", hour(now, 2 * DAY), 2.5, "Rowing: the final",
        lead=1800, admission={"all": [{"classes": ["season"]}, euro(1200)]},
    )  # fmt: skip
    reserve(
        "board", "council", hour(now, 3 * DAY), 1, "Board meeting", visibility="private",
        family=6, admission={"identities": ["fqdn:*.council.example", "email:*@council.example"]},
    )  # fmt: skip
    reserve("cancelled", "concerts", hour(now, DAY), 3, "Open-air rehearsal", admission=euro(250))
    world.call("reservation-cancel", "concerts", id=made["cancelled"], reason="A storm is coming.")


def _yesterday(world: PortalWorld, made: Made) -> None:
    """Four came; one was sent away and got the money back."""
    for login in ("anna", "bert", "carla", "deniz"):
        ticket = world.ticket(login, made["over"], most={"amount": 300, "currency": "EUR"})
        assert world.register(ticket["configuration"])
    came = world.call("receiver-list", "concerts", id=made["over"])["receivers"]
    party = next(one["party"] for one in came if one["name"] == "deniz")
    world.call("receiver-evict", "concerts", id=made["over"], party=party, refund=True)


def _invite(world: PortalWorld, made: Made) -> None:
    id, by = made["concert"], "concerts"
    begun = world.call("names-begin", by, id=id)["import_id"]
    verifier = hash_password(SecretBytes(b"a word"), system_rng, Cost(8, 1, 1))
    entries = [{"name": name, "verifier": verifier if at else ""} for at, name in enumerate(NAMES)]
    world.call("names-add", by, id=id, import_id=begun, entries=entries)
    world.call("names-commit", by, id=id, import_id=begun, expected=len(NAMES))
    made.codes = list(world.call("voucher-create", by, id=id, count=5)["codes"])
    world.call("voucher-create", by, id=id, count=40)
    worth = {"amount": 1000, "currency": "EUR"}
    made.worth = list(world.call("value-voucher-create", amount=worth, count=5)["codes"])
    world.call("voucher-redeem", "emil", code=made.worth.pop())
