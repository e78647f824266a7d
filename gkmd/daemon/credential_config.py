"""The [credentials] table of server and member: who we are, and whom we believe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from gkmd.core.errors import ConfigError, CryptoError
from gkmd.core.identity import Identity, IdentityKind
from gkmd.core.secret import SecretBytes
from gkmd.crypto.authentication import SigningKey
from gkmd.crypto.certificates import TrustAnchors, certificate_identities, certificate_key, load_chain
from gkmd.crypto.raw_keys import load_public_pem
from gkmd.daemon import values
from gkmd.daemon.secret_files import read_public, read_secret
from gkmd.daemon.section import Section, Unexpected
from gkmd.daemon.toml_source import TomlSource
from gkmd.ike.credentials import Credentials

T = TypeVar("T")

# RFC 7296 8: a secret that people can remember can be guessed from one exchange with an impostor.
SHORT_SECRET_OCTETS: Final = 16
LEAST_SECRET_OCTETS: Final = 8


def psk(value: Any) -> SecretBytes:
    """A pre-shared key: text (its UTF-8 octets), or 0x and hex."""
    expected = f"a secret of at least {LEAST_SECRET_OCTETS} octets: text, or 0x and hex digits"
    if not isinstance(value, str):
        raise Unexpected(expected)
    try:
        octets = bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    except ValueError:
        raise Unexpected(expected) from None
    if len(octets) < LEAST_SECRET_OCTETS:
        raise Unexpected(expected)
    return SecretBytes(octets)


def read_credentials(
    section: Section, own: Identity, warnings: list[str], password: SecretBytes | None = None
) -> Credentials:
    """All of [credentials]. ConfigError for files that are missing, readable by others, or do not fit.

    ``own``: as configured. A distinguished name becomes the subject of the certificate octet by octet, if it
    is the same name; ``Credentials.identity`` is what counts from then on.

    ``password``: of a member that logs in by name; nothing else has to prove who it is then.
    """
    folder = section.folder
    secrets = _pre_shared(section, folder, warnings)
    key_file = section.get("key", values.text, "")
    certificate_file = section.get("certificate", values.text, "")
    ca_files = section.get("ca", values.list_of(values.text), [])
    raw = section.get("raw_public_key", values.boolean, False)
    pinned = _pinned(section, folder)
    section.finish()

    signing_key: SigningKey | None = None
    chain: tuple[bytes, ...] = ()
    if key_file:
        signing_key = _load(section, "key", partial(_signing_key, folder / key_file))
    if certificate_file:
        if signing_key is None:
            raise section.wrong("certificate", "a certificate is of no use without `key`, its private key")
        chain = _load(section, "certificate", partial(_chain, folder / certificate_file))
        if certificate_key(chain[0]) != signing_key.spki_der:
            raise section.wrong("certificate", f"{certificate_file} does not belong to the key {key_file}")
        own = _in_certificate(section, own, chain[0], certificate_file)
    if signing_key is not None and not chain and not raw:
        raise section.wrong("key", "a key needs a `certificate`, or `raw_public_key = true`")
    if raw and signing_key is None:
        raise section.wrong("raw_public_key", "true needs a `key`")
    anchors: TrustAnchors | None = None
    if ca_files:
        anchors = _load(section, "ca", partial(_anchors, [folder / one for one in ca_files]))
    if not secrets and signing_key is None and password is None:
        raise section.wrong("", "nothing to prove who we are: expected psk, psk_files or key")
    return Credentials(own, secrets, signing_key, chain, raw, anchors, pinned, password)


def _in_certificate(section: Section, own: Identity, leaf: bytes, file: str) -> Identity:
    """Our identity as the certificate has it: a DN may be written in other case or kinds of strings."""
    found = certificate_identities(leaf)
    if own in found:
        return own
    for one in found:
        if own.same_name(one):
            return one
    names = ", ".join(sorted((one.shown() for one in found), reverse=True)) or "nobody"
    message = f"{file} is for {names}, expected our identity {own.shown()} among them"
    if own.kind == IdentityKind.DN:
        message += "; a name begins with what is most specific"
    raise section.wrong("certificate", message)


def _pre_shared(section: Section, folder: Path, warnings: list[str]) -> dict[Identity, SecretBytes]:
    secrets: dict[Identity, SecretBytes] = {}
    for file in section.get("psk_files", values.list_of(values.text), []):
        path = folder / file
        octets = _load(section, "psk_files", partial(read_secret, path, "key file"))
        try:
            text = octets.reveal().decode("utf-8")
        except UnicodeDecodeError:
            raise section.wrong("psk_files", f"{path} is not UTF-8 text") from None
        _collect(Section(TomlSource(path, text)), secrets, warnings)
    inline = section.table("psk")
    if inline.items():
        section.source_holds_secrets()
        _collect(inline, secrets, warnings)
    return secrets


def _collect(table: Section, secrets: dict[Identity, SecretBytes], warnings: list[str]) -> None:
    for name, _ in table.items():
        try:
            peer = Identity.parse(name)
        except ValueError as error:
            raise table.wrong(name, str(error)) from None
        secret = table.secret(name, psk)
        if peer in secrets:
            raise table.wrong(name, "this identity has a secret already")
        if len(secret) < SHORT_SECRET_OCTETS:
            warnings.append(f"the secret of {peer.shown()} is short; `gkmd init member` makes good ones")
        secrets[peer] = secret


def _pinned(section: Section, folder: Path) -> dict[Identity, tuple[bytes, ...]]:
    table = section.table("pinned")
    found: dict[Identity, tuple[bytes, ...]] = {}
    for name, _ in table.items():
        try:
            peer = Identity.parse(name)
        except ValueError as error:
            raise table.wrong(name, str(error)) from None
        files = table.get(name, values.list_of(values.text, 1))
        found[peer] = tuple(_load(table, name, partial(_public_key, folder / file)) for file in files)
    return found


def _load(section: Section, key: str, load: Callable[[], T]) -> T:
    """What ``load`` returns; its errors are told with file, line and key."""
    try:
        return load()
    except (ConfigError, CryptoError) as error:
        raise section.wrong(key, str(error)) from None


def _signing_key(path: Path) -> SigningKey:
    return SigningKey.load_pem(read_secret(path, "private key").reveal())


def _chain(path: Path) -> tuple[bytes, ...]:
    return tuple(load_chain(read_public(path, "certificate")))


def _anchors(paths: list[Path]) -> TrustAnchors:
    return TrustAnchors.load(b"\n".join(read_public(path, "CA certificate") for path in paths))


def _public_key(path: Path) -> bytes:
    return load_public_pem(read_public(path, "public key"))
