"""Passwords beside the loop: bounds, turns, ends. Argon2id itself is looked at in tests/crypto."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gkmd.core.errors import CryptoError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import hash_password
from gkmd.daemon.password_pool import Asker, PasswordPool, PoolFull, workers_by_default

EAP, SIGN_IN = Asker.REGISTRATION, Asker.SIGN_IN
GOOD = SecretBytes(b"correct horse")


class Bench:
    """A pool whose threads stand still until they are told to go on, and note what they work at."""

    def __init__(self, workers: int = 1, most: int = 3) -> None:
        self.done: list[str] = []
        self.go = threading.Event()
        self.pool = PasswordPool(workers, most, self.verify, lambda password: "$hash")

    def verify(self, verifier: str, password: SecretBytes) -> None:
        assert self.go.wait(60)
        self.done.append(verifier)
        if verifier == "wrong":
            raise CryptoError("no")
        if verifier == "fault":
            raise ZeroDivisionError


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def wrapper() -> None:
        asyncio.run(test())

    wrapper.__name__ = test.__name__
    return wrapper


@in_loop
async def test_argon2id() -> None:
    pool = PasswordPool(2, 8)
    verifier = await pool.hash(GOOD, SIGN_IN)
    assert verifier.startswith("$argon2id$")
    found = await asyncio.gather(
        pool.verify(verifier, GOOD, EAP),
        pool.verify(verifier, SecretBytes(b"Correct horse"), EAP),
        pool.verify("$argon2id$nonsense", GOOD, SIGN_IN),
        pool.verify(hash_password(GOOD), GOOD, SIGN_IN),
    )
    assert found == [True, False, False, True]
    pool.close()


@in_loop
async def test_a_full_queue_says_so_and_the_other_asker_has_its_own() -> None:
    bench = Bench(workers=2, most=3)
    under_way = [bench.pool.verify(f"r{number}", GOOD, EAP) for number in range(5)]
    for _ in range(100):
        with pytest.raises(PoolFull):
            bench.pool.verify("more", GOOD, EAP)
    under_way += [bench.pool.verify(f"s{number}", GOOD, SIGN_IN) for number in range(3)]
    with pytest.raises(PoolFull):
        bench.pool.hash(GOOD, SIGN_IN)
    assert bench.pool.waiting == 6
    bench.go.set()
    assert await asyncio.gather(*under_way) == [True] * 8
    assert bench.pool.waiting == 0
    assert "more" not in bench.done
    bench.pool.close()


@in_loop
async def test_the_two_askers_take_turns() -> None:
    bench = Bench(most=10)
    first = bench.pool.verify("first", GOOD, EAP)
    flood = [bench.pool.verify(f"r{number}", GOOD, EAP) for number in range(8)]
    late = [bench.pool.verify(f"s{number}", GOOD, SIGN_IN) for number in range(2)]
    bench.go.set()
    await asyncio.gather(first, *flood, *late)
    assert bench.done[:5] == ["first", "s0", "r0", "s1", "r1"]
    bench.pool.close()


@in_loop
async def test_the_loop_goes_on_meanwhile() -> None:
    bench = Bench()
    slow = bench.pool.verify("slow", GOOD, EAP)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not slow.done()
    bench.go.set()
    assert await slow
    bench.pool.close()


@in_loop
async def test_who_gave_up_is_passed_over() -> None:
    bench = Bench()
    first, given_up, last = (bench.pool.verify(name, GOOD, EAP) for name in ("first", "gone", "wrong"))
    given_up.cancel()
    bench.go.set()
    assert await first
    assert not await last
    assert bench.done == ["first", "wrong"]
    bench.pool.close()


@in_loop
async def test_a_fault_is_one_answer_only() -> None:
    bench = Bench()
    bench.go.set()
    with pytest.raises(ZeroDivisionError):
        await bench.pool.verify("fault", GOOD, EAP)
    assert await bench.pool.verify("next", GOOD, EAP)
    bench.pool.close()


@in_loop
async def test_close_leaves_nobody_waiting() -> None:
    bench = Bench()
    under_way, waiting = (bench.pool.verify(name, GOOD, EAP) for name in ("under way", "waiting"))
    bench.pool.close()
    assert waiting.cancelled()
    with pytest.raises(PoolFull):
        bench.pool.verify("late", GOOD, EAP)
    bench.go.set()
    assert await under_way
    assert bench.done == ["under way"]


def test_workers_have_a_lower_priority_than_the_loop() -> None:
    async def run() -> int:
        found: list[int] = []

        def verify(verifier: str, password: SecretBytes) -> None:
            found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

        pool = PasswordPool(1, 1, verify)
        await pool.verify("x", GOOD, EAP)
        pool.close()
        return found[0]

    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert asyncio.run(run()) == min(own + 10, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_one_processor_is_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, workers in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=processors: set(range(n)))
        assert workers_by_default() == workers
