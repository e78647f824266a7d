"""``gkmd init portal``: what it writes is taken by both daemons, and nothing is overwritten."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from gkmd.cli.main import main
from gkmd.daemon import server_config
from gkmd.web import config as portal_config


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture
def server(tmp_path: Path) -> Path:
    folder = tmp_path / "server"
    made = run("init", "server", str(folder), "--identity", "fqdn:gcks.example", "--self-contained")
    assert made.exit_code == 0, made.output
    return folder


def portal(server: Path, name: str = "portal.example", *more: str) -> Result:
    words = ("--from", str(server), "--server", "192.0.2.1", "--name", name, *more)
    return run("init", "portal", str(server.parent / "portal"), *words)


def test_both_daemons_take_what_it_writes(server: Path) -> None:
    made = portal(server, "portal.example", "--self-contained", "--currency", "CHF")
    assert made.exit_code == 0, made.output
    config = server_config.load(server / "server.toml")
    assert config.platform is not None
    assert config.platform.settings.currency == "CHF"
    assert [str(one) for one in config.platform.settings.server_addresses] == ["192.0.2.1"]
    web = portal_config.load(server.parent / "portal" / "portal.toml")
    assert web.origin == "https://portal.example:8443"
    assert web.socket == config.platform.socket.socket.resolve()


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("portal.example", "https://portal.example"),
        ("192.0.2.7", "https://192.0.2.7"),
        ("2001:db8::7", "https://[2001:db8::7]"),
    ],
)
def test_the_certificate_is_one_that_browsers_take(server: Path, name: str, origin: str) -> None:
    assert portal(server, name, "--listen", "0.0.0.0:443").exit_code == 0
    folder = server.parent / "portal"
    assert portal_config.load(folder / "portal.toml").origin == origin
    certificate = x509.load_pem_x509_certificate((folder / "portal.crt").read_bytes())
    assert certificate.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA256
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 398
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == [name]
    context = ssl.create_default_context(cafile=str(folder / "portal-ca.crt"))
    assert context.get_ca_certs()


def test_secrets_are_not_for_everybody(server: Path) -> None:
    assert portal(server).exit_code == 0
    folder = server.parent / "portal"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["portal.key"] == 0o640
    assert modes["portal-ca.key"] == 0o600


def test_a_second_one_changes_nothing(server: Path) -> None:
    assert portal(server).exit_code == 0
    before = (server / "server.toml").read_text()
    again = run(
        *("init", "portal", str(server.parent / "other"), "--from", str(server)),
        *("--server", "192.0.2.1", "--name", "x.example"),
    )
    assert again.exit_code == 1
    assert "[platform] already" in again.output
    assert (server / "server.toml").read_text() == before
    assert not (server.parent / "other").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ("--server", "gcks.example"),
        ("--listen", "8443"),
        ("--currency", "euro"),
        ("--name", "not a name"),
    ],
)
def test_wrong_options_write_nothing(server: Path, wrong: tuple[str, str]) -> None:
    before = (server / "server.toml").read_text()
    given = {"--from": str(server), "--server": "192.0.2.1", "--name": "x.example"} | dict([wrong])
    words = [word for pair in given.items() for word in pair]
    found = run("init", "portal", str(server.parent / "portal"), *words)
    assert found.exit_code == 1
    assert (server / "server.toml").read_text() == before
    assert not (server.parent / "portal").exists()
