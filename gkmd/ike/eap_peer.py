"""The member's side of EAP in GSA_AUTH: its password, once, to a key server that has proved itself (RFC 7296
2.16, RFC 3748 5).

Whoever makes an EapPeer has verified the server's signature. What is left to fear is a server that is not
what it should be: the password goes out once, for EAP-GTC, and a success that nobody had to show anything for
is none.
"""

from __future__ import annotations

from typing import Final

from gkmd.core.errors import PeerError
from gkmd.core.secret import SecretBytes
from gkmd.ike.notices import error_of, name_of_notify
from gkmd.ike.reason import Reason, read_reason
from wire.eap import EapCode, EapType, build_eap, parse_eap_untrusted
from wire.ikev2 import Eap
from wire.message import Payload, first
from wire.registry import NotifyType, PayloadType

_MOST_ROUNDS: Final = 8  # RFC 7296 2.16 has ten exchanges in mind, of which these are the ones with EAP


class LoginRefused(PeerError):
    """The key server did not take the name and password. ``reason`` is what it says, None when nothing."""

    def __init__(self, text: str, reason: Reason | None) -> None:
        super().__init__(NotifyType.AUTHENTICATION_FAILED, text)
        self.reason = reason


class EapPeer:
    """One login. ``passed``: the server has said Success after it had the password."""

    __slots__ = ("_asked", "_name", "_password", "_rounds", "passed")

    def __init__(self, name: bytes, password: SecretBytes) -> None:
        self._name: Final = name
        self._password: Final = password
        self._asked = False
        self._rounds = 0
        self.passed = False

    def answer(self, payloads: list[Payload]) -> Payload | None:
        """Our answer to the server's EAP message, None when that is Success. WireError when it is malformed,
        LoginRefused when it is Failure, PeerError when we will not go on.
        """
        body = first(payloads, PayloadType.EAP)
        if not isinstance(body, Eap):
            kind = error_of(payloads)
            said = "something else" if kind is None else name_of_notify(kind)
            raise _failed(f"{said} instead of EAP")
        message = parse_eap_untrusted(body.data)
        if message.code == EapCode.FAILURE:
            reason = read_reason(payloads)
            raise LoginRefused(f"login refused: {reason.code if reason else 'no reason given'}", reason)
        if message.code == EapCode.SUCCESS:
            if not self._asked:
                raise _failed("EAP success without a password: the server does not know who we are")
            self.passed = True
            return None
        if message.code != EapCode.REQUEST:
            raise _failed("an EAP response from a server")
        self._rounds += 1
        if self._rounds > _MOST_ROUNDS:
            raise _failed(f"more than {_MOST_ROUNDS} EAP requests")
        return Payload(PayloadType.EAP, Eap(self._response(message.identifier, message.type)))

    def _response(self, identifier: int, kind: int) -> bytes:
        if kind == EapType.GTC:
            if self._asked:
                raise _failed("the server asks for the password a second time")
            self._asked = True
            return build_eap(EapCode.RESPONSE, identifier, kind, self._password.reveal())
        if kind == EapType.IDENTITY:
            return build_eap(EapCode.RESPONSE, identifier, kind, self._name)
        if kind == EapType.NOTIFICATION:
            return build_eap(EapCode.RESPONSE, identifier, kind)  # RFC 3748 5.2: heard
        return build_eap(EapCode.RESPONSE, identifier, EapType.NAK, bytes((EapType.GTC,)))


def _failed(text: str) -> PeerError:
    return PeerError(NotifyType.AUTHENTICATION_FAILED, text)
