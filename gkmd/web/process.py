"""The portal's process: sockets and keys first, then privileges are dropped, then pages are served."""

from __future__ import annotations

import logging
import os
import pwd
import resource
import signal
import socket
import ssl
import time
from typing import Any, Final

import uvicorn

import gkmd
from gkmd.core.errors import ConfigError, LocalError
from gkmd.daemon import privileges
from gkmd.daemon.logs import FromLibraries, Log
from gkmd.daemon.notify import notify
from gkmd.web.app import application
from gkmd.web.client import DaemonClient
from gkmd.web.config import PortalConfig
from gkmd.web.connections import Limits, protocol
from gkmd.web.crowd import Crowd, Entrance

SERVICE_USER: Final = "gkmd-portal"
_BACKLOG: Final = 1024
_LIMITS: Final = Limits()
_OF_CLIENTS: Final = frozenset({"Invalid HTTP request received.", "Exceeded concurrency limit."})
_PARSERS: Final = "python_multipart"  # says of each form that is none what it was about
_OTHER_FILES: Final = 256  # beside those of connections


def run(config: PortalConfig) -> None:
    """Serve until SIGTERM or SIGINT. ConfigError or LocalError when it cannot start."""
    settings = config.process
    log = Log(time.time, settings.log_level, settings.log_format)
    level = logging.DEBUG if settings.log_level == "debug" else logging.INFO
    libraries = FromLibraries(log)
    libraries.addFilter(is_ours)
    logging.basicConfig(level=level, handlers=[libraries], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    account = _account(settings.user)
    listening = Entrance(bind(config.listen), Crowd(_LIMITS, config.trusted_proxies))
    server = _Server(server_config(config, application(config, DaemonClient(config.socket))))
    _open_files(_LIMITS.most + _OTHER_FILES)
    privileges.drop(account, privileges.NO_CAPABILITIES, _groups(account))
    privileges.hide_memory()
    for warning in config.warnings:
        log.tell("configuration", "warning", {"advice": warning})
    if account is None and os.geteuid() == 0:
        advice = f"`useradd --system --user-group {SERVICE_USER}`, and the portal becomes this user by itself"
        log.tell("running-as-root", "warning", {"advice": advice})
    host, port = listening.getsockname()[:2]
    log.tell(
        "started",
        "info",
        {
            "role": "portal",
            "version": gkmd.__version__,
            "pid": os.getpid(),
            "listen": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "origin": config.origin,
        },
    )
    # uvicorn raises the signal that ended it once more when all is done; to end is what was asked for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        server.run(sockets=[listening])
    finally:
        log.tell("stopped", "info", {"role": "portal"})
        log.flush()


def bind(listen: tuple[str, int]) -> socket.socket:
    """A listening socket. LocalError when the address cannot be had."""
    host, port = listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Of connections whose protocol is not named asyncio leaves Nagle's delay on: 40 ms of each answer.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4])
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise LocalError(
            f"cannot listen on {host} port {port}: {error.strerror}; configure another [portal] listen"
        ) from None
    made.set_inheritable(True)
    return made


def server_config(config: PortalConfig, app: Any, limits: Limits = _LIMITS) -> uvicorn.Config:
    """TLS 1.2 and later, no header that names the software, no access log, no belief in what clients say
    about themselves, and an end to waiting for them. ConfigError when certificate and key do not do.
    """
    tls: dict[str, Any] = {}
    if config.certificate is not None:
        tls = {"ssl_certfile": str(config.certificate), "ssl_keyfile": str(config.key)}
    made = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        limit_concurrency=limits.most + 1,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=32_768,
        http=protocol(limits),
        loop="gkmd.web.crowd:Loop",
        ws="none",
        lifespan="on",
        **tls,
    )
    try:
        made.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"certificate {config.certificate} and key {config.key}: {getattr(error, 'strerror', error)}; "
            "PEM files that belong together are needed"
        ) from None
    if made.ssl is not None:
        made.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        notify("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        await super().shutdown(sockets)


def is_ours(record: logging.LogRecord) -> bool:
    """Whether the line is about us. What any client can do writes no line: it would fill the disk."""
    return not record.name.startswith(_PARSERS) and record.getMessage() not in _OF_CLIENTS


def _open_files(wanted: int) -> None:
    """As many open files as connections may take, when the system gives them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _account(user: str) -> pwd.struct_passwd | None:
    """The account to become: the configured one, else ``gkmd-portal`` when there is one."""
    if user or os.geteuid() != 0:
        return privileges.account(user)
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None


def _groups(account: pwd.struct_passwd | None) -> tuple[int, ...]:
    """Its supplementary groups: the daemon's socket is open to one of them."""
    if account is None:
        return ()
    return tuple(os.getgrouplist(account.pw_name, account.pw_gid))
