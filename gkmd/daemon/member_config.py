"""The member's configuration file (docs/configuration.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import CIPHER_BY_NAME, INTEGRITY_BY_NAME, KEY_WRAP_BY_NAME, RekeyAuth
from gkmd.core.identity import Identity
from gkmd.daemon import values
from gkmd.daemon.credential_config import read_credentials
from gkmd.daemon.process_config import (
    ControlSettings,
    ProcessSettings,
    read_backoff,
    read_control,
    read_identity,
    read_ike_policy,
    read_process,
)
from gkmd.daemon.section import Section
from gkmd.daemon.toml_source import TomlSource
from gkmd.ike.credentials import Credentials
from gkmd.ike.grant import Flow
from gkmd.ike.group_join import GroupJoin, GroupOffer
from gkmd.ike.member_settings import MemberSettings
from gkmd.ike.proposal import IkePolicy

LOCAL: Final = ("0.0.0.0:848", "[::]:848")
CONTROL_SOCKET: Final = "/run/gkmd/member.sock"
DATAPLANES: Final = ("xfrm", "recording")
_ROLES: Final = {"receiver": (True, False), "sender": (False, True), "both": (True, True)}
_REKEY_AUTHS: Final = {"signature": RekeyAuth.SIGNATURE, "implicit": RekeyAuth.IMPLICIT}


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """``servers`` are tried in order. ``any_family``: ``local`` was left to its default."""

    file: Path
    identity: Identity
    local: tuple[tuple[str, int], ...]
    any_family: bool
    servers: tuple[IpAddress, ...]
    server_port: int
    server_identity: Identity
    process: ProcessSettings
    control: ControlSettings
    credentials: Credentials
    ike: IkePolicy
    settings: MemberSettings
    joins: tuple[GroupJoin, ...]
    dataplane: str
    warnings: tuple[str, ...]


def load(file: Path) -> MemberConfig:
    """Read and check the file, and the files that it names. Raises ConfigError."""
    return read(Section(TomlSource.read(file)), file)


def read(section: Section, file: Path) -> MemberConfig:
    warnings: list[str] = []
    identity = read_identity(section)
    server = section.table("server")
    ike = section.table("ike")
    config = MemberConfig(
        file=file,
        identity=identity,
        local=section.get("local", values.list_of(values.endpoint, 1), list(LOCAL)),
        any_family=not section.has("local"),
        servers=server.get("addresses", values.list_of(values.address, 1)),
        server_port=server.get("port", values.port, 848),
        server_identity=server.get("identity", values.identity),
        process=read_process(section.table("process")),
        control=read_control(section.table("control"), CONTROL_SOCKET),
        credentials=read_credentials(section.table("credentials"), identity, warnings),
        ike=read_ike_policy(ike),
        settings=_settings(ike),
        joins=tuple(_read_join(one) for one in section.tables("group")),
        dataplane=section.get("dataplane", values.choice({k: k for k in DATAPLANES}), "xfrm"),
        warnings=tuple(warnings),
    )
    server.finish()
    section.finish()
    if not config.joins:
        raise section.wrong("", "no group to join: expected at least one [[group]]")
    _check_joins(section, config.joins)
    _check_trust(section, config)
    return config


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
    )
    section.finish()
    return join


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
    if (
        server not in credentials.pre_shared_keys
        and credentials.trust_anchors is None
        and server not in credentials.pinned
    ):
        raise section.wrong(
            "credentials",
            f"nothing to verify the server {server} by: expected a psk for it, `ca`, or a pinned key",
        )
