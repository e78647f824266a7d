"""The octets that go to the kernel, read with struct by the layout of <linux/xfrm.h>."""

from __future__ import annotations

import struct

import pytest
from kernel_contract import NEWS, NEWS6, SOURCE, SOURCE6, policy_for, sa_for

from gkmd.core.algorithms import AES_CBC_256, CHACHA20_POLY1305, CIPHERS, HMAC_SHA2_384_192, INTEGRITIES
from gkmd.core.errors import LocalError
from gkmd.core.esp import Direction, Mode
from gkmd.kernel.messages import SaInfo, XfrmMessage
from gkmd.kernel.names import REQID_BASE, is_our_reqid, kernel_cipher, kernel_integrity, kernel_reqid
from gkmd.kernel.requests import new_policies, new_sa, policy_ids, sa_id

AEAD, CRYPT, AUTH_TRUNC, REPLAY_ESN, TEMPLATE = 18, 2, 20, 23, 5
HEADER = 16


def encoded(message: XfrmMessage, body_octets: int) -> tuple[bytes, dict[int, bytes]]:
    """The fixed part and the attributes by number; checks every length on the way."""
    message.encode()
    data = bytes(message.data)
    assert struct.unpack_from("I", data)[0] == len(data)
    attributes = {}
    offset = HEADER + body_octets
    while offset < len(data):
        length, number = struct.unpack_from("HH", data, offset)
        attributes[number] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    assert offset == len(data)
    return data[HEADER : HEADER + body_octets], attributes


def test_an_aead_sa_for_input() -> None:
    sa = sa_for(Direction.IN, spi=0x01020304, lifetime=299.2, reqid=5)
    body, attributes = encoded(new_sa(sa), 224)
    # selector: exactly the source and the group, so that only this sender can use the SA
    assert body[:32] == NEWS.packed.ljust(16, b"\0") + SOURCE.packed.ljust(16, b"\0")
    assert struct.unpack_from("HBBB", body, 40) == (2, 32, 32, 0)
    # id and source
    assert body[56:96] == NEWS.packed.ljust(16, b"\0") + b"\1\2\3\4\x32\0\0\0" + SOURCE.packed.ljust(
        16, b"\0"
    )
    unlimited = 2**64 - 1
    assert struct.unpack_from("8Q", body, 96) == (*(4 * (unlimited,)), 0, 300, 0, 0)
    # seq, reqid, family, mode, window (in the attribute), flags WILDRECV
    assert struct.unpack_from("IIHBBB", body, 204) == (0, REQID_BASE + 5, 2, 0, 0, 8)
    name, bits, icv = struct.unpack_from("64sII", attributes.pop(AEAD))
    assert (name.rstrip(b"\0"), bits, icv) == (b"rfc4106(gcm(aes))", 160, 128)
    assert attributes == {REPLAY_ESN: struct.pack("6I", 2, 0, 0, 0, 0, 64) + bytes(8)}


def test_a_shared_cbc_sa_for_output_from_any_source() -> None:
    sa = sa_for(Direction.OUT, source=None, cipher=AES_CBC_256, integrity=HMAC_SHA2_384_192, replay_window=0)
    body, attributes = encoded(new_sa(sa), 224)
    assert body[16:32] == bytes(16)
    assert struct.unpack_from("HBBB", body, 40) == (2, 32, 0, 0)
    assert struct.unpack_from("IIHBBB", body, 204) == (0, REQID_BASE + 1, 2, 0, 0, 0)
    key = sa.key.reveal()
    assert attributes == {
        CRYPT: struct.pack("64sI", b"cbc(aes)", 256) + key[:32],
        AUTH_TRUNC: struct.pack("64sII", b"hmac(sha384)", 384, 192) + key[32:],
    }


