"""``gkmd member --ticket``: with a configuration, beside one, and without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from gkmd.cli.main import main
from gkmd.daemon import member_config

TICKET = """\
ticket = "t-aaaaaaaaaaaaaaaaaaaa"
secret = "{secret}"
title = "A concert"
starts = 2026-12-24T17:00:00Z
ends = 2036-12-24T19:00:00Z
[server]
identity = "fqdn:gcks.example"
addresses = ["192.0.2.1"]
port = 848
[transmission]
id = "concert"
address = "239.192.0.7"
protocol = "udp"
port = 5004
sources = []
role = "receiver"
"""


@pytest.fixture
def ticket(tmp_path: Path) -> Path:
    file = tmp_path / "ticket.toml"
    file.touch(0o600)
    file.write_text(TICKET.format(secret="00" * 32))
    return file


def check(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["member", "--check", *arguments])
    return result.exit_code, result.output


def test_a_ticket_is_enough(ticket: Path) -> None:
    if not os.path.exists("/etc/gkmd/member.toml"):
        assert check("--ticket", str(ticket)) == (0, f"{ticket}: ok\n")
    config = member_config.load_with_tickets(None, [ticket], at_once=True)
    assert [one.group for one in config.given] == ["concert"]
    assert (config.joins, config.servers, config.credentials, config.at_once) == ((), (), None, True)
    assert config.local == (("0.0.0.0", 848), ("::", 848))


def test_a_configuration_that_is_named_has_to_be_there(ticket: Path) -> None:
    status, told = check("-c", str(ticket.parent / "no.toml"), "--ticket", str(ticket))
    assert status == 2
    assert "there is no such file" in told


def test_a_ticket_beside_a_configuration(ticket: Path) -> None:
    file = ticket.parent / "member.toml"
    file.write_text('dataplane = "recording"\n')
    assert check("-c", str(file), "--ticket", str(ticket)) == (0, f"{file}: ok\n")
    status, told = check("-c", str(file))
    assert status == 2
    assert "no group to join" in told


def test_what_does_not_go(ticket: Path) -> None:
    status, told = check("--now", "-c", str(ticket))
    assert status == 2
    assert "--now is for tickets of the command line" in told
    ticket.chmod(0o644)
    status, told = check("--ticket", str(ticket))
    assert status == 2
    assert "chmod 0640" in told
    assert "00" * 32 not in told
