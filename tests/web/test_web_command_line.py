"""The commands of the platform, by the operator's socket and by the portal with an API token.

Behind both is the real platform; the way through the portal is the real one but for TCP and TLS.
"""

from __future__ import annotations

import csv
import ipaddress
import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from click.testing import CliRunner
from platform_rig import OPERATOR, PASSWORD
from portal_carrier import Carrier
from portal_rig import ORIGIN, SETTINGS, START, Site

from gkmd.api import requests as q
from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.cli import desk, names_import, remote
from gkmd.cli.main import main
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import Cost, hash_password
from gkmd.daemon.platform_service import decoded

EVERY_SCOPE = ("read", "reserve", "tickets", "billing")


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(settings=replace(SETTINGS, server_addresses=(ipaddress.ip_address("192.0.2.1"),)))
    yield made
    made.close()


class Desk:
    """What one person types. ``socket`` says whether it goes by the control socket, as the operator."""

    def __init__(self, *options: str) -> None:
        self.options = options

    def text(self, *words: str, status: int = 0, typed: str = "") -> str:
        done = CliRunner().invoke(main, [*words, *self.options], input=typed, catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.output.rstrip("\n")

    def json(self, *words: str) -> Any:
        return json.loads(self.text(*words, "--json"))


@pytest.fixture
def operator(site: Site, monkeypatch: pytest.MonkeyPatch) -> Desk:
    class Socket:
        """The control socket's client, without the socket."""

        def __init__(self, path: Path) -> None:
            assert path == Path("/made/up.sock")

        def __enter__(self) -> Socket:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def call(self, operation: str, request: dict[str, Any], *, token: str = "") -> Any:
            assert token == ""
            try:
                typed = decoded(OPERATIONS[operation], request)
            except Problem as problem:
                site.rig.end(
                    site.rig.platform.malformed(OPERATIONS[operation], OPERATOR, problem, site.rig.now)
                )
                raise
            return json.loads(msgspec.json.encode(site.rig.do(operation, typed, OPERATOR)))

    monkeypatch.setattr(desk, "ControlClient", Socket)
    return Desk("-s", "/made/up.sock")


@pytest.fixture
def person(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Desk]:
    """A new user's desk: the portal, with a token in a file."""
    monkeypatch.setattr(remote, "opener", lambda context, line: cast(Any, Carrier(site)))

    def make(login: str, *roles: str, scopes: tuple[str, ...] = EVERY_SCOPE) -> Desk:
        file = tmp_path / f"{login}.token"
        file.touch(0o600)
        file.write_text(site.token(login, *scopes, roles=roles) + "\n")
        return Desk("--portal", ORIGIN, "--token-file", str(file))

    return make


Person = Callable[..., Desk]
NEW = ("reserve", "new", "Opera", "--start", START, "--duration", "90m")


def test_a_reservation_from_the_booking_to_the_end(person: Person) -> None:
    ann = person("ann", "sender")
    assert ann.text(*NEW, "--names", "--check") == "all good"
    assert ann.text("reserve", "list") == "no reservations"
    assert "duration" in ann.text(*NEW[:5], "--duration", "1y", "--open", status=1)
    wrong = ann.text(
        "reserve",
        "new",
        "x",
        "--start",
        "2020-01-01T00:00",
        "--duration",
        "1h",
        "--open",
        "--check",
        status=1,
    )
    assert wrong.startswith("start: ")
    vague = ("reserve", "new", "x", "--start", "soon", "--duration", "1h", "--open", "--check")
    assert ann.text(*vague, status=1).startswith("start: 'soon' is no time; 2026-12-24T18:00 is one")
    made = ann.json(
        *NEW, "--names", "--price", "2.50 EUR", "--host", "studio", "--host", "hall,fqdn:tx.example"
    )
    id = made["id"]
    assert made["duration"] == 5400
    assert made["senders"] == [{"label": "studio"}, {"label": "hall", "identity": "fqdn:tx.example"}]
    ways = [{name: value for name, value in way.items() if value} for way in made["admission"]["any"]]
    assert ways == [{"names": True}, {"price": {"amount": 250, "currency": "EUR"}}]
    shown = dict(line.split(maxsplit=1) for line in ann.text("reserve", "show", id).splitlines())
    assert shown["admission"] == "names on the list, or who pays 2.50 EUR"
    assert (shown["id"], shown["state"], shown["capacity"]) == (id, "coming", "no limit")
    changed = ann.json("reserve", "change", id, "--duration", "2h", "--capacity", "7", "--open")
    assert (changed["duration"], changed["capacity"], changed["version"]) == (7200, 7, 2)
    assert changed["admission"]["open"] is True
    assert changed["title"] == "Opera"
    assert [one["id"] for one in ann.json("reserve", "list", "--state", "coming")] == [id]
    assert ann.json("reserve", "list", "--state", "over") == []
    assert ann.text("reserve", "cancel", id, typed="n\n", status=1).endswith("Aborted!")
    assert ann.text("reserve", "cancel", id, "--yes", "--reason", "rain") == f"{id}: cancelled"


@pytest.mark.parametrize(
    ("words", "why", "action", "field"),
    [
        ((*NEW, "--price", "2.505 EUR"), "2.505", "reserve", "admission.price"),
        ((*NEW, "--open", "--time-zone", "Mars/Olympus"), "Mars/Olympus", "reserve", "time_zone"),
        ((*NEW[:5], "--duration", "90", "--open"), "90 of what?", "reserve", "duration"),
        (NEW, "say who is admitted", "reserve", "admission"),
        (("reserve", "change", "r-1", "--lead", "soon"), "no duration", "reservation-change", "lead"),
        (("ticket", "get", "t-1", "--pay", "1.001 EUR"), "1.001", "ticket-issue", "most"),
    ],
)
def test_what_does_not_do_leaves_a_line_by_either_way(
    site: Site, person: Person, operator: Desk, words: tuple[str, ...], why: str, action: str, field: str
) -> None:
    ann = person("ann", "sender")
    assert why in ann.text(*words, status=1)
    owner = ("--owner", "ann") if words[:2] == NEW[:2] else ()
    assert why in operator.text(*words, *owner, status=1)
    lines = site.rig.audit_lines(action)
    assert [one.detail["refused"] for one in lines] == ["invalid"] * 2
    assert [one.detail["fields"] for one in lines] == [[field]] * 2
    account = site.rig.platform.accounts.by_login("ann")
    assert account is not None
    assert [one.actor for one in lines] == [account.id, "unix:0"]


def test_a_list_of_names(site: Site, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cheap(password: SecretBytes, rng: Rng) -> str:
        return hash_password(password, rng, Cost(8, 1, 1))

    monkeypatch.setattr(names_import, "hash_password", cheap)
    ann, file = person("ann", "sender"), tmp_path / "names.csv"
    id = ann.json(*NEW, "--names")["id"]
    file.write_text("name,password\nbob,a word\neve\n")
    assert ann.text("reserve", "names", "import", id, str(file)) == f"{id}: 2 names are on the list"
    file.write_text("dora,\n")
    assert (
        ann.text("reserve", "names", "import", id, str(file), "--append") == f"{id}: 3 names are on the list"
    )
    assert ann.text("reserve", "names", "remove", id, "eve") == "eve is off the list"
    listed = ann.json("reserve", "names", "list", id)
    assert [(one["name"], one["password"]) for one in listed] == [("bob", True), ("dora", False)]
    file.write_text("carl,x\n,y\n")
    assert f"{file}:2: " in ann.text("reserve", "names", "import", id, str(file), status=1)
    file.write_bytes(b"carl\xff,x\n")
    assert "not UTF-8" in ann.text("reserve", "names", "import", id, str(file), status=1)
    assert [one.detail for one in site.rig.audit_lines("names-abort")] == [{"broken": 1}] * 2
    assert len(ann.json("reserve", "names", "list", id)) == 2
    # What is refused in the middle is given up as a whole, and the reason is told.
    file.write_text('carl,"$argon2id$v=19$m=4194304,t=99,p=1$c2FsdHNhbHQ$AAAA"\n')
    assert "entries.0.verifier: " in ann.text("reserve", "names", "import", id, str(file), status=1)
    assert len(ann.json("reserve", "names", "list", id)) == 2


def test_a_receiver_pays_and_the_books_agree(operator: Desk, person: Person, tmp_path: Path) -> None:
    ann, bob = person("ann", "sender"), person("bob")
    assert (
        operator.text("user", "change", "bob", "--confirm", "--class", "gold")
        .splitlines()[0]
        .startswith("id ")
    )
    id = ann.json(*NEW, "--price", "2.50 EUR", "--vouchers")["id"]
    (code,) = ann.text("reserve", "vouchers", "new", id, "--count", "1").splitlines()
    (batch,) = ann.json("reserve", "vouchers", "list", id)
    assert (batch["count"], batch["used"]) == (1, 0)
    (offer,) = bob.json("ticket", "catalogue", "--search", "oper")
    assert offer["id"] == id
    refused = bob.text("ticket", "get", id, "--pay", "2.50 EUR", status=1)
    assert "2.50" in refused
    for _ in range(2):
        booked = operator.text("user", "credit", "bob", "10 EUR", "--reference", "cash 1").splitlines()
        assert booked[0] == "credit of 10.00 EUR for bob is booked under 'cash 1'"
        assert [line.split(maxsplit=1) for line in booked[1:]] == [
            ["balance", "10.00 EUR"],
            ["owed", "nothing"],
            ["earned", "nothing"],
        ]
    assert operator.text("user", "show", "bob").splitlines()[-3:] == booked[1:]
    assert operator.json("user", "show", "bob")["balance"]["balances"][0]["amount"] == 1000
    assert "0 is no amount of money" in operator.text(
        "user", "credit", "bob", "0 EUR", "--reference", "2", status=1
    )
    (worth,) = operator.text("ledger", "vouchers", "new", "5 EUR", "--count", "1").splitlines()
    assert bob.json("call", "voucher-redeem", json.dumps({"code": worth}))["balances"][0]["amount"] == 1500
    file = tmp_path / "opera.toml"
    bob.text("ticket", "get", id, "--pay", "2.50 EUR", "-o", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ticket = bob.json("ticket", "list")[0]
    assert ticket["id"] in file.read_text()
    assert "exists" in bob.text("ticket", "show", ticket["id"], "-o", str(file), status=1)
    assert bob.text("ticket", "show", ticket["id"]) == file.read_text().rstrip("\n")
    assert bob.text("ticket", "revoke", ticket["id"]) == f"{ticket['id']} is revoked"
    assert ann.text("reserve", "vouchers", "revoke", id, batch["batch"]) == f"{batch['batch']} is revoked"
    assert code.count("-") == 3
    assert ann.text("reserve", "receivers", id) == "nobody was admitted yet"
    assert "peak" in ann.text("reserve", "statistics", id)
    assert ann.text("statement", id).startswith(f"Opera ({id}): 0 receivers")
    assert list(csv.reader(ann.text("statement", id, "--csv").splitlines()))
    assert operator.text("ledger", "accounts").endswith("balanced")
    kinds = [entry["kind"] for entry in operator.json("ledger", "entries")]
    assert kinds == ["deposit", "voucher"]
    assert "cash 1" in operator.text("ledger", "entries")
    log = operator.json("audit", "log", "-n", "3")
    assert [line["action"] for line in log] == ["ticket-read", "ticket-revoke", "voucher-revoke"]
    assert "unbroken" in operator.text("audit", "verify")


def test_users(operator: Desk, person: Person) -> None:
    added = operator.text(
        "user", "add", "carl", "--role", "sender", "--role", "receiver", "--generate-password"
    )
    assert len(added.rsplit(maxsplit=1)[1]) == 20
    assert operator.json("user", "show", "carl")["roles"] == ["receiver", "sender"]
    assert operator.json("user", "list", "--search", "car")[0]["login"] == "carl"
    typed = f"{PASSWORD}\n{PASSWORD}\n"
    operator.text("user", "change", "carl", "--password", "--disable", typed=typed)
    assert operator.json("user", "show", "carl")["disabled"] is True
    assert "removed" in operator.text("user", "forget", "carl", "--yes")
    assert "carl" in operator.text("user", "show", "carl", status=1)
    ann = person("ann", "sender")
    assert "scope" in ann.text("user", "list", status=1)


def test_the_audit_log_by_the_portal(operator: Desk, person: Person) -> None:
    boss = person("boss", "operator", scopes=("read", "operate"))
    assert boss.json("audit", "log", "-n", "2") == operator.json("audit", "log", "-n", "2")


def test_call(operator: Desk, person: Person) -> None:
    ann = person("ann", "sender")
    assert ann.json("call", "me")["login"] == "ann"
    assert len(operator.text("call").splitlines()) == len(OPERATIONS)
    assert "no operation" in operator.text("call", "nothing", status=1)
    assert "not JSON" in operator.text("call", "me", "{", status=1)
    assert "JSON object" in operator.text("call", "me", "[]", status=1)


@pytest.mark.parametrize("url", ["http://portal.example", "portal.example", "https://a:b@portal.example"])
def test_a_token_goes_nowhere_else(url: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("gkmd_token")
    assert "--portal" in Desk("--portal", url, "--token-file", str(file)).text("call", "me", status=1)


def test_a_portal_needs_a_token(tmp_path: Path) -> None:
    assert "--token-file" in Desk("--portal", ORIGIN).text("call", "me", status=2)
    none = Desk("--portal", ORIGIN, "--token-file", str(tmp_path / "none"))
    assert "No such file" in none.text("call", "me", status=2)


@pytest.mark.parametrize(
    ("octets", "told"), [(b"", "empty"), (b"\nword\n", "empty"), (b"\xff\xfe", "not UTF-8")]
)
def test_a_file_without_a_password(operator: Desk, tmp_path: Path, octets: bytes, told: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(octets)
    words = ("ticket", "get", "opera", "--listed", "bob", "--password-file", str(file))
    assert told in operator.text(*words, status=2)


def test_a_name_of_the_list_by_a_password_in_a_file(site: Site, person: Person, tmp_path: Path) -> None:
    id = site.reserve(admission={"names": True}).id
    begun = site.rig.do("names-begin", q.ById(id), OPERATOR).import_id
    verifier = hash_password(b"a word", cost=Cost(8, 1, 1))
    site.rig.do("names-add", q.NamesAdd(id, begun, (q.NameEntry("bobby", verifier),)), OPERATOR)
    site.rig.do("names-commit", q.NamesCommit(id, begun, 1), OPERATOR)
    bob, file = person("bob"), tmp_path / "password"
    file.write_text("a word\n")
    words = ("ticket", "get", id, "--listed", "bobby")
    assert bob.json(*words, "--password-file", str(file))["transmission"]["id"] == id
    assert bob.text(*words, typed="another\n", status=1)
