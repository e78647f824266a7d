"""The platform in the lab: a key server with [platform], the portal before it, and members by ticket.

The key server and the portal are the real programs, and so is the command line that sets them up.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.crypto import issuing
from gkmd.daemon.control_client import ControlClient
from lab.keying import SERVER_ID, USER, Daemon, GroupMember, KeyServer, table
from lab.namespaces import inside
from lab.scenario import Lab
from lab.topology import Host

PORT = 8443
GKMD = str(Path(sys.executable).parent / "gkmd")


def save(path: Path, octets: bytes) -> str:
    """Write a secret for its owner alone."""
    path.touch(0o600)
    path.write_bytes(octets)
    return str(path)


class PlatformServer(KeyServer):
    """A key server that takes reservations."""

    def __init__(self, lab: Lab, host: Host) -> None:
        super().__init__(lab, host)
        self.platform_socket = self.folder / "platform.sock"
        self.authority = issuing.make_authority("lab CA", time.time(), 30, system_rng)

    def configure_platform(
        self, platform: Mapping[str, object], providers: Sequence[Mapping[str, object]] = ()
    ) -> None:
        """``platform`` are keys of [platform] beside the sockets and addresses; no group is configured."""
        own = issuing.make_certificate(
            self.authority, SERVER_ID, [Identity.parse(SERVER_ID)], time.time(), 30, system_rng
        )
        ca = save(self.folder / "ca.pem", self.authority.certificate_pem)
        self.configure(
            [],
            credentials={
                "certificate": save(self.folder / "server.crt", own.certificate_pem),
                "key": save(self.folder / "server.key", own.key_pem.reveal()),
                "ca": [ca],
            },
        )
        keys: dict[str, object] = {
            "socket": str(self.platform_socket),
            "server_addresses": [self.host.ipv4],
            "rekey_interface": "eth0",
            **platform,
        }
        parts = [self.config.read_text(), table("platform", keys)]
        parts += [table("[platform.provider]", one) for one in providers]
        self.write("\n".join(parts))

    def call(self, operation: str, **request: Any) -> Any:
        """An operation as the operator."""
        with ControlClient(self.socket) as client:
            return client.call(operation, request)

    def gkmd(self, *words: str) -> Any:
        """``gkmd WORDS --json`` on the server's host, as an operator would type it; its result."""
        done = subprocess.run(
            [GKMD, *words, "--json", "-s", str(self.socket)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"gkmd {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)


class Portal(Daemon):
    """The portal on the key server's host; browsers reach it by TLS."""

    kind = "portal"

    def __init__(self, lab: Lab, server: PlatformServer) -> None:
        super().__init__(lab, server.host)
        self._server = server
        self.url = f"https://{self.host.ipv4}:{PORT}"

    def configure(self, providers: Sequence[Mapping[str, object]] = ()) -> None:
        """Its certificate is of an authority of its own, by a curve that browsers know."""
        now = time.time()
        authority = issuing.make_authority("lab portal CA", now, 30, system_rng, "ecdsa-p256")
        own = issuing.make_certificate(
            *(authority, "portal", [Identity.parse(f"ipv4:{self.host.ipv4}")], now, 30, system_rng),
            kind="ecdsa-p256",
        )
        self.authority = save(self.folder / "portal-ca.crt", authority.certificate_pem)
        keys = {
            "listen": f"{self.host.ipv4}:{PORT}",
            "origin": self.url,
            "certificate": save(self.folder / "portal.crt", own.certificate_pem),
            "key": save(self.folder / "portal.key", own.key_pem.reveal()),
            "socket": str(self._server.platform_socket),
            "title": "Lab television",
        }
        parts = [
            table("portal", keys),
            table("process", {"log_format": "json", "user": USER}),
            *(table("[provider]", one) for one in providers),
        ]
        self.write("\n".join(parts))

    def _answers(self) -> bool:
        try:
            with inside(self.host.namespace):
                link = socket.create_connection((self.host.ipv4, PORT), timeout=5)
            with (
                link,
                ssl.create_default_context(cafile=self.authority).wrap_socket(
                    link, server_hostname=self.host.ipv4
                ),
            ):
                return True
        except (OSError, ssl.SSLError):
            return False


class Viewer(GroupMember):
    """A member that has nothing but what a receiver is given: ticket files, or a name and a password."""

    def configure_tickets(self, when: str = "wanted") -> None:
        """A folder that tickets are taken up from as they appear."""
        self._tickets.mkdir(mode=0o700, exist_ok=True)
        keys = {"folder": str(self._tickets), "when": when, "interface": "eth0"}
        self.write("\n".join([*self._head(), table("tickets", keys)]))

    def take(self, ticket: str) -> None:
        """A ticket file, as the portal or the command line hands it out; all of it at once."""
        made = self._tickets / "ticket.new"
        save(made, ticket.encode())
        made.rename(self._tickets / "ticket.toml")

    @property
    def _tickets(self) -> Path:
        return self.folder / "tickets"

    def configure_name(
        self, server: PlatformServer, name: str, password: str, group: Mapping[str, object]
    ) -> None:
        """A name and a password by EAP, and one [[group]]."""
        credentials = {
            "name": name,
            "password_file": save(self.folder / "password", password.encode()),
            "ca": [save(self.folder / "ca.pem", server.authority.certificate_pem)],
        }
        parts = [
            *self._head(),
            table("server", {"addresses": [server.host.ipv4], "identity": SERVER_ID}),
            table("credentials", credentials),
            table("[group]", {"interface": "eth0", **group}),
        ]
        self.write("\n".join(parts))

    def _head(self) -> list[str]:
        return [
            table("process", {"log_format": "json", "log_level": "debug", "user": USER}),
            table("control", {"socket": str(self.socket)}),
        ]
