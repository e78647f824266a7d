"""portal.toml: what it means, and how a wrong one is told; and the process that it makes."""

from __future__ import annotations

import re
import ssl
import tomllib
from pathlib import Path

import pytest

from gkmd.core.errors import ConfigError, LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.crypto.issuing import make_authority, make_certificate
from gkmd.daemon.section import REQUIRED, Section
from gkmd.daemon.toml_source import TomlSource
from gkmd.web import config as portal_config
from gkmd.web.app import application
from gkmd.web.client import DaemonClient
from gkmd.web.process import bind, server_config

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text()
TLS = 'certificate = "a.crt"\nkey = "a.key"\n'


def load(folder: Path, text: str) -> portal_config.PortalConfig:
    file = folder / "portal.toml"
    file.write_text(text)
    return portal_config.load(file)


def test_everything_has_a_default_that_works(tmp_path: Path) -> None:
    found = load(tmp_path, "")
    assert found.listen == ("127.0.0.1", 8443)
    assert found.origin.startswith("https://")
    assert found.warnings


def test_everything_can_be_set(tmp_path: Path) -> None:
    secret = tmp_path / "pay.secret"
    secret.write_text("a secret of sixteen octets\n")
    secret.chmod(0o600)
    found = load(
        tmp_path,
        '[process]\nlog_level = "debug"\n[portal]\nlisten = "[::]:443"\norigin = "https://Portal.Example:443"\n'
        + TLS
        + 'socket = "p.sock"\ntitle = "Us"\ncontact = "call us"\nsign_up = true\ncurrency = "JPY"\n'
        'trusted_proxies = ["10.0.0.0/8"]\nrate = 5\nburst = 50\nlist_octets = 4096\n'
        '[[provider]]\nname = "pay"\nkind = "webhook"\nurl = "https://pay.example/begin"\n'
        'secret_file = "pay.secret"\nredirect_hosts = ["checkout.pay.example"]\n'
        '[[provider]]\nname = "card"\nkind = "stripe"\nsecret_file = "pay.secret"\n',
    )
    assert (found.listen, found.origin, found.secure) == (("::", 443), "https://portal.example", True)
    assert found.socket == tmp_path / "p.sock"
    assert found.certificate == tmp_path / "a.crt"
    assert found.providers[0].secret.reveal() == b"a secret of sixteen octets"
    assert found.providers[1].url == "https://api.stripe.com"
    assert "octets" not in repr(found).replace("list_octets", "").replace("26 octets", "")
    assert not found.warnings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("portal = 5", "portal"),
        ("[portal]\nbogus = 1", "portal.bogus"),
        ('[portal]\nlisten = "0.0.0.0:80"', "without TLS"),
        ('[portal]\ncertificate = "a"', "together"),
        ('[portal]\norigin = "portal.example"', "origin"),
        ('[portal]\norigin = "https://portal.example/path"', "origin"),
        ("[portal]\n" + TLS + 'origin = "http://portal.example"', "https"),
        ("[portal]\nrate = 0", "rate"),
        ('[portal]\ncurrency = "euro"', "currency"),
        ('[[provider]]\nname = "a"\nkind = "bank"', "kind"),
        (
            '[[provider]]\nname = "a"\nkind = "webhook"\nurl = "https://a.example"\nsecret_file = "none"',
            "none",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert told in str(caught.value)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a secret of sixteen octets")
    (tmp_path / "s").chmod(0o644)
    text = '[[provider]]\nname = "a"\nkind = "webhook"\nurl = "https://a.example"\nsecret_file = "s"\n'
    with pytest.raises(ConfigError, match="mode 0644"):
        load(tmp_path, text)


def test_the_process_takes_a_certificate_that_works_only(tmp_path: Path) -> None:
    rng = SeededRng(1)
    authority = make_authority("portal CA", 1_700_000_000.0, 10_000, rng, "ecdsa-p256")
    names = [Identity.parse("fqdn:portal.example")]
    own = make_certificate(authority, "portal", names, 1_700_000_000.0, 10_000, rng, "ecdsa-p256")
    (tmp_path / "a.crt").write_bytes(own.certificate_pem)
    (tmp_path / "a.key").write_bytes(own.key_pem.reveal())
    config = load(tmp_path, '[portal]\nlisten = "127.0.0.1:0"\norigin = "https://portal.example"\n' + TLS)
    made = server_config(config, application(config, DaemonClient(config.socket)))
    assert made.ssl is not None
    assert made.ssl.minimum_version == ssl.TLSVersion.TLSv1_2
    assert not made.proxy_headers
    (tmp_path / "a.key").write_text("no key")
    with pytest.raises(ConfigError, match="belong together"):
        server_config(config, application(config, DaemonClient(config.socket)))
    (tmp_path / "a.key").unlink()
    with pytest.raises(ConfigError, match="No such file"):
        server_config(config, application(config, DaemonClient(config.socket)))


def test_an_address_that_is_taken_is_told() -> None:
    first = bind(("127.0.0.1", 0))
    try:
        with pytest.raises(LocalError, match="configure another"):
            bind(("127.0.0.1", first.getsockname()[1]))
    finally:
        first.close()


def test_every_key_is_documented_with_its_default(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a secret of sixteen octets")
    (tmp_path / "s").chmod(0o600)
    file = tmp_path / "portal.toml"
    provider = '[[provider]]\nname = "a"\nkind = "webhook"\nurl = "https://a.example"\nsecret_file = "s"\n'
    file.write_text(provider)
    section = Section(TomlSource.read(file))
    portal_config.read(section)
    told = {}
    for heading, body in re.findall(r"^### Portal, (.*?)\n(.*?)(?=^#|\Z)", DOCUMENT, re.M | re.S):
        table = re.sub(r"[`\[\]]", "", heading)
        for key, default in re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", body, re.M):
            told[f"{table}.{key}"] = default
    assert told.keys() == section.asked.keys()
    for key, default in told.items():
        if default.startswith("`"):
            assert tomllib.loads(f"k = {default.strip('`')}")["k"] == section.asked[key], key
        elif default == "required":
            assert section.asked[key] is REQUIRED, key
