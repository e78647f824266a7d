"""Two members on one kernel would undo each other's work; strangers cannot keep the first one out."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from gkmd.core.errors import LocalError
from gkmd.daemon.one_member import claim

US = frozenset({os.geteuid()})
STRANGERS = frozenset({os.geteuid() + 1})


def test_a_second_member_is_refused_until_the_first_has_gone() -> None:
    name, told = f"\0gkmd-test-{os.getpid()}", list[Any]()
    at_work = f"another gkmd member .process {os.getpid()}. is at work"
    with claim(US, lambda *w: told.append(w), name), pytest.raises(LocalError, match=at_work):
        claim(US, lambda *what: told.append(what), name)
    with claim(US, lambda *what: told.append(what), name):
        assert told == []


def test_who_is_not_believed_keeps_nobody_out() -> None:
    name, told = f"\0gkmd-test-{os.getpid()}", list[Any]()
    with claim(US, lambda *what: told.append(what), name), claim(STRANGERS, lambda *w: told.append(w), name):
        ((event, level, fields),) = told
    assert (event, level) == ("name-taken", "warning")
    assert fields == {"name": name.replace("\0", "@"), "by": f"process {os.getpid()} of user {os.geteuid()}"}


def test_nor_who_only_has_the_name() -> None:
    name, told = f"\0gkmd-test-{os.getpid()}", list[Any]()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as squatter:
        squatter.bind(name)
        with claim(US, lambda *what: told.append(what), name):
            assert [what[2]["by"] for what in told] == ["nobody who answers"]


def test_who_asks_again_and_again_is_refused_each_time() -> None:
    """A unit that is started anew each time that it ends, beside a member at work."""
    name, told = f"\0gkmd-test-{os.getpid()}", list[Any]()

    def ask() -> None:
        for _ in range(100):
            with pytest.raises(LocalError, match="another gkmd member"):
                claim(US, lambda *what: told.append(what), name)

    async def work() -> None:
        with claim(US, lambda *what: told.append(what), name) as right:
            right.answer()
            await asyncio.to_thread(ask)

    asyncio.run(work())
    assert told == []
