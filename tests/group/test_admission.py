"""The index over patterns gives what a loop over them gives."""

from __future__ import annotations

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from gkmd.core.identity import Identity, IdentityPattern
from gkmd.group.admission import PatternIndex

LABEL = st.sampled_from(["a", "b", "A", "example", "EXAMPLE", "rx"])
NAME = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
TEXT = st.one_of(
    NAME.map("fqdn:{}".format),
    st.builds("email:{}@{}".format, NAME, NAME),
    st.sampled_from(
        ["ipv4:10.0.0.1", "ipv6:fd00::1", "keyid:news", "keyid:NEWS", "keyid:0x00ff", "dn:0x3000"]
    ),
)
DN = st.sampled_from(
    [
        "dn:" + x509.Name.from_rfc4514_string(text).public_bytes().hex()
        for text in (
            "CN=rx,O=Example",
            "CN=RX,O=example",
            "CN=a,OU=b,O=Example",
            "O=Example",
            "CN=rx,O=Other",
        )
    ]
)
TEXT = st.one_of(TEXT, DN)
DN_PATTERN = st.sampled_from(["dn:CN=rx,O=Example", "dn:*,O=Example", "dn:*,OU=b,O=Example", "dn:O=Example"])
PATTERN = st.one_of(
    TEXT,
    DN_PATTERN,
    NAME.map("fqdn:*.{}".format),
    NAME.map("email:*@{}".format),
    st.just("any"),
).map(IdentityPattern.parse)


@given(st.lists(PATTERN, max_size=6), TEXT.map(Identity.parse))
def test_index_finds_the_first_match(patterns: list[IdentityPattern], identity: Identity) -> None:
    slow = next((number for number, pattern in enumerate(patterns) if pattern.matches(identity)), None)
    assert PatternIndex(patterns).first(identity) == slow


def test_star_is_never_empty() -> None:
    index = PatternIndex([IdentityPattern("fqdn:*.example"), IdentityPattern("email:*@example")])
    assert index.first(Identity.parse("fqdn:.example")) is None
    assert index.first(Identity.parse("email:@example")) is None
    assert index.first(Identity.parse("fqdn:a.b.EXAMPLE")) == 0
    assert index.first(Identity.parse("email:a@EXAMPLE")) == 1


def test_patterns_are_not_searched_one_by_one() -> None:
    class Counted(str):
        looked = 0

        def startswith(self, *arguments: object) -> bool:
            Counted.looked += 1
            return super().startswith(*arguments)  # type: ignore[arg-type]

    index = PatternIndex(IdentityPattern(Counted(f"fqdn:rx{number}.example")) for number in range(1000))
    Counted.looked = 0
    assert index.first(Identity.parse("fqdn:rx999.example")) == 999
    assert Counted.looked == 0
