"""From G-IKEv2 payloads to typed grants: registrations, multicast and inband rekeys (RFC 9838 4.4 to 4.6, 5).

Nothing comes out of here that is not complete: each SA has its policy, its key of exactly the right length,
and all that RFC 9838 demands of the message. Everything else is a PeerError; nothing else escapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import KeyWrap, RekeyAuth
from gkmd.core.change import WrapKey
from gkmd.core.errors import CryptoError, PeerError
from gkmd.core.esp import Mode
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import check_public_key
from gkmd.crypto.keymat import data_octets, rekey_octets
from gkmd.crypto.keywrap import unwrap
from gkmd.ike.grant import (
    DataGrant,
    Delays,
    Deletion,
    Grant,
    RekeyAuthentication,
    RekeyGrant,
    Update,
)
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.key_path import Opened, open_sa_key
from gkmd.ike.read_policies import (
    DataPolicy,
    RekeyPolicy,
    number,
    read_data_policy,
    read_rekey_policy,
    refused,
)
from gkmd.ike.rekey_content import Content, read_wrapped, take_apart
from wire.gikev2 import (
    WrappedKey,
)
from wire.message import Payload, each
from wire.registry import (
    GroupWideAttribute,
    NotifyType,
    PayloadType,
    ProtocolId,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What a member knows of a group when a rekey arrives; the message is judged against it.

    ``gsk_w`` is of the SA that carries the message, ``key_wrap`` of the Rekey SA, None without one.
    ``authentication`` is None when the member never got a Rekey SA, ``mode`` None when it never got a data
    SA. ``own`` is the address that it sends from.
    """

    gsk_w: SecretBytes
    key_wrap: KeyWrap | None
    authentication: RekeyAuthentication | None
    mode: Mode | None
    own: IpAddress | None
    sender_ids: tuple[int, ...]
    key_path: tuple[WrapKey, ...]


def read_registration(
    payloads: Sequence[Payload], gsk_w: SecretBytes, key_wrap: KeyWrap, join: GroupJoin
) -> Grant:
    """GSA, KD and N of a registration's response. ``gsk_w`` and ``key_wrap`` are the IKE SA's."""
    content = take_apart(payloads)
    if content is None:
        raise refused("no group policy")
    multicast = content.rekey is not None
    policies = _data_policies(content, join, multicast_rekey=multicast)
    rekey = authentication = None
    key_path: tuple[WrapKey, ...] = ()
    if content.rekey is not None:
        policy = read_rekey_policy(content.rekey, join, registration=True)
        authentication = _authentication(policy, content.auth_keys)
        # RFC 9838 4.5.2.1: exactly one SA_KEY here. 4.5.3.1 ties the wrap keys to the IKE SA's algorithm,
        # 4.5.4 what they will unwrap to the Rekey SA's: with a key tree the two have to be one.
        if content.wrap_keys and policy.key_wrap != key_wrap:
            raise refused("a key tree with two key wrap algorithms")
        opened = _rekey_key(content, policy, gsk_w, (), several=False)
        if opened is None:
            raise refused("no key path leads to the Rekey SA")
        rekey, key_path = _rekey_grant(policy, opened.key), opened.working
    elif content.auth_keys or content.wrap_keys:
        raise refused("keys for multicast rekeys without a Rekey SA")  # RFC 9838 table 10
    bits, sender_ids = _sender_ids(content, policies, join)
    return Grant(
        _data_grants(content, policies, gsk_w),
        rekey,
        authentication,
        _delays(content) or Delays(),
        bits,
        sender_ids,
        key_path,
    )


def read_rekey(payloads: Sequence[Payload], known: Known, join: GroupJoin) -> Update:
    """The inner payloads of an authentic GSA_REKEY message."""
    assert known.authentication is not None
    deletion = read_deletion(payloads)
    content = take_apart(payloads)
    if content is None:
        return Update(deletion=deletion, key_path=known.key_path)
    # RFC 9838 table 9: GM_SENDER_ID and GWP_SENDER_ID_BITS never in a rekey, AUTH_KEY only with signatures.
    _no_sender_ids(content)
    signed = known.authentication.method is RekeyAuth.SIGNATURE
    auth_key = b""
    if content.auth_keys:
        if not signed:
            raise refused("a signature key under implicit authentication")
        auth_key = _public_key(content.auth_keys, known.authentication.algorithm)
    policies = _data_policies(content, join, multicast_rekey=True)
    _check_update(content, policies, known, join)
    rekey, key_path, unreachable = None, known.key_path, False
    if content.rekey is not None:
        policy = _unchanged(read_rekey_policy(content.rekey, join, registration=False), known)
        opened = _rekey_key(content, policy, known.gsk_w, known.key_path, several=True)
        if opened is None:
            unreachable = True
        else:
            rekey, key_path = _rekey_grant(policy, opened.key), opened.working
    return Update(
        _data_grants(content, policies, known.gsk_w),
        rekey,
        unreachable,
        auth_key,
        _delays(content),
        deletion,
        key_path,
    )


