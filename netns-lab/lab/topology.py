"""Hosts from network namespaces on one bridge with IGMP and MLD snooping.

        host 1      host 2      ...      host N         each a namespace with eth0:
          |           |                    |            10.77.0.N/24 and fd77::N/64
      ----+-----------+--------------------+----
                     br0                                in the namespace "switch": 10.77.0.254, fd77::fe,
                                                        the IGMP and MLD querier
Namespaces are named lab<pid>-<host>: two runs on one machine do not meet, and what is left over has an owner.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.namespaces import inside
from lab.processes import Process
from lab.waits import PATIENCE_SECONDS, wait_for

PREFIX = f"lab{os.getpid()}-"
BROADCAST = "10.77.0.255"
Starter = Callable[["Host", str, Sequence[str], Mapping[str, str] | None], Process]


class CommandFailed(Exception):
    """A command of the set-up failed; the message has its error output."""


def command(*words: str, text: str = "") -> str:
    """Run to the end, return its output; CommandFailed with what it said when the status is not 0."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Host:
    """One host. ``folder`` keeps its configuration and logs (artefacts); ``run`` is for sockets and state."""

    def __init__(self, name: str, number: int, folder: Path, run: Path, starter: Starter) -> None:
        if not 1 <= number <= 253 or len(name) > 15:
            raise ValueError(f"host {name!r}: at most 253 hosts, names of at most 15 characters")
        self.name = name
        self.namespace = PREFIX + name
        self.interface = "eth0"
        self.ipv4 = f"10.77.0.{number}"
        self.ipv6 = f"fd77::{number:x}"
        self.folder = folder
        self.run = run
        self._starter = starter
        folder.mkdir(parents=True, exist_ok=True)
        run.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.ipv4} {self.ipv6}>"

    def ip(self, words: str) -> str:
        """``ip WORDS`` in this host, for example ``host.ip("xfrm state")``."""
        return self._ip(words.split())

    def ip_batch(self, lines: str) -> None:
        """Many ``ip`` commands that change something, in one process: starting one is slow in a guest."""
        self._ip(["-batch", "-"], lines)

    def _ip(self, words: Sequence[str], text: str = "") -> str:
        """Every command and its input is in the artefact commands.txt, for whoever wants to do it by hand."""
        with (self.folder / "commands.txt").open("a") as file:
            file.write(f"ip -n {self.namespace} {' '.join(words)}\n")
            file.writelines(f"    {line}\n" for line in text.splitlines())
        return command("ip", "-n", self.namespace, *words, text=text)

    def start(self, name: str, words: Sequence[str], environment: Mapping[str, str] | None = None) -> Process:
        """Start a program here; its log is ``folder/NAME.log``. The lab ends it if the scenario does not."""
        return self._starter(self, name, words, environment)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket in this host, in our own process."""
        with inside(self.namespace):
            return socket.socket(family, kind, protocol)

    def read(self, path: str) -> str:
        """A file of this host's network stack, such as /proc/net/xfrm_stat or one below /proc/sys/net."""
        with inside(self.namespace):
            return Path(path.replace("/proc/net/", "/proc/thread-self/net/")).read_text()

    def sysctl(self, name: str, value: object) -> None:
        """Set, for example, ``net/ipv4/igmp_max_memberships``."""
        with inside(self.namespace):
            Path("/proc/sys", name).write_text(f"{value}\n")

    def xfrm_stat(self) -> dict[str, int]:
        """The kernel's XFRM error counters that are not zero."""
        pairs = (line.split() for line in self.read("/proc/net/xfrm_stat").splitlines())
        return {name: int(count) for name, count in pairs if count != "0"}

    def addresses_ready(self) -> bool:
        """No IPv6 address is tentative any more (flag 0x40 in the fifth column): reports leave only then."""
        rows = [line.split() for line in self.read("/proc/net/if_inet6").splitlines()]
        return any(row[5] == self.interface for row in rows) and not any(
            int(row[4], 16) & 0x40 for row in rows
        )

    def dump(self) -> None:
        """Write what the kernel knows here into ``folder``: addresses, memberships, SAs, policies, counts."""
        # Not in one batch: iproute2 6.1 then lists the states and, silently, no policies.
        parts = [self.ip(words) for words in ("-s address", "maddress", "-s xfrm state", "-s xfrm policy")]
        (self.folder / "kernel.txt").write_text("\n".join([*parts, self.read("/proc/net/xfrm_stat")]))


