"""``gkmd server`` and ``gkmd member``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from gkmd.cli.failing import failing_clearly
from gkmd.core.errors import ConfigError

SERVER_FILE: Final = "/etc/gkmd/server.toml"
MEMBER_FILE: Final = "/etc/gkmd/member.toml"
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def _options(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            click.option(
                "--keylog",
                type=_FILE,
                metavar="FILE",
                help="Append every key to FILE, for debugging in a lab. Never in production.",
            ),
            click.option("--check", is_flag=True, help="Check the configuration and exit."),
            click.option(
                "-c",
                "--config",
                "file",
                type=_FILE,
                default=default,
                show_default=True,
                metavar="FILE",
                help="The configuration.",
            ),
        ):
            command = option(command)
        return command

    return add


@click.command()
@_options(SERVER_FILE)
def server(file: Path, check: bool, keylog: Path | None) -> None:
    """Run the key server until SIGTERM; SIGHUP reloads groups and credentials."""
    with failing_clearly():
        from gkmd.daemon import server_config

        _must_exist(file, "server")
        config = server_config.load(file)
        if check:
            from gkmd.core.rng import system_rng

            server_config.load_master_key(config, system_rng)
            _checked(file, config.warnings)
            return
        from gkmd.daemon import server as process

        process.run(config, keylog)


@click.command()
@_options(MEMBER_FILE)
@click.option(
    "--ticket",
    "tickets",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A ticket file to use; can be repeated. The configuration may be missing then.",
)
@click.option("--now", is_flag=True, help="Register these tickets at once, not when a program joins.")
def member(file: Path, check: bool, keylog: Path | None, tickets: tuple[Path, ...], now: bool) -> None:
    """Run a member until SIGTERM: it registers, installs the keys and keeps them fresh."""
    with failing_clearly():
        from gkmd.daemon import member_config

        source = click.get_current_context().get_parameter_source("file")
        optional = bool(tickets) and source is ParameterSource.DEFAULT
        if now and not tickets:
            raise ConfigError("--now is for tickets of the command line: name them by --ticket FILE")
        if not optional or file.exists():
            _must_exist(file, "member")
            config = member_config.load_with_tickets(file, tickets, now)
        else:
            config = member_config.load_with_tickets(None, tickets, now)
        if check:
            _checked(file if config.file_given else tickets[0], config.warnings)
            return
        from gkmd.daemon import member as process

        process.run(config, keylog)


def _must_exist(file: Path, kind: str) -> None:
    """What a newcomer meets first deserves a hint; every other trouble is told by the reader."""
    try:
        file.stat()
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: there is no such file: make it by `gkmd init {kind}`, or name another one with -c"
        ) from None
    except OSError:
        return


def _checked(file: Path, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(f"{file}: warning: {warning}", err=True)
    click.echo(f"{file}: ok")
