"""Ticket files (docs/ticket-file.md): one ticket, its secret, its server and its transmission."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gkmd.core.address import IpAddress
from gkmd.core.errors import ConfigError, CryptoError
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.crypto.certificates import TrustAnchors
from gkmd.daemon import values
from gkmd.daemon.secret_files import read_secret
from gkmd.daemon.section import Section, Unexpected
from gkmd.daemon.toml_source import TomlSource
from gkmd.ike.credentials import Credentials
from gkmd.ike.group_join import GroupJoin, link_control

LARGEST_CHARACTERS: Final = 65_536
_TICKET: Final = re.compile(r"t-[a-z2-7]{20}")
_SECRET: Final = re.compile(r"[0-9a-fA-F]{64}")
_TRANSMISSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ROLES: Final = {"receiver": False, "sender": True}
_TITLE_CHARACTERS: Final = 200
_MOST: Final = 64  # addresses of servers, sources of a transmission


@dataclass(frozen=True, slots=True)
class LocalChoices:
    """What a ticket does not say because it is this host's affair."""

    interface: str = ""
    source: IpAddress | None = None
    replay_window: int = 64


@dataclass(frozen=True, slots=True)
class Ticket:
    """``ends`` is what was known when the file was made."""

    id: str
    title: str
    starts: float
    ends: float
    server_identity: Identity
    servers: tuple[IpAddress, ...]
    server_port: int
    credentials: Credentials
    join: GroupJoin

    @property
    def group(self) -> str:
        return self.join.name


def load_ticket(path: Path, local: LocalChoices) -> Ticket:
    """The ticket of a file. ConfigError when it is none, or when others can read it."""
    octets = read_secret(path, "ticket file").reveal()
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the ticket file is not UTF-8 text") from None
    return read_ticket(text, path, local)


def read_ticket(text: str, name: Path, local: LocalChoices) -> Ticket:
    """The ticket of a text; ``name`` is for errors, which never quote the secret."""
    if len(text) > LARGEST_CHARACTERS:
        raise ConfigError(f"{name}: too long to be a ticket file; at most {LARGEST_CHARACTERS} are read")
    try:
        section = Section(TomlSource(name, text))
    except RecursionError:
        raise ConfigError(f"{name}: not a ticket file: values within values without an end") from None
    ticket = section.get("ticket", _matching(_TICKET, '"t-" and 20 characters of a-z and 2-7'))
    secret = _required_secret(section)
    title = section.get("title", _title)
    starts = section.get("starts", _instant)
    ends = section.get("ends", _instant)
    server = section.table("server")
    identity = server.get("identity", values.identity)
    servers = server.get("addresses", _few(values.address, 1))
    port = server.get("port", values.port)
    anchors = _anchors(server)
    join = _read_transmission(section.table("transmission"), local)
    server.finish()
    section.finish()
    if ends <= starts:
        raise section.wrong("ends", "found an end before the start")
    own = Identity.parse(f"keyid:{ticket}")
    credentials = Credentials(own, {identity: secret}, trust_anchors=anchors)
    return Ticket(ticket, title, starts, ends, identity, servers, port, credentials, join)


def _required_secret(section: Section) -> SecretBytes:
    if not section.has("secret"):
        raise section.wrong("secret", "missing; this key is required")

    def parse(value: Any) -> SecretBytes:
        if not isinstance(value, str) or _SECRET.fullmatch(value) is None:
            raise Unexpected("64 hex digits")
        return SecretBytes(bytes.fromhex(value))

    return section.secret("secret", parse)


def _anchors(server: Section) -> TrustAnchors | None:
    pem = server.get("ca", values.text, "")
    if not pem:
        return None
    try:
        return TrustAnchors.load(pem.encode())
    except CryptoError as error:
        raise server.wrong("ca", str(error)) from None


def _read_transmission(section: Section, local: LocalChoices) -> GroupJoin:
    name = section.get("id", _matching(_TRANSMISSION, "letters, digits, '.', '_' and '-'"))
    address = section.get("address", values.multicast)
    protocol = section.get("protocol", values.choice(values.PROTOCOLS))
    port = section.get("port", values.port_or_any)
    sources = section.get("sources", _few(values.address))
    sends = section.get("role", values.choice(_ROLES))
    section.finish()
    if link_control(address):
        # A ticket comes from elsewhere: closing such an address would cut this host off its link.
        raise section.wrong("address", f"found {address}, expected an address that no link protocol uses")
    if protocol == 0 and port:
        raise section.wrong("port", f'found {port}, expected 0 with protocol = "any"')
    for source in sources:
        strange = source.is_multicast or source.is_unspecified or values.scope_of(source)
        if strange or source.version != address.version:
            raise section.wrong("sources", f"found {source}, expected addresses of hosts, as of {address}")
    return GroupJoin(
        name=name,
        group_id=Identity.parse(f"keyid:{name}"),
        receives=not sends,
        sends=sends,
        interface=local.interface,
        source=local.source if local.source and local.source.version == address.version else None,
        replay_window=local.replay_window,
        data_addresses=(ipaddress.ip_network(address),),
        data_sources=tuple(ipaddress.ip_network(source) for source in sources),
        flow=(address, protocol, port),
    )


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise Unexpected(expected)
        return value

    return parse


def _few(parse_one: Callable[[Any], values.T], least: int = 0) -> Callable[[Any], tuple[values.T, ...]]:
    parse_all = values.list_of(parse_one, least)

    def parse(value: Any) -> tuple[values.T, ...]:
        found = parse_all(value)
        if len(found) > _MOST:
            raise Unexpected(f"at most {_MOST}")
        return found

    return parse


def _title(value: Any) -> str:
    """For people: it comes from elsewhere and goes to logs and terminals."""
    return "".join(c if c.isprintable() else "?" for c in values.text(value)[:_TITLE_CHARACTERS])


def _instant(value: Any) -> float:
    found = values.instant(value)
    if found is None:
        raise Unexpected("a date and time with offset, such as 2026-12-24T18:00:00Z")
    return found
