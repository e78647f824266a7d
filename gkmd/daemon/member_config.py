"""The member's configuration file (docs/configuration.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import CIPHER_BY_NAME, INTEGRITY_BY_NAME, KEY_WRAP_BY_NAME, RekeyAuth
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.money import Money
from gkmd.core.secret import SecretBytes
from gkmd.daemon import values
from gkmd.daemon.credential_config import read_credentials
from gkmd.daemon.portal_tickets import PortalSettings
from gkmd.daemon.process_config import (
    ControlSettings,
    ProcessSettings,
    read_backoff,
    read_control,
    read_identity,
    read_ike_policy,
    read_process,
)
from gkmd.daemon.section import Section, Unexpected
from gkmd.daemon.ticket_config import TicketSettings, read_line, read_portal, read_ticket_settings
from gkmd.daemon.ticket_file import Ticket, load_ticket
from gkmd.daemon.toml_source import TomlSource
from gkmd.ike.credentials import Credentials
from gkmd.ike.grant import Flow
from gkmd.ike.group_join import GroupJoin, GroupOffer
from gkmd.ike.member_settings import MemberSettings
from gkmd.ike.proposal import IkePolicy

LOCAL: Final = ("0.0.0.0:848", "[::]:848")
CONTROL_SOCKET: Final = "/run/gkmd/member.sock"
GROUP_KEY_PORT: Final = 848
_VOUCHER_CHARACTERS: Final = range(4, 65)
WHEN: Final = {"always": False, "wanted": True}
DATAPLANES: Final = ("xfrm", "recording")
_ROLES: Final = {"receiver": (True, False), "sender": (False, True), "both": (True, True)}
_REKEY_AUTHS: Final = {"signature": RekeyAuth.SIGNATURE, "implicit": RekeyAuth.IMPLICIT}


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """``servers`` are tried in order. ``any_family``: ``local`` was left to its default.

    ``wanted`` are the groups that wait until they are. ``given`` are tickets of the command line, which are
    registered at once with ``at_once``. Without a group there need not be a server.
    """

    file: Path
    identity: Identity
    local: tuple[tuple[str, int], ...]
    any_family: bool
    servers: tuple[IpAddress, ...]
    server_port: int
    server_identity: Identity | None
    process: ProcessSettings
    control: ControlSettings
    credentials: Credentials | None
    ike: IkePolicy
    settings: MemberSettings
    joins: tuple[GroupJoin, ...]
    dataplane: str
    wanted: frozenset[str]
    linger: float
    tickets: TicketSettings
    portal: PortalSettings | None
    given: tuple[Ticket, ...]
    at_once: bool
    warnings: tuple[str, ...]
    file_given: bool = True


def load(file: Path, tickets: bool = False) -> MemberConfig:
    """Read and check the file, and the files that it names. Raises ConfigError.

    ``tickets``: there are some on the command line, so that no group need be there.
    """
    return read(Section(TomlSource.read(file)), file, alone=not tickets)


def load_with_tickets(file: Path | None, tickets: Sequence[Path], at_once: bool) -> MemberConfig:
    """As ``load``, with the tickets of the command line; without a file everything has its default."""
    name = Path("/etc/gkmd/member.toml") if file is None else file
    source = TomlSource(name, "") if file is None else TomlSource.read(file)
    config = read(Section(source), name, tickets, at_once)
    return replace(config, file_given=file is not None)


def read(
    section: Section,
    file: Path,
    tickets: Sequence[Path] = (),
    at_once: bool = False,
    alone: bool = True,
) -> MemberConfig:
    warnings: list[str] = []
    identity = read_identity(section)
    groups = section.tables("group")
    ike = section.table("ike")
    joins = tuple(_read_join(one) for one in groups)
    servers, server_port, server_identity = _read_server(section, bool(joins))
    settings = read_ticket_settings(section.table("tickets"))
    given = tuple(load_ticket(path, settings.local) for path in tickets)
    portal = read_portal(section.table("portal"))
    credentials: Credentials | None = None
    if joins or section.has("credentials"):
        table = section.table("credentials")
        identity, password = _read_login(section, table, identity)
        credentials = read_credentials(table, identity, warnings, password)
        identity = credentials.identity
    config = MemberConfig(
        file=file,
        identity=identity,
        local=section.get("local", values.list_of(values.endpoint, 1), list(LOCAL)),
        any_family=not section.has("local"),
        servers=servers,
        server_port=server_port,
        server_identity=server_identity,
        process=read_process(section.table("process")),
        control=read_control(section.table("control"), CONTROL_SOCKET),
        credentials=credentials,
        ike=read_ike_policy(ike),
        settings=_settings(ike),
        joins=joins,
        dataplane=section.get("dataplane", values.choice({k: k for k in DATAPLANES}), "xfrm"),
        wanted=frozenset(j.name for j, one in zip(joins, groups, strict=True) if _waits(one, j)),
        linger=section.get("linger", values.duration(0, 3600), "5s"),
        tickets=settings,
        portal=portal,
        given=given,
        at_once=at_once,
        warnings=tuple(warnings),
    )
    for one in groups:
        one.finish()
    section.finish()
    if alone and not (joins or given or settings.folder or portal):
        raise section.wrong(
            "", "no group to join: expected at least one [[group]], tickets.folder, portal.url, or --ticket"
        )
    _check_joins(section, joins)
    if joins:
        _check_trust(section, config)
    return config


def _read_server(section: Section, needed: bool) -> tuple[tuple[IpAddress, ...], int, Identity | None]:
    """A member with tickets alone needs none: each ticket names its own."""
    if not needed and not section.has("server"):
        return (), GROUP_KEY_PORT, None
    server = section.table("server")
    found = (
        server.get("addresses", values.list_of(values.address, 1)),
        server.get("port", values.port, GROUP_KEY_PORT),
        server.get("identity", values.identity),
    )
    server.finish()
    return found


def _read_login(
    section: Section, credentials: Section, identity: Identity
) -> tuple[Identity, SecretBytes | None]:
    """Who the member is when it logs in by name and password, and the password; else as it was."""
    name = credentials.get("name", values.text, "")
    file = credentials.get("password_file", values.text, "")
    if bool(name) != bool(file):
        raise credentials.wrong("name", "`name` and `password_file` go together")
    if not name:
        return identity, None
    try:
        own = Identity.parse(f"email:{name}" if "@" in name else f"keyid:{name}")
    except ValueError as error:
        raise credentials.wrong("name", f"not a name to log in with: {error}") from None
    if section.has("identity") and identity != own:
        raise section.wrong("identity", f"found {identity}, but who logs in by name is {own}: leave it out")
    if credentials.has("key"):
        raise credentials.wrong("name", "either a name with its password, or a `key`")
    return own, read_line(credentials, "password_file", file)


def _waits(section: Section, join: GroupJoin) -> bool:
    """Whether a group waits until it is wanted."""
    waits = section.get("when", values.choice(WHEN), "always")
    if waits and join.flow is None:
        raise section.wrong("when", '"wanted" needs `address`: it is what programs join and send to')
    return waits


def _settings(ike: Section) -> MemberSettings:
    default = MemberSettings()
    settings = MemberSettings(
        backoff=read_backoff(ike),
        liveness_idle=ike.get("dead_peer_interval", values.duration(0, 86_400), default.liveness_idle),
        retry_ceiling=ike.get("retry_longest", values.duration(1, 3600), default.retry_ceiling),
        slow_retry=ike.get("retry_refused", values.duration(1, 86_400), default.slow_retry),
    )
    ike.finish()
    return settings


def _read_join(section: Section) -> GroupJoin:
    def names(key: str, table: dict[str, Any], default: tuple[Any, ...]) -> tuple[Any, ...]:
        chosen = [name for name, value in table.items() if value in default]
        return section.get(key, values.list_of(values.choice(table), 1), chosen)

    offer = GroupOffer()
    name = section.get("name", values.name)
    receives, sends = section.get("role", values.choice(_ROLES), "receiver")
    networks = values.list_of(values.network)
    join = GroupJoin(
        name=name,
        group_id=section.get("id", values.identity, f"keyid:{name}"),
        receives=receives,
        sends=sends,
        interface=section.get("interface", values.text, ""),
        source=section.get("source", values.optional_address, ""),
        sender_ids=section.get("sender_ids", values.integer(1, 255), 1),
        replay_window=section.get("replay_window", values.integer(0, 4096), 64),
        offer=GroupOffer(
            ciphers=names("ciphers", CIPHER_BY_NAME, offer.ciphers),
            integrities=names("integrities", INTEGRITY_BY_NAME, offer.integrities),
            rekey_ciphers=names("rekey_ciphers", CIPHER_BY_NAME, offer.rekey_ciphers),
            rekey_integrities=names("rekey_integrities", INTEGRITY_BY_NAME, offer.rekey_integrities),
            key_wraps=names("key_wraps", KEY_WRAP_BY_NAME, offer.key_wraps),
            rekey_auths=names("rekey_auths", _REKEY_AUTHS, offer.rekey_auths),
        ),
        data_addresses=section.get("data_addresses", networks, []),
        data_sources=section.get("data_sources", networks, []),
        rekey_addresses=section.get("rekey_addresses", networks, []),
        flow=_read_flow(section),
        evidence=_read_evidence(section),
    )
    return join


def _read_evidence(section: Section) -> Evidence | None:
    """A voucher's code, and the most that may be charged."""
    voucher = section.secret("voucher", values.text, "")
    most = section.get("most", _money, "")
    if voucher:
        section.source_holds_secrets()
        if len(voucher) not in _VOUCHER_CHARACTERS or not voucher.isascii() or not voucher.isprintable():
            raise section.wrong("voucher", "expected a code of 4 to 64 letters, digits and dashes")
    return Evidence(voucher, most) if voucher or most is not None else None


