"""The key server's side of EAP in GSA_AUTH: a name and its password, by EAP-GTC (RFC 7296 2.16, RFC 3748
5.6).

    IDi, [IDr], IDg, [SAg], N        ->   the name, not proved
                                     <-   IDr, CERT, AUTH (a signature), EAP Request GTC
    EAP Response GTC                 ->   AskPassword; whatever comes meanwhile is dropped
                                     <-   EAP Success, or EAP Failure and the end
    AUTH (by SK_pi), N               ->   Ask
                                     <-   AUTH (by SK_pr), GSA, KD, N

There is no EAP Identity: IDi is the name (RFC 7296 3.16). Each message of the peer is one step of this ladder
or its end. How many passwords are being looked at is bounded, in all and for each source.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from typing import Final

from gkmd.core.address import Path
from gkmd.core.effect import AskPassword
from gkmd.core.errors import PeerError
from gkmd.core.identity import IdentityKind
from gkmd.core.secret import SecretBytes
from gkmd.ike.authenticate import identity_of
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.half_open import HalfOpen, Login
from gkmd.ike.registration_request import read_registration_request
from wire.eap import EapCode, EapMessage, EapType, build_eap, parse_eap_untrusted
from wire.errors import WireError
from wire.ikev2 import Eap
from wire.message import Payload, first, notify
from wire.registry import NotifyType, PayloadType

_IDENTIFIER: Final = 1  # RFC 7296 3.16: it serves no function in IKE
_PROMPT: Final = b"Password"
_MOST_PASSWORD_OCTETS: Final = 256
_NAMES: Final = (IdentityKind.RFC822, IdentityKind.KEY_ID)


@dataclass(slots=True)
class Check:
    """A password that is being looked at, for ``half``."""

    half: HalfOpen
    source: str
    path: Path
    until: float  # the shell has forgotten it, if it has not answered by then


class Busy(Exception):
    """As many passwords are being looked at as may be."""


def begin(payloads: list[Payload]) -> Login:
    """The request without AUTH. PeerError(AUTHENTICATION_FAILED) when its identity is no name to log in
    with.
    """
    request = read_registration_request(payloads)
    id_i = first(payloads, PayloadType.ID_I)
    if id_i is None:
        raise WireError("rule-missing", "ID_I")
    identity = identity_of(id_i)
    if identity.kind not in _NAMES or not identity.data:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, f"{identity} is no name with a password")
    return Login(id_i, identity, request, notify(payloads, NotifyType.INITIAL_CONTACT) is not None)


def prompt() -> Payload:
    return _eap(build_eap(EapCode.REQUEST, _IDENTIFIER, EapType.GTC, _PROMPT))


def success() -> Payload:
    return _eap(build_eap(EapCode.SUCCESS, _IDENTIFIER))


def failure() -> Payload:
    return _eap(build_eap(EapCode.FAILURE, _IDENTIFIER))


def _eap(data: bytes) -> Payload:
    return Payload(PayloadType.EAP, Eap(data))


def read_password(payloads: list[Payload]) -> SecretBytes:
    """The answer to our prompt. WireError when it is none at all; PeerError(AUTHENTICATION_FAILED) when it is
    no password.
    """
    body = first(payloads, PayloadType.EAP)
    if not isinstance(body, Eap):
        raise WireError("rule-missing", "EAP")
    message: EapMessage = parse_eap_untrusted(body.data)
    if message.code != EapCode.RESPONSE or message.identifier != _IDENTIFIER:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, "no response to our EAP request")
    if message.type != EapType.GTC:
        kind = "Nak" if message.type == EapType.NAK else f"type {message.type}"
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, f"EAP: {kind} instead of a password")
    if not 0 < len(message.data) <= _MOST_PASSWORD_OCTETS:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, f"a password of {len(message.data)} octets")
    return SecretBytes(message.data)


class PasswordChecks:
    """The AskPasswords that are open. A slot is free again when the shell has answered, whatever became of
    the SA: it is the shell's work that is bounded here.
    """

    __slots__ = ("_by_source", "_open", "_settings")

    def __init__(self, settings: GcksSettings) -> None:
        self._settings: Final = settings
        self._open: dict[int, Check] = {}
        self._by_source: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def ask(
        self,
        number: int,
        half: HalfOpen,
        login: Login,
        password: SecretBytes,
        source: str,
        path: Path,
        now: float,
    ) -> AskPassword:
        """The question. Raises Busy."""
        settings = self._settings
        self._forget_old(now)
        if (
            len(self._open) >= settings.password_checks
            or self._by_source[source] >= settings.password_checks_per_source
        ):
            raise Busy
        self._open[number] = Check(half, source, path, now + 4 * settings.half_open_lifetime)
        self._by_source[source] += 1
        address = ipaddress.ip_address(path.remote.partition("%")[0])
        return AskPassword(number, login.identity, login.request.group_id, address, password)

    def take(self, number: int) -> Check | None:
        """What a question was about; it is no longer open."""
        check = self._open.pop(number, None)
        if check is not None:
            self._by_source[check.source] -= 1
            if not self._by_source[check.source]:
                del self._by_source[check.source]
        return check

    def _forget_old(self, now: float) -> None:
        for number, check in list(self._open.items()):
            if check.until > now:
                break  # all have the same time: the rest is younger
            self.take(number)
