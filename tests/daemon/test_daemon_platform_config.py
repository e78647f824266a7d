"""[platform] of the server's configuration: what it means, and how a wrong one is told."""

from __future__ import annotations

import grp
import ipaddress
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from daemon_config import SERVER, write, write_server

from gkmd.core.errors import ConfigError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.crypto.issuing import make_authority
from gkmd.daemon import platform_config, server_config
from gkmd.group.platform.settings import PlatformSettings

PROVIDER = '[[platform.provider]]\nname = "a"\n'
PLATFORM = SERVER + "\n[platform]\n"


def load(folder: Path, more: str = "") -> platform_config.PlatformConfig:
    config = server_config.load(write_server(folder, PLATFORM + more)).platform
    assert config is not None
    return config


def test_it_is_off_without_its_table(tmp_path: Path) -> None:
    assert server_config.load(write_server(tmp_path)).platform is None


def test_an_empty_table_has_the_defaults_of_the_settings(tmp_path: Path) -> None:
    config = load(tmp_path)
    expected = PlatformSettings(
        server_identity="fqdn:gcks.example",
        server_addresses=(ipaddress.ip_address("127.0.0.1"),),
        server_port=config.settings.server_port,
    )
    assert config.settings == expected
    assert str(config.socket.socket) == "/run/gkmd/platform.sock"
    assert config.password_workers >= 1


def test_everything_set(tmp_path: Path) -> None:
    write(tmp_path, "bank.secret", "0123456789abcdef\n")
    authority = make_authority("ca", 1_800_000_000.0, 10, SeededRng("platform config"))
    write(tmp_path, "ca.crt", authority.certificate_pem.decode())
    config = load(
        tmp_path,
        'socket = "p.sock"\nserver_addresses = ["192.0.2.1", "2001:db8::1"]\nserver_port = 4500\n'
        'server_ca = "ca.crt"\npools = ["239.5.0.0/16"]\ncurrency = "JPY"\nfee = "2.5"\nfee_fixed = "7"\n'
        'sign_up = true\nsession_idle = "1h"\npassword_workers = 3\npassword_queue = 5\nrekey_ttl = 3\n'
        '[[platform.provider]]\nname = "bank"\nkind = "webhook"\nsecret_file = "bank.secret"\n',
    )
    settings = config.settings
    assert config.socket.socket == tmp_path / "p.sock"
    assert (config.password_workers, config.password_queue) == (3, 5)
    assert [str(address) for address in settings.server_addresses] == ["192.0.2.1", "2001:db8::1"]
    assert (settings.server_port, settings.rekey_ttl, settings.session_idle) == (4500, 3, 3600.0)
    assert settings.server_ca == authority.certificate_pem.decode()
    assert (settings.fee_points, settings.fee_fixed, settings.currency) == (250, 7, "JPY")
    (provider,) = settings.providers
    assert (provider.name, provider.kind, provider.secret.reveal()) == (
        "bank",
        "webhook",
        b"0123456789abcdef",
    )
    assert "0123456789abcdef" not in repr(config)


def test_the_authority_is_by_default_that_of_the_credentials(tmp_path: Path) -> None:
    authority = make_authority("ca", 1_800_000_000.0, 10, SeededRng("platform config"))
    write(tmp_path, "own.crt", authority.certificate_pem.decode())
    text = PLATFORM.replace("[credentials.psk]", '[credentials]\nca = ["own.crt"]\n[credentials.psk]')
    config = server_config.load(write_server(tmp_path, text)).platform
    assert config is not None
    assert config.settings.server_ca == authority.certificate_pem.decode()


def test_without_an_address_for_members_the_author_is_told(tmp_path: Path) -> None:
    text = PLATFORM.replace('["127.0.0.1:0"]', '["0.0.0.0:848", "[::]:848"]')
    (warning,) = server_config.load(write_server(tmp_path, text)).warnings
    assert "server_addresses" in warning
    assert not server_config.load(
        write_server(tmp_path, SERVER.replace("127.0.0.1:0", "0.0.0.0:848"))
    ).warnings


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('curency = "EUR"', "platform.curency", "did you mean 'currency'?"),
        ('currency = "euro"', "platform.currency", "three capital letters"),
        ('fee = "101"', "platform.fee", 'a percentage from "0" to "100"'),
        ('fee = "1.234"', "platform.fee", "at most two places"),
        ("fee = 2.5", "platform.fee", "a string"),
        ('fee_fixed = "-1"', "platform.fee_fixed", "an amount of EUR"),
        ('fee_fixed = "0.001"', "platform.fee_fixed", "an amount of EUR"),
        ('pools = ["10.0.0.0/8"]', "platform.pools", "a network of multicast addresses"),
        ('pools = ["224.0.0.0/3"]', "platform.pools", "a network of multicast addresses"),
        ('server_addresses = ["gcks.example"]', "platform.server_addresses", "an IPv4 or IPv6 address"),
        ('server_ca = "none.crt"', "platform.server_ca", "none.crt"),
        ("password_queue = 0", "platform.password_queue", "from 1 to"),
        ('mode = "0666"', "platform.mode", "without access for others"),
        (PROVIDER + 'kind = "cash"', "platform.provider.kind", "webhook, stripe"),
        (PROVIDER + 'kind = "stripe"\nsecret_file = "none"', "secret_file", "none"),
        (
            '[[platform.provider]]\nname = "a"\nkind = "stripe"\nsecret_file = "short"',
            "secret_file",
            "16 octets",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_key(tmp_path: Path, text: str, key: str, words: str) -> None:
    write(tmp_path, "short", "hunter2")
    with pytest.raises(ConfigError, match=re.escape(key)) as wrong:
        load(tmp_path, text + "\n")
    assert words in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


def test_two_providers_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, "secret", "0123456789abcdef")
    one = '[[platform.provider]]\nname = "bank"\nkind = "stripe"\nsecret_file = "secret"\n'
    with pytest.raises(ConfigError, match="a name that no other provider has"):
        load(tmp_path, one + one)


def test_a_providers_secret_is_not_for_others(tmp_path: Path) -> None:
    write(tmp_path, "secret", "0123456789abcdef", 0o644)
    with pytest.raises(ConfigError, match="chmod 0640"):
        load(tmp_path, PROVIDER + 'kind = "stripe"\nsecret_file = "secret"\n')


def test_the_portals_group_is_taken_where_it_is_and_may_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getgrnam(name: str) -> SimpleNamespace:
        if name != "gkmd-portal":
            raise KeyError(name)
        return SimpleNamespace(gr_gid=4242)

    monkeypatch.setattr(grp, "getgrnam", getgrnam)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getgroups", lambda: [4242])
    assert load(tmp_path).socket.group == "gkmd-portal"
    monkeypatch.setattr("os.getgroups", list)
    assert load(tmp_path).socket.group == ""
    assert load(tmp_path, 'group = "others"\n').socket.group == "others"


def test_member_files_know_who_the_server_is(tmp_path: Path) -> None:
    config = server_config.load(write_server(tmp_path, PLATFORM))
    assert config.platform is not None
    assert Identity.parse(config.platform.settings.server_identity) == config.identity


def test_a_library_that_is_missing_is_told_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "secret", "0123456789abcdef")
    monkeypatch.setitem(sys.modules, "stripe", None)
    with pytest.raises(ConfigError, match=r"platform\.provider\.kind.*gkmd\[stripe\]"):
        load(tmp_path, PROVIDER + 'kind = "stripe"\nsecret_file = "secret"\n')
