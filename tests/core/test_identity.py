import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkmd.core.identity import Identity, IdentityKind, IdentityPattern


@pytest.mark.parametrize(
    ("text", "kind", "data"),
    [
        ("fqdn:rx1.lab", IdentityKind.FQDN, b"rx1.lab"),
        ("email:a@b.example", IdentityKind.RFC822, b"a@b.example"),
        ("ipv4:10.1.2.3", IdentityKind.IPV4, bytes([10, 1, 2, 3])),
        ("ipv6:fd00::1", IdentityKind.IPV6, bytes.fromhex("fd00") + bytes(13) + b"\x01"),
        ("keyid:news", IdentityKind.KEY_ID, b"news"),
        ("keyid:0x00ff", IdentityKind.KEY_ID, b"\x00\xff"),
        ("dn:0x3000", IdentityKind.DN, b"\x30\x00"),
    ],
)
def test_text_and_octets(text: str, kind: IdentityKind, data: bytes) -> None:
    identity = Identity.parse(text)
    assert (identity.kind, identity.data) == (kind, data)
    assert str(identity) == text


@pytest.mark.parametrize(
    "text", ["", "rx1", "fqdn:", "fqdn:ümlaut", "ipv4:10.1.2", "ipv6:10.1.2.3", "dn:zz", "host:a"]
)
def test_what_is_no_identity_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="identity"):
        Identity.parse(text)


@given(st.integers(0, 255), st.binary(max_size=40))
def test_any_octets_from_the_wire_print_on_one_line_and_only_equal_ones_alike(kind: int, data: bytes) -> None:
    text = str(Identity(kind, data))
    assert text.isprintable()
    if text.startswith(("ipv4", "ipv6", "keyid:", "dn:")) and data and not text.endswith(":0x"):
        if kind in (IdentityKind.IPV4, IdentityKind.IPV6) and len(data) not in (4, 16):
            return
        try:
            again = Identity.parse(text)
        except ValueError:
            assert kind in (IdentityKind.IPV4, IdentityKind.IPV6)
        else:
            assert again == Identity(kind, data)


@pytest.mark.parametrize(
    ("pattern", "identity", "matches"),
    [
        ("any", "keyid:x", True),
        ("fqdn:rx1.lab", "fqdn:RX1.lab", True),
        ("fqdn:rx1.lab", "fqdn:rx1.lab.evil", False),
        ("fqdn:*.lab", "fqdn:rx1.lab", True),
        ("fqdn:*.lab", "fqdn:a.b.lab", True),
        ("fqdn:*.lab", "fqdn:.lab", False),
        ("fqdn:*.lab", "fqdn:lab", False),
        ("fqdn:*.lab", "fqdn:evil-lab", False),
        ("fqdn:*.lab", "email:x@a.lab", False),
        ("email:*@example.org", "email:a@example.org", True),
        ("email:*@example.org", "email:a@sub.example.org", False),
        ("email:*@example.org", "email:@example.org", False),
        ("ipv4:10.0.0.1", "ipv4:10.0.0.1", True),
        ("keyid:news", "keyid:0x6e657773", True),
        ("keyid:news", "keyid:NEWS", False),
    ],
)
def test_patterns(pattern: str, identity: str, matches: bool) -> None:
    assert IdentityPattern.parse(pattern).matches(Identity.parse(identity)) is matches


def test_a_pattern_that_could_never_match_is_refused() -> None:
    with pytest.raises(ValueError, match="KIND:VALUE"):
        IdentityPattern.parse("*.lab")


def test_an_undecodable_name_never_matches_a_pattern() -> None:
    assert not IdentityPattern.parse("fqdn:*.lab").matches(Identity(IdentityKind.FQDN, b"\xff.lab"))
    assert not IdentityPattern.parse("fqdn:*.lab").matches(Identity(IdentityKind.FQDN, b"a\n.lab"))
