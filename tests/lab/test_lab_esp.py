"""The ESP oracle on frames that a kernel made."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from lab.accounts import HEADER, MARKER
from lab.capture import frames
from lab.esp import EspKey, examine, parse_xfrm, transport

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "lab_esp.json"


@pytest.fixture(scope="module")
def kernel() -> dict[str, Any]:
    found = json.loads(VECTORS.read_text())
    assert found["source"]
    return {
        "keys": parse_xfrm(found["monitor"]),
        "esp4": [bytes.fromhex(frame) for frame in found["esp_ipv4"]],
        "esp6": [bytes.fromhex(frame) for frame in found["esp_ipv6"]],
        "other": [bytes.fromhex(found["mld_report"])],
    }


def pcap(path: Path, contents: Iterable[bytes]) -> Path:
    """A capture file as tcpdump writes it."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for number, frame in enumerate(contents):
            file.write(struct.pack("<IIII", 1000 + number, 250_000, len(frame), len(frame)) + frame)
    return path


def clear_frame(payload: bytes, port: int = 5000) -> bytes:
    udp = struct.pack(">HHHH", 4444, port, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 4, 17, 0, bytes(4), b"\xef\x4d\0\1")
    return bytes(12) + b"\x08\x00" + head + udp


def test_frames_and_their_times(tmp_path: Path) -> None:
    path = pcap(tmp_path / "c.pcap", [b"a" * 60, b"b" * 61])
    assert list(frames(path)) == [(1000.25, b"a" * 60), (1001.25, b"b" * 61)]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.pcap").write_bytes(b"\x0a\x0d\x0d\x0a" + bytes(40))
    with pytest.raises(ValueError, match="not an Ethernet capture"):
        list(frames(tmp_path / "c.pcap"))


def test_keys_of_the_monitor(kernel: dict[str, Any]) -> None:
    gcm, cbc = kernel["keys"]
    assert (gcm.spi, gcm.source, gcm.destination) == (0x1000, "10.77.0.1", "239.77.0.1")
    assert (gcm.cipher, len(gcm.key), gcm.icv_bits, gcm.mode) == ("rfc4106(gcm(aes))", 20, 128, "transport")
    assert (cbc.destination, cbc.cipher, len(cbc.key)) == ("ff35::77:1", "cbc(aes)", 16)
    assert (cbc.integrity, len(cbc.integrity_key), cbc.icv_bits) == ("hmac(sha256)", 32, 128)
    assert gcm.key.hex() not in repr(gcm)


def test_deleted_and_expired_states_are_no_keys() -> None:
    block = "src 10.0.0.1 dst 239.1.1.1\n\tproto esp spi 0x00000009 reqid 1 mode tunnel\n\taead x 0x00 128\n"
    assert len(parse_xfrm(block + "[2026-01-01T00:00:00.1] Deleted " + block + "Expired " + block)) == 1
    assert parse_xfrm("Updated " + block)[0].mode == "tunnel"


def test_everything_opens_with_the_kernels_keys(tmp_path: Path, kernel: dict[str, Any]) -> None:
    path = pcap(tmp_path / "c.pcap", kernel["esp4"] + kernel["other"] + kernel["esp6"])
    found = examine(path, kernel["keys"], [5000])
    assert (found.frames, found.esp, found.judged, found.decrypted) == (7, 6, 6, 6)
    assert (found.clear, found.refused, found.unknown_spi, found.odd_payload) == (0, 0, 0, 0)
    assert (found.repeated_sequence, found.repeated_iv) == (0, 0)
    assert found.by_spi == {0x1000: 6}


def test_a_changed_bit_and_a_wrong_key_are_refused(tmp_path: Path, kernel: dict[str, Any]) -> None:
    frame = kernel["esp4"][0]
    changed = frame[:-20] + bytes([frame[-20] ^ 1]) + frame[-19:]
    found = examine(pcap(tmp_path / "c.pcap", [changed]), kernel["keys"], [5000])
    assert (found.decrypted, found.refused) == (0, 1)
    wrong = EspKey(
        0x1000, "10.77.0.1", "239.77.0.1", "transport", "rfc4106(gcm(aes))", bytes(20), icv_bits=128
    )
    found = examine(pcap(tmp_path / "d.pcap", [frame]), [wrong], [5000])
    assert (found.decrypted, found.refused) == (0, 1)


def test_without_a_key_nothing_opens(tmp_path: Path, kernel: dict[str, Any]) -> None:
    found = examine(pcap(tmp_path / "c.pcap", kernel["esp4"]), [], [5000])
    assert (found.esp, found.decrypted, found.unknown_spi) == (3, 0, 3)


def test_a_replay_is_seen(tmp_path: Path, kernel: dict[str, Any]) -> None:
    found = examine(pcap(tmp_path / "c.pcap", [*kernel["esp4"], kernel["esp4"][1]]), kernel["keys"], [5000])
    assert (found.repeated_sequence, found.repeated_iv) == (1, 1)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(clear_frame(b"anything"), id="to the data port"),
        pytest.param(clear_frame(HEADER.pack(MARKER, 1, 2, 3), port=9999), id="our payload to another port"),
        pytest.param(bytes(12) + b"\x88\xb5" + b"xx" + MARKER, id="our payload in no IP at all"),
    ],
)
def test_cleartext_is_seen(tmp_path: Path, frame: bytes) -> None:
    found = examine(pcap(tmp_path / "c.pcap", [frame]), [], [5000])
    assert (found.clear, found.esp) == (1, 0)
    assert bool(found.first_clear) == (frame[12:14] == b"\x08\x00")


def test_a_sample_is_spread_over_the_capture(tmp_path: Path, kernel: dict[str, Any]) -> None:
    found = examine(pcap(tmp_path / "c.pcap", kernel["esp4"] * 100), kernel["keys"], [5000], at_most=30)
    assert (found.esp, found.judged, found.decrypted) == (300, 30, 30)


def test_fragments_and_extension_headers() -> None:
    fragment = clear_frame(b"x" * 40)[14:]
    fragment = fragment[:6] + b"\x20\x00" + fragment[8:]
    assert transport(fragment) == (None, b"")
    hop_by_hop = b"\x11\x00" + bytes(6)
    packet = b"\x60" + bytes(5) + b"\x00\x01" + bytes(32) + hop_by_hop + b"udp"
    assert transport(packet) == (17, b"udp")
    assert transport(b"") == (0, b"")
