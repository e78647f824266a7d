"""A key server, its portal and a payment provider: real processes on loopback, for a browser to look at."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import provider_process
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from free_ports import free_port

from gkmd.core.address import Path as Ways
from gkmd.core.effect import Effect, Send
from gkmd.core.errors import LocalError
from gkmd.core.rng import system_rng
from gkmd.daemon.control_client import ControlClient
from gkmd.daemon.ticket_file import LocalChoices, read_ticket
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.member_settings import Server
from gkmd.ike.proposal import IkePolicy

T = TypeVar("T")
SHIM = str(Path(__file__).with_name("at_another_time.py"))
PASSWORD = "a quiet harbour"
PATIENCE_SECONDS = 90.0
SERVER_MORE = """\
rekey_interface = "lo"
sign_up = true
fee = "5"

[[platform.provider]]
name = "bank"
kind = "webhook"
secret_file = "bank.secret"
"""
PORTAL_MORE = """\
title = "Harbour Television"
contact = "help@harbour.example"
sign_up = true
rate = 5000
burst = 50000
"""
PROVIDER = """
[[provider]]
name = "bank"
kind = "webhook"
url = "{url}/payments"
secret_file = "order.secret"
"""


def wait_for(what: str, fact: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of ``fact``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(LocalError, OSError):
            if found := fact():
                return found
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass(slots=True)
class Receiver:
    """A member that was let in; its socket stays open, so that the server may speak to it."""

    machine: MemberEndpoint
    link: socket.socket


class PortalWorld:
    """``ahead``: how far the clocks of all processes are ahead of ours, in seconds; it may be negative."""

    def __init__(self, folder: Path, ahead: float = 0.0) -> None:
        self.folder = folder
        self.ahead = ahead
        self.base = ahead
        self.port = free_port(socket.SOCK_DGRAM)
        web = free_port(socket.SOCK_STREAM)
        self.origin = f"https://localhost:{web}"
        self.tokens: dict[str, str] = {}
        self.receivers: list[Receiver] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._configure(web)

    def _configure(self, web: int) -> None:
        server = ["init", "server", str(self.folder / "server"), "--self-contained"]
        server += ["--identity", "fqdn:keys.harbour.example", "--listen", f"127.0.0.1:{self.port}"]
        portal = ["init", "portal", str(self.folder / "portal"), "--from", str(self.folder / "server")]
        portal += ["--server", "127.0.0.1", "--name", "localhost", "--self-contained"]
        portal += ["--listen", f"127.0.0.1:{web}"]
        subprocess.run(self._words("gkmd.cli.main", *server), check=True, capture_output=True)
        # The portal's certificate is looked at by others, whose clocks are right.
        words = [sys.executable, "-m", "gkmd.cli.main", *portal]
        subprocess.run(words, check=True, capture_output=True)
        both = (("server", SERVER_MORE, "bank.secret"), ("portal", PORTAL_MORE, "order.secret"))
        for kind, more, secret in both:
            file = self.folder / kind / f"{kind}.toml"
            text = file.read_text()
            text = text.replace("[ike]\n", '[ike]\ndead_peer_interval = "24h"\n')
            file.write_text(text.rstrip("\n") + "\n" + more)
            self._keep(self.folder / kind / secret, secrets.token_hex(32).encode())

    def _keep(self, file: Path, octets: bytes) -> None:
        file.touch(0o600)
        file.write_bytes(octets)

    def _words(self, *words: str) -> list[str]:
        if not self.ahead:
            script = words[0].endswith(".py")
            return [sys.executable, *([] if script else ["-m"]), *words]
        return [sys.executable, SHIM, str(self.ahead), *words]

    # Processes

    def start_server(self) -> None:
        folder = self.folder / "server"
        self._begin("server", *self._words("gkmd.cli.main", "server", "-c", str(folder / "server.toml")))
        wait_for("an answer of the server", lambda: self.ask("status"))

    def start(self) -> None:
        """All that is not running: the server, the provider, and the portal."""
        if "server" not in self._running:
            self.start_server()
        folder = self.folder / "portal"
        words = self._words(provider_process.__file__)
        words += ["--secret-file", str(self.folder / "server" / "bank.secret")]
        words += ["--order-secret-file", str(folder / "order.secret"), "--ca", str(folder / "portal-ca.crt")]
        provider = self._begin("provider", *words, stdout=subprocess.PIPE)
        assert provider.stdout is not None
        url = provider.stdout.readline().decode().split()[-1]
        with (folder / "portal.toml").open("a") as file:
            file.write(PROVIDER.format(url=url))
        self._begin("portal", *self._words("gkmd.cli.main", "portal", "-c", str(folder / "portal.toml")))
        address = ("127.0.0.1", int(self.origin.rpartition(":")[2]))
        wait_for("the portal", lambda: socket.create_connection(address, 1).close() is None)

    def _begin(self, name: str, *words: str, stdout: Any = None) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(words, stdout=stdout or log, stderr=log)
        return self._running[name]

    def stop(self, *names: str) -> None:
        for name in names or ("portal", "provider", "server"):
            process = self._running.pop(name, None)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def at(self, seconds: float) -> None:
        """The server begins anew, with its clock so many seconds from the end's."""
        self.stop("server")
        self.ahead = self.base + seconds
        self.start_server()

    def close(self) -> None:
        self.stop()
        for one in self.receivers:
            one.link.close()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    # Asking

    @property
    def now(self) -> float:
        return time.time() + self.ahead

    def ask(self, command: str) -> Any:
        with ControlClient(self.folder / "server" / "server.sock") as client:
            return client.request(command)

    def call(self, operation: str, /, by: str = "", **request: Any) -> Any:
        """As the operator, or by the token of the user ``by``."""
        name = "platform.sock" if by else "server.sock"
        with ControlClient(self.folder / "server" / name) as client:
            return client.call(operation, request, self.token(by) if by else "", "192.0.2.1" if by else "")

    def token(self, login: str) -> str:
        """A session of a user, the same each time."""
        if login not in self.tokens:
            self.tokens[login] = self.new_token(login)
        return self.tokens[login]

    def new_token(self, login: str) -> str:
        with ControlClient(self.folder / "server" / "platform.sock") as client:
            request = {"login": login, "password": PASSWORD}
            return str(client.call("sign-in", request, "", "192.0.2.1")["token"])

    def spki(self) -> str:
        """What Chromium knows the portal's certificate by."""
        pem = (self.folder / "portal" / "portal.crt").read_bytes()
        key = x509.load_pem_x509_certificate(pem).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(spki).digest()).decode()

    # Receiving

    def ticket(self, login: str, id: str, **more: Any) -> dict[str, Any]:
        return dict(self.call("ticket-issue", login, id=id, **more))

    def register(self, configuration: str, seconds: float = PATIENCE_SECONDS) -> bool:
        """A member with this ticket file asks for the keys; whether it was given them.

        One that is refused goes on asking, as members do: for ``seconds`` at most.
        """
        ticket = read_ticket(configuration, Path("ticket"), LocalChoices("lo"))
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.connect(("127.0.0.1", ticket.server_port))
        link.settimeout(0.1)
        local = link.getsockname()
        path = Ways(local[0], local[1], "127.0.0.1", ticket.server_port)
        server = Server(ticket.server_identity, path)
        machine = MemberEndpoint(ticket.credentials, IkePolicy(), [server], [ticket.join], system_rng)
        effects: list[Effect] = machine.start(self.now)
        end = time.monotonic() + seconds
        while not machine.groups[ticket.group].registered:
            for effect in effects:
                if isinstance(effect, Send):
                    link.send(effect.datagram)
            try:
                effects = machine.receive(link.recv(65_535), path, self.now)
            except TimeoutError:
                effects = machine.tick(self.now)
            if time.monotonic() > end:
                link.close()
                return False
        self.receivers.append(Receiver(machine, link))
        return True


@contextlib.contextmanager
def portal_world(folder: Path, ahead: float = 0.0) -> Iterator[PortalWorld]:
    """Nothing is running yet; at the end nothing is any more."""
    os.chmod(folder, 0o755)
    made = PortalWorld(folder, ahead)
    try:
        yield made
    finally:
        made.close()


__all__ = ["PASSWORD", "PortalWorld", "portal_world", "wait_for"]
