"""Making SAs: fresh keys, SPIs and lifetimes by a group's policy."""

from __future__ import annotations

from typing import Final

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import RekeyAuth
from gkmd.core.change import DataSa, RekeySa
from gkmd.core.identity import Identity
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keymat import data_octets, rekey_octets
from gkmd.group.model import GroupPolicy
from gkmd.group.spi import Spis

SIGNING_SEED_OCTETS: Final = 32  # Ed25519


class Material:
    """The source of all keys of a server."""

    __slots__ = ("_rng", "spis")

    def __init__(self, rng: Rng) -> None:
        self._rng: Final = rng
        self.spis: Final = Spis(rng)

    def data_sa(
        self, policy: GroupPolicy, sender: Identity | None, source: IpAddress | None, now: float
    ) -> DataSa:
        # RFC 9838 2.5: each Data-Security SA has a key of its own.
        key = SecretBytes(self._rng(data_octets(policy.cipher, policy.integrity)))
        return DataSa(self.spis.new_data(), sender, source, key, now, now + policy.tek_lifetime)

    def rekey_sa(self, policy: GroupPolicy, now: float, after: RekeySa | None = None) -> RekeySa:
        """A new Rekey SA; one ``after`` another keeps its signing key.

        RFC 9838 4.5.3 forbids in rekeys the member key bag that would bring a new AUTH_KEY, though 2.4.1
        speaks of one; members from elsewhere may take either side. Whoever is excluded never had the signing
        key.
        """
        octets = rekey_octets(policy.rekey_cipher, policy.rekey_integrity, policy.key_wrap)
        signing_key = after.signing_key if after is not None else None
        if policy.rekey_auth is RekeyAuth.SIGNATURE and signing_key is None:
            signing_key = SecretBytes(self._rng(SIGNING_SEED_OCTETS))
        return RekeySa(
            spi=self.spis.new_rekey(),
            key=SecretBytes(self._rng(octets)),
            signing_key=signing_key,
            created=now,
            expires=now + policy.kek_lifetime,
            next_message_id=0,  # RFC 9838 2.4.1.4
        )
