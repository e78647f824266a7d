"""IKE_SA_INIT, both roles: reading and building its messages, and the stateless cookies (RFC 7296 1.2, 2.6,
2.23).

Nothing in this exchange is authenticated until AUTH verifies; whatever is read here is marked so.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final

from gkmd.core.address import Path
from gkmd.core.algorithms import KeyExchange
from gkmd.core.errors import LocalError
from gkmd.core.rng import Rng
from gkmd.ike.authenticate import HASHES_NOTIFY
from wire.errors import WireError
from wire.header import Header
from wire.ikev2 import Ke, Nonce, Notify, Sa
from wire.message import Message, Payload, build_message, first, notify
from wire.registry import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType, PayloadType

NONCE_OCTETS: Final = 32  # RFC 7296 2.10: 16 to 256, and half the key of the prf
SPI_OCTETS: Final = 8
NO_SPI: Final = bytes(SPI_OCTETS)
COOKIE_OCTETS: Final = range(1, 65)  # RFC 7296 2.6
_MOST_HASH_OCTETS: Final = 64


@dataclass(frozen=True, slots=True)
class InitMessage:
    """What an IKE_SA_INIT message with SA, KE and Nonce says, request or reply."""

    sa: Sa
    ke: Ke
    nonce: bytes
    cookie: bytes | None
    hashes: tuple[int, ...]  # that the sender verifies signatures with; empty: it told none
    nat_detection: bool


def read_untrusted(message: Message) -> InitMessage:
    """The parts of IKE_SA_INIT; WireError when one is missing or out of bounds."""
    payloads = message.payloads
    sa = first(payloads, PayloadType.SA)
    ke = first(payloads, PayloadType.KE)
    nonce = first(payloads, PayloadType.NONCE)
    if not (isinstance(sa, Sa) and isinstance(ke, Ke) and isinstance(nonce, Nonce)):
        raise WireError("rule-missing", "IKE_SA_INIT without SA, KE and Nonce")
    if not 16 <= len(nonce.data) <= 256:  # RFC 7296 3.9
        raise WireError("nonce", f"{len(nonce.data)} octets")
    cookie = notify(payloads, NotifyType.COOKIE)
    hashes = notify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)
    return InitMessage(
        sa,
        ke,
        nonce.data,
        None if cookie is None else cookie.data,
        () if hashes is None else _hashes(hashes.data),
        notify(payloads, NotifyType.NAT_DETECTION_SOURCE_IP) is not None,
    )


@functools.lru_cache(maxsize=64)
def _hashes(data: bytes) -> tuple[int, ...]:
    if len(data) % 2 or len(data) > _MOST_HASH_OCTETS:
        return ()
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def refused_untrusted(message: Message) -> Notify | None:
    """The error, COOKIE or INVALID_KE_PAYLOAD in a reply that sets up nothing; None when it does set up
    something.
    """
    if first(message.payloads, PayloadType.SA) is not None:
        return None
    for payload in message.payloads:
        if isinstance(payload.body, Notify):
            return payload.body
    return None


def build_request(
    spi_i: bytes, offered: Sa, ke: Ke, nonce: bytes, cookie: bytes | None, extra: list[Payload]
) -> bytes:
    """The initiator's first message. RFC 7296 2.6: a cookie is the first payload, all others stay as they
    were.
    """
    payloads = [
        Payload(PayloadType.SA, offered),
        Payload(PayloadType.KE, ke),
        Payload(PayloadType.NONCE, Nonce(nonce)),
        HASHES_NOTIFY,
        *extra,
    ]
    if cookie is not None:
        payloads.insert(0, Payload(PayloadType.NOTIFY, Notify(0, b"", NotifyType.COOKIE, cookie)))
    return build_message(spi_i, NO_SPI, ExchangeType.IKE_SA_INIT, FLAG_INITIATOR, 0, payloads)


class ReplyTemplate:
    """The answer that sets up a half-open SA, built once for a suite: only SPIs, KE and Nonce differ.

    ``extra`` follows the nonce; what is in it may not depend on the peer.
    """

    __slots__ = ("_after_ke", "_after_nonce", "_between_spis_and_ke", "_ke_octets")

    def __init__(self, chosen: Sa, group: KeyExchange, extra: list[Payload]) -> None:
        # Two places that cannot be mistaken for anything else in the message.
        ke = b"KE".ljust(group.public_octets, b"\xff")
        nonce = b"Nr".ljust(NONCE_OCTETS, b"\xff")
        payloads = [
            Payload(PayloadType.SA, chosen),
            Payload(PayloadType.KE, Ke(group.transform_id, ke)),
            Payload(PayloadType.NONCE, Nonce(nonce)),
            *extra,
        ]
        whole = build_message(NO_SPI, NO_SPI, ExchangeType.IKE_SA_INIT, FLAG_RESPONSE, 0, payloads)
        ke_at, nonce_at = whole.index(ke), whole.index(nonce)
        self._ke_octets: Final = len(ke)
        self._between_spis_and_ke: Final = whole[2 * SPI_OCTETS : ke_at]
        self._after_ke: Final = whole[ke_at + len(ke) : nonce_at]
        self._after_nonce: Final = whole[nonce_at + NONCE_OCTETS :]

    def build(self, spi_i: bytes, spi_r: bytes, ke: bytes, nonce: bytes) -> bytes:
        """The datagram. LocalError when a part has another length than the template."""
        if (len(spi_i), len(spi_r), len(ke), len(nonce)) != (8, 8, self._ke_octets, NONCE_OCTETS):
            raise LocalError("an IKE_SA_INIT reply of other lengths than its template")
        return b"".join(
            (spi_i, spi_r, self._between_spis_and_ke, ke, self._after_ke, nonce, self._after_nonce)
        )


def build_refusal(spi_i: bytes, kind: NotifyType, data: bytes = b"") -> bytes:
    """An answer that sets up nothing: the responder's SPI stays zero (RFC 7296 2.6)."""
    payloads = [Payload(PayloadType.NOTIFY, Notify(0, b"", kind, data))]
    return build_message(spi_i, NO_SPI, ExchangeType.IKE_SA_INIT, FLAG_RESPONSE, 0, payloads)


