"""One message of every kind that gkmd speaks, as records and as octets."""

from __future__ import annotations

from dataclasses import dataclass

from wire.attributes import Attribute
from wire.eap import EapCode, EapType, build_eap
from wire.gikev2 import (
    GroupKeyBag,
    GroupSaPolicy,
    GroupWidePolicy,
    Gsa,
    Kd,
    MemberKeyBag,
    build_wrapped_key,
)
from wire.ikev2 import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Eap,
    Encrypted,
    EncryptedFragment,
    Id,
    Ke,
    Nonce,
    Notify,
    Proposal,
    Sa,
    TrafficSelector,
    Transform,
    Ts,
    Unknown,
    Vendor,
)
from wire.message import Payload, build_chain, build_message
from wire.private import EvidenceItem, Item, ReasonItem, build_private
from wire.registry import (
    FLAG_INITIATOR,
    FLAG_RESPONSE,
    AttributeType,
    ExchangeType,
    GroupKeyAttribute,
    GroupSaAttribute,
    GroupWideAttribute,
    IdType,
    MemberKeyAttribute,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
)

SPI_I = bytes.fromhex("0123456789abcdef")
SPI_R = bytes.fromhex("fedcba9876543210")
REKEY_SPI = SPI_R + SPI_I
ED25519 = bytes.fromhex("300506032b6570")  # RFC 8420 appendix A.1


def attribute(kind: int, value: int | bytes) -> Attribute:
    return Attribute(int(kind), value)


def transform(kind: int, number: int, key_bits: int | None = None) -> Transform:
    return Transform(int(kind), number, [Attribute(14, key_bits)] if key_bits else [])


def ipv4(start: str, end: str, port: tuple[int, int] = (0, 65535), protocol: int = 17) -> TrafficSelector:
    pack = lambda text: bytes(int(part) for part in text.split("."))  # noqa: E731
    return TrafficSelector(7, protocol, *port, pack(start), pack(end))


def ipv6(end: bytes) -> TrafficSelector:
    return TrafficSelector(8, 0, 0, 65535, end, end)


def suite(protocol: int = 1, spi: bytes = b"") -> Sa:
    return Sa(
        [
            Proposal(
                1,
                protocol,
                spi,
                [
                    transform(TransformType.ENCR, 20, 256),
                    transform(TransformType.PRF, 5),
                    transform(TransformType.KE, 31),
                    transform(TransformType.KWA, 3),
                ],
            ),
            Proposal(
                2, protocol, spi, [transform(TransformType.ENCR, 28), transform(TransformType.INTEG, 12)]
            ),
        ]
    )


def gsa(rekey: bool = True, data: bool = True) -> Gsa:
    tek = GroupSaPolicy(
        int(ProtocolId.ESP),
        b"\x10\x20\x30\x40",
        ipv4("192.0.2.1", "192.0.2.1"),
        ipv4("233.252.0.1", "233.252.0.1", (5000, 5000)),
        [transform(TransformType.ENCR, 20, 256), transform(TransformType.SN, 0)],
        [
            attribute(GroupSaAttribute.GSA_KEY_LIFETIME, b"\0\0\x0e\x10"),
            attribute(GroupSaAttribute.GSA_NEXT_SPI, b"\x10\x20\x30\x41"),
        ],
    )
    wide = GroupWidePolicy(
        [attribute(GroupWideAttribute.GWP_ATD, 2), attribute(GroupWideAttribute.GWP_DTD, 4)]
    )
    if not rekey:
        return Gsa([tek, wide])
    kek = GroupSaPolicy(
        int(ProtocolId.GIKE_UPDATE),
        REKEY_SPI,
        ipv4("192.0.2.1", "192.0.2.1", (848, 848)),
        ipv4("233.252.0.9", "233.252.0.9", (848, 848)),
        [
            transform(TransformType.ENCR, 20, 256),
            Transform(
                int(TransformType.GCAUTH), 2, [Attribute(int(AttributeType.SIGNATURE_ALGORITHM), ED25519)]
            ),
            transform(TransformType.KWA, 3),
        ],
        [
            attribute(GroupSaAttribute.GSA_KEY_LIFETIME, b"\0\0\x1c\x20"),
            attribute(GroupSaAttribute.GSA_INITIAL_MESSAGE_ID, b"\0\0\0\x07"),
        ],
    )
    return Gsa([kek, tek, wide] if data else [kek, wide])


