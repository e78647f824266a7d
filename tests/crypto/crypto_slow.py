"""The same cryptography once more, slow and by the book: the truth that ``gkmd.crypto`` is compared with.

Nothing here comes from ``cryptography``; hashes are the standard library's. Never used outside tests.
"""

from __future__ import annotations

import hashlib
import struct

_BLOCK = {"sha256": 64, "sha384": 128, "sha512": 128}


def hmac(name: str, key: bytes, data: bytes) -> bytes:
    """RFC 2104."""
    block = _BLOCK[name]
    if len(key) > block:
        key = hashlib.new(name, key).digest()
    key = key.ljust(block, b"\0")
    inner = hashlib.new(name, bytes(octet ^ 0x36 for octet in key) + data).digest()
    return hashlib.new(name, bytes(octet ^ 0x5C for octet in key) + inner).digest()


def prf_plus(name: str, key: bytes, seed: bytes, octets: int) -> bytes:
    """RFC 7296 2.13, literally."""
    out = last = b""
    counter = 1
    while len(out) < octets:
        last = hmac(name, key, last + seed + bytes((counter,)))
        out += last
        counter += 1
    return out[:octets]


# --- AES (FIPS 197) ---------------------------------------------------------------------------------------


def _times(a: int, b: int) -> int:
    out = 0
    while b:
        if b & 1:
            out ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return out


def _make_box() -> list[int]:
    box = []
    for value in range(256):
        inverse = next((other for other in range(256) if _times(value, other) == 1), 0)
        out = 0x63
        for turn in range(5):
            out ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xFF
        box.append(out)
    return box


_BOX = _make_box()
_UNBOX = [_BOX.index(value) for value in range(256)]
_MUL = {factor: [_times(value, factor) for value in range(256)] for factor in (1, 2, 3, 9, 11, 13, 14)}


def _round_keys(key: bytes) -> list[bytes]:
    words = [key[i : i + 4] for i in range(0, len(key), 4)]
    length, constant = len(words), 1
    for i in range(length, 4 * (length + 7)):
        word = words[-1]
        if i % length == 0:
            word = bytes(_BOX[octet] for octet in word[1:] + word[:1])
            word = bytes((word[0] ^ constant,)) + word[1:]
            constant = _times(constant, 2)
        elif length > 6 and i % length == 4:
            word = bytes(_BOX[octet] for octet in word)
        words.append(bytes(a ^ b for a, b in zip(words[i - length], word, strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, len(words), 4)]


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _mix(state: bytes, row: tuple[int, int, int, int]) -> bytes:
    out = bytearray()
    for column in range(0, 16, 4):
        for i in range(4):
            value = 0
            for j in range(4):
                value ^= _MUL[row[(j - i) % 4]][state[column + j]]
            out.append(value)
    return bytes(out)


class Aes:
    def __init__(self, key: bytes) -> None:
        self._keys = _round_keys(key)

    def encrypt(self, block: bytes) -> bytes:
        state = _xor(block, self._keys[0])
        for number, key in enumerate(self._keys[1:], 1):
            state = bytes(_BOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16))
            if number < len(self._keys) - 1:
                state = _mix(state, (2, 3, 1, 1))
            state = _xor(state, key)
        return state

    def decrypt(self, block: bytes) -> bytes:
        state = block
        for number, key in reversed(list(enumerate(self._keys))[1:]):
            state = _xor(state, key)
            if number < len(self._keys) - 1:
                state = _mix(state, (14, 11, 13, 9))
            state = bytes(_UNBOX[state[(i - 4 * (i % 4)) % 16]] for i in range(16))
        return _xor(state, self._keys[0])


def cbc_encrypt(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    aes, out = Aes(key), b""
    for i in range(0, len(plaintext), 16):
        iv = aes.encrypt(_xor(iv, plaintext[i : i + 16]))
        out += iv
    return out


# --- GCM (NIST SP 800-38D) --------------------------------------------------------------------------------


def _ghash_times(x: int, y: int) -> int:
    out = 0
    for i in range(127, -1, -1):
        if (x >> i) & 1:
            out ^= y
        y = (y >> 1) ^ (0xE1 << 120 if y & 1 else 0)
    return out


def gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    aes = Aes(key)
    stream = b"".join(
        aes.encrypt(nonce + (i + 2).to_bytes(4, "big")) for i in range((len(plaintext) + 15) // 16)
    )
    ciphertext = _xor(plaintext, stream[: len(plaintext)])
    subkey, value = int.from_bytes(aes.encrypt(bytes(16)), "big"), 0
    blocks = (
        aad
        + bytes(-len(aad) % 16)
        + ciphertext
        + bytes(-len(ciphertext) % 16)
        + struct.pack(">QQ", 8 * len(aad), 8 * len(ciphertext))
    )
    for i in range(0, len(blocks), 16):
        value = _ghash_times(value ^ int.from_bytes(blocks[i : i + 16], "big"), subkey)
    return ciphertext + _xor(value.to_bytes(16, "big"), aes.encrypt(nonce + b"\0\0\0\1"))


# --- ChaCha20-Poly1305 (RFC 8439 2) -----------------------------------------------------------------------


def _chacha_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter]
    start += struct.unpack("<3I", nonce)
    state = list(start)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            state[z] ^= state[x]
            state[z] = ((state[z] << turn) | (state[z] >> (32 - turn))) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, start, strict=True)))


def chacha_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    stream = b"".join(_chacha_block(key, i + 1, nonce) for i in range((len(plaintext) + 63) // 64))
    ciphertext = _xor(plaintext, stream[: len(plaintext)])
    once = _chacha_block(key, 0, nonce)
    r = int.from_bytes(once[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    value, modulus = 0, (1 << 130) - 5
    data = (
        aad
        + bytes(-len(aad) % 16)
        + ciphertext
        + bytes(-len(ciphertext) % 16)
        + struct.pack("<QQ", len(aad), len(ciphertext))
    )
    for i in range(0, len(data), 16):
        value = (value + int.from_bytes(data[i : i + 16] + b"\1", "little")) * r % modulus
    tag = (value + int.from_bytes(once[16:32], "little")) & ((1 << 128) - 1)
    return ciphertext + tag.to_bytes(16, "little")


# --- AES Key Wrap with Padding (RFC 5649 4.1, RFC 3394 2.2.1) ---------------------------------------------


def wrap(kek: bytes, key: bytes) -> bytes:
    aes = Aes(kek)
    first = bytes.fromhex("a65959a6") + len(key).to_bytes(4, "big")
    padded = key + bytes(-len(key) % 8)
    if len(padded) == 8:
        return aes.encrypt(first + padded)
    blocks = [padded[i : i + 8] for i in range(0, len(padded), 8)]
    for j in range(6):
        for i in range(len(blocks)):
            out = aes.encrypt(first + blocks[i])
            first = _xor(out[:8], (len(blocks) * j + i + 1).to_bytes(8, "big"))
            blocks[i] = out[8:]
    return first + b"".join(blocks)


# --- MODP -------------------------------------------------------------------------------------------------


def modp_prime(bits: int, constant: int) -> int:
    """2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + constant): RFC 3526."""
    guard = 64
    one = 1 << (bits - 130 + guard)

    def arctan_inverse(x: int) -> int:
        total, power, n, sign = 0, one // x, 1, 1
        while power:
            total += sign * power // n
            power //= x * x
            n, sign = n + 2, -sign
        return total

    pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239)) >> guard  # Machin
    return (1 << bits) - (1 << (bits - 64)) - 1 + (1 << 64) * (pi + constant)