def wrong_group(chosen: KeyExchange) -> bytes:
    """Notification data of INVALID_KE_PAYLOAD: the group that we want (RFC 7296 1.3)."""
    return chosen.transform_id.to_bytes(2, "big")


def is_cookie_first(message: Message) -> bool:
    """Whether a cookie, if there is one, stands first (RFC 7296 2.6)."""
    found = notify(message.payloads, NotifyType.COOKIE)
    return found is None or message.payloads[0].body is found


def nat_detection(header: Header, spi_r: bytes, path: Path) -> list[Payload]:
    """NAT_DETECTION_SOURCE_IP and _DESTINATION_IP of our reply (RFC 7296 2.23)."""
    ends = (
        (NotifyType.NAT_DETECTION_SOURCE_IP, path.local, path.local_port),
        (NotifyType.NAT_DETECTION_DESTINATION_IP, path.remote, path.remote_port),
    )
    return [
        Payload(PayloadType.NOTIFY, Notify(0, b"", kind, _nat_hash(header.spi_i + spi_r, address, port)))
        for kind, address, port in ends
    ]


def _nat_hash(spis: bytes, address: str, port: int) -> bytes:
    try:
        packed = ipaddress.ip_address(address).packed
    except ValueError:
        packed = (
            b""  # our own address is not known: the hash differs, and the peer takes us to be behind a NAT
        )
    # SHA-1 as the RFC has it; it only has to differ when an address was translated.
    return hashlib.sha1(spis + packed + port.to_bytes(2, "big"), usedforsecurity=False).digest()


class Cookies:
    """Stateless cookies: a version octet and HMAC(secret, Ni | IPi | SPIi) (RFC 7296 2.6).

    The secret changes every ``lifetime`` seconds; a cookie of the one before is still good.
    """

    __slots__ = ("_changed_at", "_lifetime", "_previous", "_rng", "_secret", "_version")

    def __init__(self, rng: Rng, lifetime: float) -> None:
        self._rng = rng
        self._lifetime = lifetime
        self._version = 0
        self._secret = b""
        self._previous = b""
        self._changed_at = float("-inf")

    def _rotate(self, now: float) -> None:
        if now - self._changed_at >= self._lifetime:
            # A secret that has rested for two lifetimes vouches for nothing.
            fresh = now - self._changed_at < 2 * self._lifetime
            self._previous = self._secret if fresh else b""
            self._secret = self._rng(32)
            self._version = (self._version + 1) % 256
            self._changed_at = now

    def make(self, nonce: bytes, address: str, spi_i: bytes, now: float) -> bytes:
        """The cookie that this initiator has to bring back; 33 octets."""
        self._rotate(now)
        return bytes((self._version,)) + _cookie(self._secret, nonce, address, spi_i)

    def good(self, cookie: bytes, nonce: bytes, address: str, spi_i: bytes, now: float) -> bool:
        """Whether the cookie is one that we made not long ago. A wrong one is as good as none (RFC 7296
        2.6).
        """
        self._rotate(now)
        if len(cookie) != 33:
            return False
        if cookie[0] == self._version:
            secret = self._secret
        elif cookie[0] == (self._version - 1) % 256 and self._previous:
            secret = self._previous
        else:
            return False
        return hmac.compare_digest(cookie[1:], _cookie(secret, nonce, address, spi_i))


def _cookie(secret: bytes, nonce: bytes, address: str, spi_i: bytes) -> bytes:
    # The nonce is the only part of variable length, so it goes last.
    return hmac.digest(secret, address.encode().ljust(46, b"\0") + spi_i + nonce, "sha256")
