"""What must not be there any more when a scenario has ended. Each function lists what is, in words."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from lab.namespaces import DIRECTORY, processes
from lab.processes import Process
from lab.topology import PREFIX, Network
from lab.waits import NotSeen, wait_for


def ended_badly(started: Sequence[Process]) -> list[str]:
    """Programs whose exit status is not one of their good ones."""
    return [f"{p.name}: {p.status}" for p in started if p.status not in p.good_statuses]


def tracebacks(started: Sequence[Process]) -> list[str]:
    """Logs with a Python traceback: whatever the status, no program of ours may end in one."""
    found = []
    for log in dict.fromkeys(p.log for p in started):
        if "Traceback (most recent call last)" in log.read_text(errors="replace"):
            found.append(f"{log.parent.name}/{log.name}")
    return found


def in_kernel(network: Network) -> list[str]:
    """SAs and policies in any host, to be asked after the daemons were stopped, before removal."""
    found = []
    for host in network.everything:
        states = re.findall(r"\bspi (0x[0-9a-f]+)", host.ip("xfrm state"))
        policies = re.findall(r"^src .*", host.ip("xfrm policy"), re.MULTILINE)
        found += [f"{host.name}: SA {spi}" for spi in states]
        found += [f"{host.name}: policy {policy.strip()}" for policy in policies]
    return found


def after_removal(network: Network) -> list[str]:
    """Remove the network; programs that still lived in it (they are killed) and namespaces that stay."""
    found = []
    for host in network.everything:
        if (DIRECTORY / host.namespace).exists():
            for pid in processes(host.namespace):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    name = Path(f"/proc/{pid}/comm").read_text().strip()
                    found.append(f"{host.name}: program {name} ({pid})")
                    os.kill(pid, signal.SIGKILL)  # in a namespace that only this run made
    found += network.remove()

    def gone() -> bool:
        return not any(name.startswith(PREFIX) for name in _names())

    try:
        wait_for("no namespace of ours", gone, within=10)
    except NotSeen:
        found += [f"namespace {name}" for name in _names() if name.startswith(PREFIX)]
    return found


def _names() -> list[str]:
    return os.listdir(DIRECTORY) if DIRECTORY.is_dir() else []
