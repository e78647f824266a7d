"""A key server's side of one group for tests: policy, SAs and orders by hand, without the directory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import (
    AES_CBC_256,
    HMAC_SHA2_256_128,
    KW_5649_256,
    RekeyAuth,
)
from gkmd.core.change import DataSa, RekeySa
from gkmd.core.esp import Mode
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keymat import data_octets, rekey_octets
from gkmd.group.model import GroupPolicy, GroupView, RekeyOrder, SenderRule
from gkmd.ike.grant import Grant
from gkmd.ike.group_join import GroupJoin, GroupOffer, GroupSettings
from gkmd.ike.group_member import GroupMember
from gkmd.ike.read_gikev2 import read_registration
from gkmd.ike.rekey_message import seal_rekey
from gkmd.ike.render_gikev2 import render_registration
from wire.message import Payload, build_chain, parse_inner
from wire.registry import ExchangeType

T0 = 1_000_000.0
GROUP_ID = Identity.parse("keyid:news")
GROUP_ADDRESS = ip_address("239.1.1.1")
REKEY_ADDRESS = ip_address("239.1.1.2")
SERVER = ip_address("10.0.0.1")
TX = ip_address("10.0.0.11")
TX2 = ip_address("10.0.0.12")
GSK_W = SecretBytes(bytes(range(32)))  # of the member's IKE SA

POLICY = GroupPolicy(
    name="news",
    group_id=GROUP_ID,
    address=GROUP_ADDRESS,
    port=5000,
    rekey_address=REKEY_ADDRESS,
    rekey_source=SERVER,
    rekey_ttl=8,
    senders=(SenderRule(IdentityPattern.parse("any")),),
    receivers=(IdentityPattern.parse("any"),),
    tek_lifetime=600.0,
    kek_lifetime=3600.0,
    activation_delay=4,
    deactivation_delay=10,
    sender_id_bits=8,
)
SHARED = replace(POLICY, cipher=AES_CBC_256, integrity=HMAC_SHA2_256_128)
CBC_REKEY = replace(POLICY, rekey_cipher=AES_CBC_256, rekey_integrity=HMAC_SHA2_256_128)
IMPLICIT = replace(POLICY, rekey_auth=RekeyAuth.IMPLICIT)
IPV6 = replace(
    POLICY,
    address=ip_address("ff15::1:1"),
    rekey_address=ip_address("ff15::1:2"),
    rekey_source=ip_address("fd00::1"),
)
TUNNEL = replace(POLICY, mode=Mode.TUNNEL)
SETTINGS = GroupSettings()
ANY_AUTH = GroupOffer(rekey_auths=(RekeyAuth.SIGNATURE, RekeyAuth.IMPLICIT))

RECEIVER = GroupJoin("news", GROUP_ID, receives=True, sends=False, interface="eth0", offer=ANY_AUTH)
SENDER = GroupJoin("news", GROUP_ID, receives=False, sends=True, interface="eth0", source=TX, offer=ANY_AUTH)
BOTH = replace(SENDER, receives=True)


@dataclass
class Server:
    """One group of a key server; ``now`` is passed in, keys come from a seed."""

    policy: GroupPolicy = POLICY
    seed: str = "server"
    teks: dict[int, DataSa] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = SeededRng(self.seed)
        self._spis = itertools.count(0x1000)
        self.signing = self.policy.rekey_auth is RekeyAuth.SIGNATURE
        self.signing_key = SecretBytes(self.rng(32)) if self.signing else None
        self.kek = self.new_kek(T0)

    def new_kek(self, now: float) -> RekeySa:
        p = self.policy
        octets = rekey_octets(p.rekey_cipher, p.rekey_integrity, p.key_wrap)
        key = SecretBytes(self.rng(octets))
        return RekeySa(self.rng(16), key, self.signing_key, now, now + p.kek_lifetime, 0)

    def new_tek(self, now: float, source: IpAddress | None = None, lifetime: float | None = None) -> DataSa:
        p = self.policy
        key = SecretBytes(self.rng(data_octets(p.cipher, p.integrity)))
        end = now + (p.tek_lifetime if lifetime is None else lifetime)
        sender = Identity.parse(f"fqdn:{source}") if source else None
        sa = DataSa(next(self._spis), sender, source, key, now, end)
        self.teks[sa.spi] = sa
        return sa

    def view(self, now: float, sender_ids: tuple[int, ...] = ()) -> GroupView:
        live = tuple(
            sa
            for sa in self.teks.values()
            if sa.expires > now and (sa.removed_at is None or sa.removed_at > now)
        )
        return GroupView(self.policy, now, live, self.kek, sender_ids)

    def order(
        self,
        now: float,
        data_sas: tuple[DataSa, ...] = (),
        deleted: tuple[int, ...] = (),
        new_kek: RekeySa | None = None,
        close: bool = False,
    ) -> RekeyOrder:
        order = RekeyOrder(
            self.policy, now, "test", self.kek, self.kek.next_message_id, new_kek, data_sas, deleted, close
        )
        self.kek = replace(self.kek, next_message_id=self.kek.next_message_id + 1)
        for spi in deleted:
            self.teks[spi] = replace(self.teks[spi], removed_at=now + self.policy.deactivation_delay)
        if new_kek is not None:
            self.kek = new_kek
        return order

    def rekey(self, now: float, kek: bool = False, sources: tuple[IpAddress | None, ...] = ()) -> bytes:
        """Replace every live TEK of these sources (all sources without), and the KEK if asked."""
        old = [
            sa
            for sa in self.teks.values()
            if sa.removed_at is None and sa.expires > now and (not sources or sa.source in sources)
        ]
        new = tuple(self.new_tek(now, sa.source) for sa in old)
        return seal_rekey(
            self.order(now, new, tuple(sa.spi for sa in old), self.new_kek(now) if kek else None), self.rng
        )

    def grant(self, join: GroupJoin, now: float, sender_ids: tuple[int, ...] | None = None) -> Grant:
        return read_registration(self.registration(join, now, sender_ids), GSK_W, KW_5649_256, join)

    def registration(
        self, join: GroupJoin, now: float, sender_ids: tuple[int, ...] | None = None
    ) -> list[Payload]:
        if sender_ids is None:
            sender_ids = (7,) if join.sends and self.policy.cipher.aead else ()
        return through_wire(render_registration(self.view(now, sender_ids), GSK_W))


def through_wire(
    payloads: list[Payload],
    exchange: ExchangeType = ExchangeType.GSA_REGISTRATION,
    response: bool = True,
) -> list[Payload]:
    first, octets = build_chain(payloads, exchange, response)
    return parse_inner(exchange, response, first, octets)


def member(
    join: GroupJoin = RECEIVER, seed: str = "member", settings: GroupSettings = SETTINGS
) -> GroupMember:
    return GroupMember(join, SeededRng(seed), settings, itertools.count(1).__next__)
