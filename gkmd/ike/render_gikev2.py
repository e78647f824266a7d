"""From decisions to G-IKEv2 payloads: a GroupView at registration, a RekeyOrder in GSA_REKEY, a GroupOffer in
SAg.

RFC 9838 4.3 to 4.6. The other direction is ``read_gikev2``. Nothing is decided here and nothing is encrypted
but the keys, which never travel bare even inside an encrypted message (4.5.4).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from gkmd.core.algorithms import Cipher, Integrity, KeyWrap, RekeyAuth, SequenceNumbers
from gkmd.core.change import DataSa, RekeySa
from gkmd.core.esp import Mode
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import ED25519_IDENTIFIER, SigningKey
from gkmd.crypto.keymat import split_rekey
from gkmd.crypto.keywrap import wrap
from gkmd.group.model import GroupPolicy, GroupView, RekeyOrder, gone_at
from gkmd.ike.group_join import GroupOffer
from gkmd.ike.selectors import UDP, build_selector
from wire.attributes import Attribute
from wire.gikev2 import (
    GroupKeyBag,
    GroupSaPolicy,
    GroupWidePolicy,
    Gsa,
    Kd,
    MemberKeyBag,
    build_wrapped_key,
)
from wire.ikev2 import Delete, Notify, Proposal, Sa, Transform
from wire.message import Payload
from wire.registry import (
    AttributeType,
    GroupKeyAttribute,
    GroupSaAttribute,
    GroupWideAttribute,
    MemberKeyAttribute,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
)

_SPI_OCTETS: Final = 4


def spi_octets(spi: int) -> bytes:
    """An ESP SPI as it stands on the wire."""
    return spi.to_bytes(_SPI_OCTETS, "big")


def render_registration(view: GroupView, gsk_w: SecretBytes) -> list[Payload]:
    """GSA, KD and N(USE_TRANSPORT_MODE) for one member; keys are wrapped under ``gsk_w`` of its IKE SA."""
    policy, kek = view.policy, view.rekey_sa
    live = [sa for sa in view.data_sas if gone_at(sa) > view.now]
    # RFC 9838 table 9 note 1: both attributes, or neither, by counter mode and GROUP_SENDER.
    counter_sender = policy.cipher.aead and bool(view.sender_ids)
    gsa = _registration_gsa(view, live, policy.sender_id_bits if counter_sender else None)
    bags: list[GroupKeyBag | MemberKeyBag] = [_key_bag(ProtocolId.GIKE_UPDATE, kek.spi, gsk_w, kek.key)]
    bags += [_key_bag(ProtocolId.ESP, spi_octets(sa.spi), gsk_w, sa.key) for sa in live]
    own = _auth_key(kek)
    if counter_sender:
        own += [
            Attribute(MemberKeyAttribute.GM_SENDER_ID, sender_id.to_bytes(4, "big"))
            for sender_id in view.sender_ids
        ]
    if own:
        bags.append(MemberKeyBag(own))
    return [
        Payload(PayloadType.GSA, gsa),
        Payload(PayloadType.KD, Kd(bags)),
        *_mode_notify(policy, esp=True),
    ]


_remembered: Final[dict[tuple[object, ...], tuple[GroupPolicy, Gsa]]] = {}
_MOST_REMEMBERED: Final = 64


def _registration_gsa(view: GroupView, live: list[DataSa], sender_id_bits: int | None) -> Gsa:
    """The policy is the same for all members that come within the same second: made once, and not changed."""
    policy, kek, now = view.policy, view.rekey_sa, view.now
    # Everything that is rendered, and no record that holds a key. A policy is replaced, not changed, and the
    # one that is held here keeps its id.
    teks = tuple((sa.spi, sa.source, int(gone_at(sa) - now)) for sa in live)
    key = (id(policy), kek.spi, kek.next_message_id, int(gone_at(kek) - now), teks, sender_id_bits)
    found = _remembered.get(key)
    if found is None:
        policies: list[GroupSaPolicy | GroupWidePolicy] = [_kek_policy(policy, kek, now, registration=True)]
        policies += [_tek_policy(policy, sa, now) for sa in live]
        policies.append(_group_wide(policy, sender_id_bits))
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        found = _remembered[key] = (policy, Gsa(policies))
    return found[1]


def render_rekey(order: RekeyOrder) -> list[Payload]:
    """The inner payloads of one GSA_REKEY, AUTH excepted. Keys are wrapped under GSK_w of the SA that carries
    it.
    """
    policy, new = order.policy, order.new_rekey_sa
    if order.close:
        return _ending(exclude=order.exclude)
    payloads: list[Payload] = []
    if new is not None or order.data_sas:
        _, _, gsk_w = split_rekey(
            order.under.key, policy.rekey_cipher, policy.rekey_integrity, policy.key_wrap
        )
        policies: list[GroupSaPolicy | GroupWidePolicy] = []
        bags: list[GroupKeyBag | MemberKeyBag] = []
        if new is not None:
            policies.append(_kek_policy(policy, new, order.now, registration=False))
            bags.append(_key_bag(ProtocolId.GIKE_UPDATE, new.spi, gsk_w, new.key))
        policies += [_tek_policy(policy, sa, order.now) for sa in order.data_sas]
        policies.append(_group_wide(policy, None))
        bags += [_key_bag(ProtocolId.ESP, spi_octets(sa.spi), gsk_w, sa.key) for sa in order.data_sas]
        if new is not None and new.signing_key != order.under.signing_key:
            # RFC 9838 table 9 note 4. That a member key bag may carry it here: ADR 8.
            bags.append(MemberKeyBag(_auth_key(new)))
        payloads = [*_policy_payloads(policies, bags), *_mode_notify(policy, esp=bool(order.data_sas))]
    if order.deleted_spis:
        spis = [spi_octets(spi) for spi in order.deleted_spis]
        payloads.append(Payload(PayloadType.DELETE, Delete(ProtocolId.ESP, _SPI_OCTETS, spis)))
    return payloads


def _ending(*, exclude: bool) -> list[Payload]:
    if not exclude:
        # RFC 9838 4.6: protocol zero deletes the whole Group SA. A zero SPI for GIKE_UPDATE would call all
        # members back (2.4.3), which is not what an end means.
        return [Payload(PayloadType.DELETE, Delete(ProtocolId.NONE, 0, []))]
    # RFC 9838 2.4.3: all Data-Security SAs, followed by the Rekey SA: you are excluded, register again.
    return [
        Payload(PayloadType.DELETE, Delete(protocol, octets, [bytes(octets)]))
        for protocol, octets in ((ProtocolId.ESP, _SPI_OCTETS), (ProtocolId.GIKE_UPDATE, 16))
    ]


def offer(accepted: GroupOffer) -> Sa:
    """SAg: what a member accepts, one proposal for the Rekey SA and one for ESP with the same number.

    RFC 9838 2.3.3: AEAD ciphers and others may stand in one proposal, and equal numbers mean that the
    protocols do not depend on each other.
    """
    rekey = [build_encr(cipher) for cipher in accepted.rekey_ciphers]
    rekey += [Transform(TransformType.INTEG, a.transform_id, []) for a in accepted.rekey_integrities]
    rekey += [Transform(TransformType.KWA, a.transform_id, []) for a in accepted.key_wraps]
    rekey += [_gcauth(method) for method in accepted.rekey_auths]
    data = [build_encr(cipher) for cipher in accepted.ciphers]
    data += [Transform(TransformType.INTEG, a.transform_id, []) for a in accepted.integrities]
    data += [
        Transform(TransformType.SN, number, [])
        for number in (SequenceNumbers.SEQUENTIAL_32, SequenceNumbers.UNSPECIFIED_32)
    ]
    return Sa([Proposal(1, ProtocolId.GIKE_UPDATE, b"", rekey), Proposal(1, ProtocolId.ESP, b"", data)])


def acceptable(sag: Sa, policy: GroupPolicy) -> bool:
    """Whether a member that sent this SAg can live with the group's policy (RFC 9838 2.3.3 and 2.3.4).

    There has to be one proposal number under which both the Rekey SA's and ESP's transforms are listed.
    Proposals for other protocols and transform types that do not belong to a protocol say nothing.
    """
    wanted = {
        ProtocolId.GIKE_UPDATE: [
            *_cipher_transforms(policy.rekey_cipher, policy.rekey_integrity),
            Transform(TransformType.KWA, policy.key_wrap.transform_id, []),
            _gcauth(policy.rekey_auth),
        ],
        ProtocolId.ESP: [*_cipher_transforms(policy.cipher, policy.integrity), _sequence_numbers(policy)],
    }
    covered = {
        protocol: {p.number for p in sag.proposals if p.protocol == protocol and _lists(p, transforms)}
        for protocol, transforms in wanted.items()
    }
    return bool(covered[ProtocolId.GIKE_UPDATE] & covered[ProtocolId.ESP])


def build_encr(cipher: Cipher) -> Transform:
    """The ENCR transform, with its Key Length where the algorithm has several."""
    attributes = [] if cipher.key_bits is None else [Attribute(AttributeType.KEY_LENGTH, cipher.key_bits)]
    return Transform(TransformType.ENCR, cipher.transform_id, attributes)


def _lists(proposal: Proposal, wanted: Iterable[Transform]) -> bool:
    for transform in wanted:
        offered = [t for t in proposal.transforms if t.type == transform.type]
        if transform.type == TransformType.GCAUTH and not offered:
            continue  # a member that says nothing of the method takes what it is given
        if not any(
            t.id == transform.id
            # A member may leave out the signature algorithm that only the key server has to name (4.4.2.1.1).
            and (
                t.attributes == transform.attributes or (t.type == TransformType.GCAUTH and not t.attributes)
            )
            for t in offered
        ):
            return False
    return True


def _policy_payloads(
    policies: list[GroupSaPolicy | GroupWidePolicy], bags: list[GroupKeyBag | MemberKeyBag]
) -> list[Payload]:
    return [Payload(PayloadType.GSA, Gsa(policies)), Payload(PayloadType.KD, Kd(bags))]


def _mode_notify(policy: GroupPolicy, *, esp: bool) -> list[Payload]:
    # RFC 9838 2.3.4: its presence makes all Data-Security SAs of the message transport mode; rekeys carry it
    # "with the same characteristics" (2.4.1.3), or the new SA would be a tunnel.
    if policy.mode is not Mode.TRANSPORT or not esp:
        return []
    return [Payload(PayloadType.NOTIFY, Notify(ProtocolId.NONE, b"", NotifyType.USE_TRANSPORT_MODE, b""))]


def _kek_policy(policy: GroupPolicy, kek: RekeySa, now: float, *, registration: bool) -> GroupSaPolicy:
    version = policy.rekey_address.version
    transforms = [
        *_cipher_transforms(policy.rekey_cipher, policy.rekey_integrity),
        _key_wrap(policy.key_wrap),
    ]
    if registration:
        # RFC 9838 4.4.2.1.1: only here, because the method never changes by a rekey.
        transforms.append(_gcauth(policy.rekey_auth))
    attributes = [_lifetime(gone_at(kek) - now)]
    if kek.next_message_id:
        # RFC 9838 4.4.2.2.2: the id of the message that comes next, when that is not the first one.
        attributes.append(
            Attribute(GroupSaAttribute.GSA_INITIAL_MESSAGE_ID, kek.next_message_id.to_bytes(4, "big"))
        )
    return GroupSaPolicy(
        ProtocolId.GIKE_UPDATE,
        kek.spi,
        build_selector(version, policy.rekey_source, UDP, 0),
        build_selector(version, policy.rekey_address, UDP, policy.rekey_port),
        transforms,
        attributes,
    )


def _tek_policy(policy: GroupPolicy, sa: DataSa, now: float) -> GroupSaPolicy:
    version = policy.address.version
    return GroupSaPolicy(
        ProtocolId.ESP,
        spi_octets(sa.spi),
        build_selector(version, sa.source, policy.protocol, 0),
        build_selector(version, policy.address, policy.protocol, policy.port),
        [*_cipher_transforms(policy.cipher, policy.integrity), _sequence_numbers(policy)],
        [_lifetime(gone_at(sa) - now)],
    )


def _lifetime(remaining: float) -> Attribute:
    # What remains, for late joiners and for SAs whose Delete they have not heard; in whole seconds, rounded
    # down so that no member outlives the key server's view, but never zero.
    return Attribute(GroupSaAttribute.GSA_KEY_LIFETIME, max(1, int(remaining)).to_bytes(4, "big"))


def _group_wide(policy: GroupPolicy, sender_id_bits: int | None) -> GroupWidePolicy:
    attributes = [
        Attribute(GroupWideAttribute.GWP_ATD, policy.activation_delay),
        Attribute(GroupWideAttribute.GWP_DTD, policy.deactivation_delay),
    ]
    if sender_id_bits is not None:
        attributes.append(Attribute(GroupWideAttribute.GWP_SENDER_ID_BITS, sender_id_bits))
    return GroupWidePolicy(attributes)


def _key_bag(protocol: ProtocolId, spi: bytes, kek: SecretBytes, key: SecretBytes) -> GroupKeyBag:
    wrapped = build_wrapped_key(0, 0, wrap(kek, key))
    return GroupKeyBag(protocol, spi, [Attribute(GroupKeyAttribute.SA_KEY, wrapped)])


def _auth_key(kek: RekeySa) -> list[Attribute]:
    # RFC 9838 4.5.3.2: under implicit authentication there is none.
    if kek.signing_key is None:
        return []
    return [Attribute(MemberKeyAttribute.AUTH_KEY, _public_key(kek.signing_key))]


def _cipher_transforms(cipher: Cipher, integrity: Integrity | None) -> list[Transform]:
    transforms = [build_encr(cipher)]
    if integrity is not None:  # RFC 9838 table 2: none with an AEAD cipher
        transforms.append(Transform(TransformType.INTEG, integrity.transform_id, []))
    return transforms


def _key_wrap(key_wrap: KeyWrap) -> Transform:
    return Transform(TransformType.KWA, key_wrap.transform_id, [])


def _gcauth(method: RekeyAuth) -> Transform:
    attributes = []
    if method is RekeyAuth.SIGNATURE:
        attributes.append(Attribute(AttributeType.SIGNATURE_ALGORITHM, ED25519_IDENTIFIER))
    return Transform(TransformType.GCAUTH, method.value, attributes)


def _sequence_numbers(policy: GroupPolicy) -> Transform:
    # RFC 9838 4.4.2.1.3: sequential for one sender, unspecified for several, ESN never.
    number = SequenceNumbers.UNSPECIFIED_32 if policy.shared_sa else SequenceNumbers.SEQUENTIAL_32
    return Transform(TransformType.SN, number, [])


@functools.lru_cache(maxsize=256)
def _public_key(seed: SecretBytes) -> bytes:
    """SubjectPublicKeyInfo of a Rekey SA's signing key: every registration tells it, and making it costs a
    key pair.
    """
    return SigningKey.from_seed(seed).spki_der
