"""GSA_REKEY datagrams against an implementation by hand, both ways, and what is refused before anything is
read.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from group_by_hand import (
    ED25519,
    ByHand,
    bag_by_hand,
    open_by_hand,
    policy_by_hand,
    seal_by_hand,
    selector,
    tlv,
    transforms_by_hand,
    tv,
    unwrap_by_hand,
    wrapped_by_hand,
)
from group_fixtures import (
    CBC_REKEY,
    GROUP_ADDRESS,
    IMPLICIT,
    IPV6,
    POLICY,
    RECEIVER,
    REKEY_ADDRESS,
    SERVER,
    SHARED,
    T0,
    TUNNEL,
    TX,
    Server,
    member,
)

from gkmd.core.effect import InstallSa
from gkmd.core.errors import CryptoError, LocalError
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import ED25519_IDENTIFIER, SigningKey
from gkmd.group.model import GroupPolicy
from gkmd.ike.grant import RekeyAuthentication
from gkmd.ike.group_member import GroupMember
from gkmd.ike.rekey_message import (
    OpenedRekey,
    RekeyProtection,
    exceeds_mtu,
    open_rekey_untrusted,
    seal_rekey,
)
from wire.errors import WireError
from wire.registry import PayloadType

ANY4 = selector(17, 0, 65535, bytes(4), b"\xff" * 4)


def raw_public(seed: SecretBytes) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(seed.reveal()).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def open_ours(server: Server, datagram: bytes, policy: GroupPolicy = POLICY) -> OpenedRekey:
    """With the keys of the server's Rekey SA as it was first made."""
    kek = server.kek
    protection = RekeyProtection.of(
        kek.spi, kek.key, policy.rekey_cipher, policy.rekey_integrity, policy.key_wrap
    )
    if server.signing_key is None:
        authentication = RekeyAuthentication(policy.rekey_auth)
    else:
        public = SigningKey.from_seed(server.signing_key).spki_der
        authentication = RekeyAuthentication(policy.rekey_auth, ED25519_IDENTIFIER, public)
    return open_rekey_untrusted(datagram, protection, authentication)


def told(effects: list[object], event: str) -> list[dict[str, object]]:
    return [dict(e.fields) for e in effects if getattr(e, "event", None) == event]  # type: ignore[attr-defined]


# --- by hand, both ways
# ---------------------------------------------------------------------------------------


def test_what_we_send_reads_by_hand() -> None:
    """Every octet of a rekey that replaces a TEK and the KEK (RFC 9838 2.4.1, 4.4, 4.5)."""
    server = Server()
    old = server.new_tek(T0, TX)
    kek, new_kek = server.kek, server.new_kek(T0 + 1)
    tek = server.new_tek(T0 + 1, TX)
    server.kek = replace(kek, next_message_id=5)
    order = server.order(T0 + 1.5, (tek,), (old.spi,), new_kek)
    assert server.signing_key is not None
    got = open_by_hand(seal_rekey(order, server.rng), kek.key.reveal(), raw_public(server.signing_key))

    spi, version, exchange, flags, mid, iv, padding = got.header
    assert spi == kek.spi
    assert (version, exchange, flags, mid, iv, padding) == (0x20, 41, 0x08, 5, 5, 0)
    # Figure 9 with the Delete of 2.4.1: GSA, KD, N, D, AUTH.
    assert got.order == [51, 52, 41, 42, 39]
    assert got.bodies[41] == bytes((0, 0)) + (16391).to_bytes(2, "big")
    assert got.bodies[42] == bytes((3, 4, 0, 1)) + old.spi.to_bytes(4, "big")

    rekey, data, wide = got.policies
    aes256 = bytes.fromhex("800e0100")
    assert rekey["protocol"] == 6
    assert rekey["spi"] == new_kek.spi
    assert rekey["source"] == (7, 17, 0, 65535, SERVER.packed, SERVER.packed)
    assert rekey["destination"] == (7, 17, 848, 848, REKEY_ADDRESS.packed, REKEY_ADDRESS.packed)
    assert rekey["transforms"] == [(1, 20, aes256), (13, 3, b"")]  # GCAUTH never in a rekey
    assert rekey["attributes"] == [
        (1, (3599).to_bytes(4, "big"))
    ]  # remaining, rounded down; first id 0: none
    assert data["protocol"] == 3
    assert data["spi"] == tek.spi.to_bytes(4, "big")
    assert data["source"] == (7, 17, 0, 65535, TX.packed, TX.packed)
    assert data["destination"] == (7, 17, 5000, 5000, GROUP_ADDRESS.packed, GROUP_ADDRESS.packed)
    assert data["transforms"] == [(1, 20, aes256), (5, 0, b"")]
    assert data["attributes"] == [(1, (599).to_bytes(4, "big"))]
    assert wide == {"protocol": 0, "attributes": [(1, 4), (2, 10)]}

    gsk_w = kek.key.reveal()[36:]  # of the old Rekey SA
    (rekey_bag, data_bag) = got.bags
    assert (rekey_bag["protocol"], rekey_bag["spi"]) == (6, new_kek.spi)
    assert (data_bag["protocol"], data_bag["spi"]) == (3, tek.spi.to_bytes(4, "big"))
    for bag, secret in ((rekey_bag, new_kek.key), (data_bag, tek.key)):
        [(kind, value)] = bag["attributes"]  # type: ignore[misc]
        assert kind == 1
        assert unwrap_by_hand(gsk_w, value) == (0, 0, secret.reveal())


