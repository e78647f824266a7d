"""What a registration costs the pure machines, without sockets, disk and kernel: microseconds, medians of
rounds.
"""

from __future__ import annotations

import ipaddress
import statistics
import time

from gkmd.core.address import Path
from gkmd.core.effect import Ask, Effect, Persist, Send
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.rng import SeededRng, system_rng
from gkmd.core.secret import SecretBytes
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.gikev2_gcks import Gcks
from gkmd.ike.gikev2_member import MemberEndpoint
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.member_settings import Server
from gkmd.ike.proposal import IkePolicy

ROUNDS = 5
REGISTRATIONS = 400  # in a round
NOW = 1_800_000_000.0
SERVER = Identity.parse("fqdn:gkms.example")
GROUP = Identity.parse("keyid:news")
PATH = Path("10.0.0.2", 500, "10.0.0.1", 500)


def _policy() -> GroupPolicy:
    return GroupPolicy(
        name="news",
        group_id=GROUP,
        address=ipaddress.ip_address("239.1.1.1"),
        port=5000,
        rekey_address=ipaddress.ip_address("239.1.1.2"),
        rekey_source=ipaddress.ip_address("10.0.0.1"),
        receivers=(IdentityPattern.parse("any"),),
        kek_lifetime=7200.0,
        activation_delay=1,
        deactivation_delay=2,
    )


class _Server:
    """A key server that carries out its own effects: Asks are answered, Persists are done at once."""

    def __init__(self, names: list[Identity], secret: SecretBytes) -> None:
        directory = Directory([_policy()], system_rng, NOW)
        credentials = Credentials(SERVER, dict.fromkeys(names, secret))
        # All members are at one address, and no time passes: what holds one address back is off.
        settings = GcksSettings(
            cookie_threshold=10 * len(names), half_open_limit=10 * len(names), init_rate=0
        )
        self.directory = directory
        self.machine = Gcks(credentials, IkePolicy(), directory, system_rng, settings)
        self.carry_out(self.machine.start(NOW))

    def carry_out(self, effects: list[Effect]) -> list[bytes]:
        """The datagrams that are sent."""
        out: list[bytes] = []
        for effect in effects:
            if isinstance(effect, Persist):
                self.machine.done(effect, None, NOW)
            elif isinstance(effect, Send):
                out.append(effect.datagram)
            elif isinstance(effect, Ask):
                verdict = self.directory.decide(effect, NOW)
                out += self.carry_out(self.machine.answer(effect, verdict, NOW))
        return out


def _round(number: int, registrations: int) -> tuple[float, float]:
    """CPU seconds that the server and the members spend on so many registrations.

    All IKE_SA_INIT first, then all GSA_AUTH: a server has its core for itself, and its caches.
    """
    names = [Identity.parse(f"fqdn:rx{number}-{one}.example") for one in range(registrations)]
    secret = SecretBytes(SeededRng("bench")(32))
    server = _Server(names, secret)
    back = Path(PATH.remote, 500, PATH.local, 500)
    join = GroupJoin("news", GROUP, receives=True, sends=False, interface="eth0")
    server_seconds = 0.0
    begin = time.process_time()
    members = [
        MemberEndpoint(
            Credentials(name, {SERVER: secret}), IkePolicy(), [Server(SERVER, PATH)], [join], system_rng
        )
        for name in names
    ]
    asked = [_sent(member.start(NOW)) for member in members]
    for _ in range(2):
        middle = time.process_time()
        replies = [server.carry_out(server.machine.receive(datagram, back, NOW)) for (datagram,) in asked]
        server_seconds += time.process_time() - middle
        asked = [
            _sent(member.receive(datagram, PATH, NOW))
            for member, (datagram,) in zip(members, replies, strict=True)
        ]
    member_seconds = time.process_time() - begin - server_seconds
    joined = len(server.directory.members("news"))
    if joined != registrations or not all(m.groups["news"].registered for m in members):
        raise RuntimeError(f"{joined} of {registrations} members registered")
    return server_seconds, member_seconds


def _sent(effects: list[Effect]) -> list[bytes]:
    return [effect.datagram for effect in effects if isinstance(effect, Send)]


def run() -> dict[str, float]:
    """Microseconds of one registration (PSK, Curve25519, AES-GCM) in the server and in the member."""
    _round(0, REGISTRATIONS // 4)  # warm
    rounds = [_round(number + 1, REGISTRATIONS) for number in range(ROUNDS)]
    scale = 1e6 / REGISTRATIONS
    return {
        "server_us": round(statistics.median(server for server, _ in rounds) * scale, 1),
        "member_us": round(statistics.median(member for _, member in rounds) * scale, 1),
    }


if __name__ == "__main__":
    print(run())
