"""What the control socket of the key server shows: no keys, times in Unix seconds."""

from __future__ import annotations

from typing import Any

from gkmd.core.change import DataSa, MemberRecord, RekeySa
from gkmd.group.directory import Directory
from gkmd.group.model import GroupPolicy, GroupStatus


def group_view(status: GroupStatus) -> dict[str, Any]:
    """One row of ``gkmd ctl groups``."""
    policy = status.policy
    return {
        "name": policy.name,
        "id": str(policy.group_id),
        "address": str(policy.address),
        "protocol": {17: "udp", 0: "any"}.get(policy.protocol, policy.protocol),
        "port": policy.port,
        "state": "closed" if status.closed else "open" if status.opened else "waiting",
        "epoch": status.epoch,
        "members": status.members,
        "senders": status.senders,
        "data_sas": status.data_sas,
        "next_rekey": status.next_rekey,
        "cipher": policy.cipher.name,
        "rekey_address": str(policy.rekey_address),
        "rekey_port": policy.rekey_port,
    }


def member_view(member: MemberRecord) -> dict[str, Any]:
    """One row of ``gkmd ctl members``."""
    roles = [role for role, has in (("receiver", member.receives), ("sender", member.sends)) if has]
    return {
        "group": member.group,
        "identity": str(member.identity),
        "role": "+".join(roles),
        "address": str(member.address),
        "sender_ids": list(member.sender_ids),
        "joined": member.joined,
        "ike_spi": member.ike_spi.hex(),
    }


def members_view(directory: Directory, group: str) -> list[dict[str, Any]]:
    """The members of one group, or of all with an empty name. LocalError for a group that does not exist."""
    return [member_view(member) for name in _names(directory, group) for member in directory.members(name)]


def sas_view(directory: Directory, group: str) -> list[dict[str, Any]]:
    """The SAs of one group, or of all with an empty name. LocalError for a group that does not exist."""
    found: list[dict[str, Any]] = []
    for name in _names(directory, group):
        policy, sas = directory.policy(name), directory.sas(name)
        found += [_rekey_sa_view(policy, sa) for sa in sas.rekey_sas]
        found += [_data_sa_view(policy, sa) for sa in sas.data_sas]
    return found


def _names(directory: Directory, group: str) -> list[str]:
    return [group] if group else [status.policy.name for status in directory.groups()]


def _data_sa_view(policy: GroupPolicy, sa: DataSa) -> dict[str, Any]:
    return {
        "group": policy.name,
        "kind": "esp",
        "spi": f"0x{sa.spi:08x}",
        "sender": str(sa.sender) if sa.sender else "all",
        "source": str(sa.source) if sa.source else "any",
        "destination": str(policy.address),
        "cipher": policy.cipher.name,
        "created": sa.created,
        "expires": sa.expires,
        "removed_at": sa.removed_at,
    }


def _rekey_sa_view(policy: GroupPolicy, sa: RekeySa) -> dict[str, Any]:
    return {
        "group": policy.name,
        "kind": "rekey",
        "spi": sa.spi.hex(),
        "sender": "server",
        "source": str(policy.rekey_source) if policy.rekey_source else "any",
        "destination": str(policy.rekey_address),
        "cipher": policy.rekey_cipher.name,
        "created": sa.created,
        "expires": sa.expires,
        "removed_at": sa.removed_at,
        "next_message_id": sa.next_message_id,
    }
