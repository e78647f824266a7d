"""``gkmd init portal``: the platform of a key server, and the portal before it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

import click

from gkmd.cli import templates
from gkmd.cli.failing import failing_clearly
from gkmd.cli.new_files import NewFiles, append_line
from gkmd.cli.templates import listed, quoted
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng

CA_DAYS: Final = 3650
CERTIFICATE_DAYS: Final = 398  # browsers take no longer ones
GROUP: Final = "gkmd-portal"
# Browsers know no Ed25519: the portal has an authority of its own.
_KIND: Final = "ecdsa-p256"
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--from",
    "origin",
    type=_FOLDER,
    required=True,
    metavar="SERVERDIR",
    help="The folder of `gkmd init server`: its server.toml gets a [platform].",
)
@click.option(
    "--server",
    "addresses",
    multiple=True,
    required=True,
    metavar="ADDRESS",
    help="Where members reach the key server; can be repeated.",
)
@click.option("--name", required=True, help="The portal's name or address, as browsers will have it.")
@click.option(
    "--listen", default="0.0.0.0:8443", show_default=True, metavar="ADDRESS:PORT", help="Where to serve."
)
@click.option("--currency", default="EUR", show_default=True, help="Of prices, unless they say another.")
@click.option("--self-contained", is_flag=True, help="The socket in SERVERDIR: to try it out.")
def portal(
    folder: Path,
    origin: Path,
    addresses: tuple[str, ...],
    name: str,
    listen: str,
    currency: str,
    self_contained: bool,
) -> None:
    """A portal in DIR with a certificate, before the key server in SERVERDIR on the same host."""
    with failing_clearly():
        from gkmd.core.money import places
        from gkmd.crypto import issuing  # after --help, which must be quick
        from gkmd.daemon import platform_config, server_config, values
        from gkmd.daemon.section import Unexpected

        try:
            _, port = values.endpoint(listen)
            for text in addresses:
                values.address(text)
            places(currency)
        except (Unexpected, ValueError) as error:
            raise LocalError(f"expected {error}") from None
        config = server_config.load(origin / "server.toml")
        if config.platform is not None:
            raise LocalError(f"{config.file} has a [platform] already: write portal.toml by hand")
        now = time.time()
        authority = issuing.make_authority(f"gkmd portal CA of {name}", now, CA_DAYS, system_rng, _KIND)
        names = [_identity(name)]
        own = issuing.make_certificate(authority, name, names, now, CERTIFICATE_DAYS, system_rng, _KIND)
        files = NewFiles(folder, GROUP)
        socket = (
            str(origin.resolve() / "platform.sock") if self_contained else platform_config.PLATFORM_SOCKET
        )
        files.add(
            "portal.toml",
            templates.PORTAL.format(
                file=folder / "portal.toml",
                listen=quoted(listen),
                origin=quoted(f"https://{_host(name)}" + ("" if port == 443 else f":{port}")),
                socket=quoted(socket),
                currency=quoted(currency),
            ),
            0o640,
        )
        files.add("portal-ca.crt", authority.certificate_pem, 0o644)
        files.add("portal-ca.key", authority.key_pem.reveal(), 0o600)
        files.add("portal.crt", own.certificate_pem, 0o644)
        files.add("portal.key", own.key_pem.reveal(), 0o640)
        made = files.write()
        append_line(
            origin / "server.toml",
            templates.PLATFORM.format(
                addresses=listed(addresses),
                currency=quoted(currency),
                socket=f"socket = {quoted('platform.sock')}"
                if self_contained
                else f"#socket = {quoted(socket)}",
            ),
        )
        click.echo("Written:")
        for path in made:
            click.echo(f"  {path}")
        click.echo(f"  {origin / 'server.toml'}  (added [platform])")
        where = f" -s {origin / 'server.sock'}" if self_contained else ""
        steps = [
            "start the key server again (a new [platform] is not taken up by SIGHUP)",
            f"gkmd user add NAME --role operator --generate-password{where}",
            f"gkmd portal -c {folder / 'portal.toml'}",
            f"let browsers trust {folder / 'portal-ca.crt'}, or put a certificate of your own in its place",
        ]
        click.echo("Next:")
        for number, step in enumerate(steps, 1):
            click.echo(f"  {number}. {step}")


def _identity(name: str) -> Identity:
    for kind in ("ipv4", "ipv6"):
        try:
            return Identity.parse(f"{kind}:{name.strip('[]')}")
        except ValueError:
            continue
    if _HOST_NAME.fullmatch(name) is None:
        raise LocalError(f"--name {name!r}: a host name or an address is needed")
    return Identity.parse(f"fqdn:{name}")


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name and not name.startswith("[") else name
