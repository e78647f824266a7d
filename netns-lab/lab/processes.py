"""Programs that the lab starts inside hosts: by argument list, with a log each, ended by their own pid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.waits import PATIENCE_SECONDS, NotSeen, wait_for


class Process:
    """One running program. ``log`` has both its outputs; ``good_statuses`` may be added to before it ends."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.stopped_by_us = False
        self.good_statuses: tuple[int, ...] = (0,)
        self._command = list(command)
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status, minus the signal's number when one ended it, None while it lives."""
        return self._child.poll()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_log(self, pattern: str, within: float = PATIENCE_SECONDS) -> re.Match[str]:
        """Wait until the log has a match of this regular expression. NotSeen when not, or when it ended."""

        def fact() -> re.Match[str] | None:
            alive = self.alive  # asked before the log is read: what it wrote before its end counts
            match = re.search(pattern, self.log_text(), re.MULTILINE)
            if match is None and not alive:
                raise NotSeen(f"{self.name} ended with {self.status} before its log said {pattern!r}")
            return match

        return wait_for(f"{pattern!r} in the log of {self.name}", fact, within)

    def wait_until(self, what: str, fact: Callable[[], object], within: float = PATIENCE_SECONDS) -> None:
        """Wait for a fact that this program brings about; NotSeen at once when it has ended before."""

        def asked() -> object:
            alive = self.alive
            answer = fact()
            if not answer and not alive:
                last = self.log_text().strip().splitlines()[-1:]
                raise NotSeen(f"{self.name} ended with {self.status} before: {what} {last}")
            return answer

        wait_for(what, asked, within)

    def tell(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def pause(self) -> None:
        self.tell(signal.SIGSTOP)

    def resume(self) -> None:
        self.tell(signal.SIGCONT)

    def wait(self, within: float = PATIENCE_SECONDS) -> int:
        """Wait for its end by itself; its exit status."""
        self.stopped_by_us = True
        try:
            return self._child.wait(within)
        except subprocess.TimeoutExpired:
            raise NotSeen(f"not within {within:g} s: the end of {self.name}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = PATIENCE_SECONDS) -> int:
        """Ask it to end and wait for it; its exit status. NotSeen (and killed) when it does not."""
        self.stopped_by_us = True
        if self.alive:
            self.tell(number)
            try:
                self._child.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
                raise NotSeen(f"not within {within:g} s: the end of {self.name} on {number.name}") from None
        return self._child.wait()

    def kill(self) -> None:
        """kill -9, and wait until the kernel has cleared it away."""
        self.stopped_by_us = True
        self.good_statuses = (*self.good_statuses, -signal.SIGKILL)
        self._child.kill()
        self._child.wait()
