"""Everything that a page does is in the command line, too."""

from __future__ import annotations

import ast
from pathlib import Path

from gkmd.api.operations import OPERATIONS

CLI = Path(__file__).resolve().parents[2] / "gkmd" / "cli"
# Nobody types these: a browser's key answers, a portal or a payment provider speaks.
OF_PROGRAMS = {
    "passkey-sign-in-begin",
    "passkey-sign-in",
    "passkey-begin",
    "passkey-add",
    "payment-started",
    "provider-call",
}
# `gkmd ctl status` tells it on the host; elsewhere `gkmd call` does.
OF_THE_HOST = {"health"}


def asked_for() -> set[str]:
    """The words that commands hand to a call."""
    found: set[str] = set()
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                found |= {one.value for one in node.args if isinstance(one, ast.Constant)}
    return found


def test_every_operation_for_people_has_a_command() -> None:
    assert set(OPERATIONS) - asked_for() == OF_PROGRAMS | OF_THE_HOST
