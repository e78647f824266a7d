"""What others have typed reaches the operator's terminal as text: it commands nothing there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gkmd.cli.ctl import Target
from gkmd.cli.desk import Desk
from gkmd.cli.tables import cell, printable, table

EVIL = "\x1b]0;owned\x07\x9b2J\u202e"


def test_tables_of_what_others_typed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[EVIL, "one"], ["two", "three"]]
    for shown in (Desk(Path(), "", "", None, False), Target(None, False)):
        shown.show(rows, lambda result: table(("name", "other"), result))
    out = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert out.count("\n") == 6
    assert "?]0;owned??2J?" in out


def test_a_cell_is_one_line() -> None:
    assert cell({"reason": "a\nb\x1b"}) == "reason=a?b?"
    assert printable("Zoë\n日本") == "Zoë\n日本"


def test_json_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    Desk(Path(), "", "", None, True).show({"name": EVIL}, str)
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": EVIL}
    assert out.isascii()
    assert "\x1b" not in out
