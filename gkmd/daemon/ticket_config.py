"""The tables [tickets] and [portal] of a member: where its tickets come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gkmd.core.errors import ConfigError
from gkmd.core.secret import SecretBytes
from gkmd.daemon import values
from gkmd.daemon.portal_client import PortalLogin
from gkmd.daemon.portal_link import checked_url, tls_context
from gkmd.daemon.portal_tickets import PortalSettings
from gkmd.daemon.secret_files import read_secret
from gkmd.daemon.section import Section, Unexpected
from gkmd.daemon.ticket_file import LocalChoices

_WHEN: Final = {"always": False, "wanted": True}
_GET: Final = {"never": False, "free": True}


@dataclass(frozen=True, slots=True)
class TicketSettings:
    """``folder``: where ticket files appear. ``wanted``: they wait until a program wants them."""

    folder: Path | None
    wanted: bool
    local: LocalChoices


def read_ticket_settings(section: Section) -> TicketSettings:
    folder = section.get("folder", values.text, "")
    settings = TicketSettings(
        folder=section.folder / folder if folder else None,
        wanted=section.get("when", values.choice(_WHEN), "wanted"),
        local=LocalChoices(
            interface=section.get("interface", values.text, ""),
            source=section.get("source", values.optional_address, ""),
            replay_window=section.get("replay_window", values.integer(0, 4096), 64),
        ),
    )
    section.finish()
    return settings


def read_portal(section: Section) -> PortalSettings | None:
    """None without a portal. ConfigError for a login that cannot be one."""
    url = section.get("url", _url, "")
    login = section.get("login", values.text, "")
    password_file = section.get("password_file", values.text, "")
    token_file = section.get("token_file", values.text, "")
    ca = section.get("ca", values.text, "")
    every = section.get("every", values.duration(5, 86_400), "60s")
    get_free = section.get("get", values.choice(_GET), "never")
    section.finish()
    if not url:
        if login or password_file or token_file or ca:
            raise section.wrong("url", "missing; nothing else in [portal] is of use without it")
        return None
    if bool(token_file) == bool(password_file):
        raise section.wrong("", "expected either `token_file`, or `login` with `password_file`")
    if bool(login) != bool(password_file):
        raise section.wrong("login", "`login` and `password_file` go together")
    ca_path = section.folder / ca if ca else None
    try:
        tls_context(ca_path)
    except ConfigError as error:
        raise section.wrong("ca", str(error)) from None
    account = PortalLogin(
        url=url,
        token=_secret(section, "token_file", token_file),
        login=login,
        password=_secret(section, "password_file", password_file),
        ca=ca_path,
    )
    return PortalSettings(account, every, get_free)


def _secret(section: Section, key: str, file: str) -> SecretBytes | None:
    return read_line(section, key, file) if file else None


def read_line(section: Section, key: str, file: str) -> SecretBytes:
    """The one line of a secret's file, without its end."""
    try:
        octets = read_secret(section.folder / file, "file").reveal()
    except ConfigError as error:
        raise section.wrong(key, str(error)) from None
    line = octets.rstrip(b"\r\n")
    if not line or b"\n" in line or len(line) > 1024:
        raise section.wrong(key, f"{file} holds no secret of one line")
    return SecretBytes(line)


def _url(value: Any) -> str:
    parse: Callable[[Any], str] = values.text
    text = parse(value)
    if not text:
        return ""
    try:
        return checked_url(text)
    except ValueError as error:
        raise Unexpected(f"the portal's address: {error}") from None
