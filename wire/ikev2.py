"""The payloads of IKEv2 (RFC 7296 section 3, RFC 7383), and the names of those that have their own module.

Bodies only: the generic header of 4 octets in front of each is the chain's (``wire.chain``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from construct import (
    Array,
    Bytes,
    Check,
    Default,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Rebuild,
    Struct,
    Terminated,
    len_,
    this,
)

from wire.attributes import Attribute
from wire.errors import WireError
from wire.registry import SPI_OCTETS, ProtocolId
from wire.sa import SA, Proposal, Sa, Transform
from wire.selectors import TS, TrafficSelector, Ts
from wire.vocabulary import bind

__all__ = [
    "AUTH",
    "CERT",
    "CERTREQ",
    "DELETE",
    "EAP",
    "ENCRYPTED",
    "ENCRYPTED_FRAGMENT",
    "ID",
    "KE",
    "NONCE",
    "NOTIFY",
    "SA",
    "TS",
    "UNKNOWN",
    "VENDOR",
    "Attribute",
    "Auth",
    "Cert",
    "CertReq",
    "Delete",
    "Eap",
    "Encrypted",
    "EncryptedFragment",
    "Id",
    "Ke",
    "Nonce",
    "Notify",
    "Proposal",
    "Sa",
    "TrafficSelector",
    "Transform",
    "Ts",
    "Unknown",
    "Vendor",
]

MAX_DELETED_SPIS = 4096  # ours: one Delete can name the SA of every sender of a large group


@dataclass(slots=True)
class Ke:
    """Key Exchange (34): the method's transform number and the public value."""

    group: int
    data: bytes


# +-------------------------------+-------------------------------+
# |            method             |           reserved            |
# +-------------------------------+-------------------------------+
# ~                      key exchange data                        ~
# +---------------------------------------------------------------+   RFC 7296 figure 10
KE_BOX = Struct("group" / Int16ub, "reserved" / Default(Int16ub, 0), "data" / GreedyBytes)
KE = bind(Ke, KE_BOX)


@dataclass(slots=True)
class Id:
    """Identification (35 initiator, 36 responder, 50 group)."""

    type: int
    data: bytes


# +---------------+-----------------------------------------------+
# |     type      |                   reserved                    |
# +---------------+-----------------------------------------------+
# ~                     identification data                       ~
# +---------------------------------------------------------------+   RFC 7296 figure 11
ID_BOX = Struct("type" / Int8ub, "reserved" / Default(Bytes(3), bytes(3)), "data" / GreedyBytes)
ID = bind(Id, ID_BOX)


@dataclass(slots=True)
class Cert:
    """Certificate (37)."""

    encoding: int
    data: bytes


@dataclass(slots=True)
class CertReq:
    """Certificate Request (38): ``data`` is a run of SHA-1 hashes of the public keys of authorities."""

    encoding: int
    data: bytes


# +---------------+
# |   encoding    |
# +---------------+-----------------------------------------------+
# ~              certificate data or authority hashes             ~
# +---------------------------------------------------------------+   RFC 7296 figures 12, 13
CERT_BOX = Struct("encoding" / Int8ub, "data" / GreedyBytes)
CERTREQ_BOX = Struct("encoding" / Int8ub, "data" / GreedyBytes)
CERT = bind(Cert, CERT_BOX)
CERTREQ = bind(CertReq, CERTREQ_BOX)


@dataclass(slots=True)
class Auth:
    """Authentication (39)."""

    method: int
    data: bytes


# +---------------+-----------------------------------------------+
# |    method     |                   reserved                    |
# +---------------+-----------------------------------------------+
# ~                     authentication data                       ~
# +---------------------------------------------------------------+   RFC 7296 figure 14
AUTH_BOX = Struct("method" / Int8ub, "reserved" / Default(Bytes(3), bytes(3)), "data" / GreedyBytes)
AUTH = bind(Auth, AUTH_BOX)


@dataclass(slots=True)
class Nonce:
    """Nonce (40)."""

    data: bytes


# +---------------------------------------------------------------+
# ~                  nonce data (16 to 256 octets)                ~
# +---------------------------------------------------------------+   RFC 7296 figure 15 and 3.9
NONCE_BOX = Struct(
    "data" / GreedyBytes, "nonce-length" / Check((len_(this.data) >= 16) & (len_(this.data) <= 256))
)
NONCE = bind(Nonce, NONCE_BOX)


@dataclass(slots=True)
class Notify:
    """Notify (41). Without an SPI the protocol means nothing (RFC 7296 3.10)."""

    protocol: int
    spi: bytes
    type: int
    data: bytes = b""


