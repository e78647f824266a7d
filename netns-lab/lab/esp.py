"""The ESP oracle: a stranger's implementation (scapy) judges what our kernel put on the wire.

Keys come from the kernel itself, as ``ip xfrm monitor`` told them when they were installed, so a wrong key
that all our hosts agree on would still decrypt; that the payload is the sender's own is checked, too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lab.accounts import MARKER
from lab.capture import frames

UDP, ESP, FRAGMENT6 = 17, 50, 44


@dataclass(frozen=True, slots=True)
class EspKey:
    """One SA as the kernel has it. Algorithm names are the kernel's; keys are octets, with salt for AEAD."""

    spi: int
    source: str
    destination: str
    mode: str
    cipher: str
    key: bytes = field(repr=False)
    integrity: str = ""
    integrity_key: bytes = field(default=b"", repr=False)
    icv_bits: int = 0


def parse_xfrm(text: str) -> list[EspKey]:
    """The ESP SAs in the output of ``ip xfrm state`` or ``ip xfrm monitor``, in order, repeated as there."""
    found = []
    for block in re.split(r"^(?=(?:\[[^]]*\] ?)?(?:\w+ )?src )", text, flags=re.MULTILINE):
        head = re.match(r"(?:\[[^]]*\] ?)?(\w+ )?src (\S+) dst (\S+)", block)
        ids = re.search(r"proto esp spi (0x[0-9a-f]+).* mode (\w+)", block)
        cipher = re.search(r"^\s+(?:aead|enc) (\S+) 0x([0-9a-f]*)(?: (\d+))?$", block, re.MULTILINE)
        if head is None or ids is None or cipher is None or head.group(1) in ("Deleted ", "Expired "):
            continue
        auth = re.search(r"^\s+auth(?:-trunc)? (\S+) 0x([0-9a-f]*)(?: (\d+))?", block, re.MULTILINE)
        found.append(
            EspKey(
                spi=int(ids.group(1), 16),
                source=head.group(2),
                destination=head.group(3),
                mode=ids.group(2),
                cipher=cipher.group(1),
                key=bytes.fromhex(cipher.group(2)),
                integrity=auth.group(1) if auth else "",
                integrity_key=bytes.fromhex(auth.group(2)) if auth else b"",
                icv_bits=int((auth.group(3) if auth else cipher.group(3)) or 0),
            )
        )
    return found


@dataclass(slots=True)
class Findings:
    """What a capture holds. Frames are counted; ``judged`` of the ESP ones were given to scapy."""

    frames: int = 0
    esp: int = 0
    clear: int = 0  # frames with the test payload in clear, or UDP to a data port
    fragments: int = 0
    judged: int = 0
    decrypted: int = 0  # ICV good and the payload is test traffic
    unknown_spi: int = 0
    refused: int = 0  # the ICV is wrong
    odd_payload: int = 0  # decrypted, but not test traffic
    repeated_sequence: int = 0  # two frames with one SPI and sequence number
    repeated_iv: int = 0  # two frames with one SPI and explicit IV
    by_spi: dict[int, int] = field(default_factory=dict)  # in order of first appearance
    first_clear: str = ""


def examine(path: Path, keys: Iterable[EspKey], data_ports: Iterable[int], at_most: int = 2000) -> Findings:
    """Read a capture from beginning to end; decrypt at most ``at_most`` ESP frames, evenly spread over it."""
    judge = Judge(keys)
    ports = frozenset(data_ports)
    findings = Findings()
    esp: list[bytes] = []
    pairs: set[tuple[bytes, bytes]] = set()
    for _, frame in frames(path):
        findings.frames += 1
        network = network_layer(frame)
        protocol, body = transport(network)
        in_clear = protocol == UDP and len(body) >= 4 and struct.unpack_from(">H", body, 2)[0] in ports
        if in_clear or MARKER in frame:
            findings.clear += 1
            findings.first_clear = findings.first_clear or network[:64].hex()
        elif protocol is None and network:
            findings.fragments += 1
        elif protocol == ESP and len(body) >= 16:
            findings.esp += 1
            spi = int.from_bytes(body[:4], "big")
            findings.by_spi[spi] = findings.by_spi.get(spi, 0) + 1
            source = network[8:24] if network[0] >> 4 == 6 else network[12:16]
            if (body[:8], source) in pairs:
                findings.repeated_sequence += 1
            pairs.add((body[:8], source))
            iv = body[8 : 8 + judge.iv_octets(spi)]
            if iv and (body[:4], b"iv" + iv) in pairs:
                findings.repeated_iv += 1
            pairs.add((body[:4], b"iv" + iv))
            esp.append(network)
    step = max(1, len(esp) / at_most) if at_most else 0
    chosen = [esp[int(number * step)] for number in range(int(len(esp) / step))] if step else []
    for packet in chosen:
        findings.judged += 1
        verdict = judge(packet)
        setattr(findings, verdict, getattr(findings, verdict) + 1)
    return findings


