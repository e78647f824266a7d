"""EAP messages and our own notifications: octets by hand, bad input, and construct's interpreter."""

from __future__ import annotations

import random
import struct
from typing import Any

import construct
import pytest
import wire_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st
from test_wire_differential import flips
from wire_samples import ED25519, INNER, inner_octets, load

from wire.chain import build_payloads
from wire.eap import EAP_MESSAGE, EapCode, EapMessage, EapType, build_eap, parse_eap_untrusted
from wire.errors import WireError
from wire.ikev2 import Auth, Cert, Eap, Id
from wire.message import Payload, parse_inner
from wire.private import (
    MAGIC,
    MAX_ITEMS,
    PRIVATE,
    EvidenceItem,
    Item,
    Private,
    ReasonItem,
    build_private,
    parse_private_untrusted,
)
from wire.registry import ExchangeType, NotifyType
from wire.registry import PayloadType as P
from wire.vocabulary import Binding

# --- by hand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        ("0101000d0650617373776f7264", EapMessage(1, 1, b"\x06Password")),
        ("0201000606ab", EapMessage(2, 1, b"\x06\xab")),
        ("0207000501", EapMessage(2, 7, b"\x01")),
        ("020700060306", EapMessage(2, 7, b"\x03\x06")),
        ("03010004", EapMessage(3, 1)),
        ("04ff0004", EapMessage(4, 255)),
    ],
)
def test_eap_messages_by_hand(octets: str, message: EapMessage) -> None:
    data = bytes.fromhex(octets)
    assert parse_eap_untrusted(data) == message
    kind = message.type if message.content else None
    assert build_eap(EapCode(message.code), message.identifier, kind, message.data) == data


@pytest.mark.parametrize(
    "octets",
    [
        *("", "01", "010100", "01010004", "01010003", "0101000406", "010100060", "00010004", "05010004"),
        *("0301000500", "0401000506", "03010003", "0101000606", "01010005060", "0101000506ff", "0101ffff06"),
    ],
)
def test_what_is_no_eap_message(octets: str) -> None:
    with pytest.raises(WireError):
        parse_eap_untrusted(bytes.fromhex(octets + "0" * (len(octets) % 2)))


def test_what_cannot_be_an_eap_message_is_not_built() -> None:
    for arguments in ((EapCode.SUCCESS, 1, EapType.GTC), (EapCode.REQUEST, 1), (EapCode.REQUEST, 256, 6)):
        with pytest.raises(WireError):
            build_eap(*arguments)
    with pytest.raises(WireError, match="build"):
        build_eap(EapCode.RESPONSE, 1, EapType.GTC, bytes(65531))


def test_no_password_and_no_voucher_prints() -> None:
    octets = build_eap(EapCode.RESPONSE, 1, EapType.GTC, b"hunter2")
    assert "hunter2" not in repr(parse_eap_untrusted(octets)) + repr(Eap(octets))
    assert "7K2M" not in repr(Private(1, [Item(1, b"7K2M")]))


def test_private_notifications_by_hand() -> None:
    data = b"gkmd\x01\x00" + b"\x00\x01\x00\x04abcd" + b"\xff\xff\x00\x00"
    assert parse_private_untrusted(data) == [Item(1, b"abcd"), Item(0xFFFF, b"")]
    assert build_private([Item(1, b"abcd"), Item(0xFFFF, b"")]) == data
    # The reserved octet is ignored.
    assert parse_private_untrusted(b"gkmd\x01\x77" + data[6:]) == [Item(1, b"abcd"), Item(0xFFFF, b"")]
    assert parse_private_untrusted(b"gkmd\x01\x00") == []


