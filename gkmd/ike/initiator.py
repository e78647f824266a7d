"""A member's attempt to set up an IKE SA: IKE_SA_INIT and GSA_AUTH as the initiator (RFC 7296 1.2, 2.6,
2.21).

Until AUTH verifies the peer may be anybody. What it says without protection is a hint: it can make us send
another request (a cookie, another group), and it can never make us give up sooner than silence would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from gkmd.core.algorithms import KEY_EXCHANGE_BY_TRANSFORM, KeyExchange
from gkmd.core.errors import PeerError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.exchange import KeyPair, generate
from gkmd.crypto.keymat import derive_ike
from gkmd.ike import initial
from gkmd.ike.authenticate import Authenticator, Covered, canonical, identity_of
from gkmd.ike.eap_peer import EapPeer, LoginRefused
from gkmd.ike.grounds import Believed
from gkmd.ike.member_settings import Server
from gkmd.ike.notices import error_notify, error_of, name_of_notify
from gkmd.ike.proposal import IkePolicy, IkeSuite, accepted, offer
from gkmd.ike.sa import IkeSa
from gkmd.ike.window import Backoff, Window
from wire.errors import WireError
from wire.header import Header
from wire.ikev2 import Encrypted, Id, Ke, Notify
from wire.message import Message, Payload, each, first, parse_inner
from wire.registry import AuthMethod, ExchangeType, NotifyType, PayloadType

_MOST_COOKIES: Final = 5  # RFC 7296 2.6: forged cookies must not keep us busy for ever
_OF_A_LIVE_SERVER: Final = (PayloadType.ID_R, PayloadType.AUTH, PayloadType.EAP)
_MOST_CANDIDATES: Final = 4  # answers to one IKE_SA_INIT that are followed up


class AttemptFailed(Exception):
    """This attempt leads nowhere; the text says why. ``notice`` tells a server that believes to have an SA
    with us. ``refused``: a server that has proved itself did not take our password.
    """

    def __init__(self, reason: str, notice: bytes = b"", refused: LoginRefused | None = None) -> None:
        super().__init__(reason)
        self.notice = notice
        self.refused = refused


@dataclass(slots=True)
class Login:
    """EAP with a server that has proved itself, by its AUTH over what ``covered`` says."""

    peer: EapPeer
    covered: Covered
    id_r: Id


@dataclass(slots=True)
class Candidate:
    """What somebody answered to IKE_SA_INIT, and our GSA_AUTH to it.

    RFC 7296 2.4: the first answer may be forged, so each is taken as possibly good until one proves itself.
    ``replies`` are the answers that lead to these very keys; what else they say may differ.
    """

    sa: IkeSa
    covered: Covered  # of our AUTH
    peer_public: bytes
    shared: SecretBytes
    nonce: bytes
    replies: list[bytes]
    datagram: bytes
    login: Login | None = None


class Attempt:
    """One attempt with one server. The endpoint sends ``datagrams`` again until an answer proves itself."""

    __slots__ = (
        "_authenticator",
        "_backoff",
        "_candidates",
        "_cookie",
        "_cookies",
        "_nonce",
        "_pair",
        "_policy",
        "_request",
        "_rng",
        "_spi_i",
        "_tried",
        "copies",
        "hint",
        "next_at",
        "server",
    )

    def __init__(
        self,
        server: Server,
        authenticator: Authenticator,
        policy: IkePolicy,
        backoff: Backoff,
        rng: Rng,
        now: float,
    ) -> None:
        self.server: Final = server
        self.hint = "no reply"  # what an unprotected message said, for the log
        self._authenticator: Final = authenticator
        self._policy: Final = policy
        self._backoff: Final = backoff
        self._rng: Final = rng
        self._spi_i = rng(initial.SPI_OCTETS)
        while self._spi_i == initial.NO_SPI:
            self._spi_i = rng(initial.SPI_OCTETS)
        self._nonce: Final = rng(initial.NONCE_OCTETS)
        self._cookie: bytes | None = None
        self._cookies = 0
        self._tried: set[int] = set()
        self._candidates: list[Candidate] = []
        self._pair: KeyPair
        self._use(policy.key_exchanges[0])
        self._request = self._init_request()
        self.copies = 1
        self.next_at = now + backoff.wait(1)

    @property
    def spi_i(self) -> bytes:
        """Our SPI."""
        return self._spi_i

    @property
    def datagrams(self) -> list[bytes]:
        """The requests that wait for an answer."""
        return [candidate.datagram for candidate in self._candidates] or [self._request]

    def _use(self, method: KeyExchange) -> None:
        self._tried.add(method.transform_id)
        self._pair = generate(method, self._rng)

    def _init_request(self) -> bytes:
        ke = Ke(self._pair.alg.transform_id, self._pair.public)
        return initial.build_request(self._spi_i, offer(self._policy), ke, self._nonce, self._cookie, [])

    def _pend(self, now: float) -> None:
        self.copies, self.next_at = 1, now + self._backoff.wait(1)

    def retransmit(self, now: float) -> list[bytes]:
        """The pending requests once more. AttemptFailed when they were sent often enough."""
        if self.copies >= self._backoff.tries:
            raise AttemptFailed(f"{'GSA_AUTH' if self._candidates else 'IKE_SA_INIT'}: {self.hint}")
        self.copies += 1
        self.next_at = now + self._backoff.wait(self.copies)
        return self.datagrams

    # --- IKE_SA_INIT ------------------------------------------------------------------------------

    def receive_init_untrusted(
        self,
        data: bytes,
        message: Message,
        registration: Sequence[Payload],
        now: float,
    ) -> bytes:
        """The request to send next. WireError or CryptoError: the reply is as good as none.

        ``registration`` is the group part of GSA_AUTH.
        """
        header = message.header
        if header.spi_i != self._spi_i or any(one.login for one in self._candidates):
            raise WireError("unexpected-reply", "IKE_SA_INIT")
        refusal = initial.refused_untrusted(message)
        if refusal is not None:
            return self._refused_untrusted(refusal, now)
        answer = initial.read_untrusted(message)
        group = self._pair.alg
        try:
            suite = accepted(self._policy, answer.sa, group.transform_id)
        except PeerError as error:
            raise WireError("proposal", str(error)) from None
        if answer.ke.group != group.transform_id or header.spi_r == initial.NO_SPI:
            raise WireError("unexpected-reply", "another group, or no SPI")
        if len(answer.nonce) * 2 < suite.prf.octets:
            raise WireError("nonce", "shorter than half the key of the prf")  # RFC 7296 2.10
        shared = self._new_secret_untrusted(data, header, answer)
        sa = self._keyed_untrusted(suite, shared, answer, header, now)
        covered = Covered(self._request, answer.nonce, sa.prf, sa.sk_pi)
        request = self._auth_request(covered, answer, registration)
        datagram = sa.request(ExchangeType.GSA_AUTH, request, now)
        self._candidates.append(
            Candidate(sa, covered, answer.ke.data, shared, answer.nonce, [data], datagram)
        )
        self._pend(now)
        return datagram

    def _new_secret_untrusted(self, data: bytes, header: Header, answer: initial.InitMessage) -> SecretBytes:
        """The shared secret. WireError unless it leads to keys of its own: an IV is used once under a key
        (RFC 5282 3.1).
        """
        alike = [one for one in self._candidates if (one.sa.spi_r, one.nonce) == (header.spi_r, answer.nonce)]
        for one in alike:
            if one.peer_public == answer.ke.data:
                self._another_reply_untrusted(one, data)
        if len(self._candidates) >= _MOST_CANDIDATES:
            raise WireError("too-many-answers", "IKE_SA_INIT")
        shared = self._pair.agree(answer.ke.data)
        # Several public values lead to one secret: a masked bit and points of small order on Curve25519, the
        # sign of y on the other curves, the sign of the residue in MODP groups.
        for one in alike:
            if one.shared == shared:
                self._another_reply_untrusted(one, data)
        return shared

    def _another_reply_untrusted(self, one: Candidate, data: bytes) -> NoReturn:
        if data not in one.replies and len(one.replies) < _MOST_CANDIDATES:
            one.replies.append(data)
        raise WireError("repeated", "IKE_SA_INIT")

    def _keyed_untrusted(
        self,
        suite: IkeSuite,
        shared: SecretBytes,
        answer: initial.InitMessage,
        header: Header,
        now: float,
    ) -> IkeSa:
        keys = derive_ike(
            suite.prf,
            suite.cipher,
            suite.integrity,
            shared,
            self._nonce,
            answer.nonce,
            self._spi_i,
            header.spi_r,
        )
        return IkeSa(
            initiator=True,
            spi_i=self._spi_i,
            spi_r=header.spi_r,
            cipher=suite.cipher,
            integrity=suite.integrity,
            prf=suite.prf,
            key_wrap=suite.key_wrap,
            keys=keys,
            path=self.server.path,
            rng=self._rng,
            # RFC 7296 2.2: IKE_SA_INIT was our message 0; the responder's requests begin at 0.
            window=Window(next_request_id=1, expected_request_id=0),
            now=now,
        )

    def _auth_request(
        self, covered: Covered, answer: initial.InitMessage, registration: Sequence[Payload]
    ) -> list[Payload]:
        authenticator, identity = self._authenticator, self.server.identity
        proof: list[Payload] = []  # RFC 7296 2.16: no AUTH asks for EAP
        try:
            if authenticator.password is None:
                proof = authenticator.prove(covered, canonical(identity), None, answer.hashes)
        except PeerError as error:
            # The reply that announced no hash that we can sign with is not authenticated.
            self.hint = str(error)
            raise WireError("credentials", str(error)) from None
        return [
            Payload(PayloadType.ID_I, authenticator.id_payload),
            # RFC 7296 2.5, RFC 9838 figure 3: IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, in this order.
            *proof[:-1],
            *authenticator.certificate_requests,
            Payload(PayloadType.ID_R, Id(identity.kind, identity.data)),
            *proof[-1:],
            *registration,
            # RFC 7296 2.4: whatever we had with this server before is gone.
            Payload(PayloadType.NOTIFY, Notify(0, b"", NotifyType.INITIAL_CONTACT, b"")),
        ]

    def _refused_untrusted(self, refusal: Notify, now: float) -> bytes:
        """RFC 7296 2.21.1: act on COOKIE and INVALID_KE_PAYLOAD alone, and on those only so often."""
        if self._candidates:
            raise WireError("hint", "too late")
        if refusal.type == NotifyType.COOKIE and len(refusal.data) in initial.COOKIE_OCTETS:
            self._cookies += 1
            if self._cookies > _MOST_COOKIES:
                raise WireError("cookies", "one after the other")
            self._cookie = refusal.data
            return self._ask_anew(now)
        if refusal.type == NotifyType.INVALID_KE_PAYLOAD and len(refusal.data) == 2:
            wanted = KEY_EXCHANGE_BY_TRANSFORM.get(int.from_bytes(refusal.data, "big"))
            # RFC 7296 1.2, 2.7: one that we offered, and each of them once.
            if wanted in self._policy.key_exchanges and wanted.transform_id not in self._tried:
                self._use(wanted)
                return self._ask_anew(now)
        self.hint = f"the server may have said {name_of_notify(refusal.type)}"
        raise WireError("hint", self.hint)

    def _ask_anew(self, now: float) -> bytes:
        self._request = self._init_request()
        self._pend(now)
        return self._request

    # --- GSA_AUTH ---------------------------------------------------------------------------------

    def receive_auth_untrusted(
        self, data: bytes, header: Header, sealed: Encrypted, evidence: Sequence[Payload], now: float
    ) -> tuple[IkeSa, list[Payload]] | None:
        """The SA and the payloads of the reply, once the server has proved to be the one that we want; None
        when ``datagrams`` have to go out first, to log in. ``evidence`` is shown at the end of that.

        CryptoError or WireError: not for us. AttemptFailed: from the last that answered IKE_SA_INIT, but no
        good.
        """
        for candidate in self._candidates:
            if candidate.sa.spi_r == header.spi_r and self._spi_i == header.spi_i:
                break
        else:
            raise WireError("unknown-spi")
        sa = candidate.sa
        if not sa.window.awaits(header.message_id, header.exchange):
            raise WireError("unexpected-reply", f"{header.message_id}")
        plaintext = sa.unseal_untrusted(data, sealed)
        try:
            payloads = parse_inner(header.exchange, True, sealed.first, plaintext)
            following = self._take(candidate, payloads, evidence, now)
        except LoginRefused as error:
            self._give_up(candidate, str(error), told=True, refused=error)
        except WireError as error:
            self._give_up(candidate, f"malformed reply to GSA_AUTH: {error}", told=False)
        except PeerError as error:
            # With notifications alone the server says that it has no SA with us.
            told = not any(payload.type in _OF_A_LIVE_SERVER for payload in payloads)
            self._give_up(candidate, str(error), told=told)
        sa.window.answered()
        if following:
            candidate.datagram = sa.request(ExchangeType.GSA_AUTH, following, now)
            self._pend(now)
            return None
        sa.peer = canonical(self.server.identity)
        sa.heard = now
        return sa, payloads

    def _take(
        self, candidate: Candidate, payloads: list[Payload], evidence: Sequence[Payload], now: float
    ) -> list[Payload]:
        """What we ask next, nothing when this is the last reply. PeerError when the server is not the one
        that we want, or does not do what RFC 7296 2.16 says.
        """
        login, password = candidate.login, self._authenticator.password
        asked = first(payloads, PayloadType.EAP) is not None
        if login is None:
            believed, covered, id_r = self._verify(candidate, payloads, now)
            if password is None:
                if asked:
                    raise _failed("the server asks for EAP although we have proved ourselves")
                return []
            # RFC 7296 2.16: whoever shares a key with us, or gets our AUTH by one, could be another member.
            if believed.method != AuthMethod.DIGITAL_SIGNATURE:
                raise _failed("the server did not prove itself by a signature: it does not get the password")
            if not asked:
                raise _failed("the server did not ask for the password")
            name = self._authenticator.id_payload.data
            login = candidate.login = Login(EapPeer(name, password), covered, id_r)
            # It is the one: what others have answered is of no interest any more.
            self._candidates = [candidate]
        if login.peer.passed:
            auth = first(payloads, PayloadType.AUTH)
            if auth is None or asked:
                kind = error_of(payloads)
                raise _failed(f"no AUTH after EAP: {'' if kind is None else name_of_notify(kind)}")
            self._authenticator.verify_after_eap(login.covered, login.id_r, auth)
            return []
        answer = login.peer.answer(payloads)
        if answer is not None:
            return [answer]
        return [self._authenticator.prove_after_eap(candidate.covered), *evidence]

    def _verify(
        self, candidate: Candidate, payloads: list[Payload], now: float
    ) -> tuple[Believed, Covered, Id]:
        """How the server has proved to be the one that we want, by which octets and which IDr. PeerError
        unless it has; nothing that it says counts before.
        """
        sa, wanted = candidate.sa, canonical(self.server.identity)
        id_r = first(payloads, PayloadType.ID_R)
        if id_r is None:
            kinds = [name_of_notify(body.type) for body in each(payloads, PayloadType.NOTIFY)]
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, f"refused: {', '.join(kinds)}")
        if (found := identity_of(id_r)) != wanted:
            hint = ": the same name in other octets" if wanted.same_name(found) else ""
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, f"the server is {found}, not {wanted}{hint}")
        failure: PeerError | None = None
        for reply in candidate.replies:
            try:
                covered = Covered(reply, self._nonce, sa.prf, sa.sk_pr)
                return self._authenticator.verify(covered, id_r, payloads, now), covered, id_r
            except PeerError as error:
                failure = error
        raise failure or PeerError(NotifyType.AUTHENTICATION_FAILED, "no reply to verify")

    def _give_up(
        self, candidate: Candidate, reason: str, *, told: bool, refused: LoginRefused | None = None
    ) -> NoReturn:
        """One answer less to hope for. ``told``: the other side knows that there is no SA."""
        sa = candidate.sa
        self._candidates.remove(candidate)
        sa.window.answered()
        notice = b""
        if not told:
            # RFC 7296 2.21.2: once, in an exchange of its own.
            payload = error_notify(NotifyType.AUTHENTICATION_FAILED)
            notice = sa.request(ExchangeType.INFORMATIONAL, [payload], 0.0)
        if self._candidates:
            raise WireError("not-the-server", reason)
        raise AttemptFailed(reason, notice, refused)


def _failed(text: str) -> PeerError:
    return PeerError(NotifyType.AUTHENTICATION_FAILED, text)
