"""One member for each kernel's IPsec: a second one would take the first one's SAs and policies for a crash's.

What stands for the right is a Unix socket with an abstract name. Such names belong to a network namespace, as
SAs and policies do, and a crash gives them back. Anybody can take one, so only root and our own user count.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from gkmd.core.errors import LocalError
from gkmd.daemon.control_socket import peer_of

NAME: Final = "\0gkmd-member-xfrm"
_WAITING: Final = 64  # who may ask before they are answered: also while the holder is busy starting
_TRIES: Final = 20  # to ask a holder with whom too many wait,
_PAUSE: Final = 0.1  # and seconds between them

Tell = Callable[[str, str, dict[str, Any]], None]


class Claim(contextlib.AbstractContextManager["Claim"]):
    """The right, as long as it is not closed. ``held`` is None when somebody else has the name."""

    def __init__(self, held: socket.socket | None) -> None:
        self._held: Final = held

    def answer(self) -> None:
        """From now on, in this event loop, whoever asks is answered: who is never answered fills the place
        of the next, who then takes us for a stranger.
        """
        if self._held is not None:
            asyncio.get_running_loop().add_reader(self._held, self._answer, self._held)

    def _answer(self, held: socket.socket) -> None:
        with contextlib.suppress(OSError):
            held.accept()[0].close()

    def __exit__(self, *exc: object) -> None:
        if self._held is not None:
            self._held.close()


def claim(users: frozenset[int], tell: Tell, name: str = NAME) -> Claim:
    """Hold it as long as the member lives. ``users`` are the numbers of those who are believed.

    LocalError when one of them has it: another member is at work. When somebody else has it, it is told and
    nothing more.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        opened.bind(name)
        opened.listen(_WAITING)
    except OSError as error:
        opened.close()
        if error.errno != errno.EADDRINUSE:
            raise LocalError(f"cannot see whether another member is at work: {error.strerror}") from None
    else:
        return Claim(opened)
    holder = _holder(name)
    if holder is not None and holder[1] in users:
        raise LocalError(
            f"another gkmd member (process {holder[0]}) is at work in this network namespace, and the "
            "kernel's IPsec is its: put all groups and tickets into one configuration, or run this one in a "
            "namespace of its own"
        )
    who = "nobody who answers" if holder is None else f"process {holder[0]} of user {holder[1]}"
    tell("name-taken", "warning", {"name": name.replace("\0", "@"), "by": who})
    return Claim(None)


def _holder(name: str) -> tuple[int, int] | None:
    """(process, user) of who listens there, None when nobody takes connections."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        for _ in range(_TRIES):
            try:
                probe.connect(name)
                return peer_of(probe)
            except BlockingIOError:  # too many wait for it
                time.sleep(_PAUSE)
            except OSError:
                break
        return None
