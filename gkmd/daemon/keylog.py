"""``--keylog FILE``: every key in clear, one line per SA, for debugging in a lab. Never in production.

    ike <SPIi> <SPIr> <cipher> <integrity|-> <prf> <SK_d|SK_ai|SK_ar|SK_ei|SK_er|SK_pi|SK_pr>
    rekey <SPI, 16 octets> <cipher> <integrity|-> <key wrap> <GSK_e|GSK_a|GSK_w>
    esp <SPI> <source|any> <destination> <cipher> <integrity|-> <key>

Octets are in hex. The ESP key is the cipher key with its salt, then the integrity key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from gkmd.core.change import Change, DataSa, IkeSaRecord, PutGroup, PutIkeSa, RekeySa
from gkmd.core.errors import LocalError
from gkmd.core.esp import EspSa
from gkmd.group.model import GroupPolicy


class KeyLog:
    """An open key log, appended to and readable by its owner only. LocalError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise LocalError(f"cannot open the key log {path}: {error.strerror}") from None
        found = os.fstat(self._fd)
        # A file that somebody else has put there is somebody else's to read.
        if found.st_uid != os.geteuid() or found.st_nlink != 1 or not stat.S_ISREG(found.st_mode):
            os.close(self._fd)
            raise LocalError(f"the key log {path} is no file of our own: name one that does not exist")
        os.fchmod(self._fd, 0o600)
        self._seen: set[tuple[object, ...]] = set()

    def close(self) -> None:
        os.close(self._fd)

    def esp(self, sa: EspSa) -> None:
        """A member's SA, as it goes to the kernel."""
        self._write(
            ("esp", sa.destination, sa.spi),
            f"esp {sa.spi:08x} {sa.source or 'any'} {sa.destination} {sa.cipher.name} "
            f"{sa.integrity.name if sa.integrity else '-'} {sa.key.reveal().hex()}",
        )

    def changes(self, changes: tuple[Change, ...], policy_of: Callable[[str], GroupPolicy | None]) -> None:
        """The SAs in what the key server journals."""
        for change in changes:
            if isinstance(change, PutIkeSa):
                self.ike(change.record)
            elif isinstance(change, PutGroup):
                policy = policy_of(change.record.name)
                if policy is not None:
                    for data_sa in change.record.data_sas:
                        self._data(policy, data_sa)
                    for rekey_sa in change.record.rekey_sas:
                        self._rekey(policy, rekey_sa)

    def ike(self, sa: IkeSaRecord) -> None:
        """An established IKE SA."""
        self._write(
            ("ike", sa.spi_r),
            f"ike {sa.spi_i.hex()} {sa.spi_r.hex()} {sa.cipher} {sa.integrity or '-'} {sa.prf} "
            f"{sa.keys.reveal().hex()}",
        )

    def _data(self, policy: GroupPolicy, sa: DataSa) -> None:
        self._write(
            ("esp", policy.address, sa.spi),
            f"esp {sa.spi:08x} {sa.source or 'any'} {policy.address} {policy.cipher.name} "
            f"{policy.integrity.name if policy.integrity else '-'} {sa.key.reveal().hex()}",
        )

    def _rekey(self, policy: GroupPolicy, sa: RekeySa) -> None:
        integrity = policy.rekey_integrity.name if policy.rekey_integrity else "-"
        self._write(
            ("rekey", sa.spi),
            f"rekey {sa.spi.hex()} {policy.rekey_cipher.name} {integrity} {policy.key_wrap.name} "
            f"{sa.key.reveal().hex()}",
        )

    def _write(self, which: tuple[object, ...], line: str) -> None:
        if which not in self._seen:
            self._seen.add(which)
            os.write(self._fd, line.encode() + b"\n")
