"""gkmd in the lab: writes configurations of a key server and of members, starts them, asks them.

Each daemon is the real program, started as a user would: ``gkmd server -c FILE``, ``gkmd member -c FILE``.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gkmd.core.errors import LocalError
from gkmd.daemon.control_client import ControlClient
from lab.processes import Process
from lab.scenario import Lab
from lab.topology import Host, Network

DATA_PORT = 5000
SERVER_ID = "fqdn:gcks.lab"


def _user() -> str:
    """The daemons give root up as on a real host, unless Python itself lies where only root can read it."""
    places = [Path(sys.base_prefix), Path(sys.prefix), Path(__file__).resolve()]
    open_to_all = all(p.stat().st_mode & 0o001 for place in places for p in place.parents)
    return "nobody" if open_to_all else "root"


USER = _user()
START_SECONDS = 120.0  # a guest with one core starts six daemons at once, while another one is busy, too
# Short enough to see many rollovers, long enough for a guest on a busy machine.
QUICK = {
    "tek_lifetime": "14s",
    "kek_lifetime": "14s",
    "activation_delay": "2s",
    "deactivation_delay": "4s",
    "rekey_repeats": 2,
    "rekey_interval": "0.5s",
}


def toml(value: object) -> str:
    """A TOML value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(toml, value)) + "]"
    raise TypeError(f"no TOML for {value!r}")


def table(head: str, values: Mapping[str, object]) -> str:
    """One ``[head]`` with its keys; keys that are not bare words are quoted."""
    lines = [f"{k if re.fullmatch('[A-Za-z0-9_-]+', k) else toml(k)} = {toml(v)}" for k, v in values.items()]
    return "\n".join([f"[{head}]" if head else "", *lines, ""])


def identity(host: str) -> str:
    """The identity of a host of the lab; ``*`` is all of them."""
    return f"fqdn:{host}.lab"


def group(
    name: str, address: str, senders: Iterable[str], receivers: Iterable[str], **options: object
) -> dict[str, object]:
    """One group of the server's configuration; hosts are named, ``*.lab`` means all."""
    return {
        "name": name,
        "address": address,
        "port": DATA_PORT,
        "senders": [identity(host) for host in senders],
        "receivers": [identity(host) for host in receivers],
        **QUICK,
        **options,
    }


class Daemon:
    """One gkmd process on a host, with its configuration and control socket."""

    kind = ""

    def __init__(self, lab: Lab, host: Host) -> None:
        self.lab = lab
        self.host = host
        self.folder: Path = host.run
        self.config = self.folder / f"{self.kind}.toml"
        self.socket = self.folder / f"{self.kind}.sock"
        self.process: Process | None = None
        self._starts = 0

    def write(self, text: str) -> None:
        """The configuration; it holds secrets, so only its owner reads it. The daemon becomes USER, and
        what it writes later lies in a folder of that user."""
        self.config.write_text("")
        os.chmod(self.config, 0o600)
        self.config.write_text(text)
        account = pwd.getpwnam(USER)
        os.chmod(self.folder.parent, 0o711)
        os.chown(self.folder, account.pw_uid, account.pw_gid)

    def start(self, *, wait: bool = True) -> None:
        self._starts += 1
        name = self.kind if self._starts == 1 else f"{self.kind}-{self._starts}"
        words = [str(Path(sys.executable).parent / "gkmd"), self.kind, "-c", str(self.config)]
        self.process = self.host.start(name, words)
        if wait:
            self.wait_ready()

    def wait_ready(self, within: float = START_SECONDS) -> None:
        """Wait until it answers on its control socket."""
        assert self.process is not None
        self.process.wait_until(f"an answer of gkmd {self.kind} on {self.host.name}", self._answers, within)

    def _answers(self) -> bool:
        try:
            self.ask("status")
        except LocalError:
            return False
        return True

    def ask(self, command: str, **arguments: str) -> Any:
        with ControlClient(self.socket) as client:
            return client.request(command, **arguments)

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM: the clean end."""
        assert self.process is not None
        self.process.stop()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What this process has logged, oldest first; of one name only when given."""
        assert self.process is not None
        text = self.process.log_text()
        whole = text[: text.rfind("\n") + 1]  # the last line may still be on its way
        lines = [line for line in whole.splitlines() if line.startswith("{")]
        found: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [event for event in found if name in ("", event["event"])]


