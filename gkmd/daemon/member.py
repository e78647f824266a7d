"""The member's process: what is made before privileges go, and what runs after."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path as FilePath
from typing import Any, Final

from gkmd.core.address import IpAddress, Path
from gkmd.core.errors import DataplaneError, LocalError
from gkmd.core.esp import EspSa
from gkmd.core.rng import system_rng
from gkmd.daemon import member_config, privileges
from gkmd.daemon.control import Command
from gkmd.daemon.keylog import KeyLog
from gkmd.daemon.listening import Listening
from gkmd.daemon.member_config import MemberConfig
from gkmd.daemon.member_driver import MemberDriver
from gkmd.daemon.process import Process
from gkmd.daemon.udp import Udp
from gkmd.ike.closing import closing_policies
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.member_settings import Leave, Register, Server, Stop
from gkmd.kernel.ledger import LedgerDataplane
from gkmd.kernel.recording import RecordingDataplane

_LAST_WORDS_SECONDS: Final = 2.0
_ROUTE_SECONDS: Final = 1.0  # between looks for a route to a server
_NAT_PORT: Final = 4500


def run(config: MemberConfig, keylog: FilePath | None = None) -> None:
    """Be a member until SIGTERM. GkmdError with one clear line when the start fails; nothing is left then."""
    udp, keys = Udp(), None
    if config.dataplane == "xfrm" and not privileges.has_net_admin():
        raise LocalError(
            "a member changes the kernel's IPsec SAs and needs CAP_NET_ADMIN: start it as root (it gives all "
            'other privileges up by itself), or for a dry run set dataplane = "recording"'
        )
    process = Process("member", config.process, config.control)
    try:
        udp.open(config.local, config.any_family)
        if keylog is not None:
            keys = KeyLog(keylog)
            process.events.tell("key-log", "warning", {"file": str(keylog), "holds": "every key"})
        process.advise(config.warnings)
        process.become(privileges.MEMBER_CAPABILITIES)
        asyncio.run(_serve(config, process, udp, keys))
    finally:
        udp.close()
        process.unbind()
        if keys is not None:
            keys.close()


def open_dataplane(kind: str) -> LedgerDataplane:
    """The kernel, checked for ESP, or the recording twin. DataplaneError that says what to do."""
    if kind == "recording":
        return RecordingDataplane()
    from gkmd.kernel.probe import esp_support
    from gkmd.kernel.xfrm import XfrmDataplane

    support = esp_support()
    if not support.ipv4 and not support.ipv6:
        raise DataplaneError(f"this kernel cannot do ESP: {support.advice}")
    return XfrmDataplane()


def local_address(server: IpAddress) -> str:
    """The address that this host's routes send from to ``server``, empty when there is no route."""
    family = socket.AF_INET6 if server.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(server), 9))  # sends nothing
        except OSError:
            return ""
        host: str = probe.getsockname()[0]
        return host


def paths_to(config: MemberConfig, udp: Udp) -> list[Server]:
    """The servers that can be reached from a bound socket now, in the configured order."""
    found = []
    for address in config.servers:
        for host, port in udp.local:
            bound = ipaddress.ip_address(host.partition("%")[0])
            if bound.version == address.version:
                local = local_address(address) if bound.is_unspecified else host
                if local:
                    marker = config.server_port == _NAT_PORT
                    path = Path(local, port, str(address), config.server_port, marker)
                    found.append(Server(config.server_identity, path))
                break
    return found


async def _serve(config: MemberConfig, process: Process, udp: Udp, keys: KeyLog | None) -> None:
    dataplane = open_dataplane(config.dataplane)
    if config.dataplane == "recording":
        process.events.tell("dry-run", "warning", {"dataplane": "recording", "kernel": "not touched"})
    # What a crash left stays closed until the new registration takes it over.
    for line in await dataplane.recover(keep_closed=True):
        process.events.tell("recovered", "info", {"what": line})
    member = Member(config, process, udp, dataplane, keys)
    try:
        for join in config.joins:
            for policy in closing_policies(join):
                await dataplane.install_policy(policy)
        starting = asyncio.get_running_loop().create_task(member.start())
        process.guard(starting)
        try:
            await process.serve(member.commands(), member.reload)
        finally:
            starting.cancel()
        await member.stop()
    finally:
        await dataplane.close()
    await process.close()


