"""GSA_REKEY written a second time, straight from the figures of RFC 9838 with ``struct``, to check the first.

AES-GCM-16-256, KW_5649_256 and Ed25519 only. Nothing of gkmd or wire is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding

ED25519 = bytes.fromhex("300506032b6570")


@dataclass
class ByHand:
    """What one message says. Payload bodies, and GSA and KD taken apart."""

    header: tuple[bytes, int, int, int, int, int, int]
    order: list[int]
    bodies: dict[int, bytes]
    policies: list[dict[str, object]] = field(default_factory=list)
    bags: list[dict[str, object]] = field(default_factory=list)


def keys(keymat: bytes) -> tuple[bytes, bytes, bytes]:
    """GSK_e's key and salt, GSK_w: 32, 4 and 32 octets."""
    assert len(keymat) == 68
    return keymat[:32], keymat[32:36], keymat[36:]


def open_by_hand(data: bytes, keymat: bytes, public_key: bytes | None) -> ByHand:
    spi, nxt, version, exchange, flags, mid, length = struct.unpack_from("!16sBBBBII", data)
    assert length == len(data)
    assert nxt == 46
    first, critical, sk_length = struct.unpack_from("!BBH", data, 28)
    assert critical == 0
    assert sk_length == len(data) - 28
    key, salt, _ = keys(keymat)
    iv, sealed = data[32:40], data[40:]
    plain = AESGCM(key).decrypt(salt + iv, sealed, data[:32])
    inner = plain[: -1 - plain[-1]]
    out = ByHand((spi, version, exchange, flags, mid, int.from_bytes(iv, "big"), plain[-1]), [], {})
    kind, at, auth_at = first, 0, 0
    while kind:
        following, _, size = struct.unpack_from("!BBH", inner, at)
        out.order.append(kind)
        out.bodies[kind] = inner[at + 4 : at + size]
        if kind == 39:
            auth_at = at + 4
        kind, at = following, at + size
    assert at == len(inner)
    if public_key is not None:
        body = out.bodies[39]
        assert body[:4] == bytes((14, 0, 0, 0))
        assert body[4 : 5 + len(ED25519)] == bytes((len(ED25519),)) + ED25519
        signature = body[5 + len(ED25519) :]
        where = auth_at + 5 + len(ED25519)
        zeroed = inner[:where] + bytes(64) + inner[where + 64 :]
        head = (
            data[:24] + struct.pack("!I", 32 + len(inner)) + data[28:30] + struct.pack("!H", 4 + len(inner))
        )
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, head + zeroed)
    if 51 in out.bodies:
        out.policies = policies_by_hand(out.bodies[51])
        out.bags = bags_by_hand(out.bodies[52])
    return out


def policies_by_hand(body: bytes) -> list[dict[str, object]]:
    policies: list[dict[str, object]] = []
    at = 0
    while at < len(body):
        protocol, spi_size, length = struct.unpack_from("!BBH", body, at)
        end, p = at + length, at + 4
        policy: dict[str, object] = {"protocol": protocol}
        if protocol:
            policy["spi"], p = body[p : p + spi_size], p + spi_size
            for name in ("source", "destination"):
                kind, proto, size, low, high = struct.unpack_from("!BBHHH", body, p)
                half = (size - 8) // 2
                addresses = body[p + 8 : p + 8 + half], body[p + 8 + half : p + size]
                policy[name] = (kind, proto, low, high, *addresses)
                p += size
            transforms: list[tuple[int, int, bytes]] = []
            last = 3
            while last:
                last, reserved, size, kind, reserved2, number = struct.unpack_from("!BBHBBH", body, p)
                assert (reserved, reserved2) == (0, 0)
                transforms.append((kind, number, body[p + 8 : p + size]))
                p += size
            policy["transforms"] = transforms
        policy["attributes"] = attributes_by_hand(body[p:end])
        policies.append(policy)
        at = end
    assert at == len(body)
    return policies


