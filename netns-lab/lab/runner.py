"""Runs chosen scenarios, natively or in guests, shows what they say, and prints the verdicts at the end."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import place
from lab.catalogue import Entry
from lab.verdicts import table

BOOT_SECONDS = 60  # beyond a scenario's own time, for a guest's boot and end on a busy machine


class Runner:
    """One run. ``cores`` are the cores that guests are pinned to, one guest each at a time."""

    def __init__(
        self, chosen: Sequence[Entry], artefacts: Path, native: bool, cores: Sequence[int], keep: bool
    ) -> None:
        self._chosen = chosen
        self._artefacts = artefacts
        self._native = native
        self._cores = cores
        self._keep = keep
        self._results: dict[str, dict[str, Any]] = {}
        self._children: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def run(self) -> int:
        """All of them; the exit status."""
        began = time.monotonic()
        waiting: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        # The longest first: two guests side by side then end at about the same time.
        for entry in sorted(self._chosen, key=lambda e: -e.seconds) if len(self._cores) > 1 else self._chosen:
            waiting.put(entry)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        workers = [threading.Thread(target=self._work, args=(waiting, core)) for core in self._cores]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return self._summary(time.monotonic() - began)

    def report(self) -> list[dict[str, Any]]:
        """Of each chosen scenario, in order: scenario, ran, why (when it did not), ok, seconds, verdicts."""
        rows = []
        for entry in self._chosen:
            result = self._results.get(entry.name)
            ran = {"scenario": entry.name, "ran": result is not None}
            rows.append({**ran, **(result or {"ok": False, "why": "stopped before its turn"})})
        return rows

    def _stop(self, number: int, _frame: object) -> None:
        self._stopping = True
        for child in list(self._children):
            child.send_signal(signal.SIGTERM)

    def _work(self, waiting: queue.SimpleQueue[Entry], core: int) -> None:
        while not self._stopping:
            try:
                entry = waiting.get_nowait()
            except queue.Empty:
                return
            self._results[entry.name] = self._one(entry, core)

    def _one(self, entry: Entry, core: int) -> dict[str, Any]:
        """Run one scenario and read its result; a run that left none behind has failed with its reason."""
        folder = self._artefacts / entry.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        words = [sys.executable, "-m", "lab", "--here", "--folder", str(entry.path.parents[1])]
        words += ["--artefacts", str(self._artefacts), entry.name]
        if not self._native:
            writable = [self._artefacts, entry.path.parents[1]]
            words = place.guest_command(
                words,
                cpu=core,
                seconds=entry.seconds + BOOT_SECONDS,
                writable=writable,
                memory=entry.memory,
            )
        self._say(entry, f"=== {entry.name}: {entry.title}", prefix=False)
        began = time.monotonic()
        status = self._watch(entry, words, folder / "console.txt")
        seconds = round(time.monotonic() - began, 1)
        try:
            result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        except FileNotFoundError:
            found = f"exit status {status}" + (" (out of time)" if status == 124 else "")
            result = {"verdicts": [["a result", "one", found, False]], "tables": [], "ok": False}
        result["seconds"] = seconds
        if result["ok"] and not self._keep:
            shutil.rmtree(folder)
        return result

    def _watch(self, entry: Entry, words: list[str], console: Path) -> int:
        path = f"{place.REPO / 'netns-lab'}:{place.REPO}"
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # a Ctrl-C reaches us, and we tell it
        )
        self._children.add(child)
        if self._stopping:
            child.send_signal(signal.SIGTERM)
        assert child.stdout is not None
        with console.open("w") as file:
            for line in child.stdout:
                file.write(line)
                self._say(entry, line.rstrip(), prefix=len(self._cores) > 1)
        status = child.wait()
        self._children.discard(child)
        return status

    def _say(self, entry: Entry, line: str, *, prefix: bool) -> None:
        with self._lock:
            print(f"{entry.name} | {line}" if prefix else line, flush=True)

    def _summary(self, seconds: float) -> int:
        """The tables of figures, the table of verdicts, what failed, what did not run; the exit status."""
        for entry in self._chosen:
            for title, head, rows in self._results.get(entry.name, {}).get("tables", ()):
                print(f"\n{entry.name}: {title}\n{table(rows, head)}")
        rows = []
        failures = []
        for entry in self._chosen:
            result = self._results.get(entry.name)
            if result is None:
                rows.append([entry.name, "not run: stopped before its turn", "", ""])
                continue
            verdicts = result["verdicts"]
            good = sum(1 for verdict in verdicts if verdict[3])
            rows.append(
                [entry.name, f"{good} of {len(verdicts)}", f"{result['seconds']} s", _word(result["ok"])]
            )
            failures += [
                f"  {entry.name}: {name}: wanted {wanted}, found {found}"
                for name, wanted, found, ok in verdicts
                if not ok
            ]
            if not result["ok"]:
                failures.append(f"    artefacts: {os.path.relpath(self._artefacts / entry.name)}")
        print("\n" + table(rows, ["scenario", "good verdicts", "time", ""]))
        if failures:
            print("\nFailed:\n" + "\n".join(failures))
        good = sum(1 for result in self._results.values() if result["ok"])
        where = "this kernel" if self._native else "guests"
        print(f"\n{good} of {len(self._chosen)} scenarios passed in {seconds:.0f} s (in {where})", flush=True)
        return 0 if good == len(self._chosen) else 1


def _word(ok: bool) -> str:
    return "passed" if ok else "FAILED"
