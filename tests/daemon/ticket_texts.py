"""Ticket files for tests, as docs/ticket-file.md has them."""

from __future__ import annotations

from datetime import UTC, datetime

SECRET = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
STARTS = 1_800_000_000
ENDS = STARTS + 7200


def ticket_id(number: int = 1) -> str:
    return "t-" + "abcdefghij"[number % 10] * 19 + "abcdefghijklmnopqrstuvwxyz"[number // 10]


def instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ticket_text(
    number: int = 1,
    *,
    transmission: str = "",
    address: str = "",
    role: str = "receiver",
    ends: float = ENDS,
    server_port: int = 848,
    sources: str = "[]",
    port: int = 5004,
    ca: str = "",
) -> str:
    """Ticket ``number`` for a transmission of its own."""
    return f"""\
ticket = "{ticket_id(number)}"
secret = "{SECRET}"
title = "Evening concert {number}"
starts = {instant(min(STARTS, ends - 1))}
ends = {instant(ends)}

[server]
identity = "fqdn:gcks.example"
addresses = ["127.0.0.1"]
port = {server_port}
{f"ca = '''{ca}'''" if ca else ""}

[transmission]
id = "{transmission or f"concert-{number}"}"
address = "{address or f"239.192.0.{number}"}"
protocol = "udp"
port = {port}
sources = {sources}
role = "{role}"
"""
