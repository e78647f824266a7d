"""What the two daemons do alike around their work: log, control socket, signals, orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeAlias

from pyprctl import Cap

import gkmd
from gkmd.core.errors import GkmdError
from gkmd.daemon import privileges
from gkmd.daemon.clock import SteadyClock
from gkmd.daemon.control import LINE_OCTETS, Command, ControlServer, StructuredCommand
from gkmd.daemon.control_socket import bind_control
from gkmd.daemon.events import Events
from gkmd.daemon.logs import FromLibraries, Log
from gkmd.daemon.notify import notify
from gkmd.daemon.process_config import ControlSettings, ProcessSettings
from gkmd.daemon.udp import Udp

Commands: TypeAlias = Mapping[str, Command | StructuredCommand]


class _Bound:
    """A control socket that is bound and not yet served."""

    def __init__(self, settings: ControlSettings, owner: pwd.struct_passwd | None) -> None:
        self.path = settings.socket
        self.socket = bind_control(settings, owner)
        self.gid = os.stat(self.path).st_gid

    def unbind(self) -> None:
        self.socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class Process:
    """The parts that live as long as the process. Made before privileges are dropped.

    ``become`` and ``account`` are told apart because files are made in between. ``portal`` is the socket of
    the platform's portal, which has commands of its own.
    """

    def __init__(
        self,
        role: str,
        settings: ProcessSettings,
        control: ControlSettings,
        portal: ControlSettings | None = None,
    ) -> None:
        self.role = role
        self.clock = SteadyClock()
        self.log = Log(self.clock.now, settings.log_level, settings.log_format)
        self.events = Events(self.log, self.clock.now)
        level = logging.DEBUG if settings.log_level == "debug" else logging.INFO
        logging.basicConfig(level=level, handlers=[FromLibraries(self.log)], force=True)
        self.started = self.clock.now()
        self.account = privileges.account(settings.user)
        self._settings = settings
        self._control = _Bound(control, self.account)
        self._portal: _Bound | None = None
        if portal is not None:
            try:
                self._portal = _Bound(portal, self.account)
            except BaseException:
                self._control.unbind()
                raise
        self._servers: list[ControlServer] = []
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None

    def become(self, keep: frozenset[Cap]) -> None:
        """Give up what the work does not need; warn when that leaves us root."""
        supplementary = (self._control.gid,) if self.account is not None else ()
        privileges.drop(self.account, keep, supplementary)
        privileges.hide_memory()
        if self.account is None and os.geteuid() == 0:
            self.events.tell(
                "running-as-root",
                "warning",
                {"advice": "`useradd --system --user-group gkmd`, and gkmd becomes this user by itself"},
            )

    def advise(self, warnings: Iterable[str]) -> None:
        """What the configuration's author should know."""
        for warning in warnings:
            self.events.tell("configuration", "warning", {"advice": warning})

    def name_fixed(self, changed: list[str]) -> None:
        """After a reload: what differs but was not taken over."""
        if changed:
            self.events.tell("restart-needed", "warning", {"changed": changed})

    def unbind(self) -> None:
        """Undo the control sockets when the start fails later on."""
        self._control.unbind()
        if self._portal is not None:
            self._portal.unbind()

    async def serve(
        self,
        commands: Commands,
        reload: Callable[[], None],
        portal: Commands | None = None,
        line_octets: int = LINE_OCTETS,
    ) -> None:
        """Say that we are ready, then serve the control sockets until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        self.events.batch(loop.call_later)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload, reload)
        everything = {**commands, "recent": Command(self.events.recent)}
        bound = self._control
        self._servers.append(
            ControlServer(bound.socket, everything, self.events, bound.gid, line_octets=line_octets)
        )
        if self._portal is not None and portal is not None:
            bound = self._portal
            self._servers.append(
                ControlServer(bound.socket, portal, self.events, bound.gid, line_octets, streams=False)
            )
        for server in self._servers:
            await server.start()
        self.events.tell(
            "started", "info", {"role": self.role, "version": gkmd.__version__, "pid": os.getpid()}
        )
        self.log.flush()
        notify("READY=1")
        await self._stop.wait()
        if self._failure is not None:
            raise self._failure
        notify("STOPPING=1")
        self.events.tell("stopping", "info", {"role": self.role})

    async def close(self) -> None:
        """The last words."""
        for server in self._servers:
            await server.close()
        self.events.tell("stopped", "info", {"role": self.role})
        self.events.batch(None)

    def start_guarded(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of ``work`` that is guarded."""
        task = asyncio.get_running_loop().create_task(work)
        self.guard(task)
        return task

    def guard(self, task: asyncio.Task[None]) -> None:
        """When ``task`` fails, ``serve`` ends with its error."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                self._failure = task.exception()
                self._stop.set()

        task.add_done_callback(ended)

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody caught: a line instead of a traceback, and the service goes on."""
        error = context.get("exception")
        fields = {"verb": "event loop", "error": f"{context.get('message')}: {error!r}"}
        self.events.tell("internal-fault", "error", fields)

    def _reload(self, reload: Callable[[], None]) -> None:
        try:
            reload()
        except GkmdError as error:
            self.events.tell("reload-failed", "error", {"error": str(error)})
        else:
            self.events.tell("reloaded", "info", {})

    def status(self, udp: Udp) -> dict[str, object]:
        """What ``gkmd ctl status`` shows of any daemon."""
        return {
            "role": self.role,
            "version": gkmd.__version__,
            "pid": os.getpid(),
            "user": _user(),
            "started": self.started,
            "now": self.clock.now(),
            "listen": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in udp.local],
            "received": udp.received,
            "sent": udp.sent,
            "dropped": dict(sorted((self.events.drops + udp.drops).items())),
            "events": dict(sorted(self.events.counts.items())),
        }


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
