"""Ports for real programs, which are told of one and open it later."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_LOWEST = 20_000
_COUNT = 10_000


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    """A port of 127.0.0.1 that no other test is given while this process lives.

    One that the kernel chose is anybody's as soon as it is closed. These are below those that it chooses, and
    an abstract socket of the same number keeps other tests' processes from it.
    """
    chosen = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    lowest = _LOWEST if chosen >= _LOWEST + _COUNT else max(1024, chosen - _COUNT)
    for number in range(_COUNT):
        port = lowest + (os.getpid() * 97 + number) % _COUNT
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(f"\0gkmd-test-port-{port}")
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            continue
        held.detach()  # open until this process ends
        return port
    raise AssertionError("no port is free")
