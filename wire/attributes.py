"""Attributes (RFC 7296 3.3.5), and what each registry of RFC 9838 says of their form, size and number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from construct import Bytes, Computed, IfThenElse, Int16ub, Struct, this

from wire.errors import WireError
from wire.registry import (
    AttributeType,
    GroupKeyAttribute,
    GroupSaAttribute,
    GroupWideAttribute,
    MemberKeyAttribute,
)
from wire.vocabulary import bind


@dataclass(slots=True)
class Attribute:
    """``value`` is an int in the short form (TV, 16 bits) and octets in the long form (TLV)."""

    type: int
    value: int | bytes


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-----------------------------+-------------------------------+
# |F|       Attribute Type        | F=1: value    F=0: length     |
# +-+-----------------------------+-------------------------------+
# ~                    F=0: value (variable)                      ~
# +---------------------------------------------------------------+   RFC 7296 figure 9
ATTRIBUTE = Struct(
    "form" / Int16ub,
    "word" / Int16ub,
    "type" / Computed(this.form & 0x7FFF),
    "value" / IfThenElse(this.form & 0x8000, Computed(this.word), Bytes(this.word)),
)


def _form(attribute: Attribute) -> int:
    if attribute.type > 0x7FFF:
        raise WireError("build", f"attribute type {attribute.type}")
    return attribute.type | 0x8000 if isinstance(attribute.value, int) else attribute.type


def _word(attribute: Attribute) -> int:
    value = attribute.value
    return value if isinstance(value, int) else len(value)


bind(Attribute, ATTRIBUTE, derive={"form": _form, "word": _word})


@dataclass(frozen=True, slots=True)
class Shape:
    """What a registry says of one attribute: ``octets`` bounds the long form, SHORT means the short one."""

    name: str
    octets: tuple[int, int]
    many: bool = False
    required: bool = False


SHORT: Final = (0, 0)
_ANY: Final = (1, 65535)
# Key ID, KWK ID and at least one octet of wrapped key (RFC 9838 4.5.4).
_WRAPPED: Final = (9, 65535)

Shapes = Mapping[int, Shape]

TRANSFORM: Final[Shapes] = {
    AttributeType.KEY_LENGTH: Shape("KEY_LENGTH", SHORT),
    AttributeType.SIGNATURE_ALGORITHM: Shape("SIGNATURE_ALGORITHM", _ANY),
}
_LIFETIME: Final = Shape("GSA_KEY_LIFETIME", (4, 4))
GROUP_SA_ESP: Final[Shapes] = {
    GroupSaAttribute.GSA_KEY_LIFETIME: _LIFETIME,
    GroupSaAttribute.GSA_NEXT_SPI: Shape("GSA_NEXT_SPI", (4, 4), many=True),
}
GROUP_SA_REKEY: Final[Shapes] = {
    GroupSaAttribute.GSA_KEY_LIFETIME: _LIFETIME,
    GroupSaAttribute.GSA_INITIAL_MESSAGE_ID: Shape("GSA_INITIAL_MESSAGE_ID", (4, 4)),
    GroupSaAttribute.GSA_NEXT_SPI: Shape("GSA_NEXT_SPI", (16, 16), many=True),
}
GROUP_WIDE: Final[Shapes] = {
    GroupWideAttribute.GWP_ATD: Shape("GWP_ATD", SHORT),
    GroupWideAttribute.GWP_DTD: Shape("GWP_DTD", SHORT),
    GroupWideAttribute.GWP_SENDER_ID_BITS: Shape("GWP_SENDER_ID_BITS", SHORT),
}
# RFC 9838 table 7: several SA_KEY attributes only for GIKE_UPDATE, and at least one in every group key bag.
GROUP_KEY_ESP: Final[Shapes] = {GroupKeyAttribute.SA_KEY: Shape("SA_KEY", _WRAPPED, required=True)}
GROUP_KEY_REKEY: Final[Shapes] = {
    GroupKeyAttribute.SA_KEY: Shape("SA_KEY", _WRAPPED, many=True, required=True)
}
MEMBER_KEY: Final[Shapes] = {
    MemberKeyAttribute.WRAP_KEY: Shape("WRAP_KEY", _WRAPPED, many=True),
    MemberKeyAttribute.AUTH_KEY: Shape("AUTH_KEY", _ANY),
    MemberKeyAttribute.GM_SENDER_ID: Shape("GM_SENDER_ID", _ANY, many=True),
}


def check_attributes(attributes: list[Attribute], shapes: Shapes) -> None:
    """Check known attributes against their registry; unknown ones are kept and not judged.

    RFC 7296 3.3.5: a variable-length attribute must not be sent in the short form even where its value
    would fit, and a fixed one must not be sent in the long form. Raises WireError attribute-form,
    attribute-length, attribute-repeated or attribute-missing.
    """
    seen: set[int] = set()
    for attribute in attributes:
        shape = shapes.get(attribute.type)
        if shape is None:
            continue
        value = attribute.value
        if isinstance(value, int):
            if shape.octets != SHORT:
                raise WireError("attribute-form", shape.name)
        elif shape.octets == SHORT:
            raise WireError("attribute-form", shape.name)
        elif not shape.octets[0] <= len(value) <= shape.octets[1]:
            raise WireError("attribute-length", f"{shape.name} of {len(value)} octets")
        if attribute.type in seen and not shape.many:
            raise WireError("attribute-repeated", shape.name)
        seen.add(attribute.type)
    for kind, shape in shapes.items():
        if shape.required and kind not in seen:
            raise WireError("attribute-missing", shape.name)


_KEY_LENGTH: Final = int(AttributeType.KEY_LENGTH)


def check_transform_attributes(attributes: list[Attribute]) -> None:
    """As ``check_attributes`` for a transform, and no type twice, known or not (RFC 7296 3.3)."""
    if len(attributes) == 1 and attributes[0].type == _KEY_LENGTH and attributes[0].value.__class__ is int:
        return  # what nearly every transform with attributes has
    check_attributes(attributes, TRANSFORM)
    if len({attribute.type for attribute in attributes}) < len(attributes):
        raise WireError("attribute-repeated", "transform")
