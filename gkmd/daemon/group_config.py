"""One [[group]] of the server's configuration: the policy of a group."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from gkmd.core.algorithms import (
    CIPHER_BY_NAME,
    INTEGRITY_BY_NAME,
    KEY_WRAP_BY_NAME,
    Cipher,
    Integrity,
    RekeyAuth,
)
from gkmd.core.esp import Mode
from gkmd.daemon import values
from gkmd.daemon.section import Section, Unexpected, quoted
from gkmd.group import terms, timeline
from gkmd.group.model import GroupPolicy, SenderRule

_MODES: Final = {mode.value: mode for mode in Mode}
_REKEY_AUTHS: Final = {"signature": RekeyAuth.SIGNATURE, "implicit": RekeyAuth.IMPLICIT}
_LIFETIME: Final = values.whole_seconds(1, 365 * 86_400)
_DELAY: Final = values.whole_seconds(0, 65_535)


def sender(value: Any) -> SenderRule:
    """Who may send: a pattern, or ``{who = PATTERN, source = ADDRESS}``."""
    if not isinstance(value, dict):
        return SenderRule(values.pattern(value))
    unknown = set(value) - {"who", "source"}
    if unknown or "who" not in value:
        raise Unexpected(f'{{who = "fqdn:tx.example", source = "192.0.2.9"}}, not {quoted(sorted(value))}')
    return SenderRule(values.pattern(value["who"]), values.optional_address(value.get("source", "")))


def read_group(section: Section, warnings: list[str]) -> GroupPolicy:
    """ConfigError at the key that is wrong, or at the group when its values do not go together."""
    name = section.get("name", values.name)
    address = section.get("address", values.multicast)
    policy = GroupPolicy(
        name=name,
        group_id=section.get("id", values.identity, f"keyid:{name}"),
        address=address,
        protocol=section.get("protocol", values.choice(values.PROTOCOLS), "udp"),
        port=section.get("port", values.port_or_any, 0),
        rekey_address=section.get("rekey_address", values.multicast, str(address)),
        rekey_port=section.get("rekey_port", values.port, 848),
        rekey_source=section.get("rekey_source", values.optional_address, ""),
        rekey_interface=section.get("rekey_interface", values.text, ""),
        rekey_ttl=section.get("rekey_ttl", values.integer(1, 255), 16),
        senders=section.get("senders", values.list_of(sender), []),
        receivers=section.get("receivers", values.list_of(values.pattern), []),
        mode=section.get("mode", values.choice(_MODES), "transport"),
        cipher=section.get("cipher", values.choice(CIPHER_BY_NAME), "aes-gcm-16-256"),
        integrity=None,
        rekey_cipher=section.get("rekey_cipher", values.choice(CIPHER_BY_NAME), "aes-gcm-16-256"),
        rekey_integrity=None,
        key_wrap=section.get("key_wrap", values.choice(KEY_WRAP_BY_NAME), "kw-5649-256"),
        rekey_auth=section.get("rekey_auth", values.choice(_REKEY_AUTHS), "signature"),
        tek_lifetime=section.get("tek_lifetime", _LIFETIME, "1h"),
        kek_lifetime=section.get("kek_lifetime", _LIFETIME, "4h"),
        activation_delay=section.get("activation_delay", _DELAY, "3s"),
        deactivation_delay=section.get("deactivation_delay", _DELAY, "6s"),
        rekey_repeats=section.get("rekey_repeats", values.integer(0, 20), 2),
        rekey_interval=section.get("rekey_interval", values.duration(0.05, 60), "1s"),
        sender_id_bits=section.get("sender_id_bits", values.integer(1, 32), 16),
        capacity=section.get("capacity", values.integer(0, 10_000_000), 0),
        starts=section.get("starts", values.instant, ""),
        ends=section.get("ends", values.instant, ""),
        most_sender_ids=section.get("most_sender_ids", values.integer(1, 255), 8),
    )
    policy = _with_integrity(section, policy)
    section.finish()
    if policy.protocol == 0 and policy.port:
        raise section.wrong("port", f'found {policy.port}, expected 0 with protocol = "any"')
    if policy.rekey_address.version != policy.address.version:
        raise section.wrong("rekey_address", f"expected IPv{policy.address.version} like `address`")
    if not policy.senders and not policy.receivers:
        raise section.wrong("name", "nobody may join: expected `receivers` or `senders`")
    try:
        terms.check(policy)
    except ValueError as error:
        raise section.wrong("name", f"group {name}: {error}") from None
    warnings += [f"group {name}: {line}" for line in timeline.advice(policy)]
    longest = max(c.key_octets - c.salt_octets for c in (policy.cipher, policy.rekey_cipher))
    if policy.key_wrap.key_octets < longest:
        # RFC 9838 3.1: it should not be shorter.
        warnings.append(
            f"group {name}: {policy.key_wrap.name} is weaker than the {longest * 8} bits it wraps"
        )
    return policy


def _with_integrity(section: Section, policy: GroupPolicy) -> GroupPolicy:
    return dataclasses.replace(
        policy,
        integrity=_integrity(section, "integrity", policy.cipher),
        rekey_integrity=_integrity(section, "rekey_integrity", policy.rekey_cipher),
    )


def _integrity(section: Section, key: str, cipher: Cipher) -> Integrity | None:
    """Empty takes what fits: none beside an AEAD cipher, HMAC-SHA2-256 beside CBC."""
    found = section.get(key, values.optional_choice(INTEGRITY_BY_NAME), "")
    if cipher.aead:
        if found is not None:
            raise section.wrong(key, f"found {found.name}, expected none beside {cipher.name}")
        return None
    return found or INTEGRITY_BY_NAME["hmac-sha2-256-128"]