def a_rekey_by_hand(server: Server, *, seed: bytes | None, mid: int = 0, **how: object) -> tuple[bytes, int]:
    """A new TEK from 10.0.0.11, payloads in another order than ours."""
    keymat = server.kek.key.reveal()
    spi = 0x00ABCDEF
    policy = policy_by_hand(
        3,
        spi.to_bytes(4, "big"),
        selector(17, 0, 65535, TX.packed, TX.packed),
        selector(17, 5000, 5000, GROUP_ADDRESS.packed, GROUP_ADDRESS.packed),
        transforms_by_hand((5, 0, b""), (3, 0, b""), (1, 20, tv(14, 256))) + tlv(1, (600).to_bytes(4, "big")),
    )
    wide = bytes((0, 0xAA)) + (8).to_bytes(2, "big") + tv(1, 3)  # RESERVED is ignored; no DTD
    bag = bag_by_hand(3, spi.to_bytes(4, "big"), tlv(1, wrapped_by_hand(keymat[36:], bytes(range(36)))))
    notify = bytes((0, 0)) + (16391).to_bytes(2, "big")
    payloads = [(41, notify), (52, bag), (51, wide + policy)]
    return seal_by_hand(server.kek.spi, mid, keymat, payloads, seed, **how), spi  # type: ignore[arg-type]


@pytest.fixture
def joined() -> tuple[Server, GroupMember]:
    server = Server()
    server.new_tek(T0, TX)
    receiver = member(RECEIVER)
    receiver.admit(server.grant(RECEIVER, T0), T0)
    return server, receiver


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"flags": 0x00},  # the I bit is not defined for a Rekey SA: both are taken
        {"padding": 255},
        {"iv": b"anything"},
        {"mid": 0xFFFFFFFF},
    ],
    ids=str,
)
def test_what_is_written_by_hand_we_take(joined: tuple[Server, GroupMember], how: dict[str, object]) -> None:
    server, receiver = joined
    assert server.signing_key is not None
    datagram, spi = a_rekey_by_hand(server, seed=server.signing_key.reveal(), **how)  # type: ignore[arg-type]
    effects = receiver.receive_rekey_untrusted(datagram, T0 + 1)
    (installed,) = [e.sa for e in effects if isinstance(e, InstallSa)]
    assert installed.spi == spi
    assert installed.key.reveal() == bytes(range(36))


