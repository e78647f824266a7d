"""The key server's process: what is made before privileges go, and what runs after."""

from __future__ import annotations

import asyncio
import gc
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gkmd
from gkmd.core.change import Change
from gkmd.core.errors import ConfigError, LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.crypto.seal_at_rest import MasterKey
from gkmd.daemon import platform_service, privileges, server_config, server_views
from gkmd.daemon.control import LINE_OCTETS, Command, StructuredCommand
from gkmd.daemon.driver import Machine
from gkmd.daemon.keylog import KeyLog
from gkmd.daemon.metrics import Measured, text_of
from gkmd.daemon.platform_machine import PlatformMachine
from gkmd.daemon.process import Process
from gkmd.daemon.server_config import ServerConfig
from gkmd.daemon.server_driver import ServerDriver
from gkmd.daemon.udp import Udp
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy
from gkmd.ike.gcks_settings import Rekey, Reload, RemoveMember, Shutdown
from gkmd.ike.gikev2_gcks import Gcks
from gkmd.store.journal import Journal

if TYPE_CHECKING:
    from gkmd.daemon.server_platform import ServerPlatform

_LAST_WORDS_SECONDS: Final = 5.0
# What a reload does not change.
_FIXED: Final = ("identity", "listen", "process", "control", "state", "master_key", "ike", "settings")


def run(config: ServerConfig, keylog: Path | None = None) -> None:
    """Serve until SIGTERM. GkmdError with one clear line when the start fails; nothing is left then."""
    master_key = server_config.load_master_key(config, system_rng)
    udp, keys = Udp(), None
    portal = None if config.platform is None else config.platform.socket
    process = Process("server", config.process, config.control, portal)
    try:
        udp.open(config.listen, config.any_family)
        make_state_folder(config.state, process.account)
        if keylog is not None:
            keys = KeyLog(keylog)
            process.events.tell("key-log", "warning", {"file": str(keylog), "holds": "every key"})
        process.advise(config.warnings)
        process.become(privileges.NO_CAPABILITIES)
        asyncio.run(_serve(config, master_key, process, udp, keys))
    finally:
        udp.close()
        process.unbind()
        if keys is not None:
            keys.close()


async def _serve(
    config: ServerConfig, master_key: MasterKey, process: Process, udp: Udp, keys: KeyLog | None
) -> None:
    journal = Journal.open(config.state, master_key, system_rng)
    try:
        server = Server(config, process, udp, journal, keys)
        server.start()
        spare_the_collector()
        portal = server.portals_commands()
        octets = LINE_OCTETS if portal is None else platform_service.LINE_OCTETS
        await process.serve(server.commands(), server.reload, portal, octets)
        await server.stop()
    finally:
        journal.close()
    await process.close()