# +---------------+---------------+-------------------------------+
# |   protocol    |   SPI size    |         message type          |
# +---------------+---------------+-------------------------------+
# ~                        SPI (variable)                         ~
# +---------------------------------------------------------------+
# ~                      notification data                        ~
# +---------------------------------------------------------------+   RFC 7296 figure 16
NOTIFY_BOX = Struct(
    "protocol" / Int8ub,
    "spi_size" / Rebuild(Int8ub, len_(this.spi)),
    "type" / Int16ub,
    "spi" / Bytes(this.spi_size),
    "data" / GreedyBytes,
)
NOTIFY = bind(Notify, NOTIFY_BOX)


@dataclass(slots=True)
class Delete:
    """Delete (42).

    RFC 9838 2.4.3, 4.6: protocol 0 is the whole group, an SPI of zeros all SAs of the protocol.
    """

    protocol: int
    spi_size: int
    spis: list[bytes]


# +---------------+---------------+-------------------------------+
# |   protocol    |   SPI size    |        number of SPIs         |
# +---------------+---------------+-------------------------------+
# ~                             SPIs                              ~
# +---------------------------------------------------------------+   RFC 7296 figure 17
DELETE_BOX = Struct(
    "protocol" / Int8ub,
    "spi_size" / Int8ub,
    "count" / Rebuild(Int16ub, len_(this.spis)),
    # Empty SPIs cost the sender nothing; one is borne with, since RFC 9838 leaves open how protocol 0 looks.
    "spi-count" / Check((this.spi_size > 0) | (this.count < 2)),
    "spis" / Array(this.count, Bytes(this.spi_size)),
    Terminated,
)


def _check_delete(delete: Delete) -> None:
    # RFC 7296 3.11: the IKE SA is named by the header alone; the others by SPIs of their protocol's size.
    size = 0 if delete.protocol == ProtocolId.IKE else SPI_OCTETS.get(delete.protocol, delete.spi_size)
    if delete.spis and delete.spi_size != size:
        raise WireError("spi-size", f"{delete.spi_size} octets for protocol {delete.protocol}")


DELETE = bind(Delete, DELETE_BOX, limits={"spis": MAX_DELETED_SPIS}, check=_check_delete)


@dataclass(slots=True)
class Vendor:
    """Vendor ID (43)."""

    data: bytes


@dataclass(slots=True)
class Eap:
    """Extensible Authentication (48): one EAP message, which ``wire.eap`` reads."""

    data: bytes = field(repr=False)  # there may be a password in it


@dataclass(slots=True)
class Unknown:
    """A payload whose type we do not speak; kept, and ignored by the rules (RFC 7296 2.5)."""

    data: bytes


# +---------------------------------------------------------------+
# ~                             data                              ~
# +---------------------------------------------------------------+   RFC 7296 figures 18, 25
VENDOR_BOX = Struct("data" / GreedyBytes)
EAP_BOX = Struct("data" / GreedyBytes)
UNKNOWN_BOX = Struct("data" / GreedyBytes)
VENDOR = bind(Vendor, VENDOR_BOX)
EAP = bind(Eap, EAP_BOX)
UNKNOWN = bind(Unknown, UNKNOWN_BOX)


@dataclass(slots=True)
class Encrypted:
    """Encrypted (46).

    ``first`` is the type of the first payload inside; ``data`` is IV, ciphertext and ICV.
    """

    first: int
    data: bytes


# +---------------------------------------------------------------+
# ~              IV | ciphertext with padding | ICV               ~
# +---------------------------------------------------------------+   RFC 7296 figure 21
ENCRYPTED_BOX = Struct("data" / GreedyBytes)
ENCRYPTED = bind(Encrypted, ENCRYPTED_BOX, given=("first",))


@dataclass(slots=True)
class EncryptedFragment:
    """Encrypted Fragment (53, RFC 7383 2.5): piece ``number`` of ``total``; ``first`` is 0 but in piece 1."""

    first: int
    number: int
    total: int
    data: bytes


# +-------------------------------+-------------------------------+
# |        fragment number        |        total fragments        |
# +-------------------------------+-------------------------------+
# ~              IV | ciphertext with padding | ICV               ~
# +---------------------------------------------------------------+   RFC 7383 figure 1
ENCRYPTED_FRAGMENT_BOX = Struct(
    "number" / Int16ub,
    "total" / Int16ub,
    "fragment-number" / Check((this.number > 0) & (this.number <= this.total)),
    "data" / GreedyBytes,
)
ENCRYPTED_FRAGMENT = bind(EncryptedFragment, ENCRYPTED_FRAGMENT_BOX, given=("first",))
