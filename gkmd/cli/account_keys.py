"""What opens an account: its tokens, password, one-time codes, passkeys and sessions."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, Final, get_args

import click

from gkmd.api.nouns import Scope
from gkmd.cli.desk import Desk, desk_command, facts, rows
from gkmd.cli.new_files import secret_file
from gkmd.cli.own_session import OwnDesk, asked, session_command
from gkmd.cli.qr_code import qr_code

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_DAY: Final = 86_400


@desk_command(name="sign-up", token=False)
@click.argument("login")
@click.option("--name", default="", metavar="TEXT", help="As people know you.")
def sign_up(desk: Desk, login: str, name: str) -> None:
    """Make an account of a receiver, where the operator allows it. Its password is asked for."""
    view = desk.call("sign-up", login=login, name=name, password=asked("Password", again=True))
    desk.show(view, lambda one: facts(one, ("id", "login", "name", "roles", "confirmed")))


@click.group()
def tokens() -> None:
    """API tokens, for programs and for these commands; made and revoked with the password."""


@session_command(tokens, "new")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(get_args(Scope)),
    help="Several are possible.",
)
@click.option("--days", type=click.IntRange(1, 3650), metavar="NUMBER", help="Until it expires; else never.")
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Write it here, as --token-file wants it.")
def tokens_new(
    desk: OwnDesk, name: str, scopes: tuple[str, ...], days: int | None, output: Path | None
) -> None:
    """Make a token called NAME. It is shown this once."""
    expires = None if days is None else time.time() + days * _DAY
    with contextlib.ExitStack() as stack:
        # The file first: a token that cannot be kept is not made.
        file = None if output is None else stack.enter_context(secret_file(output))
        made = desk.call("token-create", name=name, scopes=list(scopes), expires=expires)
        if file is not None:
            file.write(f"{made['token']}\n")
    if output is None:
        desk.show(made, lambda view: str(view["token"]))
    else:
        desk.show(made["view"], lambda view: f"{output}: token {view['id']}, {', '.join(view['scopes'])}")


@session_command(tokens, "list")
def tokens_list(desk: OwnDesk) -> None:
    """My tokens; never what they are."""
    columns = ("id", "name", "scopes", "created", "expires")
    found = desk.call("token-list")["tokens"]
    desk.show(found, lambda them: rows(them, columns, "no tokens", ("created", "expires")))


@session_command(tokens, "revoke")
@click.argument("id")
def tokens_revoke(desk: OwnDesk, id: str) -> None:
    """Revoke a token."""
    desk.show(desk.call("token-revoke", id=id), lambda _: f"{id} is revoked")


@click.group()
def sessions() -> None:
    """Where I am signed in; and the end of it."""


@session_command(sessions, "list")
def sessions_list(desk: OwnDesk) -> None:
    """My sessions; the current one is that of this command, and ends with it."""
    columns = ("id", "via", "current", "created", "used")
    found = desk.call("session-list")["sessions"]
    desk.show(found, lambda them: rows(them, columns, "no sessions", ("created", "used")))


@session_command(sessions, "end")
def sessions_end(desk: OwnDesk) -> None:
    """Sign out everywhere."""
    desk.show(desk.call("sessions-end"), lambda _: "all sessions are ended")


@session_command(name="password")
def password(desk: OwnDesk) -> None:
    """Change my password; all sessions end. The new one is asked for."""
    new = asked("New password", again=True)
    desk.show(desk.call("password-change", old=desk.password, new=new), lambda _: "the password is changed")


@click.group()
def codes() -> None:
    """One-time codes beside the password, on and off."""


@session_command(codes, "on")
@click.option("--qr", is_flag=True, help="Show the secret as a QR code, too; needs the extra `portal`.")
def codes_on(desk: OwnDesk, qr: bool) -> None:
    """Ask for one-time codes from now on: the secret for an authenticator app, then its first code."""
    begun = desk.call("totp-begin")
    if qr and not desk.as_json:
        click.echo(qr_code(begun["uri"]))
    desk.show(begun, lambda view: facts(view, ("secret", "uri")))
    desk.call("totp-confirm", code=asked("Code", hidden=False).replace(" ", ""))
    click.echo("one-time codes are asked for from now on", err=True)


@session_command(codes, "off")
def codes_off(desk: OwnDesk) -> None:
    """Ask for one-time codes no more."""
    desk.show(
        desk.call("totp-remove", password=desk.password),
        lambda _: "one-time codes are not asked for any more",
    )


@click.group()
def passkeys() -> None:
    """My passkeys; they are registered in a browser, at the portal."""


@desk_command(passkeys, "list")
def passkeys_list(desk: Desk) -> None:
    """My passkeys."""
    found: list[dict[str, Any]] = desk.call("me")["passkeys"]
    desk.show(found, lambda them: rows(them, ("id", "name", "created"), "no passkeys", ("created",)))


@session_command(passkeys, "remove")
@click.argument("id")
def passkeys_remove(desk: OwnDesk, id: str) -> None:
    """Remove a passkey."""
    desk.show(desk.call("passkey-remove", id=id), lambda _: f"{id} is removed")
