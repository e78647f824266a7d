"""What a durable registration costs: one PutMember and one PutIkeSa, 64 registrations in flight at once; and
one to a reserved transmission that is paid, with six facts more: ``us_per_admission``, ``cpu_us_admission``.

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
from collections.abc import Callable
from pathlib import Path

from gkmd.core.address import Path as UdpPath
from gkmd.core.change import Change, IkeSaRecord, MemberRecord, Put, PutIkeSa, PutMember
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.seal_at_rest import MasterKey
from gkmd.group.platform.records import Admission, AuditLine, Balance, Charge, Entry, Posting
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


def admission(number: int) -> tuple[Change, ...]:
    """A registration to a reservation, and what is charged for it."""
    reservation, party = "opera-abcdef", f"a-{number:020d}"
    payer = f"balance:{party}"
    earned, fees = f"earned:{reservation}", f"fees:{reservation}"
    postings = (Posting(payer, 250), Posting(earned, -240), Posting(fees, -10))
    charge = Charge(reservation, party, 1, 1.0, "EUR", 250, 0, 10, number)
    return (
        *registration(number),
        Put(Admission(reservation, party, 1.0, "price", 250, "EUR", None, None, (charge,))),
        Put(Entry(number, 1.0, "charge", f"{reservation}/{party}", reservation, "EUR", postings, "")),
        Put(Balance(payer, "EUR", -250, 1)),
        Put(Balance(earned, "EUR", -240 * number, number)),
        Put(Balance(fees, "EUR", -10 * number, number)),
        Put(AuditLine(number, 1.0, "gkmd", "admitted", reservation, {"party": party}, "0" * 64, "1" * 64)),
    )


def waves(
    journal: Journal, made: Callable[[int], tuple[Change, ...]], count: int
) -> tuple[list[float], list[float]]:
    """Seconds on the wall and of the processor, of one of a wave."""
    wall, cpu = [], []
    for wave_number in range(count):
        changes = [made(wave_number * WAVE + number) for number in range(WAVE)]
        wave, began, began_cpu = _Wave(WAVE), time.perf_counter(), time.process_time()
        for change in changes:
            journal.submit(change, wave.done)
        wave.wait()
        wall.append((time.perf_counter() - began) / WAVE)
        cpu.append((time.process_time() - began_cpu) / WAVE)
    return wall, cpu


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
            wall, cpu = waves(journal, registration, WAVES)
            single = []
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
        charged = Journal.open(Path(folder, "charged.db"), key, rng)
        paid, paid_cpu = waves(charged, admission, WAVES // 3)
        charged.close()
    return {
        "us_per_registration": round(statistics.median(wall) * 1e6, 1),
        "cpu_us": round(statistics.median(cpu) * 1e6, 1),
        "us_per_admission": round(statistics.median(paid) * 1e6, 1),
        "cpu_us_admission": round(statistics.median(paid_cpu) * 1e6, 1),
        "single_us": round(statistics.median(single) * 1e6, 1),
        "open_ms": round((opened - began) * 1e3, 1),
        "load_us": round(load * 1e6, 1),
    }


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name:24} {value}")
