"""What a durable registration costs: one PutMember and one PutIkeSa, 64 registrations in flight at once.

``us_per_registration`` is wall time, ``cpu_us`` the processor time of the whole process; the registrations of
one wave are submitted singly and the journal commits them together. ``single_us`` is one registration alone,
``load_us`` the reading of one at start. The disk is that of the temporary folder; TMPDIR names another.
"""

from __future__ import annotations

import ipaddress
import statistics
import tempfile
import threading
import time
from pathlib import Path

from gkmd.core.address import Path as UdpPath
from gkmd.core.change import Change, IkeSaRecord, MemberRecord, PutIkeSa, PutMember
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.seal_at_rest import MasterKey
from gkmd.store.journal import Journal

WAVE = 64
WAVES = 150


def registration(number: int) -> tuple[Change, ...]:
    """The two rows of one registration, of the sizes that they have in service."""
    identity = Identity(IdentityKind.FQDN, b"receiver-%d.example" % number)
    address = ipaddress.IPv4Address(0x0A000000 + number)
    spi_r = number.to_bytes(8, "big")
    ike_sa = IkeSaRecord(
        spi_i=bytes(8),
        spi_r=spi_r,
        peer=identity,
        path=UdpPath("10.255.255.254", 848, str(address), 848),
        established=1.0,
        cipher="aes-gcm-16-256",
        integrity="",
        prf="prf-hmac-sha2-256",
        key_wrap="kw-5649-256",
        keys=SecretBytes(bytes(168)),
        next_request_id=0,
        expected_request_id=2,
        last_reply=bytes(600),
        pending_request=b"",
    )
    member = MemberRecord("news", identity, True, False, address, (), 1.0, spi_r)
    return PutMember(member), PutIkeSa(ike_sa)


class _Wave:
    """Counts the answers of a wave down."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._all = threading.Event()
        self.error: StoreError | None = None

    def done(self, error: StoreError | None) -> None:
        self.error = self.error or error
        self._left -= 1
        if not self._left:
            self._all.set()

    def wait(self) -> None:
        self._all.wait()
        if self.error is not None:
            raise self.error


def run() -> dict[str, float]:
    """Microseconds, medians over the waves; loading is per registration."""
    rng = system_rng
    with tempfile.TemporaryDirectory() as folder:
        key = MasterKey(SecretBytes(rng(32)), rng)
        path = Path(folder, "state.db")
        journal = Journal.open(path, key, rng)
        try:
            wall, cpu, single = [], [], []
            for wave_number in range(WAVES):
                changes = [registration(wave_number * WAVE + number) for number in range(WAVE)]
                wave, began, began_cpu = _Wave(WAVE), time.perf_counter(), time.process_time()
                for change in changes:
                    journal.submit(change, wave.done)
                wave.wait()
                wall.append((time.perf_counter() - began) / WAVE)
                cpu.append((time.process_time() - began_cpu) / WAVE)
            for number in range(100):
                wave, began = _Wave(1), time.perf_counter()
                journal.submit(registration(number), wave.done)
                wave.wait()
                single.append(time.perf_counter() - began)
        finally:
            journal.close()
        began = time.perf_counter()
        journal = Journal.open(path, key, rng)
        opened = time.perf_counter()
        loaded = len(journal.load().members)
        load = (time.perf_counter() - opened) / loaded
        journal.close()
    return {
        "us_per_registration": round(statistics.median(wall) * 1e6, 1),
        "cpu_us": round(statistics.median(cpu) * 1e6, 1),
        "single_us": round(statistics.median(single) * 1e6, 1),
        "open_ms": round((opened - began) * 1e3, 1),
        "load_us": round(load * 1e6, 1),
    }


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name:24} {value}")