def network_layer(frame: bytes) -> bytes:
    """The IPv4 or IPv6 packet in an Ethernet frame, or nothing."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= 34:
        return frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
    if kind == b"\x86\xdd" and len(frame) >= 54:
        return frame[14 : 54 + int.from_bytes(frame[18:20], "big")]
    return b""


def transport(packet: bytes) -> tuple[int | None, bytes]:
    """Protocol and body of an IP packet; None for a fragment. IPv6 extension headers are skipped."""
    if not packet:
        return 0, b""
    if packet[0] >> 4 == 4:
        if int.from_bytes(packet[6:8], "big") & 0x3FFF:
            return None, b""
        return packet[9], packet[(packet[0] & 15) * 4 :]
    protocol, offset = packet[6], 40
    while protocol in (0, 43, 60) and offset + 8 <= len(packet):
        protocol, offset = packet[offset], offset + 8 + packet[offset + 1] * 8
    return (None, b"") if protocol == FRAGMENT6 else (protocol, packet[offset:])


class Judge:
    """scapy's SecurityAssociation for each key; called with an IP packet it names the count of Findings."""

    CIPHERS = {  # noqa: RUF012 (kernel's name: scapy's name, octets of the explicit IV)
        "rfc4106(gcm(aes))": ("AES-GCM", 8),
        "rfc7539esp(chacha20,poly1305)": ("CHACHA20-POLY1305", 8),
        "rfc4543(gcm(aes))": ("AES-NULL-GMAC", 8),
        "cbc(aes)": ("AES-CBC", 16),
    }
    INTEGRITIES = {  # noqa: RUF012
        ("hmac(sha256)", 128): "SHA2-256-128",
        ("hmac(sha384)", 192): "SHA2-384-192",
        ("hmac(sha512)", 256): "SHA2-512-256",
    }

    def __init__(self, keys: Iterable[EspKey]) -> None:
        self._keys: dict[tuple[int, str], EspKey] = {}
        for key in keys:
            self._keys[key.spi, key.destination] = key
        self._ivs = {key.spi: self.CIPHERS[key.cipher][1] for key in self._keys.values()}
        self._ready: dict[tuple[int, str], Callable[[bytes], Any]] = {}

    def iv_octets(self, spi: int) -> int:
        return self._ivs.get(spi, 0)

    def __call__(self, packet: bytes) -> str:
        version = packet[0] >> 4
        destination = str(ip_address(packet[24:40] if version == 6 else packet[16:20]))
        spi = int.from_bytes(transport(packet)[1][:4], "big")
        key = self._keys.get((spi, destination))
        if key is None:
            return "unknown_spi"
        if (spi, destination) not in self._ready:
            self._ready[spi, destination] = self._prepare(key)
        from scapy.layers.ipsec import IPSecIntegrityError

        try:
            inner = self._ready[spi, destination](packet)
        except IPSecIntegrityError:
            return "refused"
        return "decrypted" if MARKER in bytes(inner) else "odd_payload"

    def _prepare(self, key: EspKey) -> Callable[[bytes], Any]:
        """Import scapy late: it costs a second or two in a guest, and only the oracle needs it."""
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6
        from scapy.layers.ipsec import ESP as Esp
        from scapy.layers.ipsec import SecurityAssociation

        outer = IPv6 if ":" in key.destination else IP
        words: dict[str, Any] = {"crypt_algo": self.CIPHERS[key.cipher][0], "crypt_key": key.key}
        if key.integrity:
            words["auth_algo"] = self.INTEGRITIES[key.integrity, key.icv_bits]
            words["auth_key"] = key.integrity_key
        if key.mode == "tunnel":
            words["tunnel_header"] = outer(src=key.source, dst=key.destination)
        association: Any = SecurityAssociation(Esp, spi=key.spi, **words)  # type: ignore[no-untyped-call]
        return lambda packet: association.decrypt(outer(packet))
