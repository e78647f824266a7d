"""``gkmd account``, and what else of the command line speaks for one person, at a real server on loopback."""

from __future__ import annotations

import io
import ipaddress
import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pyotp
import pytest
import uvicorn
from click.testing import CliRunner
from platform_rig import OPERATOR, PASSWORD
from portal_rig import SECRET, SETTINGS, Site, portal_config
from provider_process import ProviderProcess

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.cli.main import main
from gkmd.cli.qr_code import qr_code
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.outcome import Done
from gkmd.group.platform.records import ApiToken, Payment, Session
from gkmd.group.platform.settings import ProviderSettings
from gkmd.web.config import ProviderEndpoint
from gkmd.web.connections import Limits
from gkmd.web.crowd import Crowd, Entrance
from gkmd.web.process import bind, server_config

SCOPES = ("read", "tickets", "billing")
MORE = "another passphrase of mine"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(settings=replace(SETTINGS, server_addresses=(ipaddress.ip_address("192.0.2.1"),)))
    yield made
    made.close()


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    """Where the portal of ``site`` is served, by the server that serves it in earnest."""
    listening = Entrance(bind(("127.0.0.1", 0)), Crowd(Limits()))
    origin = f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await site.app(scope, receive, send)

    server = uvicorn.Server(server_config(portal_config(origin=origin), app, Limits()))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield origin
    server.should_exit = True
    thread.join()
    listening.close()


class Typing(io.RawIOBase):
    """What somebody types, line by line, each when it is asked for."""

    def __init__(self, *lines: str | Callable[[], str]) -> None:
        self._lines = list(lines)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._lines:
            return 0
        line = self._lines.pop(0)
        octets = ((line if isinstance(line, str) else line()) + "\n").encode()
        buffer[: len(octets)] = octets
        return len(octets)


