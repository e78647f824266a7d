"""The documents know every command, option and drop reason; the units start what exists."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gkmd.cli.daemons import MEMBER_FILE, SERVER_FILE
from gkmd.cli.failing import CONFIGURATION
from gkmd.cli.main import main
from gkmd.cli.reference import commands, reference
from gkmd.daemon.member_config import CONTROL_SOCKET as MEMBER_SOCKET
from gkmd.daemon.server_config import CONTROL_SOCKET, MASTER_CREDENTIAL, STATE

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_every_command_has_help(path: str) -> None:
    command = dict(commands())[path]
    done = CliRunner().invoke(main, [*path.split()[1:], "--help"])
    assert done.exit_code == 0
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option)), path


def test_the_reference_is_that_of_the_code() -> None:
    written = (ROOT / "docs" / "commands.md").read_text()
    assert written == reference(), "python -m gkmd.cli.reference > docs/commands.md"


def test_every_documented_command_line_exists() -> None:
    known = dict(commands())
    for line in re.findall(
        rf"^(gkmd (?:{'|'.join(main.list_commands(click.Context(main)))}) .*)$", DOCUMENT, re.M
    ):
        words = shlex.split(line)
        path = next(p for n in (4, 3, 2) if (p := " ".join(words[:n])) in known)
        options = {name for option in known[path].params for name in option.opts}
        assert {word for word in words if word.startswith("--")} <= options


def reasons() -> set[str]:
    """The slugs that the code drops datagrams by. ``build`` is for what we send ourselves."""
    found: set[str] = set()
    sources = [p for top in ("wire", "gkmd/ike", "gkmd/daemon") for p in (ROOT / top).rglob("*.py")]
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                if name in ("WireError", "dropped"):
                    found.add(str(node.args[0].value))
            elif isinstance(node, ast.AugAssign):
                # self.drops["too-long"] += 1
                counted = re.fullmatch(r"self\.drops\['([\w-]+)'\]", ast.unparse(node.target))
                found |= {counted[1]} if counted else set()
    return found - {"build"}


def test_every_drop_reason_is_documented() -> None:
    table = DOCUMENT[DOCUMENT.index("| reason |") :]
    told = set(
        re.findall(r"`([\w-]+)`", re.sub(r"\|[^|\n]*\|$", "", table[: table.index("\n\n")], flags=re.M))
    )
    assert len(reasons()) > 20
    assert reasons() <= told


@pytest.mark.parametrize("kind", ["server", "member"])
def test_a_unit_starts_what_exists_where_it_is(kind: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string((ROOT / "packaging" / f"gkmd-{kind}.service").read_text())
    service = unit["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[1:] == [kind, "-c", SERVER_FILE if kind == "server" else MEMBER_FILE]
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/sh -c 'kill -HUP $MAINPID'"  # /bin/kill is not on every system
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(CONFIGURATION)
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    socket = Path(CONTROL_SOCKET if kind == "server" else MEMBER_SOCKET)
    assert socket.parent == Path("/run") / service["RuntimeDirectory"]
    wanted = {"server": {"CAP_NET_BIND_SERVICE"}, "member": {"CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN"}}[kind]
    assert set(service["AmbientCapabilities"].split()) == wanted
    assert set(service["CapabilityBoundingSet"].split()) == wanted
    if kind == "server":
        assert Path(STATE).parent == Path("/var/lib") / service["StateDirectory"]
        assert service["LoadCredential"] == f"{MASTER_CREDENTIAL}:/etc/gkmd/master.key"
    assert f"u {service['User']} " in (ROOT / "packaging" / "gkmd.sysusers").read_text()
