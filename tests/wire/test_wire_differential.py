"""The compiled parsers against construct's interpreter, on valid, cut, flipped and mutated messages."""

from __future__ import annotations

import random
import struct

import pytest
import wire_oracle as oracle
from wire_samples import CLEAR, INNER, clear_octets, inner_octets

from wire.message import build_chain, build_message, parse_inner, parse_untrusted

CLEAR_OCTETS = {name: clear_octets(name) for name in CLEAR}
INNER_OCTETS = {name: inner_octets(name) for name in INNER}


def same_message(data: bytes) -> bool:
    """Whether both parsers say the same; True when they accept."""
    ours = oracle.verdict(parse_untrusted, data)
    assert ours == oracle.outcome(oracle.message, data), data.hex()
    return ours is not None


def same_inner(name: str, octets: bytes) -> bool:
    sample = INNER_OCTETS[name]
    arguments = (sample.exchange, sample.response, sample.first, octets)
    ours = oracle.verdict(parse_inner, *arguments)
    assert ours == oracle.outcome(oracle.inner, *arguments), octets.hex()
    return ours is not None


def flips(data: bytes) -> list[bytes]:
    """Every octet string that differs from ``data`` in one bit."""
    number, octets = int.from_bytes(data, "big"), len(data)
    return [(number ^ (1 << bit)).to_bytes(octets, "big") for bit in range(octets * 8)]


@pytest.mark.parametrize("name", CLEAR)
def test_outer_samples_truncations_and_flips(name: str) -> None:
    data = CLEAR_OCTETS[name]
    assert same_message(data)
    for cut in range(len(data)):
        # Cut as the network cuts, and cut with a header that owns up to it.
        assert not same_message(data[:cut])
        if cut >= 28:
            same_message(data[:24] + struct.pack("!I", cut) + data[28:cut])
    for flipped in flips(data):
        same_message(flipped)


@pytest.mark.parametrize("name", INNER)
def test_inner_samples_truncations_and_flips(name: str) -> None:
    octets = INNER_OCTETS[name].octets
    assert same_inner(name, octets)
    for cut in range(len(octets)):
        assert not same_inner(name, octets[:cut])
    for flipped in flips(octets):
        same_inner(name, flipped)


LENGTHS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 40, 255, 256, 0x7FFF, 0x8000, 0x8001, 0xFFFF)


def mutate(rng: random.Random, data: bytes, strangers: list[bytes]) -> bytes:
    """One to four wounds: octets, lengths, holes, repeats and transplants."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(out):
            out[at] = rng.randrange(256)
        elif kind == 1 and at + 2 <= len(out):
            out[at : at + 2] = struct.pack("!H", rng.choice(LENGTHS))
        elif kind == 2:
            del out[at : at + rng.randint(1, 12)]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.randint(1, 12))
        elif kind == 4:
            out[at:at] = out[at : at + rng.randint(4, 40)]
        elif kind == 5 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 6:
            other = rng.choice(strangers)
            start = rng.randrange(len(other) + 1)
            out[at : at + rng.randint(0, 20)] = other[start : start + rng.randint(4, 40)]
    return bytes(out)


def test_mutated_messages() -> None:
    rng = random.Random("wire: outer mutations")
    samples = list(CLEAR_OCTETS.values())
    accepted = 0
    for turn in range(2400):
        data = mutate(rng, samples[turn % len(samples)], samples)
        if len(data) >= 28 and rng.random() < 0.8:
            data = data[:24] + struct.pack("!I", len(data)) + data[28:]
        accepted += same_message(data)
    assert 100 < accepted < 2300


def test_mutated_inner_chains() -> None:
    rng = random.Random("wire: inner mutations")
    names = [name for name, sample in INNER_OCTETS.items() if sample.octets]
    strangers = [INNER_OCTETS[name].octets for name in names]
    accepted = 0
    for turn in range(3000):
        name = names[turn % len(names)]
        accepted += same_inner(name, mutate(rng, INNER_OCTETS[name].octets, strangers))
    assert 60 < accepted < 2900


def test_mutations_of_lengths_that_fit() -> None:
    """Bodies whose outer lengths are right and whose inner lengths lie: the depth of GSA, KD and SA."""
    rng = random.Random("wire: depth")
    accepted = 0
    for turn in range(1200):
        name = ("auth-response", "rekey", "auth-request", "child-request")[turn % 4]
        sample = INNER_OCTETS[name]
        octets = bytearray(sample.octets)
        at = rng.randrange(len(octets) - 1)
        octets[at : at + 2] = struct.pack(
            "!H", (struct.unpack_from("!H", octets, at)[0] + rng.randint(-9, 9)) % 65536
        )
        accepted += same_inner(name, bytes(octets))
    assert accepted > 100


@pytest.mark.parametrize("name", CLEAR)
def test_accepted_messages_are_built_to_what_the_interpreter_reads(name: str) -> None:
    exchange, flags, spi_r, payloads = CLEAR[name]
    data = CLEAR_OCTETS[name]
    message = oracle.message(data)
    assert message.payloads == payloads
    header = message.header
    again = build_message(header.spi_i, header.spi_r, exchange, flags, header.message_id, message.payloads)
    assert again == data
    assert header.spi_r == spi_r


@pytest.mark.parametrize("name", INNER)
def test_inner_chains_are_built_to_what_the_interpreter_reads(name: str) -> None:
    exchange, response, payloads = INNER[name]
    sample = INNER_OCTETS[name]
    assert oracle.inner(exchange, response, sample.first, sample.octets) == payloads
    assert build_chain(payloads, exchange, response) == (sample.first, sample.octets)
