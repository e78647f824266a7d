"""IKE_SA_INIT against a stranger's reading of the same standard: scapy.contrib.ikev2."""

from __future__ import annotations

import random
import struct
import warnings
from typing import Any

import pytest
from wire_samples import CLEAR, SPI_I, SPI_R, clear_octets

from wire.errors import WireError
from wire.ikev2 import CertReq, Ke, Nonce, Notify, Sa, Vendor
from wire.message import Message, parse_untrusted

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.contrib import ikev2 as scapy_ikev2

INIT = [name for name in CLEAR if name.startswith("init-")]


def ours(message: Message) -> list[Any]:
    """What we read, without records."""
    h = message.header
    out: list[Any] = [(h.spi_i, h.spi_r, h.exchange, h.flags, h.message_id, h.length)]
    for payload in message.payloads:
        body = payload.body
        if isinstance(body, Sa):
            for p in body.proposals:
                out.append((33, p.number, p.protocol, p.spi, len(p.transforms)))
                for t in p.transforms:
                    key = next((a.value for a in t.attributes if a.type == 14), None)
                    out.append((t.type, t.id, key))
        elif isinstance(body, Ke):
            out.append((34, body.group, body.data))
        elif isinstance(body, Nonce):
            out.append((40, body.data))
        elif isinstance(body, Notify):
            out.append((41, body.protocol, body.spi, body.type, body.data))
        elif isinstance(body, Vendor):
            out.append((43, body.data))
        elif isinstance(body, CertReq):
            out.append((38, body.encoding, body.data))
        else:
            raise AssertionError(f"no reading of {payload}")
    return out


def scapys(data: bytes) -> list[Any]:
    """What scapy reads of the same octets."""
    packet: Any = scapy_ikev2.IKEv2(data)
    out: list[Any] = [
        (packet.init_SPI, packet.resp_SPI, packet.exch_type, int(packet.flags), packet.id, packet.length)
    ]
    layer = packet.payload
    while layer.name != "NoPayload":
        if isinstance(layer, scapy_ikev2.IKEv2_SA):
            proposal = layer.prop
            while proposal.name != "NoPayload":
                out.append((33, proposal.proposal, proposal.proto, proposal.SPI, proposal.trans_nb))
                transform = proposal.trans
                while transform.name != "NoPayload":
                    key = transform.key_length & 0xFFFF if transform.length > 8 else None
                    out.append((transform.transform_type, transform.transform_id, key))
                    transform = transform.payload
                proposal = proposal.payload
        elif isinstance(layer, scapy_ikev2.IKEv2_KE):
            out.append((34, layer.group, layer.ke))
        elif isinstance(layer, scapy_ikev2.IKEv2_Nonce):
            out.append((40, layer.nonce))
        elif isinstance(layer, scapy_ikev2.IKEv2_Notify):
            out.append((41, layer.proto, layer.SPI, layer.type, layer.notify))
        elif isinstance(layer, scapy_ikev2.IKEv2_VendorID):
            out.append((43, layer.vendorID))
        elif isinstance(layer, scapy_ikev2.IKEv2_CERTREQ):
            out.append((38, layer.cert_encoding, layer.cert_authority))
        else:
            raise AssertionError(f"no reading of {layer.name}")
        layer = layer.payload
    return out


@pytest.mark.parametrize("name", INIT)
def test_scapy_reads_what_we_build(name: str) -> None:
    data = clear_octets(name)
    assert scapys(data) == ours(parse_untrusted(data))


@pytest.mark.parametrize("name", INIT)
def test_scapy_reads_the_same_of_changed_values(name: str) -> None:
    """Octets changed at random where both still read a message: values, not structure."""
    rng = random.Random(name)
    original = clear_octets(name)
    compared = 0
    for _ in range(300):
        data = bytearray(original)
        data[rng.randrange(16 if rng.random() < 0.1 else 28, len(data))] ^= 1 << rng.randrange(8)
        try:
            message = parse_untrusted(bytes(data))
        except WireError:
            continue
        if any(p.body.__class__.__name__ == "Unknown" or p.type == 47 for p in message.payloads):
            continue  # scapy names other payloads than we do
        if any(isinstance(p.body, Notify) and p.body.type in (16407, 16408) for p in message.payloads):
            continue  # scapy opens REDIRECT, which we leave to its reader
        if any(a.type != 14 for a in _attributes(message)):
            continue  # scapy takes every attribute for a key length
        assert scapys(bytes(data)) == ours(message)
        compared += 1
    assert compared > 40


def _attributes(message: Message) -> list[Any]:
    bodies = [p.body for p in message.payloads if isinstance(p.body, Sa)]
    return [a for sa in bodies for p in sa.proposals for t in p.transforms for a in t.attributes]


def test_we_read_what_scapy_builds() -> None:
    s = scapy_ikev2
    transforms = (
        s.IKEv2_Transform(next_payload=3, length=12, transform_type=1, transform_id=20, key_length=256)
        / s.IKEv2_Transform(next_payload=3, transform_type=2, transform_id=5)
        / s.IKEv2_Transform(next_payload=0, transform_type=4, transform_id=31)
    )
    packet = (
        s.IKEv2(init_SPI=SPI_I, resp_SPI=SPI_R, next_payload=33, exch_type=34, flags=0x20)
        / s.IKEv2_SA(
            next_payload=34, prop=s.IKEv2_Proposal(next_payload=0, proposal=1, trans_nb=3, trans=transforms)
        )
        / s.IKEv2_KE(next_payload=40, group=31, ke=bytes(range(32)))
        / s.IKEv2_Nonce(next_payload=41, nonce=bytes(range(32)))
        / s.IKEv2_Notify(next_payload=0, proto=0, type=16430)
    )
    data = bytes(packet)
    assert struct.unpack_from("!I", data, 24)[0] == len(data)
    assert ours(parse_untrusted(data)) == scapys(data)
    body = parse_untrusted(data).payloads[0].body
    assert isinstance(body, Sa)
    assert [(t.type, t.id) for t in body.proposals[0].transforms] == [(1, 20), (2, 5), (4, 31)]
