"""A reservation and its statistics as the command line shows them."""

from __future__ import annotations

from typing import Any

import pytest

from gkmd.cli.reservation_words import joins_text, words_of
from gkmd.cli.reserve import statistics_text

SECURITY = {"cipher": "aes-gcm-16-256", "tek_lifetime": 3600, "mode": "transport"}
VIEW: dict[str, Any] = {
    "address": "232.1.2.3",
    "sources": ["192.0.2.9"],
    "port": 0,
    "protocol": "any",
    "senders": [
        {"label": "cam"},
        {"label": "tx", "identity": "fqdn:tx.example", "source": "192.0.2.9"},
    ],
    "security": SECURITY,
    "supplied": False,
    "lead": 300,
    "duration": 5400,
    "capacity": 0,
    "fee_points": 250,
    "fee_fixed": 10,
    "admission": {"any": [{"names": True}, {"price": {"amount": 250, "currency": "EUR"}}]},
    "description": "",
}


def test_everything_that_was_reserved_is_told() -> None:
    assert words_of(VIEW) == {
        "address": "232.1.2.3, from 192.0.2.9",
        "port": "any (any)",
        "hosts": "cam (by ticket); tx (fqdn:tx.example, from 192.0.2.9)",
        "keys": "aes-gcm-16-256, replaced every 1h00m, transport mode",
        "lead": "5m00s",
        "duration": "1h30m",
        "capacity": "no limit",
        "fee": "2.5 % and 0.10 EUR of each price",
    }


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"supplied": True}, "keys", "aes-gcm-16-256, brought along by the sender, transport mode"),
        ({"fee_points": 0, "fee_fixed": 0}, "fee", "none"),
        ({"senders": []}, "hosts", ""),
        ({"description": "two\nlines"}, "description", "two?lines"),
        ({"capacity": 7}, "capacity", "7"),
        ({"port": 5004, "protocol": "udp"}, "port", "5004 (udp)"),
    ],
)
def test_parts(change: dict[str, Any], name: str, words: str) -> None:
    assert words_of(VIEW | change)[name] == words


def test_joins_are_told_by_the_minute_and_the_newest_only() -> None:
    assert joins_text([]) == ""
    assert joins_text([[0, 3], [120, 1]]) == "00:00 3, 00:02 1 (UTC, by the minute)"
    many = [[60 * minute, 1] for minute in range(30)]
    assert joins_text(many).count(" 1") == 10
    assert "00:29 1" in joins_text(many)


def test_statistics_say_when_people_came() -> None:
    view: dict[str, Any] = {
        "state": "on",
        "now": 2,
        "peak": 3,
        "total": 4,
        "joins": [[0, 4]],
        "senders": 1,
        "refused": {},
        "rekeys": 2,
        "next_rekey": None,
        "money": [],
    }
    lines = statistics_text(view).splitlines()
    assert "joins       00:00 4 (UTC, by the minute)" in lines
    assert "refused     -" in lines
