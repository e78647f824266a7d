"""What a scenario holds in its hands: ``Lab``. It builds, starts, watches, judges and clears everything away.

The clean-up is ready before the first thing is made; it runs however the scenario ends, and what it finds
left over is a failed verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from lab.capture import Capture
from lab.esp import EspKey, Findings, examine, parse_xfrm
from lab.leftovers import after_removal, ended_badly, in_kernel, tracebacks
from lab.processes import Process
from lab.streams import Receiver, Sender
from lab.topology import Host, Network
from lab.verdicts import Verdicts
from lab.waits import PATIENCE_SECONDS, NotSeen, wait_for

T = TypeVar("T")


class Stopped(BaseException):
    """A signal or the clock ended the scenario."""


class Lab:
    """One run of one scenario.

    ``artefacts`` is its folder (kept when a verdict fails), with one folder per host below.
    ``repo`` is the working copy, ``python`` the interpreter that has everything installed.
    """

    def __init__(self, name: str, artefacts: Path, seconds: float) -> None:
        self.name = name
        self.artefacts = artefacts
        self.repo = Path(__file__).resolve().parents[2]
        self.python = sys.executable
        self.seconds = seconds
        self.verdicts = Verdicts(self.say)
        self.check = self.verdicts.check
        self.at_least = self.verdicts.at_least
        self.at_most = self.verdicts.at_most
        self.tables: list[tuple[str, list[str], list[list[object]]]] = []
        self._began = time.monotonic()
        self._steps = 0
        self._networks: list[Network] = []
        self._processes: list[Process] = []
        self._captures: list[Capture] = []
        self._monitors: dict[str, Process] = {}
        self._run: Path | None = None

    # Telling

    def say(self, text: str) -> None:
        print(text, flush=True)

    def step(self, text: str) -> None:
        """Announce the next step."""
        self._steps += 1
        self.say(f"[{time.monotonic() - self._began:5.1f} s] {self._steps}. {text}")

    def progress(self, text: str) -> None:
        """One line of what is going on in a long step."""
        self.say(f"[{time.monotonic() - self._began:5.1f} s]    {text}")

    def figures(self, title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table of results, printed after everything else."""
        self.tables.append((title, list(head), [list(row) for row in rows]))

    # Building

    def network(self, *names: str) -> Network:
        """Hosts of these names on one bridge with snooping; they are ready when this returns."""
        if self._networks:
            raise ValueError("a scenario has one network")
        # In /tmp: the path of a Unix socket has 107 characters at most, and a working copy may be deep.
        self._run = Path(tempfile.mkdtemp(prefix="gkmd-lab-"))
        run = self._run
        hosts = [
            Host(name, number, self.artefacts / name, run / name, self._start)
            for number, name in enumerate((*names, "switch"), 1)
        ]
        network = Network(hosts[-1], hosts[:-1])
        self._networks.append(network)  # before the first namespace is made: the clean-up must know
        network.build()
        return network

    def _start(
        self, host: Host, name: str, words: Sequence[str], environment: Mapping[str, str] | None
    ) -> Process:
        # ip netns exec becomes the program itself, so that the pid is the program's.
        command = ["ip", "netns", "exec", host.namespace, *words]
        process = Process(f"{name} on {host.name}", command, host.folder / f"{name}.log", environment)
        self._processes.append(process)
        return process

    # Watching

    def wait_for(self, what: str, fact: Callable[[], T | None], within: float = PATIENCE_SECONDS) -> T:
        """Wait until ``fact`` answers something true; NotSeen ends the scenario."""
        return wait_for(what, fact, within)

    def check_soon(
        self, name: str, wanted: object, fact: Callable[[], object], within: float = PATIENCE_SECONDS
    ) -> bool:
        """As ``check``, of a fact that others bring about: asked until it is as wanted or time is over."""
        with contextlib.suppress(NotSeen):
            wait_for(name, lambda: fact() == wanted, within)
        return self.check(name, wanted, fact())

    def capture(self, *hosts: Host, filter_words: str = "") -> list[Capture]:
        """Capture on these hosts; ``network.switch`` is the wire: everything that any host sends."""
        captures = [Capture(self._networks[0], host, filter_words) for host in hosts]
        self._captures += captures
        return captures

    def watch_keys(self, *hosts: Host) -> None:
        """From now on remember every SA that is installed in these hosts' kernels (``ip xfrm monitor``)."""
        for host in hosts:
            monitor = host.start("xfrm-monitor", ["ip", "-ts", "xfrm", "monitor", "SA", "policy", "expire"])
            monitor.good_statuses = (0, -signal.SIGTERM)
            self._monitors[host.name] = monitor

            def listening(host: Host = host, pid: int = monitor.pid) -> bool:
                lines = (line.split() for line in host.read("/proc/net/netlink").splitlines()[1:])
                return any(words[1] == "6" and words[2] == str(pid) and int(words[3], 16) for words in lines)

            monitor.wait_until("a listening monitor", listening)

    def keys(self, host: Host | None = None) -> list[EspKey]:
        """The SAs that the monitors saw, oldest first, each once; of all watched hosts or of one."""
        monitors = [self._monitors[host.name]] if host else self._monitors.values()
        seen: dict[EspKey, None] = {}
        for monitor in monitors:
            seen.update(dict.fromkeys(parse_xfrm(monitor.log_text())))
        return list(seen)

    # Traffic

    def send(self, host: Host, group: str, port: int, **options: object) -> Sender:
        """Start to send; options of ``Sender``: rate, count, stream, size, name."""
        return Sender(host, group, port, **options)  # type: ignore[arg-type]

    def receive(self, host: Host, group: str, port: int, **options: object) -> Receiver:
        """Start to receive; options of ``Receiver``: source, name."""
        return Receiver(host, group, port, **options)  # type: ignore[arg-type]

    # Judging

    def judge_delivery(self, sender: Sender, receiver: Receiver, *, joined_late: bool = False) -> int:
        """Verdicts on one stream at one receiver: none lost, doubled or out of order. Returns the losses.

        A receiver that joined late answers for what follows the first packet that it got.
        """
        who, sent, account = receiver.host.name, sender.sent, receiver.account(sender.stream)
        wanted = sent - max(account["first"], 0) if joined_late else sent
        lost = wanted - int(account["received"])
        detail = f" (numbers {account['missing']})" if lost and account["missing"] else ""
        self.verdicts.record(f"{who}: lost of {wanted}", 0, f"{lost}{detail}", lost == 0 and wanted > 0)
        self.check(f"{who}: duplicated", 0, account["duplicated"])
        self.check(f"{who}: out of order", 0, account["out_of_order"])
        drops = receiver.report()["socket_drops"]
        if drops:
            self.check(f"{who}: dropped at the receiver's own full socket", 0, drops)
        return lost

    def judge_wire(
        self,
        capture: Capture,
        data_ports: Sequence[int],
        *,
        esp: int = 0,
        what: str = "",
        at_most: int = 2000,
    ) -> Findings:
        """Stop a capture and give verdicts on it: ESP was there (``esp`` packets, when that is known),
        nothing in clear, scapy opens it with the kernel's keys (``at_most`` packets, spread), no IV twice.
        """
        what = what or f"seen by {capture.host.name}"
        found = self.look_at(capture, data_ports, at_most=at_most)
        if esp:
            self.check(f"{what}: ESP packets", esp, found.esp)
        else:
            self.at_least(f"{what}: ESP packets", 1, found.esp)
        clear = f"{found.clear} {found.first_clear}".strip()
        self.verdicts.record(f"{what}: packets in clear", 0, clear, found.clear == 0)
        self.check(
            f"{what}: opened by scapy with the kernel's keys, of {found.judged}",
            found.judged,
            found.decrypted,
        )
        self.check(
            f"{what}: IV or sequence number used twice", 0, found.repeated_iv + found.repeated_sequence
        )
        return found

    def look_at(self, capture: Capture, data_ports: Sequence[int], *, at_most: int = 2000) -> Findings:
        """Stop a capture and examine it, without a verdict on what is in it."""
        self.stop_captures(capture)
        return examine(capture.path, self.keys(), data_ports, at_most)

    def stop_captures(self, *captures: Capture) -> None:
        for capture in captures:
            if capture.process.alive:
                capture.stop()
                good = capture.complete and capture.dropped == 0
                found = f"{'complete' if capture.complete else 'incomplete'}, {capture.dropped} missed"
                self.verdicts.record(f"capture on {capture.host.name}", "complete, 0 missed", found, good)

    # Ending

    def run(self, body: Callable[[Lab], None]) -> bool:
        """Carry out the scenario, clear away, judge what is left over; whether all is well."""
        self.artefacts.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self._on_signal)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        error = ""
        try:
            body(self)
        except (NotSeen, Stopped) as problem:
            error = str(problem)
            (self.artefacts / "error.txt").write_text(traceback.format_exc())
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
            (self.artefacts / "error.txt").write_text(traceback.format_exc())
            self.say(traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # nothing interrupts the clean-up
            self._clear_away()
        self.verdicts.record("the scenario came to its end", "yes", error or "yes", not error)
        self._write_result()
        return self.verdicts.ok

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            raise Stopped(f"out of time after {self.seconds:g} s")
        raise Stopped(f"stopped by {signal.Signals(number).name}")

    def _clear_away(self) -> None:
        self.step("Clean-up")
        self._attempt(lambda: self.stop_captures(*self._captures))
        for network in self._networks:
            for host in network.everything:
                self._attempt(host.dump)
        died = [p.name for p in self._processes if not p.alive and not p.stopped_by_us]
        self.check("ended without being asked", [], died)
        for process in reversed(self._processes):
            if process.alive:
                process.resume()
                self._attempt(process.stop)
        self.check("ended with a bad status", [], ended_badly(self._processes))
        self.check("tracebacks in logs", [], tracebacks(self._processes))
        for network in self._networks:
            left: list[str] = []
            self._attempt(lambda network=network, left=left: left.extend(in_kernel(network)))  # type: ignore[misc]
            self.check("left in the kernel after a clean stop", [], left)
            self.check("left on the machine", [], after_removal(network))
        if self._run:
            for folder in self._run.iterdir():
                with contextlib.suppress(shutil.Error, OSError):  # sockets cannot be copied, and need not
                    if any(folder.iterdir()):
                        shutil.copytree(folder, self.artefacts / folder.name / "run", dirs_exist_ok=True)
            shutil.rmtree(self._run, ignore_errors=True)

    def _attempt(self, action: Callable[[], object]) -> None:
        """One step of the clean-up: its failure is a failed verdict, and the next steps go on."""
        try:
            action()
        except Exception as problem:
            self.verdicts.record("clean-up", "no error", f"{type(problem).__name__}: {problem}", ok=False)

    def _write_result(self) -> None:
        result = {
            "scenario": self.name,
            "ok": self.verdicts.ok,
            "seconds": round(time.monotonic() - self._began, 1),
            "verdicts": [[v.name, v.wanted, v.found, v.ok] for v in self.verdicts.all],
            "tables": self.tables,
        }
        path = self.artefacts / "result.json"
        path.with_suffix(".new").write_text(json.dumps(result, indent=1))
        os.replace(path.with_suffix(".new"), path)
