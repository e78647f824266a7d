"""docs/configuration.md knows every key, its real default, and examples that load."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from daemon_config import MEMBER, SERVER, write, write_member, write_server

from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.issuing import make_authority, make_certificate
from gkmd.daemon import member_config, server_config
from gkmd.daemon.section import REQUIRED, Section
from gkmd.daemon.toml_source import TomlSource

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "configuration.md").read_text()
# Defaults that follow from something else, told in words.
DERIVED = {"identity", "group.id", "group.rekey_address"}
# A server with every table, for keys that are only asked for when theirs is there.
PLATFORM = """\

[platform]

[[platform.provider]]
name = "bank"
kind = "webhook"
secret_file = "bank.secret"
"""
# Tables whose keys are the operator's own.
FREE = {"credentials.psk", "credentials.pinned"}


def documented(kind: str) -> dict[str, str]:
    """Dotted key -> default as it stands in the document."""
    found: dict[str, str] = {}
    for heading, body in re.findall(rf"^### {kind}, (.*?)\n(.*?)(?=^#|\Z)", DOCUMENT, re.M | re.S):
        prefix = re.sub(r"[`\[\]]", "", heading)
        prefix = "" if prefix == "top level" else f"{prefix}."
        for key, default in re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", body, re.M):
            assert prefix + key not in found
            found[prefix + key] = default
    return found


def server_with_platform(folder: Path, text: str = "") -> Path:
    write(folder, "bank.secret", "0123456789abcdef")
    return write_server(folder, text or SERVER + PLATFORM)


def asked(kind: str, folder: Path) -> dict[str, object]:
    """Dotted key -> default that the code asks for."""
    file = server_with_platform(folder) if kind == "Server" else write_member(folder)
    section = Section(TomlSource.read(file))
    (server_config if kind == "Server" else member_config).read(section, file)
    keys = {key: value for key, value in section.asked.items() if not key.startswith("credentials.psk.")}
    return keys | {key: {} for key in FREE}


@pytest.mark.parametrize("kind", ["Server", "Member"])
def test_every_key_is_documented_with_its_default(kind: str, tmp_path: Path) -> None:
    told, real = documented(kind), asked(kind, tmp_path)
    assert told.keys() == real.keys()
    for key, default in told.items():
        if key in DERIVED:
            continue
        if real[key] is REQUIRED:
            assert default == "required", key
        else:
            assert tomllib.loads(f"k = {default.strip('`')}")["k"] == real[key], key


@pytest.mark.parametrize("kind", ["Server", "Member"])
def test_the_defaults_load_when_they_are_written_out(kind: str, tmp_path: Path) -> None:
    """A file that states every default means the same as one that states none."""
    text = SERVER + PLATFORM if kind == "Server" else MEMBER
    module = server_config if kind == "Server" else member_config
    writer = server_with_platform if kind == "Server" else write_member
    plain = module.load(writer(tmp_path, text))
    tables: dict[str, list[str]] = {}
    for key, default in documented(kind).items():
        table, _, name = key.rpartition(".")
        stated = re.search(rf"^{name} = ", text, re.M)
        if default.startswith("`") and key not in DERIVED | FREE and not stated:
            tables.setdefault(table, []).append(f"{name} = {default.strip('`')}\n")
    for table, lines in tables.items():
        heading = "[[group]]\n" if table == "group" else f"[{table}]\n" if table else ""
        # A table that the file does not have goes before one that it has.
        place = heading if heading in text else "[credentials.psk]\n"
        stated = heading + "".join(lines)
        text = text.replace(place, stated if place == heading else stated + place, 1)
    assert module.load(writer(tmp_path, text)) == plain


def test_the_examples_load(tmp_path: Path) -> None:
    server, member, at_portal = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.S)
    rng, now = SeededRng("docs"), 1_800_000_000.0
    ca = make_authority("ca", now, 10, rng)
    own = make_certificate(ca, "gcks", [Identity.parse("fqdn:gcks.example")], now, 10, rng)
    write(tmp_path, "ca.crt", ca.certificate_pem.decode())
    write(tmp_path, "server.crt", own.certificate_pem.decode())
    write(tmp_path, "server.key", own.key_pem.reveal().decode())
    write(tmp_path, "psk.toml", '"fqdn:gcks.example" = "0123456789abcdef"\n')
    config = server_config.load(write(tmp_path, "server.toml", server))
    assert [group.name for group in config.groups] == ["news", "conference"]
    assert config.groups[1].shared_sa
    assert member_config.load(write(tmp_path, "member.toml", member)).joins[0].name == "news"
    write(tmp_path, "portal.token", "a token\n")
    write(tmp_path, "portal-ca.crt", ca.certificate_pem.decode())
    portal = member_config.load(write(tmp_path, "member.toml", at_portal)).portal
    assert portal is not None
    assert portal.login.token == SecretBytes(b"a token")
