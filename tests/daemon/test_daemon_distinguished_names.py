"""Members known by a distinguished name: made by ``gkmd init``, registered, admitted by a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from daemon_processes import Daemon, wait_for
from free_ports import free_port

from gkmd.cli.main import main
from gkmd.core.errors import ConfigError
from gkmd.core.identity import Identity
from gkmd.crypto.certificates import certificate_identities
from gkmd.daemon import member_config, server_config

RX = "dn:CN=Rx 1,OU=news,O=Example GmbH,C=DE"
TX = r"dn:CN=Tx\, 1,O=Studio"
EVIL = "dn:CN=Rx 1,OU=news,O=Evil"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["init", *words], catch_exceptions=False)


def made(folder: Path, port: int = 18480) -> Path:
    options = ["--self-contained", "--identity", "dn:CN=gcks,O=Example GmbH", "--sender", TX]
    options += ["--listen", f"127.0.0.1:{port}", "--receiver", "dn:*,o=example gmbh,c=de"]
    done = run("server", str(folder / "server"), *options)
    assert done.exit_code == 0, done.output
    return folder / "server"


def member(folder: Path, server: Path, name: str, *more: str) -> Result:
    words = ["--from", str(server), "--server", "127.0.0.1", "--local", "127.0.0.1:0", "--identity", name]
    return run("member", str(folder), *words, "--self-contained", "--dry-run", "--interface", "lo", *more)


def test_members_by_names_register_as_patterns_admit_them(tmp_path: Path) -> None:
    server = made(tmp_path, free_port())
    text = (server / "server.toml").read_text().replace("[[group]]", f"[[group]]\nrekey_port = {free_port()}")
    (server / "server.toml").write_text(text.replace('#rekey_interface = "eth0"', 'rekey_interface = "lo"'))
    for name, who, more in (
        ("rx", RX, ["--certificate"]),
        ("tx", TX, ["--role", "sender"]),
        ("evil", EVIL, ["--certificate"]),
    ):
        done = member(tmp_path / name, server, who, *more)
        assert done.exit_code == 0, done.output
        assert (f"does not let {who} receive" in done.output) is (name == "evil")
    daemons = {name: Daemon("member", tmp_path / name) for name in ("rx", "tx", "evil")}
    daemons["server"] = Daemon("server", server)
    try:
        for daemon in reversed(daemons.values()):
            daemon.start()
        for name in ("rx", "tx"):
            wait_for(f"{name} registered", lambda name=name: daemons[name].ask("status")["registered"])  # type: ignore[misc]
        known = {row["identity"] for row in daemons["server"].ask("members", group="news")}
        assert known == {str(Identity.parse(RX)), str(Identity.parse(TX))}
        (refused,) = wait_for("a refusal", lambda: daemons["evil"].ask("groups"))
        wait_for("a refusal", lambda: "AUTHORIZATION_FAILED" in daemons["evil"].log.read_text())
        assert refused["name"] == "news"
        # It is named as people write it.
        socket = ["-s", str(server / "server.sock")]
        done = CliRunner().invoke(main, ["ctl", "remove", "news", RX.lower(), *socket])
        assert done.exit_code == 0, done.output
    finally:
        for daemon in daemons.values():
            daemon.kill()


def test_a_certificate_has_the_name_and_decides_on_its_octets(tmp_path: Path) -> None:
    server = made(tmp_path)
    assert member(tmp_path / "rx", server, RX, "--certificate").exit_code == 0
    file = tmp_path / "rx" / "member.toml"
    text = file.read_text()
    assert f'identity = "{RX}"' in text
    config = member_config.load(file)
    assert config.credentials is not None
    assert config.identity == config.credentials.identity == Identity.parse(RX)
    assert certificate_identities(config.credentials.certificate_chain[0]) == {config.identity}
    assert config.server_identity == server_config.load(server / "server.toml").identity

    for other in ("dn:cn=rx 1, ou=NEWS, o=example  gmbh, c=de", str(config.identity)):
        file.write_text(text.replace(RX, other))
        loaded = member_config.load(file)
        assert loaded.credentials is not None
        assert loaded.identity == loaded.credentials.identity == config.identity
    backwards = "dn:C=DE,O=Example GmbH,OU=news,CN=Rx 1"
    for other in (EVIL, backwards):
        file.write_text(text.replace(RX, other))
        with pytest.raises(ConfigError) as caught:
            member_config.load(file)
        assert f"member.crt is for {RX}, expected our identity {other} among them" in str(caught.value)
    file.write_text(text.replace(RX, "dn:*,O=Example GmbH"))
    with pytest.raises(ConfigError, match="stands for many names"):
        member_config.load(file)


def test_a_secret_is_kept_under_the_name(tmp_path: Path) -> None:
    server = made(tmp_path)
    assert member(tmp_path / "tx", server, TX, "--role", "sender").exit_code == 0
    config = server_config.load(server / "server.toml")
    own = member_config.load(tmp_path / "tx" / "member.toml")
    assert own.credentials is not None
    assert own.identity == Identity.parse(TX)
    assert config.credentials.pre_shared_keys == {
        own.identity: own.credentials.pre_shared_keys[config.identity]
    }
    assert TX.replace("\\", "\\\\") in (server / "psk.toml").read_text()
    again = member(tmp_path / "again", server, str(own.identity), "--role", "sender")
    assert again.exit_code != 0
    assert f"has a secret for {TX} already" in again.output


def test_what_no_certificate_can_hold_is_refused(tmp_path: Path) -> None:
    server = made(tmp_path)
    for name, words in (
        ("dn:C=Germany", "cannot stand in a certificate"),
        ("dn:CN=" + "a" * 65, "cannot stand in a certificate"),
        ("dn:CN=a,O=#030200ff", "cannot stand in a certificate as it is"),
        ("dn:*,O=Example", "a star is a pattern"),
        ("dn:rx1", "TYPE=VALUE"),
    ):
        done = member(tmp_path / "no", server, name, "--certificate")
        assert done.exit_code != 0
        assert words in done.output
        assert not (tmp_path / "no").exists()
