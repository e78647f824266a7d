"""Proving who we are and checking who the peer is: the AUTH payload of GSA_AUTH.

Pre-shared keys (RFC 7296 2.15), and digital signatures (RFC 7427) by a key that a certificate (X.509, RFC
4945) or our configuration (a pinned raw public key, RFC 7670) ties to the identity. Other methods are
refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gkmd.core.algorithms import Prf
from gkmd.core.effect import Proof
from gkmd.core.errors import CryptoError, PeerError
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import (
    SIGNATURE_HASHES,
    build_auth_data,
    parse_auth_data_untrusted,
    psk_auth,
    signed_octets,
    verify_psk,
    verify_signature,
)
from gkmd.crypto.certificates import certificate_key
from gkmd.crypto.raw_keys import check_pinned
from gkmd.group.doorkeeper import Doorkeeper
from gkmd.ike import grounds
from gkmd.ike.credentials import Credentials
from gkmd.ike.grounds import Believed
from wire.ikev2 import Auth, Cert, CertReq, Id, Notify
from wire.message import Payload, each, first
from wire.registry import AuthMethod, CertEncoding, NotifyType, PayloadType

_FOLDED: Final = (IdentityKind.FQDN, IdentityKind.RFC822)
_MOST_IDENTITY_OCTETS: Final = 1024  # ours: who has not proved anything yet is named in our log

HASHES_NOTIFY: Final = Payload(
    PayloadType.NOTIFY,
    # RFC 7427 4: the hash functions that we verify, two octets each.
    Notify(
        0,
        b"",
        NotifyType.SIGNATURE_HASH_ALGORITHMS,
        b"".join(number.to_bytes(2, "big") for number in SIGNATURE_HASHES),
    ),
)


def canonical(identity: Identity) -> Identity:
    """The same identity in the one form that we keep it in: names compare without case (RFC 4343, RFC 4945
    3.1.2).
    """
    if identity.kind in _FOLDED and not identity.data.islower():
        return Identity(identity.kind, identity.data.lower())
    return identity


def identity_of(payload: Id) -> Identity:
    """The identity in an ID payload. PeerError(AUTHENTICATION_FAILED) when it is too long to be one."""
    if len(payload.data) > _MOST_IDENTITY_OCTETS:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, f"an identity of {len(payload.data)} octets")
    return canonical(Identity(payload.type, payload.data))


def id_body(payload: Id) -> bytes:
    """An ID payload without its generic header, as AUTH covers it. RESERVED is what we send: zero."""
    return bytes((payload.type, 0, 0, 0)) + payload.data


@dataclass(frozen=True, slots=True)
class Covered:
    """What one side's AUTH covers: its IKE_SA_INIT message, the other's nonce, and its SK_p (RFC 7296
    2.15).
    """

    message: bytes
    nonce: bytes
    prf: Prf
    sk_p: SecretBytes

    def octets(self, payload: Id) -> bytes:
        return signed_octets(self.message, self.nonce, self.prf, self.sk_p, id_body(payload))


class Authenticator:
    """Credentials made ready: what we send about ourselves is built once.

    A pre-shared key of the configuration goes before a ticket's.
    """

    __slots__ = (
        "_certs",
        "_credentials",
        "_doorkeeper",
        "_pinned",
        "_secrets",
        "certificate_requests",
        "id_payload",
    )

    def __init__(self, credentials: Credentials, doorkeeper: Doorkeeper | None = None) -> None:
        """``doorkeeper``: a key server's, who knows the secrets of tickets."""
        self._credentials: Final = credentials
        self._doorkeeper: Final = doorkeeper
        self._secrets: Final[Mapping[Identity, SecretBytes]] = {
            canonical(identity): secret for identity, secret in credentials.pre_shared_keys.items()
        }
        self._pinned: Final[Mapping[Identity, tuple[bytes, ...]]] = {
            canonical(identity): keys for identity, keys in credentials.pinned.items()
        }
        self.id_payload: Final = Id(credentials.identity.kind, credentials.identity.data)
        self._certs: Final = tuple(_certs(credentials))
        requests = []
        if credentials.trust_anchors is not None:
            requests.append(CertReq(CertEncoding.X509_SIGNATURE, credentials.trust_anchors.authorities))
        if credentials.pinned:
            # RFC 7670 3: a request for a raw public key names no authority.
            requests.append(CertReq(CertEncoding.RAW_PUBLIC_KEY, b""))
        self.certificate_requests: Final = [Payload(PayloadType.CERTREQ, request) for request in requests]

    def prove(
        self, covered: Covered, peer: Identity, peer_method: int | None, peer_hashes: Collection[int]
    ) -> list[Payload]:
        """Our [CERT...] and AUTH for ``peer``.

        We answer in kind when we can: with the shared key a peer that used it (``peer_method``), otherwise
        with a signature if we have a key. PeerError(AUTHENTICATION_FAILED) when we have nothing that
        ``peer`` could check.
        """
        octets = covered.octets(self.id_payload)
        secret = self._secret_of(peer)[0]
        key = self._credentials.signing_key
        if secret is not None and (key is None or peer_method == AuthMethod.SHARED_KEY):
            data = psk_auth(covered.prf, secret, octets)
            return [Payload(PayloadType.AUTH, Auth(AuthMethod.SHARED_KEY, data))]
        if key is None:
            raise PeerError(
                NotifyType.AUTHENTICATION_FAILED, f"nothing to authenticate ourselves to {peer} with"
            )
        return self.sign(covered, peer_hashes)

    def sign(self, covered: Covered, peer_hashes: Collection[int]) -> list[Payload]:
        """Our [CERT...] and AUTH by a signature. PeerError(AUTHENTICATION_FAILED) when the peer can check
        none.
        """
        key = self._credentials.signing_key
        try:
            if key is None:
                raise CryptoError("no signing key")
            identifier, signature = key.sign(covered.octets(self.id_payload), peer_hashes)
        except CryptoError as error:
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, str(error)) from None
        auth = Auth(AuthMethod.DIGITAL_SIGNATURE, build_auth_data(identifier, signature))
        return [*self._certs, Payload(PayloadType.AUTH, auth)]

    def verify(self, covered: Covered, payload: Id, payloads: list[Payload], now: float) -> Believed:
        """How the peer proved to be the one that its ID payload names.

        PeerError(AUTHENTICATION_FAILED) for every failure: the peer is not told which (RFC 7296 2.21.2).
        """
        identity = identity_of(payload)
        auth = first(payloads, PayloadType.AUTH)
        if not isinstance(auth, Auth):
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, "no AUTH payload")
        try:
            if auth.method == AuthMethod.SHARED_KEY:
                secret, on = self._secret_of(identity)
                if secret is None:
                    raise CryptoError(f"no pre-shared key for {identity}")
                verify_psk(covered.prf, secret, covered.octets(payload), auth.data)
                return Believed(AuthMethod.SHARED_KEY, on)
            if auth.method == AuthMethod.DIGITAL_SIGNATURE:
                on = self._verify_signature(auth.data, covered.octets(payload), identity, payloads, now)
                return Believed(AuthMethod.DIGITAL_SIGNATURE, on)
            raise CryptoError(f"authentication method {auth.method} is not accepted")
        except CryptoError as error:
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, str(error)) from None

    def _secret_of(self, peer: Identity) -> tuple[SecretBytes | None, str]:
        """The key that we share with ``peer``, and what grounds it is."""
        secret = self._secrets.get(peer)
        if secret is None and self._doorkeeper is not None and peer.kind == IdentityKind.KEY_ID:
            return self._doorkeeper.secret_of(peer), grounds.TICKET
        return secret, grounds.SHARED_KEY

    @property
    def password(self) -> SecretBytes | None:
        """Ours, with which we log in instead of an AUTH of our own; None when we do not."""
        return self._credentials.password

    @property
    def signs(self) -> bool:
        """Whether we can prove ourselves by a signature, to anybody."""
        return self._credentials.signing_key is not None

    def prove_after_eap(self, covered: Covered) -> Payload:
        """Our AUTH after an EAP method that gives no key: SK_p stands for the shared secret (RFC 7296
        2.16).
        """
        data = psk_auth(covered.prf, covered.sk_p, covered.octets(self.id_payload))
        return Payload(PayloadType.AUTH, Auth(AuthMethod.SHARED_KEY, data))

    def verify_after_eap(self, covered: Covered, payload: Id, auth: Auth) -> None:
        """The peer's AUTH of that kind; ``payload`` is the ID that it sent. PeerError(AUTHENTICATION_FAILED)
        when it is not.

        It proves that who went through EAP is who set up the keys: nobody else has SK_p.
        """
        try:
            if auth.method != AuthMethod.SHARED_KEY:
                raise CryptoError(f"authentication method {auth.method} after EAP")
            verify_psk(covered.prf, covered.sk_p, covered.octets(payload), auth.data)
        except CryptoError as error:
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, str(error)) from None

    def _verify_signature(
        self, data: bytes, octets: bytes, identity: Identity, payloads: list[Payload], now: float
    ) -> str:
        identifier, signature = parse_auth_data_untrusted(data)
        certs = [body for body in each(payloads, PayloadType.CERT) if isinstance(body, Cert)]
        keys, certified = self._keys_of(identity, certs, now)
        failure = CryptoError(f"no certificate and no pinned key for {identity}")
        for key in keys:
            try:
                verify_signature(key, identifier, signature, octets)
                return grounds.CERTIFICATE if certified else grounds.pinned(key)
            except CryptoError as error:
                failure = error
        raise failure

    def _keys_of(self, identity: Identity, certs: list[Cert], now: float) -> tuple[tuple[bytes, ...], bool]:
        """The public keys that ``identity`` may have signed with, and whether an authority vouches for them
        (else they are pinned); CryptoError when the one it sent is not its own.
        """
        pinned = self._pinned.get(identity, ())
        if not certs:
            return pinned, False
        # RFC 7296 1.2: the first certificate holds the key that verifies AUTH.
        leaf = certs[0]
        if leaf.encoding == CertEncoding.RAW_PUBLIC_KEY:
            check_pinned(leaf.data, pinned)
            return (leaf.data,), False
        if leaf.encoding != CertEncoding.X509_SIGNATURE:
            raise CryptoError(f"certificate encoding {leaf.encoding} is not accepted")
        chain = [cert.data for cert in certs if cert.encoding == CertEncoding.X509_SIGNATURE]
        if pinned:
            key = certificate_key(chain[0])
            if key in pinned:
                return (key,), False
        anchors = self._credentials.trust_anchors
        if anchors is None:
            raise CryptoError("no certificate authority is configured")
        verified = anchors.verify_chain(chain, now)
        verified.require(identity)
        return (verified.spki_der,), True

    def withdrawn(self, peer: Identity, on: str) -> str:
        """Why ``peer``, who was believed on these grounds with earlier credentials, has them no longer; ""
        when it has, or when they are not known.
        """
        if on == grounds.SHARED_KEY and peer not in self._secrets:
            return "its pre-shared key was taken out of the configuration"
        if grounds.is_pinned(on) and on not in map(grounds.pinned, self._pinned.get(peer, ())):
            return "its pinned key was taken out of the configuration"
        if on == grounds.CERTIFICATE and self._credentials.trust_anchors is None:
            return "no certificate authority is configured any more"
        if grounds.proof_of(on) is not Proof.CONFIGURED:
            if self._doorkeeper is None:
                return "the platform that knew it is no longer there"
            return self._doorkeeper.withdrawn(peer, grounds.whose_password(on))
        return ""


def _certs(credentials: Credentials) -> Iterator[Payload]:
    key = credentials.signing_key
    if key is not None and credentials.raw_public_key:
        yield Payload(PayloadType.CERT, Cert(CertEncoding.RAW_PUBLIC_KEY, key.spki_der))
    else:
        for der in credentials.certificate_chain:
            yield Payload(PayloadType.CERT, Cert(CertEncoding.X509_SIGNATURE, der))
