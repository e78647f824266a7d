"""Distinguished names: what people write is what certificates hold, and nothing else is."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gkmd.core import distinguished_name
from gkmd.core.identity import Identity, IdentityKind, IdentityPattern, shown


def identity(text: str) -> Identity:
    return Identity(IdentityKind.DN, x509.Name.from_rfc4514_string(text).public_bytes())


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("CN=rx1,O=Example", "CN=rx1,O=Example", True),
        ("cn = RX1 , o=example", "CN=rx1,O=Example", True),
        ("2.5.4.3=rx1,O=Example", "CN=rx1,O=Example", True),
        ("CN=rx1,O=Example", "CN=rx1,O=Example,C=DE", False),
        ("CN=rx1,O=Example", "O=Example,CN=rx1", False),
        ("CN=rx1,O=Example", "CN=rx11,O=Example", False),
        ("*,O=Example", "CN=rx1,O=Example", True),
        ("*,O=Example", "CN=rx1,OU=news,O=Example", True),
        ("*,O=Example", "O=Example", False),
        ("*,O=Example", "CN=rx1,O=Example,C=DE", False),
        ("*,O=Example", "CN=rx1\\,O\\=Example,O=Evil", False),
        ("*,O=Example", "CN=rx1,O=Evil", False),
        ("*,OU=news,O=Example", "CN=rx1,OU=sports,O=Example", False),
        (r"CN=Smith\, Ann", r"CN=Smith\, Ann", True),
        (r"CN=Smith\2c  Ann", r"CN=Smith\, Ann", True),
        ("CN=Ünal", "CN=ünal", True),
        ("OU=b+CN=a,O=Example", "CN=a+OU=b,O=Example", True),
        ("CN=a,O=Example", "CN=a+OU=b,O=Example", False),
        ("DC=rx,DC=example,DC=org", "DC=rx,DC=example,DC=org", True),
    ],
)
def test_a_pattern_and_the_subject_of_a_certificate(pattern: str, name: str, matches: bool) -> None:
    assert IdentityPattern.parse("dn:" + pattern).matches(identity(name)) is matches


@pytest.mark.parametrize("kind", [_ASN1Type.UTF8String, _ASN1Type.PrintableString, _ASN1Type.BMPString])
def test_the_kind_of_string_makes_no_difference(kind: _ASN1Type) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example", kind)])
    found = Identity(IdentityKind.DN, name.public_bytes())
    assert IdentityPattern.parse("dn:O=example").matches(found)
    assert not IdentityPattern.parse("dn:0x" + identity("O=example").data.hex()).matches(found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("CN=*,O=Example", "first and alone"),
        ("CN=rx*,O=Example", "first and alone"),
        ("O=Example,*", "TYPE=VALUE"),
        ("CN=", "empty"),
        ("CN=a,,O=b", "TYPE=VALUE"),
        ("XY=a", "TYPE=VALUE"),
        ("CN=a\\", "nothing after"),
        ("CN=\\ff", "UTF-8"),
        ('CN="a"', "is written"),
        ("O=#zz", "hex"),
        ("CN=" + "a" * 5000, "4096"),
        (",".join(["DC=a"] * 40), "at most 32"),
    ],
)
def test_what_is_no_name_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        IdentityPattern.parse("dn:" + text)


def test_a_star_does_not_reach_other_kinds_of_identities() -> None:
    pattern = IdentityPattern.parse("dn:*,O=Example")
    data = identity("CN=rx1,O=Example").data
    assert pattern.matches(Identity(IdentityKind.DN, data))
    for kind in (IdentityKind.KEY_ID, IdentityKind.FQDN, 10):
        assert not pattern.matches(Identity(kind, data))


VALUES = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() != "")


@given(
    st.lists(
        st.tuples(st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME]), VALUES),
        min_size=1,
        max_size=4,
    )
)
def test_canonical_text_is_read_as_itself(attributes: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    name = x509.Name([x509.NameAttribute(oid, value, _ASN1Type.UTF8String) for oid, value in attributes])
    parts = distinguished_name.of_der(name.public_bytes())
    if parts is None:
        return  # a value that is nothing but white space after all
    assert len(parts) == len(attributes)
    assert distinguished_name.of_text(",".join(parts)) == parts
    assert ",".join(parts).isprintable()


@given(st.binary(max_size=60), st.integers(0, 40), st.integers(0, 255))
def test_any_octets_are_a_name_or_none(data: bytes, place: int, octet: int) -> None:
    distinguished_name.of_der(data)
    broken = bytearray(identity("CN=rx1,O=Example").data)
    broken[place % len(broken)] = octet
    parts = distinguished_name.of_der(bytes(broken))
    assert parts is None or 1 <= len(parts) <= 2
    assert distinguished_name.of_der(identity("CN=rx1").data + data) is None or not data


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CN=Rx1,O=Example GmbH,C=DE", "CN=Rx1,O=Example GmbH,C=DE"),
        (r"CN=Smith\, Ann\+Co\;\<b\>", r"CN=Smith\, Ann\+Co\;\<b\>"),
        (r"CN=\#1 of \2a", r"CN=\#1 of \*"),
        (r"CN=\20a\20", r"CN=\20a\20"),
        ("CN=Ünal Straße", "CN=Ünal Straße"),
        ("CN=שלום,O=مثال", "CN=שלום,O=مثال"),
        ("CN=a\u202egnp.exe", r"CN=a\e2\80\aegnp.exe"),
        ("CN=a\x1b[31m\n", r"CN=a\1b[31m\0a"),
        ("CN=a\u200bb\u2066", r"CN=a\e2\80\8bb\e2\81\a6"),
    ],
)
def test_a_name_is_shown_as_people_write_it(name: str, text: str) -> None:
    found = identity(name)
    assert distinguished_name.shown(found.data) == text
    assert found.shown() == f"dn:{text}" == shown(str(found))


def test_what_is_no_name_is_shown_as_it_is() -> None:
    broken = Identity(IdentityKind.DN, b"\x30\x05ab")
    assert broken.shown() == str(broken) == shown("dn:0x30056162")
    for text in ("dn:0xzz", "dn:0x", "rx1.example", "fqdn:rx1.example", ""):
        assert shown(text) == text
    assert Identity.parse("fqdn:rx1.example").shown() == "fqdn:rx1.example"


@given(st.lists(st.text(min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=4))
def test_what_is_shown_is_the_same_name_and_prints(values: list[str]) -> None:
    try:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in values])
        der = name.public_bytes()
    except ValueError:  # surrogates
        return
    text = distinguished_name.shown(der)
    assert text.isprintable()
    if (parts := distinguished_name.of_der(der)) is not None:
        assert distinguished_name.of_text(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "CN=rx1,O=Example,C=DE",
        "OU=b+CN=a,O=Example",
        "DC=rx,DC=example,DC=org",
        r"2.5.4.97=VATDE-1,CN=Smith\, Ünal\2a",
        "1.2.840.113549.1.9.1=a@b.example",
        "CN=" + "a" * 60 + ",OU=" + "b" * 60 + ",O=" + "ü" * 60,
    ],
)
def test_a_written_name_has_the_octets_that_others_give_it(text: str) -> None:
    found = Identity.parse("dn:" + text)
    assert found == identity(text)
    assert Identity.parse(found.written()) == found == Identity.parse(str(found))
    assert not found.written().startswith("dn:0x")
    assert x509.Name(
        [
            x509.RelativeDistinguishedName(
                x509.NameAttribute(x509.ObjectIdentifier(oid), v) for oid, v in part
            )
            for part in distinguished_name.strings_of(found.data) or ()
        ]
    ) == x509.Name.from_rfc4514_string(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*,O=Example", "stands for many"),
        ("C=\u00d6", "cannot have these letters"),
        ("DC=b\u00fccher", "cannot have these letters"),
        ("1.40.1=a", "at most 39"),
        ("O=#0c0261", "cut"),
        ("O=#0c01610c0161", "one value"),
        ("O=#", "one value"),
        ("CN=" + "ü" * 2100, "4096"),
        ("CN=rx1,O=", "empty"),
        ("rx1", "TYPE=VALUE"),
        ("0x30zz", "in hex"),
    ],
)
def test_what_cannot_be_an_identity_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Identity.parse("dn:" + text)


def test_other_octets_of_a_name_are_kept_in_hex() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example", _ASN1Type.PrintableString)])
    found, written = Identity(IdentityKind.DN, name.public_bytes()), Identity.parse("dn:O=example")
    assert found.shown() == "dn:O=Example"
    assert found.written() == str(found)
    assert found != written
    assert found.same_name(written)
    assert not found.same_name(Identity.parse("dn:O=Example,C=DE"))
    broken = Identity(IdentityKind.DN, b"\x30\x05ab")
    assert not broken.same_name(broken)
    assert broken.written() == str(broken)
    bits = Identity.parse("dn:CN=a,O=#030200ff")
    assert distinguished_name.strings_of(bits.data) is None
    assert bits.written() == "dn:CN=a,O=#030200ff"


@given(st.text(max_size=40), st.sampled_from(["", "CN=", "CN=a+O=", "C=", "2.5.4.3=#"]))
def test_any_text_is_a_name_that_patterns_know_or_is_refused(text: str, begin: str) -> None:
    try:
        found = Identity.parse(f"dn:{begin}{text}")
    except ValueError:
        return
    if "=" in begin + text:
        assert found.distinguished_name() is not None
        if "#" not in text + begin:
            assert IdentityPattern.parse(f"dn:{begin}{text}").matches(found)
    assert Identity.parse(found.written()) == found
