"""The SA payload with its proposals and transforms (RFC 7296 3.3); SAg has the same form (RFC 9838 4.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from construct import (
    Bytes,
    Check,
    Default,
    GreedyRange,
    Int8ub,
    Int16ub,
    Rebuild,
    RepeatUntil,
    Struct,
    Terminated,
    len_,
    obj_,
    this,
)

from wire.attributes import ATTRIBUTE, Attribute, check_transform_attributes
from wire.errors import WireError
from wire.registry import SPI_OCTETS
from wire.vocabulary import bind, sized

# Ours: what a proposal of every known algorithm needs, with room; the standard has no limits.
MAX_ATTRIBUTES = 16
MAX_TRANSFORMS = 128
MAX_PROPOSALS = 32


@dataclass(slots=True)
class Transform:
    """One algorithm: ``type`` says for what, ``id`` which."""

    type: int
    id: int
    attributes: list[Attribute] = field(default_factory=list)


#  0                   1                   2                   3
# +---------------+---------------+-------------------------------+
# | last 0 or 3   |   reserved    |       transform length        |
# +---------------+---------------+-------------------------------+
# |     type      |   reserved    |              id               |
# +---------------+---------------+-------------------------------+
# ~                     attributes (variable)                     ~
# +---------------------------------------------------------------+   RFC 7296 figure 8
TRANSFORM_BOX = Struct(
    "last" / Default(Int8ub, 3),
    "reserved" / Default(Int8ub, 0),
    "body"
    / sized(
        2,
        Struct(
            "type" / Int8ub,
            "reserved2" / Default(Int8ub, 0),
            "id" / Int16ub,
            "attributes" / GreedyRange(ATTRIBUTE),
            Terminated,
        ),
    ),
    "last-transform" / Check((this.last == 0) | (this.last == 3)),
)


def _check_transform(transform: Transform) -> None:
    if transform.attributes:
        check_transform_attributes(transform.attributes)


bind(Transform, TRANSFORM_BOX, limits={"attributes": MAX_ATTRIBUTES}, check=_check_transform)


@dataclass(slots=True)
class Proposal:
    """A set of transforms for one protocol. ``number``s may repeat in SAg, where equal means together."""

    number: int
    protocol: int
    spi: bytes
    transforms: list[Transform]


#  0                   1                   2                   3
# +---------------+---------------+-------------------------------+
# | last 0 or 2   |   reserved    |        proposal length        |
# +---------------+---------------+---------------+---------------+
# |    number     |   protocol    |   SPI size    |  transforms   |
# +---------------+---------------+---------------+---------------+
# ~                        SPI (variable)                         ~
# +---------------------------------------------------------------+
# ~                    transforms (one or more)                   ~
# +---------------------------------------------------------------+   RFC 7296 figure 7
PROPOSAL_BOX = Struct(
    "last" / Default(Int8ub, 2),
    "reserved" / Default(Int8ub, 0),
    "body"
    / sized(
        2,
        Struct(
            "number" / Int8ub,
            "protocol" / Int8ub,
            "spi_size" / Rebuild(Int8ub, len_(this.spi)),
            "count" / Rebuild(Int8ub, len_(this.transforms)),
            "spi" / Bytes(this.spi_size),
            "transforms" / RepeatUntil(obj_.last == 0, TRANSFORM_BOX),
            # RFC 7296 3.3: lengths and counts must agree.
            "transform-count" / Check(len_(this.transforms) == this.count),
            Terminated,
        ),
    ),
    "last-proposal" / Check((this.last == 0) | (this.last == 2)),
)


def _check_proposal(proposal: Proposal) -> None:
    # RFC 7296 3.3.1: none while the header has the SPI (and in SAg, which asks for no SA); else the
    # protocol's size.
    size = len(proposal.spi)
    if size and SPI_OCTETS.get(proposal.protocol, size) != size:
        raise WireError("spi-size", f"{size} octets for protocol {proposal.protocol}")


bind(Proposal, PROPOSAL_BOX, limits={"transforms": MAX_TRANSFORMS}, check=_check_proposal)


@dataclass(slots=True)
class Sa:
    """Security Association payload (33): proposals, best first."""

    proposals: list[Proposal]


# +---------------------------------------------------------------+
# ~                    proposals (one or more)                    ~
# +---------------------------------------------------------------+   RFC 7296 figure 6
SA_BOX = Struct("proposals" / RepeatUntil(obj_.last == 0, PROPOSAL_BOX), Terminated)
SA = bind(Sa, SA_BOX, limits={"proposals": MAX_PROPOSALS})