def test_an_ipv6_tunnel() -> None:
    sa = sa_for(
        Direction.IN,
        destination=NEWS6,
        source=SOURCE6,
        mode=Mode.TUNNEL,
        cipher=CHACHA20_POLY1305,
        replay_window=32,
    )
    body, attributes = encoded(new_sa(sa), 224)
    assert body[:32] == NEWS6.packed + SOURCE6.packed
    assert struct.unpack_from("IIHBBB", body, 204) == (0, REQID_BASE + 1, 10, 1, 32, 8)
    assert list(attributes) == [AEAD]
    assert encoded(sa_id((NEWS6, 0x100)), 24)[0] == NEWS6.packed + b"\0\0\1\0" + struct.pack("HBx", 10, 50)


@pytest.mark.parametrize(
    ("direction", "mode", "reqid", "ends"),
    [
        (Direction.IN, Mode.TRANSPORT, 0, (bytes(16), bytes(16))),
        (Direction.IN, Mode.TUNNEL, 0, (bytes(16), bytes(16))),
        (Direction.OUT, Mode.TRANSPORT, REQID_BASE + 7, (bytes(16), bytes(16))),
        (
            Direction.OUT,
            Mode.TUNNEL,
            REQID_BASE + 7,
            (NEWS.packed.ljust(16, b"\0"), SOURCE.packed.ljust(16, b"\0")),
        ),
    ],
)
def test_templates(direction: Direction, mode: Mode, reqid: int, ends: tuple[bytes, bytes]) -> None:
    (message,) = new_policies(policy_for(direction, mode=mode, source=SOURCE, reqid=7))
    body, attributes = encoded(message, 168)
    assert struct.unpack_from(">HHHH", body, 32) == (5000, 0xFFFF, 0, 0)
    assert struct.unpack_from("IIBBBB", body, 152) == (
        84_848,
        0,
        1 if direction is Direction.OUT else 0,
        0,
        0,
        0,
    )
    template = attributes[TEMPLATE]
    assert len(template) == 64
    assert (template[:16], template[28:44]) == ends
    assert struct.unpack_from("I", template, 44)[0] == reqid
    assert template[48] == (1 if mode is Mode.TUNNEL else 0)
    assert template[50] == 0  # not optional
    assert struct.unpack_from("3I", template, 52) == (2**32 - 1,) * 3


def test_a_policy_for_every_protocol_lets_membership_queries_pass() -> None:
    everything = policy_for(Direction.IN, protocol=0, port=0)
    own, igmp = new_policies(everything)
    assert own["sel_proto"] == 0
    body, attributes = encoded(igmp, 168)
    assert body[44] == 2
    assert attributes == {}  # no template: pass
    assert struct.unpack_from("I", body, 152)[0] < own["priority"]
    _, query, report = new_policies(policy_for(Direction.IN, destination=NEWS6, protocol=0, port=0))
    assert [(m["sel_proto"], m["sel_sport"], m["sel_sport_mask"]) for m in (query, report)] == [
        (58, 130, 0xFFFF),
        (58, 131, 0xFFFF),
    ]
    assert [m["sel_proto"] for m in policy_ids(everything)] == [0, 2]
    assert len(new_policies(policy_for(Direction.IN))) == 1


def test_an_unknown_attribute_is_refused_not_dropped() -> None:
    with pytest.raises(LocalError, match="XFRMA_REPLAY_ESN"):
        SaInfo().attach("XFRMA_REPLAY_ESN", b"")


def test_every_algorithm_of_gkmd_has_a_kernel_name() -> None:
    assert all(kernel_cipher(cipher) for cipher in CIPHERS)
    assert [(a.name, a.icv_bits) for a in map(kernel_integrity, INTEGRITIES) if a] == [
        ("hmac(sha256)", 128),
        ("hmac(sha384)", 192),
        ("hmac(sha512)", 256),
    ]


@pytest.mark.parametrize("reqid", [0, 1, 0xFFFFFF, 0x1000000, 2**32 - 1])
def test_reqids_are_marked_as_ours(reqid: int) -> None:
    assert is_our_reqid(kernel_reqid(reqid))
    assert kernel_reqid(reqid) & 0xFFFFFF == reqid & 0xFFFFFF
    assert not is_our_reqid(reqid)