def kd(rekey: bool = True, member: bool = True) -> Kd:
    bags: list[GroupKeyBag | MemberKeyBag] = [
        GroupKeyBag(
            int(ProtocolId.ESP),
            b"\x10\x20\x30\x40",
            [attribute(GroupKeyAttribute.SA_KEY, build_wrapped_key(0, 0, bytes(16)))],
        )
    ]
    if rekey:
        keys = [build_wrapped_key(0, 7, b"k" * 8), build_wrapped_key(0, 9, b"l" * 8)]
        bags.insert(0, GroupKeyBag(6, REKEY_SPI, [attribute(GroupKeyAttribute.SA_KEY, key) for key in keys]))
    if member:
        bags.append(
            MemberKeyBag(
                [
                    attribute(MemberKeyAttribute.WRAP_KEY, build_wrapped_key(7, 3, b"w" * 8)),
                    attribute(MemberKeyAttribute.AUTH_KEY, b"\x30\x2a" + bytes(10)),
                    attribute(MemberKeyAttribute.GM_SENDER_ID, b"\0\0\0\x01"),
                ]
            )
        )
    return Kd(bags)


def note(kind: int, data: bytes = b"", protocol: int = 0, spi: bytes = b"") -> Payload:
    return Payload(int(PayloadType.NOTIFY), Notify(protocol, spi, int(kind), data))


def load(kind: PayloadType, body: object) -> Payload:
    return Payload(int(kind), body)  # type: ignore[arg-type]


P = PayloadType
N = NotifyType
_AUTH = load(P.AUTH, Auth(14, b"\x07" + ED25519 + bytes(range(64))))
_ID_I = load(P.ID_I, Id(int(IdType.FQDN), b"rx1.example"))
_ID_R = load(P.ID_R, Id(int(IdType.IPV6_ADDR), bytes(15) + b"\x01"))
_ID_G = load(P.ID_G, Id(int(IdType.KEY_ID), b"channel-1"))
_CERT = load(P.CERT, Cert(4, b"\x30\x82\x01\x00" + bytes(20)))
_CERTREQ = load(P.CERTREQ, CertReq(4, bytes(range(40))))
_TS_I = load(P.TS_I, Ts([ipv4("198.51.100.0", "198.51.100.255"), ipv6(bytes(16))]))
_TS_R = load(P.TS_R, Ts([ipv4("203.0.113.9", "203.0.113.9", (53, 53))]))
_KE = load(P.KE, Ke(31, bytes(range(32))))
_NONCE = load(P.NONCE, Nonce(bytes(range(100, 132))))

