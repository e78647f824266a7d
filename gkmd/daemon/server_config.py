"""The key server's configuration file (docs/configuration.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gkmd.core.errors import ConfigError, LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.seal_at_rest import MASTER_KEY_OCTETS, MasterKey
from gkmd.daemon import values
from gkmd.daemon.credential_config import read_credentials
from gkmd.daemon.group_config import read_group
from gkmd.daemon.password_pool import workers_by_default
from gkmd.daemon.platform_config import PLATFORM_SOCKET as PLATFORM_SOCKET
from gkmd.daemon.platform_config import PlatformConfig, read_platform
from gkmd.daemon.process_config import (
    ControlSettings,
    ProcessSettings,
    read_backoff,
    read_control,
    read_identity,
    read_ike_policy,
    read_process,
)
from gkmd.daemon.secret_files import read_secret, systemd_credential
from gkmd.daemon.section import Section
from gkmd.daemon.toml_source import TomlSource
from gkmd.group.model import GroupPolicy
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.proposal import IkePolicy

LISTEN: Final = ("0.0.0.0:848", "[::]:848")
CONTROL_SOCKET: Final = "/run/gkmd/server.sock"
STATE: Final = "/var/lib/gkmd/state.db"
MASTER_CREDENTIAL: Final = "gkmd-master-key"
_SECONDS: Final = values.duration(1, 3600)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """``warnings`` are for the log at start; nothing in them prevents it. ``any_family`` is true when
    ``listen`` was left to its default: then a host without IPv6 is no error."""

    file: Path
    identity: Identity
    listen: tuple[tuple[str, int], ...]
    any_family: bool
    process: ProcessSettings
    control: ControlSettings
    state: Path
    master_key: Path
    credentials: Credentials
    ike: IkePolicy
    settings: GcksSettings
    groups: tuple[GroupPolicy, ...]
    hide_groups: bool
    platform: PlatformConfig | None
    warnings: tuple[str, ...]


def load(file: Path) -> ServerConfig:
    """Read and check the file, and the files that it names except the master key. Raises ConfigError."""
    return read(Section(TomlSource.read(file)), file)


def read(section: Section, file: Path) -> ServerConfig:
    warnings: list[str] = []
    identity = read_identity(section)
    ike = section.table("ike")
    policy = read_ike_policy(ike)
    settings = _settings(ike)
    state = section.table("state")
    groups = tuple(read_group(one, warnings) for one in section.tables("group"))
    listen = section.get("listen", values.list_of(values.endpoint, 1), list(LISTEN))
    credentials = read_credentials(section.table("credentials"), identity, warnings)
    identity = credentials.identity
    platform = _platform(section, identity, listen, warnings)
    config = ServerConfig(
        file=file,
        identity=identity,
        listen=listen,
        any_family=not section.has("listen"),
        process=read_process(section.table("process")),
        control=read_control(section.table("control"), CONTROL_SOCKET),
        state=section.folder / state.get("path", values.text, STATE),
        master_key=section.folder / state.get("master_key", values.text, "master.key"),
        credentials=credentials,
        ike=policy,
        settings=settings,
        groups=groups,
        hide_groups=section.get("hide_groups", values.boolean, False),
        platform=platform,
        warnings=tuple(warnings),
    )
    state.finish()
    section.finish()
    _check_groups(section, groups)
    return config


def _platform(
    section: Section, identity: Identity, listen: tuple[tuple[str, int], ...], warnings: list[str]
) -> PlatformConfig | None:
    """None without a [platform]; its keys are read all the same, to find none that is unknown."""
    authorities = section.table("credentials").get("ca", values.list_of(values.text), [])
    wanted = section.has("platform")
    advice = warnings if wanted else []
    files = authorities if wanted else ()
    platform = read_platform(section.table("platform"), identity, listen, files, workers_by_default(), advice)
    return platform if wanted else None


def _settings(ike: Section) -> GcksSettings:
    default = GcksSettings()
    settings = GcksSettings(
        half_open_limit=ike.get("half_open_limit", values.integer(1, 1_000_000), default.half_open_limit),
        half_open_lifetime=ike.get(
            "half_open_lifetime", values.duration(1, 3600), default.half_open_lifetime
        ),
        cookie_threshold=ike.get("cookie_threshold", values.integer(0, 1_000_000), default.cookie_threshold),
        half_open_per_source=ike.get(
            "half_open_per_source", values.integer(1, 1_000_000), default.half_open_per_source
        ),
        init_rate=ike.get("init_rate", values.integer(0, 1_000_000), default.init_rate),
        init_burst=ike.get("init_burst", values.integer(1, 1_000_000), default.init_burst),
        cookie_lifetime=ike.get("cookie_lifetime", _SECONDS, default.cookie_lifetime),
        liveness_idle=ike.get("dead_peer_interval", values.duration(0, 86_400), default.liveness_idle),
        backoff=read_backoff(ike),
        sas_per_peer=ike.get("sas_per_peer", values.integer(1, 1000), default.sas_per_peer),
    )
    ike.finish()
    return settings


def _check_groups(section: Section, groups: tuple[GroupPolicy, ...]) -> None:
    names: set[str] = set()
    ids: set[Identity] = set()
    for one, group in zip(section.tables("group"), groups, strict=True):
        if group.name in names:
            raise one.wrong("name", f"found {group.name}, expected a name that no other group has")
        if group.group_id in ids:
            raise one.wrong("id", f"found {group.group_id}, expected an id that no other group has")
        names.add(group.name)
        ids.add(group.group_id)


def load_master_key(config: ServerConfig, rng: Rng) -> MasterKey:
    """From the systemd credential ``gkmd-master-key`` when there is one, else from the configured file.

    The file holds 64 hex digits. ConfigError when it is missing, readable by others, or something else.
    """
    path = systemd_credential(MASTER_CREDENTIAL)
    octets = read_secret(path or config.master_key, "master key", group_may_read=path is not None)
    try:
        return MasterKey(SecretBytes(bytes.fromhex(octets.reveal().decode("ascii").strip())), rng)
    except (ValueError, LocalError):
        raise ConfigError(
            f"master key {path or config.master_key} does not hold {2 * MASTER_KEY_OCTETS} hex digits; "
            "restore it from your backup (without it the state cannot be read)"
        ) from None
