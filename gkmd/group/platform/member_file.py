"""The member's file for a ticket: docs/ticket-file.md."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from gkmd.group.platform.records import Reservation, Ticket
from gkmd.group.platform.settings import PlatformSettings

PROTOCOLS: Final = {17: "udp", 0: "any"}
_HEAD: Final = """\
# Ticket of a secure transmission: gkmd member --ticket FILE
# Keep it secret: whoever has it can use it.
"""


def ticket_file(ticket: Ticket, reservation: Reservation, settings: PlatformSettings) -> str:
    """TOML with the secret in it; "" when the operator has not said who and where the server is."""
    if not (settings.server_identity and settings.server_addresses):
        return ""
    lines = [
        f"ticket = {_text(ticket.id)}",
        f"secret = {_text(ticket.secret.reveal().hex())}",
        f"title = {_text(reservation.title)}",
        f"starts = {_instant(reservation.starts)}",
        f"ends = {_instant(reservation.ends)}",
        "",
        "[server]",
        f"identity = {_text(settings.server_identity)}",
        f"addresses = {_texts(settings.server_addresses)}",
        f"port = {settings.server_port}",
    ]
    if settings.server_ca:
        lines.append(f'ca = """\n{_escaped(settings.server_ca.strip())}\n"""')
    lines += [
        "",
        "[transmission]",
        f"id = {_text(reservation.id)}",
        f"address = {_text(str(reservation.address))}",
        f"protocol = {_text(PROTOCOLS[reservation.protocol])}",
        f"port = {reservation.port}",
        f"sources = {_texts(reservation.sources)}",
        f"role = {_text('sender' if ticket.sends else 'receiver')}",
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _text(text: str) -> str:
    # A string of JSON is one of TOML, but for the control character that JSON lets pass.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _texts(values: tuple[object, ...]) -> str:
    return f"[{', '.join(_text(str(value)) for value in values)}]"


def _escaped(pem: str) -> str:
    return "\n".join(_text(line)[1:-1] for line in pem.splitlines())


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
