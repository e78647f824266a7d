"""Identities: who a peer says it is, and the patterns by which a group admits it."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from gkmd.core import distinguished_name


class IdentityKind(enum.IntEnum):
    """Identification types, RFC 7296 3.5."""

    IPV4 = 1
    FQDN = 2
    RFC822 = 3
    IPV6 = 5
    DN = 9
    KEY_ID = 11


_PREFIX = {
    IdentityKind.IPV4: "ipv4",
    IdentityKind.FQDN: "fqdn",
    IdentityKind.RFC822: "email",
    IdentityKind.IPV6: "ipv6",
    IdentityKind.DN: "dn",
    IdentityKind.KEY_ID: "keyid",
}
_KIND = {prefix: kind for kind, prefix in _PREFIX.items()}
_DER = "dn:0x"


@dataclass(frozen=True, slots=True)
class Identity:
    """``kind`` and the octets as they stand on the wire (a DN is its DER Name)."""

    kind: int
    data: bytes

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Read ``kind:value``: ``fqdn:rx1.example``, ``email:a@b``, ``ipv4:10.0.0.1``, ``ipv6:fd00::1``,
        ``keyid:news`` (``keyid:0x6e657773`` for octets), ``dn:CN=rx1,O=Example`` (RFC 4514; its octets are
        those of ``distinguished_name.der_of``), ``dn:0x30...`` (DER in hex).

        Raises ValueError that names what was found and what is accepted.
        """
        prefix, separator, value = text.partition(":")
        kind = _KIND.get(prefix)
        if not separator or kind is None or not value:
            raise ValueError(f"identity {text!r} is not KIND:VALUE with KIND one of {', '.join(_KIND)}")
        try:
            if kind is IdentityKind.IPV4:
                return cls(kind, ipaddress.IPv4Address(value).packed)
            if kind is IdentityKind.IPV6:
                return cls(kind, ipaddress.IPv6Address(value).packed)
            if kind is IdentityKind.DN and "=" in value:
                return cls(kind, distinguished_name.der_of(value))
            if kind is IdentityKind.DN:
                return cls(kind, _octets(value))
            if kind is IdentityKind.KEY_ID and value.startswith("0x"):
                return cls(kind, bytes.fromhex(value.removeprefix("0x")))
            return cls(kind, value.encode("utf-8" if kind is IdentityKind.KEY_ID else "ascii"))
        except ValueError as error:
            raise ValueError(f"identity {text[:80]!r}: {error}") from None

    def distinguished_name(self) -> tuple[str, ...] | None:
        """The canonical parts of a DN (``gkmd.core.distinguished_name``); None of everything else."""
        return distinguished_name.of_der(self.data) if self.kind == IdentityKind.DN else None

    def __str__(self) -> str:
        try:
            kind = IdentityKind(self.kind)
        except ValueError:
            return f"id-type-{self.kind}:0x{self.data.hex()}"
        prefix = _PREFIX[kind]
        if kind in (IdentityKind.IPV4, IdentityKind.IPV6) and len(self.data) in (4, 16):
            return f"{prefix}:{ipaddress.ip_address(self.data)}"
        if kind is not IdentityKind.DN:
            try:
                text = self.data.decode("utf-8")
            except UnicodeDecodeError:
                text = ""
            if text.isprintable() and text and not text.startswith("0x"):
                return f"{prefix}:{text}"
        return f"{prefix}:0x{self.data.hex()}"

    def shown(self) -> str:
        """For people: as ``str``, but a distinguished name is written out (``dn:CN=rx1,O=Example``)."""
        name = distinguished_name.shown(self.data) if self.kind == IdentityKind.DN else ""
        return f"dn:{name}" if name else str(self)

    def written(self) -> str:
        """For files that people keep: as ``shown`` if ``parse`` reads exactly this identity from it, else as
        ``str``.
        """
        text = self.shown()
        try:
            return text if Identity.parse(text) == self else str(self)
        except ValueError:
            return str(self)

    def same_name(self, other: Identity) -> bool:
        """Whether both are the same distinguished name, in whatever octets."""
        name = self.distinguished_name()
        return name is not None and name == other.distinguished_name()


def _octets(hex_digits: str) -> bytes:
    try:
        return bytes.fromhex(hex_digits.removeprefix("0x"))
    except ValueError:
        raise ValueError(
            "a distinguished name is TYPE=VALUE,... as in dn:CN=rx1,O=Example, or 0x and its DER in hex"
        ) from None


def shown(text: str) -> str:
    """What ``Identity.shown`` gives of an identity that is kept as text; any other text as it is."""
    if not text.startswith(_DER):
        return text
    try:
        return Identity(IdentityKind.DN, bytes.fromhex(text.removeprefix(_DER))).shown()
    except ValueError:
        return text


@dataclass(frozen=True, slots=True)
class IdentityPattern:
    """Matches one identity, a domain's names (``fqdn:*.example``, ``email:*@example``), or ``any``.

    A distinguished name is written as in RFC 4514, ``dn:CN=rx1,O=Example``; ``dn:*,O=Example`` is every name
    below O=Example. ``dn:0x30...`` is this DER octet by octet.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> IdentityPattern:
        """Check the pattern; raises ValueError as ``Identity.parse`` does."""
        if text.startswith("dn:") and "=" in text:
            try:
                text = "dn:" + ",".join(distinguished_name.of_text(text.removeprefix("dn:")))
            except ValueError as error:
                raise ValueError(f"identity {text[:80]!r}: {error}") from None
        elif text != "any" and not text.startswith(("fqdn:*.", "email:*@")):
            text = str(Identity.parse(text))
        return cls(text)

    @staticmethod
    def is_meant(text: str) -> bool:
        """Whether this is written as a pattern, right or wrong, and not as an address."""
        return text.lower() == "any" or text.partition(":")[0].lower() in _KIND

    def matches(self, identity: Identity) -> bool:
        if self.text == "any":
            return True
        if self.text.startswith("dn:") and "=" in self.text:
            name_of = identity.distinguished_name()
            return name_of is not None and distinguished_name.matches(
                distinguished_name.of_text(self.text.removeprefix("dn:")), name_of
            )
        name = str(identity)
        if self.text.startswith(("fqdn:*.", "email:*@")):
            prefix, tail = self.text.split("*", 1)
            # Names compare without case (RFC 4343); the part under the star is not empty.
            return (
                name.startswith(prefix)
                and name.lower().endswith(tail.lower())
                and len(name) > len(prefix) + len(tail)
            )
        if self.text.startswith(("fqdn:", "email:")):
            return name.lower() == self.text.lower()
        return name == self.text
