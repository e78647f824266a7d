"""Passkeys: WebAuthn credentials (W3C Web Authentication Level 3), for an account without a password typed.

The library takes half a second to be imported: this happens at the first ceremony, not at start.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gkmd.core.errors import CryptoError

_TIMEOUT: Final = 300_000  # milliseconds that the browser gives its user
_MOST: Final = 16_384  # characters of a credential's fields
_ID: Final = 1023  # octets of a credential id (WebAuthn 6.5.1)
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """``public_key`` is a COSE key."""

    id: bytes
    public_key: bytes
    counter: int


def party_of(origin: str) -> str:
    """The relying party id of a portal's origin, which is its host name. ValueError unless it is an https
    origin with a host name; plain http will do for localhost.
    """
    parts = urllib.parse.urlsplit(origin)
    host = parts.hostname or ""
    try:
        shown = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port is not None else "")
    except ValueError:
        shown = ""
    secure = parts.scheme == "https" or (parts.scheme == "http" and _is_local(host))
    if shown != origin or not secure or _HOST.fullmatch(host) is None:
        raise ValueError(f"origin {origin!r}: https:// and a host name are needed, with a port or without")
    return host


def _is_local(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def load() -> None:
    """Import the library now: it takes half a second, which nobody who signs in should wait for."""
    import webauthn  # noqa: F401


def creation_options(
    origin: str, challenge: bytes, user: bytes, login: str, name: str, known: Iterable[bytes]
) -> dict[str, Any]:
    """For ``navigator.credentials.create``. ``user`` is an opaque handle; ``known`` are the ids of the
    account's passkeys, which are not made twice on one device.
    """
    import webauthn
    from webauthn.helpers import structs

    options = webauthn.generate_registration_options(
        rp_id=party_of(origin),
        rp_name="gkmd",
        user_name=login,
        user_id=user,
        user_display_name=name or login,
        challenge=challenge,
        timeout=_TIMEOUT,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(id=one) for one in known],
    )
    plain: dict[str, Any] = json.loads(webauthn.options_to_json(options))
    return plain


def request_options(origin: str, challenge: bytes) -> dict[str, Any]:
    """For ``navigator.credentials.get``: any passkey of this portal, the browser asks which."""
    import webauthn
    from webauthn.helpers import structs

    options = webauthn.generate_authentication_options(
        rp_id=party_of(origin),
        challenge=challenge,
        timeout=_TIMEOUT,
        user_verification=structs.UserVerificationRequirement.REQUIRED,
    )
    plain: dict[str, Any] = json.loads(webauthn.options_to_json(options))
    return plain


def verify_creation(credential: dict[str, Any], origin: str, challenge: bytes) -> NewPasskey:
    """CryptoError unless it answers this challenge at this origin, with the user verified."""
    import webauthn
    from webauthn.helpers.structs import AttestationFormat

    _check_size(credential)
    try:
        found = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party_of(origin),
            expected_origin=origin,
            require_user_verification=True,
        )
    except Exception:  # the library lets its parsers' own errors through; all of it is foreign input
        raise CryptoError("the passkey's registration does not verify") from None
    # Attestation was not asked for, and roots of makers are not kept here: only what needs none is trusted
    # to be what it says, and none of it is relied on.
    if found.fmt not in (AttestationFormat.NONE, AttestationFormat.PACKED, AttestationFormat.APPLE):
        raise CryptoError(f"a passkey with an attestation of kind {found.fmt.value}; none was asked for")
    if not 1 <= len(found.credential_id) <= _ID:
        raise CryptoError("a passkey whose id is empty or too long")
    return NewPasskey(found.credential_id, found.credential_public_key, found.sign_count)


def verify_assertion(
    credential: dict[str, Any], origin: str, challenge: bytes, public_key: bytes, counter: int
) -> int:
    """The passkey's new counter. CryptoError unless this key has signed this challenge at this origin, with
    the user verified, and the counter is not one that was seen (a copy of the authenticator).
    """
    import webauthn

    _check_size(credential)
    try:
        found = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party_of(origin),
            expected_origin=origin,
            credential_public_key=public_key,
            credential_current_sign_count=counter,
            require_user_verification=True,
        )
    except Exception:  # as above
        raise CryptoError("the passkey's signature does not verify") from None
    return found.new_sign_count


def id_of(credential: dict[str, Any]) -> bytes:
    """The credential's id, not yet proved. CryptoError when there is none."""
    text = credential.get("rawId")
    if not isinstance(text, str) or len(text) > 2 * _ID:
        raise CryptoError("a credential without an id")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise CryptoError("a credential whose id is no base64url") from None


def user_of(credential: dict[str, Any]) -> bytes | None:
    """The user handle that came with it, None when there is none. CryptoError when it cannot be read."""
    response = credential.get("response")
    text = response.get("userHandle") if isinstance(response, dict) else None
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > 128:
        raise CryptoError("a credential with a user handle that is none")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise CryptoError("a credential whose user handle is no base64url") from None


def _check_size(credential: dict[str, Any]) -> None:
    try:
        size = len(json.dumps(credential))
    except (TypeError, ValueError, RecursionError):
        size = _MOST + 1
    if size > _MOST:
        raise CryptoError(f"a credential of {size} characters; at most {_MOST} are taken")
