"""Sealing the Encrypted payload: RFC 7296 3.14 (CBC with a MAC), RFC 5282 (AES-GCM), RFC 7634
(ChaCha20-Poly1305).

A sealed octet string is IV | ciphertext | ICV, the body of an SK payload. What is encrypted is
payloads | padding | pad length; padding is added and removed here.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from gkmd.core.algorithms import CHACHA20_POLY1305, Cipher, Integrity
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.secret import SecretBytes


class Sealer:
    """One direction's keys of an IKE SA, or the keys of a Rekey SA, ready for use.

    ``key`` includes the salt of an AEAD cipher; ``integrity`` and ``integrity_key`` are None with an AEAD
    cipher and given with any other. LocalError when a key has the wrong length.
    """

    __slots__ = ("_aead", "_aes", "_integrity", "_integrity_key", "_salt", "cipher", "overhead")

    def __init__(
        self,
        cipher: Cipher,
        integrity: Integrity | None,
        key: SecretBytes,
        integrity_key: SecretBytes | None,
    ) -> None:
        if len(key) != cipher.key_octets:
            raise LocalError(f"{cipher.name} takes a key of {cipher.key_octets} octets, not {len(key)}")
        self.cipher = cipher
        self._integrity = integrity
        self._aead: AESGCM | ChaCha20Poly1305 | None = None
        if cipher.aead:
            if integrity is not None or integrity_key is not None:
                raise LocalError(f"{cipher.name} has its own integrity check")
            # RFC 5282 7.1, RFC 7634 2: the salt is the last four octets of the keying material.
            octets, self._salt = key.reveal()[: -cipher.salt_octets], key.reveal()[-cipher.salt_octets :]
            self._aead = ChaCha20Poly1305(octets) if cipher == CHACHA20_POLY1305 else AESGCM(octets)
            self.overhead = cipher.iv_octets + 1 + cipher.icv_octets
        else:
            if integrity is None or integrity_key is None:
                raise LocalError(f"{cipher.name} needs an integrity algorithm and its key")
            if len(integrity_key) != integrity.key_octets:
                raise LocalError(
                    f"{integrity.name} takes a key of {integrity.key_octets} octets, not {len(integrity_key)}"
                )
            self._aes = algorithms.AES(key.reveal())
            self._integrity_key = integrity_key.reveal()
            self.overhead = cipher.iv_octets + 1 + integrity.icv_octets

    def sealed_octets(self, plaintext_octets: int) -> int:
        """How long ``seal`` makes a plaintext of this length."""
        return plaintext_octets + self._pad_octets(plaintext_octets) + self.overhead

    def _pad_octets(self, plaintext_octets: int) -> int:
        return -(plaintext_octets + 1) % self.cipher.block_octets

    def seal(self, aad: bytes, plaintext: bytes, iv: bytes) -> bytes:
        """IV | ciphertext | ICV. ``aad`` runs from the first octet of the IKE header to the end of the SK
        header.

        The caller owes a fresh ``iv`` for each message under this key: any that does not repeat for an AEAD
        cipher (RFC 5282 3.1), unpredictable octets for CBC (RFC 7296 3.14).
        """
        cipher = self.cipher
        if len(iv) != cipher.iv_octets:
            raise LocalError(f"{cipher.name} takes an IV of {cipher.iv_octets} octets, not {len(iv)}")
        if self._aead is not None:
            # No padding is needed, and RFC 7634 3 asks for none: pad length zero.
            return iv + self._aead.encrypt(self._salt + iv, plaintext + b"\0", aad)
        pad = self._pad_octets(len(plaintext))
        encryptor = BlockCipher(self._aes, modes.CBC(iv)).encryptor()
        sealed = iv + encryptor.update(plaintext + bytes(pad) + bytes((pad,))) + encryptor.finalize()
        return sealed + self._checksum(aad, sealed)

    def open(self, aad: bytes, sealed: bytes) -> bytes:
        """The plaintext without its padding; CryptoError when anything is wrong."""
        iv_octets = self.cipher.iv_octets
        if len(sealed) < self.overhead:
            raise CryptoError("sealed payload is too short")
        if self._aead is not None:
            try:
                padded = self._aead.decrypt(self._salt + sealed[:iv_octets], sealed[iv_octets:], aad)
            except InvalidTag:
                raise CryptoError("integrity check failed") from None
        else:
            padded = self._open_cbc(aad, sealed)
        # Any amount of padding is accepted (RFC 5282 3, RFC 7296 3.14), its content is free.
        end = len(padded) - 1 - padded[-1]
        if end < 0:
            raise CryptoError("pad length exceeds the sealed payload")
        return padded[:end]

    def _open_cbc(self, aad: bytes, sealed: bytes) -> bytes:
        assert self._integrity is not None
        body, checksum = sealed[: -self._integrity.icv_octets], sealed[-self._integrity.icv_octets :]
        # The checksum first, in constant time; nothing is decrypted that did not come from the peer.
        if not hmac.compare_digest(checksum, self._checksum(aad, body)):
            raise CryptoError("integrity check failed")
        iv_octets = self.cipher.iv_octets
        if len(body) == iv_octets or (len(body) - iv_octets) % self.cipher.block_octets:
            raise CryptoError("ciphertext is not a whole number of blocks")
        decryptor = BlockCipher(self._aes, modes.CBC(body[:iv_octets])).decryptor()
        return decryptor.update(body[iv_octets:]) + decryptor.finalize()

    def _checksum(self, aad: bytes, body: bytes) -> bytes:
        # RFC 7296 3.14: over the whole message from the IKE header through the pad length, as encrypted.
        assert self._integrity is not None
        full = hmac.digest(self._integrity_key, aad + body, self._integrity.hash_name)
        return full[: self._integrity.icv_octets]

    def __repr__(self) -> str:
        return f"<sealer: {self.cipher.name}>"
