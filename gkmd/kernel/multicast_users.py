"""Who on this host has joined which multicast group: the kernel's own tables in /proc/net.

``igmp`` and ``igmp6`` count the sockets of each group on each interface, ``mcfilter`` and ``mcfilter6`` those
of each source. A table that changes while it is read may lose a line: who leaves on it waits a while first.
The tables are those of one network namespace, so programs in a container with its own are not seen.

Any user's programs may join as much as their files allow, and the kernel writes a table of N lines in N times
N steps: with 100,000 of them a look takes seconds. So a look belongs into a thread.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.errors import DataplaneError

PROC: Final = Path("/proc/thread-self/net")
_LARGEST_OCTETS: Final = 4 << 20

# `				010000E0     1 0:00000000		0`: the group as a number in this machine's own order.
_IGMP: Final = re.compile(r"\s+([0-9A-F]{8})\s+(\d{1,9})\s+\d+:[0-9A-F]+\s")
# `2    eth0            ff020000000000000000000000000001     1 0000000C 0`
_IGMP6: Final = re.compile(r"\d+\s+\S+\s+([0-9a-f]{32})\s+(\d{1,9})\s")
# `  2   eth0 0xe8010101 0x0a000001      1      0`: numbers; sockets that include and that exclude the source
_FILTER: Final = re.compile(r"\s*\d+\s+\S+\s+0x([0-9a-f]{8})\s+0x([0-9a-f]{8})\s+(\d{1,9})\s+\d+")
_FILTER6: Final = re.compile(r"\s*\d+\s+\S+\s+([0-9a-f]{32})\s+([0-9a-f]{32})\s+(\d{1,9})\s+\d+")

Channel: TypeAlias = tuple[IpAddress, IpAddress]
"""Group and source."""
Wanted: TypeAlias = Collection[IpAddress] | None
"""The groups that matter; None: all."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Sockets by group, and by channel those that want one source only; of all interfaces together.

    Not ``whole``: the tables are longer than what is read. Who is not seen may be there all the same.
    """

    users: Counter[IpAddress] = field(default_factory=Counter)
    channels: Counter[Channel] = field(default_factory=Counter)
    whole: bool = True

    @classmethod
    def own(cls, held: Iterable[tuple[IpAddress, IpAddress | None]]) -> Joined:
        """What memberships of ours (group, source) add to the tables."""
        found = cls()
        for group, source in held:
            found.users[group] += 1
            if source is not None:
                found.channels[group, source] += 1
        return found

    def others(self, group: IpAddress, sources: Iterable[IpAddress], own: Joined) -> int:
        """Sockets beside our ``own`` that want this group, from one of ``sources`` when there are any.

        Who joined the group without naming a source wants every source.
        """
        users = self.users[group] - own.users[group]
        wanted = list(sources)
        if not wanted or users <= 0:
            return max(users, 0)
        named = {source: count - own.channels[group, source] for source, count in self._sources(group)}
        matching = sum(max(named.get(source, 0), 0) for source in wanted)
        return matching if any(count > 0 for count in named.values()) else users

    def _sources(self, group: IpAddress) -> list[tuple[IpAddress, int]]:
        return [(source, count) for (to, source), count in self.channels.items() if to == group]


def read_igmp(text: str, byteorder: str = sys.byteorder, wanted: Wanted = None) -> Counter[IpAddress]:
    """/proc/net/igmp. Lines that are nothing are passed over, and so is what is not ``wanted``."""
    order = _order(byteorder)
    words = _words(wanted, lambda group: group.packed[::order].hex().upper())
    return _counted(text, _IGMP, words, lambda found: ipaddress.IPv4Address(bytes.fromhex(found[1])[::order]))


def read_igmp6(text: str, wanted: Wanted = None) -> Counter[IpAddress]:
    """/proc/net/igmp6."""
    words = _words(wanted, lambda group: group.packed.hex())
    return _counted(text, _IGMP6, words, lambda found: ipaddress.IPv6Address(bytes.fromhex(found[1])))


def read_filters(text: str, wanted: Wanted = None) -> Counter[Channel]:
    """/proc/net/mcfilter: how many sockets include a source."""
    return _channels(text, _FILTER, _words(wanted, lambda group: group.packed.hex()), ipaddress.IPv4Address)


def read_filters6(text: str, wanted: Wanted = None) -> Counter[Channel]:
    """/proc/net/mcfilter6."""
    return _channels(text, _FILTER6, _words(wanted, lambda group: group.packed.hex()), ipaddress.IPv6Address)


def joined(wanted: Wanted = None, folder: Path = PROC) -> Joined:
    """The tables as they are, of the ``wanted`` groups alone if they are given. It can take seconds.

    DataplaneError when they cannot be read: nothing can be concluded then.
    """
    igmp, igmp6 = _read(folder / "igmp"), _read(folder / "igmp6")
    if igmp is None and igmp6 is None:
        raise DataplaneError(f"cannot see who joins groups: there is neither {folder}/igmp nor igmp6")
    filters, filters6 = _read(folder / "mcfilter"), _read(folder / "mcfilter6")
    return Joined(
        read_igmp(igmp or "", wanted=wanted) + read_igmp6(igmp6 or "", wanted),
        read_filters(filters or "", wanted) + read_filters6(filters6 or "", wanted),
        all(len(text or "") < _LARGEST_OCTETS for text in (igmp, igmp6, filters, filters6)),
    )


def _words(wanted: Wanted, word: Callable[[IpAddress], str]) -> frozenset[str] | None:
    return None if wanted is None else frozenset(map(word, wanted))


def _order(byteorder: str) -> int:
    return -1 if byteorder == "little" else 1


def _counted(
    text: str,
    line: re.Pattern[str],
    words: frozenset[str] | None,
    address: Callable[[re.Match[str]], IpAddress],
) -> Counter[IpAddress]:
    found: Counter[IpAddress] = Counter()
    for one in text.split("\n"):
        match = line.match(one)
        if match is not None and (words is None or match[1] in words):
            group = address(match)
            if group.is_multicast:
                found[group] += int(match[2])
    return found


def _channels(
    text: str, line: re.Pattern[str], words: frozenset[str] | None, address: Callable[[bytes], IpAddress]
) -> Counter[Channel]:
    found: Counter[Channel] = Counter()
    for one in text.split("\n"):
        match = line.match(one)
        if match is not None and (words is None or match[1] in words) and int(match[3]):
            group = address(bytes.fromhex(match[1]))
            if group.is_multicast:
                found[group, address(bytes.fromhex(match[2]))] += int(match[3])
    return found


def _read(path: Path) -> str | None:
    """The beginning of a table, None when the kernel has none (without IPv6)."""
    try:
        with path.open("rb", buffering=0) as file:
            octets = bytearray()
            while len(octets) < _LARGEST_OCTETS and (more := file.read(_LARGEST_OCTETS - len(octets))):
                octets += more
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataplaneError(f"cannot see who joins groups: {path}: {error.strerror}") from None
    return octets.decode("ascii", "replace")
