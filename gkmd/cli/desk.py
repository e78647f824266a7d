"""Where the commands of the platform go: the operator's control socket, or a portal with an API token."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from gkmd.cli.failing import failing_clearly
from gkmd.cli.remote import RemoteDesk
from gkmd.cli.tables import cell, printable, table, until
from gkmd.cli.unread import as_typed, unread_in
from gkmd.core.errors import ConfigError, LocalError
from gkmd.core.money import Money
from gkmd.daemon.control_client import ControlClient

SERVER_SOCKET: Final = Path("/run/gkmd/server.sock")
_PAGE: Final = 500


@dataclass(slots=True)
class Desk:
    """One way to the platform, and how to show what it says."""

    socket: Path
    url: str
    token: str
    ca: Path | None
    as_json: bool

    def call(self, operation: str, **request: Any) -> Any:
        """The result as plain JSON. Arguments that are None are left out. Problem when it is refused,
        LocalError when an argument is Unread.
        """
        given = {name: value for name, value in request.items() if value is not None}
        unread = next(unread_in(given), None)
        if unread is not None:
            # The answer does not matter: an unreachable daemon makes the argument no better.
            with contextlib.suppress(LocalError):
                self._ask(operation, as_typed(given))
            raise LocalError(unread.why)
        return self._ask(operation, given)

    def _ask(self, operation: str, given: dict[str, Any]) -> Any:
        if self.url:
            return RemoteDesk(self.url, self.token, self.ca).call(operation, given)
        with ControlClient(self.socket) as client:
            return client.call(operation, given, token=self.token)

    def pages(self, operation: str, member: str, **request: Any) -> list[Any]:
        """All rows of a paged operation."""
        rows: list[Any] = self.whole(operation, member, **request)[member]
        return rows

    def whole(self, operation: str, member: str, **request: Any) -> dict[str, Any]:
        """The result of a paged operation with the rows of all its pages. What else it says is of the last
        page, which knows of all that the others have.
        """
        rows: list[Any] = []
        after = ""
        while True:
            page: dict[str, Any] = self.call(operation, after=after, limit=_PAGE, **request)
            rows += page[member]
            after = page.pop("after")
            if not after:
                return page | {member: rows}

    def last(self, operation: str, member: str, count: int, **request: Any) -> list[Any]:
        """The newest rows of a paged operation, the newest of them at the end."""
        rows: list[Any] = []
        after = ""
        while len(rows) < count:
            limit = min(_PAGE, count - len(rows))
            page = self.call(operation, newest=True, after=after, limit=limit, **request)
            rows += page[member]
            after = page["after"]
            if not after:
                break
        return rows[::-1]

    def show(self, result: Any, text: Callable[[Any], str]) -> None:
        click.echo(json.dumps(result, indent=2) if self.as_json else printable(text(result)))


def desk_command(
    group: click.Group | None = None, name: str | None = None, *, token: bool = True
) -> Callable[..., click.Command]:
    """A command whose first argument is the Desk that its options describe; it fails in one clear line.

    ``token``: it speaks by an API token. Without, a desk at a portal is that of nobody yet.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(
            desk_socket: Path,
            url: str,
            ca: Path | None,
            as_json: bool,
            token_file: Path | None = None,
            **given: Any,
        ) -> None:
            with failing_clearly():
                shown = "" if token_file is None else secret_in(token_file, "--token-file", "ascii").strip()
                if url and not shown and token:
                    raise ConfigError("--portal needs --token-file: a file that holds an API token")
                function(Desk(desk_socket, url, shown, ca, as_json), **given)

        command: Callable[..., None] = run
        for option in (_JSON, _CA, *([_TOKEN] if token else []), _PORTAL, _SOCKET):
            command = option(command)
        made = click.command(name)(command)
        if group is not None:
            group.add_command(made)
        return made

    return decorate


_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_CA: Final = click.option(
    "--ca", type=_FILE, metavar="FILE", help="Authority of the portal's certificate, as PEM."
)
_TOKEN: Final = click.option(
    "--token-file",
    type=_FILE,
    metavar="FILE",
    envvar="GKMD_TOKEN_FILE",
    help="An API token of the portal; with it the command speaks for its account.",
)
_PORTAL: Final = click.option(
    "--portal",
    "url",
    default="",
    metavar="URL",
    envvar="GKMD_PORTAL",
    help="Use the portal at URL instead of the server's control socket.",
)
_SOCKET: Final = click.option(
    "-s",
    "--socket",
    "desk_socket",
    type=click.Path(path_type=Path),
    default=SERVER_SOCKET,
    show_default=True,
    metavar="SOCKET",
    help="The server's control socket.",
)


def secret_in(path: Path, option: str, encoding: str = "utf-8") -> str:
    """The first line of a file that ``option`` names. ConfigError when there is none."""
    try:
        line = path.read_text(encoding).partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is not {encoding.upper()}"
        raise ConfigError(f"{option} {path}: {why}") from None
    if not line:
        raise ConfigError(f"{option} {path}: its first line is empty")
    return line


# --- What people read ---------------------------------------------------------------------------------


def money(value: dict[str, Any] | None) -> str:
    return "-" if value is None else str(Money(value["currency"], value["amount"]))


def minor(value: int, currency: str) -> str:
    return str(Money(currency, value))


def rows(
    found: Sequence[dict[str, Any]], columns: Sequence[str], empty: str, times: Sequence[str] = ()
) -> str:
    """A table of these columns; ``times`` are told from now on."""
    if not found:
        return empty
    now = time.time()
    cells = [[until(one[c], now) if c in times else _cell(one[c]) for c in columns] for one in found]
    return table([column.replace("_", " ") for column in columns], cells)


def _cell(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"amount", "currency"}:
        return money(value)
    return cell(value)


def facts(one: dict[str, Any], names: Sequence[str], times: Sequence[str] = ()) -> str:
    """``name  value`` lines."""
    now = time.time()
    width = max(len(name) for name in names)
    return "\n".join(
        f"{name.replace('_', ' '):<{width}}  {until(one[name], now) if name in times else _cell(one[name])}"
        for name in names
    )
