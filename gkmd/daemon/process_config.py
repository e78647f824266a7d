"""What server and member configure alike: the process, the control socket, the IKE SA's algorithms."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from gkmd.core.algorithms import (
    CIPHER_BY_NAME,
    INTEGRITY_BY_NAME,
    KEY_EXCHANGE_BY_NAME,
    KEY_WRAP_BY_NAME,
    PRF_BY_NAME,
)
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity
from gkmd.daemon import values
from gkmd.daemon.logs import FORMATS, LEVELS
from gkmd.daemon.section import Section
from gkmd.ike.proposal import IkePolicy
from gkmd.ike.window import Backoff

_DEFAULT_POLICY = IkePolicy()


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """``user`` empty: the user gkmd when there is one and we are root, else nobody is switched to."""

    user: str
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """``group`` empty: the socket belongs to the process's own group. ``table`` of the configuration."""

    socket: Path
    mode: int
    group: str
    table: str = "control"


def host_identity() -> str:
    """The default identity: this host's name as an FQDN."""
    return f"fqdn:{socket.gethostname() or 'localhost'}"


def read_identity(section: Section) -> Identity:
    return section.get("identity", values.identity, host_identity())


def read_process(section: Section) -> ProcessSettings:
    settings = ProcessSettings(
        user=section.get("user", values.text, ""),
        log_level=section.get("log_level", values.choice({k: k for k in LEVELS}), "info"),
        log_format=section.get("log_format", values.choice({k: k for k in FORMATS}), "auto"),
    )
    section.finish()
    return settings


def read_control(section: Section, default: str) -> ControlSettings:
    settings = ControlSettings(
        socket=section.folder / section.get("socket", values.text, default),
        mode=section.get("mode", values.file_mode, "0660"),
        group=section.get("group", values.text, ""),
    )
    section.finish()
    return settings


def read_ike_policy(section: Section) -> IkePolicy:
    """The ordered lists of algorithms; the first is preferred."""

    def names(key: str, table: dict[str, values.T], default: tuple[values.T, ...]) -> tuple[values.T, ...]:
        by_value = {id(v): k for k, v in table.items()}
        return section.get(key, values.list_of(values.choice(table)), [by_value[id(one)] for one in default])

    ciphers = names("ciphers", CIPHER_BY_NAME, _DEFAULT_POLICY.ciphers)
    integrities = names("integrities", INTEGRITY_BY_NAME, _DEFAULT_POLICY.integrities)
    prfs = names("prfs", PRF_BY_NAME, _DEFAULT_POLICY.prfs)
    key_exchanges = names("key_exchanges", KEY_EXCHANGE_BY_NAME, _DEFAULT_POLICY.key_exchanges)
    key_wraps = names("key_wraps", KEY_WRAP_BY_NAME, _DEFAULT_POLICY.key_wraps)
    try:
        return IkePolicy(ciphers, integrities, prfs, key_exchanges, key_wraps)
    except LocalError as error:
        raise section.wrong("ciphers", str(error)) from None


def read_backoff(section: Section) -> Backoff:
    """How long a request of ours is repeated."""
    default = Backoff()
    return Backoff(
        first=section.get("retransmit_first", values.duration(0.1, 60), default.first),
        factor=default.factor,
        ceiling=section.get("retransmit_longest", values.duration(0.1, 600), default.ceiling),
        tries=section.get("retransmit_tries", values.integer(1, 20), default.tries),
    )
