"""One IKE SA: its keys, its window, its state. Sealing and opening of its messages (RFC 7296 1-3, RFC 5282).

Both roles use it. The peer's first message ids are accounted for by whoever creates it; from then on every
message id is sealed once, because sealing and counting are one step here.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from struct import Struct
from typing import Final

from gkmd.core.address import Path
from gkmd.core.algorithms import (
    CIPHER_BY_NAME,
    INTEGRITY_BY_NAME,
    KEY_WRAP_BY_NAME,
    PRF_BY_NAME,
    Cipher,
    Integrity,
    KeyWrap,
    Prf,
)
from gkmd.core.change import IkeSaRecord
from gkmd.core.effect import Tell
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keymat import IkeKeys, group_wrap_key
from gkmd.crypto.sealing import Sealer
from gkmd.ike.window import LAST_MESSAGE_ID, Pending, Window
from wire.chain import build_payloads
from wire.ikev2 import Encrypted
from wire.message import Payload, build_sealed_head
from wire.registry import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType

_IV: Final = Struct(">II")
_MESSAGE_ID: Final = Struct(">I")


class SaState(enum.Enum):
    """The life of an IKE SA, the same for both roles."""

    HALF_OPEN = "half-open"  # keys agreed, the peer not yet authenticated
    AUTHENTICATED = "authenticated"  # server: the peer is who it says; its first admission is being decided
    ESTABLISHED = "established"
    CLOSING = "closing"  # our Delete waits for its reply
    GONE = "gone"


class IkeSa:
    """An IKE SA with keys. ``initiator`` says whether we are the original initiator (RFC 7296 2.2)."""

    __slots__ = (
        "_in",
        "_key_wrap_key",
        "_keys",
        "_out",
        "_packed",
        "_peer_text",
        "_rng",
        "ask",
        "cipher",
        "established",
        "grounds",
        "heard",
        "initiator",
        "integrity",
        "key_wrap",
        "path",
        "peer",
        "prf",
        "queue",
        "reason",
        "spi_i",
        "spi_r",
        "state",
        "ticket",
        "window",
    )

    def __init__(
        self,
        *,
        initiator: bool,
        spi_i: bytes,
        spi_r: bytes,
        cipher: Cipher,
        integrity: Integrity | None,
        prf: Prf,
        key_wrap: KeyWrap,
        keys: IkeKeys,
        path: Path,
        rng: Rng,
        window: Window,
        now: float,
    ) -> None:
        self.initiator: Final = initiator
        self.spi_i: Final = spi_i
        self.spi_r: Final = spi_r
        self.cipher: Final = cipher
        self.integrity: Final = integrity
        self.prf: Final = prf
        self.key_wrap: Final = key_wrap
        self.path = path
        self.window = window
        self.peer: Identity | None = None
        self.grounds = ""  # on which the peer is believed to be that
        self.state = SaState.HALF_OPEN
        self.reason = ""
        self.established = now
        self.heard = now  # when the peer last proved that it lives
        self.queue: list[tuple[ExchangeType, Sequence[Payload]]] = []  # our requests behind the pending one
        self.ask: int | None = None  # number of the admission question that is open
        self.ticket = 0  # number of the Persist that wrote this SA last
        self._rng = rng
        self._keys = keys
        self._packed: SecretBytes | None = None
        self._peer_text = ""
        self._key_wrap_key: SecretBytes | None = None
        aead = cipher.aead
        ours_i = Sealer(cipher, integrity, keys.ei, None if aead else keys.ai)
        ours_r = Sealer(cipher, integrity, keys.er, None if aead else keys.ar)
        # RFC 7296 2.14: SK_ei and SK_ai protect what the original initiator sends.
        self._out, self._in = (ours_i, ours_r) if initiator else (ours_r, ours_i)

    @property
    def sk_pi(self) -> SecretBytes:
        return self._keys.pi

    @property
    def sk_pr(self) -> SecretBytes:
        return self._keys.pr

    @property
    def peer_text(self) -> str:
        """The authenticated peer for people; "" when there is none yet."""
        if not self._peer_text and self.peer is not None:
            self._peer_text = str(self.peer)
        return self._peer_text

    @property
    def gsk_w(self) -> SecretBytes:
        """The key that wraps group keys on this IKE SA (RFC 9838 3.4)."""
        if self._key_wrap_key is None:
            self._key_wrap_key = group_wrap_key(self.prf, self._keys.d, self.key_wrap)
        return self._key_wrap_key

    # --- state ------------------------------------------------------------------------------------

    def move(self, state: SaState, reason: str) -> Tell:
        """The only way that ``state`` changes. Returns the line that says so."""
        old, self.state, self.reason = self.state, state, reason
        # Beginnings are told by what they are for (a member joined, or was refused); ends speak for
        # themselves.
        level = "info" if state is SaState.GONE else "debug"
        return Tell(
            "ike-sa-state",
            level,
            {
                "spi": self.spi_r.hex(),
                "from": old._value_,
                "to": state._value_,
                "reason": reason,
                "path": str(self.path),
                "peer": self.peer_text,
            },
        )

    # --- messages ---------------------------------------------------------------------------------

    def unseal_untrusted(self, data: bytes, sealed: Encrypted) -> bytes:
        """The plaintext; CryptoError when the peer did not seal it for this SA."""
        return self._in.open(data[: len(data) - len(sealed.data)], sealed.data)

    def reply(self, exchange: int, payloads: Sequence[Payload]) -> bytes:
        """Seal the reply to the expected request and count that request as answered."""
        window = self.window
        if window.expected_request_id > LAST_MESSAGE_ID:
            raise LocalError("the peer's message ids are used up")
        datagram = self._seal(exchange, FLAG_RESPONSE, window.expected_request_id, payloads)
        window.replied(datagram)
        return datagram

    def request(self, exchange: int, payloads: Sequence[Payload], next_at: float) -> bytes:
        """Seal our next request; it becomes the pending one, to be repeated at ``next_at``.

        LocalError when another is pending: the window is one.
        """
        window = self.window
        if window.pending is not None:
            raise LocalError("a request is pending")
        if window.next_request_id > LAST_MESSAGE_ID:
            raise LocalError("our message ids are used up")
        datagram = self._seal(exchange, 0, window.next_request_id, payloads)
        window.requested(exchange, datagram, next_at)
        return datagram

    def _seal(self, exchange: int, response: int, message_id: int, payloads: Sequence[Payload]) -> bytes:
        # The callers give the payloads in the order of the RFC's figures (RFC 7296 2.5).
        first, inner = build_payloads(payloads)
        flags = response | FLAG_INITIATOR if self.initiator else response
        out = self._out
        head = build_sealed_head(
            self.spi_i, self.spi_r, exchange, flags, message_id, first, out.sealed_octets(len(inner))
        )
        if self.cipher.aead:
            # RFC 5282 3.1: an IV must not repeat under a key. Each direction has its own key, and each
            # message id occurs once as a request and once as a response in it.
            iv = _IV.pack(response, message_id)
        else:
            iv = self._rng(self.cipher.iv_octets)  # RFC 7296 3.14: unpredictable
        return head + out.seal(head, inner, iv)

    # --- journal ----------------------------------------------------------------------------------

    def record(self) -> IkeSaRecord:
        """All that the journal needs to go on with this SA."""
        if self.peer is None:
            raise LocalError("an IKE SA without an authenticated peer is not journalled")
        if self._packed is None:
            self._packed = self._keys.pack()
        window = self.window
        return IkeSaRecord(
            self.spi_i,
            self.spi_r,
            self.peer,
            self.path,
            self.established,
            self.cipher.name,
            self.integrity.name if self.integrity else "",
            self.prf.name,
            self.key_wrap.name,
            self._packed,
            window.next_request_id,
            window.expected_request_id,
            window.last_reply,
            window.pending.datagram if window.pending else b"",
            self.grounds,
        )

    @classmethod
    def restore(cls, record: IkeSaRecord, rng: Rng, now: float) -> IkeSa:
        """The server's SA as it was when ``record`` was written; its pending request is due at once."""
        cipher, prf = CIPHER_BY_NAME[record.cipher], PRF_BY_NAME[record.prf]
        integrity = INTEGRITY_BY_NAME[record.integrity] if record.integrity else None
        pending = None
        if record.pending_request:
            # The message id and exchange type of our own datagram, at their places in the IKE header.
            message_id: int = _MESSAGE_ID.unpack_from(record.pending_request, 20)[0]
            pending = Pending(message_id, record.pending_request[18], record.pending_request, 0, now)
        sa = cls(
            initiator=False,
            spi_i=record.spi_i,
            spi_r=record.spi_r,
            cipher=cipher,
            integrity=integrity,
            prf=prf,
            key_wrap=KEY_WRAP_BY_NAME[record.key_wrap],
            keys=IkeKeys.unpack(prf, cipher, integrity, record.keys),
            path=record.path,
            rng=rng,
            window=Window(record.next_request_id, record.expected_request_id, record.last_reply, pending),
            now=now,
        )
        sa.peer = record.peer
        sa.grounds = record.grounds
        sa.established = record.established
        sa.state = SaState.ESTABLISHED
        return sa
