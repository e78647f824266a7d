"""SAs and policies set by hand, for scenarios that need ESP but no gkmd."""

from __future__ import annotations

import os

from lab.topology import Host


def fresh_gcm() -> str:
    """AES-GCM with a fresh key, in iproute2's words."""
    return f"aead rfc4106(gcm(aes)) 0x{os.urandom(20).hex()} 128"


def fresh_cbc() -> str:
    """AES-CBC and HMAC-SHA-256 with fresh keys, in iproute2's words."""
    return f"enc cbc(aes) 0x{os.urandom(16).hex()} auth-trunc hmac(sha256) 0x{os.urandom(32).hex()} 128"


def add_policy(host: Host, source: str, group: str, port: int, direction: str) -> None:
    """What goes (``out``) or comes (``in``) from ``source`` to this UDP port of ``group`` must be ESP."""
    template = f"tmpl src {source} dst {group} proto esp mode transport"
    host.ip(f"xfrm policy add src {source} dst {group} proto udp dport {port} dir {direction} {template}")


def add_sa(host: Host, source: str, group: str, spi: int, algorithms: str, direction: str) -> None:
    window = "replay-window 32" if direction == "in" else ""
    host.ip(f"xfrm state add {_ids(source, group, spi)} mode transport {window} {algorithms}")


def remove_sa(host: Host, source: str, group: str, spi: int) -> None:
    host.ip(f"xfrm state delete {_ids(source, group, spi)}")


def clear(host: Host) -> None:
    host.ip("xfrm state flush")
    host.ip("xfrm policy flush")


def _ids(source: str, group: str, spi: int) -> str:
    return f"src {source} dst {group} proto esp spi {spi:#x}"