class Server:
    """The running key server. Made without privileges, inside the event loop."""

    def __init__(
        self, config: ServerConfig, process: Process, udp: Udp, journal: Journal, keys: KeyLog | None
    ) -> None:
        self._config = config
        self._process = process
        self._udp = udp
        self._keys = keys
        journalled = journal.load()
        now = process.clock.now()
        self._platform: ServerPlatform | None = None
        policies = config.groups
        if config.platform is not None:
            # Imported here: a key server without reservations needs none of it.
            from gkmd.daemon.server_platform import ServerPlatform

            self._platform = ServerPlatform(config.platform, journalled, system_rng, now, self._measured)
            policies += self._platform.policies
        elif journalled.facts:
            process.advise(
                ["the state holds reservations, but there is no [platform]: their groups are closed"]
            )
        doorkeeper = None if self._platform is None else self._platform.platform
        try:
            self._directory = Directory(
                policies, system_rng, now, journalled, conceal=config.hide_groups, doorkeeper=doorkeeper
            )
        except ValueError as error:
            raise ConfigError(
                f"the configuration's groups do not go with the reservations: {error}"
            ) from None
        settings = config.settings
        if config.platform is not None:
            # Names and passwords are asked for by who can prove itself first (GcksSettings.passwords).
            checks = config.platform.password_workers + config.platform.password_queue
            settings = replace(settings, passwords=True, password_checks=checks)
        self._gcks = Gcks(config.credentials, config.ike, self._directory, system_rng, settings, journalled)
        machine: Machine = self._gcks
        if doorkeeper is not None:
            doorkeeper.use(self._directory)
            machine = PlatformMachine(self._gcks, doorkeeper)
        self._driver = ServerDriver(
            machine,
            process.clock,
            udp,
            process.events,
            journal,
            self._directory.decide,
            self._note_keys if keys is not None else None,
            None if self._platform is None else self._platform.passwords,
        )
        if self._platform is not None:
            self._platform.join(self._driver, journal, process.events, process.clock.now)

    def start(self) -> None:
        self._driver.start()
        if self._keys is not None and self._platform is not None:
            self._platform.noted("key-log", os.getuid(), {})
        self._udp.start(asyncio.get_running_loop(), self._driver.receive, self._driver.drained)

    async def stop(self) -> None:
        """Hear no more, write what is under way. Members keep their keys: the next start goes on."""
        self._udp.stop()
        self._driver.command(Shutdown())
        self._driver.stop_timer()
        if not await self._driver.idle(_LAST_WORDS_SECONDS):
            self._process.events.tell("stopped-early", "warning", {"reason": "the journal did not finish"})
        if self._platform is not None:
            await self._platform.close()

    def _note_keys(self, changes: tuple[Change, ...]) -> None:
        assert self._keys is not None
        self._keys.changes(changes, self._policy_of)

    def _policy_of(self, name: str) -> GroupPolicy | None:
        try:
            return self._directory.policy(name)
        except LocalError:
            return None

    # -- the operator ------------------------------------------------------------------------------------

    def commands(self) -> dict[str, Command | StructuredCommand]:
        """What ``gkmd ctl`` can ask for."""
        directory = self._directory
        platform = {} if self._platform is None else self._platform.commands(portal=False)
        return {
            **platform,
            "metrics": Command(lambda: text_of(self._measured())),
            "status": Command(self._status),
            "groups": Command(lambda: [server_views.group_view(one) for one in directory.groups()]),
            "members": Command(lambda group: server_views.members_view(directory, group), ("group",)),
            "sas": Command(lambda group: server_views.sas_view(directory, group), ("group",)),
            "rekey": Command(self._rekey, ("group",), changes=True, note=self._noted("rekey")),
            "remove": Command(
                self._remove, ("group", "identity"), changes=True, note=self._noted("member-remove")
            ),
        }

    def _noted(self, action: str) -> Callable[[int, Mapping[str, str]], object] | None:
        """Where the platform's audit log is told what the operator did without it; None without one."""
        return None if self._platform is None else partial(self._platform.noted, action)

    def portals_commands(self) -> dict[str, StructuredCommand] | None:
        """What the portal can ask for on its own socket, None without a platform."""
        return None if self._platform is None else self._platform.commands(portal=True)

    def _measured(self) -> Measured:
        now, events, udp = self._process.clock.now(), self._process.events, self._udp
        measured = Measured(
            version=gkmd.__version__,
            uptime=now - self._process.started,
            groups=self._directory.groups(),
            ike_sas=self._gcks.ike_sas,
            half_open=self._gcks.half_open,
            commits=self._driver.commits,
            journal_failing=bool(self._driver.store_error),
            events=events.counts,
            drops=events.drops + udp.drops,
            refusals=events.refusals,
            received=udp.received,
            sent=udp.sent,
        )
        return measured if self._platform is None else replace(measured, **self._platform.measured(now))

    def _rekey(self, group: str) -> dict[str, str]:
        self._driver.command(Rekey(group))
        return {"group": group}

    def _remove(self, group: str, identity: str) -> dict[str, str]:
        try:
            who = Identity.parse(identity)
        except ValueError as error:
            raise LocalError(str(error)) from None
        self._driver.command(RemoveMember(group, who))
        return {"group": group, "identity": identity}

    def _status(self) -> dict[str, Any]:
        groups = self._directory.groups()
        return self._process.status(self._udp) | {
            "identity": str(self._config.identity),
            "groups": len(groups),
            "members": sum(group.members for group in groups),
            "ike_sas": self._gcks.ike_sas,
            "half_open": self._gcks.half_open,
            "journal": {
                "path": str(self._config.state),
                "commits": self._driver.commits,
                "error": self._driver.store_error,
            },
        }

    def reload(self) -> None:
        """SIGHUP: groups, credentials and logging change; what else differs needs a restart and is named.

        ConfigError leaves everything as it was.
        """
        new, old = server_config.load(self._config.file), self._config
        self._driver.command(Reload(new.groups, new.credentials))
        self._process.log.configure(new.process.log_level, new.process.log_format)
        self._process.advise(new.warnings)
        fixed = [name for name in _FIXED if getattr(new, name) != getattr(old, name)]
        if (new.platform and new.platform.fixed) != (old.platform and old.platform.fixed):
            fixed.append("platform")
        if self._platform is not None and new.platform is not None:
            self._platform.adopt(new.platform)
        self._process.name_fixed(fixed)


def spare_the_collector() -> None:
    """Let Python look for cycles seldom, and never in what exists already.

    A registration makes hundreds of objects that live on, none in cycles; to look through all of them again
    and again costs several per cent of the server's time. What cycles there are still go.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def make_state_folder(state: Path, account: pwd.struct_passwd | None) -> None:
    """The folder of the journal, ours alone, and the files in it of whom we are about to become."""
    folder = state.parent
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            if account is not None:
                os.chown(folder, account.pw_uid, account.pw_gid)
        if account is not None:
            for file in (state, *(state.with_name(state.name + end) for end in ("-wal", ".lock"))):
                if file.exists():
                    os.chown(file, account.pw_uid, account.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise ConfigError(f"state.path: cannot make {folder}: {error.strerror}") from None
