"""What the cryptography of one registration costs its responder: ``run()``, or ``python -m
bench.crypto_cost``.

One registration is IKE_SA_INIT and GSA_AUTH as the key server lives them, without parsing, state or
journal: a key pair, the shared secret, seven keys, one message opened, AUTH checked and made, GSK_w, two
keys wrapped (a data SA's and the Rekey SA's), one message sealed. Figures are medians in microseconds.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

from gkmd.core.algorithms import (
    AES_CBC_256,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    CURVE25519,
    ECP_256,
    HMAC_SHA2_256_128,
    KW_5649_256,
    PRF_HMAC_SHA2_256,
    Cipher,
    Integrity,
    KeyExchange,
)
from gkmd.core.rng import system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto import authentication, exchange, issuing, keymat, keywrap
from gkmd.crypto.certificates import TrustAnchors, load_chain
from gkmd.crypto.seal_at_rest import MasterKey
from gkmd.crypto.sealing import Sealer

_NOW = 1_800_000_000.0
_PRF = PRF_HMAC_SHA2_256
_REQUEST_OCTETS = 400
_RESPONSE_OCTETS = 600
_HEAD = bytes(32)
_INIT = bytes(286)
_ID_BODY = b"\x02\0\0\0rx1.example"


class _Registration:
    """Both ends' secrets are fixed but for the responder's key pair, which is fresh each time."""

    def __init__(
        self,
        group: KeyExchange = CURVE25519,
        cipher: Cipher = AES_GCM_16_256,
        integrity: Integrity | None = None,
        kind: str | None = None,
    ) -> None:
        self.group, self.cipher, self.integrity = group, cipher, integrity
        self.peer_public = exchange.generate(group, system_rng).public
        self.nonces = system_rng(32), system_rng(32)
        self.psk = SecretBytes(b"correct horse battery staple")
        self.key = None
        if kind is not None:
            self.key = authentication.SigningKey.load_pem(issuing.make_key(kind, system_rng).reveal())
            self.identifier, self.signature = self.key.sign(self._octets(), authentication.SIGNATURE_HASHES)
        self.wrap_key = SecretBytes(system_rng(32))
        self.data_key = SecretBytes(system_rng(36))
        self.rekey_key = SecretBytes(system_rng(68))
        own = self._keys(SecretBytes(bytes(32)))
        iv = system_rng(cipher.iv_octets)
        self.request = self._sealer(own.ei, own.ai).seal(_HEAD, bytes(_REQUEST_OCTETS), iv)
        self.fixed_keys = own

    def _keys(self, shared: SecretBytes) -> keymat.IkeKeys:
        return keymat.derive_ike(
            _PRF, self.cipher, self.integrity, shared, *self.nonces, b"initiate", b"responds"
        )

    def _sealer(self, key: SecretBytes, integrity_key: SecretBytes) -> Sealer:
        return Sealer(self.cipher, self.integrity, key, integrity_key if self.integrity else None)

    def _octets(self) -> bytes:
        return authentication.signed_octets(_INIT, self.nonces[0], _PRF, SecretBytes(bytes(32)), _ID_BODY)

    def respond(self) -> bytes:
        pair = exchange.generate(self.group, system_rng)
        keys = self._keys(pair.agree(self.peer_public))
        # The request was sealed before this key pair existed, so the fixed keys open it; the work is the
        # same.
        fixed = self.fixed_keys
        self._sealer(fixed.ei, fixed.ai).open(_HEAD, self.request)
        theirs = authentication.signed_octets(_INIT, self.nonces[1], _PRF, keys.pi, _ID_BODY)
        ours = authentication.signed_octets(_INIT, self.nonces[0], _PRF, keys.pr, _ID_BODY)
        if self.key is None:
            authentication.psk_auth(_PRF, self.psk, theirs)
            authentication.psk_auth(_PRF, self.psk, ours)
        else:
            authentication.verify_signature(
                self.key.spki_der, self.identifier, self.signature, self._octets()
            )
            self.key.sign(ours, authentication.SIGNATURE_HASHES)
        gsk_w = keymat.group_wrap_key(_PRF, keys.d, KW_5649_256)
        keywrap.wrap(gsk_w, self.data_key)
        keywrap.wrap(gsk_w, self.rekey_key)
        iv = system_rng(self.cipher.iv_octets)
        return self._sealer(keys.er, keys.ar).seal(_HEAD, bytes(_RESPONSE_OCTETS), iv)


def _median_us(work: Callable[[], object], seconds: float) -> float:
    """Median of single runs, after a warm-up, for about ``seconds``."""
    for _ in range(20):
        work()
    times: list[int] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 50:
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return round(statistics.median(times) / 1000, 1)


def run(seconds: float = 0.5) -> dict[str, float]:
    """Medians in microseconds by name; each figure is measured for ``seconds``."""
    registration = _Registration()
    pair = exchange.generate(CURVE25519, system_rng)
    keys = registration.fixed_keys
    master = MasterKey(SecretBytes(bytes(32)), system_rng)
    authority = issuing.make_authority("bench", _NOW, 30, system_rng)
    anchors = TrustAnchors.load(authority.certificate_pem)
    chain = load_chain(issuing.make_certificate(authority, "rx1", [], _NOW, 30, system_rng).certificate_pem)
    parts: dict[str, Callable[[], object]] = {
        "registration_psk_x25519": registration.respond,
        "registration_psk_x25519_chacha20": _Registration(cipher=CHACHA20_POLY1305).respond,
        "registration_psk_x25519_cbc": _Registration(cipher=AES_CBC_256, integrity=HMAC_SHA2_256_128).respond,
        "registration_psk_ecp256": _Registration(group=ECP_256).respond,
        "registration_ed25519_x25519": _Registration(kind="ed25519").respond,
        "registration_ecdsa_p256_x25519": _Registration(kind="ecdsa-p256").respond,
        "part_x25519_generate": lambda: exchange.generate(CURVE25519, system_rng),
        "part_x25519_agree": lambda: pair.agree(registration.peer_public),
        "part_derive_ike": lambda: registration._keys(SecretBytes(bytes(32))),
        "part_sealer_open": lambda: registration._sealer(keys.ei, keys.ai).open(_HEAD, registration.request),
        "part_group_wrap_key": lambda: keymat.group_wrap_key(_PRF, keys.d, KW_5649_256),
        "part_wrap_68": lambda: keywrap.wrap(registration.wrap_key, registration.rekey_key),
        "part_psk_auth": lambda: authentication.psk_auth(_PRF, registration.psk, _INIT),
        "part_seal_at_rest_300": lambda: master.seal(bytes(300), b"ike_sa"),
        "part_chain_of_one": lambda: anchors.verify_chain(chain, _NOW),
    }
    return {name: _median_us(work, seconds) for name, work in parts.items()}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
