"""Test traffic as a scenario sees it: a sender and receivers inside hosts, and their reports."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from lab.processes import Process
from lab.topology import Host
from lab.waits import NotSeen, wait_for


class _Program:
    """One traffic program with its JSON report."""

    def __init__(self, host: Host, name: str, words: list[str]) -> None:
        self.host = host
        self.name = name
        self._report = host.folder / f"{name}.json"
        self._asked = 0
        self._report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "lab.traffic", *words, "--report", str(self._report)]
        self.process: Process = host.start(name, command)
        self.process.wait_until(f"the first report of {name} on {host.name}", self._report.exists)

    def report(self) -> dict[str, Any]:
        """A report of this moment while it runs, the final one when it has ended; see ``lab.traffic``."""
        if self.process.alive:
            self._asked += 1
            self.process.tell(signal.SIGUSR1)
            wait_for(f"a report of {self.name}", self._answered, every=0.01)
        return self._read()

    def _answered(self) -> bool:
        return not self.process.alive or bool(self._read()["asked"] >= self._asked)

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(self._report).read_text())
        return found

    def stop(self) -> dict[str, Any]:
        """End it; its final report."""
        self.process.stop()
        return self.report()


class Sender(_Program):
    """Numbered UDP packets to a group, on an absolute schedule."""

    def __init__(
        self,
        host: Host,
        group: str,
        port: int,
        *,
        rate: float = 100.0,
        count: int = 0,
        stream: int = 1,
        size: int = 200,
        name: str = "",
    ) -> None:
        self.stream = stream
        words = ["send", group, str(port), "--rate", str(rate), "--count", str(count)]
        words += ["--stream", str(stream), "--size", str(size)]
        super().__init__(host, name or f"send-{stream}", words)

    @property
    def sent(self) -> int:
        return int(self.report()["sent"])

    def wait(self, within: float = 120.0) -> dict[str, Any]:
        """Wait until it has sent its ``count``; its final report."""
        self.process.wait(within)
        return self.report()


class Receiver(_Program):
    """Joins a group (one source of it only, when given) and keeps an account of every stream."""

    def __init__(self, host: Host, group: str, port: int, *, source: str = "", name: str = "") -> None:
        self.group = group
        words = ["receive", group, str(port), *(["--source", source] if source else [])]
        super().__init__(host, name or "receive", words)

    def account(self, stream: int = 1) -> dict[str, Any]:
        """Of one stream: ``received``, ``duplicated``, ``out_of_order``, ``first``, ``last``, ``missing``."""
        empty = {"received": 0, "duplicated": 0, "out_of_order": 0, "first": -1, "last": -1, "missing": []}
        found: dict[str, Any] = self.report()["streams"].get(str(stream), empty)
        return found

    def received(self, stream: int = 1) -> int:
        return int(self.account(stream)["received"])

    def total(self) -> int:
        """Everything that came to the port, of whatever stream or of none."""
        report = self.report()
        streams = report["streams"].values()
        return int(sum(s["received"] + s["duplicated"] for s in streams) + report["foreign"])

    def settle(self, sender: Sender, within: float = 30.0) -> None:
        """After the sender's end: wait until its last packet is here, or until ``within`` is over."""
        try:
            wait_for(
                "the last packet", lambda: self.account(sender.stream)["last"] == sender.sent - 1, within
            )
        except NotSeen:
            return  # the accounts tell what is lost