def bags_by_hand(body: bytes) -> list[dict[str, object]]:
    bags: list[dict[str, object]] = []
    at = 0
    while at < len(body):
        protocol, spi_size, length = struct.unpack_from("!BBH", body, at)
        if protocol == 0:
            spi_size = 0
        spi = body[at + 4 : at + 4 + spi_size]
        attributes = attributes_by_hand(body[at + 4 + spi_size : at + length])
        bags.append({"protocol": protocol, "spi": spi, "attributes": attributes})
        at += length
    assert at == len(body)
    return bags


def attributes_by_hand(body: bytes) -> list[tuple[int, int | bytes]]:
    attributes: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(body):
        kind, word = struct.unpack_from("!HH", body, at)
        if kind & 0x8000:
            attributes.append((kind & 0x7FFF, word))
            at += 4
        else:
            attributes.append((kind, body[at + 4 : at + 4 + word]))
            at += 4 + word
    assert at == len(body)
    return attributes


def unwrap_by_hand(gsk_w: bytes, value: bytes) -> tuple[int, int, bytes]:
    key_id, kwk_id = struct.unpack_from("!II", value)
    return key_id, kwk_id, aes_key_unwrap_with_padding(gsk_w, value[8:])


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value


def tv(kind: int, value: int) -> bytes:
    return struct.pack("!HH", kind | 0x8000, value)


def selector(protocol: int, low: int, high: int, start: bytes, end: bytes) -> bytes:
    kind = 7 if len(start) == 4 else 8
    return struct.pack("!BBHHH", kind, protocol, 8 + 2 * len(start), low, high) + start + end


def transforms_by_hand(*transforms: tuple[int, int, bytes]) -> bytes:
    out = b""
    for n, (kind, number, attributes) in enumerate(transforms):
        last = 0 if n == len(transforms) - 1 else 3
        out += struct.pack("!BBHBBH", last, 0, 8 + len(attributes), kind, 0, number) + attributes
    return out


def policy_by_hand(protocol: int, spi: bytes, source: bytes, destination: bytes, rest: bytes) -> bytes:
    body = spi + source + destination + rest
    return struct.pack("!BBH", protocol, len(spi), 4 + len(body)) + body


def bag_by_hand(protocol: int, spi: bytes, attributes: bytes) -> bytes:
    return struct.pack("!BBH", protocol, len(spi), 4 + len(spi) + len(attributes)) + spi + attributes


def wrapped_by_hand(kek: bytes, key: bytes, key_id: int = 0, kwk_id: int = 0) -> bytes:
    return struct.pack("!II", key_id, kwk_id) + aes_key_wrap_with_padding(kek, key)


def seal_by_hand(
    spi: bytes,
    mid: int,
    keymat: bytes,
    payloads: list[tuple[int, bytes]],
    seed: bytes | None,
    *,
    flags: int = 0x08,
    padding: int = 0,
    iv: bytes = b"",
    auth_head: bytes = bytes((14, 0, 0, 0, len(ED25519))) + ED25519,
) -> bytes:
    """Payloads in the given order, AUTH behind them when there is a seed."""
    if seed is not None:
        payloads = [*payloads, (39, auth_head + bytes(64))]
    inner = b""
    for n, (_, body) in enumerate(payloads):
        following = payloads[n + 1][0] if n + 1 < len(payloads) else 0
        inner += struct.pack("!BBH", following, 0, 4 + len(body)) + body

    def head(content: int) -> bytes:
        first = payloads[0][0] if payloads else 0
        ike = struct.pack("!16sBBBBII", spi, 46, 0x20, 41, flags, mid, 28 + 4 + content)
        return ike + struct.pack("!BBH", first, 0, 4 + content)

    if seed is not None:
        inner = inner[:-64] + Ed25519PrivateKey.from_private_bytes(seed).sign(head(len(inner)) + inner)
    key, salt, _ = keys(keymat)
    plain = inner + bytes(padding) + bytes((padding,))
    iv = iv or mid.to_bytes(8, "big")
    aad = head(8 + len(plain) + 16)
    return aad + iv + AESGCM(key).encrypt(salt + iv, plain, aad)
