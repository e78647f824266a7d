"""QR codes on a terminal."""

from __future__ import annotations

import sys

import click
import pytest
import segno

from gkmd.cli.qr_code import qr_code
from gkmd.core.errors import LocalError

HALVES = {" ": (1, 1), "▀": (0, 1), "▄": (1, 0), "█": (0, 0)}  # what is drawn is light


@pytest.mark.parametrize("text", ["short", 'id = "t-1"\n' * 80])
def test_what_is_drawn_is_the_code(text: str) -> None:
    lines = click.unstyle(qr_code(text)).splitlines()
    drawn: list[list[int]] = []
    for line in lines:
        drawn += [[HALVES[letter][row] for letter in line] for row in (0, 1)]
    code = segno.make(text, error="l" if len(text) > 300 else "m", micro=False)
    matrix = [list(row) for row in code.matrix_iter(border=4)]
    assert drawn[: len(matrix)] == matrix


def test_light_is_light_on_every_terminal() -> None:
    style = click.style("x", fg="bright_white", bg="black").partition("x")[0]
    assert all(line.startswith(style) for line in qr_code("short").splitlines())


def test_too_long() -> None:
    with pytest.raises(LocalError, match="--output"):
        qr_code("x" * 3000)


def test_without_segno(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(LocalError, match=r"gkmd\[portal\]"):
        qr_code("short")


def test_a_terminal_that_would_wrap_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "28")
    with pytest.raises(LocalError, match="29 columns wide, the terminal 28"):
        qr_code("short")
    monkeypatch.setenv("COLUMNS", "29")
    assert qr_code("short")