def test_a_response_by_hand(joined: tuple[Server, GroupMember]) -> None:
    """There is nothing that a rekey could answer, however well it is sealed and signed."""
    server, receiver = joined
    assert server.signing_key is not None
    datagram, _ = a_rekey_by_hand(server, seed=server.signing_key.reveal(), flags=0x28)
    effects = receiver.receive_rekey_untrusted(datagram, T0 + 1)
    assert [f["reason"] for f in told(effects, "rekey-dropped")] == ["flags"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "auth_head",
    [
        bytes((2, 0, 0, 0, len(ED25519))) + ED25519,  # a shared key MIC, says the method
        bytes((14, 0, 0, 0, 12)) + bytes.fromhex("300a06082a8648ce3d040302"),  # ecdsa-with-SHA256
        bytes((14, 0, 0, 0, 7)) + bytes.fromhex("300506032b6571"),  # Ed448
        bytes((14, 0, 0, 0, 0)),
        bytes((14, 0, 0, 0, 255)) + ED25519,
    ],
    ids=["method", "ecdsa", "ed448", "none", "too-long"],
)
def test_algorithm_substitution(joined: tuple[Server, GroupMember], auth_head: bytes) -> None:
    """A true signature of the true key under another name."""
    server, receiver = joined
    assert server.signing_key is not None
    datagram, _ = a_rekey_by_hand(server, seed=server.signing_key.reveal(), auth_head=auth_head)
    effects = receiver.receive_rekey_untrusted(datagram, T0 + 1)
    assert [f["reason"] for f in told(effects, "rekey-dropped")] == ["not-authentic"]  # type: ignore[arg-type]


# --- all policies
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy", [POLICY, SHARED, CBC_REKEY, IMPLICIT, IPV6, TUNNEL], ids=lambda p: p.rekey_cipher.name
)
def test_seal_and_open(policy: GroupPolicy) -> None:
    server = Server(policy)
    tek = server.new_tek(T0)
    kek = server.kek
    order = server.order(T0, (tek,), (), server.new_kek(T0))
    datagram = seal_rekey(order, server.rng)
    server.kek = kek
    opened = open_ours(server, datagram, policy)
    assert opened.message_id == 0
    kinds = [p.type for p in opened.payloads]
    assert (PayloadType.AUTH in kinds) is (policy.rekey_auth.name == "SIGNATURE")
    assert (PayloadType.NOTIFY in kinds) is (policy.mode.value == "transport")


def test_aead_ivs_are_the_message_ids_and_cbc_ivs_are_random() -> None:
    for policy, distinct in ((POLICY, False), (CBC_REKEY, True)):
        server = Server(policy)
        ivs = []
        for _ in range(4):
            old = server.new_tek(T0)
            order = server.order(T0, (), (old.spi,))
            octets = policy.rekey_cipher.iv_octets
            ivs.append((order.message_id, seal_rekey(order, server.rng)[32 : 32 + octets]))
            # Under CBC two copies of one order would differ; under AEAD they cannot.
            again = seal_rekey(order, server.rng)[32 : 32 + octets]
            assert (again != ivs[-1][1]) is distinct
        if not distinct:
            assert [int.from_bytes(iv, "big") for _, iv in ivs] == [0, 1, 2, 3]


def test_a_delete_alone_and_the_end_of_a_group() -> None:
    """RFC 9838 2.4.3 figure 12, and 4.6: protocol zero is the whole Group SA."""
    server = Server()
    old = server.new_tek(T0)
    assert server.signing_key is not None
    public, keymat = raw_public(server.signing_key), server.kek.key.reveal()

    def by_hand(**how: object) -> ByHand:
        return open_by_hand(seal_rekey(server.order(T0, **how), server.rng), keymat, public)  # type: ignore[arg-type]

    assert by_hand(deleted=(old.spi,)).order == [42, 39]
    end = by_hand(close=True)
    assert (end.order, end.bodies[42]) == ([42, 39], bytes((0, 0, 0, 0)))
    order = replace(server.order(T0, close=True), exclude=True)
    opened = open_ours(server, seal_rekey(order, server.rng))
    assert [(p.body.protocol, p.body.spis) for p in opened.payloads[:2]] == [  # type: ignore[union-attr]
        (3, [bytes(4)]),
        (6, [bytes(16)]),
    ]


