"""A member's configuration of names, passwords, vouchers, wishes, tickets and portals: good and bad."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from daemon_config import write

from gkmd.core.errors import ConfigError
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.money import Money
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.issuing import make_authority
from gkmd.daemon import member_config
from gkmd.daemon.member import not_taken_over

CONFIG = """\
dataplane = "recording"
linger = "2s"

[server]
addresses = ["127.0.0.1"]
identity = "fqdn:gcks.example"

[credentials]
name = "ann@example.org"
password_file = "password"
ca = ["ca.crt"]

[[group]]
name = "concert"
address = "239.192.0.7"
when = "wanted"
voucher = "ABCD-EFGH-JKMN-PQRS"
most = "2.50 EUR"

[tickets]
folder = "tickets"
when = "always"
interface = "eth0"
source = "192.0.2.9"

[portal]
url = "https://portal.example/tv/"
login = "ann"
password_file = "password"
ca = "ca.crt"
every = "5m"
get = "free"
"""


SOCKET = """\
[control]
socket = "other.sock"
[server]"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = make_authority("ca", time.time(), 10, SeededRng("login"))
    write(tmp_path, "ca.crt", authority.certificate_pem.decode())
    write(tmp_path, "password", "correct horse\n")
    write(tmp_path, "token", "a token\n")
    return tmp_path


def test_a_configuration_that_says_everything(folder: Path) -> None:
    config = member_config.load(write(folder, "member.toml", CONFIG))
    assert config.identity == Identity.parse("email:ann@example.org")
    assert config.credentials is not None
    assert config.credentials.identity == config.identity
    assert config.credentials.password == SecretBytes(b"correct horse")
    (join,) = config.joins
    assert join.evidence == Evidence("ABCD-EFGH-JKMN-PQRS", Money("EUR", 250))
    assert (config.wanted, config.linger) == ({"concert"}, 2.0)
    assert (config.tickets.folder, config.tickets.wanted) == (folder / "tickets", False)
    assert (config.tickets.local.interface, str(config.tickets.local.source)) == ("eth0", "192.0.2.9")
    portal = config.portal
    assert portal is not None
    assert (portal.login.url, portal.login.login) == ("https://portal.example/tv", "ann")
    assert portal.login.password == SecretBytes(b"correct horse")
    assert (portal.every, portal.get_free, portal.login.token) == (300.0, True, None)
    assert "correct horse" not in repr(config)


def test_a_name_without_an_at_is_a_key_id(folder: Path) -> None:
    config = member_config.load(write(folder, "member.toml", CONFIG.replace("ann@example.org", "ann")))
    assert config.identity == Identity.parse("keyid:ann")


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ('name = "ann@example.org"\n', "", "credentials.name: `name` and `password_file` go together"),
        ('password_file = "password"\nca = ["', 'ca = ["', "credentials.name: `name` and `password_file`"),
        ('"password"\nca = ["', '"no"\nca = ["', "credentials.password_file: cannot read file"),
        ('ca = ["ca.crt"]\n', "", "before it gets the password: expected `ca`"),
        ('dataplane = "recording"', 'identity = "fqdn:a.example"', "identity: found fqdn:a.example, but who"),
        ('ca = ["ca.crt"]', 'ca = ["ca.crt"]\nkey = "a.key"', "either a name with its password, or a `key`"),
        ("ann@example.org", "änn@example.org", "not a name to log in with"),
        ('address = "239.192.0.7"\n', "", '"wanted" needs `address`'),
        ('when = "wanted"', 'when = "sometimes"', "expected one of always, wanted"),
        ("ABCD-EFGH-JKMN-PQRS", "A" * 65, "group.voucher: expected a code"),
        ("ABCD-EFGH-JKMN-PQRS", "ABC", "group.voucher: expected a code"),
        ("2.50 EUR", "2.505 EUR", 'expected an amount such as "2.50 EUR"'),
        ("2.50 EUR", "-1 EUR", "group.most: found"),
        ("https://portal", "http://portal", "portal.url: found"),
        ('url = "https://portal.example/tv/"\n', "", "portal.url: missing"),
        ('login = "ann"\n', "", "`login` and `password_file` go together"),
        ('every = "5m"', 'every = "1s"', "portal.every: found"),
        ('every = "5m"', 'token_file = "token"', "expected either `token_file`, or `login`"),
        ('ca = "ca.crt"', 'ca = "password"', "portal.ca: cannot use the CA certificate"),
        ('get = "free"', 'get = "all"', "expected one of never, free"),
        ('source = "192.0.2.9"', 'sauce = "192.0.2.9"', "did you mean 'source'?"),
        ('[server]\naddresses = ["127.0.0.1"]', "[server]", "server.addresses: missing"),
    ],
)
def test_what_is_wrong_is_told(folder: Path, found: str, instead: str, told: str) -> None:
    assert found in CONFIG
    with pytest.raises(ConfigError) as caught:
        member_config.load(write(folder, "member.toml", CONFIG.replace(found, instead, 1)))
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{folder}/member.toml:")
    assert "ABCD" not in str(caught.value)


def test_secrets_that_others_can_read(folder: Path) -> None:
    file = write(folder, "member.toml", CONFIG)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="holds secrets but has mode 0644"):
        member_config.load(file)
    file.chmod(0o640)
    (folder / "password").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 0640"):
        member_config.load(file)
    write(folder, "password", "two\nlines\n")
    with pytest.raises(ConfigError, match="holds no secret of one line"):
        member_config.load(file)


def test_tickets_alone_need_no_server(folder: Path) -> None:
    config = member_config.load(write(folder, "member.toml", '[tickets]\nfolder = "here"\n'))
    assert (config.joins, config.servers, config.credentials) == ((), (), None)
    with pytest.raises(ConfigError, match=r"no group to join: .* tickets\.folder, portal\.url, or --ticket"):
        member_config.load(write(folder, "member.toml", ""))


@pytest.mark.parametrize(
    ("name", "text", "changed"),
    [
        ("password", "another horse\n", ["credentials", "portal"]),
        ("member.toml", CONFIG.replace('"2s"', '"3s"'), ["linger"]),
        ("member.toml", CONFIG.replace('"recording"', '"xfrm"'), ["dataplane"]),
        ("member.toml", CONFIG.replace("[server]", SOCKET), ["control"]),
        ("member.toml", CONFIG + '[process]\nlog_level = "debug"\n', []),
    ],
    ids=["a password", "the linger", "the kernel", "the socket", "logging"],
)
def test_a_reload_names_what_it_does_not_take_over(
    folder: Path, name: str, text: str, changed: list[str]
) -> None:
    file = write(folder, "member.toml", CONFIG)
    old = member_config.load(file)
    assert not_taken_over(member_config.load(file), old) == []
    write(folder, name, text)
    assert not_taken_over(member_config.load(file), old) == changed
