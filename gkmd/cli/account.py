"""``gkmd account``: what a person's own pages do, the balance and the payments first."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

import click

from gkmd.cli.account_keys import codes, passkeys, password, sessions, sign_up, tokens
from gkmd.cli.desk import Desk, desk_command, facts, minor, money, rows
from gkmd.cli.unread import amount
from gkmd.core.errors import LocalError

_FACTS: Final = ("id", "login", "name", "roles", "classes", "confirmed", "totp", "passkeys", "credit_limit")
_PAYMENT: Final = ("id", "provider", "amount", "state")
_TIMES: Final = ("created", "changed")


@click.group()
def account() -> None:
    """My account: balance, payments, API tokens, password, one-time codes, sessions."""


for _other in (tokens, sessions, codes, passkeys):
    account.add_command(_other)
for _one in (sign_up, password):
    account.add_command(_one)


@desk_command(account)
def show(desk: Desk) -> None:
    """Who I am here."""
    desk.show(
        desk.call("me"),
        lambda view: facts(view | {"passkeys": [one["name"] for one in view["passkeys"]]}, _FACTS),
    )


@desk_command(account)
def balance(desk: Desk) -> None:
    """What I have, what I can spend, owe and have earned."""
    desk.show(desk.call("balance"), _balance)


def _balance(view: dict[str, Any]) -> str:
    names = {"balance": "balances", "to_spend": "available", "owed": "owed", "earned": "earned"}
    told = {
        name: ", ".join(money(one) for one in view[member] if one["amount"]) or "nothing"
        for name, member in names.items()
    }
    return facts(told, tuple(names))


@desk_command(account)
def movements(desk: Desk) -> None:
    """What was booked on my balance last, newest first."""

    def text(view: list[dict[str, Any]]) -> str:
        shown = [
            one
            | {
                "at": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one["at"])),
                "amount": minor(one["amount"], one["currency"]),
            }
            for one in view
        ]
        return rows(shown, ("at", "kind", "amount", "memo"), "nothing was booked yet")

    desk.show(desk.call("balance")["movements"], text)


@desk_command(account)
@click.argument("code")
def redeem(desk: Desk, code: str) -> None:
    """Put the worth of the voucher CODE on my balance. One that admits goes with `gkmd ticket get`."""
    desk.show(desk.call("voucher-redeem", code=code), _balance)


@desk_command(account)
@click.argument("value", metavar="AMOUNT")
@click.option("--by", "provider", default="", metavar="PROVIDER", help="Needed where there are several.")
def pay(desk: Desk, value: str, provider: str) -> None:
    """Begin to pay AMOUNT in, and print the page of the provider on which it is paid."""
    if not provider:
        provider = _only_provider(desk)
    result = desk.call("payment-begin", provider=provider, amount=amount(value), once=secrets.token_hex(8))

    def text(view: dict[str, Any]) -> str:
        told = f"payment {view['id']} of {money(view['amount'])} by {view['provider']} is {view['state']}"
        # Only a portal knows where its providers are.
        return f"{told}\n{view['url'] or 'to be paid it must be begun at a portal: --portal'}"

    desk.show(result, text)


def _only_provider(desk: Desk) -> str:
    known: list[str] = desk.call("payment-list", limit=1)["providers"]
    if len(known) != 1:
        what = f"say --by with one of {', '.join(known)}" if known else "there is no payment provider here"
        raise LocalError(what)
    return known[0]


@desk_command(account)
def payments(desk: Desk) -> None:
    """My payments, newest first."""
    found = desk.pages("payment-list", "payments")
    desk.show(found, lambda them: rows(them, (*_PAYMENT, *_TIMES), "no payments", _TIMES))


@desk_command(account)
@click.argument("id")
def payment(desk: Desk, id: str) -> None:
    """One payment: whether it has come."""
    desk.show(desk.call("payment-show", id=id), lambda view: facts(view, (*_PAYMENT, *_TIMES), _TIMES))
