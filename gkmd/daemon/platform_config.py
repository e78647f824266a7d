"""The [platform] table of the key server: reservations, tickets, billing, and the portal's socket."""

from __future__ import annotations

import grp
import importlib.util
import ipaddress
import os
import re
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gkmd.core.address import IpAddress
from gkmd.core.errors import ConfigError
from gkmd.core.identity import Identity
from gkmd.core.money import Money, places
from gkmd.core.secret import SecretBytes
from gkmd.daemon import values
from gkmd.daemon.process_config import ControlSettings
from gkmd.daemon.secret_files import read_public, read_secret
from gkmd.daemon.section import Section, Unexpected
from gkmd.group.platform.settings import Network, PlatformSettings, ProviderSettings

PLATFORM_SOCKET: Final = "/run/gkmd/platform.sock"
PORTAL_GROUP: Final = "gkmd-portal"
_DEFAULTS: Final = PlatformSettings()
_PROVIDERS: Final = {"webhook": "webhook", "stripe": "stripe"}
_LEAST_SECRET_OCTETS: Final = 16
_PERCENT: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?")
_YEARS: Final = 10 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class PlatformConfig:
    """``socket`` is the portal's. ``password_workers`` threads compare passwords; ``password_queue`` may wait
    of registrations, and as many of sign-ins.
    """

    settings: PlatformSettings
    socket: ControlSettings
    password_workers: int
    password_queue: int

    @property
    def fixed(self) -> tuple[object, ...]:
        """What a reload does not change."""
        return self.socket, self.password_workers, self.password_queue


def read_platform(
    section: Section,
    identity: Identity,
    listen: tuple[tuple[str, int], ...],
    ca_files: tuple[str, ...],
    workers: int,
    warnings: list[str],
) -> PlatformConfig:
    """All of [platform]. ``identity``, ``listen`` and ``ca_files`` are the server's own, for the files that
    members are given; ``workers`` is what ``password_workers = 0`` means.
    """
    currency = section.get("currency", _currency, _DEFAULTS.currency)
    price = partial(_minor_units, currency=currency)
    settings = PlatformSettings(
        pools=section.get("pools", values.list_of(_pool), [str(pool) for pool in _DEFAULTS.pools]),
        currency=currency,
        fee_points=section.get("fee", _basis_points, "0"),
        fee_fixed=section.get("fee_fixed", price, "0"),
        sign_up=section.get("sign_up", values.boolean, False),
        providers=_providers(section),
        longest_ahead=section.get("longest_ahead", values.duration(60, _YEARS), "366d"),
        session_idle=section.get("session_idle", values.duration(60, 30 * 86_400), "12h"),
        session_longest=section.get("session_longest", values.duration(60, 366 * 86_400), "7d"),
        keep_receivers=section.get("keep_receivers", values.duration(0, _YEARS), "90d"),
        keep_reservations=section.get("keep_reservations", values.duration(0, _YEARS), "400d"),
        server_identity=str(identity),
        server_addresses=_addresses(section, listen, warnings),
        server_port=section.get("server_port", values.port_or_any, 0) or listen[0][1],
        server_ca=_authorities(section, ca_files),
        rekey_source=section.get("rekey_source", values.optional_address, ""),
        rekey_interface=section.get("rekey_interface", values.text, ""),
        rekey_ttl=section.get("rekey_ttl", values.integer(1, 255), _DEFAULTS.rekey_ttl),
    )
    group = section.get("group", values.text, "")
    socket = ControlSettings(
        socket=section.folder / section.get("socket", values.text, PLATFORM_SOCKET),
        mode=section.get("mode", values.file_mode, "0660"),
        group=group or _portal_group(),
        table="platform",
    )
    config = PlatformConfig(
        settings,
        socket,
        section.get("password_workers", values.integer(0, 256), 0) or workers,
        section.get("password_queue", values.integer(1, 10_000), 64),
    )
    section.finish()
    return config


def _providers(section: Section) -> tuple[ProviderSettings, ...]:
    found: list[ProviderSettings] = []
    for one in section.tables("provider"):
        name = one.get("name", values.name)
        if any(name == other.name for other in found):
            raise one.wrong("name", f"found {name}, expected a name that no other provider has")
        kind = one.get("kind", values.choice(_PROVIDERS))
        file = one.get("secret_file", values.text)
        one.finish()
        if kind == "stripe" and importlib.util.find_spec("stripe") is None:
            raise one.wrong("kind", "the library stripe is missing: pip install 'gkmd[stripe]'")
        try:
            octets = read_secret(section.folder / file, "secret").reveal().strip()
        except ConfigError as error:
            raise one.wrong("secret_file", str(error)) from None
        if len(octets) < _LEAST_SECRET_OCTETS:
            raise one.wrong("secret_file", f"{file} holds less than {_LEAST_SECRET_OCTETS} octets")
        found.append(ProviderSettings(name, kind, SecretBytes(octets)))
    return tuple(found)


def _addresses(
    section: Section, listen: tuple[tuple[str, int], ...], warnings: list[str]
) -> tuple[IpAddress, ...]:
    named = section.get("server_addresses", values.list_of(values.address), [])
    hosts = (ipaddress.ip_address(host.partition("%")[0]) for host, _ in listen)
    addresses = named or tuple(host for host in hosts if not host.is_unspecified)
    if not addresses:
        warnings.append("[platform] server_addresses is empty: tickets come without a member's configuration")
    return addresses


def _authorities(section: Section, ca_files: tuple[str, ...]) -> str:
    file = section.get("server_ca", values.text, "")
    files = (file,) if file else ca_files
    try:
        found = [read_public(section.folder / one, "CA certificate") for one in files]
        return b"\n".join(found).decode("ascii")
    except ConfigError as error:
        raise section.wrong("server_ca", str(error)) from None
    except UnicodeDecodeError:
        raise section.wrong("server_ca", f"{', '.join(files)}: expected certificates in PEM") from None


def _portal_group() -> str:
    """The group that the packages make; "" on a host without it, and for who may not give it a file."""
    try:
        found = grp.getgrnam(PORTAL_GROUP)
    except KeyError:
        return ""
    return PORTAL_GROUP if os.geteuid() == 0 or found.gr_gid in os.getgroups() else ""


def _currency(value: Any) -> str:
    try:
        places(values.text(value))
    except ValueError:
        raise Unexpected("a currency of three capital letters, such as EUR") from None
    return str(value)


def _pool(value: Any) -> Network:
    network = values.network(value)
    if not (network.network_address.is_multicast and network.broadcast_address.is_multicast):
        raise Unexpected("a network of multicast addresses, such as 239.192.0.0/14")
    return network


def _basis_points(value: Any) -> int:
    found = _PERCENT.fullmatch(values.text(value))
    points = -1 if found is None else int(found[1] + (found[2] or "").ljust(2, "0"))
    if not 0 <= points <= 10_000:
        raise Unexpected('a percentage from "0" to "100" with at most two places, such as "2.5"')
    return points


def _minor_units(value: Any, currency: str) -> int:
    try:
        return Money.parse(values.text(value), currency).amount
    except ValueError:
        raise Unexpected(f'an amount of {currency}, such as "0.10"') from None