# What stands in clear: (exchange, flags, responder's SPI, payloads).
CLEAR: dict[str, tuple[int, int, bytes, list[Payload]]] = {
    "init-request": (
        ExchangeType.IKE_SA_INIT,
        FLAG_INITIATOR,
        bytes(8),
        [
            load(P.SA, suite()),
            _KE,
            _NONCE,
            note(N.NAT_DETECTION_SOURCE_IP, bytes(range(20))),
            note(N.SIGNATURE_HASH_ALGORITHMS, b"\0\2\0\5"),
            load(P.VENDOR, Vendor(b"gkmd")),
        ],
    ),
    "init-response": (
        ExchangeType.IKE_SA_INIT,
        FLAG_RESPONSE,
        SPI_R,
        [load(P.SA, Sa(suite().proposals[:1])), _KE, _NONCE, _CERTREQ, note(N.IKEV2_FRAGMENTATION_SUPPORTED)],
    ),
    "init-cookie": (
        ExchangeType.IKE_SA_INIT,
        FLAG_RESPONSE,
        bytes(8),
        [note(N.COOKIE, bytes(range(24)))],
    ),
    "init-invalid-ke": (
        ExchangeType.IKE_SA_INIT,
        FLAG_RESPONSE,
        bytes(8),
        [note(N.INVALID_KE_PAYLOAD, b"\0\x13")],
    ),
    "sealed": (
        ExchangeType.GSA_AUTH,
        FLAG_INITIATOR,
        SPI_R,
        [load(P.SK, Encrypted(35, bytes(range(60))))],
    ),
    "sealed-fragment": (
        ExchangeType.GSA_AUTH,
        FLAG_INITIATOR,
        SPI_R,
        [load(P.SKF, EncryptedFragment(35, 1, 3, bytes(range(60))))],
    ),
    "rekey": (
        ExchangeType.GSA_REKEY,
        FLAG_INITIATOR,
        SPI_R,
        [load(P.SK, Encrypted(51, bytes(range(60))))],
    ),
}

