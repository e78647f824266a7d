"""Giving privileges up: after the sockets are bound nothing is kept that the work does not need.

The key server needs none. The member keeps CAP_NET_ADMIN for the kernel's SAs and policies, and
CAP_NET_BIND_SERVICE for rekey sockets that it opens later on a port below 1024. Both become undumpable, so
that keys do not end in core files and no process of the same user can read their memory.
"""

from __future__ import annotations

import os
import pwd
import resource
from typing import Final

import pyprctl

from gkmd.core.errors import ConfigError, LocalError

SERVICE_USER: Final = "gkmd"
MEMBER_CAPABILITIES: Final = frozenset({pyprctl.Cap.NET_ADMIN, pyprctl.Cap.NET_BIND_SERVICE})
NO_CAPABILITIES: Final[frozenset[pyprctl.Cap]] = frozenset()


def hide_memory() -> None:
    """No core files, no ptrace by the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pyprctl.set_dumpable(False)


def account(user: str) -> pwd.struct_passwd | None:
    """The account to become. Empty: the user gkmd if it exists; None: stay who we are.

    ConfigError when a user is configured that does not exist, or that we cannot become.
    """
    if os.geteuid() != 0:
        if user and user != _own_name():
            raise ConfigError(
                f"process.user: cannot become {user!r}: not started as root; leave it empty under systemd"
            )
        return None
    try:
        return pwd.getpwnam(user or SERVICE_USER)
    except KeyError:
        if user:
            raise ConfigError(
                f"process.user: there is no user {user!r}: `useradd --system --user-group {user}`"
            ) from None
        return None


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a number without an account, as systemd's DynamicUser or containers have
        return ""


def has_net_admin() -> bool:
    """Whether this process may change the kernel's SAs and policies."""
    return pyprctl.Cap.NET_ADMIN in pyprctl.CapState.get_current().effective


def drop(
    to: pwd.struct_passwd | None, keep: frozenset[pyprctl.Cap], supplementary: tuple[int, ...] = ()
) -> None:
    """Become ``to`` (None: stay this user) with the capabilities ``keep`` and no others, for good.

    Before any thread is started: capabilities belong to threads. LocalError when the system refuses.
    """
    try:
        held = pyprctl.CapState.get_current().permitted
        kept = set(keep & held)
        if to is not None:
            if pyprctl.Cap.SETPCAP in held:  # a container may have taken it from root
                for capability in pyprctl.Cap.probe_supported() - keep:
                    pyprctl.capbset_drop(capability)
            pyprctl.cap_set_ids(uid=to.pw_uid, gid=to.pw_gid, groups=supplementary)
        if to is not None or os.geteuid() != 0:
            pyprctl.CapState(effective=kept, permitted=kept, inheritable=set()).set_current()
        pyprctl.set_no_new_privs()
    except OSError as error:
        raise LocalError(f"cannot give up privileges: {error.strerror}") from None
    if to is not None and os.geteuid() == 0 and to.pw_uid != 0:
        raise LocalError("cannot give up privileges: still root afterwards")
