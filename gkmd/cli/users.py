"""``gkmd user``: accounts of senders, receivers and operators, and their money."""

from __future__ import annotations

import secrets
from typing import Any, Final

import click

from gkmd.cli.desk import Desk, desk_command, facts, money, rows
from gkmd.cli.unread import amount

_FACTS: Final = ("id", "login", "name", "roles", "classes", "confirmed", "disabled", "totp", "credit_limit")
_ROLE: Final = click.Choice(["receiver", "sender", "operator"])


@click.group()
def user() -> None:
    """Accounts: add, change and forget them; put money on their balances."""


def _password(given: bool, generate: bool) -> str | None:
    if generate:
        return secrets.token_urlsafe(15)
    if given:
        word: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return word
    return None


def _show(view: dict[str, Any]) -> str:
    return facts(view, _FACTS)


def _shared(command: Any) -> Any:
    for option in (
        click.option(
            "--credit-limit", metavar="AMOUNT", help='What it may owe by invoice, such as "50.00 EUR".'
        ),
        click.option("--class", "classes", multiple=True, metavar="CLASS", help="Pre-approved for a class."),
        click.option("--role", "roles", multiple=True, type=_ROLE, help="Several are possible."),
        click.option("--name", metavar="TEXT", help="As people know the user."),
        click.option("--generate-password", is_flag=True, help="Make a password and print it."),
        click.option("--password", is_flag=True, help="Ask for a password."),
    ):
        command = option(command)
    return command


def _request(given: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    password = _password(given.pop("password"), generated := given.pop("generate_password"))
    request: dict[str, Any] = {"password": password, "credit_limit": amount(given.pop("credit_limit"))}
    for name in ("roles", "classes"):
        several = given.pop(name)
        request[name] = list(several) if several else None
    return request | given, password if generated else None


def _told(view: dict[str, Any], password: str | None) -> str:
    return _show(view) if password is None else f"{_show(view)}\npassword  {password}"


@desk_command(user)
@click.argument("login")
@_shared
def add(desk: Desk, login: str, **given: Any) -> None:
    """Add the user LOGIN; without --role a receiver."""
    request, password = _request(given)
    view = desk.call("user-add", login=login, **request)
    desk.show(view if password is None else view | {"password": password}, lambda _: _told(view, password))


@desk_command(user)
@click.argument("login")
@click.option(
    "--disable/--enable", "disabled", default=None, help="Signs nobody in, and its tickets are void."
)
@click.option("--confirm", "confirmed", is_flag=True, default=None, help="Vouch for the login.")
@click.option("--reset-factors", is_flag=True, help="Remove one-time codes and passkeys.")
@_shared
def change(desk: Desk, login: str, **given: Any) -> None:
    """Change the user LOGIN; what is not named stays."""
    request, password = _request(given)
    view = desk.call("user-change", login=login, **request)
    desk.show(view if password is None else view | {"password": password}, lambda _: _told(view, password))


@desk_command(user, "list")
@click.option("--search", default="", metavar="TEXT", help="Only who has this in login or name.")
def list_(desk: Desk, search: str) -> None:
    """The users."""
    columns = ("login", "name", "roles", "classes", "confirmed", "disabled")
    found = desk.pages("user-list", "accounts", search=search)
    desk.show(found, lambda them: rows(them, columns, "no users"))


@desk_command(user)
@click.argument("login")
def show(desk: Desk, login: str) -> None:
    """One user."""
    view = desk.call("user-show", login=login) | {"balance": desk.call("user-balance", login=login)}
    desk.show(view, lambda view: f"{_show(view)}\n{_money(view['balance'])}")


@desk_command(user)
@click.argument("login")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(desk: Desk, login: str, yes: bool) -> None:
    """Forget the user LOGIN: name, passwords, tickets. The books keep a number without a name."""
    if not yes:
        click.confirm(f"Forget {login} for good?", abort=True)
    desk.show(
        desk.call("user-forget", login=login),
        lambda view: "\n".join(
            [f"removed: {one}" for one in view["removed"]] + [f"kept: {one}" for one in view["kept"]]
        ),
    )


def _money(view: dict[str, Any]) -> str:
    found = {name: _amounts(view[name]) for name in ("balances", "owed", "earned")}
    return facts({"balance": found.pop("balances"), **found}, ("balance", "owed", "earned"))


def _amounts(several: list[dict[str, Any]]) -> str:
    return ", ".join(money(one) for one in several if one["amount"]) or "nothing"


def _movement(operation: str, name: str, text: str) -> None:
    @desk_command(user, name)
    @click.argument("login")
    @click.argument("value", metavar="AMOUNT")
    @click.option(
        "--reference", required=True, metavar="TEXT", help="The same reference again changes nothing."
    )
    @click.option("--memo", default="", metavar="TEXT", help="A note for the ledger.")
    def move(desk: Desk, login: str, value: str, reference: str, memo: str) -> None:
        given = amount(value)
        result = desk.call(operation, login=login, amount=given, reference=reference, memo=memo)
        booked = f"{name} of {money(given)} for {login} is booked under {reference!r}"
        desk.show(result, lambda view: f"{booked}\n{_money(view)}")

    move.help = text


_movement("user-credit", "credit", "Put money that was received on LOGIN's balance.")
_movement("user-pay-back", "pay-back", "Money of LOGIN's balance was paid back, or a credit was a mistake.")
_movement("user-settle", "settle", "LOGIN has paid an invoice.")
_movement("user-pay-out", "pay-out", "LOGIN's earnings as a sender were paid out.")
