"""Small working configurations for the tests of the daemons."""

from __future__ import annotations

from pathlib import Path

SERVER = """\
identity = "fqdn:gcks.example"
listen = ["127.0.0.1:0"]

[state]
path = "state/state.db"

[control]
socket = "server.sock"

[credentials.psk]
"fqdn:rx1.example" = "0123456789abcdef"
"fqdn:tx.example" = "0123456789abcdef"

[[group]]
name = "news"
address = "239.10.0.1"
port = 5004
receivers = ["any"]
senders = ["fqdn:tx.example"]
"""

MEMBER = """\
identity = "fqdn:tx.example"
local = ["127.0.0.1:0"]
dataplane = "recording"

[server]
addresses = ["127.0.0.1"]
port = 18848
identity = "fqdn:gcks.example"

[control]
socket = "member.sock"

[credentials.psk]
"fqdn:gcks.example" = "0123456789abcdef"

[[group]]
name = "news"
role = "both"
interface = "lo"
"""


def write(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    """A file of this mode."""
    path = folder / name
    path.touch(mode)
    path.write_text(text)
    path.chmod(mode)
    return path


def write_server(folder: Path, text: str = SERVER) -> Path:
    """A server's configuration and its master key."""
    key = folder / "master.key"
    if not key.exists():
        write(folder, "master.key", "00112233445566778899aabbccddeeff" * 2, 0o400)
    return write(folder, "server.toml", text)


def write_member(folder: Path, text: str = MEMBER) -> Path:
    return write(folder, "member.toml", text)
