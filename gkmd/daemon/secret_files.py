"""Reading files that hold secrets: who else can read them is checked on the open file, then they are read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from gkmd.core.errors import ConfigError
from gkmd.core.secret import SecretBytes

_LARGEST_OCTETS: Final = 16 << 20
_FORBIDDEN_WITH_GROUP: Final = 0o027
_FORBIDDEN: Final = 0o077
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=


def read_secret(path: Path, what: str, group_may_read: bool = True) -> SecretBytes:
    """The file's octets. ConfigError when it cannot be read, or when others can read or change it."""
    try:
        # Not blocking: a pipe that nobody writes to would keep us for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{what} {path} is no regular file")
        if mode & (_FORBIDDEN_WITH_GROUP if group_may_read else _FORBIDDEN):
            good = "0640" if group_may_read else "0600"
            raise ConfigError(
                f"{what} {path} has mode {mode:04o}, expected {good} or stricter: `chmod {good} {path}`"
            )
        if found.st_size > _LARGEST_OCTETS:
            raise ConfigError(f"{what} {path} is too large to be one")
        return SecretBytes(file.read(_LARGEST_OCTETS))


def read_public(path: Path, what: str) -> bytes:
    """The octets of a file without secrets; ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror}") from None


def check_mode(path: Path) -> None:
    """ConfigError when others can read or change a configuration file that turned out to hold secrets."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _FORBIDDEN_WITH_GROUP:
        raise ConfigError(
            f"{path}:1: holds secrets but has mode {mode:04o}, expected 0640 or stricter: `chmod 0640 {path}`"
        )


def systemd_credential(name: str) -> Path | None:
    """The file of a systemd credential, None when the service manager gave none of this name."""
    folder = os.environ.get(CREDENTIALS_VARIABLE, "")
    path = Path(folder, name)
    return path if folder and path.exists() else None