@pytest.mark.parametrize("data", [b"", b"gkm", b"GKMD\x01\x00", b"gkmd\x02", b"gkmd\x00\x00", b"strongSwan"])
def test_what_is_not_ours(data: bytes) -> None:
    assert parse_private_untrusted(data) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"gkmd", b"gkmd\x01", b"gkmd\x01\x00\x00", b"gkmd\x01\x00\x00\x01\x00\x05abcd"),
        b"gkmd\x01\x00\x00\x01\x00\x01",
        b"gkmd\x01\x00" + bytes(4) * (MAX_ITEMS + 1),
    ],
)
def test_ours_and_malformed(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_private_untrusted(data)


def test_items_are_bounded_when_built() -> None:
    with pytest.raises(WireError):
        build_private([Item(1, b"")] * (MAX_ITEMS + 1))
    with pytest.raises(WireError, match="build"):
        build_private([Item(1, bytes(65536))])
    with pytest.raises(WireError, match="build"):
        build_private([Item(65536, b"")])


def test_the_numbers_are_private() -> None:
    """RFC 7296 3.10.1: 40960 to 65535 are for private use, among status types."""
    assert 40960 <= NotifyType.GKMD_EVIDENCE < NotifyType.GKMD_REASON <= 65535
    assert [*EvidenceItem] == [1, 2, 3]
    assert [*ReasonItem] == [1, 2, 3, 4]
    assert MAGIC == b"gkmd"


# --- the interpreter ----------------------------------------------------------------------------------

SAMPLES = [
    *(build_eap(EapCode.REQUEST, 1, EapType.GTC, b"Password"), build_eap(EapCode.SUCCESS, 9)),
    *(build_eap(EapCode.RESPONSE, 1, EapType.NAK, b"\x06"), build_eap(EapCode.RESPONSE, 0, 1, b"")),
]
PRIVATE_SAMPLES = [
    build_private([Item(1, b"7K2M-4QWX-99ZT-A0BC"), Item(2, b"EUR" + bytes(8))]),
    build_private([Item(1, b"payment-required"), Item(2, bytes(8)), Item(700, b"x")]),
    build_private([]),
]


def interpreted(binding: Binding[Any], data: bytes) -> Any:
    whole = construct.Struct("body" / binding.definition, construct.Terminated)
    return oracle.record(binding, whole.parse(data).body)


def same(data: bytes) -> bool:
    """Whether the compiled parsers say what construct's interpreter says; True when one of them accepts."""
    eap = oracle.verdict(parse_eap_untrusted, data)
    assert eap == oracle.outcome(interpreted, EAP_MESSAGE, data), data.hex()
    private = None
    if data[:5] == MAGIC + b"\x01":
        found = oracle.verdict(parse_private_untrusted, data)
        private = None if found is None else Private(1, found)
        assert private == oracle.outcome(interpreted, PRIVATE, data), data.hex()
    return eap is not None or private is not None


def test_truncations_and_flips() -> None:
    for data in (*SAMPLES, *PRIVATE_SAMPLES):
        assert same(data)
        for end in range(len(data)):
            same(data[:end])
        for flipped in flips(data):
            same(flipped)


def test_mutations() -> None:
    rng = random.Random("wire: eap and private")
    accepted = 0
    for turn in range(3000):
        data = bytearray((*SAMPLES, *PRIVATE_SAMPLES)[turn % 7])
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data) + 1)
            if rng.random() < 0.4 and at + 2 <= len(data):
                data[at : at + 2] = struct.pack("!H", rng.choice((0, 1, 3, 4, 5, 8, 11, 65535)))
            elif rng.random() < 0.5:
                data[at:at] = rng.randbytes(rng.randint(1, 6))
            else:
                del data[at : at + rng.randint(1, 4)]
        accepted += same(bytes(data))
    assert 50 < accepted < 2500


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: MAGIC + b"\x01" + data))
def test_any_octets(data: bytes) -> None:
    same(data)


# --- the rules of GSA_AUTH ----------------------------------------------------------------------------

EAP = load(P.EAP, Eap(SAMPLES[0]))
AUTH = load(P.AUTH, Auth(14, b"\x07" + ED25519 + bytes(64)))
CERT = load(P.CERT, Cert(4, b"\x30\x00"))
ID_I, ID_R = load(P.ID_I, Id(3, b"a@b")), load(P.ID_R, Id(2, b"c"))
ID_G = load(P.ID_G, Id(11, b"news"))


def accepted(response: bool, payloads: list[Payload]) -> bool:
    first, octets = build_payloads(payloads)
    try:
        parse_inner(ExchangeType.GSA_AUTH, response, first, octets)
    except WireError as error:
        return not error.reason.startswith("rule-")
    return True


def policy() -> list[Payload]:
    _, _, payloads = INNER["eap-admitted"]
    return [payload for payload in payloads if payload.type in (P.GSA, P.KD)]


def test_the_forms_of_a_request() -> None:
    for payloads in ([ID_I, ID_G], [ID_I, ID_R, ID_G], [EAP], [AUTH], [ID_I, AUTH, ID_G]):
        assert accepted(False, payloads)
    for payloads in (
        *([], [ID_I], [ID_G], [ID_I, ID_R], [EAP, AUTH], [EAP, EAP], [AUTH, AUTH], [ID_I, EAP, ID_G]),
        *([ID_I, CERT, ID_G], [AUTH, ID_G], [ID_I, AUTH], [EAP, ID_G], [AUTH, CERT], [ID_I, ID_I, ID_G]),
        *([AUTH, *policy()], [EAP, *policy()], [ID_I, ID_G, *policy()]),
    ):
        assert not accepted(False, payloads)


def test_the_forms_of_a_reply() -> None:
    for payloads in ([ID_R, AUTH, EAP], [ID_R, CERT, CERT, AUTH, EAP], [EAP], [AUTH, *policy()]):
        assert accepted(True, payloads)
    for payloads in (
        *([], [ID_R], [AUTH], [ID_R, EAP], [AUTH, EAP], [ID_R, AUTH], [EAP, EAP], [ID_R, AUTH, EAP, EAP]),
        *([EAP, *policy()], [ID_R, AUTH, EAP, *policy()], [*policy()], [AUTH, policy()[0]], [CERT, EAP]),
        *([CERT, AUTH, *policy()], [ID_I, AUTH, EAP]),
    ):
        assert not accepted(True, payloads)


def test_the_samples_of_a_login_are_of_its_forms() -> None:
    for name in [name for name in INNER if name.startswith("eap-")]:
        exchange, response, payloads = INNER[name]
        assert exchange == ExchangeType.GSA_AUTH
        assert accepted(response, payloads)
        sample = inner_octets(name)
        assert parse_inner(exchange, response, sample.first, sample.octets) == payloads
