"""Real gkmd processes on loopback: started as a user would, asked by their control sockets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from daemon_config import write
from free_ports import free_port

from gkmd.core.errors import LocalError
from gkmd.daemon.control_client import ControlClient

T = TypeVar("T")
PATIENCE_SECONDS = 90.0  # two cores that are busy with other things

GROUP = """\
[[group]]
name = "news"
address = "239.10.0.1"
port = 5004
receivers = ["any"]
senders = ["fqdn:tx.example"]
rekey_address = "239.10.0.2"
rekey_port = {rekey_port}
rekey_interface = "lo"
tek_lifetime = {tek}
kek_lifetime = {kek}
activation_delay = 0
deactivation_delay = 1
rekey_repeats = 1
rekey_interval = 0.2
"""

SERVER = """\
identity = "fqdn:gcks.example"
listen = ["127.0.0.1:{port}"]
[process]
log_format = "json"
[state]
path = "state/state.db"
[control]
socket = "server.sock"
[credentials]
psk_files = ["psk.toml"]
"""

MEMBER = """\
identity = "{identity}"
local = ["127.0.0.1:0"]
dataplane = "recording"
[process]
log_format = "json"
[server]
addresses = ["127.0.0.1"]
port = {port}
identity = "fqdn:gcks.example"
[ike]
retry_longest = 1
retry_refused = 1
[control]
socket = "member.sock"
[credentials.psk]
"fqdn:gcks.example" = "{secret}"
[[group]]
name = "news"
role = "{role}"
interface = "lo"
"""


def wait_for(what: str, fact: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of ``fact``; LocalErrors on the way are patience, not failure."""
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            last = found = fact()
            if found:
                return found
        except LocalError as error:
            last = error
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds} s: {what}; last: {last!r}")


class Daemon:
    """One process. ``folder`` holds its configuration, control socket and log."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.log = folder / f"{kind}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, before: Callable[[], None] | None = None) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gkmd.cli.main", self.kind, "-c", f"{self.kind}.toml", *options],
                cwd=self.folder,
                stderr=log,
                stdout=log,
                preexec_fn=before,
            )

    def ready(self) -> dict[str, Any]:
        return wait_for(f"an answer of the {self.kind}", lambda: dict(self.ask("status")))

    def ask(self, command: str, **arguments: str) -> Any:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with ControlClient(self.folder / f"{self.kind}.sock") as client:
            return client.request(command, **arguments)

    def tell(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit status."""
        self.tell(number)
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines of one event."""
        text = self.log.read_text()
        whole = text[: text.rfind("\n") + 1]  # the last line may still be on its way
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def spis(self, kind: str) -> set[str]:
        return {row["spi"] for row in self.ask("sas", group="news") if row["kind"] == kind}

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class World:
    """A key server and its members in one folder."""

    def __init__(self, folder: Path, tek: int = 600, kek: int = 600) -> None:
        self.folder = folder
        self.port = free_port()
        self.secrets: dict[str, str] = {}
        self.members: dict[str, Daemon] = {}
        self.server = Daemon("server", folder / "server")
        self.server.folder.mkdir()
        write(self.server.folder, "master.key", os.urandom(32).hex(), 0o400)
        group = GROUP.format(rekey_port=free_port(), tek=tek, kek=kek)
        write(self.server.folder, "server.toml", SERVER.format(port=self.port) + group)

    def know(self, name: str) -> str:
        """Give a member a secret, and let the server's file know it."""
        secret = self.secrets.setdefault(f"fqdn:{name}.example", os.urandom(16).hex())
        lines = [f'"{who}" = "{one}"\n' for who, one in self.secrets.items()]
        write(self.server.folder, "psk.toml", "".join(lines))
        return secret

    def member(self, name: str, role: str = "receiver", secret: str = "") -> Daemon:
        """A configured member, not started."""
        daemon = self.members[name] = Daemon("member", self.folder / name)
        daemon.folder.mkdir()
        text = MEMBER.format(
            identity=f"fqdn:{name}.example", port=self.port, secret=secret or self.know(name), role=role
        )
        write(daemon.folder, "member.toml", text)
        return daemon

    def wait_registered(self, *daemons: Daemon) -> None:
        for daemon in daemons:
            wait_for(f"{daemon.folder.name} registered", lambda d=daemon: d.ask("status")["registered"])  # type: ignore[misc]


@contextlib.contextmanager
def world(folder: Path, **options: int) -> Iterator[World]:
    """Every process is gone at the end."""
    made = World(folder, **options)
    try:
        yield made
    finally:
        for daemon in (*made.members.values(), made.server):
            daemon.kill()