def read_inband(payloads: Sequence[Payload], known: Known, join: GroupJoin) -> Update:
    """The payloads of a GSA_INBAND_REKEY request; ``known`` has GSK_w of the IKE SA."""
    deletion = read_deletion(payloads)
    content = take_apart(payloads)
    if content is None:
        return Update(deletion=deletion, key_path=known.key_path)
    _no_sender_ids(content)
    if content.auth_keys or content.wrap_keys:
        raise refused("a member key bag in an inband rekey")  # RFC 9838 table 10
    policies = _data_policies(content, join, multicast_rekey=False)
    _check_update(content, policies, known, join)
    rekey = None
    if content.rekey is not None:
        if known.authentication is None:
            raise refused("a Rekey SA inband, with no authentication method known")
        policy = _unchanged(read_rekey_policy(content.rekey, join, registration=False), known)
        opened = _rekey_key(content, policy, known.gsk_w, (), several=False)
        if opened is None:
            raise refused("no key for the Rekey SA")
        rekey = _rekey_grant(policy, opened.key)
    grants = _data_grants(content, policies, known.gsk_w)
    return Update(grants, rekey, delays=_delays(content), deletion=deletion, key_path=known.key_path)


def read_deletion(payloads: Sequence[Payload]) -> Deletion:
    """What the Delete payloads end (RFC 9838 2.4.3, 4.6). A zero SPI, or none, is all of the protocol."""
    data: list[int] = []
    rekey: list[bytes] = []
    all_data = excluded = closed = False
    for delete in each(payloads, PayloadType.DELETE):
        whole = not delete.spis or any(not any(spi) for spi in delete.spis)
        if delete.protocol == ProtocolId.NONE:
            closed = True
        elif delete.protocol in (ProtocolId.ESP, ProtocolId.AH):
            all_data = all_data or whole
            if delete.protocol == ProtocolId.ESP:
                data += [int.from_bytes(spi, "big") for spi in delete.spis if any(spi)]
        elif delete.protocol == ProtocolId.GIKE_UPDATE:
            excluded = excluded or whole
            rekey += [spi for spi in delete.spis if any(spi)]
        else:
            raise PeerError(NotifyType.INVALID_SYNTAX, f"a Delete of protocol {delete.protocol} in a rekey")
    return Deletion(tuple(data), all_data, tuple(rekey), excluded, closed)


def _data_policies(content: Content, join: GroupJoin, *, multicast_rekey: bool) -> list[DataPolicy]:
    policies = [read_data_policy(p, join, multicast_rekey=multicast_rekey) for p in content.data]
    for policy in policies:
        # RFC 6054 needs Sender-IDs in the IV, and Linux chooses IVs by itself: a counter mode SA that this
        # member shares with other senders cannot be used safely (ADR 3).
        if join.sends and policy.cipher.aead and (policy.shared or policy.source is None):
            raise refused(f"{policy.cipher.name} on an SA that senders share")
    return policies


def _check_update(content: Content, policies: list[DataPolicy], known: Known, join: GroupJoin) -> None:
    if policies and known.mode is not None and content.mode is not known.mode:
        raise refused("a rekey changes the mode")
    for policy in policies:
        # RFC 9838 2.4.1.4: without a Sender-ID it must not be installed, and the member must register again.
        mine = join.sends and policy.source is not None and policy.source == known.own
        if mine and policy.cipher.aead and not known.sender_ids:
            raise refused("a counter mode SA to send on, and no Sender-ID")


def _unchanged(policy: RekeyPolicy, known: Known) -> RekeyPolicy:
    # What a key path was wrapped under would not unwrap under another algorithm (RFC 9838 4.5.3.1).
    if known.key_wrap is not None and policy.key_wrap != known.key_wrap:
        raise refused("a rekey changes the key wrap algorithm")
    return policy


def _data_grants(content: Content, policies: list[DataPolicy], gsk_w: SecretBytes) -> tuple[DataGrant, ...]:
    grants = []
    for policy in policies:
        wrapped = _sa_keys(content, ProtocolId.ESP, policy.spi.to_bytes(4, "big"))
        # RFC 9838 3.3: exactly one, directly under the default key.
        if len(wrapped) != 1 or wrapped[0].key_id or wrapped[0].kwk_id:
            raise refused("the key of a data SA is not wrapped under the default key once")
        try:
            key = unwrap(gsk_w, wrapped[0].data)
        except CryptoError as error:
            raise PeerError(NotifyType.INVALID_SYNTAX, str(error)) from None
        if len(key) != data_octets(policy.cipher, policy.integrity):
            raise refused(f"a data SA key of {len(key)} octets")  # RFC 9838 4.5.2.1
        grants.append(
            DataGrant(
                policy.spi,
                policy.source,
                policy.destination,
                policy.protocol,
                policy.port,
                content.mode,
                policy.cipher,
                policy.integrity,
                policy.shared,
                key,
                policy.lifetime,
            )
        )
    return tuple(grants)