class KeyServer(Daemon):
    kind = "server"

    def __init__(self, lab: Lab, host: Host) -> None:
        super().__init__(lab, host)
        self.secrets: dict[str, str] = {}

    def secret(self, host: str) -> str:
        """The pre-shared key of a host, made when first asked for."""
        return self.secrets.setdefault(identity(host), secrets.token_hex(16))

    def configure(
        self,
        groups: Sequence[Mapping[str, object]],
        hosts: Iterable[str] = (),
        credentials: Mapping[str, object] | None = None,
        ipv6: bool = False,
        **ike: object,
    ) -> None:
        """``hosts`` get pre-shared keys; ``credentials`` are added keys of that table."""
        master = self.folder / "master.key"
        if not master.exists():
            master.touch(0o600)
            master.write_text(secrets.token_hex(32) + "\n")
        for host in hosts:
            self.secret(host)
        listen = f"[{self.host.ipv6}]:848" if ipv6 else f"{self.host.ipv4}:848"
        parts = [
            table("", {"identity": SERVER_ID, "listen": [listen]}),
            table("process", {"log_format": "json", "log_level": "debug", "user": USER}),
            table("control", {"socket": str(self.socket)}),
            table("state", {"path": str(self.folder / "state.db"), "master_key": str(master)}),
            table("ike", {"retransmit_first": "0.5s", **ike}),
            table("credentials", credentials or {}),
        ]
        if self.secrets:
            parts.append(table("credentials.psk", self.secrets))
        parts += [table("[group]", {"rekey_interface": "eth0", **one}) for one in groups]
        self.write("\n".join(parts))

    def members(self, name: str = "") -> dict[str, dict[str, Any]]:
        """Identity -> row of ``gkmd ctl members``."""
        return {row["identity"]: row for row in self.ask("members", group=name)}

    def member_hosts(self, name: str) -> list[str]:
        """The hosts that are members of a group, sorted."""
        return sorted(one.removeprefix("fqdn:").removesuffix(".lab") for one in self.members(name))

    def spis(self, name: str, kind: str) -> set[str]:
        """The SPIs of a group: ``esp`` (TEKs) or ``rekey`` (KEKs); not those whose end is announced."""
        rows = self.ask("sas", group=name)
        return {row["spi"] for row in rows if row["kind"] == kind and row["removed_at"] is None}

    def message_ids(self, name: str) -> dict[str, int]:
        """SPI -> next message id of the group's current KEK."""
        rows = self.ask("sas", group=name)
        return {row["spi"]: row["next_message_id"] for row in rows if row["spi"] in self.spis(name, "rekey")}

    def ike_sas(self) -> int:
        """How many IKE SAs its members have registered over."""
        return len({row["ike_spi"] for row in self.ask("members", group="")})

    def wait_rollovers(
        self, name: str, wanted: int, tell: Callable[[int], None], within: float = 240.0
    ) -> int:
        """Wait until, from now on, every TEK and the KEK were replaced ``wanted`` times; how often they were.

        The TEKs of all senders are replaced together, so the number of SPIs divides by that of the senders.
        """
        seen = {kind: self.spis(name, kind) for kind in ("esp", "rekey")}
        before = {kind: set(spis) for kind, spis in seen.items()}
        senders = max(1, len({row["sender"] for row in self.ask("sas", group=name)} - {"server"}))
        told = 0

        def done() -> int:
            nonlocal told
            for kind, spis in seen.items():
                spis |= self.spis(name, kind)
            count = min(len(seen["esp"] - before["esp"]) // senders, len(seen["rekey"] - before["rekey"]))
            if count > told:
                told = count
                tell(count)
            return count if count >= wanted else 0

        return self.lab.wait_for(f"{wanted} rollovers of {name}", done, within)

    def wait_members(self, name: str, hosts: Iterable[str], within: float = START_SECONDS) -> None:
        wanted = {identity(host) for host in hosts}
        self.lab.wait_for(
            f"{', '.join(sorted(wanted))} in {name}", lambda: wanted <= set(self.members(name)), within
        )


class GroupMember(Daemon):
    kind = "member"

    def configure(
        self,
        server: KeyServer,
        joins: Sequence[Mapping[str, object]],
        secret: str = "",
        credentials: Mapping[str, object] | None = None,
        ipv6: bool = False,
        **ike: object,
    ) -> None:
        """``joins`` are [[group]] tables: name, role, and options."""
        address = server.host.ipv6 if ipv6 else server.host.ipv4
        parts = [
            table("", {"identity": identity(self.host.name)}),
            table("server", {"addresses": [address], "identity": SERVER_ID}),
            table("process", {"log_format": "json", "log_level": "debug", "user": USER}),
            table("control", {"socket": str(self.socket)}),
            table("ike", {"retransmit_first": "0.5s", **ike}),
            table("credentials", credentials or {}),
        ]
        if secret:
            parts.append(table("credentials.psk", {SERVER_ID: secret}))
        parts += [table("[group]", {"interface": "eth0", **one}) for one in joins]
        self.write("\n".join(parts))

    def start_second(self) -> Process:
        """Another member on this host, with a control socket and a port of its own."""
        other = self.folder / "second.toml"
        other.write_text("")
        os.chmod(other, 0o600)
        text = self.config.read_text().replace(str(self.socket), str(self.folder / "second.sock"))
        other.write_text('local = ["0.0.0.0:0"]\n' + text)
        words = [str(Path(sys.executable).parent / "gkmd"), self.kind, "-c", str(other)]
        process = self.host.start("second", words)
        process.good_statuses = (*process.good_statuses, 1)
        return process

    def joined(self, name: str) -> bool:
        """It holds the SAs of the group."""
        return any(row["name"] == name and row["state"] == "member" for row in self.ask("groups"))

    def sending_on(self, name: str) -> set[str]:
        """The SPIs that its kernel sends this group's data on."""
        return {row["spi"] for row in self.ask("sas", group=name) if row.get("sending")}

    def wait_switched(self, name: str, server: KeyServer) -> None:
        """Wait until it sends on the newest of its SAs that the server has."""

        def newest() -> bool:
            mine = [row for row in server.ask("sas", group=name) if row["kind"] == "esp"]
            mine = [row for row in mine if row["sender"] in (identity(self.host.name), "all")]
            return self.sending_on(name) == {max(mine, key=lambda row: row["created"])["spi"]}

        self.lab.wait_for(f"{self.host.name} sends on its newest SA", newest)

    def registrations(self, name: str) -> int:
        """How often it has become a member of a group."""
        return sum(1 for e in self.events("group-state") if e["group"] == name and e["state"] == "member")

    def registration_seconds(self) -> float:
        """From the start of its work (sockets and kernel ready) to the keys of its last group."""
        started = self.events("started")[0]["time"]
        joined = [event["time"] for event in self.events("group-state") if event["state"] == "member"]
        return float(joined[-1] - started)

    def wait_joined(self, *names: str, within: float = START_SECONDS) -> None:
        assert self.process is not None
        self.wait_ready()
        for name in names:
            self.process.wait_until(
                f"{name} joined on {self.host.name}", functools.partial(self.joined, name), within
            )


def start_members(
    lab: Lab,
    net: Network,
    server: KeyServer,
    joins: Mapping[str, Sequence[Mapping[str, object]]],
    ipv6: bool = False,
) -> dict[str, GroupMember]:
    """Configure (pre-shared keys) and start a member on each host, all at once, and wait until all are in."""
    members = {name: GroupMember(lab, net[name]) for name in joins}
    for name, member in members.items():
        member.configure(server, joins[name], secret=server.secret(name), ipv6=ipv6)
        member.start(wait=False)
    for name, member in members.items():
        member.wait_joined(*(str(join["name"]) for join in joins[name]))
    return members


def part(members: Mapping[str, GroupMember], server: KeyServer, groups: Iterable[str]) -> None:
    """Everybody leaves, and the server must know it; then the server ends."""
    for member in members.values():
        member.stop()
    for name in groups:
        left = functools.partial(server.member_hosts, name)
        server.lab.check_soon(f"members of {name} after all have left", [], left)
    server.stop()
