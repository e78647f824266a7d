"""scripts/stages.py check|test: the stages of `make check` and `make test`.

Every stage runs, whether the one before was good or not. At the end: the stages with their times, what did
not run and why, what failed, and a closing line as pytest writes it. Exit status 0 only when everything ran
and was good.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
REPORTS = REPO / "build" / "test"
sys.path.insert(0, str(REPO / "netns-lab"))

from lab import place  # noqa: E402
from lab.browser import CHROMIUM  # noqa: E402
from lab.verdicts import table  # noqa: E402

PYTHON = sys.executable
GUEST_SECONDS = 900
FAILURE_LETTERS = 300  # of a failure's message, at the end: the whole of it is further up


@dataclass(slots=True)
class Stage:
    """One stage: what it is, how it is run, what came of it."""

    name: str
    run: Callable[[Stage], int]
    counts: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)  # what did not run, and why
    failures: list[str] = field(default_factory=list)  # what failed, and how
    seconds: float = 0.0
    status: int = -1

    @property
    def word(self) -> str:
        if self.status != 0:
            return "FAILED"
        return ", ".join(f"{count} {what}" for what, count in self.counts.items() if count) or "good"


def tool(*words: str) -> Callable[[Stage], int]:
    """A stage that runs one tool of the virtual environment; a failure counts as an error."""

    def run(stage: Stage) -> int:
        status = subprocess.run([PYTHON, "-m", *words], cwd=REPO, check=False).returncode
        stage.counts["error"] += status != 0
        return status

    return run


def pytest(marks: str, where: str = "tests", *, needs: str = "") -> Callable[[Stage], int]:
    """A stage of the tests with these marks below ``where``. ``needs`` is "root" or "esp": without it a guest
    is taken; or "chromium": without it they do not run.
    """

    def run(stage: Stage) -> int:
        report = REPORTS / f"{stage.name.replace(' ', '-')}.xml"
        report.unlink(missing_ok=True)
        words = [PYTHON, "-m", "pytest", "-q", "-m", marks, where, f"--junitxml={report}"]
        if needs == "chromium" and not Path(CHROMIUM).exists():
            stage.missed.append(f"{stage.name}: no {CHROMIUM}: run scripts/system lab")
            return 1
        why = {"root": place.why_not_root(), "esp": place.why_not_native()}.get(needs, "")
        if why:
            if guest := place.why_not_guest():
                stage.missed.append(f"{stage.name}: not here ({why}), not in a guest ({guest})")
                return 1
            print(f"in a User-Mode Linux guest: {why}", flush=True)
            words += ["--color=no", "-p", "no:cacheprovider", "-o", "timeout=300"]
            words = place.guest_command(words, cpu=place.cores()[0], seconds=GUEST_SECONDS, writable=[])
        status = subprocess.run(words, cwd=REPO, check=False).returncode
        if status == 5:
            stage.missed.append(f"{stage.name}: no tests found")
        count(stage, report)
        return status

    return run


def pure(stage: Stage) -> int:
    """The pure tests, in parts side by side; their output when all have ended."""
    parts = len(place.cores()[:4]) + 1  # one more than cores: tests of real processes mostly wait
    running = []
    for number in range(1, parts + 1):
        report = REPORTS / f"pure-tests-{number}.xml"
        report.unlink(missing_ok=True)
        words = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--part={number}/{parts}"]
        words += [f"--junitxml={report}"]
        part = subprocess.Popen(words, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        running.append((part, report))
    # Every pipe is read at once: a part whose pipe is full would wait for the others.
    with ThreadPoolExecutor(parts) as readers:
        outputs = list(readers.map(lambda pair: pair[0].communicate()[0], running))
    for (_, report), output in zip(running, outputs, strict=True):
        print(output, flush=True)
        count(stage, report)
    return int(any(part.returncode for part, _ in running))


def count(stage: Stage, report: Path) -> None:
    """Add a JUnit report to the stage's counts; a stage that wrote none is an error."""
    if not report.exists():
        stage.counts["error"] += 1
        return
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            kinds = {child.tag for child in case}
            kind = next((k for k in ("failure", "error", "skipped") if k in kinds), "passed")
            stage.counts[{"failure": "failed"}.get(kind, kind)] += 1
            name = f"{case.get('classname')}.{case.get('name')}"
            for child in case:
                if child.tag == "skipped":
                    stage.missed.append(f"{name}: {child.get('message')}")
                elif child.tag in ("failure", "error"):
                    stage.failures.append(f"{name}: {child.get('message')}")


def scenarios(stage: Stage) -> int:
    """All scenarios of the lab; each counts as one test."""
    report = REPORTS / "scenarios.json"
    report.unlink(missing_ok=True)
    words = [str(REPO / "netns-lab" / "run"), "--json", str(report)]
    status = subprocess.run(words, cwd=REPO, check=False, env=place.environment()).returncode
    if not report.exists():
        stage.counts["error"] += 1
        stage.missed.append("scenarios: the lab did not run")
        return status or 1
    for result in json.loads(report.read_text()):
        if result["ran"]:
            stage.counts["passed" if result["ok"] else "failed"] += 1
            stage.failures += [
                f"scenario {result['scenario']}: {name}: wanted {wanted}, found {found}"
                for name, wanted, found, ok in result["verdicts"]
                if not ok
            ]
        else:
            stage.missed.append(f"scenario {result['scenario']}: {result['why']}")
    return status


CHECK = [
    Stage("ruff", tool("ruff", "check", "--quiet", ".")),
    Stage("format", tool("ruff", "format", "--check", "--quiet", ".")),
    Stage("types", tool("mypy")),
    Stage("types of the lab", tool("mypy", "netns-lab/lab", "scripts/stages.py")),
    Stage("pure tests", pure),
]
TEST = [
    *CHECK,
    Stage("root tests", pytest("root", needs="root")),
    Stage("guest tests", pytest("guest", needs="esp")),
    Stage("browser tests", pytest("browser", "tests/browser", needs="chromium")),
    Stage("lab tests", pytest("lab")),
    Stage("scenarios", scenarios),
]


def main() -> int:
    stages = {"check": CHECK, "test": TEST}[sys.argv[1]]
    REPORTS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for stage in stages:
        print(f"\n--- {stage.name}", flush=True)
        start = time.monotonic()
        stage.status = stage.run(stage)
        stage.seconds = time.monotonic() - start
    print("\n" + table([[s.name, f"{s.seconds:.1f} s", s.word] for s in stages], ["stage", "time", "result"]))
    missed = [line for stage in stages for line in stage.missed]
    print("\nDid not run: " + ("\n  ".join(["", *missed]) if missed else "nothing, all of it ran."))
    # Once more, and last: who reads a log of thousands of lines reads its end.
    if failures := [" ".join(line.split())[:FAILURE_LETTERS] for stage in stages for line in stage.failures]:
        print("\nFailed:\n  " + "\n  ".join(failures))
    total: Counter[str] = Counter()
    for stage in stages:
        total.update(stage.counts)
    order = [kind for kind in ("failed", "passed", "skipped", "error") if total[kind]]
    counts = ", ".join(f"{total[kind]} {kind}" for kind in order)
    seconds = time.monotonic() - began
    print(f"\n===== {counts or 'no tests ran'} in {seconds:.2f}s =====", flush=True)
    return 0 if all(stage.status == 0 for stage in stages) and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
