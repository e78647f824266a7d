"""A storm of password logins from a process of its own: ``python -m bench.storm PORT NUMBER CA``.

Keeps ``NUMBER`` logins under way, each by another name of the list and with a wrong password, until a line
comes on standard input; then prints how many the server has answered.
"""

from __future__ import annotations

import itertools
import select
import socket
import sys
import time
from pathlib import Path as FilePath

from gkmd.core.address import Path
from gkmd.core.effect import Effect, Send, Tell
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.certificates import TrustAnchors
from gkmd.ike.credentials import Credentials
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.member_settings import Server
from gkmd.ike.proposal import IkePolicy

SERVER = Identity.parse("fqdn:gcks.example")
TRANSMISSION = "concert-bench0"
NAMES = 64
MOST_SECONDS = 120.0


class Login:
    """One attempt from its first datagram to the server's refusal."""

    def __init__(self, number: int, port: int, anchors: TrustAnchors) -> None:
        self.link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.link.connect(("127.0.0.1", port))
        local = self.link.getsockname()
        self._path = Path(local[0], local[1], "127.0.0.1", port)
        name = Identity.parse(f"keyid:storm{number % NAMES:03d}")
        credentials = Credentials(name, trust_anchors=anchors, password=SecretBytes(b"a guess"))
        group = Identity.parse(f"keyid:{TRANSMISSION}")
        join = GroupJoin(TRANSMISSION, group, receives=True, sends=False, interface="lo")
        self._machine = MemberEndpoint(
            credentials, IkePolicy(), [Server(SERVER, self._path)], [join], system_rng
        )
        self.answered = False
        self._do(self._machine.start(time.time()))

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.link.send(effect.datagram)
            elif isinstance(effect, Tell) and effect.event == "connect-failed":
                self.answered = True

    def hear(self) -> None:
        self._do(self._machine.receive(self.link.recv(65_535), self._path, time.time()))

    def tick(self) -> None:
        self._do(self._machine.tick(time.time()))


def main(port: int, number: int, ca: FilePath) -> int:
    """How many logins were answered."""
    anchors = TrustAnchors.load(ca.read_bytes())
    numbers = itertools.count()
    answered = 0
    logins = {one.link: one for one in (Login(next(numbers), port, anchors) for _ in range(number))}
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        readable, _, _ = select.select([*logins, sys.stdin], [], [], 0.2)
        if sys.stdin in readable:
            break
        for link in readable:
            login = logins[link]  # type: ignore[index]
            login.hear()
            if login.answered:
                answered += 1
                del logins[login.link]
                login.link.close()
                new = Login(next(numbers), port, anchors)
                logins[new.link] = new
        if not readable:
            for login in logins.values():
                login.tick()
    return answered


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2]), FilePath(sys.argv[3])))
