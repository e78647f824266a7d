"""Coroutine tests of this folder run each in an asyncio loop of their own, in debug mode."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest
from kernel_hosts import Host, Wire


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments), debug=True)
    return True


@pytest.fixture
def host() -> Iterator[Host]:
    """One host without neighbours."""
    with Wire("one") as wire:
        yield wire.hosts["one"]


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Two senders and a receiver on one wire."""
    with Wire("s1", "s2", "rx") as wire:
        yield wire
