"""Options of ``gkmd reserve new`` about algorithms, lifetimes and an SA that the sender brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gkmd.cli.unread import Unread, seconds
from gkmd.core.errors import LocalError

_MOST_OCTETS = 2048


def key_options(command: Any) -> Any:
    """Taken out of what the command was given by ``keys_given``."""
    for option in (
        click.option("--supplied-lifetime", metavar="TIME", help="It lives so long, such as 2h."),
        click.option(
            "--supplied-key",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            metavar="FILE",
            help="Its key in hex: cipher key with salt, then integrity key.",
        ),
        click.option("--supplied-spi", metavar="SPI", help="An SA of your own, such as 0x1234abcd."),
        click.option("--rekey-auth", type=click.Choice(["signature", "implicit"]), help="Of the rekeys."),
        click.option("--kek-lifetime", metavar="TIME", help="Of the keys that protect rekeys, such as 4h."),
        click.option("--tek-lifetime", metavar="TIME", help="Of the keys of the data, such as 1h."),
        click.option("--integrity", metavar="NAME", help="For a cipher that needs one."),
        click.option("--cipher", metavar="NAME", help="Of the data, such as aes-gcm-16-256."),
        click.option("--mode", type=click.Choice(["transport", "tunnel"]), help="Of the data's SAs."),
    ):
        command = option(command)
    return command


def keys_given(given: dict[str, Any]) -> dict[str, Any]:
    """``security`` and ``supplied`` of the request, as far as anything was said; the options are taken out of
    ``given``. What is no SPI or no duration is Unread; LocalError for a key's file that cannot be read.
    """
    names = ("mode", "cipher", "integrity", "rekey_auth")
    security = {name: given.pop(name) for name in names}
    for name in ("tek_lifetime", "kek_lifetime"):
        text = given.pop(name)
        security[name] = seconds(text)
    security = {name: value for name, value in security.items() if value is not None}
    found: dict[str, Any] = {"security": security} if security else {}
    spi, key = given.pop("supplied_spi"), given.pop("supplied_key")
    lifetime = given.pop("supplied_lifetime")
    if (spi, key, lifetime) == (None, None, None):
        return found
    if None in (spi, key, lifetime):
        all_three = "--supplied-spi, --supplied-key and --supplied-lifetime"
        return found | {"supplied": Unread("", f"an SA of your own takes {all_three}")}
    number: int | Unread
    try:
        number = int(spi, 0)
    except ValueError:
        number = Unread(spi, f"SPI {spi!r} is no number such as 0x1234abcd")
    found["supplied"] = {"spi": number, "key": _read_key(key), "lifetime": seconds(lifetime)}
    return found


def _read_key(file: Path) -> str:
    """A key on the command line would be in the list of processes; so it comes from a file."""
    try:
        with file.open() as opened:
            return "".join(opened.read(_MOST_OCTETS).split())
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"the key in {file} cannot be read: {type(error).__name__}") from None
