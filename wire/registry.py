"""The numbers of the wire, with the names that the documents give them.

Sources: RFC 7296 section 3, RFC 7383, 7427, 7670, 8247, 8420, 9242, 9370, 9827 and RFC 9838 section 9.
Limits that are ours and not the standard's stand beside the definitions that they bound.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

FLAG_INITIATOR: Final = 0x08
FLAG_VERSION: Final = 0x10
FLAG_RESPONSE: Final = 0x20

VERSION_ISAKMP_1: Final = 0x10  # RFC 2408, 2409, 6407
VERSION_IKE_2: Final = 0x20

INTEG_NONE: Final = 0  # the transform id of "no integrity algorithm", beside an AEAD cipher (RFC 7296 3.3.2)


class ExchangeType(IntEnum):
    """Header field Exchange Type (RFC 7296 3.1, RFC 9838 table 17)."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    IKE_SESSION_RESUME = 38
    GSA_AUTH = 39
    GSA_REGISTRATION = 40
    GSA_REKEY = 41
    GSA_INBAND_REKEY = 42
    IKE_INTERMEDIATE = 43
    IKE_FOLLOWUP_KE = 44


class PayloadType(IntEnum):
    """Next Payload values (RFC 7296 3.2, RFC 7383, RFC 9838 table 18). SA is also SAg (RFC 9838 4.3)."""

    NONE = 0
    SA = 33
    KE = 34
    ID_I = 35
    ID_R = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR = 43
    TS_I = 44
    TS_R = 45
    SK = 46
    CP = 47
    EAP = 48
    ID_G = 50
    GSA = 51
    KD = 52
    SKF = 53


class ProtocolId(IntEnum):
    """Security Protocol Identifiers; NONE marks group-wide policy and member key bags (RFC 9838 table 25)."""

    NONE = 0
    IKE = 1
    AH = 2
    ESP = 3
    GIKE_UPDATE = 6


# RFC 7296 3.3.1 and 3.11, RFC 9838 4.4.2.
SPI_OCTETS: Final[dict[int, int]] = {
    ProtocolId.IKE: 8,
    ProtocolId.AH: 4,
    ProtocolId.ESP: 4,
    ProtocolId.GIKE_UPDATE: 16,
}


class TransformType(IntEnum):
    """Transform types (RFC 7296 3.3.2, RFC 9370, RFC 9827, RFC 9838 table 20)."""

    ENCR = 1
    PRF = 2
    INTEG = 3
    KE = 4
    SN = 5
    ADDKE1 = 6
    ADDKE2 = 7
    ADDKE3 = 8
    ADDKE4 = 9
    ADDKE5 = 10
    ADDKE6 = 11
    ADDKE7 = 12
    KWA = 13
    GCAUTH = 14


class AttributeType(IntEnum):
    """Transform attributes (RFC 7296 3.3.5, RFC 9838 table 21)."""

    KEY_LENGTH = 14
    SIGNATURE_ALGORITHM = 18


class GroupSaAttribute(IntEnum):
    """Group SA attributes (RFC 9838 table 5)."""

    GSA_KEY_LIFETIME = 1
    GSA_INITIAL_MESSAGE_ID = 2
    GSA_NEXT_SPI = 3


class GroupWideAttribute(IntEnum):
    """Group-wide policy attributes (RFC 9838 table 6)."""

    GWP_ATD = 1
    GWP_DTD = 2
    GWP_SENDER_ID_BITS = 3


class GroupKeyAttribute(IntEnum):
    """Group key bag attributes (RFC 9838 table 7)."""

    SA_KEY = 1


class MemberKeyAttribute(IntEnum):
    """Member key bag attributes (RFC 9838 table 8)."""

    WRAP_KEY = 1
    AUTH_KEY = 2
    GM_SENDER_ID = 3


class AuthMethod(IntEnum):
    """AUTH payload methods (RFC 7296 3.8, RFC 4754, RFC 7619, RFC 7427)."""

    RSA_SIGNATURE = 1
    SHARED_KEY = 2
    DSS_SIGNATURE = 3
    ECDSA_256 = 9
    ECDSA_384 = 10
    ECDSA_521 = 11
    NULL = 13
    DIGITAL_SIGNATURE = 14


class HashAlgorithm(IntEnum):
    """Hash algorithms of SIGNATURE_HASH_ALGORITHMS (RFC 7427 7, RFC 8420)."""

    SHA1 = 1
    SHA2_256 = 2
    SHA2_384 = 3
    SHA2_512 = 4
    IDENTITY = 5


class IdType(IntEnum):
    """Identification types (RFC 7296 3.5, RFC 7619)."""

    IPV4_ADDR = 1
    FQDN = 2
    RFC822_ADDR = 3
    IPV6_ADDR = 5
    DER_ASN1_DN = 9
    DER_ASN1_GN = 10
    KEY_ID = 11
    NULL = 13


class TsType(IntEnum):
    """Traffic selector types (RFC 7296 3.13.1)."""

    IPV4_ADDR_RANGE = 7
    IPV6_ADDR_RANGE = 8


class CertEncoding(IntEnum):
    """Certificate encodings (RFC 7296 3.6, RFC 7670)."""

    X509_SIGNATURE = 4
    CRL = 7
    HASH_AND_URL_X509 = 12
    HASH_AND_URL_BUNDLE = 13
    RAW_PUBLIC_KEY = 15


class NotifyType(IntEnum):
    """Notify message types. Below 16384 they are errors (RFC 7296 3.10.1, RFC 9838 4.7)."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    INTERNAL_ADDRESS_FAILURE = 36
    FAILED_CP_REQUIRED = 37
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44
    INVALID_GROUP_ID = 45
    AUTHORIZATION_FAILED = 46
    STATE_NOT_FOUND = 47
    REGISTRATION_FAILED = 49
    INITIAL_CONTACT = 16384
    SET_WINDOW_SIZE = 16385
    ADDITIONAL_TS_POSSIBLE = 16386
    IPCOMP_SUPPORTED = 16387
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    HTTP_CERT_LOOKUP_SUPPORTED = 16392
    REKEY_SA = 16393
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394
    NON_FIRST_FRAGMENTS_ALSO = 16395
    REDIRECT_SUPPORTED = 16406
    REDIRECT = 16407
    REDIRECTED_FROM = 16408
    EAP_ONLY_AUTHENTICATION = 16417
    CHILDLESS_IKEV2_SUPPORTED = 16418
    QUICK_CRASH_DETECTION = 16419
    GROUP_SENDER = 16429
    IKEV2_FRAGMENTATION_SUPPORTED = 16430
    SIGNATURE_HASH_ALGORITHMS = 16431
    USE_PPK = 16435
    PPK_IDENTITY = 16436
    NO_PPK_AUTH = 16437
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438
    ADDITIONAL_KEY_EXCHANGE = 16441
    SUPPORTED_AUTH_METHODS = 16443
    # Ours, of the range for private use: 40960 to 65535 (RFC 7296 3.10.1). wire/private.py, docs/protocol.md.
    GKMD_EVIDENCE = 46848
    GKMD_REASON = 46849


FIRST_STATUS_NOTIFY: Final = 16384
