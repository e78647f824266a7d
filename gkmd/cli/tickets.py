"""``gkmd ticket``: what a receiver may receive, and with what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from gkmd.cli.desk import Desk, desk_command, facts, rows, secret_in
from gkmd.cli.new_files import secret_file
from gkmd.cli.qr_code import qr_code
from gkmd.cli.unread import amount
from gkmd.core.errors import LocalError

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_ABOUT: Final = ("id", "title", "by", "state", "ways", "price", "ticket", "address", "port", "time_zone")
_TIMES: Final = ("opens", "starts", "ends")
qr_option: Final = click.option(
    "--qr", is_flag=True, help="Show the QR code of the ticket file; needs the extra `portal`."
)


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
def transmission(desk: Desk, transmission: str) -> None:
    """One TRANSMISSION; also one that the catalogue does not show, by the end of its link."""

    def text(view: dict[str, Any]) -> str:
        return "\n".join(filter(None, [facts(view, (*_ABOUT, *_TIMES), _TIMES), view["description"]]))

    desk.show(desk.call("transmission", id=transmission), text)


@desk_command(ticket)
@click.argument("transmission")
@click.option("--voucher", default="", metavar="CODE", help="A voucher of this transmission.")
@click.option("--pay", "most", metavar="AMOUNT", help='The most that may be charged, such as "2.50 EUR".')
@click.option("--listed", default="", metavar="NAME", help="A name on the sender's list.")
@click.option("--password-file", type=_FILE, metavar="FILE", help="Its password; else it is asked for.")
@click.option("--login", default="", metavar="LOGIN", help="For this user (operators, the sender).")
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Write the ticket file here.")
@qr_option
def get(
    desk: Desk,
    transmission: str,
    most: str | None,
    listed: str,
    password_file: Path | None,
    output: Path | None,
    qr: bool,
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
    hand_out(desk, result, output, qr=qr)


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
@qr_option
def show(desk: Desk, id: str, output: Path | None, qr: bool) -> None:
    """A ticket, with the file that `gkmd member --ticket` takes."""
    hand_out(desk, desk.call("ticket-show", id=id), output, qr=qr)


@desk_command(ticket)
@click.argument("id")
def revoke(desk: Desk, id: str) -> None:
    """Revoke a ticket: who holds it is told to delete the keys."""
    desk.show(desk.call("ticket-revoke", id=id), lambda _: f"{id} is revoked")


def hand_out(desk: Desk, view: dict[str, Any], output: Path | None, *, qr: bool = False) -> None:
    """Show a ticket, as a QR code or text, or write its file for the owner alone to read."""
    if output is None and not qr:
        desk.show(view, lambda one: one["configuration"] or _short(one))
        return
    if view["revoked"] is not None:
        raise LocalError(f"ticket {view['id']} is revoked: it has no file any more")
    if not view["configuration"]:
        raise LocalError(f"ticket {view['id']} is not ours to hold: its file is for its receiver")
    picture = qr_code(view["configuration"]) if qr and not desk.as_json else ""
    if output is not None:
        with secret_file(output) as file:
            file.write(view["configuration"])
    if picture:
        click.echo(picture)
    desk.show(
        view,
        lambda one: f"{output or 'above'}: ticket {one['id']} for {one['transmission']['title']}",
    )


def _short(view: dict[str, Any]) -> str:
    return facts(view | {"title": view["transmission"]["title"]}, ("id", "title", "sends", "label"))
