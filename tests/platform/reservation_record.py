"""A reservation as it is journalled, for tests of what looks at one."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from gkmd.group.platform.records import Reservation


def reservation(starts: float, **changed: Any) -> Reservation:
    """An hour's talk of ``a-tx``, made when it starts, without a rule of admission."""
    fields: dict[str, Any] = {
        "id": "talk",
        "owner": "a-tx",
        "title": "A talk",
        "description": "",
        "starts": starts,
        "ends": starts + 3600,
        "time_zone": "UTC",
        "lead": 60.0,
        "address": ip_address("239.192.0.1"),
        "from_pool": True,
        "protocol": 17,
        "port": 5004,
        "sources": (),
        "senders": (),
        "security": {},
        "supplied_spi": 0,
        "supplied_key": None,
        "supplied_lifetime": 0.0,
        "capacity": 0,
        "visibility": "public",
        "admission": {},
        "fee_points": 0,
        "fee_fixed": 0,
        "created": starts,
        "cancelled": None,
        "version": 1,
    }
    return Reservation(**(fields | changed))