class Network:
    """The hosts and the bridge between them. ``switch`` is the bridge's own namespace, as a host."""

    def __init__(self, switch: Host, hosts: Sequence[Host]) -> None:
        self.switch = switch
        self.switch.interface, self.switch.ipv4, self.switch.ipv6 = "br0", "10.77.0.254", "fd77::fe"
        self.hosts = {host.name: host for host in hosts}

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def everything(self) -> list[Host]:
        return [*self.hosts.values(), self.switch]

    def build(self) -> None:
        """Make it all, then wait until the addresses are usable and the bridge has stopped flooding."""
        hosts, switch = self.hosts.values(), self.switch
        lines = [f"netns add {host.namespace}" for host in self.everything]
        for host in hosts:
            lines.append(
                f"link add eth0 netns {host.namespace} type veth"
                f" peer name {host.name} netns {switch.namespace}"
            )
        command("ip", "-batch", "-", text="\n".join(lines))
        # The order matters: a querier that is there at creation makes the bridge flood for its default ten
        # seconds; one that starts on a bridge which is up, with a short response interval, for one second.
        ports = [f"link set dev {host.name} master br0 up" for host in hosts]
        switch.ip_batch(
            "link set lo up\n"
            "link add br0 type bridge mcast_snooping 1 mcast_query_response_interval 100"
            " mcast_startup_query_interval 100 mcast_query_interval 500 mcast_query_use_ifaddr 1\n"
            + "\n".join(ports)
            + f"\naddress add {switch.ipv4}/24 brd + dev br0\naddress add {switch.ipv6}/64 dev br0 nodad\n"
            "link set br0 up\nlink set br0 type bridge mcast_querier 1 mcast_mld_version 2\n"
        )
        for host in hosts:
            host.ip_batch(
                f"link set lo up\naddress add {host.ipv4}/24 brd + dev eth0\n"
                f"address add {host.ipv6}/64 dev eth0 nodad\n"
                "link set eth0 up\nroute add 224.0.0.0/4 dev eth0\n"
            )
        for host in self.everything:
            wait_for(f"usable addresses on {host.name}", host.addresses_ready)
        self._wait_for_snooping("239.255.255.77", socket.AF_INET)
        self._wait_for_snooping("ff15::77", socket.AF_INET6)

    def _wait_for_snooping(
        self, group: str, family: socket.AddressFamily, within: float = PATIENCE_SECONDS
    ) -> None:
        """Ask of one host whether another gets what nobody has joined, until it does not.

        A broadcast follows each probe: once it is there, the probe would have been, too.
        """
        asker, listener = list(self.hosts.values())[:2]
        with inside(asker.namespace):
            index = socket.if_nametoindex("eth0")
        with (
            asker.socket(family, socket.SOCK_DGRAM) as sender,
            asker.socket(socket.AF_INET, socket.SOCK_DGRAM) as broadcaster,
            listener.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as ears,
        ):
            if family == socket.AF_INET6:
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            else:
                mreqn = struct.pack("@4s4si", bytes(4), bytes(4), index)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
            broadcaster.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            ears.settimeout(1.0)
            numbers = itertools.count()

            def quiet() -> bool:
                probe, control = (
                    f"{word} {next(numbers)} {os.getpid()}".encode() for word in ("probe", "control")
                )
                sender.sendto(probe, (group, 9))
                broadcaster.sendto(control, (BROADCAST, 9))
                flooded = False
                with contextlib.suppress(TimeoutError):  # no control: the path is not there yet
                    while control not in (heard := ears.recv(2048)):
                        flooded = flooded or probe in heard
                    return not flooded
                return False

            wait_for(f"a bridge that has learnt not to flood {group}", quiet, within)

    def members(self, group: str) -> set[str]:
        """The hosts behind the ports that the bridge forwards this group to, learnt from reports."""
        found: list[dict[str, Any]] = json.loads(
            command("bridge", "-n", self.switch.namespace, "-j", "mdb", "show")
        )
        return {entry["port"] for part in found for entry in part.get("mdb", ()) if entry["grp"] == group}

    def wait_for_members(self, group: str, names: Sequence[str], within: float = PATIENCE_SECONDS) -> None:
        """Wait until the bridge forwards ``group`` to all these hosts."""
        wait_for(f"{', '.join(names)} in {group}", lambda: set(names) <= self.members(group), within)

    def mark(self, text: bytes) -> None:
        """Send one broadcast datagram that every capture on this network sees, on hosts and bridge."""
        with self.switch.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.sendto(text, (BROADCAST, 9))

    def link(self, name: str, *, up: bool) -> None:
        """Plug or pull a host's cable, at the bridge's end."""
        self.switch.ip(f"link set dev {name} {'up' if up else 'down'}")

    def remove(self) -> list[str]:
        """Delete the namespaces, and with them everything inside; what could not be deleted."""
        failed = []
        for host in self.everything:
            if Path("/run/netns", host.namespace).exists():
                try:
                    command("ip", "netns", "delete", host.namespace)
                except CommandFailed as error:
                    failed.append(str(error))
        return failed
