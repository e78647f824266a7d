"""Commands that an API token will not do for: they sign in, do what they do, and sign out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from gkmd.api.problem import Problem
from gkmd.cli.desk import Desk, desk_command, secret_in
from gkmd.core.errors import LocalError

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@dataclass(slots=True)
class OwnDesk(Desk):
    """The desk of an account that has signed in. ``token`` is that of the session."""

    password: str = field(repr=False)


def asked(what: str, *, hidden: bool = True, again: bool = False) -> str:
    """Typed by who sits there. What they are asked is not part of the output."""
    word: str = click.prompt(what, hide_input=hidden, confirmation_prompt=again, err=True)
    return word


@contextlib.contextmanager
def signed_in(desk: Desk, login: str, password: str) -> Iterator[OwnDesk]:
    """A session for as long as this lasts. Problem when there is none to be had."""
    try:
        begun = desk.call("sign-in", login=login, password=password)
    except Problem as problem:
        if problem.code != "code-required":
            raise
        code = asked("One-time code", hidden=False).replace(" ", "")
        begun = desk.call("sign-in", login=login, password=password, code=code)
    own = OwnDesk(desk.socket, desk.url, begun["token"], desk.ca, desk.as_json, password)
    try:
        yield own
    finally:
        # Nobody else has its token: a session that could not be ended becomes too old by itself.
        with contextlib.suppress(LocalError):
            own.call("sign-out")


def session_command(
    group: click.Group | None = None, name: str | None = None
) -> Callable[..., click.Command]:
    """As ``desk_command``, with an OwnDesk."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(desk: Desk, login: str, password_file: Path | None, **given: Any) -> None:
            if password_file is None:
                password = asked("Password")
            else:
                password = secret_in(password_file, "--password-file")
            with signed_in(desk, login, password) as own:
                function(own, **given)

        command: Callable[..., None] = run
        command = click.option(
            "--password-file", type=_FILE, metavar="FILE", help="Its password; else it is asked for."
        )(command)
        command = click.option("--login", required=True, metavar="LOGIN", help="Of the account.")(command)
        return desk_command(group, name, token=False)(command)

    return decorate