# What stands inside SK: (exchange, response, payloads in the order of the rules).
INNER: dict[str, tuple[int, bool, list[Payload]]] = {
    "auth-request": (
        ExchangeType.GSA_AUTH,
        False,
        [
            _ID_I,
            _CERT,
            _CERT,
            _CERTREQ,
            _ID_R,
            _AUTH,
            _ID_G,
            load(P.SA, suite(6)),
            note(N.GROUP_SENDER, b"\0\0\0\1"),
            note(N.INITIAL_CONTACT),
        ],
    ),
    "auth-response": (
        ExchangeType.GSA_AUTH,
        True,
        [_ID_R, _CERT, _AUTH, load(P.GSA, gsa(data=False)), load(P.KD, kd()), note(N.USE_TRANSPORT_MODE)],
    ),
    "auth-refusal": (ExchangeType.GSA_AUTH, True, [_ID_R, _AUTH, note(N.AUTHORIZATION_FAILED)]),
    "auth-failure": (ExchangeType.GSA_AUTH, True, [note(N.AUTHENTICATION_FAILED)]),
    "eap-begin": (
        ExchangeType.GSA_AUTH,
        False,
        [_ID_I, _CERTREQ, _ID_R, _ID_G, load(P.SA, suite(6)), note(N.INITIAL_CONTACT)],
    ),
    "eap-prompt": (
        ExchangeType.GSA_AUTH,
        True,
        [_ID_R, _CERT, _AUTH, load(P.EAP, Eap(build_eap(EapCode.REQUEST, 1, EapType.GTC, b"Password")))],
    ),
    "eap-password": (
        ExchangeType.GSA_AUTH,
        False,
        [load(P.EAP, Eap(build_eap(EapCode.RESPONSE, 1, EapType.GTC, b"correct horse")))],
    ),
    "eap-success": (ExchangeType.GSA_AUTH, True, [load(P.EAP, Eap(build_eap(EapCode.SUCCESS, 1)))]),
    "eap-failure": (
        ExchangeType.GSA_AUTH,
        True,
        [
            load(P.EAP, Eap(build_eap(EapCode.FAILURE, 1))),
            note(N.AUTHENTICATION_FAILED),
            note(N.GKMD_REASON, build_private([Item(ReasonItem.CODE, b"wrong-password")])),
        ],
    ),
    "eap-end": (
        ExchangeType.GSA_AUTH,
        False,
        [
            _AUTH,
            note(N.GKMD_EVIDENCE, build_private([Item(EvidenceItem.VOUCHER, b"7K2M-4QWX-99ZT-A0BC")])),
        ],
    ),
    "eap-admitted": (
        ExchangeType.GSA_AUTH,
        True,
        [_AUTH, load(P.GSA, gsa(data=False)), load(P.KD, kd()), note(N.USE_TRANSPORT_MODE)],
    ),
    "eap-refused": (ExchangeType.GSA_AUTH, True, [_AUTH, note(N.AUTHORIZATION_FAILED)]),
    "registration-request": (ExchangeType.GSA_REGISTRATION, False, [_ID_G, load(P.SA, suite(3))]),
    "registration-response": (
        ExchangeType.GSA_REGISTRATION,
        True,
        [load(P.GSA, gsa(rekey=False)), load(P.KD, kd(rekey=False, member=False))],
    ),
    "registration-error": (ExchangeType.GSA_REGISTRATION, True, [note(N.INVALID_GROUP_ID)]),
    "registration-leave": (ExchangeType.GSA_REGISTRATION, False, [_ID_G, note(N.REGISTRATION_FAILED)]),
    "empty-response": (ExchangeType.GSA_REGISTRATION, True, []),
    "rekey": (
        ExchangeType.GSA_REKEY,
        False,
        [
            load(P.GSA, gsa(data=False)),
            load(P.KD, kd(member=False)),
            note(N.USE_TRANSPORT_MODE),
            load(P.DELETE, Delete(3, 4, [b"\x01\x02\x03\x04", b"\x01\x02\x03\x05"])),
            _AUTH,
        ],
    ),
    "rekey-delete": (
        ExchangeType.GSA_REKEY,
        False,
        [load(P.DELETE, Delete(3, 4, [bytes(4)])), load(P.DELETE, Delete(6, 16, [bytes(16)])), _AUTH],
    ),
    "inband-request": (
        ExchangeType.GSA_INBAND_REKEY,
        False,
        [
            load(P.GSA, gsa(rekey=False)),
            load(P.KD, kd(rekey=False, member=False)),
            note(N.USE_TRANSPORT_MODE),
        ],
    ),
    "inband-delete": (ExchangeType.GSA_INBAND_REKEY, False, [load(P.DELETE, Delete(0, 0, []))]),
    "inband-response": (ExchangeType.GSA_INBAND_REKEY, True, []),
    "child-request": (
        ExchangeType.CREATE_CHILD_SA,
        False,
        [
            note(N.REKEY_SA, protocol=3, spi=b"\x00\x00\x01\x00"),
            load(P.SA, suite(3, b"\x00\x00\x01\x01")),
            _NONCE,
            _TS_I,
            _TS_R,
        ],
    ),
    "child-ike-rekey": (
        ExchangeType.CREATE_CHILD_SA,
        False,
        [load(P.SA, suite(1, SPI_I)), _NONCE, _KE],
    ),
    "child-error": (ExchangeType.CREATE_CHILD_SA, True, [note(N.NO_ADDITIONAL_SAS)]),
    "informational-delete": (ExchangeType.INFORMATIONAL, False, [load(P.DELETE, Delete(1, 0, []))]),
    "liveness": (ExchangeType.INFORMATIONAL, False, []),
    "ike-auth-eap": (
        ExchangeType.IKE_AUTH,
        False,
        [load(P.EAP, Eap(b"\x02\x01\x00\x05\x01")), load(P.VENDOR, Vendor(b""))],
    ),
    "unknown-payload": (
        ExchangeType.INFORMATIONAL,
        False,
        [note(N.SET_WINDOW_SIZE, b"\0\0\0\4"), Payload(200, Unknown(b"private"))],
    ),
}


def clear_octets(name: str) -> bytes:
    exchange, flags, spi_r, payloads = CLEAR[name]
    return build_message(SPI_I, spi_r, exchange, flags, 0, payloads)


@dataclass(frozen=True)
class Inner:
    exchange: int
    response: bool
    first: int
    octets: bytes


def inner_octets(name: str) -> Inner:
    exchange, response, payloads = INNER[name]
    first, octets = build_chain(payloads, exchange, response)
    return Inner(exchange, response, first, octets)
