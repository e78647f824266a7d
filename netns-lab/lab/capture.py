"""Captures by tcpdump, complete up to a mark, and a reader of the files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from lab.processes import Process
from lab.topology import Host, Network
from lab.waits import NotSeen, wait_for

_RECORD = struct.Struct("<IIII")


class Capture:
    """tcpdump on one interface into ``path``. ``dropped`` is known after ``stop``: packets it missed."""

    def __init__(self, network: Network, host: Host, filter_words: str = "") -> None:
        self.host = host
        self.path = host.folder / "capture.pcap"
        self.dropped = -1
        self.complete = False
        self._network = network
        words = ["-i", host.interface, "-n", "-U", "-B", "8192", "-s", "0", "-Z", "root", "-w", "-"]
        # The shell opens the file: tcpdump would give it away, which an ordinary user's guest may not, and
        # an AppArmor profile may forbid it the folder.
        shell = ["sh", "-c", 'exec tcpdump "$@" > "$0"', str(self.path)]
        self.process: Process = host.start("tcpdump", [*shell, *words, *filter_words.split()])
        self.process.wait_log("listening on")

    def stop(self) -> None:
        """Send a mark over the wire, wait until it is in the file, and only then end tcpdump.

        tcpdump ended at once would lose what still waits in the kernel's buffer.
        """
        mark = f"end of capture {self.process.pid}".encode()
        self._network.mark(mark)
        try:
            wait_for(f"the mark in {self.path.name} of {self.host.name}", lambda: mark in self._tail())
            self.complete = True
        except NotSeen:
            self.complete = False  # told by the verdict that the lab adds
        self.process.stop()
        match = re.search(r"(\d+) packets? dropped by kernel", self.process.log_text())
        self.dropped = int(match.group(1)) if match else -1

    def _tail(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 16384))
            return file.read()


def frames(path: Path) -> Iterator[tuple[float, bytes]]:
    """Time in Unix seconds and octets of every Ethernet frame of a classic little-endian pcap file."""
    data = path.read_bytes()
    if data[:4] != b"\xd4\xc3\xb2\xa1" or data[20:24] != b"\x01\0\0\0":
        raise ValueError(f"{path}: not an Ethernet capture in microseconds of this machine's byte order")
    offset = 24
    while offset + _RECORD.size <= len(data):
        seconds, micros, length, _ = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        yield seconds + micros / 1e6, data[offset : offset + length]
        offset += length
