"""SPIs that the server gives out: unique over all its groups while they live."""

from __future__ import annotations

from typing import Final

from gkmd.core.rng import Rng

LEAST_DATA_SPI: Final = 256  # RFC 4303 2.1 reserves 0 to 255
REKEY_SPI_OCTETS: Final = 16
_HALF: Final = 8


class Spis:
    """All SPIs in use. Random, so that a restarted server need not know what an earlier life gave out."""

    __slots__ = ("_data", "_rekey", "_rng")

    def __init__(self, rng: Rng) -> None:
        self._rng: Final = rng
        self._data: set[int] = set()
        self._rekey: set[bytes] = set()

    def new_data(self) -> int:
        while True:
            spi = int.from_bytes(self._rng(4), "big")
            if spi >= LEAST_DATA_SPI and spi not in self._data:
                self._data.add(spi)
                return spi

    def new_rekey(self) -> bytes:
        """16 octets that become SPIi and SPIr of every rekey; neither half is zero (RFC 7296 3.1, 2.6)."""
        while True:
            spi = self._rng(REKEY_SPI_OCTETS)
            if any(spi[:_HALF]) and any(spi[_HALF:]) and spi not in self._rekey:
                self._rekey.add(spi)
                return spi

    def adopt(self, spi: int | bytes) -> None:
        """Count an SPI from the journal as used."""
        if isinstance(spi, int):
            self._data.add(spi)
        else:
            self._rekey.add(spi)

    def release(self, spi: int | bytes) -> None:
        """The SA is gone."""
        if isinstance(spi, int):
            self._data.discard(spi)
        else:
            self._rekey.discard(spi)
