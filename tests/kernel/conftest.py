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

    async def run() -> None:
        try:
            await pyfuncitem.obj(**arguments)
        finally:
            # After a failure the test's data planes are still open, and belong to this loop.
            for fixture in pyfuncitem.funcargs.values():
                if isinstance(fixture, Wire):
                    fixture.crash()
            await asyncio.sleep(0)

    asyncio.run(run(), debug=True)
    return True


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Wire]:
    """Namespaces cost a second in a guest kernel: the tests of a module have the same ones in turn."""
    with Wire("s1", "s2", "rx") as wire:
        yield wire


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    """Two senders and a receiver on one wire, clean."""
    shared_wire.begin()
    yield shared_wire
    shared_wire.clean()


@pytest.fixture
def host(wire: Wire) -> Host:
    """One host, for tests that need no neighbours."""
    return wire["rx"]
