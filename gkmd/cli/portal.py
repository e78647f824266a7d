"""``gkmd portal``: the pages and the REST API."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from gkmd.cli.failing import failing_clearly
from gkmd.core.errors import ConfigError

PORTAL_FILE: Final = "/etc/gkmd/portal.toml"


@click.command()
@click.option("--check", is_flag=True, help="Check the configuration and exit.")
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PORTAL_FILE,
    show_default=True,
    metavar="FILE",
    help="The configuration.",
)
def portal(file: Path, check: bool) -> None:
    """Run the portal until SIGTERM."""
    with failing_clearly():
        from gkmd.web.config import load

        if not file.exists():
            raise ConfigError(
                f"no configuration {file}: write one (docs/configuration.md), or name it with -c"
            )
        config = load(file)
        if check:
            click.echo(f"{file}: ok")
            return
        from gkmd.web.process import run

        run(config)