def _money(value: Any) -> Money | None:
    """An empty string is nothing to be paid."""
    text = values.text(value)
    try:
        return Money.parse(text) if text else None
    except ValueError as error:
        raise Unexpected(f'an amount such as "2.50 EUR" ({error})') from None


def _read_flow(section: Section) -> Flow | None:
    """What is closed before the first registration."""
    address = section.get("address", values.optional_multicast, "")
    protocol = section.get("protocol", values.choice(values.PROTOCOLS), "udp")
    port = section.get("port", values.port_or_any, 0)
    if address is None and port:
        raise section.wrong(
            "port", "of no use without `address`: both say what is closed before a registration"
        )
    if protocol == 0 and port:
        raise section.wrong("port", f'found {port}, expected 0 with protocol = "any"')
    return None if address is None else (address, protocol, port)


def _check_joins(section: Section, joins: tuple[GroupJoin, ...]) -> None:
    names: set[str] = set()
    ids: set[Identity] = set()
    for one, join in zip(section.tables("group"), joins, strict=True):
        if join.name in names:
            raise one.wrong("name", f"found {join.name}, expected a name that no other group has")
        if join.group_id in ids:
            raise one.wrong("id", f"found {join.group_id}, expected an id that no other group has")
        names.add(join.name)
        ids.add(join.group_id)


def _check_trust(section: Section, config: MemberConfig) -> None:
    """A member that cannot verify its server would never register; better said now."""
    credentials, server = config.credentials, config.server_identity
    assert credentials is not None
    assert server is not None
    if credentials.password is not None:
        # It goes to a server that has proved itself by a signature, and to no other.
        if credentials.trust_anchors is None and server not in credentials.pinned:
            raise section.wrong(
                "credentials",
                f"nothing to verify the server {server.shown()} by before it gets the password: "
                "expected `ca`, or a pinned key",
            )
    elif (
        server not in credentials.pre_shared_keys
        and credentials.trust_anchors is None
        and server not in credentials.pinned
    ):
        raise section.wrong(
            "credentials",
            f"nothing to verify the server {server.shown()} by: expected a psk for it, `ca`, or a pinned key",
        )