def test_orders_that_cannot_be_sealed() -> None:
    server = Server()
    order = server.order(T0, close=True)
    with pytest.raises(LocalError, match="without a signature key"):
        seal_rekey(replace(order, under=replace(order.under, signing_key=None)), SeededRng(1))
    with pytest.raises(LocalError, match="SPI of 16"):
        seal_rekey(replace(order, under=replace(order.under, spi=b"short")), SeededRng(1))


# --- refused before anything is read
# --------------------------------------------------------------------------


def test_another_signer_who_knows_the_rekey_sa() -> None:
    """Members have the keys to seal, only the key server has the one to sign."""
    server = Server()
    order = server.order(T0, close=True)
    forged = replace(order, under=replace(order.under, signing_key=SecretBytes(b"\x55" * 32)))
    with pytest.raises(CryptoError, match="signature does not verify"):
        open_ours(server, seal_rekey(forged, server.rng))


def test_auth_present_under_implicit_and_absent_under_signatures() -> None:
    """RFC 9838 2.4.1: the signature has to be there, and must not."""
    signed, implicit = Server(POLICY), Server(IMPLICIT)
    order = signed.order(T0, close=True)
    with pytest.raises(CryptoError, match="no signature"):
        open_ours(signed, seal_rekey(replace(order, policy=IMPLICIT), signed.rng))
    order = implicit.order(T0, close=True)
    under = replace(order.under, signing_key=SecretBytes(bytes(32)))
    with pytest.raises(CryptoError, match="under implicit"):
        open_ours(implicit, seal_rekey(replace(order, policy=POLICY, under=under), implicit.rng), IMPLICIT)


def test_other_exchanges_responses_fragments_and_strangers() -> None:
    server = Server()
    datagram = seal_rekey(server.order(T0, close=True), server.rng)
    cases = {
        "spi": bytes(16) + datagram[16:],
        "flags": datagram[:19] + b"\x20" + datagram[20:],
        "fragment": datagram[:16] + bytes((53,)) + datagram[17:32] + bytes((0, 1, 0, 1)) + datagram[36:],
    }
    for reason, data in cases.items():
        with pytest.raises(WireError) as caught:
            open_ours(server, data)
        assert caught.value.reason == reason


def test_no_octet_can_be_changed_cut_off_or_added() -> None:
    """Of the message; the header, too, is under ICV and signature."""
    for policy in (POLICY, CBC_REKEY, IMPLICIT):
        server = Server(policy)
        datagram = seal_rekey(server.order(T0, (server.new_tek(T0),)), server.rng)
        assert open_ours(server, datagram, policy).message_id == 0
        for n in range(len(datagram)):
            for bit in range(8):
                mutated = bytearray(datagram)
                mutated[n] ^= 1 << bit
                with pytest.raises((WireError, CryptoError)):
                    open_ours(server, bytes(mutated), policy)
            with pytest.raises((WireError, CryptoError)):
                open_ours(server, datagram[:n], policy)
        with pytest.raises((WireError, CryptoError)):
            open_ours(server, datagram + b"\0", policy)


# --- sizes
# ----------------------------------------------------------------------------------------------------


def test_sizes() -> None:
    """The figures in the module's docstring, and where an Ethernet frame is full."""
    sizes = {}
    for policy in (POLICY, IPV6):
        server = Server(policy)
        for senders in range(12):
            teks = tuple(server.new_tek(T0, policy.rekey_source) for _ in range(senders))
            order = server.order(T0, teks, tuple(t.spi for t in teks))
            order = replace(order, new_rekey_sa=server.new_kek(T0))
            sizes[policy.address.version, senders] = seal_rekey(order, server.rng)
    four = [len(sizes[4, n]) for n in range(12)]
    six = [len(sizes[6, n]) for n in range(12)]
    assert (four[1], six[1]) == (505, 601)
    assert {b - a for a, b in pairwise(four[1:])} == {140}
    assert {b - a for a, b in pairwise(six[1:])} == {188}
    assert [n for n in range(12) if not exceeds_mtu(sizes[4, n], 4)] == list(range(8))
    assert [n for n in range(12) if not exceeds_mtu(sizes[6, n], 6)] == list(range(6))
