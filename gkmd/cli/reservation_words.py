"""What people read of a reservation beside its plain facts: hosts, keys, the fee, joins by the minute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from gkmd.cli.desk import minor
from gkmd.cli.tables import cell, span

_MINUTES: Final = 10  # of joins; the newest


def words_of(view: dict[str, Any]) -> dict[str, str]:
    """Of a result of the operation ``reserve`` and its like."""
    sources = ", ".join(view["sources"])
    found = {
        "address": f"{view['address']}, from {sources}" if sources else view["address"],
        "port": f"{view['port'] or 'any'} ({view['protocol']})",
        "hosts": "; ".join(_host(host) for host in view["senders"]),
        "keys": f"{_keys(view)}, {view['security']['mode']} mode",
        "lead": span(view["lead"]),
        "duration": span(view["duration"]),
        "capacity": str(view["capacity"] or "no limit"),
        "fee": _fee(view),
    }
    if view["description"]:
        found["description"] = cell(view["description"])
    return found


def _host(host: dict[str, Any]) -> str:
    who = cell(host["identity"]) if host.get("identity") else "by ticket"
    return f"{host['label']} ({who}{', from ' + host['source'] if host.get('source') else ''})"


def _keys(view: dict[str, Any]) -> str:
    security = view["security"]
    if view["supplied"]:
        return f"{security['cipher']}, brought along by the sender"
    return f"{security['cipher']}, replaced every {span(security['tek_lifetime'])}"


def _fee(view: dict[str, Any]) -> str:
    """The fixed part is of the currency of each price."""
    parts = [f"{view['fee_points'] / 100:g} %"] if view["fee_points"] else []
    if view["fee_fixed"]:
        currencies = sorted(_currencies(view["admission"]))
        parts += [minor(view["fee_fixed"], currency) for currency in currencies]
    return f"{' and '.join(parts)} of each price" if parts else "none"


def _currencies(rule: dict[str, Any]) -> set[str]:
    own = {rule["price"]["currency"]} if rule.get("price") else set()
    return own.union(*(_currencies(part) for part in (*rule.get("any", ()), *rule.get("all", ()))))


def joins_text(joins: Sequence[Sequence[int]]) -> str:
    """``(minute, number)`` of the newest minutes in which somebody came; "" when nobody did."""
    told = [f"{time.strftime('%H:%M', time.gmtime(minute))} {number}" for minute, number in joins]
    return f"{', '.join(told[-_MINUTES:])} (UTC, by the minute)" if told else ""