class Member:
    """The running member."""

    def __init__(
        self,
        config: MemberConfig,
        process: Process,
        udp: Udp,
        dataplane: LedgerDataplane,
        keys: KeyLog | None,
    ) -> None:
        self._config = config
        self._process = process
        self._udp = udp
        self._dataplane = dataplane
        self._keys = keys
        self._listening = Listening(udp)
        self._machine: MemberEndpoint | None = None
        self._driver: MemberDriver | None = None

    async def start(self) -> None:
        """Wait for a route to a server, then connect."""
        told = False
        while not (servers := paths_to(self._config, self._udp)):
            if not told:
                told = True
                wanted = [str(address) for address in self._config.servers]
                self._process.events.tell(
                    "no-route", "warning", {"servers": wanted, "advice": "see `ip route`"}
                )
            await asyncio.sleep(_ROUTE_SECONDS)
        config = self._config
        self._machine = machine = MemberEndpoint(
            config.credentials, config.ike, servers, config.joins, system_rng, config.settings
        )
        self._driver = driver = MemberDriver(
            machine,
            self._process.clock,
            self._udp,
            self._process.events,
            self._dataplane,
            self._listening,
            self._note_keys if self._keys is not None else None,
        )
        driver.start()
        self._udp.start(asyncio.get_running_loop(), driver.receive, driver.drained)

    async def stop(self) -> None:
        """Leave every group, say good-bye, then hear no more."""
        driver, machine = self._driver, self._machine
        if driver is not None and machine is not None:
            driver.command(Stop())
            end = self._process.clock.now() + self._config.settings.stop_within + _LAST_WORDS_SECONDS
            while not machine.stopped and self._process.clock.now() < end:
                await asyncio.sleep(0.01)
            driver.stop_timer()
            await driver.idle(_LAST_WORDS_SECONDS)
        self._udp.stop()
        self._listening.close()

    def _note_keys(self, sa: EspSa) -> None:
        assert self._keys is not None
        self._keys.esp(sa)
        if self._machine is not None and self._machine.sa is not None:
            self._keys.ike(self._machine.sa.record())

    # -- the operator ------------------------------------------------------------------------------------

    def commands(self) -> dict[str, Command]:
        """What ``gkmd ctl`` can ask for."""
        return {
            "status": Command(self._status),
            "groups": Command(self._groups),
            "sas": Command(self._sas, ("group",)),
            "register": Command(self._register, ("group",), changes=True),
            "leave": Command(self._leave, ("group",), changes=True),
        }

    def _register(self, group: str) -> dict[str, str]:
        self._running().command(Register(group))
        return {"group": group}

    def _leave(self, group: str) -> dict[str, str]:
        self._running().command(Leave(group))
        return {"group": group}

    def _running(self) -> MemberDriver:
        if self._driver is None:
            raise LocalError("there is no route to a key server yet; see `ip route`")
        return self._driver

    def _group_states(self) -> list[dict[str, Any]]:
        now = self._process.clock.now()
        return [] if self._machine is None else [g.status(now) for g in self._machine.groups.values()]

    def _groups(self) -> list[dict[str, Any]]:
        joins = {join.name: join for join in self._config.joins}
        found = []
        for state in self._group_states():
            join = joins[str(state["group"])]
            roles = [role for role, has in (("receiver", join.receives), ("sender", join.sends)) if has]
            found.append(
                {
                    "name": join.name,
                    "id": str(join.group_id),
                    "state": state["state"],
                    "role": "+".join(roles),
                    "interface": join.interface,
                    "data_sas": len(state["data_sas"]),
                    "rekey_sas": len(state["rekey_sas"]),
                    "sender_ids": state["sender_ids"],
                    "registration_due": state["registration_due"],
                }
            )
        return found

    def _sas(self, group: str) -> list[dict[str, Any]]:
        states = [one for one in self._group_states() if group in ("", one["group"])]
        if not states and group:
            raise LocalError(f"there is no group {group!r}")
        found: list[dict[str, Any]] = []
        for state in states:
            name = state["group"]
            found += [{"group": name, "kind": "rekey"} | sa for sa in state["rekey_sas"]]
            found += [{"group": name, "kind": "esp"} | sa for sa in state["data_sas"]]
        return found

    def _status(self) -> dict[str, Any]:
        sa = self._machine.sa if self._machine is not None else None
        groups = self._machine.groups.values() if self._machine is not None else ()
        return self._process.status(self._udp) | {
            "identity": str(self._config.identity),
            "server": str(self._config.server_identity),
            "ike_sa": None if sa is None else {"state": sa.state.value, "server": str(sa.path)},
            "groups": len(self._config.joins),
            "registered": sum(group.registered for group in groups),
            "kernel": {
                "dataplane": self._config.dataplane,
                "policies": len(self._dataplane.policies),
                "sas": len(self._dataplane.sas),
            },
        }

    def reload(self) -> None:
        """SIGHUP: the configuration is checked and logging changes; everything else needs a restart."""
        new = member_config.load(self._config.file)
        self._process.log.configure(new.process.log_level, new.process.log_format)
        self._process.advise(new.warnings)
        names = ("identity", "local", "servers", "server_port", "server_identity", "ike", "settings", "joins")
        self._process.name_fixed([n for n in names if getattr(new, n) != getattr(self._config, n)])
