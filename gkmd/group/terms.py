"""The terms of a group: the part of its policy that members are bound to by the SAs that they hold."""

from __future__ import annotations

from gkmd.crypto.keymat import data_octets
from gkmd.group.model import GroupPolicy
from gkmd.group.spi import LEAST_DATA_SPI
from gkmd.group.timeline import check_times


def terms(policy: GroupPolicy) -> str:
    """The terms as text. SAs made under other terms are of no use: the group begins anew."""
    parts = (
        policy.group_id,
        policy.address,
        policy.protocol,
        policy.port,
        policy.mode.value,
        policy.cipher.name,
        policy.integrity.name if policy.integrity else "",
        policy.rekey_address,
        policy.rekey_port,
        policy.rekey_source or "",
        policy.rekey_cipher.name,
        policy.rekey_integrity.name if policy.rekey_integrity else "",
        policy.key_wrap.name,
        policy.rekey_auth.name,
        policy.sender_id_bits if policy.cipher.aead else "",
    )
    text = "|".join(map(str, parts))
    return text if policy.supplied is None else f"{text}|supplied {policy.supplied.spi:08x}"


def check(policy: GroupPolicy) -> None:
    """Raise ValueError, saying what would do, when no group can be run by this policy."""
    for what, cipher, integrity in (
        ("data", policy.cipher, policy.integrity),
        ("rekey", policy.rekey_cipher, policy.rekey_integrity),
    ):
        if cipher.aead and integrity is not None:
            raise ValueError(f"{what} cipher {cipher.name} takes no integrity algorithm")
        if not cipher.aead and integrity is None:
            raise ValueError(f"{what} cipher {cipher.name} needs an integrity algorithm")
    if policy.cipher.aead and not 1 <= policy.sender_id_bits <= 32:
        raise ValueError(f"{policy.sender_id_bits} Sender-ID bits; RFC 6054 names 8, 12 and 16")
    version = policy.address.version
    sources = [rule.source for rule in policy.senders]
    for what, address in (
        ("rekey address", policy.rekey_address),
        ("rekey source", policy.rekey_source),
        *(("source", source) for source in sources),
    ):
        if address is not None and address.version != version:
            raise ValueError(f"{what} {address} does not go with {policy.address}: IPv{version} is needed")
    if policy.capacity < 0:
        raise ValueError(f"capacity {policy.capacity} is negative; 0 is unlimited")
    if policy.most_sender_ids < 1:
        raise ValueError(
            f"at most {policy.most_sender_ids} Sender-IDs for one registration; at least 1 is needed"
        )
    _check_supplied(policy)
    check_times(policy)


def _check_supplied(policy: GroupPolicy) -> None:
    supplied = policy.supplied
    if supplied is None:
        return
    if not LEAST_DATA_SPI <= supplied.spi <= 0xFFFFFFFF:
        raise ValueError(f"supplied SPI {supplied.spi}; {LEAST_DATA_SPI} to 4294967295 are possible")
    needed, found = data_octets(policy.cipher, policy.integrity), len(supplied.key.reveal())
    if found != needed:
        raise ValueError(
            f"supplied key of {found} octets; {policy.cipher.name}"
            f"{' with ' + policy.integrity.name if policy.integrity else ' with its salt'} takes {needed}"
        )
    if supplied.lifetime <= 0:
        raise ValueError(f"supplied lifetime {supplied.lifetime:g} s; it must be positive")
    if policy.cipher.aead and len(policy.senders) > 1:
        # RFC 6054: two senders would use the same IVs with the same key.
        raise ValueError(
            f"{len(policy.senders)} senders; one alone may use a supplied {policy.cipher.name} key"
        )
