"""The member's process: what is made before privileges go, and what runs after."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import os
import socket
from collections.abc import Coroutine, Sequence
from pathlib import Path as FilePath
from typing import Any, Final

from gkmd.core.address import IpAddress, Path
from gkmd.core.errors import DataplaneError, LocalError
from gkmd.core.esp import EspSa
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.daemon import member_config, privileges
from gkmd.daemon.control import Command
from gkmd.daemon.keylog import KeyLog
from gkmd.daemon.listening import Listening
from gkmd.daemon.member_config import MemberConfig
from gkmd.daemon.member_crew import CONFIGURED, Hire, MemberCrew
from gkmd.daemon.member_driver import MemberDriver
from gkmd.daemon.member_views import group_rows, sa_rows
from gkmd.daemon.member_watch import MemberWatch
from gkmd.daemon.one_member import Claim, claim
from gkmd.daemon.portal_client import PortalClient
from gkmd.daemon.portal_link import tls_context
from gkmd.daemon.portal_tickets import PortalTickets
from gkmd.daemon.process import Process
from gkmd.daemon.ticket_desk import TicketDesk
from gkmd.daemon.ticket_file import Ticket
from gkmd.daemon.ticket_sources import TicketSources
from gkmd.daemon.udp import Udp
from gkmd.daemon.wishes import Wish, Wishes
from gkmd.ike.closing import closing_policies
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.member_settings import Leave, Register, Server, Stop
from gkmd.kernel.ledger import LedgerDataplane
from gkmd.kernel.recording import RecordingDataplane

_LAST_WORDS_SECONDS: Final = 2.0
_ROUTE_SECONDS: Final = 1.0  # between looks for a route to a server
_NAT_PORT: Final = 4500
# What a reload does not take over.
_FIXED: Final = (
    *("identity", "local", "control", "dataplane", "servers", "server_port", "server_identity"),
    *("credentials", "ike", "settings", "joins", "wanted", "linger", "tickets", "portal"),
)


def run(config: MemberConfig, keylog: FilePath | None = None) -> None:
    """Be a member until SIGTERM. GkmdError with one clear line when the start fails; nothing is left then."""
    udp, keys = Udp(), None
    if config.dataplane == "xfrm" and not privileges.has_net_admin():
        raise LocalError(
            "a member changes the kernel's IPsec SAs and needs CAP_NET_ADMIN: start it as root (it gives all "
            'other privileges up by itself), or for a dry run set dataplane = "recording"'
        )
    process = Process("member", config.process, config.control)
    held = contextlib.ExitStack()
    right = Claim(None)
    try:
        if config.dataplane == "xfrm":
            own = set() if process.account is None else {process.account.pw_uid}
            right = held.enter_context(claim(frozenset({0, os.geteuid(), *own}), process.events.tell))
        udp.open(config.local, config.any_family)
        if keylog is not None:
            keys = KeyLog(keylog)
            process.events.tell("key-log", "warning", {"file": str(keylog), "holds": "every key"})
        process.advise(config.warnings)
        portal = _open_portal(config)
        process.become(privileges.MEMBER_CAPABILITIES)
        asyncio.run(_serve(config, process, udp, keys, portal, right))
    finally:
        held.close()
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


def _open_portal(config: MemberConfig) -> PortalTickets | None:
    if config.portal is None:
        return None
    login = config.portal.login
    client = PortalClient(login, tls_context(login.ca))
    return PortalTickets(client, config.portal, config.tickets.local)


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


def paths_to(identity: Identity, servers: Sequence[IpAddress], server_port: int, udp: Udp) -> list[Server]:
    """The servers that can be reached from a bound socket now, in the configured order."""
    found = []
    for address in servers:
        for host, port in udp.local:
            bound = ipaddress.ip_address(host.partition("%")[0])
            if bound.version == address.version:
                local = local_address(address) if bound.is_unspecified else host
                if local:
                    path = Path(local, port, str(address), server_port, server_port == _NAT_PORT)
                    found.append(Server(identity, path))
                break
    return found


def not_taken_over(new: MemberConfig, old: MemberConfig) -> list[str]:
    """What a reload finds changed and leaves as it was."""
    return [name for name in _FIXED if getattr(new, name) != getattr(old, name)]


async def _serve(
    config: MemberConfig,
    process: Process,
    udp: Udp,
    keys: KeyLog | None,
    portal: PortalTickets | None,
    right: Claim,
) -> None:
    right.answer()
    dataplane = open_dataplane(config.dataplane)
    if config.dataplane == "recording":
        process.events.tell("dry-run", "warning", {"dataplane": "recording", "kernel": "not touched"})
    # What a crash left stays closed until the new registration takes it over.
    for line in await dataplane.recover(keep_closed=True):
        process.events.tell("recovered", "info", {"what": line})
    member = Member(config, process, udp, dataplane, keys, portal)
    try:
        for join in config.joins:
            for policy in closing_policies(join):
                await dataplane.install_policy(policy)
        tasks = [process.start_guarded(one) for one in member.start()]
        try:
            await process.serve(member.commands(), member.reload)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
        portal: PortalTickets | None = None,
    ) -> None:
        self._config = config
        self._process = process
        self._udp = udp
        self._dataplane = dataplane
        self._keys = keys
        self._listening = Listening(udp)
        self._reqids = itertools.count(1).__next__
        self._crew = MemberCrew()
        self._driver = MemberDriver(
            self._crew,
            process.clock,
            udp,
            process.events,
            dataplane,
            self._listening,
            self._note_keys if keys is not None else None,
        )
        self._wishes = Wishes(config.linger)
        for join in config.joins:
            if join.name in config.wanted:
                self._wishes.add(join)
        self._watch = MemberWatch(self._wishes, self._listening, self._wish, process)
        self._desk = TicketDesk(
            self._crew,
            self._driver.command,
            lambda: self._driver.idle(_LAST_WORDS_SECONDS),
            dataplane,
            process.events,
            self._wishes,
            self._endpoint_of,
        )
        self._sources = TicketSources(config, self._desk, portal, process)

    def start(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until the member stops."""
        self._driver.start()
        self._udp.start(asyncio.get_running_loop(), self._driver.receive, self._driver.drained)
        work: list[Coroutine[Any, Any, None]] = [self._sources.run(), self._watch.run()]
        if self._config.joins:
            work.append(self._hire_configured())
        if self._config.dataplane == "xfrm":
            self._watch.listen()
        return work

    async def _hire_configured(self) -> None:
        """Wait for a route to a server, then connect."""
        config, told = self._config, False
        assert config.server_identity is not None
        assert config.credentials is not None
        while not (servers := self._paths(config.server_identity, config.servers, config.server_port)):
            if not told:
                told = True
                wanted = [str(address) for address in config.servers]
                self._process.events.tell(
                    "no-route", "warning", {"servers": wanted, "advice": "see `ip route`"}
                )
            await asyncio.sleep(_ROUTE_SECONDS)
        endpoint = MemberEndpoint(
            config.credentials,
            config.ike,
            servers,
            config.joins,
            system_rng,
            config.settings,
            reqids=self._reqids,
        )
        waiting = [name for name in config.wanted if self._wishes.wish(name) in (Wish.WAITING, Wish.DECLINED)]
        self._driver.command(Hire(CONFIGURED, endpoint, frozenset(waiting)))

    def _endpoint_of(self, ticket: Ticket) -> MemberEndpoint | None:
        servers = self._paths(ticket.server_identity, ticket.servers, ticket.server_port)
        if not servers:
            return None
        return MemberEndpoint(
            ticket.credentials,
            self._config.ike,
            servers,
            [ticket.join],
            system_rng,
            self._config.settings,
            reqids=self._reqids,
        )

    def _paths(self, identity: Identity, servers: Sequence[IpAddress], port: int) -> list[Server]:
        return paths_to(identity, servers, port, self._udp)

    def _wish(self, command: Register | Leave) -> None:
        """What was seen on this host; a group that has no route to its server yet is hired by its wish."""
        if self._crew.holder(command.group) is not None:
            self._driver.command(command)

    async def stop(self) -> None:
        """Leave every group, say good-bye, then hear no more."""
        self._watch.close()
        self._driver.command(Stop())
        end = self._process.clock.now() + self._config.settings.stop_within + _LAST_WORDS_SECONDS
        while not self._crew.stopped and self._process.clock.now() < end:
            await asyncio.sleep(0.01)
        self._driver.stop_timer()
        await self._driver.idle(_LAST_WORDS_SECONDS)
        self._udp.stop()
        self._listening.close()

    def _note_keys(self, sa: EspSa) -> None:
        assert self._keys is not None
        self._keys.esp(sa)
        post = self._crew.holder(sa.group)
        if post is not None and post.endpoint.sa is not None:
            self._keys.ike(post.endpoint.sa.record())

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
        self._known(group)
        self._driver.command(Register(group))
        self._wishes.asked(group)
        return {"group": group}

    def _leave(self, group: str) -> dict[str, str]:
        self._known(group)
        self._driver.command(Leave(group))
        self._wishes.declined(group)
        return {"group": group}

    def _known(self, group: str) -> None:
        """The crew says what there is; only what has no route is told apart."""
        configured = any(join.name == group for join in self._config.joins)
        if self._crew.holder(group) is None and (configured or self._desk.of_group(group) is not None):
            raise LocalError("there is no route to a key server yet; see `ip route`")

    def _groups(self) -> list[dict[str, Any]]:
        return group_rows(self._crew, self._wishes, self._desk, self._process.clock.now())

    def _sas(self, group: str) -> list[dict[str, Any]]:
        return sa_rows(self._crew, group, self._process.clock.now())

    def _status(self) -> dict[str, Any]:
        config, groups = self._config, self._crew.groups
        own = self._crew.post(CONFIGURED)
        sa = None if own is None else own.endpoint.sa
        return self._process.status(self._udp) | {
            "identity": str(config.identity),
            "server": str(config.server_identity or ""),
            "ike_sa": None if sa is None else {"state": sa.state.value, "server": str(sa.path)},
            "tickets": len(self._desk.held),
            "portal": self._sources.portal_state(),
            "groups": len({*groups, *(join.name for join in config.joins), *self._desk.groups}),
            "registered": sum(group.registered for group in groups.values()),
            "kernel": {
                "dataplane": config.dataplane,
                "policies": len(self._dataplane.policies),
                "sas": len(self._dataplane.sas),
            },
        }

    def reload(self) -> None:
        """SIGHUP: the configuration is checked and logging changes; everything else needs a restart."""
        if self._config.file_given:
            new = member_config.load(self._config.file, tickets=bool(self._config.given))
            self._process.log.configure(new.process.log_level, new.process.log_format)
            self._process.advise(new.warnings)
            self._process.name_fixed(not_taken_over(new, self._config))
        self._sources.look_now()
