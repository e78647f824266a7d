"""Distinguished names: those of certificates (DER, X.501) and those that people write (RFC 4514), compared.

``canonical`` text is the same for names that are equal: attribute types by their short names, values without
case, with NFKC and single spaces (RFC 5280 7.1, much simplified), the most specific part first. ``shown`` is
for people: it keeps the letters as they are, and reads back as the same name. A certificate may hold the same
name in other octets (kinds of strings, case): ``der_of`` makes those that gkmd and most others make.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

MOST_OCTETS: Final = 4096
MOST_PARTS: Final = 32
_TYPES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "TITLE",
    "2.5.4.42": "GN",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "EMAILADDRESS",
}
_NAMES: Final = frozenset(_TYPES.values())
_OTHER_NAMES: Final = {"E": "EMAILADDRESS", "EMAIL": "EMAILADDRESS", "S": "ST", "GIVENNAME": "GN"}
_OIDS: Final = {name: dotted for dotted, name in _TYPES.items()}
_UTF8: Final = 0x0C
_PRINTABLE: Final = 0x13
_IA5: Final = 0x16
# What these attributes are by X.520 and RFC 4519; every other is a UTF8String (RFC 5280 4.1.2.4).
_KIND_OF: Final = {"C": _PRINTABLE, "SERIALNUMBER": _PRINTABLE, "DC": _IA5, "EMAILADDRESS": _IA5}
_LETTERS: Final = {_PRINTABLE: re.compile(r"[A-Za-z0-9 '()+,./:=?-]*"), _IA5: re.compile(r"[\x00-\x7f]*")}
_STRINGS: Final = {0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x16: "ascii", 0x1E: "utf-16-be"}
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_OID: Final = 0x06
_DOTTED: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,19})){1,20}")
_ESCAPED: Final = frozenset(',+"\\<>;=*#')
_MARKED: Final = _ESCAPED - frozenset("=#")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}")
STAR: Final = "*"


def of_der(der: bytes) -> tuple[str, ...] | None:
    """The canonical parts of a DER Name, the most specific first; None for what is none or is too long."""
    return _parts_of(der, _folded)


def shown(der: bytes) -> str:
    """A DER Name as people write it (RFC 4514), the most specific part first; "" for what is none. What does
    not print, and what would change the direction of the letters around it, is escaped.
    """
    return ",".join(_parts_of(der, _readable) or ())


def _parts_of(der: bytes, written: Callable[[str], str]) -> tuple[str, ...] | None:
    if len(der) > MOST_OCTETS:
        return None
    try:
        ((tag, name),) = _values(der)
        parts = [_part_of(kind, part, written) for kind, part in _values(name)]
    except ValueError:
        return None
    return tuple(reversed(parts)) if tag == _SEQUENCE and 0 < len(parts) <= MOST_PARTS else None


def matches(pattern: tuple[str, ...], name: tuple[str, ...]) -> bool:
    """Whether a name is that of the pattern, or below it when the pattern begins with a star."""
    if pattern[0] != STAR:
        return pattern == name
    below = len(pattern) - 1
    return len(name) > below and name[-below:] == pattern[1:]


def of_text(text: str) -> tuple[str, ...]:
    """The canonical parts of ``CN=rx1,O=Example``. The first may be ``*`` alone: at least one part more.

    Raises ValueError that says what is wrong.
    """
    if len(text.encode("utf-8", "replace")) > MOST_OCTETS:
        raise ValueError(f"a name of more than {MOST_OCTETS} octets")
    parts = _split(text, ",")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"a name of {len(parts)} parts; at most {MOST_PARTS} are possible")
    star = len(parts) > 1 and parts[0].strip() == STAR
    found = ["+".join(sorted(map(_attribute, _split(part, "+")))) for part in parts[1 if star else 0 :]]
    return ((STAR,) if star else ()) + tuple(found)


def der_of(text: str) -> bytes:
    """The DER Name of ``CN=rx1,O=Example``, letter by letter. Values are UTF8Strings, but PrintableStrings in
    C and SERIALNUMBER and IA5Strings in DC and EMAILADDRESS; ``#`` and hex is the DER of a value.

    Raises ValueError that says what is wrong, a star among it: that is a pattern, and no name.
    """
    of_text(text)
    parts = _split(text, ",")
    if parts[0].strip() == STAR:
        raise ValueError("a star is a pattern, and stands for many names")
    name = b"".join(
        _der(_SET, b"".join(sorted(map(_attribute_der, _split(part, "+"))))) for part in reversed(parts)
    )
    der = _der(_SEQUENCE, name)
    if of_der(der) is None:
        raise ValueError(f"it cannot be written in DER of at most {MOST_OCTETS} octets")
    return der


def strings_of(der: bytes) -> tuple[tuple[tuple[str, str], ...], ...] | None:
    """The parts of a DER Name in their order there (the most specific last), each the pairs of OID and value;
    None for what is no name, or has values that are no strings.
    """
    if of_der(der) is None:
        return None
    ((_, name),) = _values(der)
    found = []
    for _, part in _values(name):
        pairs = [_values(attribute) for _, attribute in _values(part)]
        if any(value[0] not in _STRINGS for _, value in pairs):
            return None
        found.append(tuple((_dotted(oid[1]), value[1].decode(_STRINGS[value[0]])) for oid, value in pairs))
    return tuple(found)


def _attribute_der(text: str) -> bytes:
    kind, value = _type_and_value(text)
    if value.startswith("#"):
        octets = bytes.fromhex(value[1:])
        if len(_values(octets)) != 1:
            raise ValueError(f"{text.strip()[:60]!r}: after # there is the DER of one value, in hex")
    else:
        tag, plain = _KIND_OF.get(kind, _UTF8), _unescaped(value)
        letters = _LETTERS.get(tag)
        if letters is not None and not letters.fullmatch(plain):
            raise ValueError(f"{text.strip()[:60]!r}: {kind} cannot have these letters in a certificate")
        octets = _der(tag, plain.encode("utf-8"))
    return _der(_SEQUENCE, _der(_OID, _oid_octets(_OIDS.get(kind, kind))) + octets)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _oid_octets(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    if first < 2 and second > 39:
        raise ValueError(f"{dotted} is no OID: its second number is at most 39")
    octets = bytearray()
    for number in (40 * first + second, *others):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        octets += bytes(reversed(groups))
    return bytes(octets)


def _type_and_value(text: str) -> tuple[str, str]:
    kind, equals, value = text.partition("=")
    kind = kind.strip().upper().removeprefix("OID.")
    kind = _TYPES.get(kind) or _OTHER_NAMES.get(kind, kind)
    if not equals or (kind not in _NAMES and not _DOTTED.fullmatch(kind)):
        known = ", ".join(sorted(_NAMES))
        raise ValueError(f"{text.strip()[:60]!r} is not TYPE=VALUE with TYPE one of {known}, or an OID")
    return kind, value.strip(" ")


def _attribute(text: str) -> str:
    kind, value = _type_and_value(text)
    if value.startswith("#"):
        try:
            return f"{kind}=#{bytes.fromhex(value[1:]).hex()}"
        except ValueError:
            raise ValueError(f"{text.strip()[:60]!r}: after # there are hex digits") from None
    return f"{kind}={_folded(_unescaped(value))}"


def _split(text: str, separator: str) -> list[str]:
    """At separators that are not escaped."""
    found, begin, place = [], 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == separator:
            found.append(text[begin:place])
            begin = place + 1
        place += 1
    return [*found, text[begin:]]


def _unescaped(text: str) -> str:
    octets, place = bytearray(), 0
    while place < len(text):
        letter = text[place]
        place += 1
        if letter == STAR:
            raise ValueError("a star stands first and alone, as in *,O=Example; one that is meant so is \\*")
        if letter in ',+"<>;':
            raise ValueError(f"{letter!r} within a value is written \\{letter}")
        if letter == "\\":
            if _HEX.fullmatch(text, place, place + 2):
                octets.append(int(text[place : place + 2], 16))
                place += 2
                continue
            letter = text[place : place + 1]
            place += 1
            if not letter:
                raise ValueError("there is nothing after the last \\")
        octets += letter.encode("utf-8", "surrogatepass")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("what is escaped is not UTF-8") from None


def _folded(value: str) -> str:
    """Without case and with single spaces; escaped so that it can stand between separators."""
    plain = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold()).split())
    if not plain:
        raise ValueError("a value is empty")
    return "".join(
        letter if letter.isprintable() and letter not in _ESCAPED else _octets(letter) for letter in plain
    )


def _readable(value: str) -> str:
    """As it is, escaped as RFC 4514 2.4 asks for. A star is escaped, too: in a pattern it is every name."""
    if not value.strip():
        raise ValueError("a value is empty")
    last = len(value) - 1
    return "".join(
        _octets(letter)
        # Signs that turn the direction of letters are of the category Cf, and no more printable than NUL.
        if not letter.isprintable() or (letter == " " and place in (0, last))
        else f"\\{letter}"
        if letter in _MARKED or (letter == "#" and not place)
        else letter
        for place, letter in enumerate(value)
    )


def _octets(letter: str) -> str:
    return "".join(f"\\{octet:02x}" for octet in letter.encode("utf-8"))


def _values(der: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents, one after the other. ValueError unless it is DER as far as names go."""
    found, place = [], 0
    while place < len(der):
        if place + 2 > len(der):
            raise ValueError("cut")
        tag, length, place = der[place], der[place + 1], place + 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[place : place + octets], "big")
            least = {1: 0x80, 2: 0x100}.get(octets)
            if least is None or length < least:
                raise ValueError("a length that is none")
            place += octets
        if place + length > len(der):
            raise ValueError("cut")
        found.append((tag, der[place : place + length]))
        place += length
    return found


def _part_of(tag: int, der: bytes, written: Callable[[str], str]) -> str:
    attributes = []
    for kind, attribute in _values(der):
        (oid_tag, oid), (value_tag, value) = _values(attribute)
        if kind != _SEQUENCE or oid_tag != _OID:
            raise ValueError("no attribute")
        dotted = _dotted(oid)
        shown = _TYPES.get(dotted, dotted)
        encoding = _STRINGS.get(value_tag)
        if encoding is None:
            # RFC 4514 2.4: what is no string is its DER in hex.
            attributes.append(f"{shown}=#{attribute[2 + len(oid) :].hex()}")
        else:
            attributes.append(f"{shown}={written(value.decode(encoding))}")
    if tag != _SET or not attributes:
        raise ValueError("no part of a name")
    return "+".join(sorted(attributes))


def _dotted(oid: bytes) -> str:
    numbers, number = [], 0
    if not oid or oid[-1] & 0x80 or len(oid) > 64:
        raise ValueError("no OID")
    for octet in oid:
        if octet == 0x80 and not number:
            raise ValueError("an OID that begins a number with nothing")
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
