"""The control socket's file: made once, told from a stale one, open to its group only."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from gkmd.core.errors import ConfigError, LocalError
from gkmd.daemon.process_config import ControlSettings

_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: process, user, group
_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h, not in Python's socket module
_GROUPS_OCTETS: Final = 4096
_BACKLOG: Final = 64


def bind_control(settings: ControlSettings, owner: pwd.struct_passwd | None) -> socket.socket:
    """A listening socket at the configured path, owned by ``owner`` if given.

    LocalError when another process serves it, or it cannot be made. A socket file that nobody listens on was
    left by a crash and is replaced.
    """
    path = settings.socket
    uid, gid = (-1, -1) if owner is None else (owner.pw_uid, owner.pw_gid)
    if settings.group:
        gid = group_number(settings.group, settings.table)
    _make_folder(settings, owner)
    _clear(path, settings.table)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # The file gets its mode as it is made, and a link that somebody puts in its place is not followed: the
    # folder may belong to the user that we are about to become, and we may still be root.
    before = os.umask(0o777 & ~settings.mode)
    try:
        control.bind(str(path))
        os.chown(path, uid, gid, follow_symlinks=False)
        control.listen(_BACKLOG)
    except OSError as error:
        control.close()
        raise LocalError(
            f"cannot make the control socket {path}: {_reason(error)}; {_advice(error, settings.table)}"
        ) from None
    finally:
        os.umask(before)
    return control


def group_number(group: str, table: str = "control") -> int:
    """The number of the group that may use the socket; ConfigError when it does not exist."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(
            f"{table}.group: there is no group {group!r}: `groupadd --system {group}`"
        ) from None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _advice(error: OSError, table: str) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"configure [{table}] socket in a folder that this user can write"
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    if error.errno == errno.ENAMETOOLONG or "path too long" in str(error):
        return "configure a shorter path"
    return f"configure another path in [{table}] socket"


def _make_folder(settings: ControlSettings, owner: pwd.struct_passwd | None) -> None:
    folder = settings.socket.parent
    try:
        if not folder.exists():
            folder.mkdir(mode=0o755, parents=True)
            if owner is not None:  # so that the socket can be removed at the end
                os.chown(folder, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise LocalError(
            f"cannot make the folder {folder} of the control socket: {error.strerror};"
            f" {_advice(error, settings.table)}"
        ) from None


def _clear(path: Path, table: str) -> None:
    """Remove what a crash left; LocalError when it lives, or is no socket."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalError(f"cannot look at {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise LocalError(f"{path} exists and is no socket: move it away, or configure another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        except OSError as error:
            raise LocalError(f"cannot probe the control socket {path}: {error.strerror}") from None
    raise LocalError(
        f"another gkmd is running: it answers on {path}; stop it, or configure another [{table}] socket"
    )


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """(process, user) at the other end of a Unix socket."""
    octets = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(octets)
    return process, user


def is_ours(connection: socket.socket) -> bool:
    """Whether root or our own user is at the other end."""
    return peer_of(connection)[1] in (0, os.geteuid())


def is_welcome(connection: socket.socket, gid: int) -> bool:
    """Root, our own user, and members of the group ``gid``.

    The file mode says the same; this holds where a file system or a careless chmod does not.
    """
    _, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    if user in (0, os.geteuid()) or group == gid:
        return True
    try:
        octets = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_OCTETS)
    except OSError:  # kernels before 4.13
        return False
    return gid in struct.unpack(f"={len(octets) // 4}I", octets[: len(octets) // 4 * 4])