def run(*words: str, typed: tuple[str | Callable[[], str], ...] = (), status: int = 0) -> Any:
    keyboard = io.BufferedReader(Typing(*typed))
    done = CliRunner().invoke(main, words, input=keyboard, catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done


class Person:
    """Somebody with an account, its password and a token in a file."""

    def __init__(self, site: Site, url: str, folder: Path, login: str) -> None:
        token = folder / f"{login}.token"
        token.touch(0o600)
        token.write_text(site.token(login, *SCOPES))
        self.by_token = ("--portal", url, "--token-file", str(token))
        self.by_password = ("--portal", url, "--login", login)

    def says(self, *words: str, status: int = 0) -> str:
        done = run(*words, *self.by_token, status=status)
        return str(done.stdout if status == 0 else done.stderr).rstrip("\n")

    def json(self, *words: str) -> Any:
        return json.loads(self.says(*words, "--json"))

    def signs_in(self, *words: str, typed: tuple[str | Callable[[], str], ...] = (PASSWORD,)) -> str:
        return str(run(*words, *self.by_password, typed=typed).stdout).rstrip("\n")


@pytest.fixture
def ann(site: Site, url: str, tmp_path: Path) -> Person:
    return Person(site, url, tmp_path, "ann")


def facts_of(text: str) -> dict[str, str]:
    return {name.strip(): value for name, _, value in (line.partition("  ") for line in text.splitlines())}


def test_a_balance_and_what_moves_it(site: Site, ann: Person) -> None:
    assert facts_of(ann.says("account", "show"))["login"].strip() == "ann"
    assert ann.says("account", "movements") == "nothing was booked yet"
    site.rig.do("user-credit", q.CreditUser("ann", Amount(1000, "EUR"), "cash"), OPERATOR)
    (code,) = site.rig.do(
        "value-voucher-create", q.CreateValueVouchers(Amount(250, "EUR"), 1), OPERATOR
    ).codes
    booked = ann.says("account", "redeem", code)
    assert {name: value.strip() for name, value in facts_of(booked).items()} == {
        "balance": "12.50 EUR",
        "to spend": "12.50 EUR",
        "owed": "nothing",
        "earned": "nothing",
    }
    assert ann.says("account", "balance") == booked
    assert [one["amount"] for one in ann.json("account", "movements")] == [250, 1000]
    assert [line.split()[3:5] for line in ann.says("account", "movements").splitlines()[1:]] == [
        ["2.50", "EUR"],
        ["10.00", "EUR"],
    ]
    assert "redeemed this code before" in ann.says("account", "redeem", code, status=1)
    assert ann.json("account", "balance")["balances"] == [{"amount": 1250, "currency": "EUR"}]


def test_paying_in(site: Site, url: str, ann: Person) -> None:
    assert ann.says("account", "payments") == "no payments"
    site.rig.now = time.time()  # the provider's clock is the host's
    with ProviderProcess(SECRET) as provider:
        endpoint = ProviderEndpoint("pay", "webhook", f"{provider.url}/payments", SecretBytes(SECRET))
        site.config = portal_config(origin=url, providers=(endpoint,))
        site.forget()
        assert "2.505" in ann.says("account", "pay", "2.505 EUR", status=1)
        told, page = ann.says("account", "pay", "2.50 EUR").splitlines()
        (payment,) = site.rig.facts(Payment)
        assert told == f"payment {payment.id} of 2.50 EUR by pay is begun"
        assert page.startswith(provider.url)
        provider.act(page, "pay")
    assert facts_of(ann.says("account", "payment", payment.id))["state"].strip() == "paid"
    assert [one["state"] for one in ann.json("account", "payments")] == ["paid"]
    assert "2.50 EUR" in ann.says("account", "balance")
    # That the provider is gone is told, and nothing is left open.
    assert "pay" in ann.says("account", "pay", "1 EUR", status=1)
    assert sorted(one.state for one in site.rig.facts(Payment)) == ["failed", "paid"]


def test_a_provider_must_be_named_where_there_are_several(site: Site, ann: Person) -> None:
    second = ProviderSettings("other", "webhook", SecretBytes(SECRET))
    site.rig.platform.adopt(replace(SETTINGS, providers=(*SETTINGS.providers, second)))
    assert "--by with one of pay, other" in ann.says("account", "pay", "1 EUR", status=1)
    assert site.rig.facts(Payment) == []
    site.rig.platform.adopt(replace(SETTINGS, providers=()))
    assert "no payment provider" in ann.says("account", "pay", "1 EUR", status=1)


def test_tokens_by_the_password(site: Site, url: str, ann: Person, tmp_path: Path) -> None:
    file, before = tmp_path / "portal.token", site.rig.facts(Session)
    words = ("account", "tokens", "new", "player", "--scope", "read", "--scope", "tickets", "-o", str(file))
    told = ann.signs_in(*words, "--days", "30")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = next(one for one in site.rig.facts(ApiToken) if one.name == "player")
    assert told == f"{file}: token {made.id}, read, tickets"
    assert "exists" in run(*words, *ann.by_password, typed=(PASSWORD,), status=1).stderr
    assert [one.name for one in site.rig.facts(ApiToken)].count("player") == 1
    new = ("--portal", url, "--token-file", str(file))
    assert json.loads(run("account", "show", "--json", *new).stdout)["login"] == "ann"
    listed = json.loads(ann.signs_in("account", "tokens", "list", "--json"))
    assert {one["name"] for one in listed} == {"test", "player"}
    assert ann.signs_in("account", "tokens", "revoke", made.id) == f"{made.id} is revoked"
    assert "not valid" in run("account", "show", *new, status=1).stderr
    shown = ann.signs_in("account", "tokens", "new", "other", "--scope", "billing")
    assert shown.startswith("gkmd_")
    assert site.rig.facts(Session) == before  # every one was signed out, the refused one too


def test_a_token_that_is_refused_leaves_no_file(site: Site, ann: Person, tmp_path: Path) -> None:
    file, before = tmp_path / "new.token", site.rig.facts(Session)
    words = ("account", "tokens", "new", "boss", "--scope", "operate", "-o", str(file))
    assert "for operators" in run(*words, *ann.by_password, typed=(PASSWORD,), status=1).stderr
    assert not file.exists()
    wrong = run("account", "tokens", "list", *ann.by_password, typed=("not this one",), status=1)
    assert "the login or the password is not right" in wrong.stderr
    assert "not this one" not in wrong.output
    assert site.rig.facts(Session) == before


def test_another_password(site: Site, ann: Person, tmp_path: Path) -> None:
    elsewhere = site.rig.sign_in("ann")
    assert ann.signs_in("account", "password", typed=(PASSWORD, MORE, MORE)) == "the password is changed"
    assert site.rig.refused("session-list", caller=elsewhere).code == "sign-in-required"
    file = tmp_path / "password"
    file.write_text(f"{MORE}\n")
    words = ("account", "sessions", "list", "--json", "--password-file", str(file))
    (session,) = json.loads(ann.signs_in(*words, typed=()))
    assert session["current"] is True
    site.rig.sign_in("ann", MORE)
    assert ann.signs_in("account", "sessions", "end", typed=(MORE,)) == "all sessions are ended"
    assert site.rig.facts(Session) == []


def test_one_time_codes(site: Site, ann: Person) -> None:
    phone: list[pyotp.TOTP] = []

    def first() -> str:
        begun = site.rig.outcome
        assert isinstance(begun, Done)
        phone.append(pyotp.TOTP(begun.result.secret))
        return phone[0].at(site.rig.now)

    def code() -> str:
        site.rig.now += 30  # each is good once
        return phone[0].at(site.rig.now)

    told = ann.signs_in("account", "codes", "on", "--qr", typed=(PASSWORD, first))
    lines = click.unstyle(told).splitlines()
    secret, uri = (line.split()[1] for line in lines[-2:])
    assert secret == phone[0].secret
    assert "\n".join(lines[:-2]) == click.unstyle(qr_code(uri))
    typed = (PASSWORD, code)
    assert json.loads(ann.signs_in("account", "tokens", "list", "--json", typed=typed))[0]["name"] == "test"
    assert "not asked for any more" in ann.signs_in("account", "codes", "off", typed=typed)
    assert "test" in ann.signs_in("account", "tokens", "list")


def test_signing_up_and_passkeys(site: Site, url: str, ann: Person) -> None:
    typed = (PASSWORD, PASSWORD)
    done = run("account", "sign-up", "bob", "--name", "Bob", "--portal", url, typed=typed)
    assert facts_of(done.stdout)["roles"].strip() == "receiver"
    assert site.rig.sign_in("bob").token
    assert ann.says("account", "passkeys", "list") == "no passkeys"
    gone = run("account", "passkeys", "remove", "pk-1", *ann.by_password, typed=(PASSWORD,), status=1)
    assert "pk-1" in gone.stderr


def test_a_ticket_as_a_qr_code(site: Site, ann: Person, tmp_path: Path) -> None:
    id = site.reserve(visibility="unlisted", description="By its link").id
    assert ann.says("ticket", "catalogue") == "nothing is on"
    about = ann.says("ticket", "transmission", id)
    assert facts_of(about)["title"].strip() == "Concert"
    assert about.endswith("\nBy its link")
    file = tmp_path / "concert.toml"
    *drawn, told = ann.says("ticket", "get", id, "--qr", "-o", str(file)).splitlines()
    assert "\n".join(drawn) == click.unstyle(qr_code(file.read_text()))
    (ticket,) = ann.json("ticket", "list")
    assert told == f"{file}: ticket {ticket['id']} for Concert"
    assert ann.says("ticket", "show", ticket["id"], "--qr").splitlines()[:-1] == drawn
    ann.says("ticket", "revoke", ticket["id"])
    assert "is revoked" in ann.says("ticket", "show", ticket["id"], "--qr", status=1)
