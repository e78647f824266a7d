"""Passwords are compared and hashed beside the event loop: each takes tens of milliseconds and 19 MiB.

A few threads of lower priority work for two kinds of askers, registrations (EAP) and sign-ins, in turn: who
floods the one kind does not keep the other waiting. Each kind has a queue of its own, and a full one is told
at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gkmd.core.errors import CryptoError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import hash_password, verify_password

_NICER: Final = 10  # steps of priority below the loop's thread
_NICEST: Final = 19


class Asker(enum.Enum):
    REGISTRATION = "registration"
    SIGN_IN = "sign-in"


class PoolFull(Exception):
    """As many wait as may."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Any]
    answer: asyncio.Future[Any]


class PasswordPool:
    """Used in the event loop's thread. ``workers`` threads; ``most`` jobs of each asker may wait.

    ``verify`` and ``hash`` are for tests: by default argon2id.
    """

    def __init__(
        self,
        workers: int,
        most: int,
        verify: Callable[[str, SecretBytes], None] = verify_password,
        hash: Callable[[SecretBytes], str] = hash_password,
    ) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._free = workers
        self._most: Final = most
        self._verify: Final = verify
        self._hash: Final = hash
        self._waiting: Final[dict[Asker, deque[_Job]]] = {asker: deque() for asker in Asker}
        self._turn: Final = deque(Asker)
        self._threads: Final = ThreadPoolExecutor(workers, "password", _lower_priority)
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs that no thread has begun."""
        return sum(map(len, self._waiting.values()))

    def verify(self, verifier: str, password: SecretBytes, asker: Asker) -> asyncio.Future[bool]:
        """Whether it is the password of this argon2id string. Raises PoolFull."""

        def right() -> bool:
            try:
                self._verify(verifier, password)
            except CryptoError:
                return False
            return True

        return self._submit(right, asker)

    def hash(self, password: SecretBytes, asker: Asker) -> asyncio.Future[str]:
        """An argon2id string of it. Raises PoolFull."""
        return self._submit(lambda: self._hash(password), asker)

    def close(self) -> None:
        """Nobody gets an answer any more; what a thread is at is not waited for."""
        self._closed = True
        for queue in self._waiting.values():
            for job in queue:
                job.answer.cancel()
            queue.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[[], Any], asker: Asker) -> asyncio.Future[Any]:
        queue = self._waiting[asker]
        if self._closed or (not self._free and len(queue) >= self._most):
            raise PoolFull
        answer: asyncio.Future[Any] = self._loop.create_future()
        queue.append(_Job(work, answer))
        self._dispatch()
        return answer

    def _dispatch(self) -> None:
        while self._free and (job := self._next()) is not None:
            self._free -= 1
            self._threads.submit(job.work).add_done_callback(partial(self._hand_over, job))

    def _next(self) -> _Job | None:
        for _ in range(len(self._turn)):
            asker = self._turn[0]
            self._turn.rotate(-1)
            queue = self._waiting[asker]
            while queue:
                job = queue.popleft()
                if not job.answer.cancelled():
                    return job
        return None

    def _hand_over(self, job: _Job, found: Future[Any]) -> None:
        """In the worker's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._finished, job, found)

    def _finished(self, job: _Job, found: Future[Any]) -> None:
        self._free += 1
        if not self._closed:
            self._dispatch()
        if job.answer.cancelled() or found.cancelled():
            job.answer.cancel()
        elif (error := found.exception()) is not None:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(found.result())


def workers_by_default() -> int:
    """One processor is the loop's."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def _lower_priority() -> None:
    """Of this thread alone; where it is not allowed, registrations wait for sign-ins a little."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread) + _NICER
        os.setpriority(os.PRIO_PROCESS, thread, min(nice, _NICEST))
