"""``gkmd init``: what it writes works, has the right modes, and overwrites nothing."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gkmd.cli import new_files
from gkmd.cli.main import main
from gkmd.core.identity import Identity
from gkmd.daemon import member_config, server_config


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words, catch_exceptions=False)


def init_server(folder: Path, *more: str) -> Result:
    return run("init", "server", str(folder), "--identity", "fqdn:gcks.example", *more)


def init_member(folder: Path, server: Path, *more: str) -> Result:
    words = ["--from", str(server), "--server", "192.0.2.1", "--identity", f"fqdn:{folder.name}.example"]
    return run("init", "member", str(folder), *words, *more)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_a_server_with_members_works(tmp_path: Path) -> None:
    server = tmp_path / "server"
    done = init_server(
        server,
        "--self-contained",
        "--group",
        "sports",
        "--address",
        "239.7.7.7",
        "--sender",
        "fqdn:tx.example",
    )
    assert done.exit_code == 0, done.output
    assert modes(server) == {
        "server.toml": 0o640,
        "psk.toml": 0o640,
        "master.key": 0o400,
        "ca.crt": 0o644,
        "ca.key": 0o600,
        "server.crt": 0o644,
        "server.key": 0o640,
    }
    # The next steps that it names are commands that exist.
    assert re.search(r"gkmd init member rx1 --from \S+ --server ADDRESS --identity", done.output)
    assert f"gkmd server -c {server / 'server.toml'}" in done.output

    psk = init_member(tmp_path / "tx", server, "--role", "both", "--interface", "eth0")
    assert psk.exit_code == 0, psk.output
    cert = init_member(
        tmp_path / "rx1", server, "--certificate", "--server-port", "1848", "--local", "192.0.2.7:848"
    )
    assert cert.exit_code == 0, cert.output
    assert modes(tmp_path / "tx") == {"member.toml": 0o640, "psk.toml": 0o640}
    assert modes(tmp_path / "rx1") == {
        "member.toml": 0o640,
        "ca.crt": 0o644,
        "member.crt": 0o644,
        "member.key": 0o640,
    }

    config = server_config.load(server / "server.toml")
    assert config.warnings == ()
    (group,) = config.groups
    assert (group.name, str(group.address), group.port) == ("sports", "239.7.7.7", 5004)
    tx = member_config.load(tmp_path / "tx" / "member.toml")
    rx1 = member_config.load(tmp_path / "rx1" / "member.toml")
    # They share a secret, and each knows whom to expect.
    who = Identity.parse("fqdn:tx.example")
    assert config.credentials.pre_shared_keys == {who: tx.credentials.pre_shared_keys[config.identity]}
    assert len(config.credentials.pre_shared_keys[who]) == 48
    assert tx.server_identity == rx1.server_identity == config.identity
    assert (tx.joins[0].receives, tx.joins[0].sends, tx.joins[0].interface) == (True, True, "eth0")
    assert tx.joins[0].group_id == group.group_id
    assert (rx1.server_port, rx1.local) == (1848, (("192.0.2.7", 848),))
    # The certificates are under one CA.
    assert config.credentials.trust_anchors is not None
    assert rx1.credentials.trust_anchors is not None
    now = time.time()
    verified = config.credentials.trust_anchors.verify_chain(rx1.credentials.certificate_chain, now)
    verified.require(Identity.parse("fqdn:rx1.example"))
    verified = rx1.credentials.trust_anchors.verify_chain(config.credentials.certificate_chain, now)
    verified.require(config.identity)

    for kind, file in (("server", server / "server.toml"), ("member", tmp_path / "tx" / "member.toml")):
        checked = run(kind, "--check", "-c", str(file))
        assert (checked.exit_code, checked.output) == (0, f"{file}: ok\n")


@pytest.mark.parametrize(("more", "port"), [((), 18480), (("--server-port", "1848"), 1848)])
def test_a_member_finds_its_server_s_port(tmp_path: Path, more: tuple[str, ...], port: int) -> None:
    server = tmp_path / "server"
    assert init_server(server, "--self-contained", "--listen", "127.0.0.1:18480").exit_code == 0
    assert init_member(tmp_path / "rx1", server, *more).exit_code == 0
    assert member_config.load(tmp_path / "rx1" / "member.toml").server_port == port


def test_defaults_are_left_to_the_daemons(tmp_path: Path) -> None:
    server, member = tmp_path / "server", tmp_path / "rx1"
    done = init_server(server, "--self-contained")
    assert "note: nobody may send to group news yet" in done.output
    assert f"gkmd ctl -s {server / 'server.sock'} members" in done.output
    assert "there: gkmd ctl groups" in init_member(member, server).output
    # Addresses that were not asked for do not make IPv6 a condition.
    assert server_config.load(server / "server.toml").any_family
    assert member_config.load(member / "member.toml").any_family
    tried = init_member(tmp_path / "rx2", server, "--self-contained", "--local", "127.0.0.1:0").output
    assert f"gkmd ctl -s {tmp_path / 'rx2' / 'member.sock'} groups" in tried
    assert "copy" not in tried
    assert not member_config.load(tmp_path / "rx2" / "member.toml").any_family


@pytest.mark.parametrize("kind", ["server", "member"])
def test_a_configuration_that_is_not_there(tmp_path: Path, kind: str) -> None:
    done = run(kind, "-c", str(tmp_path / "no.toml"))
    assert done.exit_code == 2
    assert f"there is no such file: make it by `gkmd init {kind}`" in done.output


def test_nothing_is_overwritten_and_nothing_is_half_made(tmp_path: Path) -> None:
    server = tmp_path / "server"
    server.mkdir()
    (server / "server.key").write_text("precious")
    done = init_server(server)
    assert done.exit_code == 1
    assert "server.key exists and is not overwritten" in done.output
    assert modes(server).keys() == {"server.key"}
    assert (server / "server.key").read_text() == "precious"
    (server / "server.key").unlink()
    assert init_server(server).exit_code == 0
    before = {path: path.read_bytes() for path in server.iterdir()}
    assert init_server(server).exit_code == 1
    assert init_member(tmp_path / "rx1", server).exit_code == 0
    again = init_member(tmp_path / "rx1", server)
    assert again.exit_code == 1
    twice = init_member(tmp_path / "elsewhere" / "rx1", server)
    assert twice.exit_code == 1
    assert "has a secret for fqdn:rx1.example already" in twice.output
    assert not (tmp_path / "elsewhere").exists()
    changed = {path.name for path, octets in before.items() if path.read_bytes() != octets}
    assert changed == {"psk.toml"}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, []

    def fsync(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(fd)

    monkeypatch.setattr(new_files.os, "fsync", fsync)
    done = init_server(tmp_path / "server")
    assert done.exit_code == 1
    assert "No space left on device" in done.output
    assert not (tmp_path / "server").exists()


def test_what_the_server_would_refuse_is_noted(tmp_path: Path) -> None:
    server = tmp_path / "server"
    init_server(server, "--receiver", "fqdn:rx1.example")
    noted = init_member(tmp_path / "rx2", server, "--role", "both")
    assert "group news does not let fqdn:rx2.example receive" in noted.output
    assert "group news does not let fqdn:rx2.example send" in noted.output
    assert "note:" not in init_member(tmp_path / "rx1", server).output


def test_without_the_servers_folder(tmp_path: Path) -> None:
    words = [
        "init",
        "member",
        str(tmp_path / "rx1"),
        "--server",
        "192.0.2.1",
        "--identity",
        "fqdn:rx1.example",
    ]
    bad = run(*words)
    assert bad.exit_code == 1
    assert "without --from, give --server-identity and --group" in bad.output
    done = run(*words, "--server-identity", "fqdn:gcks.example", "--group", "news", "--group", "sports")
    assert done.exit_code == 0
    config = member_config.load(tmp_path / "rx1" / "member.toml")
    assert [join.name for join in config.joins] == ["news", "sports"]
    (secret,) = config.credentials.pre_shared_keys.values()
    assert f'"fqdn:rx1.example" = "{secret.reveal().decode()}"' in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--address", "10.0.0.1"), '--address: found "10.0.0.1", expected a multicast address'),
        (("--identity", "gcks"), '--identity: found "gcks", expected an identity'),
        (("--identity", "keyid:gcks"), "cannot stand in a certificate"),
        (("--listen", "848"), '--listen: found "848", expected ADDRESS:PORT'),
        (("--sender", "tx"), '--sender: found "tx", expected an identity'),
        (("--group", "a b"), '--group: found "a b", expected a name'),
    ],
)
def test_wrong_options(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = init_server(tmp_path / "server", *words)
    assert done.exit_code in (1, 2)
    assert message in done.output
    assert not (tmp_path / "server").exists()


def test_a_group_that_the_server_does_not_have(tmp_path: Path) -> None:
    init_server(tmp_path / "server")
    done = init_member(tmp_path / "rx1", tmp_path / "server", "--group", "nws")
    assert done.exit_code == 1
    assert "the server has no group 'nws'; it has news" in done.output
