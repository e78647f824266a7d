"""Algorithms, lifetimes and an SA of one's own on the command line; statistics by ``gkmd ctl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from gkmd.api.requests import Reserve
from gkmd.cli import ctl, desk
from gkmd.cli.main import main
from gkmd.cli.tables import seconds_of
from gkmd.core.errors import LocalError

RULELESS = ("reserve", "new", "Opera", "--start", "2026-12-24T18:00", "--duration", "1h30m", "-s", "x")
NEW = (*RULELESS, "--check", "--open")
STATISTICS = {
    "state": "on",
    "now": 2,
    "peak": 3,
    "total": 4,
    "joins": [[60, 4]],
    "senders": 1,
    "refused": {"full": 1},
    "rekeys": 5,
    "next_rekey": None,
    "money": [{"currency": "EUR", "gross": 500, "net": 450}],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the server was asked."""
    found: list[tuple[str, dict[str, Any]]] = []

    class Client:
        def __init__(self, path: Path) -> None:
            assert path == Path("x")

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def call(self, operation: str, request: dict[str, Any], *, token: str = "") -> Any:
            found.append((operation, request))
            return STATISTICS if operation == "statistics" else {"problems": []}

    monkeypatch.setattr(desk, "ControlClient", Client)
    monkeypatch.setattr(ctl, "ControlClient", Client)
    return found


def say(*words: str) -> Result:
    return CliRunner().invoke(main, words, catch_exceptions=False)


def test_what_is_not_said_is_left_to_the_server(asked: list[tuple[str, dict[str, Any]]]) -> None:
    assert say(*NEW).exit_code == 0
    ((_, request),) = asked
    assert not {"security", "supplied", "cipher", "supplied_key"} & set(request)
    assert msgspec.convert(request, Reserve).duration == 5400


def test_an_sa_of_one_s_own_comes_from_a_file(
    asked: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("00" * 20 + "\n" + "11" * 16 + "\n")
    words = ["--supplied-spi", "0x1234abcd", "--supplied-key", str(key), "--supplied-lifetime", "2h"]
    words += ["--cipher", "aes-gcm-16-256", "--mode", "tunnel", "--tek-lifetime", "10m"]
    assert say(*NEW, *words).exit_code == 0
    request = msgspec.convert(asked[0][1], Reserve)
    assert request.supplied is not None
    assert (request.supplied.spi, request.supplied.lifetime) == (0x1234ABCD, 7200)
    assert request.supplied.key == "00" * 20 + "11" * 16
    assert (request.security.mode, request.security.tek_lifetime) == ("tunnel", 600)
    assert request.security.kek_lifetime == 14_400


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--supplied-spi", "0x1234"), "takes --supplied-spi, --supplied-key"),
        (("--supplied-spi", "spi", "--supplied-key", "KEY", "--supplied-lifetime", "1h"), "no number"),
        (("--supplied-spi", "4660", "--supplied-key", "KEY", "--supplied-lifetime", "soon"), "duration"),
        (("--tek-lifetime", "²h"), "duration"),
    ],
)
def test_what_does_not_do_is_said_and_the_server_refuses_it(
    asked: list[tuple[str, dict[str, Any]]], tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    key = tmp_path / "key"
    key.write_text("00")
    done = say(*NEW, *(str(key) if word == "KEY" else word for word in words))
    assert done.exit_code == 1
    assert why in done.output
    cannot_be(asked)


def test_nobody_is_admitted_unasked(asked: list[tuple[str, dict[str, Any]]]) -> None:
    for words in (RULELESS, (*RULELESS, "--check"), (*RULELESS, "--all")):
        done = say(*words)
        assert (done.exit_code, "--open for everybody" in done.output) == (1, True)
    cannot_be(asked)


def cannot_be(asked: list[tuple[str, dict[str, Any]]]) -> None:
    """Each was asked once, so that the server's audit log knows, and none is a request that it takes."""
    assert asked
    for _, request in asked:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(request, Reserve)


def test_an_argument_that_does_not_do_is_told_though_no_server_is_there() -> None:
    done = say("reserve", "new", "Opera", "--start", "x", "--duration", "90", "-s", "/nowhere", "--open")
    assert (done.exit_code, "90 of what?" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("cam", {"label": "cam"}),
        ("cam,192.0.2.9", {"label": "cam", "source": "192.0.2.9"}),
        ("cam,dn:CN=cam,O=Example", {"label": "cam", "identity": "dn:CN=cam,O=Example"}),
        ("cam,dn:*,OU=tx,O=A B,::1", {"label": "cam", "identity": "dn:*,OU=tx,O=A B", "source": "::1"}),
    ],
)
def test_hosts(asked: list[tuple[str, dict[str, Any]]], text: str, host: dict[str, str]) -> None:
    say(*NEW, "--host", text)
    assert asked[0][1]["senders"] == [host]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90s", 90),
        ("45m", 2700),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1:30", 5400),
        ("0:00:45", 45),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


def test_a_number_without_a_unit_is_asked_about() -> None:
    with pytest.raises(LocalError, match=r"90 of what.*90m for minutes, 90s for seconds"):
        seconds_of("90")


@pytest.mark.parametrize("text", ["", "h", "1.5h", "-1", "1y", "1h30", "9" * 30, "1:60", "30m1h", "²m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(LocalError, match="duration"):
        seconds_of(text)


def test_statistics_by_ctl(asked: list[tuple[str, dict[str, Any]]]) -> None:
    done = say("ctl", "-s", "x", "statistics", "opera-abc234")
    assert done.exit_code == 0
    assert asked == [("statistics", {"id": "opera-abc234"})]
    assert ["peak", "3"] in [line.split() for line in done.output.splitlines()]
    assert "gross 5.00 EUR, net 4.50 EUR" in done.output
    assert json.loads(say("ctl", "-s", "x", "statistics", "opera-abc234", "--json").output) == STATISTICS
