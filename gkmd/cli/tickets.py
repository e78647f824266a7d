"""``gkmd ticket``: what a receiver may receive, and with what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from gkmd.cli.desk import Desk, desk_command, facts, rows, secret_in
from gkmd.cli.unread import amount
from gkmd.core.errors import LocalError

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.group()
def ticket() -> None:
    """The catalogue, and tickets: get, list, show and revoke them."""


@desk_command(ticket)
@click.option(
    "--state",
    type=click.Choice(["now", "coming", "both"]),
    default="both",
    show_default=True,
    help="What is on, what comes, or both.",
)
@click.option("--search", default="", metavar="TEXT", help="Only what has this in its title.")
def catalogue(desk: Desk, **given: Any) -> None:
    """Transmissions that are on or coming."""
    columns = ("id", "title", "by", "state", "ways", "price", "ticket", "starts", "ends")
    found = desk.pages("catalogue", "transmissions", **given)
    desk.show(found, lambda them: rows(them, columns, "nothing is on", ("starts", "ends")))


@desk_command(ticket)
@click.argument("transmission")
@click.option("--voucher", default="", metavar="CODE", help="A voucher of this transmission.")
@click.option("--pay", "most", metavar="AMOUNT", help='The most that may be charged, such as "2.50 EUR".')
@click.option("--listed", default="", metavar="NAME", help="A name on the sender's list.")
@click.option("--password-file", type=_FILE, metavar="FILE", help="Its password; else it is asked for.")
@click.option("--login", default="", metavar="LOGIN", help="For this user (operators, the sender).")
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Write the ticket file here.")
def get(
    desk: Desk,
    transmission: str,
    most: str | None,
    listed: str,
    password_file: Path | None,
    output: Path | None,
    **given: str,
) -> None:
    """Get a ticket for TRANSMISSION."""
    password = ""
    if password_file is not None:
        password = secret_in(password_file, "--password-file")
    elif listed:
        password = click.prompt("Password", hide_input=True, default="", show_default=False)
    result = desk.call(
        "ticket-issue", id=transmission, most=amount(most), listed=listed, password=password, **given
    )
    hand_out(desk, result, output)


@desk_command(ticket, "list")
def list_(desk: Desk) -> None:
    """My tickets."""
    found = desk.pages("ticket-list", "tickets")
    flat = [
        one | {"title": one["transmission"]["title"], "starts": one["transmission"]["starts"]}
        for one in found
    ]
    columns = ("id", "title", "sends", "admitted", "revoked", "starts")
    desk.show(found, lambda _: rows(flat, columns, "no tickets", ("admitted", "revoked", "starts")))


@desk_command(ticket)
@click.argument("id")
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Write the ticket file here.")
def show(desk: Desk, id: str, output: Path | None) -> None:
    """A ticket, with the file that `gkmd member --ticket` takes."""
    hand_out(desk, desk.call("ticket-show", id=id), output)


@desk_command(ticket)
@click.argument("id")
def revoke(desk: Desk, id: str) -> None:
    """Revoke a ticket: who holds it is told to delete the keys."""
    desk.show(desk.call("ticket-revoke", id=id), lambda _: f"{id} is revoked")


def hand_out(desk: Desk, view: dict[str, Any], output: Path | None) -> None:
    """Show a ticket, or write its file for the owner alone to read."""
    if output is None:
        desk.show(view, lambda one: one["configuration"] or _short(one))
        return
    if not view["configuration"]:
        raise LocalError(f"ticket {view['id']} is not ours to hold: its file is for its receiver")
    # Never readable by others, not for an instant; an existing file is not overwritten.
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise LocalError(f"{output} exists: name another file") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(view["configuration"])
    desk.show(view, lambda one: f"{output}: ticket {one['id']} for {one['transmission']['title']}")


def _short(view: dict[str, Any]) -> str:
    return facts(view | {"title": view["transmission"]["title"]}, ("id", "title", "sends", "label"))
