"""Configurations: what a good one means, and how a wrong one is told."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest
from daemon_config import MEMBER, SERVER, write, write_member, write_server

from gkmd.core.algorithms import AES_CBC_256, HMAC_SHA2_256_128
from gkmd.core.errors import ConfigError
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.rng import SeededRng
from gkmd.crypto import issuing
from gkmd.daemon import member_config, server_config
from gkmd.group.model import GroupPolicy, SenderRule

RNG = SeededRng("daemon config")


def test_a_server_configuration(tmp_path: Path) -> None:
    config = server_config.load(write_server(tmp_path))
    assert config.identity == Identity.parse("fqdn:gcks.example")
    assert config.listen == (("127.0.0.1", 0),)
    assert config.state == tmp_path / "state/state.db"
    assert config.control.socket == tmp_path / "server.sock"
    (group,) = config.groups
    # What the file does not say is what the model says.
    address = ipaddress.ip_address("239.10.0.1")
    assert group == GroupPolicy(
        name="news",
        group_id=Identity.parse("keyid:news"),
        address=address,
        rekey_address=address,
        port=5004,
        receivers=(IdentityPattern.parse("any"),),
        senders=(SenderRule(IdentityPattern.parse("fqdn:tx.example")),),
    )
    assert config.warnings == ()
    assert "0123456789abcdef" not in repr(config)


def test_a_member_configuration(tmp_path: Path) -> None:
    config = member_config.load(write_member(tmp_path))
    (join,) = config.joins
    assert join.group_id == Identity.parse("keyid:news")
    assert (join.receives, join.sends, join.replay_window) == (True, True, 64)
    assert join.flow is None
    assert config.server_identity in config.credentials.pre_shared_keys


def test_a_flow_that_a_member_closes_by_itself(tmp_path: Path) -> None:
    text = MEMBER + 'address = "239.10.0.1"\nport = 5004\n'
    (join,) = member_config.load(write_member(tmp_path, text)).joins
    assert join.flow == (ipaddress.ip_address("239.10.0.1"), 17, 5004)
    for wrong, key in (
        ("port = 5004\n", "group.port"),
        ('address = "10.0.0.1"\n', "group.address"),
        ('address = "239.10.0.1"\nprotocol = "any"\nport = 1\n', "group.port"),
    ):
        with pytest.raises(ConfigError, match=re.escape(key)):
            member_config.load(write_member(tmp_path, MEMBER + wrong))


def replaced(old: str, new: str, text: str = SERVER) -> str:
    assert old in text
    return text.replace(old, new)


# What is changed, then the line, the key, and words of the message.
WRONG_SERVERS: list[tuple[str, str, int, str, str]] = [
    ('port = 5004', 'prot = 5004', 17, "group.prot", "unknown key; did you mean 'port'?"),
    ('port = 5004', 'port = "many"', 17,
     "group.port", 'found "many", expected a whole number from 0 to 65535'),
    ('port = 5004', 'port = true', 17, "group.port", "found true, expected a whole number"),
    ('name = "news"', 'name = "the news"', 15, "group.name", "expected a name of 1 to 63 letters"),
    ('address = "239.10.0.1"', 'address = "10.0.0.1"', 16, "group.address", "expected a multicast address"),
    ('address = "239.10.0.1"\n', "", 14, "group.address", "missing; this key is required"),
    ('"any"', '"fqdn"', 18, "group.receivers", "expected entry 1 to be an identity"),
    ('"fqdn:tx.example"]', '{ whom = "any" }]', 19, "group.senders", 'expected entry 1 to be {who = '),
    ('port = 5004', 'tek_lifetime = "soon"', 17, "group.tek_lifetime", 'found "soon", expected a duration'),
    ('port = 5004', 'tek_lifetime = "5s"', 15, "group.name", "group news: TEK lifetime 5 s does not fit"),
    ('port = 5004', 'cipher = "des"', 17, "group.cipher", "expected one of aes-gcm-16-256, aes-gcm-16-128"),
    ('port = 5004', 'integrity = "hmac-sha2-256-128"', 17, "group.integrity",
     "expected none beside aes-gcm"),
    ('port = 5004', 'protocol = "any"\nport = 1', 18, "group.port", 'expected 0 with protocol = "any"'),
    ('port = 5004', 'rekey_address = "ff15::1"', 17, "group.rekey_address", "expected IPv4"),
    ('port = 5004', "starts = 2026-12-24T18:00:00", 17, "group.starts",
     "expected a date and time with offset"),
    ('receivers = ["any"]\nsenders = ["fqdn:tx.example"]\n', "", 15, "group.name", "nobody may join"),
    ("[[group]]", "[group]", 14, "group", "expected tables that start with [[group]]"),
    ("[state]", "state = 3\n[other]", 4, "state", "found 3, expected a table [state]"),
    ('identity = "fqdn:gcks.example"', 'identity = "gcks"', 1, "identity", "is not KIND:VALUE"),
    ('["127.0.0.1:0"]', '["127.0.0.1"]', 2, "listen", "expected entry 1 to be ADDRESS:PORT"),
    ('["127.0.0.1:0"]', "[]", 2, "listen", "expected a list of at least 1"),
    ("[control]\n", '[control]\nmode = "0666"\n', 8, "control.mode", "without access for others"),
    ('"fqdn:rx1.example" = "0123456789abcdef"', '"rx1" = "0123456789abcdef"', 11, "credentials.psk.rx1",
     "KIND"),
    ("[state]", '[process]\nlog_level = "loud"\n[state]', 5, "process.log_level",
     "expected one of debug, info"),
    ("[state]", '[ike]\nciphers = ["aes-cbc-256"]\nintegrities = []\n[state]', 5, "ike.ciphers",
     "needs an integ"),
    ("[state]", '[ike]\ncookie_treshold = 1\n[state]', 5, "ike.cookie_treshold",
     "mean 'cookie_threshold'?"),
    ("[[group]]", '[[group]]\nname = "news"\naddress = "239.1.1.1"\nreceivers = ["any"]\n[[group]]', 19,
     "group.name", "found news, expected a name that no other group has"),
    ("[credentials.psk]", '[credentials]\nkey = "none.key"\n[credentials.psk]', 11, "credentials.key",
     "cannot read private key"),
    ("[credentials.psk]", '[credentials]\nraw_public_key = true\n[credentials.psk]', 11,
     "credentials.raw_public_key", "true needs a `key`"),
    ("[credentials.psk]", '[credentials]\nca = ["server.toml"]\n[credentials.psk]', 11, "credentials.ca",
     "no certificate in PEM"),
    ("[credentials.psk]", '[credentials]\npsk_files = ["none.toml"]\n[credentials.psk]', 11,
     "credentials.psk_files", "No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "key", "words"), WRONG_SERVERS)
def test_a_wrong_server_configuration(
    tmp_path: Path, old: str, new: str, line: int, key: str, words: str
) -> None:
    file = write_server(tmp_path, replaced(old, new))
    with pytest.raises(ConfigError) as caught:
        server_config.load(file)
    assert str(caught.value).startswith(f"{file}:{line}: {key}: ")
    assert words in str(caught.value)


WRONG_MEMBERS: list[tuple[str, str, int, str, str]] = [
    ('addresses = ["127.0.0.1"]', 'addresses = ["gcks.example"]', 6, "server.addresses",
     "IPv4 or IPv6 address"),
    ('addresses = ["127.0.0.1"]\n', "", 5, "server.addresses", "missing; this key is required"),
    ('role = "both"', 'role = "listener"', 18, "group.role", "expected one of receiver, sender, both"),
    ('role = "both"', "replay_window = 5000", 18, "group.replay_window", "from 0 to 4096"),
    ('role = "both"', 'data_addresses = ["239.10.0.1/16"]', 18, "group.data_addresses", "a network such as"),
    ('dataplane = "recording"', 'dataplane = "none"', 3, "dataplane", "expected one of xfrm, recording"),
    ('"fqdn:gcks.example" = "0123', '"fqdn:other.example" = "0123', 13, "credentials",
     "nothing to verify the server fqdn:gcks.example by"),
    ('[[group]]\nname = "news"\nrole = "both"\ninterface = "lo"\n', "", 1,
     "configuration", "no group to join"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "key", "words"), WRONG_MEMBERS)
def test_a_wrong_member_configuration(
    tmp_path: Path, old: str, new: str, line: int, key: str, words: str
) -> None:
    file = write_member(tmp_path, replaced(old, new, MEMBER))
    with pytest.raises(ConfigError) as caught:
        member_config.load(file)
    assert str(caught.value).startswith(f"{file}:{line}: {key}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("bad", ["short", "0x12", "0xzz112233445566778899"])
def test_a_bad_secret_is_not_quoted(tmp_path: Path, bad: str) -> None:
    file = write_server(
        tmp_path, replaced('"fqdn:tx.example" = "0123456789abcdef"', f'"fqdn:tx.example" = "{bad}"')
    )
    with pytest.raises(
        ConfigError, match=r":12: credentials\.psk\.fqdn:tx\.example: expected a secret"
    ) as caught:
        server_config.load(file)
    assert bad not in str(caught.value)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    file = write_server(tmp_path)
    file.chmod(0o644)
    with pytest.raises(
        ConfigError, match=r"holds secrets but has mode 0644, expected 0640 or stricter: `chmod"
    ):
        server_config.load(file)
    without = SERVER.replace("[credentials.psk]\n", '[credentials]\npsk_files = ["psk.toml"]\n')
    without = re.sub(r'"fqdn:(rx1|tx)\.example" = .*\n', "", without)
    file = write(tmp_path, "server.toml", without, 0o644)
    psk = write(tmp_path, "psk.toml", '"fqdn:rx1.example" = "0123456789abcdef"\n', 0o640)
    assert len(server_config.load(file).credentials.pre_shared_keys) == 1
    psk.chmod(0o644)
    with pytest.raises(ConfigError, match=r":11: credentials\.psk_files: key file .* has mode 0644"):
        server_config.load(file)


def test_one_identity_has_one_secret(tmp_path: Path) -> None:
    write(tmp_path, "psk.toml", '"fqdn:rx1.example" = "another secret of it"\n')
    file = write_server(
        tmp_path, replaced("[credentials.psk]", '[credentials]\npsk_files = ["psk.toml"]\n[credentials.psk]')
    )
    with pytest.raises(ConfigError, match="has a secret already"):
        server_config.load(file)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("00" * 32, 0o440, "has mode 0440, expected 0600 or stricter"),
        ("00" * 31, 0o400, "does not hold 64 hex digits"),
        ("no hex", 0o400, "does not hold 64 hex digits"),
        (None, 0o400, "No such file"),
    ],
)
def test_a_wrong_master_key(tmp_path: Path, content: str | None, mode: int, words: str) -> None:
    config = server_config.load(write_server(tmp_path))
    config.master_key.unlink()
    if content is not None:
        write(tmp_path, "master.key", content, mode)
    with pytest.raises(ConfigError) as caught:
        server_config.load_master_key(config, RNG)
    assert words in str(caught.value)
    if content:
        assert content not in str(caught.value)


def test_a_systemd_credential_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = server_config.load(write_server(tmp_path))
    config.master_key.unlink()
    folder = tmp_path / "credentials"
    folder.mkdir()
    write(folder, "gkmd-master-key", "11" * 32, 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    server_config.load_master_key(config, RNG)


def test_certificates_must_fit_key_and_identity(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    ca = issuing.make_authority("ca", now, 10, RNG)
    own = issuing.make_certificate(ca, "gcks", [Identity.parse("fqdn:gcks.example")], now, 10, RNG)
    other = issuing.make_certificate(ca, "other", [Identity.parse("fqdn:other.example")], now, 10, RNG)
    write(tmp_path, "ca.crt", ca.certificate_pem.decode(), 0o644)
    for name, issued in (("own", own), ("other", other)):
        write(tmp_path, f"{name}.crt", issued.certificate_pem.decode(), 0o644)
        write(tmp_path, f"{name}.key", issued.key_pem.reveal().decode())

    def load(lines: str) -> server_config.ServerConfig:
        text = replaced("[credentials.psk]", f"[credentials]\n{lines}\n[credentials.psk]")
        return server_config.load(write_server(tmp_path, text))

    good = load('certificate = "own.crt"\nkey = "own.key"\nca = ["ca.crt"]')
    assert len(good.credentials.certificate_chain) == 1
    for lines, words in (
        ('certificate = "own.crt"\nkey = "other.key"', "own.crt does not belong to the key other.key"),
        ('certificate = "other.crt"\nkey = "other.key"', "is for fqdn:other.example, dn:CN=other, expected"),
        ('certificate = "own.crt"', "a certificate is of no use without `key`"),
        ('key = "own.key"', "a key needs a `certificate`, or `raw_public_key = true`"),
        ('ca = ["own.crt"]', "is not a CA certificate"),
        ('[credentials.pinned]\n"fqdn:rx1.example" = ["ca.crt"]', "not a public key in PEM"),
        ('[credentials.pinned]\n"rx1" = ["ca.crt"]', "is not KIND:VALUE"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(lines)
        assert words in str(caught.value)
    (tmp_path / "own.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"private key .* has mode 0644"):
        load('certificate = "own.crt"\nkey = "own.key"')


def test_cbc_gets_an_integrity_algorithm(tmp_path: Path) -> None:
    file = write_server(tmp_path, replaced("port = 5004", 'cipher = "aes-cbc-256"'))
    (group,) = server_config.load(file).groups
    assert (group.cipher, group.integrity) == (AES_CBC_256, HMAC_SHA2_256_128)
    assert group.port == 0


def test_what_loses_data_is_warned_of(tmp_path: Path) -> None:
    lines = "activation_delay = 0\ndeactivation_delay = 1\nport = 5004"
    config = server_config.load(write_server(tmp_path, replaced("port = 5004", lines)))
    assert any("activation delay 0 s is shorter" in warning for warning in config.warnings)


def test_a_weak_key_wrap_is_warned_of(tmp_path: Path) -> None:
    lines = 'port = 5004\nkey_wrap = "kw-5649-128"'
    config = server_config.load(write_server(tmp_path, replaced("port = 5004", lines)))
    assert "kw-5649-128 is weaker than the 256 bits it wraps" in "".join(config.warnings)
    lines += '\ncipher = "aes-gcm-16-128"\nrekey_cipher = "aes-gcm-16-128"'
    config = server_config.load(write_server(tmp_path, replaced("port = 5004", lines)))
    assert "weaker" not in "".join(config.warnings)
