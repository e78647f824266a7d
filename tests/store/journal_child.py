"""A process that writes registrations without end and says which are on the disk; it is killed or runs out of
room.

``journal_child.py PATH stream``: number N is a member N and an IKE SA N in one transaction, group epoch N,
and the admission N with what was charged for it. ``journal_child.py PATH limit OCTETS``: the same under a
limit on the size of files, until a write fails; then the limit goes and one more is written.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from store_records import GROUP, IKE_SA, charge, member, open_journal, write

from gkmd.core.change import Change, Put, PutGroup, PutIkeSa, PutMember
from gkmd.core.errors import StoreError


def registration(number: int) -> tuple[Change, ...]:
    ike_sa = replace(IKE_SA, spi_r=number.to_bytes(8, "big"))
    group = replace(GROUP, epoch=number)
    return PutMember(member(number)), PutIkeSa(ike_sa), PutGroup(group), *map(Put, charge(number))


def stream(path: Path) -> None:
    journal = open_journal(path)
    room = threading.Semaphore(64)
    number = 0
    while True:
        room.acquire()

        def done(error: StoreError | None, number: int = number) -> None:
            assert error is None
            os.write(1, b"%d\n" % number)
            room.release()

        journal.submit(registration(number), done)
        number += 1


def limit(path: Path, octets: int) -> None:
    journal = open_journal(path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, resource.RLIM_INFINITY))
    number = 0
    while True:
        try:
            write(journal, *registration(number))
        except StoreError as error:
            print(number, error, sep="\n", flush=True)
            break
        number += 1
    try:
        write(journal, *registration(10_000_000))
    except StoreError as error:
        print(error, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    write(journal, *registration(20_000_000))
    journal.close()


if __name__ == "__main__":
    if sys.argv[2] == "stream":
        stream(Path(sys.argv[1]))
    else:
        limit(Path(sys.argv[1]), int(sys.argv[3]))
