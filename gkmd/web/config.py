"""The portal's configuration, portal.toml. Whatever is wrong is a ConfigError with file, line and key."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from gkmd.core.secret import SecretBytes
from gkmd.daemon import values
from gkmd.daemon.process_config import ProcessSettings, read_process
from gkmd.daemon.secret_files import read_secret
from gkmd.daemon.section import Section, Unexpected
from gkmd.daemon.toml_source import TomlSource

DEFAULT_SOCKET: Final = "/run/gkmd/platform.sock"
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-]+(:\d{1,5})?|https?://\[[0-9A-Fa-f:]+\](:\d{1,5})?")
_KINDS: Final = {"webhook": "webhook", "stripe": "stripe"}
_DEFAULT_PROCESS: Final = ProcessSettings("", "info", "auto")
_STRIPE: Final = "https://api.stripe.com"


@dataclass(frozen=True, slots=True)
class ProviderEndpoint:
    """Where a payment begins. ``secret``: what orders to a webhook provider are signed with,
    or Stripe's API key; never what the provider signs its calls with.

    ``redirect_hosts``: hosts that a payer may be sent to beside that of ``url``; empty with Stripe: any of
    stripe.com.
    """

    name: str
    kind: str
    url: str
    secret: SecretBytes
    redirect_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortalConfig:
    """``origin`` is what browsers see, such as ``https://portal.example``: cookies and passkeys hang on it.

    ``trusted_proxies`` are the networks whose X-Forwarded-For is believed. ``rate`` requests a second and a
    ``burst`` are taken from each client address. ``list_octets``: the largest list that may be imported.
    """

    listen: tuple[str, int]
    origin: str
    socket: Path = Path(DEFAULT_SOCKET)
    certificate: Path | None = None
    key: Path | None = None
    title: str = "gkmd"
    contact: str = ""
    sign_up: bool = False
    currency: str = "EUR"
    trusted_proxies: tuple[Network, ...] = ()
    rate: int = 20
    burst: int = 200
    list_octets: int = 32 << 20
    providers: tuple[ProviderEndpoint, ...] = ()
    process: ProcessSettings = _DEFAULT_PROCESS
    warnings: tuple[str, ...] = ()

    @property
    def secure(self) -> bool:
        """Whether browsers come by TLS, be it to us or to the proxy before us."""
        return self.origin.startswith("https://")


def load(file: Path) -> PortalConfig:
    """Read portal.toml. ConfigError for everything that does not do."""
    return read(Section(TomlSource.read(file)))


def read(top: Section) -> PortalConfig:
    process = read_process(top.table("process"))
    portal = top.table("portal")
    listen = portal.get("listen", values.endpoint, "127.0.0.1:8443")
    origin = portal.get("origin", _origin, f"https://{socket.gethostname() or 'localhost'}:{listen[1]}")
    certificate = portal.get("certificate", values.text, "")
    key = portal.get("key", values.text, "")
    proxies = portal.get("trusted_proxies", values.list_of(values.network), [])
    if bool(certificate) != bool(key):
        raise portal.wrong("certificate" if certificate else "key", "certificate and key are needed together")
    warnings = []
    if not certificate:
        loopback = ipaddress.ip_address(listen[0].partition("%")[0]).is_loopback
        if not loopback and not proxies:
            raise portal.wrong(
                "listen",
                "without TLS only a loopback address will do: passwords would travel in clear; set "
                "certificate and key, or trusted_proxies when a proxy before the portal does TLS",
            )
        warnings.append("no certificate: the portal speaks plain HTTP, and only its own host may use it")
    elif not origin.startswith("https://"):
        raise portal.wrong("origin", f"found {origin}, expected https:// because there is a certificate")
    config = PortalConfig(
        listen=listen,
        origin=origin,
        socket=top.folder / portal.get("socket", values.text, DEFAULT_SOCKET),
        certificate=top.folder / certificate if certificate else None,
        key=top.folder / key if key else None,
        title=portal.get("title", _shown, "gkmd"),
        contact=portal.get("contact", values.text, ""),
        sign_up=portal.get("sign_up", values.boolean, False),
        currency=portal.get("currency", _currency, "EUR"),
        trusted_proxies=proxies,
        rate=portal.get("rate", values.integer(1, 100_000), 20),
        burst=portal.get("burst", values.integer(10, 1_000_000), 200),
        list_octets=portal.get("list_octets", values.integer(1024, 1 << 30), 32 << 20),
        providers=tuple(_provider(one) for one in top.tables("provider")),
        process=process,
        warnings=tuple(warnings),
    )
    portal.finish()
    top.finish()
    names = [one.name for one in config.providers]
    for name in names:
        if names.count(name) > 1:
            raise top.wrong("provider", f"two providers have the name {name}")
    return config


def _provider(section: Section) -> ProviderEndpoint:
    kind = section.get("kind", values.choice(_KINDS))
    file = section.get("secret_file", values.text)
    found = ProviderEndpoint(
        name=section.get("name", values.name),
        kind=kind,
        url=section.get("url", _url, *([_STRIPE] if kind == "stripe" else [])),
        secret=SecretBytes(
            read_secret(section.folder / file, "the secret of a payment provider").reveal().strip()
        ),
        redirect_hosts=section.get("redirect_hosts", values.list_of(values.text), []),
    )
    section.finish()
    return found


def _origin(value: Any) -> str:
    if not isinstance(value, str) or _ORIGIN.fullmatch(value) is None:
        raise Unexpected('an origin without a path, such as "https://portal.example"')
    scheme, _, rest = value.lower().partition("://")
    return f"{scheme}://{rest.removesuffix(':443' if scheme == 'https' else ':80')}"


def _url(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"https?://[^\s@]+", value) is None:
        raise Unexpected('a URL such as "https://pay.example/begin"')
    return value


def _shown(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 60:
        raise Unexpected("a text of 1 to 60 characters")
    return value


def _currency(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Z]{3}", value) is None:
        raise Unexpected('three capital letters, such as "EUR"')
    return value
