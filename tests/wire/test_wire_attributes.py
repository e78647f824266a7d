"""Attributes: their two forms, and what each registry says of them (RFC 7296 3.3.5, RFC 9838 4.4, 4.5)."""

from __future__ import annotations

import struct

import pytest
from wire_samples import gsa, ipv4

from wire.attributes import Attribute
from wire.chain import CODECS
from wire.errors import WireError
from wire.gikev2 import GroupKeyBag, GroupSaPolicy, GroupWidePolicy, Gsa, Kd, MemberKeyBag
from wire.ikev2 import Proposal, Sa, Transform


def reason(kind: int, body: object) -> str:
    """Why the parser refuses what the builder made: it builds any form, the parser knows the registries."""
    octets = CODECS[kind].build(body)
    with pytest.raises(WireError) as caught:
        CODECS[kind].parse(octets, 0, len(octets))
    return caught.value.reason


def accepts(kind: int, body: object) -> bool:
    octets = CODECS[kind].build(body)
    return bool(CODECS[kind].parse(octets, 0, len(octets)) == body)


def proposal(*attributes: Attribute) -> Sa:
    return Sa([Proposal(1, 1, b"", [Transform(1, 20, list(attributes)), Transform(13, 3)])])


def policy(protocol: int, *attributes: Attribute) -> Gsa:
    spi = bytes(range(16 if protocol == 6 else 4))
    selector = ipv4("233.252.0.1", "233.252.0.1")
    return Gsa([GroupSaPolicy(protocol, spi, selector, selector, [Transform(1, 20)], list(attributes))])


def test_both_forms_on_the_wire() -> None:
    octets = CODECS[33].build(proposal(Attribute(14, 256), Attribute(300, b"abc"), Attribute(301, b"")))
    assert bytes.fromhex("800e0100" + "012c0003616263" + "012d0000") in octets
    sa = CODECS[33].parse(octets, 0, len(octets))
    assert sa.proposals[0].transforms[0].attributes == [
        Attribute(14, 256),
        Attribute(300, b"abc"),
        Attribute(301, b""),
    ]


def test_transform_attributes() -> None:
    assert accepts(33, proposal(Attribute(18, b"0\x05\x06\x03\x2b\x65\x70")))
    assert reason(33, proposal(Attribute(14, b"\x01\x00"))) == "attribute-form"
    assert reason(33, proposal(Attribute(18, 5))) == "attribute-form"
    assert reason(33, proposal(Attribute(18, b""))) == "attribute-length"
    assert reason(33, proposal(Attribute(14, 128), Attribute(14, 256))) == "attribute-repeated"
    assert reason(33, proposal(Attribute(99, 1), Attribute(99, b"x"))) == "attribute-repeated"


def test_group_sa_attributes() -> None:
    lifetime = Attribute(1, bytes(4))
    assert accepts(51, policy(3, lifetime, Attribute(3, b"next"), Attribute(3, b"more"), Attribute(77, 1)))
    assert accepts(51, policy(2, lifetime, Attribute(3, b"next")))
    assert accepts(51, policy(6, lifetime, Attribute(2, bytes(4)), Attribute(3, bytes(16))))
    # RFC 7296 3.3.5: what is defined as variable is never sent short, even where it would fit.
    assert reason(51, policy(3, Attribute(1, 3600))) == "attribute-form"
    assert reason(51, policy(6, Attribute(2, 7))) == "attribute-form"
    assert reason(51, policy(3, Attribute(1, bytes(8)))) == "attribute-length"
    assert reason(51, policy(3, lifetime, lifetime)) == "attribute-repeated"
    # RFC 9838 4.4.2.2.3: as long as the SPI of the policy that it stands in.
    assert reason(51, policy(3, Attribute(3, bytes(16)))) == "attribute-length"
    assert reason(51, policy(6, Attribute(3, bytes(4)))) == "attribute-length"


def test_group_wide_attributes() -> None:
    sa = policy(3).policies[0]

    def wide(*attributes: Attribute) -> Gsa:
        return Gsa([GroupWidePolicy(list(attributes)), sa])

    assert accepts(51, wide(Attribute(1, 10), Attribute(2, 20), Attribute(3, 8)))
    assert accepts(51, wide())
    assert reason(51, wide(Attribute(1, b"\0\x0a"))) == "attribute-form"
    assert reason(51, wide(Attribute(2, 1), Attribute(2, 1))) == "attribute-repeated"


def test_group_key_bag_attributes() -> None:
    key = Attribute(1, bytes(9))

    def bag(protocol: int, *attributes: Attribute) -> Kd:
        return Kd([GroupKeyBag(protocol, bytes(16 if protocol == 6 else 4), list(attributes))])

    assert accepts(52, bag(3, key))
    assert accepts(52, bag(6, key, key, key))
    assert reason(52, bag(3, key, key)) == "attribute-repeated"
    assert reason(52, bag(3)) == "attribute-missing"
    assert reason(52, bag(6, Attribute(9, b"x"))) == "attribute-missing"
    assert reason(52, bag(2, Attribute(1, bytes(8)))) == "attribute-length"
    assert reason(52, bag(2, Attribute(1, 1))) == "attribute-form"


def test_member_key_bag_attributes() -> None:
    def bag(*attributes: Attribute) -> Kd:
        return Kd([MemberKeyBag(list(attributes))])

    assert accepts(52, bag(*[Attribute(1, bytes(32)), Attribute(2, b"spki"), *[Attribute(3, b"\x01")] * 3]))
    assert accepts(52, bag())
    assert reason(52, bag(Attribute(2, b"spki"), Attribute(2, b"spki"))) == "attribute-repeated"
    assert reason(52, bag(Attribute(3, 1))) == "attribute-form"


def test_attributes_end_with_their_region() -> None:
    body = struct.pack("!BBHHH", 0, 0, 8, 0x0063, 1)
    with pytest.raises(WireError, match="truncated"):
        CODECS[52].parse(body + b"x", 0, 9)
    with pytest.raises(WireError, match="truncated"):
        CODECS[52].parse(struct.pack("!BBHH", 0, 0, 6, 0x8063), 0, 6)


def test_a_gsa_has_at_least_one_sa_and_at_most_one_rekey_sa_and_one_group_wide_policy() -> None:
    """RFC 9838 4.4.1."""
    rekey, data, wide = gsa().policies
    assert accepts(51, Gsa([rekey]))
    assert accepts(51, Gsa([wide, data, data, rekey]))
    for policies in ([], [wide], [rekey, rekey], [data, wide, wide]):
        assert reason(51, Gsa(policies)) == "gsa-policies"
