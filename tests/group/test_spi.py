"""SPIs and Sender-IDs: reserved values, no second use."""

from __future__ import annotations

import pytest

from gkmd.core.rng import SeededRng
from gkmd.group.model import Refusal, Refused
from gkmd.group.sender_ids import allot
from gkmd.group.spi import LEAST_DATA_SPI, Spis


class Scripted:
    """Hands out given octets, whatever length is asked for."""

    def __init__(self, *octets: bytes) -> None:
        self._octets = list(octets)

    def __call__(self, octets: int) -> bytes:
        found = self._octets.pop(0)
        assert len(found) == octets
        return found


def test_data_spi_is_never_a_reserved_one() -> None:
    spis = Spis(Scripted(bytes(4), b"\0\0\0\xff", b"\0\0\x01\0"))
    assert spis.new_data() == LEAST_DATA_SPI


def test_data_spi_in_use_is_not_given_again() -> None:
    spis = Spis(Scripted(b"\0\0\x02\0", b"\0\0\x02\0", b"\0\0\x02\1", b"\0\0\x02\0"))
    assert [spis.new_data(), spis.new_data()] == [0x200, 0x201]
    spis.release(0x200)
    assert spis.new_data() == 0x200


def test_adopted_spi_is_in_use() -> None:
    spis = Spis(Scripted(b"\0\0\x02\0", b"\0\0\x02\1", bytes(range(16)), bytes(range(1, 17))))
    spis.adopt(0x200)
    spis.adopt(bytes(range(16)))
    assert spis.new_data() == 0x201
    assert spis.new_rekey() == bytes(range(1, 17))
    spis.release(bytes(range(16)))


def test_rekey_spi_has_no_zero_half() -> None:
    first, last, good = bytes(8) + b"1" * 8, b"1" * 8 + bytes(8), b"1" * 16
    assert Spis(Scripted(first, last, good)).new_rekey() == good


def test_spis_of_a_real_source_differ() -> None:
    spis = Spis(SeededRng(1))
    assert len({spis.new_data() for _ in range(2000)}) == 2000
    assert len({spis.new_rekey() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("next_id", "asked", "most", "expected"),
    [
        (0, 0, 8, (0,)),
        (0, 1, 8, (0,)),
        (5, 3, 8, (5, 6, 7)),
        (5, 30, 4, (5, 6, 7, 8)),
        (254, 4, 8, (254, 255)),
        (255, 0, 8, (255,)),
    ],
)
def test_allotment(next_id: int, asked: int, most: int, expected: tuple[int, ...]) -> None:
    assert allot(next_id, asked, 8, most) == (expected, expected[-1] + 1)


def test_exhausted_sender_ids_are_refused() -> None:
    with pytest.raises(Refused) as refused:
        allot(256, 0, 8, 8)
    assert refused.value.refusal is Refusal.SENDER_IDS_EXHAUSTED