def _rekey_key(
    content: Content,
    policy: RekeyPolicy,
    gsk_w: SecretBytes,
    working: tuple[WrapKey, ...],
    *,
    several: bool,
) -> Opened | None:
    wrapped = _sa_keys(content, ProtocolId.GIKE_UPDATE, policy.spi)
    if len(wrapped) != 1 and not several:
        raise refused("several keys for the Rekey SA")
    try:
        opened = open_sa_key(wrapped, content.wrap_keys, gsk_w, working)
    except CryptoError as error:
        raise PeerError(NotifyType.INVALID_SYNTAX, str(error)) from None
    if opened is not None and len(opened.key) != rekey_octets(
        policy.cipher, policy.integrity, policy.key_wrap
    ):
        raise refused(f"a Rekey SA key of {len(opened.key)} octets")
    return opened


def _sa_keys(content: Content, protocol: ProtocolId, spi: bytes) -> list[WrappedKey]:
    return [
        read_wrapped(a.value) for a in content.bags[protocol, spi].attributes if isinstance(a.value, bytes)
    ]


def _rekey_grant(policy: RekeyPolicy, key: SecretBytes) -> RekeyGrant:
    return RekeyGrant(
        policy.spi,
        policy.source,
        policy.address,
        policy.port,
        policy.cipher,
        policy.integrity,
        policy.key_wrap,
        key,
        policy.lifetime,
        policy.first_message_id,
    )


def _authentication(policy: RekeyPolicy, auth_keys: tuple[bytes, ...]) -> RekeyAuthentication:
    assert policy.method is not None
    # RFC 9838 table 9 note 4: there with signatures, absent with implicit authentication.
    if policy.method is RekeyAuth.SIGNATURE:
        public_key = _public_key(auth_keys, policy.algorithm)
        return RekeyAuthentication(policy.method, policy.algorithm, public_key)
    if auth_keys:
        raise refused("a signature key under implicit authentication")
    return RekeyAuthentication(policy.method)


def _public_key(auth_keys: tuple[bytes, ...], algorithm: bytes) -> bytes:
    if len(auth_keys) != 1:
        raise refused(f"{len(auth_keys)} signature keys")
    try:
        # RFC 9838 4.5.3.2 wants the two identifiers to match; for most algorithms they cannot be equal octet
        # by octet, so what is asked is that the key can make such signatures (ADR 8).
        check_public_key(auth_keys[0], algorithm)
    except CryptoError as error:
        raise refused(str(error)) from None
    return auth_keys[0]


def _sender_ids(
    content: Content, policies: list[DataPolicy], join: GroupJoin
) -> tuple[int | None, tuple[int, ...]]:
    attributes = content.wide.attributes if content.wide else []
    bits, sender_ids = number(attributes, GroupWideAttribute.GWP_SENDER_ID_BITS), content.sender_ids
    # RFC 9838 table 9 note 1: both with a counter mode cipher and GROUP_SENDER, neither without.
    if not join.sends and (bits is not None or sender_ids):
        raise refused("Sender-IDs for a member that does not send")
    if join.sends and any(policy.cipher.aead for policy in policies):
        if bits is None or not sender_ids:
            raise refused("a counter mode cipher, and no Sender-IDs for this sender")
    elif policies and (bits is not None or sender_ids):
        raise refused("Sender-IDs without a counter mode cipher")
    if len(sender_ids) > max(1, join.sender_ids) or len(set(sender_ids)) != len(sender_ids):
        raise refused("more Sender-IDs than asked for, or one of them twice")  # RFC 9838 4.5.3.3
    if sender_ids and any(sender_id.bit_length() > (bits or 0) for sender_id in sender_ids):
        raise refused("a Sender-ID does not fit its bits")  # RFC 9838 2.5.2: fatal
    return bits, sender_ids


def _no_sender_ids(content: Content) -> None:
    bits = number(content.wide.attributes, GroupWideAttribute.GWP_SENDER_ID_BITS) if content.wide else None
    if content.sender_ids or bits is not None:
        raise refused("Sender-IDs in a rekey")


def _delays(content: Content) -> Delays | None:
    """None without group-wide policy; an attribute that is not there means no delay (RFC 9838 4.4.3.1.1)."""
    if content.wide is None:
        return None
    attributes = content.wide.attributes
    return Delays(
        number(attributes, GroupWideAttribute.GWP_ATD) or 0,
        number(attributes, GroupWideAttribute.GWP_DTD) or 0,
    )
